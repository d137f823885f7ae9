//! Strings: where they end, and what their escapes mean.

use crate::{cursor::Cursor, fault::Parsed, trusted::scan::find_special};

/// Where the text of a string goes.
pub(crate) trait Sink {
    /// Takes a piece.
    fn text(&mut self, text: &str);

    /// Takes the piece `start..end` of `whole`; nothing if that is none.
    #[inline(always)]
    fn text_at(&mut self, whole: &str, start: usize, end: usize) {
        self.text(whole.get(start..end).unwrap_or_default());
    }

    /// Takes one character.
    fn character(&mut self, character: char);
}

/// Takes nothing.
pub(crate) struct Discard;

impl Sink for Discard {
    #[inline(always)]
    fn text(&mut self, _: &str) {}

    #[inline(always)]
    fn text_at(&mut self, _: &str, _: usize, _: usize) {}

    #[inline(always)]
    fn character(&mut self, _: char) {}
}

impl Sink for String {
    fn text(&mut self, text: &str) {
        self.push_str(text);
    }

    fn character(&mut self, character: char) {
        self.push(character);
    }
}

impl Cursor<'_> {
    /// Passes the string that begins here, and gives its text to `sink`.
    #[inline(always)]
    pub(crate) fn string<S: Sink>(&mut self, sink: &mut S) -> Parsed<()> {
        let start = self.at + 1;
        let end = find_special(self.bytes(), start);
        if self.bytes().get(end) == Some(&b'"') {
            sink.text_at(self.text, start, end);
            self.at = end + 1;
            return Ok(());
        }
        self.string_with_escapes(start, end, sink)
    }

    /// The same, from the first special byte on.
    #[inline(never)]
    fn string_with_escapes<S: Sink>(&mut self, start: usize, special: usize, sink: &mut S) -> Parsed<()> {
        let (mut start, mut end) = (start, special);
        loop {
            sink.text_at(self.text, start, end);
            self.at = end;
            match self.bytes().get(end) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => sink.character(self.escape()?),
                Some(b'\n') if !self.spans_lines => return self.malformed("a string is not closed"),
                None => return self.malformed("a string is not closed"),
                Some(_) => return self.malformed("a control character in a string must be written as an escape"),
            }
            start = self.at;
            end = find_special(self.bytes(), start);
        }
    }

    /// Passes the string that begins here, and looks at its text.
    pub(crate) fn with_string<T>(&mut self, look: impl FnOnce(&str) -> T) -> Parsed<T> {
        let mut text = std::mem::take(&mut self.state.key);
        text.clear();
        let passed = self.string(&mut text);
        let seen = passed.map(|()| look(&text));
        self.state.key = text;
        seen
    }

    /// Passes an escape.
    #[inline(always)]
    fn escape(&mut self) -> Parsed<char> {
        let character = match self.bytes().get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{C}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return self.malformed("an unknown escape in a string"),
        };
        self.at += 2;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Parsed<char> {
        let Some(first) = self.hexadecimals(self.at + 2) else {
            return self.malformed("`\\u` needs four hexadecimal digits");
        };
        let code = match first {
            0xD800..=0xDBFF => {
                let is_escape = self.bytes().get(self.at + 6..self.at + 8) == Some(b"\\u");
                let second = if is_escape { self.hexadecimals(self.at + 8) } else { None };
                let Some(second @ 0xDC00..=0xDFFF) = second else {
                    return self.malformed("half of a surrogate pair in a string");
                };
                self.at += 12;
                0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            _ => {
                if (0xDC00..=0xDFFF).contains(&first) {
                    return self.malformed("half of a surrogate pair in a string");
                }
                self.at += 6;
                first
            }
        };
        // Surrogates are the only codes below the highest that are no characters.
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hexadecimals(&self, at: usize) -> Option<u32> {
        let digits = self.bytes().get(at..)?.first_chunk::<4>()?;
        digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
    }
}
