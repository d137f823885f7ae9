//! The inputs of a query: raw objects, files of a table, views.

use datafusion::{arrow::datatypes::SchemaRef, prelude::SessionContext};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{DataFile, Prefix, RawObject};

/// One input of a query.
#[derive(Clone, Debug)]
pub enum Relation {
    /// A source.
    Raw(RawScan),
    /// A table, as a fixed set of files.
    Table(TableScan),
    /// A model of kind VIEW: canonical SQL over relations that are registered in the same session before it.
    View {
        /// Canonical SQL.
        sql: String,
        /// Stored schema: the view's columns are cast to it.
        schema: SchemaRef,
    },
}

/// Exactly these raw objects, read as JSON lines.
#[derive(Clone, Debug)]
pub struct RawScan {
    /// The raw prefix that the keys are relative to.
    pub raw: Prefix,
    /// Declared columns.
    pub schema: SchemaRef,
    /// The objects.
    pub objects: Vec<RawObject>,
}

/// Exactly these files of a table.
#[derive(Clone, Debug)]
pub struct TableScan {
    /// The table's root that the paths are relative to.
    pub root: Prefix,
    /// All columns in table order, partition columns included.
    pub schema: SchemaRef,
    /// Partition columns.
    pub partition_columns: Vec<String>,
    /// The files.
    pub files: Vec<DataFile>,
}

/// Registers an input as `zone.table` in the session.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: a view's SQL does not plan.
pub async fn register_relation(
    _session: &SessionContext,
    _zone: &str,
    _table: &str,
    _relation: Relation,
) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
}
