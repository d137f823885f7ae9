//! Takes what scans see of raw objects out of the stream of rows, to whoever accounts for it.
//!
//! Data flow: [`super::stream`] ends a byte range -> **here** -> the backend hands all of a step's reports to the driver.
//!
//! Invariant: a range is reported when it has been read to its end, and only then. A query that stops early leaves
//! ranges out, and one that reads a source twice reports them twice: the driver takes each once.

use std::sync::{Arc, Mutex};

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_json::{Fault, Report};
use lakewright_lake::{
    Prefix,
    state::{Drift, RangeReport, Reject, Tally},
};

use super::form::{Form, ReadMode};

/// Memory for the rejects of one scan.
const REJECTS_BYTES_MAX: usize = 256 << 20;
/// Text of a record that is kept aside.
const REJECT_TEXT_BYTES: usize = 4 << 10;

/// The reports of one source's scan; clones share them.
#[derive(Clone, Debug, Default)]
pub struct ScanReports {
    held: Arc<Mutex<Held>>,
    /// Where they are stored by a task that runs in another process than the driver.
    place: Option<Arc<(Prefix, String)>>,
}

#[derive(Debug, Default)]
struct Held {
    ranges: Vec<RangeReport>,
    rejects_bytes: usize,
}

impl ScanReports {
    /// Reports that each task of a fleet stores in `folder` of the lake when it has ended.
    #[must_use]
    pub fn stored_in(lake: Prefix, folder: String) -> Self {
        Self { place: Some(Arc::new((lake, folder))), ..Self::default() }
    }

    /// The lake and the folder in which tasks of a fleet store reports.
    pub(crate) fn place(&self) -> Option<(Prefix, String)> {
        self.place.as_deref().cloned()
    }

    /// Adds reports of ranges that have been read to their end.
    ///
    /// # Errors
    /// - [`ErrorKind::Exhausted`]: the rejects need more memory than they may have.
    pub(crate) fn add(&self, ranges: Vec<RangeReport>) -> Result<()> {
        let rejects_bytes: usize = ranges.iter().flat_map(|range| &range.rejects).map(size_bytes).sum();
        let Ok(mut held) = self.held.lock() else {
            return Err(Error::new(ErrorKind::Internal, "a scan broke off while it reported"));
        };
        held.rejects_bytes += rejects_bytes;
        if held.rejects_bytes > REJECTS_BYTES_MAX {
            return Err(too_many(held.ranges.iter().map(|range| range.rejects.len()).sum()));
        }
        held.ranges.extend(ranges);
        Ok(())
    }

    /// Takes all reports.
    #[must_use]
    pub fn take(&self) -> Vec<RangeReport> {
        self.held.lock().map(|mut held| std::mem::take(&mut *held).ranges).unwrap_or_default()
    }
}

fn too_many(rejects: usize) -> Error {
    Error::new(ErrorKind::Exhausted, "a source has more rejects than can be kept aside")
        .with("rejects", rejects)
        .with_hint("check what LOCATION names and the columns; or leave bad records out: mode 'DROPMALFORMED'")
}

/// The account of the range that is being read.
pub(super) struct OpenRange {
    object: String,
    /// Of the object's stored bytes.
    stored: std::ops::Range<u64>,
    rejects: Vec<Reject>,
    rejects_bytes: usize,
}

impl OpenRange {
    pub(super) fn new(object: String, stored: std::ops::Range<u64>) -> Self {
        Self { object, stored, rejects: Vec::new(), rejects_bytes: 0 }
    }

    /// Keeps records aside.
    ///
    /// # Errors
    /// - [`ErrorKind::Exhausted`]: they need more memory than they may have.
    pub(super) fn reject(&mut self, faults: Vec<Fault>) -> Result<()> {
        for fault in faults {
            let text = fault.text.strip_suffix(b"\r").unwrap_or(&fault.text);
            let kept = &text[..text.len().min(REJECT_TEXT_BYTES)];
            let reject = Reject {
                object: self.object.clone(),
                line: fault.line,
                byte_offset: fault.record_start,
                reason: fault.reason.code().to_owned(),
                column: fault.column,
                message: fault.message,
                record: Some(String::from_utf8_lossy(kept).into_owned()),
            };
            self.rejects_bytes += size_bytes(&reject);
            self.rejects.push(reject);
        }
        if self.rejects_bytes > REJECTS_BYTES_MAX { Err(too_many(self.rejects.len())) } else { Ok(()) }
    }

    /// The account of the whole range.
    pub(super) fn close(self, form: &Form, report: Report) -> RangeReport {
        let Self { object, stored, rejects, .. } = self;
        let Report { rows, blanks, faults, duplicates, misfits, undeclared, .. } = report;
        let mut tally = Tally { lines: rows + faults + blanks, rows, blanks, ..Tally::default() };
        match form.mode {
            ReadMode::Permissive if form.keeps_malformed() => tally.rows += faults,
            ReadMode::DropMalformed => tally.left_out = faults,
            ReadMode::Permissive | ReadMode::FailFast => tally.rejects = faults,
        }
        let misfits = misfits.into_iter().map(|(column, misfit)| (column, misfit.count)).collect();
        let drift = Drift { undeclared, misfits, duplicate_keys: duplicates };
        RangeReport { object, start: stored.start, end: stored.end, tally, drift, rejects }
    }
}

fn size_bytes(reject: &Reject) -> usize {
    size_of::<Reject>() + reject.object.len() + reject.message.len() + reject.record.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use lakewright_lake::state::{Drift, Tally};

    use super::*;

    fn range(record: String) -> RangeReport {
        let reject = Reject {
            object: "a.json".to_owned(),
            line: 1,
            byte_offset: 0,
            reason: "malformed".to_owned(),
            column: None,
            message: String::new(),
            record: Some(record),
        };
        let (tally, drift) = (Tally::default(), Drift::default());
        RangeReport { object: "a.json".to_owned(), start: 0, end: 1, tally, drift, rejects: vec![reject] }
    }

    #[test]
    fn reports_are_taken_once() {
        let reports = ScanReports::default();
        reports.clone().add(vec![range(String::new())]).unwrap();
        assert_eq!(reports.take().len(), 1);
        assert_eq!(reports.take(), []);
    }

    #[test]
    fn rejects_are_bounded_by_memory() {
        let reports = ScanReports::default();
        reports.add(vec![range("x".repeat(REJECTS_BYTES_MAX / 2))]).unwrap();
        let error = reports.add(vec![range("x".repeat(REJECTS_BYTES_MAX / 2))]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
    }
}
