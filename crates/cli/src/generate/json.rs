//! Writes generated songs and events as JSON, byte for byte as the programs do that such files come from.
//!
//! Song files have a space after each comma and colon; event logs have none, and escape slashes. Both escape what is not
//! ASCII.

use std::io::Write;

use super::{
    activity::{Event, Page},
    catalogue::{Decimal, Song},
};

/// Appends the text of one song file.
pub(super) fn write_song(out: &mut Vec<u8>, song: &Song) {
    out.extend_from_slice(b"{\"num_songs\": 1, \"artist_id\": ");
    write_text(out, &song.artist_id, Slash::Plain);
    out.extend_from_slice(b", \"artist_latitude\": ");
    write_decimal(out, song.artist_place.map(|place| place.latitude));
    out.extend_from_slice(b", \"artist_longitude\": ");
    write_decimal(out, song.artist_place.map(|place| place.longitude));
    out.extend_from_slice(b", \"artist_location\": ");
    write_text(out, song.artist_location, Slash::Plain);
    out.extend_from_slice(b", \"artist_name\": ");
    write_text(out, &song.artist_name, Slash::Plain);
    out.extend_from_slice(b", \"song_id\": ");
    write_text(out, &song.song_id, Slash::Plain);
    out.extend_from_slice(b", \"title\": ");
    write_text(out, &song.title, Slash::Plain);
    out.extend_from_slice(b", \"duration\": ");
    write_decimal(out, Some(song.duration));
    out.extend_from_slice(b", \"year\": ");
    write_number(out, song.year);
    out.push(b'}');
}

/// Appends one line of an event log, without its newline.
pub(super) fn write_event(out: &mut Vec<u8>, event: &Event) {
    let (user, play) = (event.user, event.play.as_ref());
    let Page { name, method, status } = event.page;
    out.push(b'{');
    write_field(out, "artist", play.map(|play| play.artist.as_str()));
    write_field(out, "auth", Some(if user.is_some() { "Logged In" } else { "Logged Out" }));
    write_field(out, "firstName", user.map(|user| user.first_name));
    write_field(out, "gender", user.map(|user| user.gender));
    out.extend_from_slice(b"\"itemInSession\":");
    write_number(out, event.item_in_session);
    out.push(b',');
    write_field(out, "lastName", user.map(|user| user.last_name));
    out.extend_from_slice(b"\"length\":");
    write_decimal(out, play.map(|play| play.length));
    out.push(b',');
    write_field(out, "level", Some(if event.paid { "paid" } else { "free" }));
    write_field(out, "location", user.map(|user| user.location));
    write_field(out, "method", Some(method));
    write_field(out, "page", Some(name));
    out.extend_from_slice(b"\"registration\":");
    match user {
        Some(user) => {
            write_number(out, user.registration);
            out.extend_from_slice(b".0");
        }
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"sessionId\":");
    write_number(out, event.session_id);
    out.push(b',');
    write_field(out, "song", play.map(|play| play.song.as_str()));
    out.extend_from_slice(b"\"status\":");
    write_number(out, status);
    out.extend_from_slice(b",\"ts\":");
    write_number(out, event.ts);
    out.push(b',');
    write_field(out, "userAgent", user.map(|user| user.user_agent));
    out.extend_from_slice(b"\"userId\":\"");
    if let Some(user) = user {
        write_number(out, user.id);
    }
    out.extend_from_slice(b"\"}");
}

/// How a slash is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slash {
    Plain,
    Escaped,
}

fn write_field(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    match value {
        Some(value) => write_text(out, value, Slash::Escaped),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b',');
}

fn write_text(out: &mut Vec<u8>, text: &str, slash: Slash) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '/' if slash == Slash::Escaped => out.extend_from_slice(b"\\/"),
            ' '..='~' => out.push(u8::try_from(character).unwrap_or(b'?')),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    append(out, format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push(b'"');
}

/// At most five digits after the point, at least one, no zeros at the end.
fn write_decimal(out: &mut Vec<u8>, value: Option<Decimal>) {
    let Some(Decimal(value)) = value else {
        out.extend_from_slice(b"null");
        return;
    };
    let sign = if value < 0 { "-" } else { "" };
    let (whole, fraction) = (value.unsigned_abs() / 100_000, value.unsigned_abs() % 100_000);
    append(out, format_args!("{sign}{whole}.{fraction:05}"));
    while out.ends_with(b"0") && !out.ends_with(b".0") {
        out.pop();
    }
}

fn write_number(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    append(out, format_args!("{value}"));
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("the writer gives ASCII")
    }

    #[test]
    fn text_beyond_ascii_is_escaped_in_utf16_units() {
        assert_eq!(text_of(|out| write_text(out, "é\"🎵\n", Slash::Plain)), r#""\u00e9\"\ud83c\udfb5\u000a""#);
    }

    #[test]
    fn only_logs_escape_slashes() {
        assert_eq!(text_of(|out| write_text(out, "a/b\\", Slash::Plain)), r#""a/b\\""#);
        assert_eq!(text_of(|out| write_text(out, "a/b\\", Slash::Escaped)), r#""a\/b\\""#);
    }

    #[test]
    fn decimals_keep_one_digit_after_the_point() {
        let decimal = |value| text_of(|out| write_decimal(out, value));
        assert_eq!(decimal(Some(Decimal(21_893_179))), "218.93179");
        assert_eq!(decimal(Some(Decimal(23_930_730))), "239.3073");
        assert_eq!(decimal(Some(Decimal(20_000_000))), "200.0");
        assert_eq!(decimal(Some(Decimal(-4_892))), "-0.04892");
        assert_eq!(decimal(None), "null");
    }
}
