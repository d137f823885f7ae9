//! Takes what can be taken of lines that the decoder does not take as a whole.
//!
//! Data flow: the lines of a batch -> halves, and halves of those that do not decode -> single lines that do not -> rows
//! with NULLs, rejects, or what else the mode says.

use datafusion::arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    compute::concat_batches,
    error::ArrowError,
};
use lakewright_lake::state::{RangeReport, Reject};
use serde::de::IgnoredAny;

use super::{
    form::{Form, ReadMode},
    lines::{Part, RECORD_BYTES_MAX, REJECT_TEXT_BYTES, Refused, decode_all},
};

/// A record's objects and arrays may lie so deep in one another.
const DEPTH_MAX: usize = 128;
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The lines of one batch.
pub(super) struct Salvage<'a> {
    form: &'a Form,
    text: &'a [u8],
    parts: &'a [Part],
    ranges: &'a mut [RangeReport],
    batches: Vec<RecordBatch>,
}

/// A line that is not blank.
struct Line {
    part: usize,
    /// In the batch's text, newline included.
    text: std::ops::Range<usize>,
    /// In its range, from 1.
    number: u64,
}

/// Why a line is no row as it is.
struct Fault {
    reason: &'static str,
    column: Option<String>,
    message: String,
}

impl Fault {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, column: None, message: message.into() }
    }
}

impl<'a> Salvage<'a> {
    pub(super) fn new(form: &'a Form, text: &'a [u8], parts: &'a [Part], ranges: &'a mut [RangeReport]) -> Self {
        Self { form, text, parts, ranges, batches: Vec::new() }
    }

    /// The rows, in the order of the lines; `None` if there are none.
    pub(super) fn rows(mut self) -> Result<Option<RecordBatch>, Refused> {
        let lines = self.lines();
        // The end of the stack is the next to be tried.
        let mut pending = Vec::from([std::ops::Range { start: 0, end: lines.len() }]);
        while let Some(next) = pending.pop() {
            let some = lines.get(next.clone()).unwrap_or_default();
            if self.take_whole(some)? {
                continue;
            }
            match some {
                [] => {}
                [line] => self.take_line(line)?,
                more => {
                    let middle = next.start + more.len() / 2;
                    pending.push(middle..next.end);
                    pending.push(next.start..middle);
                }
            }
        }
        if self.batches.is_empty() {
            return Ok(None);
        }
        Ok(Some(concat_batches(self.form.columns(), &self.batches)?))
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let end = self.parts.get(index + 1).map_or(self.text.len(), |next| next.text_start).min(self.text.len());
            let mut number = part.lines_before;
            let mut start = part.text_start;
            while start < end {
                let newline = memchr::memchr(b'\n', &self.text[start..end]);
                let line_end = newline.map_or(end, |newline| start + newline + 1);
                number += 1;
                if !self.text[start..line_end].trim_ascii().is_empty() {
                    lines.push(Line { part: index, text: start..line_end, number });
                }
                start = line_end;
            }
        }
        lines
    }

    /// Takes lines that follow on one another, if each of them is a record that fits.
    fn take_whole(&mut self, lines: &[Line]) -> Result<bool, Refused> {
        let is_object = |line: &Line| {
            let text = self.text[line.text.clone()].trim_ascii();
            !self.parts[line.part].too_long && text.first() == Some(&b'{') && text.last() == Some(&b'}')
        };
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return Ok(true) };
        if !lines.iter().all(is_object) {
            return Ok(false);
        }
        let mut decoder = Form::decoder(&self.form.decoded, lines.len() + 1)?;
        let text = &self.text[first.text.start..last.text.end];
        let Ok(batch) = decode_all(&mut decoder, text, lines.len()) else { return Ok(false) };
        self.batches.push(self.form.arrange(&batch, None)?);
        for line in lines {
            self.range(line).tally.rows += 1;
        }
        Ok(true)
    }

    fn range(&mut self, line: &Line) -> &mut RangeReport {
        &mut self.ranges[self.parts[line.part].range]
    }

    /// Does with a line that is no record that fits what the mode says.
    fn take_line(&mut self, line: &Line) -> Result<(), Refused> {
        let bytes = &self.text[line.text.clone()];
        let found = if self.parts[line.part].too_long {
            Err(Fault::new("too_long", format!("the record is longer than {RECORD_BYTES_MAX} bytes")))
        } else {
            read_object(bytes)
        };
        let (row, fault) = match found {
            Err(fault) => (None, fault),
            Ok(text) => {
                let (row, misfits) = self.fit(text)?;
                let Some((column, message)) = misfits.first().cloned() else {
                    // Each column fits by itself, and the record does not: it is not what its text seems to be.
                    let fault = Fault::new("malformed", "the record cannot be decoded");
                    return self.set_aside(line, None, fault);
                };
                if self.form.mode == ReadMode::Permissive {
                    for (column, _) in misfits {
                        *self.range(line).drift.misfits.entry(column).or_default() += 1;
                    }
                }
                (Some(row), Fault { reason: "does_not_fit", column: Some(column), message })
            }
        };
        self.set_aside(line, row, fault)
    }

    fn set_aside(&mut self, line: &Line, row: Option<RecordBatch>, fault: Fault) -> Result<(), Refused> {
        let bytes = &self.text[line.text.clone()];
        match (self.form.mode, row) {
            (ReadMode::FailFast, _) => return Err(Refused::Record(Box::new(self.reject(line, fault)))),
            (ReadMode::DropMalformed, _) => self.range(line).tally.left_out += 1,
            (ReadMode::Permissive, None) if !self.form.keeps_malformed => {
                let reject = self.reject(line, fault);
                let range = self.range(line);
                range.tally.rejects += 1;
                range.rejects.push(reject);
            }
            (ReadMode::Permissive, row) => {
                let row = match row {
                    Some(row) => row,
                    None => self.nulls()?,
                };
                let text = String::from_utf8_lossy(trim_line_end(bytes));
                self.batches.push(self.form.arrange(&row, Some(&text))?);
                self.range(line).tally.rows += 1;
            }
        }
        Ok(())
    }

    /// The row of a JSON object with NULL where a field does not fit, and the columns of those fields with the reason.
    fn fit(&self, text: &str) -> Result<(RecordBatch, Vec<(String, String)>), Refused> {
        let mut misfits = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (index, field) in self.form.decoded.fields().iter().enumerate() {
            let alone = std::sync::Arc::new(self.form.decoded.project(&[index])?);
            let mut decoder = Form::decoder(&alone, 2)?;
            match decode_all(&mut decoder, text.as_bytes(), 1) {
                Ok(batch) => columns.push(std::sync::Arc::clone(batch.column(0))),
                Err(error) => {
                    misfits.push((field.name().clone(), reason_of(&error)));
                    columns.push(new_null_array(field.data_type(), 1));
                }
            }
        }
        Ok((self.one_row(columns)?, misfits))
    }

    fn nulls(&self) -> Result<RecordBatch, ArrowError> {
        let fields = self.form.decoded.fields();
        self.one_row(fields.iter().map(|field| new_null_array(field.data_type(), 1)).collect())
    }

    fn one_row(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        RecordBatch::try_new_with_options(std::sync::Arc::clone(&self.form.decoded), columns, &options)
    }

    fn reject(&self, line: &Line, fault: Fault) -> Reject {
        let part = &self.parts[line.part];
        let text = trim_line_end(&self.text[line.text.clone()]);
        let kept = &text[..text.len().min(REJECT_TEXT_BYTES)];
        Reject {
            object: self.ranges[part.range].object.clone(),
            line: line.number,
            byte_offset: part.offset + (line.text.start - part.text_start) as u64,
            reason: fault.reason.to_owned(),
            column: fault.column,
            message: fault.message,
            record: Some(String::from_utf8_lossy(kept).into_owned()),
        }
    }
}

fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The reason of a decoder's error, without the words that every error has.
fn reason_of(error: &ArrowError) -> String {
    match error {
        ArrowError::JsonError(reason) => reason.clone(),
        other => other.to_string(),
    }
}

/// The text of a line that is one JSON object.
fn read_object(line: &[u8]) -> Result<&str, Fault> {
    let line = line.trim_ascii();
    let text = std::str::from_utf8(line).map_err(|error| {
        Fault::new("invalid_utf8", format!("the record is not UTF-8 behind its byte {}", error.valid_up_to()))
    })?;
    if depth(line) > DEPTH_MAX {
        return Err(Fault::new("too_deep", format!("the record is more than {DEPTH_MAX} levels deep")));
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        let hint = if text.starts_with(BYTE_ORDER_MARK) { ": it begins with a byte order mark" } else { "" };
        Fault::new("malformed", format!("the line is not one JSON value: {}{hint}", place_in_line(&error)))
    })?;
    if line.first() == Some(&b'{') {
        return Ok(text);
    }
    Err(Fault::new("not_an_object", "the record is JSON, and no object"))
}

/// The parser's words; it counts lines, and a record is one.
fn place_in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.replace(" at line 1 column ", " at byte ")
}

/// Levels of objects and arrays, as far as brackets outside of texts tell.
fn depth(line: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
