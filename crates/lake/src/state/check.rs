//! What the checks of tables came to: counts, and where a few of the failing rows are.
//!
//! Data flow: counts of a write ([`WrittenChecks`]) and answers of queries over written files -> `checks.json`
//! ([`RunChecks`]) -> the run's summary.
//!
//! Invariant: `checks.json` exists before the outcome of a run that checks anything, and its first creator's counts are
//! those that the outcome rests on.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use bytes::Bytes;
use lakewright_error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{
    Format,
    parquet_object::{encode_batches, read_batches},
};
use crate::DataFile;

/// What one check of a table came to in one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// Unique among the table's checks.
    pub name: String,
    /// What is demanded, for people.
    pub rule: String,
    /// What is done about a violation: `WARN`, `DROP`, `QUARANTINE` or `FAIL`.
    pub on_violation: String,
    /// Rows looked at, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Rows that violate it; 1 if it is not about rows.
    pub violations: u64,
    /// Key of a few of these rows as Parquet, relative to the lake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    /// What was found, where a count does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl CheckRecord {
    /// Whether the check keeps the run from publishing.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.violations > 0 && self.on_violation == "FAIL"
    }
}

/// What was counted while a step's rows were written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WrittenChecks {
    /// Names the checks that were counted: with other checks the counts mean nothing, but for rows that were taken out.
    pub digest: String,
    /// What the checks of rows came to.
    pub records: Vec<CheckRecord>,
    /// Files of rows that were kept apart, below the root of their own table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<DataFile>,
}

/// `runs/<run_id>/checks.json`: what all checks of a run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunChecks {
    /// Marks the format.
    pub format: Format,
    /// Told apart from every other creator's.
    pub nonce: String,
    /// By table, as `zone.table`, in the order of its model's header.
    pub tables: BTreeMap<String, Vec<CheckRecord>>,
}

/// Encodes a few rows as Parquet.
///
/// # Errors
/// - [`ErrorKind::Internal`]: there are none, or they have no Parquet form.
pub fn encode_rows(rows: &[RecordBatch]) -> Result<Bytes> {
    if rows.is_empty() {
        return Err(Error::new(ErrorKind::Internal, "there are no rows to be kept"));
    }
    encode_batches(rows)
}

/// Decodes the rows that lie at `key`.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: a newer version of this program wrote them.
/// - [`ErrorKind::Corrupt`]: they do not parse.
pub fn decode_rows(key: &str, bytes: Bytes) -> Result<Vec<RecordBatch>> {
    read_batches(key, bytes)
}
