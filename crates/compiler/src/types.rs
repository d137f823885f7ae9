//! The one Arrow-to-Delta type table.

use datafusion::arrow::datatypes::{DataType, SchemaRef};

/// Why a type cannot be stored in a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a column of type {data_type} cannot be stored: {reason}")]
pub struct DeltaTypeError {
    /// The type as Arrow prints it.
    pub data_type: String,
    /// Why, and what to cast to.
    pub reason: &'static str,
}

/// Gives the stored type of a query's column type.
///
/// # Errors
/// The type does not map without loss.
pub fn table_type(_data_type: &DataType) -> Result<DataType, DeltaTypeError> {
    Err(DeltaTypeError { data_type: String::new(), reason: "" })
}

/// Gives the stored schema of a query's output; every field nullable.
///
/// # Errors
/// The first column, by name, whose type does not map.
pub fn table_schema(_schema: &SchemaRef) -> Result<SchemaRef, (String, DeltaTypeError)> {
    Err((String::new(), DeltaTypeError { data_type: String::new(), reason: "" }))
}
