//! What reading raw objects came to: counts of each object, and the records that were kept aside.
//!
//! Data flow: a scan counts what it sees of each byte range -> the driver joins the ranges of each object -> **here**, as
//! Parquet below `runs/<run_id>/reports/` -> the run's summary, and the rejects tables.
//!
//! Invariant: every record of a range is counted as exactly one of row, reject, or left out; its blank lines are counted
//! apart.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, RecordBatch, StringArray, UInt64Array},
    datatypes::{DataType, Field, Schema},
};
use bytes::Bytes;
use lakewright_error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{
    Format,
    parquet_object::{corrupt, encode_batch, read_batches},
};

/// What the records of some bytes of raw objects came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Lines, blank ones included; a last line without a newline is one.
    pub lines: u64,
    /// Records that became rows.
    pub rows: u64,
    /// Records that were kept aside.
    pub rejects: u64,
    /// Records that the source's mode leaves out.
    pub left_out: u64,
    /// Lines without a record.
    pub blanks: u64,
}

impl Tally {
    /// Records read.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.rows + self.rejects + self.left_out
    }

    /// Adds what other bytes came to.
    pub fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.rows += other.rows;
        self.rejects += other.rejects;
        self.left_out += other.left_out;
        self.blanks += other.blanks;
    }

    /// Whether every line is accounted for.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.lines == self.records() + self.blanks
    }
}

/// How raw records differ from what their source declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Records that have a field of this name, which is not declared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub undeclared: BTreeMap<String, u64>,
    /// Values that do not fit the type of the column of this name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub misfits: BTreeMap<String, u64>,
    /// Keys that a record has more than once: the last one counts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicate_keys: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Drift {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what other bytes differ in.
    pub fn add(&mut self, other: &Self) {
        add_counts(&mut self.undeclared, &other.undeclared);
        add_counts(&mut self.misfits, &other.misfits);
        self.duplicate_keys += other.duplicate_keys;
    }
}

fn add_counts(counts: &mut BTreeMap<String, u64>, others: &BTreeMap<String, u64>) {
    for (name, count) in others {
        match counts.get_mut(name) {
            Some(sum) => *sum += count,
            None => {
                counts.insert(name.clone(), *count);
            }
        }
    }
}

/// A record that was kept aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// Key of the raw object, relative to the raw prefix.
    pub object: String,
    /// Its line, from 1.
    pub line: u64,
    /// Offset of the record's first byte in the object's text.
    pub byte_offset: u64,
    /// Stable code of the reason.
    pub reason: String,
    /// The column whose value is the reason, if one is.
    pub column: Option<String>,
    /// The reason in words.
    pub message: String,
    /// The record's text, cut if it is long; bytes that are not UTF-8 are replaced.
    pub record: Option<String>,
}

/// What a scan saw of one byte range of a raw object; lines of its rejects are counted from the range's first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeReport {
    /// Key of the raw object, relative to the raw prefix.
    pub object: String,
    /// First stored byte of the range. A line belongs to the range that its first byte lies in.
    pub start: u64,
    /// End of the range, exclusive.
    pub end: u64,
    /// What its records came to.
    pub tally: Tally,
    /// How they differ from what is declared.
    pub drift: Drift,
    /// Those that were kept aside, in order.
    pub rejects: Vec<Reject>,
}

/// What one task of a fleet saw of a source, as a state object: how it reaches the driver of its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanReport {
    /// Marks the format.
    pub format: Format,
    /// The ranges that it has read to their ends.
    pub ranges: Vec<RangeReport>,
}

/// What one raw object came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectReport {
    /// Key of the raw object, relative to the raw prefix.
    pub object: String,
    /// Stored size in bytes.
    pub size_bytes: u64,
    /// What its records came to.
    pub tally: Tally,
}

/// What a step's or a run's reading of one source came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRead {
    /// The source, as `zone.table`.
    pub source: String,
    /// Raw objects read.
    pub objects: u64,
    /// Their stored size in bytes.
    pub bytes: u64,
    /// [`super::listing_digest`] of the objects: equal digests are one reading of the same.
    pub digest: String,
    /// What the records came to.
    pub tally: Tally,
    /// How they differ from what is declared.
    #[serde(default, skip_serializing_if = "Drift::is_empty")]
    pub drift: Drift,
    /// Folder of the reports of each object and of the rejects ([`crate::layout::report_objects`]), relative to the lake.
    pub report: String,
}

const COUNTS: [&str; 6] = ["size_bytes", "lines", "rows", "rejects", "left_out", "blanks"];

/// Encodes the reports of objects as Parquet.
///
/// # Errors
/// - [`ErrorKind::Internal`]: they have no Parquet form.
pub fn encode_object_reports(reports: &[ObjectReport]) -> Result<Bytes> {
    let mut fields = vec![Field::new("object", DataType::Utf8, false)];
    fields.extend(COUNTS.map(|name| Field::new(name, DataType::UInt64, false)));
    let counts = |count: fn(&ObjectReport) -> u64| {
        Arc::new(UInt64Array::from_iter_values(reports.iter().map(count))) as arrow::array::ArrayRef
    };
    let columns = vec![
        Arc::new(StringArray::from_iter_values(reports.iter().map(|report| &report.object))) as _,
        counts(|report| report.size_bytes),
        counts(|report| report.tally.lines),
        counts(|report| report.tally.rows),
        counts(|report| report.tally.rejects),
        counts(|report| report.tally.left_out),
        counts(|report| report.tally.blanks),
    ];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(unencodable)?;
    encode_batch(&batch)
}

/// Decodes the reports of objects that lie at `key`.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: a newer version of this program wrote them.
/// - [`ErrorKind::Corrupt`]: they do not parse.
pub fn decode_object_reports(key: &str, bytes: Bytes) -> Result<Vec<ObjectReport>> {
    let mut reports = Vec::new();
    for batch in read_batches(key, bytes)? {
        read_reports(&batch, &mut reports).ok_or_else(|| corrupt(key))?;
    }
    Ok(reports)
}

fn read_reports(batch: &RecordBatch, reports: &mut Vec<ObjectReport>) -> Option<()> {
    let objects = batch.column_by_name("object")?.as_any().downcast_ref::<StringArray>()?;
    let count = |name: &str| batch.column_by_name(name)?.as_any().downcast_ref::<UInt64Array>();
    let (sizes, lines, rows) = (count("size_bytes")?, count("lines")?, count("rows")?);
    let (rejects, left_out, blanks) = (count("rejects")?, count("left_out")?, count("blanks")?);
    reports.extend((0..batch.num_rows()).map(|row| ObjectReport {
        object: objects.value(row).to_owned(),
        size_bytes: sizes.value(row),
        tally: Tally {
            lines: lines.value(row),
            rows: rows.value(row),
            rejects: rejects.value(row),
            left_out: left_out.value(row),
            blanks: blanks.value(row),
        },
    }));
    Some(())
}

fn unencodable(source: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "cannot encode a report as Parquet").with_source(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_balanced_only_if_every_line_is_accounted_for() {
        let tally = Tally { lines: 10, rows: 5, rejects: 2, left_out: 1, blanks: 2 };
        assert!(tally.is_balanced());
        assert!(!Tally { rejects: 1, ..tally }.is_balanced());
        assert!(!Tally { rows: 6, ..tally }.is_balanced());
    }

    #[test]
    fn reports_of_objects_are_read_back_as_they_were() {
        let tally = Tally { lines: 10, rows: 5, rejects: 2, left_out: 1, blanks: 2 };
        let reports = vec![
            ObjectReport { object: "a b/ü.json".to_owned(), size_bytes: 0, tally: Tally::default() },
            ObjectReport { object: "z.json".to_owned(), size_bytes: u64::MAX, tally },
        ];
        let bytes = encode_object_reports(&reports).unwrap();
        assert_eq!(decode_object_reports("k", bytes).unwrap(), reports);
        assert_eq!(decode_object_reports("k", encode_object_reports(&[]).unwrap()).unwrap(), []);
        let error = decode_object_reports("k", Bytes::from_static(b"PAR1 no")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn drift_is_summed_by_name() {
        let drift = |name: &str, count| Drift {
            undeclared: BTreeMap::from([(name.to_owned(), count)]),
            misfits: BTreeMap::new(),
            duplicate_keys: 1,
        };
        let mut sum = drift("a", 1);
        sum.add(&drift("b", 2));
        sum.add(&drift("a", 3));
        assert_eq!(sum.undeclared, BTreeMap::from([("a".to_owned(), 4), ("b".to_owned(), 2)]));
        assert_eq!(sum.duplicate_keys, 3);
    }
}
