//! Writes the rows of a query as the Parquet files of a table, every partition its own, in parallel.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::datatypes::SchemaRef, common::ScalarValue, physical_plan::ExecutionPlan, prelude::SessionContext,
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{DataFile, Prefix};

/// Where and how a query's rows are written.
#[derive(Clone, Debug)]
pub struct TableWrite {
    /// The table's root.
    pub root: Prefix,
    /// Stored schema; the query's columns are cast to it in order, and a value that does not fit fails the step.
    pub schema: SchemaRef,
    /// Partition columns in directory order.
    pub partition_columns: Vec<String>,
    /// Sort order inside files.
    pub clustered_by: Vec<String>,
    /// Size at which a file is closed, in bytes.
    pub target_file_size_bytes: u64,
    /// First part of every file's name: `<run_id>-<uuid v4>.parquet`.
    pub run_id: String,
}

/// Live counts of a running step; every field only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepProgress {
    /// Rows that scans gave.
    pub rows_read: u64,
    /// Bytes that scans read.
    pub bytes_read: u64,
    /// Rows handed to the writers.
    pub rows_written: u64,
    /// Bytes spilled to disk.
    pub bytes_spilled: u64,
}

/// Plans canonical SQL under a write node.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: the SQL does not plan over the registered relations.
pub async fn plan_table_write(
    _session: &SessionContext,
    _sql: &str,
    _params: &BTreeMap<String, ScalarValue>,
    _write: TableWrite,
) -> Result<Arc<dyn ExecutionPlan>> {
    Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
}

/// Runs the plan to its end and gives the files that it wrote, sorted by path. `progress` is called a few times a second.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: a raw object or a data file cannot be read; names it.
/// - [`ErrorKind::Exhausted`]: memory pool, spill limit or disk.
/// - [`ErrorKind::Unavailable`]: the store did not answer.
/// - [`ErrorKind::Invalid`]: a value does not fit (overflow, invalid cast).
///
/// # Cancel safety
/// Dropping the future stops the query. Files that were already written stay, and nothing names them.
pub async fn execute_table_write(
    _session: &SessionContext,
    _plan: Arc<dyn ExecutionPlan>,
    _progress: &(dyn Fn(StepProgress) + Send + Sync),
) -> Result<Vec<DataFile>> {
    Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
}
