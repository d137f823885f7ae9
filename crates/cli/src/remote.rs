//! The scheduler that commands talk to, and its messages as the values that [`crate::render`] shows.
//!
//! Data flow: settings -> [`client`] -> messages of the contract -> **here** -> values of the scheduler crate.
//!
//! Invariant: a message of a newer scheduler is shown as far as it is known, never guessed at.

use std::{fs, time::Duration};

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use lakewright_client::{
    Client, Target,
    v1::{self, run_event::Event},
};
use lakewright_compiler::TableName;
use lakewright_engine::StepProgress;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::state::{CheckRecord, Drift, SourceRead, StepTimes, Tally, TaskTimes, WriterShare};
use lakewright_scheduler::{
    ExecutorInfo, LakeTable, RunEvent, RunRecord, RunState, RunSummary, StepAction, StepSummary, StepWork,
};

use crate::settings::Settings;

/// Connects to the scheduler of the settings; `None` if they name none.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: the address or the authority's certificate cannot be used.
/// - [`ErrorKind::Unavailable`]: nobody answers.
pub(crate) async fn client(settings: &Settings) -> Result<Option<Client>> {
    match &settings.scheduler {
        Some(address) => client_of(settings, address).await.map(Some),
        None => Ok(None),
    }
}

/// Connects to the scheduler at an address, or to the first of several that answers.
///
/// # Errors
/// As [`client`].
pub(crate) async fn client_of(settings: &Settings, address: &str) -> Result<Client> {
    // The certificates of a scheduler of the same project are where it keeps them.
    let own = Some(settings.certs.join("ca.pem")).filter(|path| path.is_file());
    let ca_pem = match settings.ca.clone().or(own) {
        Some(path) => Some(fs::read(&path).map_err(|error| {
            Error::new(ErrorKind::Invalid, "cannot read the authority's certificate")
                .with("file", path.display())
                .with_hint("set `ca` or LAKEWRIGHT_CA to the ca.pem of the scheduler's `lakewright certs`")
                .with_source(error)
        })?),
        None => None,
    };
    let token = settings.token.as_ref().map(|token| token.0.clone());
    Client::connect(&Target { address: address.to_owned(), token, ca_pem }).await
}

/// Connects to the scheduler, which the command cannot do without.
///
/// # Errors
/// As [`client`]; [`ErrorKind::Invalid`] also if no scheduler is named.
pub(crate) async fn required_client(settings: &Settings) -> Result<Client> {
    client(settings).await?.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "nothing says where the scheduler is")
            .with_hint("set LAKEWRIGHT_SCHEDULER, or give --scheduler https://host:50040")
    })
}

fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, "the scheduler's answer is not understood")
        .with("field", what)
        .with_hint("is the scheduler of another version? Use the same on both sides")
}

fn table_name(text: &str) -> Result<TableName> {
    TableName::parse(text).ok_or_else(|| corrupt("table"))
}

fn state(state: i32) -> Result<RunState> {
    Ok(match v1::RunState::try_from(state) {
        Ok(v1::RunState::Accepted) => RunState::Accepted,
        Ok(v1::RunState::Running) => RunState::Running,
        Ok(v1::RunState::Publishing) => RunState::Publishing,
        Ok(v1::RunState::Succeeded) => RunState::Succeeded,
        Ok(v1::RunState::Failed) => RunState::Failed,
        Ok(v1::RunState::Cancelled) => RunState::Cancelled,
        Ok(v1::RunState::Broken) => RunState::Broken,
        Ok(v1::RunState::Unspecified) | Err(_) => return Err(corrupt("state")),
    })
}

fn action(action: Option<&v1::StepAction>) -> Result<StepAction> {
    let action = action.ok_or_else(|| corrupt("action"))?;
    let work = match action.work() {
        v1::StepWork::Skip => StepWork::Skip,
        v1::StepWork::Replace => StepWork::Replace,
        v1::StepWork::Append => StepWork::Append,
        v1::StepWork::Update => StepWork::Update,
        v1::StepWork::Define => StepWork::Define,
        v1::StepWork::Unspecified => return Err(corrupt("work")),
    };
    Ok(StepAction { work, reason: action.reason.clone() })
}

fn step(step: &v1::StepSummary) -> Result<StepSummary> {
    Ok(StepSummary {
        table: table_name(&step.table)?,
        action: action(step.action.as_ref())?,
        rows_in: step.rows_in,
        rows_out: step.rows_out,
        rejects: step.rejects,
        files: step.files,
        bytes: step.bytes,
        bytes_spilled: step.bytes_spilled,
        duration: Duration::from_micros(step.duration_us),
        times: step.times.as_ref().map(times),
        written_by: step.written_by.iter().map(share).collect(),
        version: step.version,
        checks: step.checks.iter().map(check).collect(),
    })
}

fn share(share: &v1::WriterShare) -> WriterShare {
    let v1::WriterShare { executor, host, files, rows, bytes } = share.clone();
    WriterShare { executor, host, files, rows, bytes }
}

fn times(times: &v1::StepTimes) -> StepTimes {
    let tasks = times.tasks.as_ref().map(|tasks| TaskTimes {
        tasks: tasks.tasks,
        slowest_us: tasks.slowest_us,
        median_us: tasks.median_us,
        slowest_on: tasks.slowest_on.clone(),
    });
    let v1::StepTimes { waited_us, executions, spared_memory, throttled, .. } = *times;
    StepTimes { waited_us, executions, spared_memory, throttled, tasks }
}

fn check(result: &v1::CheckResult) -> CheckRecord {
    CheckRecord {
        name: result.name.clone(),
        rule: result.rule.clone(),
        on_violation: result.on_violation.clone(),
        rows: result.rows,
        violations: result.violations,
        sample: Some(result.sample.clone()).filter(|sample| !sample.is_empty()),
        detail: Some(result.detail.clone()).filter(|detail| !detail.is_empty()),
    }
}

/// A run's summary.
pub(crate) fn summary(run_id: &str, sequence: u64, summary: &v1::RunSummary) -> Result<RunSummary> {
    Ok(RunSummary {
        run_id: run_id.to_owned(),
        sequence,
        release: summary.release,
        steps: summary.steps.iter().map(step).collect::<Result<_>>()?,
        duration: Duration::from_micros(summary.duration_us),
        reads: summary.reads.iter().map(read).collect(),
        waited: Duration::from_micros(summary.waited_us),
    })
}

fn read(read: &v1::SourceRead) -> SourceRead {
    SourceRead {
        source: read.source.clone(),
        objects: read.objects,
        bytes: read.bytes,
        digest: read.digest.clone(),
        tally: Tally {
            lines: read.lines,
            rows: read.rows,
            rejects: read.rejects,
            left_out: read.left_out,
            blanks: read.blanks,
        },
        drift: Drift {
            undeclared: read.undeclared.clone().into_iter().collect(),
            misfits: read.misfits.clone().into_iter().collect(),
            duplicate_keys: read.duplicate_keys,
        },
        report: read.report.clone(),
    }
}

/// A run.
pub(crate) fn record(run: &v1::Run) -> Result<RunRecord> {
    Ok(RunRecord {
        // The contract has no word for what is done at the lake alone.
        operation: None,
        run_id: run.run_id.clone(),
        job: run.job.clone(),
        sequence: run.sequence,
        state: state(run.state)?,
        accepted_us: run.accepted_us,
        failure: Some(run.failure.clone()).filter(|failure| !failure.is_empty()),
        place: run.place,
        summary: run.summary.as_ref().map(|found| summary(&run.run_id, run.sequence, found)).transpose()?,
    })
}

/// An event, if it is one that this program knows and that does not end the run.
pub(crate) fn event(event: &Event) -> Result<Option<RunEvent>> {
    Ok(Some(match event {
        Event::Accepted(accepted) => {
            RunEvent::Accepted { run_id: accepted.run_id.clone(), sequence: accepted.sequence }
        }
        Event::Resuming(earlier) => RunEvent::Resuming { run_id: earlier.run_id.clone() },
        Event::Waiting(earlier) => RunEvent::Waiting { run_id: earlier.run_id.clone() },
        Event::Planned(planned) => {
            let steps = planned.steps.iter();
            let steps = steps.map(|step| Ok((table_name(&step.table)?, action(step.action.as_ref())?)));
            RunEvent::Planned { steps: steps.collect::<Result<_>>()? }
        }
        Event::StepStarted(started) => RunEvent::StepStarted { step: table_name(&started.table)? },
        Event::StepProgressed(progressed) => RunEvent::StepProgressed {
            step: table_name(&progressed.table)?,
            progress: StepProgress {
                rows_read: progressed.rows_read,
                bytes_read: progressed.bytes_read,
                rows_written: progressed.rows_written,
                bytes_spilled: progressed.bytes_spilled,
            },
        },
        Event::StepFinished(finished) => RunEvent::StepFinished { summary: step(finished)? },
        Event::Publishing(_) => RunEvent::Publishing,
        Event::Queued(queued) => RunEvent::Queued { place: queued.place, running: queued.running },
        Event::Ended(_) => return Ok(None),
    }))
}

/// The tables of the newest release, without their columns.
pub(crate) async fn tables(client: &Client) -> Result<Vec<LakeTable>> {
    let listed = client.list_tables(v1::ListTablesRequest {}).await?;
    let tables = listed.tables.iter().map(|table| {
        Ok(LakeTable {
            name: table_name(&table.name)?,
            schema: SchemaRef::new(Schema::empty()),
            job: table.job.clone(),
            view: table.view_sql.clone(),
            version: table.version,
            rows: table.rows,
            files: table.files,
            bytes: table.bytes,
            partition_columns: table.partition_columns.clone(),
            location: table.location.clone(),
        })
    });
    tables.collect()
}

/// Who executes steps.
pub(crate) async fn executors(client: &Client) -> Result<Vec<ExecutorInfo>> {
    let listed = client.list_executors(v1::ListExecutorsRequest {}).await?;
    let executors = listed.executors.into_iter().map(|executor| ExecutorInfo {
        id: executor.id,
        host: executor.host,
        slots: executor.slots,
        slots_free: executor.slots_free,
        seen_us: executor.seen_us,
    });
    Ok(executors.collect())
}

/// Whether the end is one that published everything.
pub(crate) fn has_succeeded(ended: &v1::RunEnded) -> bool {
    ended.state() == v1::RunState::Succeeded
}
