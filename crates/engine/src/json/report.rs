//! Takes what scans see of raw objects out of the stream of rows, to whoever accounts for it.
//!
//! Data flow: [`super::stream`] ends a byte range -> **here** -> the backend hands all of a step's reports to the driver.
//!
//! Invariant: a range is reported when it has been read to its end, and only then. A query that stops early leaves
//! ranges out, and one that reads a source twice reports them twice: the driver takes each once.

use std::sync::{Arc, Mutex};

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::state::{RangeReport, Reject};

/// Memory for the rejects of one scan.
const REJECTS_BYTES_MAX: usize = 256 << 20;

/// The reports of one source's scan; clones share them.
#[derive(Clone, Debug, Default)]
pub struct ScanReports(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    ranges: Vec<RangeReport>,
    rejects_bytes: usize,
}

impl ScanReports {
    /// Adds reports of ranges that have been read to their end.
    ///
    /// # Errors
    /// - [`ErrorKind::Exhausted`]: the rejects need more memory than they may have.
    pub(crate) fn add(&self, ranges: Vec<RangeReport>) -> Result<()> {
        let rejects_bytes: usize = ranges.iter().flat_map(|range| &range.rejects).map(size_bytes).sum();
        let Ok(mut held) = self.0.lock() else {
            return Err(Error::new(ErrorKind::Internal, "a scan broke off while it reported"));
        };
        held.rejects_bytes += rejects_bytes;
        if held.rejects_bytes > REJECTS_BYTES_MAX {
            return Err(Error::new(ErrorKind::Exhausted, "a source has more rejects than can be kept aside")
                .with("rejects", held.ranges.iter().map(|range| range.rejects.len()).sum::<usize>())
                .with_hint(
                    "check what LOCATION names and the columns; or leave bad records out: mode 'DROPMALFORMED'",
                ));
        }
        held.ranges.extend(ranges);
        Ok(())
    }

    /// Takes all reports.
    #[must_use]
    pub fn take(&self) -> Vec<RangeReport> {
        self.0.lock().map(|mut held| std::mem::take(&mut *held).ranges).unwrap_or_default()
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
