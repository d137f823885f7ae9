//! Values of the scheduler as messages of the contract. Pure.

use std::time::Duration;

use lakewright_lake::state::{CheckRecord, SourceRead, StepTimes, WriterShare};
use lakewright_proto::v1::{self, run_event::Event};

use crate::{ExecutorInfo, LakeTable, RunEvent, RunRecord, RunState, RunSummary, StepAction, StepSummary, StepWork};

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A run's state.
pub(super) fn state(state: RunState) -> v1::RunState {
    match state {
        RunState::Accepted => v1::RunState::Accepted,
        RunState::Running => v1::RunState::Running,
        RunState::Publishing => v1::RunState::Publishing,
        RunState::Succeeded => v1::RunState::Succeeded,
        RunState::Failed => v1::RunState::Failed,
        RunState::Cancelled => v1::RunState::Cancelled,
        RunState::Broken => v1::RunState::Broken,
    }
}

fn action(action: &StepAction) -> v1::StepAction {
    let work = match action.work {
        StepWork::Skip => v1::StepWork::Skip,
        StepWork::Replace => v1::StepWork::Replace,
        StepWork::Append => v1::StepWork::Append,
        StepWork::Update => v1::StepWork::Update,
        StepWork::Define => v1::StepWork::Define,
    };
    v1::StepAction { work: work.into(), reason: action.reason.clone() }
}

fn step(step: &StepSummary) -> v1::StepSummary {
    v1::StepSummary {
        table: step.table.to_string(),
        action: Some(action(&step.action)),
        rows_in: step.rows_in,
        rows_out: step.rows_out,
        rejects: step.rejects,
        files: step.files,
        bytes: step.bytes,
        bytes_spilled: step.bytes_spilled,
        duration_us: micros(step.duration),
        version: step.version,
        times: step.times.as_ref().map(times),
        written_by: step.written_by.iter().map(share).collect(),
        checks: step.checks.iter().map(check).collect(),
    }
}

fn share(share: &WriterShare) -> v1::WriterShare {
    let WriterShare { executor, host, files, rows, bytes } = share.clone();
    v1::WriterShare { executor, host, files, rows, bytes }
}

fn times(times: &StepTimes) -> v1::StepTimes {
    let tasks = times.tasks.as_ref().map(|tasks| v1::TaskTimes {
        tasks: tasks.tasks,
        slowest_us: tasks.slowest_us,
        median_us: tasks.median_us,
        slowest_on: tasks.slowest_on.clone(),
    });
    let StepTimes { waited_us, executions, spared_memory, throttled, .. } = *times;
    v1::StepTimes { waited_us, executions, spared_memory, throttled, tasks }
}

fn check(record: &CheckRecord) -> v1::CheckResult {
    v1::CheckResult {
        name: record.name.clone(),
        rule: record.rule.clone(),
        on_violation: record.on_violation.clone(),
        rows: record.rows,
        violations: record.violations,
        sample: record.sample.clone().unwrap_or_default(),
        detail: record.detail.clone().unwrap_or_default(),
    }
}

fn summary(summary: &RunSummary) -> v1::RunSummary {
    v1::RunSummary {
        release: summary.release,
        steps: summary.steps.iter().map(step).collect(),
        duration_us: micros(summary.duration),
        reads: summary.reads.iter().map(read).collect(),
        waited_us: micros(summary.waited),
    }
}

fn read(read: &SourceRead) -> v1::SourceRead {
    let SourceRead { source, objects, bytes, digest, tally, drift, report } = read;
    v1::SourceRead {
        source: source.clone(),
        objects: *objects,
        bytes: *bytes,
        digest: digest.clone(),
        lines: tally.lines,
        rows: tally.rows,
        rejects: tally.rejects,
        left_out: tally.left_out,
        blanks: tally.blanks,
        undeclared: drift.undeclared.clone().into_iter().collect(),
        misfits: drift.misfits.clone().into_iter().collect(),
        duplicate_keys: drift.duplicate_keys,
        report: report.clone(),
    }
}

/// A run.
pub(super) fn run(record: &RunRecord) -> v1::Run {
    v1::Run {
        run_id: record.run_id.clone(),
        job: record.job.clone(),
        sequence: record.sequence,
        state: state(record.state).into(),
        accepted_us: record.accepted_us,
        failure: record.failure.clone().unwrap_or_default(),
        place: record.place,
        summary: record.summary.as_ref().map(summary),
    }
}

/// The end of a run.
pub(super) fn ended(record: &RunRecord, error: Option<v1::ErrorDetail>) -> v1::RunEnded {
    v1::RunEnded { state: state(record.state).into(), error, summary: record.summary.as_ref().map(summary) }
}

/// An event of a driver.
pub(super) fn event(event: &RunEvent) -> Event {
    match event {
        RunEvent::Accepted { run_id, sequence } => {
            Event::Accepted(v1::RunAccepted { run_id: run_id.clone(), sequence: *sequence })
        }
        RunEvent::Resuming { run_id } => Event::Resuming(v1::EarlierRun { run_id: run_id.clone() }),
        RunEvent::Waiting { run_id } => Event::Waiting(v1::EarlierRun { run_id: run_id.clone() }),
        RunEvent::Queued { place, running } => Event::Queued(v1::RunQueued { place: *place, running: *running }),
        RunEvent::Planned { steps } => {
            let planned = |(table, planned): &(lakewright_compiler::TableName, StepAction)| v1::PlannedStep {
                table: table.to_string(),
                action: Some(action(planned)),
            };
            Event::Planned(v1::RunPlanned { steps: steps.iter().map(planned).collect() })
        }
        RunEvent::StepStarted { step } => Event::StepStarted(v1::StepStarted { table: step.to_string() }),
        RunEvent::StepProgressed { step, progress } => Event::StepProgressed(v1::StepProgressed {
            table: step.to_string(),
            rows_read: progress.rows_read,
            bytes_read: progress.bytes_read,
            rows_written: progress.rows_written,
            bytes_spilled: progress.bytes_spilled,
        }),
        RunEvent::StepFinished { summary } => Event::StepFinished(step(summary)),
        RunEvent::Publishing => Event::Publishing(v1::RunPublishing {}),
    }
}

/// A table of a release.
pub(super) fn table(table: &LakeTable) -> v1::Table {
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| v1::Column {
        name: field.name().clone(),
        r#type: field.data_type().to_string(),
        nullable: field.is_nullable(),
    };
    v1::Table {
        name: table.name.to_string(),
        job: table.job.clone(),
        view_sql: table.view.clone(),
        version: table.version,
        rows: table.rows,
        files: table.files,
        bytes: table.bytes,
        partition_columns: table.partition_columns.clone(),
        location: table.location.clone(),
        columns: table.schema.fields().iter().map(column).collect(),
    }
}

/// An executor.
pub(super) fn executor(executor: &ExecutorInfo) -> v1::Executor {
    v1::Executor {
        id: executor.id.clone(),
        host: executor.host.clone(),
        slots: executor.slots,
        slots_free: executor.slots_free,
        seen_us: executor.seen_us,
    }
}
