//! Where things are on object storage, and the only code that reads and writes a lake's own objects.
//!
//! Data flow: raw objects are listed ([`RawObject`]) -> the engine writes Parquet files and describes each as a
//! [`DataFile`] -> the scheduler commits them as a version of a Delta table ([`commit_version`]) and keeps the run's
//! state in small create-only objects ([`state`]).
//!
//! Invariant: an object that exists is never rewritten, and the first creator wins.

pub mod bounds;
pub mod data_file;
pub mod layout;
pub mod listing;
mod location;
pub mod prefix;
pub mod s3;
pub mod state;
mod store_check;
mod store_error;
mod stores;
pub mod table;

pub use data_file::{ColumnBounds, DataFile, Scalar};
pub use listing::{RawObject, list_raw_objects};
pub use prefix::{Created, ListedObject, Prefix};
pub use s3::{S3Fault, S3Settings};
pub use store_check::{check_store, ensure_store_checked};
pub use store_error::{disk_error, fault_error, store_error};
pub use stores::Stores;
pub use table::{
    CommitOutcome, CommitPurpose, LogUpkeep, Snapshot, TableCommit, check_commit, checkpoint_due, checkpoint_overdue,
    clean_log, commit_version, file_names_since, hive_partition_path, newest_version, read_snapshot, version_of_run,
    write_checkpoint,
};
