//! Decodes a text that is one value over any number of lines: an object, or an array of objects.

use crate::{
    cursor::Cursor,
    decoder::{Decoder, Line, decode_record, skip_mark},
    fault::{Parsed, Reason},
    options::Limits,
    state::Finding,
};

impl Decoder {
    /// Decodes an object's whole text as one value: an object is a record, and so is each element of an array.
    ///
    /// A value that is not JSON as a whole is one fault, and none of its elements is a row. Rows and faults are held
    /// beyond what [`crate::Options`] asks for: they are as many as the text has.
    pub fn decode_whole(&mut self, text: &[u8]) {
        self.begin(0);
        self.report.newlines += memchr::memchr_iter(b'\n', text).count() as u64;
        let mark = skip_mark(text);
        let (text, offset) = (&text[mark..], mark as u64);
        if text.len() > Limits::RECORD_BYTES_CEILING {
            return self.add_too_long(text, offset, text.len() as u64, Limits::RECORD_BYTES_CEILING);
        }
        match simdutf8::compat::from_utf8(text) {
            Ok(text) => self.decode_whole_text(text, offset),
            Err(error) => self.add_invalid_utf8(text, offset, error.valid_up_to()),
        }
    }

    fn decode_whole_text(&mut self, text: &str, offset: u64) {
        if let Some(finding) = self.check_whole(text) {
            return self.add_fault(text.as_bytes(), 0, offset, finding);
        }
        let mut at = text.len() - text.trim_start_matches([' ', '\t', '\r', '\n']).len();
        if at == text.len() {
            self.report.blanks += 1;
            return;
        }
        let is_array = text.as_bytes()[at] == b'[';
        at += usize::from(is_array);
        loop {
            let rest = text.as_bytes().get(at..).unwrap_or_default();
            // The text is JSON: between its elements are only commas and white space.
            let space = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',')).count();
            at += space;
            if at >= text.len() || (is_array && text.as_bytes()[at] == b']') {
                return;
            }
            at = self.decode_element(text, at, offset);
            if !is_array {
                return;
            }
        }
    }

    /// Why a text is not one JSON value, or takes more than it may.
    fn check_whole(&mut self, text: &str) -> Option<Finding> {
        self.state.begin();
        let limits = self.state.limits;
        // Each element may have as many keys and as much depth as a record.
        self.state.limits = Limits { keys_max: usize::MAX, depth_max: limits.depth_max + 1, ..limits };
        let mut cursor = Cursor { text, at: 0, state: &mut self.state, spans_lines: true };
        let checked = check_value(&mut cursor);
        self.state.limits = limits;
        checked.err().and_then(|_| self.state.take_halt())
    }

    /// Decodes a record; gives where it ends.
    fn decode_element(&mut self, text: &str, start: usize, offset: u64) -> usize {
        self.state.begin();
        let mut cursor = Cursor { text, at: start, state: &mut self.state, spans_lines: true };
        let decoded = decode_record(&mut self.fields, &mut cursor, self.rows);
        let mut end = cursor.at;
        if decoded.is_err() {
            // Over a limit, or no object: where the element ends is told by its grammar alone.
            let limits =
                std::mem::replace(&mut self.state.limits, Limits { keys_max: usize::MAX, ..self.options.limits });
            self.state.limits.depth_max = usize::MAX;
            let halt = self.state.take_halt();
            self.state.begin();
            let mut cursor = Cursor { text, at: start, state: &mut self.state, spans_lines: true };
            end = if cursor.skip_value().is_ok() { cursor.at } else { text.len() };
            self.state.limits = limits;
            self.fields.truncate(self.rows);
            if let Some(finding) = halt {
                self.add_fault(&text.as_bytes()[start..end], start, offset, finding);
            }
            return end;
        }
        match self.line(decoded) {
            Line::Fault(finding) => {
                self.fields.truncate(self.rows);
                self.add_fault(&text.as_bytes()[start..end], start, offset, finding);
            }
            Line::Row | Line::Blank if end - start <= self.options.limits.record_bytes_max => {
                self.add_row(offset, &text[start..end]);
            }
            Line::Row | Line::Blank => {
                self.fields.truncate(self.rows);
                let limit = self.options.limits.record_bytes_max;
                self.add_too_long(&text.as_bytes()[start..end], offset + start as u64, (end - start) as u64, limit);
            }
        }
        end
    }
}

fn check_value(cursor: &mut Cursor<'_>) -> Parsed<()> {
    cursor.skip_space();
    if cursor.at == cursor.text.len() {
        return Ok(());
    }
    let start = cursor.at;
    let first = cursor.peek();
    cursor.skip_value()?;
    cursor.skip_space();
    if cursor.at < cursor.text.len() {
        return cursor.malformed("there is more behind the value");
    }
    if !matches!(first, b'{' | b'[') {
        cursor.at = start;
        return cursor.fail(Reason::NotAnObject, "the value is no JSON object, and no array of them");
    }
    Ok(())
}
