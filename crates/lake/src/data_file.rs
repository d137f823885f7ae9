//! One Parquet file of a table, with what a reader may know about it without opening it.
//!
//! Data flow: the engine's writer closes a file -> [`DataFile::from_parquet`] -> the step's `written.json` -> the Delta
//! log -> planning of later scans.
//!
//! Invariant: column stats are bounds. They are rounded outwards or left out; a predicate that a row meets never
//! prunes its file.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::Schema;
use parquet::file::metadata::ParquetMetaData;
use serde::{Deserialize, Serialize};

use crate::bounds;

/// One Parquet file of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataFile {
    /// Object key relative to the table's root, separated by `/`, not URL-encoded (Hive escapes such as `%2F` are part
    /// of the key): `year=2018/month=11/<run_id>-<uuid>.parquet`.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Number of rows.
    pub row_count: u64,
    /// Value of every partition column as Delta writes it; `None` is NULL.
    pub partition_values: BTreeMap<String, Option<String>>,
    /// Bounds of columns that are not partition columns; a column without an entry has no stats.
    pub bounds: Vec<ColumnBounds>,
}

impl DataFile {
    /// Describes a file that was written, from its footer. `schema` is the file's own: without partition columns.
    ///
    /// Gives bounds for the first [`bounds::BOUND_COLUMNS_MAX`] leaf columns that can have them. `nan_free` names the
    /// float columns in which the writer saw no NaN: a footer does not tell, and a NaN is greater than every bound.
    #[must_use]
    pub fn from_parquet(
        path: String,
        size_bytes: u64,
        partition_values: BTreeMap<String, Option<String>>,
        metadata: &ParquetMetaData,
        schema: &Schema,
        nan_free: &BTreeSet<Vec<String>>,
    ) -> Self {
        // A negative row count cannot come from a writer; a footer that says so has no rows that are known.
        let row_count = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        let bounds = bounds::from_footer(metadata, schema, nan_free);
        Self { path, size_bytes, row_count, partition_values, bounds }
    }
}

/// Bounds of one column over one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnBounds {
    /// Column, and for a field of a struct the path to it.
    pub path: Vec<String>,
    /// Number of NULLs, where known.
    pub null_count: Option<u64>,
    /// Not above the smallest value.
    pub min: Option<Scalar>,
    /// Not below the greatest value.
    pub max: Option<Scalar>,
}

/// A bound, as Delta's stats JSON can hold it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "v")]
pub enum Scalar {
    /// A truth value.
    Boolean(bool),
    /// Any integer type.
    Integer(i64),
    /// A finite float.
    Double(f64),
    /// Unscaled value and scale.
    Decimal(i128, i8),
    /// Text, cut outwards if long.
    Text(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
}
