//! Delta tables: reads a version, and tries once to make the next.
//!
//! Data flow: DataFiles of a run -> **here** -> readers see version N+1.
//!
//! Invariant: a version is created with put-if-absent and never rewritten. What an error means is decided only by
//! reading again and looking for the run id of this commit.

use arrow::datatypes::SchemaRef;
use lakewright_error::{Error, ErrorKind, Result};

use crate::{DataFile, Prefix};

/// One version of a table.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Delta version.
    pub version: u64,
    /// Stored columns, partition columns included, in table order.
    pub schema: SchemaRef,
    /// Partition columns in directory order.
    pub partition_columns: Vec<String>,
    /// Active files, sorted by path.
    pub files: Vec<DataFile>,
    /// The job that owns the table (Delta property `lakewright.job`), if any.
    pub job: Option<String>,
}

/// What one commit changes.
#[derive(Clone, Debug)]
pub struct TableCommit {
    /// The version that the files were computed against; `None` makes the table (version 0).
    pub base: Option<u64>,
    /// Full schema of the new version.
    pub schema: SchemaRef,
    /// Partition columns of the new version.
    pub partition_columns: Vec<String>,
    /// Files that appear.
    pub adds: Vec<DataFile>,
    /// Files that disappear.
    pub removes: Vec<DataFile>,
    /// Owner, kept as the table property `lakewright.job`.
    pub job: String,
    /// The run, kept in commitInfo: how a commit finds itself again.
    pub run_id: String,
    /// Sequence number of the run in its job, kept as Delta `txn` version of the application `lakewright:<job>:<table>`.
    pub sequence: u64,
    /// From the model's description.
    pub description: Option<String>,
    /// Time of the commit in milliseconds since 1970-01-01T00:00:00Z (commitInfo, modification time of adds).
    pub timestamp_ms: i64,
}

/// What came of [`commit_version`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The version exists and is this run's (made by this call, or by an earlier one whose answer was lost).
    Committed {
        /// The version.
        version: u64,
    },
    /// A foreign commit has the version after the base.
    Conflict {
        /// The newest version.
        latest: u64,
        /// Whether any commit after the base added or removed data or changed the schema.
        data_changed: bool,
    },
}

/// Reads a version of the table at `table`, the newest if `version` is `None`; `None` if there is no such table.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: the log does not parse, or a version in it is missing.
/// - [`ErrorKind::Unsupported`]: the table needs a reader feature that this program does not have (deletion vectors,
///   column mapping, a newer protocol).
/// - [`ErrorKind::Unavailable`]: the store did not answer.
pub async fn read_snapshot(_table: &Prefix, _version: Option<u64>) -> Result<Option<Snapshot>> {
    Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
}

/// Tries once to make the version after `commit.base`.
///
/// Losing to another writer is an outcome, not an error. A version that this run made before is found and returned.
///
/// # Errors
/// - [`ErrorKind::Unavailable`]: no answer that decides; the version may exist. Call again.
/// - [`ErrorKind::Corrupt`]: the log does not parse.
///
/// # Cancel safety
/// Dropping the future leaves the outcome unknown, as `Unavailable` does.
pub async fn commit_version(_table: &Prefix, _commit: &TableCommit) -> Result<CommitOutcome> {
    Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
}
