//! What the records of a source become: which columns are decoded, what is done about a record that does not fit, and how
//! decoded columns become the columns that a scan gives.

use datafusion::arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_json::{Decoder, OnMisfit, Options};

/// Faults that the decoder holds before they are taken.
const FAULTS_HELD: usize = 1024;

/// How a source treats what does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// A field that does not fit is NULL; a record that is no JSON object is a reject.
    #[default]
    Permissive,
    /// Both are left out.
    DropMalformed,
    /// The first of either fails the scan.
    FailFast,
}

/// What is done about records that do not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The mode.
    pub mode: ReadMode,
    /// The declared column that holds the text of records that do not fit, which are rows then; only read if PERMISSIVE.
    pub corrupt_record: Option<String>,
}

/// The columns of one scan.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) mode: ReadMode,
    declared: SchemaRef,
    /// Declared columns that are decoded.
    decoded: Vec<usize>,
    /// For each column of the scan its place among the decoded; `None` if they are the same.
    columns: Option<Vec<usize>>,
    /// The declared column that takes the text of records that do not fit.
    corrupt: Option<usize>,
}

impl Form {
    /// The form of a scan that gives `projection` of the `declared` columns.
    pub(super) fn new(declared: &SchemaRef, projection: &[usize], reading: &Reading) -> Self {
        let named = |name: &String| declared.index_of(name).ok();
        let corrupt = reading.corrupt_record.as_ref().and_then(named).filter(|_| reading.mode == ReadMode::Permissive);
        // What does not fit is known of decoded columns only: if it decides about rows or their text, all are decoded.
        let wants_text = corrupt.is_some_and(|corrupt| projection.contains(&corrupt));
        let all = reading.mode == ReadMode::DropMalformed || wants_text;
        let decoded = if all { (0..declared.fields().len()).collect() } else { projection.to_vec() };
        let columns = all.then(|| projection.to_vec());
        Self { mode: reading.mode, declared: std::sync::Arc::clone(declared), decoded, columns, corrupt }
    }

    /// Whether malformed records are rows.
    pub(super) fn keeps_malformed(&self) -> bool {
        self.corrupt.is_some()
    }

    /// A decoder of the columns; with `drift` it counts undeclared fields by name.
    ///
    /// # Errors
    /// - [`ErrorKind::Unsupported`]: a column's type is one that JSON has no values for.
    pub(super) fn decoder(&self, batch_rows: usize, drift: bool) -> Result<Decoder> {
        let (misfit, faults_max) = match self.mode {
            ReadMode::Permissive => (OnMisfit::Null, FAULTS_HELD),
            ReadMode::DropMalformed => (OnMisfit::Fault, FAULTS_HELD),
            ReadMode::FailFast => (OnMisfit::Fault, 1),
        };
        let options =
            Options { batch_rows, misfit, faults_max, corrupt_column: self.corrupt, drift, ..Options::default() };
        Decoder::new(&self.declared, &self.decoded, options).map_err(|error| {
            Error::new(ErrorKind::Unsupported, "cannot decode a source's records")
                .with_hint("declare the column with a type that JSON has values for")
                .with_source(error)
        })
    }

    /// The scan's columns of decoded rows.
    pub(super) fn arrange(&self, decoded: RecordBatch) -> Result<RecordBatch, ArrowError> {
        match &self.columns {
            Some(columns) => decoded.project(columns),
            None => Ok(decoded),
        }
    }
}
