//! What a run tells whoever watches it, and its summary at the end.

use std::time::Duration;

use lakewright_compiler::TableName;
use lakewright_engine::StepProgress;
use lakewright_error::Result;
use lakewright_lake::state;
use serde::{Deserialize, Serialize};

use crate::lineage::parse_name;

/// What a run does about one model, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepAction {
    /// What is done.
    pub work: StepWork,
    /// Why, in a few words for the user: `nothing changed`, `the query changed`, `first run` …
    pub reason: String,
}

/// What is done about one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepWork {
    /// Nothing: fingerprint and inputs equal those of the base release.
    Skip,
    /// The whole table is computed and replaced.
    Replace,
    /// Rows of new units of the driving input are added.
    Append,
    /// Rows that what has changed gives or gave are computed and replaced.
    Update,
    /// A view: its definition is stored.
    Define,
}

impl From<state::StepWork> for StepWork {
    fn from(work: state::StepWork) -> Self {
        match work {
            state::StepWork::Skip => Self::Skip,
            state::StepWork::Replace => Self::Replace,
            state::StepWork::Append => Self::Append,
            state::StepWork::Update => Self::Update,
            state::StepWork::Define => Self::Define,
        }
    }
}

impl From<StepWork> for state::StepWork {
    fn from(work: StepWork) -> Self {
        match work {
            StepWork::Skip => Self::Skip,
            StepWork::Replace => Self::Replace,
            StepWork::Append => Self::Append,
            StepWork::Update => Self::Update,
            StepWork::Define => Self::Define,
        }
    }
}

/// One change of a run, in order.
#[derive(Clone, Debug)]
pub enum RunEvent {
    /// The run has its number.
    Accepted {
        /// The run.
        run_id: String,
        /// Its number in its job.
        sequence: u64,
    },
    /// An earlier, unfinished run of the same job is brought to its end first.
    Resuming {
        /// The earlier run.
        run_id: String,
    },
    /// An earlier run of the same job is being driven by somebody else.
    Waiting {
        /// The earlier run.
        run_id: String,
    },
    /// The run waits in the scheduler's queue.
    Queued {
        /// Its place, from 1.
        place: u32,
        /// Runs that are driven at this moment.
        running: u32,
    },
    /// Inputs are frozen and every step is decided, in the order of the job's models.
    Planned {
        /// The steps.
        steps: Vec<(TableName, StepAction)>,
    },
    /// A step began.
    StepStarted {
        /// The step.
        step: TableName,
    },
    /// A step got on.
    StepProgressed {
        /// The step.
        step: TableName,
        /// Counts so far.
        progress: StepProgress,
    },
    /// A step's files are written (or it was adopted or skipped).
    StepFinished {
        /// The step and its counts.
        summary: StepSummary,
    },
    /// The outcome is decided: tables are being committed.
    Publishing,
}

/// One step's part of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSummary {
    /// `zone.table`.
    pub table: TableName,
    /// What was done, and why.
    pub action: StepAction,
    /// Rows that scans gave.
    pub rows_in: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Records kept aside.
    pub rejects: u64,
    /// Files written.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Bytes spilled to disk.
    pub bytes_spilled: u64,
    /// Wall time.
    pub duration: Duration,
    /// Where its time went; `None` if nobody has counted.
    pub times: Option<state::StepTimes>,
    /// Who wrote its files, on a fleet, sorted by executor.
    pub written_by: Vec<state::WriterShare>,
    /// What the checks of the table came to, once they were asked.
    pub checks: Vec<state::CheckRecord>,
    /// The version that the run made, once published.
    pub version: Option<u64>,
}

/// What a run came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub run_id: String,
    /// Its number in its job.
    pub sequence: u64,
    /// The release that it made; `None` if every step was skipped.
    pub release: Option<u64>,
    /// Steps in the order of the job's models.
    pub steps: Vec<StepSummary>,
    /// What the reading of each source came to, each raw object once.
    pub reads: Vec<state::SourceRead>,
    /// Wall time of this driver.
    pub duration: Duration,
    /// From acceptance to when somebody began to drive it.
    pub waited: Duration,
}

/// Reads a step's record from a state object.
///
/// # Errors
/// - [`lakewright_error::ErrorKind::Corrupt`]: it names a table that cannot be one.
pub(crate) fn step_summary(record: &state::StepRecord) -> Result<StepSummary> {
    Ok(StepSummary {
        table: parse_name(&record.table)?,
        action: StepAction { work: record.work.into(), reason: record.reason.clone() },
        rows_in: record.rows_in,
        rows_out: record.rows_out,
        rejects: record.rejects,
        files: record.files,
        bytes: record.bytes,
        bytes_spilled: record.bytes_spilled,
        duration: Duration::from_micros(record.duration_us),
        times: record.times.clone(),
        written_by: record.written_by.clone(),
        checks: record.checks.clone(),
        version: record.version,
    })
}

/// Reads a run's summary from its last state object.
///
/// # Errors
/// As [`step_summary`].
pub(crate) fn run_summary(run_id: &str, done: &state::Done) -> Result<RunSummary> {
    Ok(RunSummary {
        run_id: run_id.to_owned(),
        sequence: done.sequence,
        release: done.release,
        steps: done.steps.iter().map(step_summary).collect::<Result<_>>()?,
        reads: done.reads.clone(),
        duration: Duration::from_micros(done.duration_us),
        waited: Duration::from_micros(done.waited_us),
    })
}
