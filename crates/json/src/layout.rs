//! Tells how the records of a text lie in it, from its beginning.
//!
//! Invariant: a pure function of the text. More of the text never changes an answer that was given for its beginning.

use crate::{
    cursor::Cursor,
    decoder::skip_mark,
    fault::Parsed,
    options::{Limits, OnMisfit},
    state::State,
};

/// How records lie in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One record a line.
    Lines,
    /// The text is an array, and each of its elements is a record.
    Array,
    /// The text is one record, over any number of lines.
    Value,
}

impl Layout {
    /// Tells the layout of a text that is one value, from its beginning `head`. `None`: it takes more of the text.
    ///
    /// `is_whole` says that there is no more of it.
    pub fn of_value(head: &[u8], is_whole: bool) -> Option<Self> {
        match first_byte(head) {
            Some(b'[') => Some(Self::Array),
            Some(_) => Some(Self::Value),
            None if is_whole || head.len() > Limits::default().record_bytes_max => Some(Self::Value),
            None => None,
        }
    }

    /// Tells the layout of a text of which nothing is known: an array if its first byte is `[`; else lines if its first
    /// or second line is a complete value; else one value if the whole text is one; else lines. `None`: it takes more of
    /// the text. A text with more than `record_bytes_max` bytes is no single record.
    ///
    /// White space and a byte order mark before the first byte do not count.
    pub fn of_text(head: &[u8], is_whole: bool, record_bytes_max: usize) -> Option<Self> {
        if first_byte(head) == Some(b'[') {
            return Some(Self::Array);
        }
        let text = &head[skip_mark(head)..];
        let is_too_long = text.len() > record_bytes_max;
        let undecided = (is_whole || is_too_long).then_some(Self::Lines);
        let Some(newline) = memchr::memchr(b'\n', text) else {
            // A single line is the same record, whether it is taken for a line or for a value.
            return undecided;
        };
        let (first, rest) = (&text[..newline], &text[newline + 1..]);
        if is_whole && rest.iter().all(u8::is_ascii_whitespace) {
            return Some(Self::Lines);
        }
        if is_value(first) {
            return Some(Self::Lines);
        }
        let second = match memchr::memchr(b'\n', rest) {
            Some(newline) => &rest[..newline],
            None if is_whole => rest,
            None => return undecided,
        };
        if is_value(second) {
            return Some(Self::Lines);
        }
        match (is_too_long, is_whole) {
            (true, _) => Some(Self::Lines),
            (false, false) => None,
            (false, true) => Some(if is_value(text) { Self::Value } else { Self::Lines }),
        }
    }
}

/// The first byte that is neither white space nor of a byte order mark.
fn first_byte(head: &[u8]) -> Option<u8> {
    head[skip_mark(head)..].iter().copied().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// Whether a text is one complete JSON value, whatever it takes.
fn is_value(text: &[u8]) -> bool {
    let Ok(text) = simdutf8::basic::from_utf8(text) else { return false };
    let limits = Limits { depth_max: usize::MAX, record_bytes_max: usize::MAX, keys_max: usize::MAX };
    let mut state = State::new(limits, OnMisfit::Null, false, false);
    let mut cursor = Cursor { text, at: 0, state: &mut state, spans_lines: true };
    let passed: Parsed<()> = (|| {
        cursor.skip_space();
        cursor.skip_value()?;
        cursor.skip_space();
        Ok(())
    })();
    passed.is_ok() && cursor.at == text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64 << 20;

    #[test]
    fn the_layout_is_told_by_the_first_lines_or_the_whole() {
        for (text, layout) in [
            ("", Layout::Lines),
            ("\n \n", Layout::Lines),
            ("{}", Layout::Lines),
            ("no json", Layout::Lines),
            ("{\"a\":1}\n", Layout::Lines),
            ("{\"a\":1}\n{\"a\":\n", Layout::Lines),
            ("bad\n{\"a\":1}\n\n", Layout::Lines),
            ("\n{\"a\":1}\n{\"a\":1}", Layout::Lines),
            ("17\n{\n}", Layout::Lines),
            ("{\n\"a\": 1\n}", Layout::Value),
            ("\u{feff}{\r\n\"a\": {\r\n}\r\n}\r\n", Layout::Value),
            ("\n\n{\"a\": 1}\n", Layout::Value),
            ("{\n\"a\": 1\n", Layout::Lines),
            ("{\n\"a\": 1\n}\n{\n}", Layout::Lines),
            ("bad\nbad\n{\"a\":1}", Layout::Lines),
            ("[", Layout::Array),
            ("\u{feff} \n[1]\n{}", Layout::Array),
        ] {
            assert_eq!(Layout::of_text(text.as_bytes(), true, LIMIT), Some(layout), "{text:?}");
        }
    }

    #[test]
    fn more_text_never_changes_an_answer() {
        for text in
            ["{\n\"a\":1}\n", "{\"a\":1}\n{\"a\":2}\n", "\n\n{}\n{}", " [{}]", "bad\nbad\nbad", "{\"a\":[\n1\n]}"]
        {
            let last = Layout::of_text(text.as_bytes(), true, LIMIT);
            for end in 0..text.len() {
                let early = Layout::of_text(&text.as_bytes()[..end], false, LIMIT);
                assert!(early.is_none() || early == last, "{text:?} of {end}: {early:?}");
            }
        }
    }

    #[test]
    fn a_text_that_is_longer_than_a_record_may_be_is_no_value() {
        assert_eq!(Layout::of_text(b"{\n\"a\":1\n", false, 7), Some(Layout::Lines));
        assert_eq!(Layout::of_text(b"{\n\"a\":1\n}", true, 7), Some(Layout::Lines));
        assert_eq!(Layout::of_text(b"{\n\"a\":1\n}", true, 10), Some(Layout::Value));
        assert_eq!(Layout::of_text(b"         ", false, 7), Some(Layout::Lines));
    }

    #[test]
    fn a_text_that_is_one_value_is_an_array_or_not() {
        assert_eq!(Layout::of_value(b" \n", false), None);
        assert_eq!(Layout::of_value(b" \n", true), Some(Layout::Value));
        assert_eq!(Layout::of_value(b" \n[", false), Some(Layout::Array));
        assert_eq!(Layout::of_value(b"{", false), Some(Layout::Value));
    }
}
