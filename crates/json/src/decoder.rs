//! Cuts text into lines, decodes each, and keeps what becomes of it: a row, a blank line or a fault.
//!
//! Invariant: the lines and what they become are the same however the text is cut into chunks.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Schema, SchemaRef},
    error::ArrowError,
};

use crate::{
    column::UnsupportedType,
    cursor::Cursor,
    fault::{Fault, Parsed, Reason},
    object::Fields,
    options::{Limits, Options},
    report::Report,
    state::{Finding, State},
    trusted::text_buffer::TextBuffer,
    whole::Whole,
};

/// Text that is checked to be UTF-8 and decoded before more is looked at: it stays in the cache between the two.
const BLOCK_BYTES: usize = 64 << 10;
/// What is kept of the text of a record that is too long.
pub(crate) const LONG_TEXT_KEPT_BYTES: usize = 4 << 10;
/// Text of faults that is held until decoding stops.
const FAULT_TEXT_BYTES_MAX: usize = 16 << 20;
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Decodes the lines of objects, one after the other, into batches of rows.
#[derive(Debug)]
pub struct Decoder {
    pub(crate) options: Options,
    schema: SchemaRef,
    columns: Vec<Source>,
    pub(crate) fields: Fields,
    corrupt: TextBuffer,
    rescued: TextBuffer,
    texts: TextBuffer,
    pub(crate) rows: usize,
    /// Line of each row, if [`Options::lines`] says so.
    lines: Vec<i64>,
    /// Bytes of the lines behind the rows.
    pub(crate) batch_bytes: usize,
    pub(crate) state: State,
    faults: Vec<Fault>,
    fault_text_bytes: usize,
    pub(crate) report: Report,
    /// Offset of the next byte that is given.
    pub(crate) offset: u64,
    /// The beginning of a line, or of another record, whose end has not been given.
    pub(crate) open: Vec<u8>,
    /// Bytes of the open line that were not kept, because it is too long.
    pub(crate) open_dropped: u64,
    /// Set while the text is one value.
    pub(crate) whole: Option<Whole>,
}

/// Where a column of the batch comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// From the fields of the records, in their order.
    Field,
    Corrupt,
    Rescued,
    Text,
}

/// How far a decoder has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many bytes it has taken; the others are to be given again.
    pub taken: usize,
    /// Why it has stopped.
    pub stop: Stop,
}

/// Why a decoder has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It has taken all text.
    Taken,
    /// A batch is to be taken first.
    BatchFull,
    /// Faults are to be taken first.
    Faults,
}

/// A line that has been decoded.
pub(crate) enum Line {
    Row,
    Blank,
    Fault(Finding),
}

impl Decoder {
    /// Makes a decoder of the columns `projection` of a declared schema, in this order. The other declared fields are
    /// checked to be JSON and passed over.
    ///
    /// # Errors
    /// A column's type is one that JSON is not decoded into, or a field may not be NULL.
    pub fn new(declared: &SchemaRef, projection: &[usize], options: Options) -> Result<Self, UnsupportedType> {
        let special = [options.corrupt_column, options.rescued_column, options.text_column];
        let is_special = |index: usize| special.contains(&Some(index));
        let mut columns = Vec::with_capacity(projection.len());
        let mut output = Vec::with_capacity(projection.len());
        for index in projection {
            let Some(field) = declared.fields().get(*index) else { continue };
            if is_special(*index) && field.data_type() != &DataType::Utf8 {
                return Err(UnsupportedType { field: field.name().clone(), data_type: field.data_type().clone() });
            }
            columns.push(match Some(*index) {
                index if index == options.corrupt_column => Source::Corrupt,
                index if index == options.rescued_column => Source::Rescued,
                index if index == options.text_column => Source::Text,
                _ => Source::Field,
            });
            output.push(Arc::clone(field));
        }
        // The special columns are no fields of a record.
        let of_record: Vec<usize> = (0..declared.fields().len()).filter(|index| !is_special(*index)).collect();
        let wanted = projection.iter().filter_map(|index| of_record.binary_search(index).ok()).collect::<Vec<_>>();
        let fields = Fields::of_record(
            of_record.iter().map(|index| declared.field(*index)),
            &wanted,
            options.batch_rows.min(Options::default().batch_rows),
        )?;
        let rescue = columns.iter().any(|source| matches!(source, Source::Rescued));
        let mut limits = options.limits;
        limits.record_bytes_max = limits.record_bytes_max.min(Limits::RECORD_BYTES_CEILING);
        Ok(Self {
            state: State::new(limits, options.misfit, options.drift, rescue),
            options: Options { limits, ..options },
            schema: Arc::new(Schema::new(output)),
            columns,
            fields,
            corrupt: TextBuffer::new(0),
            rescued: TextBuffer::new(0),
            texts: TextBuffer::new(0),
            rows: 0,
            lines: Vec::new(),
            batch_bytes: 0,
            faults: Vec::new(),
            fault_text_bytes: 0,
            report: Report::default(),
            offset: 0,
            open: Vec::new(),
            open_dropped: 0,
            whole: None,
        })
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Begins an object, or a part of one: `offset` is that of the next byte in the object's text. A byte order mark at
    /// offset 0 is passed over.
    pub fn begin(&mut self, offset: u64) {
        self.offset = offset;
        self.open.clear();
        self.open_dropped = 0;
        self.whole = None;
    }

    /// Decodes from the front of `text`, until all is taken, or a batch or faults are to be taken first.
    pub fn decode(&mut self, text: &[u8]) -> Step {
        if self.whole.is_some() {
            return self.decode_whole(text);
        }
        let mut taken = 0;
        loop {
            if let Some(stop) = self.stop() {
                return Step { taken, stop };
            }
            let rest = &text[taken..];
            if rest.is_empty() {
                return Step { taken, stop: Stop::Taken };
            }
            taken += if self.open.is_empty() { self.decode_block(rest) } else { self.close_line(rest) };
        }
    }

    /// Ends the object or part: its last line may have no newline.
    pub fn end(&mut self) {
        if self.whole.is_some() {
            self.end_whole();
        } else if !self.open.is_empty() {
            self.decode_open();
        }
    }

    pub(crate) fn stop(&self) -> Option<Stop> {
        if self.faults.len() >= self.options.faults_max.max(1) || self.fault_text_bytes >= FAULT_TEXT_BYTES_MAX {
            return Some(Stop::Faults);
        }
        let is_full = self.rows >= self.options.batch_rows || self.batch_bytes >= self.options.batch_bytes;
        (is_full && self.rows > 0).then_some(Stop::BatchFull)
    }

    /// Rows that are held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes the rows that are held, if there are any.
    ///
    /// # Errors
    /// There is more text than Arrow's offsets can count.
    pub fn take_batch(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        self.batch_bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(None);
        }
        let mut fields = self.fields.finish()?.into_iter();
        let (mut corrupt, mut rescued, mut texts) = (None, None, None);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for source in &self.columns {
            let array = match source {
                Source::Field => fields.next(),
                Source::Corrupt => special(&mut corrupt, &mut self.corrupt)?,
                Source::Rescued => special(&mut rescued, &mut self.rescued)?,
                Source::Text => special(&mut texts, &mut self.texts)?,
            };
            arrays.extend(array);
        }
        if corrupt.is_none() && self.options.corrupt_column.is_some() {
            // Its rows are there, and no column asks for their text.
            self.corrupt = TextBuffer::new(0);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map(Some)
    }

    /// Takes the lines of the rows of the batch that was taken last, from 1 where the decoder began; only if
    /// [`Options::lines`] says so.
    pub fn take_lines(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.lines)
    }

    /// Whether faults are held.
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Takes the faults that are held, in the order of their lines.
    pub fn take_faults(&mut self) -> Vec<Fault> {
        self.fault_text_bytes = 0;
        std::mem::take(&mut self.faults)
    }

    /// Takes the counts of all that was decoded since they were taken last. An open line counts when it ends.
    pub fn take_report(&mut self) -> Report {
        self.state.take_report(&mut self.report)
    }

    /// Decodes whole lines from the front of `text`, or keeps the open line that it is.
    fn decode_block(&mut self, text: &[u8]) -> usize {
        let near = text.len().min(BLOCK_BYTES);
        let newline = memchr::memrchr(b'\n', &text[..near])
            .or_else(|| memchr::memchr(b'\n', &text[near..]).map(|index| near + index));
        match newline {
            Some(newline) => {
                let taken = self.decode_lines(&text[..=newline], self.offset);
                self.offset += taken as u64;
                taken
            }
            None => self.keep_open(text),
        }
    }

    pub(crate) fn keep_open(&mut self, text: &[u8]) -> usize {
        let limit = self.options.limits.record_bytes_max;
        let length = self.open.len() as u64 + self.open_dropped + text.len() as u64;
        if length > limit as u64 + BYTE_ORDER_MARK.len_utf8() as u64 {
            let kept = LONG_TEXT_KEPT_BYTES.saturating_sub(self.open.len()).min(text.len());
            self.open.extend_from_slice(&text[..kept]);
            self.open.truncate(LONG_TEXT_KEPT_BYTES);
            self.open_dropped = length - self.open.len() as u64;
        } else {
            self.open.extend_from_slice(text);
        }
        self.offset += text.len() as u64;
        text.len()
    }

    /// Completes the open line from the front of `text`, if it ends there.
    fn close_line(&mut self, text: &[u8]) -> usize {
        let Some(newline) = memchr::memchr(b'\n', text) else { return self.keep_open(text) };
        self.keep_open(&text[..newline]);
        if self.offset == self.open.len() as u64 && !self.open.is_empty() && skip_mark(&self.open) == self.open.len() {
            // Nothing but a byte order mark: a line all the same.
            self.report.blanks += 1;
        }
        self.decode_open();
        self.offset += 1;
        self.report.newlines += 1;
        newline + 1
    }

    fn decode_open(&mut self) {
        let mut line = std::mem::take(&mut self.open);
        let start = self.offset - line.len() as u64 - self.open_dropped;
        let limit = self.options.limits.record_bytes_max;
        if self.open_dropped > 0 {
            let length = line.len() as u64 + std::mem::take(&mut self.open_dropped);
            let mark = if start == 0 { skip_mark(&line) } else { 0 };
            self.add_too_long(&line[mark..], start + mark as u64, length - mark as u64, limit);
        } else {
            self.decode_lines(&line, start);
        }
        line.clear();
        self.open = line;
    }

    /// Decodes lines until all are taken or there is reason to stop. The last may have no newline.
    fn decode_lines(&mut self, lines: &[u8], offset: u64) -> usize {
        if let Ok(text) = simdutf8::basic::from_utf8(lines) {
            return self.decode_text(text, offset);
        }
        // Only the lines that are not UTF-8 are faults.
        let mut taken = 0;
        while taken < lines.len() && (taken == 0 || self.stop().is_none()) {
            let rest = &lines[taken..];
            let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
            let line_offset = offset + taken as u64;
            match simdutf8::compat::from_utf8(&rest[..length]) {
                Ok(line) => {
                    self.decode_text(line, line_offset);
                }
                Err(error) => self.add_invalid_utf8(&rest[..length], line_offset, error.valid_up_to()),
            }
            taken += length;
        }
        taken
    }

    fn decode_text(&mut self, text: &str, offset: u64) -> usize {
        let mut at = if offset == 0 { skip_mark(text.as_bytes()) } else { 0 };
        while at < text.len() {
            let start = at;
            let (line, end) = self.decode_line(text, start);
            let length = end - start;
            at = end;
            if text.len() > end {
                at += 1;
                self.report.newlines += 1;
            }
            let limit = self.options.limits.record_bytes_max;
            let is_long = length > limit;
            match line {
                Line::Row if !is_long => self.add_row(offset, &text[start..end]),
                Line::Blank if !is_long => self.report.blanks += 1,
                line => {
                    self.fields.truncate(self.rows);
                    let bytes = &text.as_bytes()[start..end];
                    match line {
                        Line::Fault(finding) if !is_long => self.add_fault(bytes, start, offset, finding),
                        _ => self.add_too_long(bytes, offset + start as u64, length as u64, limit),
                    }
                }
            }
            self.batch_bytes += length;
            if self.stop().is_some() {
                break;
            }
        }
        at
    }

    /// Decodes the line that begins at `start`; also gives where it ends.
    #[inline(always)]
    fn decode_line(&mut self, text: &str, start: usize) -> (Line, usize) {
        self.state.begin();
        let mut cursor = Cursor { text, at: start, state: &mut self.state, spans_lines: false };
        let decoded = decode_record(&mut self.fields, &mut cursor, self.rows);
        let at = cursor.at;
        let line = self.line(decoded);
        let rest = text.as_bytes().get(at..).unwrap_or_default();
        let end = match rest.first() {
            Some(b'\n') => at,
            // A record may have ended before its line did.
            _ => memchr::memchr(b'\n', rest).map_or(text.len(), |newline| at + newline),
        };
        (line, end)
    }

    /// What has become of a record.
    #[inline(always)]
    pub(crate) fn line(&mut self, decoded: Parsed<bool>) -> Line {
        match decoded {
            Ok(true) => self.state.fault().map_or(Line::Row, Line::Fault),
            Ok(false) => Line::Blank,
            Err(_) => {
                let unknown = || Finding { reason: Reason::Malformed, at: 0, message: "no JSON", column: None };
                Line::Fault(self.state.take_halt().unwrap_or_else(unknown))
            }
        }
    }

    #[inline(always)]
    pub(crate) fn add_row(&mut self, offset: u64, record: &str) {
        self.rows += 1;
        if self.options.corrupt_column.is_some() {
            if self.state.has_misfits() && self.options.rescued_column.is_none() {
                self.corrupt.push(record);
            } else {
                self.corrupt.close_null();
            }
        }
        self.state.commit(&mut self.report, offset);
        if self.options.lines {
            self.note_line();
        }
        if self.options.text_column.is_some() {
            self.texts.push(record);
        }
        if self.state.rescue {
            if self.state.rescued.is_empty() {
                self.rescued.close_null();
            } else {
                self.state.rescued.push('}');
                self.rescued.push(&self.state.rescued);
            }
        }
    }

    #[inline(never)]
    pub(crate) fn add_fault(&mut self, line: &[u8], start: usize, offset: u64, finding: Finding) {
        self.hold(Fault {
            reason: finding.reason,
            line: 0,
            record_start: offset + start as u64,
            record_bytes: line.len() as u64,
            at: offset + finding.at as u64,
            column: finding.column,
            message: finding.message.to_owned(),
            text: line.to_vec(),
        });
    }

    #[cold]
    pub(crate) fn add_invalid_utf8(&mut self, line: &[u8], offset: u64, valid: usize) {
        let newlines = line.iter().rev().take_while(|byte| **byte == b'\n').count();
        self.report.newlines += newlines as u64;
        let mark = if offset == 0 { skip_mark(line) } else { 0 };
        let (start, record) = (offset + mark as u64, &line[mark..line.len() - newlines]);
        self.batch_bytes += record.len();
        let limit = self.options.limits.record_bytes_max;
        if record.len() > limit {
            self.add_too_long(record, start, record.len() as u64, limit);
            return;
        }
        self.hold(Fault {
            reason: Reason::InvalidUtf8,
            line: 0,
            record_start: start,
            record_bytes: record.len() as u64,
            at: offset + valid as u64,
            column: None,
            message: "the record is not UTF-8".to_owned(),
            text: record.to_vec(),
        });
    }

    #[cold]
    pub(crate) fn add_too_long(&mut self, line: &[u8], record_start: u64, record_bytes: u64, limit: usize) {
        self.hold(Fault {
            reason: Reason::TooLong,
            line: 0,
            record_start,
            record_bytes,
            at: record_start + limit as u64,
            column: None,
            message: format!("the record has {record_bytes} bytes, more than the limit of {limit}"),
            text: line[..line.len().min(LONG_TEXT_KEPT_BYTES)].to_vec(),
        });
    }

    /// The line of the record that has become a row or a fault.
    fn record_line(&self) -> u64 {
        let lines = || self.report.rows + self.report.blanks + self.report.faults;
        self.whole.as_ref().map_or_else(lines, |whole| whole.record_line)
    }

    #[inline(never)]
    fn note_line(&mut self) {
        self.lines.push(i64::try_from(self.record_line()).unwrap_or(i64::MAX));
    }

    /// Corrects the length of the newest fault's record, of which only the beginning was kept.
    pub(crate) fn set_record_bytes(&mut self, record_bytes: u64) {
        if let Some(fault) = self.faults.last_mut() {
            fault.record_bytes = record_bytes;
        }
    }

    fn hold(&mut self, mut fault: Fault) {
        self.report.faults += 1;
        fault.line = self.record_line();
        if self.options.corrupt_column.is_some() {
            if self.options.lines {
                self.note_line();
            }
            self.fields.push_null();
            self.corrupt.push(&String::from_utf8_lossy(&fault.text));
            if self.options.text_column.is_some() {
                self.texts.close_null();
            }
            if self.state.rescue {
                self.rescued.close_null();
            }
            self.rows += 1;
        }
        self.fault_text_bytes += fault.text.len();
        self.faults.push(fault);
    }
}

/// Decodes a record; false if there is none in the line, or in the text that spans lines.
#[inline(always)]
pub(crate) fn decode_record(fields: &mut Fields, cursor: &mut Cursor<'_>, row: usize) -> Parsed<bool> {
    cursor.skip_space();
    let start = cursor.at;
    let is_object = cursor.eat(b'{');
    if is_object {
        cursor.enter()?;
        fields.decode(cursor, row)?;
    } else if is_end(cursor) {
        return Ok(false);
    } else {
        cursor.skip_value()?;
    }
    cursor.skip_space();
    if !is_end(cursor) {
        return cursor.malformed(match cursor.spans_lines {
            false => "there is more behind the record: one line is one record",
            true => "there is more behind the value",
        });
    }
    if !is_object {
        cursor.at = start;
        return cursor.fail(Reason::NotAnObject, "the record is no JSON object");
    }
    Ok(true)
}

fn is_end(cursor: &Cursor<'_>) -> bool {
    cursor.peek() == b'\n'
}

pub(crate) fn skip_mark(line: &[u8]) -> usize {
    let mut utf8 = [0; 4];
    let mark = BYTE_ORDER_MARK.encode_utf8(&mut utf8).as_bytes();
    if line.starts_with(mark) { mark.len() } else { 0 }
}

/// The array of a special column: the rows are taken once, however often the column is asked for.
fn special(taken: &mut Option<ArrayRef>, rows: &mut TextBuffer) -> Result<Option<ArrayRef>, ArrowError> {
    if taken.is_none() {
        *taken = Some(Arc::new(rows.finish()?));
    }
    Ok(taken.clone())
}
