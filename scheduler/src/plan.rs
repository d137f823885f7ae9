//! What a run would do, without writing anything.

use lakewright_compiler::{Job, TableName};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use serde::{Deserialize, Serialize};

use crate::{StepAction, run::RunOptions};

/// What a run would do now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunPlan {
    /// Steps in the order of the job's models.
    pub steps: Vec<StepPlan>,
    /// The release that it would start from.
    pub base_release: Option<u64>,
    /// What the user should know: sources that are FAILFAST, orphaned tables, unfinished runs.
    pub notes: Vec<String>,
}

/// What a run would do about one model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepPlan {
    /// `zone.table`.
    pub table: TableName,
    /// The kind's keyword.
    pub kind: String,
    /// What, and why.
    pub action: StepAction,
    /// Tables read.
    pub reads: Vec<TableName>,
    /// Objects (raw objects and DataFiles) that would be read, as far as they exist already.
    pub objects: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Files of the base version that would be replaced.
    pub files_replaced: u64,
}

/// Plans a run of `job`; writes nothing.
///
/// # Errors
/// - [`ErrorKind::NotFound`]: a source has no objects, or the raw prefix does not exist.
/// - [`ErrorKind::Conflict`]: a table belongs to another job.
/// - [`ErrorKind::Unavailable`]: the store did not answer.
pub async fn plan_run(_lake: &Prefix, _raw: &Prefix, _job: &Job, _options: &RunOptions) -> Result<RunPlan> {
    Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
}
