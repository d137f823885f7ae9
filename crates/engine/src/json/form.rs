//! What the records of a source become: which columns are decoded, what is done about a record that does not fit, and how
//! decoded columns become the columns that a scan gives.

use std::sync::Arc;

use datafusion::arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_json::{Decoder, OnMisfit, Options};

use super::{
    layout::MultiLine,
    metadata::{self, Metadatum, Origins},
};

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

/// How the records of a source are read. Plain values: a plan that travels carries all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What is done about records that do not fit.
    pub mode: ReadMode,
    /// The declared column that holds the text of records that do not fit, which are rows then; only read if PERMISSIVE.
    pub corrupt_record: Option<String>,
    /// The declared column that holds the fields of a record that are not declared or do not fit. With it, a field that
    /// does not fit is kept there in every mode, and does not make its record one that does not fit.
    pub rescued: Option<String>,
    /// Whether an object is lines or one value.
    pub multi_line: MultiLine,
}

/// The columns of one scan.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) mode: ReadMode,
    pub(super) multi_line: MultiLine,
    declared: SchemaRef,
    /// Declared columns that are decoded.
    decoded: Vec<usize>,
    /// Where each column of the scan comes from; `None` if they are those that are decoded.
    columns: Option<Vec<Origin>>,
    schema: SchemaRef,
    /// The declared column that takes the text of records that do not fit.
    corrupt: Option<usize>,
    /// The declared column that takes fields that are not declared or do not fit.
    rescued: Option<usize>,
    /// The column that takes the text of each record.
    texts: Option<usize>,
}

/// Where a column of a scan comes from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// The place among the decoded columns.
    Decoded(usize),
    Hidden(Metadatum),
}

impl Form {
    /// The form of a scan that gives `projection` of a source's columns.
    pub(super) fn new(columns: &SchemaRef, projection: &[usize], reading: &Reading) -> Self {
        let declared = metadata::declared(columns);
        let named = |name: &String| declared.index_of(name).ok();
        let corrupt = reading.corrupt_record.as_ref().and_then(named).filter(|_| reading.mode == ReadMode::Permissive);
        let rescued = reading.rescued.as_ref().and_then(named);
        // What does not fit is known of decoded columns only: if it decides about rows or their text, all are decoded.
        let decides = reading.mode != ReadMode::Permissive && rescued.is_none();
        let is_asked = |column: Option<usize>| column.is_some_and(|column| projection.contains(&column));
        let all = decides || is_asked(corrupt) || is_asked(rescued);
        let wanted = projection.iter().copied().filter(|index| *index < declared.fields().len());
        let decoded: Vec<usize> = if all { (0..declared.fields().len()).collect() } else { wanted.collect() };
        let origin = |index: &usize| match metadata::at(columns, *index) {
            Some(metadatum) => Some(Origin::Hidden(metadatum)),
            None => decoded.iter().position(|decoded| decoded == index).map(Origin::Decoded),
        };
        let origins: Vec<Origin> = projection.iter().filter_map(origin).collect();
        let is_plain = decoded == projection;
        let schema = columns.project(projection).map_or_else(|_| Arc::clone(columns), Arc::new);
        Self {
            mode: reading.mode,
            multi_line: reading.multi_line,
            declared,
            decoded,
            columns: (!is_plain).then_some(origins),
            schema,
            corrupt,
            rescued,
            texts: None,
        }
    }

    /// The form of a reading that gives the text of each record, and nothing else.
    pub(super) fn of_texts() -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("record", DataType::Utf8, true)]));
        let form = Self::new(&schema, &[0], &Reading::default());
        Self { texts: Some(0), ..form }
    }

    /// Whether the scan gives any of the hidden columns.
    pub(super) fn has_hidden(&self) -> bool {
        self.columns.iter().flatten().any(|origin| matches!(origin, Origin::Hidden(_)))
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
        let is_line = |origin: &Origin| matches!(origin, Origin::Hidden(Metadatum::Line));
        let options = Options {
            batch_rows,
            misfit: if self.rescued.is_some() { OnMisfit::Null } else { misfit },
            faults_max,
            corrupt_column: self.corrupt,
            rescued_column: self.rescued,
            text_column: self.texts,
            drift,
            lines: self.columns.iter().flatten().any(is_line),
            ..Options::default()
        };
        Decoder::new(&self.declared, &self.decoded, options).map_err(|error| {
            Error::new(ErrorKind::Unsupported, "cannot decode a source's records")
                .with_hint("declare the column with a type that JSON has values for")
                .with_source(error)
        })
    }

    /// The scan's columns of decoded rows that come from `origins`.
    pub(super) fn arrange(&self, decoded: RecordBatch, origins: &Origins) -> Result<RecordBatch, ArrowError> {
        let Some(columns) = &self.columns else { return Ok(decoded) };
        let column = |origin: &Origin| match origin {
            Origin::Decoded(place) => Arc::clone(decoded.column(*place)),
            Origin::Hidden(metadatum) => origins.column(*metadatum),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(decoded.num_rows()));
        let arrays = columns.iter().map(column).collect();
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
    }
}
