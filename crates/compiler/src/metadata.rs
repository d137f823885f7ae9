//! The hidden columns of a source: where a row comes from.
//!
//! Data flow: `_metadata.file_path` in a query -> the hidden column of that name in canonical SQL -> whoever reads the
//! source makes it.
//!
//! Invariant: they are no columns of `*`, of NATURAL joins and of subqueries, unless a query names them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use crate::TableName;

/// The struct column with a raw object's path, size and time that every source offers.
pub(crate) const METADATA_COLUMN: &str = "_metadata";

/// The zone of sources.
const SOURCES_ZONE: &str = "raw";

/// The fields of [`METADATA_COLUMN`].
pub(crate) fn metadata_fields() -> Fields {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Fields::from(vec![
        field("file_path", DataType::Utf8),
        field("file_size", DataType::Int64),
        field("file_modification_time", time),
        field("line", DataType::Int64),
    ])
}

/// The hidden column that has a field of [`METADATA_COLUMN`].
pub(crate) fn hidden_column(field: &str) -> String {
    format!("{METADATA_COLUMN}.{field}")
}

/// Whether a table is a source.
pub(crate) fn is_source(table: &TableName) -> bool {
    table.zone() == SOURCES_ZONE
}

/// The columns of a table as canonical SQL may name them: of a source, the hidden ones stand behind the declared.
#[must_use]
pub fn scan_schema(table: &TableName, columns: &SchemaRef) -> SchemaRef {
    if !is_source(table) {
        return Arc::clone(columns);
    }
    let hidden = metadata_fields();
    let hidden = hidden.iter().map(|field| Arc::new(field.as_ref().clone().with_name(hidden_column(field.name()))));
    Arc::new(Schema::new(columns.fields().iter().cloned().chain(hidden).collect::<Vec<_>>()))
}
