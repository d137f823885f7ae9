//! Delta tables: reads a version, and tries once to make the next.
//!
//! Data flow: DataFiles of a run -> **here** -> readers see version N+1.
//!
//! Invariant: a version is created with put-if-absent and never rewritten. What an error means is decided only by
//! reading again and looking for the run id of this commit.

mod commit;
mod delta;
mod log;
mod log_upkeep;
mod partition;
mod read;
mod stats;

use arrow::datatypes::SchemaRef;

use crate::DataFile;

pub use commit::{check_commit, commit_version};
pub use log::{file_names_since, newest_version, version_of_run};
pub use log_upkeep::{LogUpkeep, checkpoint_due, checkpoint_overdue, clean_log};
pub use partition::{NULL_PARTITION, hive_partition_path};
pub use read::{read_snapshot, write_checkpoint};

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
    /// What it is for.
    pub purpose: CommitPurpose,
    /// Time of the commit in milliseconds since 1970-01-01T00:00:00Z (commitInfo, modification time of adds).
    pub timestamp_ms: i64,
}

/// What a commit is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitPurpose {
    /// New rows, or others.
    #[default]
    Write,
    /// An earlier state.
    Restore,
    /// The same rows in other files: its adds and removes change no data.
    Compact,
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
        /// Whether any commit after the base changed what this commit builds on: data, files that it removes, the
        /// schema, the partition columns, or the protocol.
        data_changed: bool,
    },
}

#[cfg(test)]
mod tests;
