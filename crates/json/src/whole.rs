//! Decodes a text that is one value over any number of lines: an object, or an array of objects.
//!
//! Data flow: chunks of the text -> the whole value, or one element of the array after the other -> a row or a fault.
//!
//! Invariant: memory is bounded by one record, however long an array is. An element that is broken does not touch its
//! neighbours, as long as it is told where it ends; from where that is not told, the rest of the text is one fault.

use crate::{
    cursor::Cursor,
    decoder::{Decoder, LONG_TEXT_KEPT_BYTES, Line, Step, Stop, decode_record, skip_mark},
    fault::Reason,
    layout::Layout,
    state::Finding,
};

/// How far a decoder has come in a text that is one value.
#[derive(Debug)]
pub(crate) struct Whole {
    place: Place,
    /// Line of the next byte, from 1.
    line: u64,
    /// Line of the record that is being read.
    pub(crate) record_line: u64,
    element: Element,
    /// What is wrong with the array.
    broken: &'static str,
}

/// Where the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a value that is read as a whole.
    Value,
    /// Before the array.
    Start,
    /// Behind `[`.
    First,
    /// Behind a comma.
    Next,
    /// In an element.
    Element,
    /// Behind an element.
    Behind,
    /// Behind the array.
    End,
    /// Where nothing can be told from its neighbours.
    Broken,
}

/// How far an element has been looked at, to find its end.
#[derive(Clone, Copy, Debug, Default)]
struct Element {
    is_scalar: bool,
    depth: u64,
    in_string: bool,
    escaped: bool,
}

impl Element {
    fn new(first: u8) -> Self {
        Self { is_scalar: !matches!(first, b'{' | b'[' | b'"'), ..Self::default() }
    }

    /// Goes on through an element: the index behind its last byte, if it is in `text`.
    fn end(&mut self, text: &[u8]) -> Option<usize> {
        if self.is_scalar {
            return text.iter().position(|byte| matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n'));
        }
        let mut at = 0;
        while at < text.len() {
            at = if self.in_string { self.pass_text(text, at)? } else { self.pass_structure(text, at)? };
            if self.depth == 0 && !self.in_string {
                return Some(at);
            }
        }
        None
    }

    /// Passes the rest of a string.
    fn pass_text(&mut self, text: &[u8], mut at: usize) -> Option<usize> {
        loop {
            if std::mem::take(&mut self.escaped) {
                at += 1;
            }
            at += memchr::memchr2(b'"', b'\\', text.get(at..)?)? + 1;
            if text[at - 1] == b'"' {
                self.in_string = false;
                return Some(at);
            }
            self.escaped = true;
            if at == text.len() {
                return None;
            }
        }
    }

    /// Passes what is no string, up to a bracket or the beginning of a string.
    fn pass_structure(&mut self, text: &[u8], at: usize) -> Option<usize> {
        let is_structure = |byte: &u8| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']');
        let found = at + text.get(at..)?.iter().position(is_structure)?;
        match text[found] {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            _ => self.depth = self.depth.saturating_sub(1),
        }
        Some(found + 1)
    }
}

impl Whole {
    fn count_lines(&mut self, text: &[u8]) -> u64 {
        let newlines = memchr::memchr_iter(b'\n', text).count() as u64;
        self.line += newlines;
        newlines
    }

    /// Goes on between elements: true if it has come to the first byte of one, which stays.
    fn step(&mut self, byte: u8, offset: u64) -> bool {
        let is_space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.place = match (self.place, byte) {
            (place, _) if is_space => place,
            (Place::Start, b'[') => Place::First,
            // A byte order mark.
            (Place::Start, 0xEF | 0xBB | 0xBF) if offset < 3 => Place::Start,
            (Place::First, b']') | (Place::Behind, b']') => Place::End,
            (Place::Behind, b',') => Place::Next,
            (Place::First | Place::Next, first) if !matches!(first, b',' | b']' | b'}' | b':') => {
                self.element = Element::new(first);
                Place::Element
            }
            (place, _) => {
                self.broken = match place {
                    Place::Start => "the text is no array",
                    Place::First | Place::Next => "an element is missing in the array",
                    Place::End => "there is more behind the array",
                    _ => "`,` or `]` is missing behind an element of the array",
                };
                Place::Broken
            }
        };
        if matches!(self.place, Place::Element | Place::Broken) {
            self.record_line = self.line;
        }
        matches!(self.place, Place::Element | Place::Broken)
    }
}

impl Decoder {
    /// Begins an object whose text is one value. A text in lines begins with [`Decoder::begin`].
    ///
    /// An array's elements are its records. An object is one record, and so is what is no JSON as a whole.
    pub fn begin_whole(&mut self, layout: Layout) {
        self.begin(0);
        let place = match layout {
            Layout::Lines => return,
            Layout::Array => Place::Start,
            Layout::Value => Place::Value,
        };
        self.whole = Some(Whole { place, line: 1, record_line: 1, element: Element::default(), broken: "" });
    }

    /// [`Decoder::decode`] of a text that is one value.
    pub(crate) fn decode_whole(&mut self, text: &[u8]) -> Step {
        let mut taken = 0;
        while let Some(whole) = &mut self.whole
            && taken < text.len()
        {
            let rest = &text[taken..];
            match whole.place {
                Place::Value => {
                    self.report.newlines += whole.count_lines(rest);
                    taken += self.keep_open(rest);
                }
                Place::Broken => taken += self.keep_beginning(rest),
                Place::Element => {
                    taken += self.decode_element(rest);
                    if let Some(stop) = self.stop() {
                        return Step { taken, stop };
                    }
                }
                _ => {
                    if whole.step(rest[0], self.offset) {
                        continue;
                    }
                    self.report.newlines += whole.count_lines(&rest[..1]);
                    self.offset += 1;
                    taken += 1;
                }
            }
        }
        Step { taken, stop: self.stop().unwrap_or(Stop::Taken) }
    }

    /// Ends a text that is one value.
    pub(crate) fn end_whole(&mut self) {
        let Some(whole) = &mut self.whole else { return };
        match whole.place {
            Place::Value => self.end_value(),
            Place::Element => {
                let is_scalar = whole.element.is_scalar;
                self.decode_open_element();
                if is_scalar {
                    self.add_broken("the array is not closed");
                }
            }
            Place::End => {}
            Place::Start => self.report.blanks += 1,
            Place::Broken => {
                let message = whole.broken;
                self.add_broken(message);
            }
            Place::First | Place::Next | Place::Behind => {
                whole.record_line = whole.line;
                self.add_broken("the array is not closed");
            }
        }
        self.whole = None;
    }

    /// Keeps what is shown of a text that cannot be told apart.
    fn keep_beginning(&mut self, text: &[u8]) -> usize {
        if let Some(whole) = &mut self.whole {
            self.report.newlines += whole.count_lines(text);
        }
        let kept = LONG_TEXT_KEPT_BYTES.saturating_sub(self.open.len()).min(text.len());
        self.open.extend_from_slice(&text[..kept]);
        self.open_dropped += (text.len() - kept) as u64;
        self.offset += text.len() as u64;
        text.len()
    }

    /// Makes a fault of what is open, up to here.
    fn add_broken(&mut self, message: &'static str) {
        let text = std::mem::take(&mut self.open);
        let length = text.len() as u64 + std::mem::take(&mut self.open_dropped);
        let start = self.offset - length;
        let finding = Finding { reason: Reason::Malformed, at: 0, message, column: None };
        self.add_fault(&text, 0, start, finding);
        self.set_record_bytes(length);
    }

    /// Decodes an element from the front of `text`, or keeps its beginning.
    fn decode_element(&mut self, text: &[u8]) -> usize {
        let Some(whole) = &mut self.whole else { return text.len() };
        let Some(end) = whole.element.end(text) else {
            self.report.newlines += whole.count_lines(text);
            return self.keep_open(text);
        };
        self.report.newlines += whole.count_lines(&text[..end]);
        whole.place = Place::Behind;
        if self.open.is_empty() {
            self.decode_record(&text[..end], self.offset);
            self.offset += end as u64;
        } else {
            self.keep_open(&text[..end]);
            self.decode_open_element();
        }
        end
    }

    fn decode_open_element(&mut self) {
        let mut element = std::mem::take(&mut self.open);
        let dropped = std::mem::take(&mut self.open_dropped);
        let length = element.len() as u64 + dropped;
        let start = self.offset - length;
        if dropped > 0 {
            self.add_too_long(&element, start, length, self.options.limits.record_bytes_max);
        } else {
            self.decode_record(&element, start);
        }
        element.clear();
        self.open = element;
    }

    /// Decodes the text of a value that is one record.
    fn end_value(&mut self) {
        let text = std::mem::take(&mut self.open);
        let dropped = std::mem::take(&mut self.open_dropped);
        let mark = skip_mark(&text);
        let value = text[mark..].trim_ascii();
        if dropped > 0 {
            let length = (text.len() - mark) as u64 + dropped;
            self.add_too_long(&text[mark..], mark as u64, length, self.options.limits.record_bytes_max);
        } else if value.is_empty() {
            self.report.blanks += 1;
        } else {
            let start = mark + text[mark..].len() - text[mark..].trim_ascii_start().len();
            if let Some(whole) = &mut self.whole {
                whole.record_line = 1 + memchr::memchr_iter(b'\n', &text[..start]).count() as u64;
            }
            self.decode_record(value, start as u64);
        }
    }

    /// Decodes the text of one record, of any number of lines.
    fn decode_record(&mut self, bytes: &[u8], offset: u64) {
        self.batch_bytes += bytes.len();
        let limit = self.options.limits.record_bytes_max;
        if bytes.len() > limit {
            return self.add_too_long(bytes, offset, bytes.len() as u64, limit);
        }
        let text = match simdutf8::compat::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return self.add_invalid_utf8(bytes, offset, error.valid_up_to()),
        };
        self.state.begin();
        let mut cursor = Cursor { text, at: 0, state: &mut self.state, spans_lines: true };
        let decoded = decode_record(&mut self.fields, &mut cursor, self.rows);
        match self.line(decoded) {
            Line::Row => self.add_row(offset, text),
            Line::Blank => {
                self.fields.truncate(self.rows);
                self.report.blanks += 1;
            }
            Line::Fault(finding) => {
                self.fields.truncate(self.rows);
                self.add_fault(bytes, 0, offset, finding);
            }
        }
    }
}
