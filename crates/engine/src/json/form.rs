//! What the records of a source become: which columns are decoded, what is done about a record that does not fit, and how
//! decoded columns become the columns that a scan gives.

use std::sync::Arc;

use datafusion::arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array},
    datatypes::{DataType, Schema, SchemaRef},
    error::ArrowError,
    json::{ReaderBuilder, reader::Decoder},
};

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
    /// Whether malformed records are rows.
    pub(super) keeps_malformed: bool,
    /// Columns that the decoder makes.
    pub(super) decoded: SchemaRef,
    /// Columns of the scan.
    columns: SchemaRef,
    /// For each column of the scan its index in `decoded`; `None` is the text of a record that does not fit.
    sources: Vec<Option<usize>>,
}

impl Form {
    /// The form of a scan that gives `projection` of the `declared` columns.
    pub(super) fn new(declared: &SchemaRef, projection: &[usize], reading: &Reading) -> Result<Self, ArrowError> {
        let columns = Arc::new(declared.project(projection)?);
        let corrupt = reading.corrupt_record.as_deref();
        let is_corrupt = |name: &str| corrupt == Some(name);
        // What does not fit is known of decoded columns only: if it decides about rows or their text, all are decoded.
        let wants_text = columns.fields().iter().any(|field| is_corrupt(field.name()));
        let all = reading.mode == ReadMode::DropMalformed || wants_text;
        let decoded = if all { declared } else { &columns };
        let decoded: Vec<_> = decoded.fields().iter().filter(|field| !is_corrupt(field.name())).cloned().collect();
        let decoded = Arc::new(Schema::new(decoded));
        let sources = columns.fields().iter().map(|field| decoded.index_of(field.name()).ok()).collect();
        let keeps_malformed = corrupt.is_some() && reading.mode == ReadMode::Permissive;
        Ok(Self { mode: reading.mode, keeps_malformed, decoded, columns, sources })
    }

    /// A decoder of at most `rows` records of these columns.
    pub(super) fn decoder(schema: &SchemaRef, rows: usize) -> Result<Decoder, ArrowError> {
        // A number where text is declared is the number's own text.
        ReaderBuilder::new(Arc::clone(schema)).with_batch_size(rows).with_coerce_primitive(true).build_decoder()
    }

    /// The scan's columns of decoded rows; `text` is that of a record that does not fit, if it is the only row.
    pub(super) fn arrange(&self, decoded: &RecordBatch, text: Option<&str>) -> Result<RecordBatch, ArrowError> {
        let rows = decoded.num_rows();
        let columns = self.sources.iter().map(|source| match (source, text) {
            (Some(index), _) => Arc::clone(decoded.column(*index)),
            (None, Some(text)) => Arc::new(StringArray::from(vec![text])) as ArrayRef,
            (None, None) => new_null_array(&DataType::Utf8, rows),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.columns), columns.collect(), &options)
    }

    /// The scan's columns of no rows.
    pub(super) fn columns(&self) -> &SchemaRef {
        &self.columns
    }
}
