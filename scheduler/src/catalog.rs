//! What a lake shows to readers: the tables and views of its newest release, and the record of its runs.

use arrow::datatypes::SchemaRef;
use datafusion::prelude::SessionContext;
use lakewright_compiler::TableName;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use serde::{Deserialize, Serialize};

use crate::RunSummary;

/// One table or view of the newest release.
#[derive(Clone, Debug)]
pub struct LakeTable {
    /// `zone.table`.
    pub name: TableName,
    /// Stored columns.
    pub schema: SchemaRef,
    /// The job that owns it.
    pub job: String,
    /// Canonical SQL, if it is a view; views have no version, rows, files, bytes.
    pub view: Option<String>,
    /// Delta version.
    pub version: Option<u64>,
    /// Rows.
    pub rows: u64,
    /// Files.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Partition columns.
    pub partition_columns: Vec<String>,
    /// Where other engines find it: a directory, or an `s3://` URL.
    pub location: String,
}

/// The newest release of a lake, pinned.
#[derive(Clone, Debug)]
pub struct LakeCatalog {
    /// Number of the release; `None` if nothing has been published.
    pub release: Option<u64>,
    /// Tables and views by name.
    pub tables: Vec<LakeTable>,
}

impl LakeCatalog {
    /// Reads the newest release. A lake without a release has no tables.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: there is no lake at the prefix.
    /// - [`ErrorKind::Unsupported`]: the lake was written by a newer version of this program.
    /// - [`ErrorKind::Corrupt`]: a state object or a table's log does not parse.
    pub async fn open(_lake: &Prefix) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
    }

    /// Registers the named tables, and what the views among them read, in a session.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: the release has no such table.
    pub async fn register(&self, _session: &SessionContext, _names: &[TableName]) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It has its number.
    Accepted,
    /// Its inputs are frozen and steps run.
    Running,
    /// The outcome is PUBLISH; commits go on.
    Publishing,
    /// Everything is published.
    Succeeded,
    /// A step or a check failed; nothing was published.
    Failed,
    /// Somebody cancelled; nothing was published.
    Cancelled,
    /// Foreign damage after the outcome.
    Broken,
}

/// One run as `runs` and `show` give it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run_id: String,
    /// Its job.
    pub job: String,
    /// Its number in the job.
    pub sequence: u64,
    /// How far it is.
    pub state: RunState,
    /// When it was accepted, in microseconds since 1970-01-01T00:00:00Z.
    pub accepted_us: i64,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// Its summary, once it has ended.
    pub summary: Option<RunSummary>,
}

/// Lists the newest runs of a lake, newest first, at most `limit`.
///
/// # Errors
/// As [`LakeCatalog::open`].
pub async fn list_runs(_lake: &Prefix, _job: Option<&str>, _limit: usize) -> Result<Vec<RunRecord>> {
    Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
}

/// Reads one run by its id or a unique beginning of it.
///
/// # Errors
/// - [`ErrorKind::NotFound`]: no run has this id.
pub async fn read_run(_lake: &Prefix, _run_id: &str) -> Result<RunRecord> {
    Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
}
