//! The record of a lake's runs, as `runs` and `show` give it.
//!
//! Invariant: reads only; what a run is follows from which of its objects exist.

use futures::{StreamExt, TryStreamExt, stream};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    Prefix, layout,
    state::{
        Broken, Done, Frozen, JobSlot, Operation, Outcome, RunEnd, Spec, Verdict, list_numbers, open_lake, read_object,
    },
};
use serde::{Deserialize, Serialize};

use crate::{RunSummary, event::run_summary, run::retrying};

/// Runs read at once.
const RUN_READS_MAX: usize = 8;

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
    /// What it does to published tables, if it runs no models.
    pub operation: Option<String>,
    /// Its place in a scheduler's queue, from 1; a lake does not know it.
    pub place: Option<u32>,
    /// Its summary, once it has ended.
    pub summary: Option<RunSummary>,
}

/// Lists the newest runs of a lake, newest first, at most `limit`.
///
/// # Errors
/// - [`ErrorKind::NotFound`]: there is no lake at the prefix.
/// - [`ErrorKind::Unsupported`]: the lake was written by a newer version of this program.
/// - [`ErrorKind::Corrupt`]: a state object does not parse.
pub async fn list_runs(lake: &Prefix, job: Option<&str>, limit: usize) -> Result<Vec<RunRecord>> {
    require_lake(lake).await?;
    let run_ids = match job {
        Some(job) => runs_of_job(lake, job, limit).await?,
        None => {
            // Ids sort by the time at which they were made.
            let mut run_ids = lake.list_dirs(layout::RUNS_DIR).await?;
            run_ids.reverse();
            run_ids
        }
    };
    let reads = run_ids.into_iter().map(|run_id| read_record(lake, run_id));
    // A run that was named and never accepted has no record.
    let records = stream::iter(reads).buffered(RUN_READS_MAX).try_filter_map(|record| async { Ok(record) });
    records.take(limit).try_collect().await
}

/// Lists a page of the runs that are wanted, newest first, after the run with the id `after` (empty: from the newest).
/// Gives the id to go on after, if there may be more.
///
/// # Errors
/// As [`list_runs`].
pub(crate) async fn page_runs(
    lake: &Prefix,
    after: &str,
    limit: usize,
    wanted: impl Fn(&RunRecord) -> bool,
) -> Result<(Vec<RunRecord>, Option<String>)> {
    require_lake(lake).await?;
    let mut run_ids = lake.list_dirs(layout::RUNS_DIR).await?;
    // Ids sort by the time at which they were made.
    run_ids.retain(|run_id| after.is_empty() || run_id.as_str() < after);
    run_ids.reverse();
    let reads = run_ids.into_iter().map(|run_id| read_record(lake, run_id));
    let records = stream::iter(reads).buffered(RUN_READS_MAX);
    let mut wanted =
        std::pin::pin!(records.try_filter_map(|record| std::future::ready(Ok(record.filter(|record| wanted(record))))));
    let mut page = Vec::new();
    while let Some(record) = wanted.try_next().await? {
        if page.len() == limit {
            let last = page.last().map(|record: &RunRecord| record.run_id.clone());
            return Ok((page, last));
        }
        page.push(record);
    }
    Ok((page, None))
}

async fn runs_of_job(lake: &Prefix, job: &str, limit: usize) -> Result<Vec<String>> {
    let numbers = list_numbers(lake, &layout::job_slots_dir(job)).await?;
    let reads = numbers.into_iter().rev().take(limit).map(|number| async move {
        let slot = read_object::<JobSlot>(lake, &layout::job_slot(job, number)).await?;
        Ok::<_, Error>(slot.map(|slot| slot.run_id))
    });
    let found: Vec<Option<String>> = stream::iter(reads).buffered(RUN_READS_MAX).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Reads one run by its id or a unique beginning of it.
///
/// # Errors
/// As [`list_runs`]; [`ErrorKind::NotFound`] also if no run has this id, [`ErrorKind::Invalid`] if several begin so.
pub async fn read_run(lake: &Prefix, run_id: &str) -> Result<RunRecord> {
    require_lake(lake).await?;
    let no_run = || {
        Error::new(ErrorKind::NotFound, "no run has this id")
            .with("run", run_id)
            .with_hint("lakewright runs lists the runs of the lake")
    };
    let run_ids = lake.list_dirs(layout::RUNS_DIR).await?;
    let mut found = run_ids.into_iter().filter(|id| !run_id.is_empty() && id.starts_with(run_id));
    let first = found.next().ok_or_else(no_run)?;
    if found.next().is_some() {
        return Err(Error::new(ErrorKind::Invalid, "several runs have ids that begin so")
            .with("run", run_id)
            .with_hint("give more of the id"));
    }
    read_record(lake, first).await?.ok_or_else(no_run)
}

async fn require_lake(lake: &Prefix) -> Result<()> {
    match open_lake(lake).await? {
        Some(_) => Ok(()),
        None => Err(Error::new(ErrorKind::NotFound, "there is no lake here")
            .with("location", lake.display_location())
            .with_hint("lakewright run makes it; check --lake")),
    }
}

/// Reads one run; `None` if it was not accepted.
async fn read_record(lake: &Prefix, run_id: String) -> Result<Option<RunRecord>> {
    let Some(spec) = read_object::<Spec>(lake, &layout::spec(&run_id)).await? else { return Ok(None) };
    let done = read_object::<Done>(lake, &layout::done(&run_id)).await?;
    let sequence = match &done {
        Some(done) => Some(done.sequence),
        None => find_slot(lake, &spec.job, &run_id, spec.first_sequence).await?,
    };
    let Some(sequence) = sequence else { return Ok(None) };
    let (state, failure) = match &done {
        Some(done) => (state_at_end(done.end), done.failure.as_ref().map(|reason| reason.message.clone())),
        None => state_of_unfinished(lake, &run_id).await?,
    };
    let summary = done.as_ref().map(|done| run_summary(&run_id, done)).transpose()?;
    let operation = spec.operation.as_ref().map(describe_operation);
    let (job, accepted_us) = (spec.job, spec.execution_us);
    Ok(Some(RunRecord { run_id, job, sequence, state, accepted_us, failure, operation, place: None, summary }))
}

fn describe_operation(operation: &Operation) -> String {
    match operation {
        Operation::Rewind { release } => format!("rewind to release {release}"),
        Operation::Repair { run_id } => format!("repair run {run_id}"),
        Operation::Drop { table, .. } => format!("drop {table}"),
        Operation::Optimize { tables, .. } if tables.is_empty() => "optimize".to_owned(),
        Operation::Optimize { tables, .. } => format!("optimize {}", tables.join(", ")),
    }
}

fn state_at_end(end: RunEnd) -> RunState {
    match end {
        RunEnd::Succeeded => RunState::Succeeded,
        RunEnd::Failed => RunState::Failed,
        RunEnd::Cancelled => RunState::Cancelled,
    }
}

async fn state_of_unfinished(lake: &Prefix, run_id: &str) -> Result<(RunState, Option<String>)> {
    if let Some(broken) = read_object::<Broken>(lake, &layout::broken(run_id)).await? {
        return Ok((RunState::Broken, Some(format!("{}: {}", broken.table, broken.message))));
    }
    if let Some(outcome) = read_object::<Outcome>(lake, &layout::outcome(run_id)).await? {
        return Ok(match outcome.verdict {
            Verdict::Publish(_) => (RunState::Publishing, None),
            Verdict::Abort(reason) if reason.cancelled => (RunState::Cancelled, Some(reason.message)),
            Verdict::Abort(reason) => (RunState::Failed, Some(reason.message)),
        });
    }
    let frozen = read_object::<Frozen>(lake, &layout::frozen(run_id)).await?;
    Ok((if frozen.is_some() { RunState::Running } else { RunState::Accepted }, None))
}

/// Finds the number of a run in its job; `None` if it was not accepted. The run's slot cannot be below `first_sequence`,
/// and the slots are dense.
///
/// # Errors
/// As [`read_object`].
pub(crate) async fn find_slot(lake: &Prefix, job: &str, run_id: &str, first_sequence: u64) -> Result<Option<u64>> {
    let mut sequence = first_sequence;
    loop {
        let key = layout::job_slot(job, sequence);
        match retrying(|| read_object::<JobSlot>(lake, &key)).await? {
            Some(slot) if slot.run_id == run_id => return Ok(Some(sequence)),
            Some(_) => sequence += 1,
            None => return Ok(None),
        }
    }
}
