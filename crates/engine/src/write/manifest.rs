//! The rows that the write node gives: one per DataFile, its description as JSON, so that they travel like any rows.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::{
    array::{AsArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::DataFile;

static SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("data_file", DataType::Utf8, false)])));

/// The columns of the rows.
pub(super) fn manifest_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// One row per file.
pub(super) fn write_manifest(files: &[DataFile]) -> Result<RecordBatch> {
    let rows = files.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    RecordBatch::try_new(manifest_schema(), vec![Arc::new(StringArray::from(rows))]).map_err(unreadable)
}

/// The files that rows of a write node describe.
///
/// # Errors
/// - [`ErrorKind::Internal`]: the rows are not those of a write node.
pub fn read_manifest(batch: &RecordBatch) -> Result<Vec<DataFile>> {
    let rows = batch.columns().first().and_then(|column| column.as_string_opt::<i32>());
    let rows = rows.ok_or_else(|| Error::new(ErrorKind::Internal, "the write node gave rows of another form"))?;
    rows.iter().flatten().map(|row| serde_json::from_str(row).map_err(unreadable)).collect()
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "cannot describe a written file").with_source(error)
}
