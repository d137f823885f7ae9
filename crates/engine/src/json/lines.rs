//! Cuts the text of raw objects into lines, and decodes the lines of many objects as one batch.
//!
//! Data flow: chunks of text -> **here**, lines of a batch -> the decoder takes all of them at once, or [`super::salvage`]
//! finds those that it does not take -> a record batch, and a report of each byte range.
//!
//! Invariant: one line is one record. A line that is none never touches its neighbours, and every line of a range is
//! counted exactly once.

use datafusion::arrow::{array::RecordBatch, error::ArrowError, json::reader::Decoder};
use lakewright_lake::state::{Drift, RangeReport, Reject, Tally};

use super::{
    form::{Form, ReadMode},
    salvage::Salvage,
};

/// Bytes of lines after which a batch ends even if it has few rows.
const BATCH_BYTES: usize = 16 << 20;
/// A longer record is none.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 20;
/// Text of a record that is kept aside.
pub(super) const REJECT_TEXT_BYTES: usize = 4 << 10;

/// Why no batch came.
#[derive(Debug)]
pub(super) enum Refused {
    /// The first record that does not fit, and its mode fails the scan.
    Record(Box<Reject>),
    /// The decoder cannot be used.
    Decoder(ArrowError),
}

impl From<ArrowError> for Refused {
    fn from(error: ArrowError) -> Self {
        Self::Decoder(error)
    }
}

/// Decodes lines.
pub(super) struct LineDecoder {
    form: Form,
    batch_rows: usize,
    record_bytes_max: usize,
    decoder: Decoder,
    /// Lines of the batch, then the beginning of a line whose end has not come.
    text: Vec<u8>,
    /// Where in `text` the line begins whose end has not come.
    line_start: usize,
    /// Whether the bytes up to the next newline belong to a record that is too long.
    skipping: bool,
    /// Offset in the object of the next byte to come.
    offset: u64,
    parts: Vec<Part>,
    ranges: Vec<RangeReport>,
    /// Whether the last range goes on.
    open: bool,
    records: usize,
    /// Whether a line is surely no record by itself.
    odd: bool,
    /// Whether a record is there that the scan fails by.
    failed: bool,
    finished: Vec<RangeReport>,
}

/// Text of the batch that follows on itself in one object.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Index of its range.
    pub(super) range: usize,
    pub(super) text_start: usize,
    /// Offset of its first byte in the object.
    pub(super) offset: u64,
    /// Lines of the range before it.
    pub(super) lines_before: u64,
    /// Lines that are not blank.
    pub(super) records: u64,
    /// Whether it is the beginning of one record that is too long.
    pub(super) too_long: bool,
}

impl LineDecoder {
    pub(super) fn new(form: Form, batch_rows: usize) -> Result<Self, ArrowError> {
        // The decoder stops behind its last row, before the newline: it must never be full.
        let decoder = Form::decoder(&form.decoded, batch_rows + 1)?;
        Ok(Self {
            form,
            batch_rows,
            record_bytes_max: RECORD_BYTES_MAX,
            decoder,
            text: Vec::new(),
            line_start: 0,
            skipping: false,
            offset: 0,
            parts: Vec::new(),
            ranges: Vec::new(),
            open: false,
            records: 0,
            odd: false,
            failed: false,
            finished: Vec::new(),
        })
    }

    /// Begins a range, told in stored bytes, of an object.
    pub(super) fn begin(&mut self, object: String, stored: std::ops::Range<u64>) {
        let (tally, drift) = (Tally::default(), Drift::default());
        let (start, end) = (stored.start, stored.end);
        self.ranges.push(RangeReport { object, start, end, tally, drift, rejects: Vec::new() });
        self.open = true;
    }

    /// Says where in the object the next text is.
    pub(super) fn seek(&mut self, offset: u64) {
        if self.offset != offset || self.parts.last().is_none_or(|part| part.range + 1 != self.ranges.len()) {
            self.offset = offset;
            self.new_part(offset);
        }
    }

    fn new_part(&mut self, offset: u64) {
        let range = self.ranges.len().saturating_sub(1);
        let lines_before = self.ranges.last().map_or(0, |range| range.tally.lines);
        let text_start = self.text.len();
        self.parts.push(Part { range, text_start, offset, lines_before, records: 0, too_long: false });
    }

    /// Takes text up to its end or to that of the batch; gives the number of bytes taken.
    pub(super) fn decode(&mut self, text: &[u8]) -> usize {
        let mut taken = 0;
        while taken < text.len() && !self.is_full() {
            let rest = &text[taken..];
            let newline = memchr::memchr(b'\n', rest);
            let piece = &rest[..newline.map_or(rest.len(), |newline| newline + 1)];
            taken += piece.len();
            self.offset += piece.len() as u64;
            if !self.skipping {
                self.text.extend_from_slice(piece);
                self.check_length();
            }
            if newline.is_some() {
                self.end_line();
            }
        }
        taken
    }

    /// Drops the rest of a record that is too long as it comes.
    fn check_length(&mut self) {
        if self.text.len() - self.line_start <= self.record_bytes_max {
            return;
        }
        let dropped = self.text.len() - self.line_start;
        let (offset, lines) = (self.offset - dropped as u64, self.ranges.last().map_or(0, |range| range.tally.lines));
        let range = self.ranges.len().saturating_sub(1);
        self.parts.push(Part {
            range,
            text_start: self.line_start,
            offset,
            lines_before: lines,
            records: 0,
            too_long: true,
        });
        self.text.truncate(self.line_start + REJECT_TEXT_BYTES);
        // Its beginning may hold no newline: it is one line.
        self.text.push(b'\n');
        self.skipping = true;
        if self.form.mode == ReadMode::FailFast {
            // The scan fails by it: its end need not be looked for.
            self.end_line();
            self.failed = true;
        }
    }

    fn end_line(&mut self) {
        let line = self.text.get(self.line_start..).unwrap_or_default().trim_ascii();
        let (first, last) = (line.first().copied(), line.last().copied());
        if let (Some(range), Some(part)) = (self.ranges.last_mut(), self.parts.last_mut()) {
            range.tally.lines += 1;
            if first.is_none() {
                range.tally.blanks += 1;
            } else {
                part.records += 1;
                self.records += 1;
            }
        }
        self.odd |= self.skipping || (first.is_some() && (first != Some(b'{') || last != Some(b'}')));
        self.line_start = self.text.len();
        if self.skipping {
            self.skipping = false;
            self.new_part(self.offset);
        }
    }

    /// Ends the range; its last line may lack its newline.
    pub(super) fn end(&mut self) {
        if self.line_start < self.text.len() || self.skipping {
            if !self.skipping {
                self.text.push(b'\n');
            }
            self.end_line();
        }
        self.open = false;
    }

    /// Whether the batch is to be taken.
    pub(super) fn is_full(&self) -> bool {
        self.failed || self.records >= self.batch_rows || self.line_start >= BATCH_BYTES
    }

    /// The rows of the lines so far; `None` if there are none. Only a batch that is full, or whose range has ended, is
    /// taken.
    pub(super) fn take_batch(&mut self) -> Result<Option<RecordBatch>, Refused> {
        let unfinished = self.text.split_off(self.line_start);
        let batch = if self.records == 0 { None } else { self.decode_lines()? };
        self.text.clear();
        self.text.extend_from_slice(&unfinished);
        self.line_start = 0;
        self.records = 0;
        self.odd = false;
        let last = if self.open { self.ranges.pop() } else { None };
        self.finished.append(&mut self.ranges);
        self.parts.clear();
        self.ranges.extend(last);
        if self.open {
            self.new_part(self.offset - unfinished.len() as u64);
            if let Some(part) = self.parts.last_mut() {
                part.text_start = 0;
            }
        }
        Ok(batch)
    }

    fn decode_lines(&mut self) -> Result<Option<RecordBatch>, Refused> {
        if !self.odd {
            match decode_all(&mut self.decoder, &self.text, self.records) {
                Ok(batch) => {
                    for part in &self.parts {
                        if let Some(range) = self.ranges.get_mut(part.range) {
                            range.tally.rows += part.records;
                        }
                    }
                    return Ok(Some(self.form.arrange(&batch, None)?));
                }
                Err(_) => self.decoder = Form::decoder(&self.form.decoded, self.batch_rows + 1)?,
            }
        }
        Salvage::new(&self.form, &self.text, &self.parts, &mut self.ranges).rows()
    }

    /// The reports of the ranges that have ended and whose rows were taken.
    pub(super) fn take_reports(&mut self) -> Vec<RangeReport> {
        std::mem::take(&mut self.finished)
    }
}

/// Decodes lines that are `records` records; an error if they are not.
///
/// An error leaves the decoder unusable.
pub(super) fn decode_all(decoder: &mut Decoder, text: &[u8], records: usize) -> Result<RecordBatch, ArrowError> {
    let not_lines = || ArrowError::JsonError("a line is not one record".to_owned());
    if decoder.decode(text)? != text.len() || decoder.has_partial_record() {
        return Err(not_lines());
    }
    let batch = decoder.flush()?;
    batch.filter(|batch| batch.num_rows() == records).ok_or_else(not_lines)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    use super::{super::form::Reading, *};

    fn decoder(mode: ReadMode) -> LineDecoder {
        let declared = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let form = Form::new(&declared, &[0], &Reading { mode, corrupt_record: None }).unwrap();
        LineDecoder { record_bytes_max: 64, ..LineDecoder::new(form, 100).unwrap() }
    }

    /// Gives the text of one object in chunks.
    fn read(decoder: &mut LineDecoder, text: &[u8], chunk_bytes: usize) -> (usize, Vec<RangeReport>) {
        let mut rows = 0;
        decoder.begin("a".to_owned(), 0..text.len() as u64);
        for (index, chunk) in text.chunks(chunk_bytes).enumerate() {
            let mut taken = 0;
            while taken < chunk.len() {
                decoder.seek((index * chunk_bytes + taken) as u64);
                taken += decoder.decode(&chunk[taken..]);
                if decoder.is_full() {
                    rows += decoder.take_batch().unwrap().map_or(0, |batch| batch.num_rows());
                }
            }
        }
        decoder.end();
        rows += decoder.take_batch().unwrap().map_or(0, |batch| batch.num_rows());
        (rows, decoder.take_reports())
    }

    #[test]
    fn a_record_that_is_too_long_is_one_reject_however_it_comes() {
        let long = format!("{{\"id\":1,\"x\":\"{}\"}}", "y".repeat(10_000));
        let text = format!("{{\"id\":1}}\n{long}\n\n{long}\nno json\n{{\"id\":2}}\n{long}");
        for chunk_bytes in [1, 7, 64, 4096, 1 << 20] {
            let (rows, reports) = read(&mut decoder(ReadMode::Permissive), text.as_bytes(), chunk_bytes);
            assert_eq!((rows, reports.len()), (2, 1));
            let tally = Tally { lines: 7, rows: 2, rejects: 4, left_out: 0, blanks: 1 };
            assert_eq!(reports[0].tally, tally, "{chunk_bytes}");
            let found: Vec<_> = reports[0]
                .rejects
                .iter()
                .map(|reject| (reject.line, reject.byte_offset as usize, reject.reason.as_str()))
                .collect();
            let third = 9 + 2 * (long.len() + 1) + 1;
            let expected = [
                (2, 9, "too_long"),
                (4, 9 + long.len() + 2, "too_long"),
                (5, third, "malformed"),
                (7, third + 8 + 9, "too_long"),
            ];
            assert_eq!(found, expected, "{chunk_bytes}");
        }
    }

    #[test]
    fn a_batch_may_end_anywhere() {
        let mut decoder = decoder(ReadMode::Permissive);
        let text: String =
            (0..1000).map(|id| if id % 10 == 3 { "no\n".to_owned() } else { format!("{{\"id\":{id}}}\n") }).collect();
        let (rows, reports) = read(&mut decoder, text.as_bytes(), 333);
        assert_eq!(rows, 900);
        assert_eq!(reports[0].tally, Tally { lines: 1000, rows: 900, rejects: 100, left_out: 0, blanks: 0 });
        let lines: Vec<u64> = reports[0].rejects.iter().map(|reject| reject.line).collect();
        assert_eq!(lines, (0..100).map(|ten| ten * 10 + 4).collect::<Vec<_>>());
        let offsets = reports[0].rejects.iter().map(|reject| reject.byte_offset as usize);
        assert!(offsets.into_iter().all(|offset| text[offset..].starts_with("no\n")));
    }

    #[test]
    fn failfast_does_not_look_for_the_end_of_a_record_that_is_too_long() {
        let mut decoder = decoder(ReadMode::FailFast);
        decoder.begin("a".to_owned(), 0..1000);
        decoder.seek(0);
        decoder.decode(&[b'{'; 500]);
        assert!(decoder.is_full());
        let Err(Refused::Record(reject)) = decoder.take_batch() else { panic!("accepted") };
        assert_eq!((reject.line, reject.byte_offset, reject.reason.as_str()), (1, 0, "too_long"));
    }
}
