//! The documents that `--json` prints; `docs/json.md` describes every field.
//!
//! Invariant: a field keeps its name and its meaning; new ones may come. Sizes are bytes, times are seconds or RFC 3339
//! in UTC.

use std::collections::BTreeMap;

use lakewright_compiler::{Diagnostic, Job, Severity};
use lakewright_error::ErrorKind;
use lakewright_lake::state::{RejectRow, SourceRead, WriterShare};
use lakewright_scheduler::{
    CheckHistory, ExecutorInfo, LakeCatalog, LakeTable, RunPlan, RunRecord, RunState, RunSummary, SourceRejects,
    StepAction, StepSummary, service::Token,
};
use serde::Serialize;

use super::{
    failure::causes,
    json_checks::{CheckResultDocument, PlannedCheckDocument},
};
use crate::{
    exit::{Failure, Findings},
    settings::SettingOrigin,
};

/// One finding in a job file or a query.
#[derive(Debug, Serialize)]
pub(crate) struct FindingDocument {
    severity: &'static str,
    code: &'static str,
    message: String,
    file: String,
    line: usize,
    column: usize,
    help: Option<String>,
}

impl FindingDocument {
    /// The document of a diagnostic, with the file as the user can open it.
    pub(crate) fn new(diagnostic: &Diagnostic, file: String) -> Self {
        let severity = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let Diagnostic { code, message, line, column, help, .. } = diagnostic.clone();
        Self { severity, code, message, file, line, column, help }
    }

    fn all(findings: &Findings) -> Vec<Self> {
        let shown = |name: &str| findings.files.get(name).map_or_else(|| name.to_owned(), |(shown, _)| shown.clone());
        findings.diagnostics.iter().map(|found| Self::new(found, shown(&found.file))).collect()
    }
}

/// `check`
#[derive(Debug, Serialize)]
pub(crate) struct CheckDocument {
    ok: bool,
    job: String,
    sources: usize,
    models: usize,
    analyses: usize,
    diagnostics: Vec<FindingDocument>,
}

impl CheckDocument {
    /// The document of a job that compiles; `findings` are its warnings.
    pub(crate) fn new(job: &Job, findings: &Findings) -> Self {
        Self {
            ok: true,
            job: job.name.clone(),
            sources: job.sources.len(),
            models: job.models.len(),
            analyses: job.analyses.len(),
            diagnostics: FindingDocument::all(findings),
        }
    }
}

/// `plan`
#[derive(Debug, Serialize)]
pub(crate) struct PlanDocument {
    job: String,
    base_release: Option<u64>,
    steps: Vec<PlannedStep>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PlannedStep {
    table: String,
    kind: String,
    action: StepAction,
    reads: Vec<String>,
    objects: u64,
    bytes: u64,
    files_replaced: u64,
    checks: Vec<PlannedCheckDocument>,
}

impl PlanDocument {
    /// The document of a job's plan.
    pub(crate) fn new(job: &str, plan: &RunPlan) -> Self {
        let steps = plan.steps.iter().map(|step| PlannedStep {
            table: step.table.to_string(),
            kind: step.kind.clone(),
            action: step.action.clone(),
            reads: step.reads.iter().map(ToString::to_string).collect(),
            objects: step.objects,
            bytes: step.bytes,
            files_replaced: step.files_replaced,
            checks: PlannedCheckDocument::all(&step.checks),
        });
        Self { job: job.to_owned(), base_release: plan.base_release, steps: steps.collect(), notes: plan.notes.clone() }
    }
}

/// What the reading of one source came to.
#[derive(Debug, Serialize)]
struct ReadDocument {
    source: String,
    objects: u64,
    bytes: u64,
    records: u64,
    rows: u64,
    rejects: u64,
    left_out: u64,
    blank_lines: u64,
    misfits: BTreeMap<String, u64>,
    undeclared: BTreeMap<String, u64>,
    duplicate_keys: u64,
}

impl ReadDocument {
    fn new(read: &SourceRead) -> Self {
        Self {
            source: read.source.clone(),
            objects: read.objects,
            bytes: read.bytes,
            records: read.tally.records(),
            rows: read.tally.rows,
            rejects: read.tally.rejects,
            left_out: read.tally.left_out,
            blank_lines: read.tally.blanks,
            misfits: read.drift.misfits.clone(),
            undeclared: read.drift.undeclared.clone(),
            duplicate_keys: read.drift.duplicate_keys,
        }
    }
}

/// `rejects`
#[derive(Debug, Serialize)]
pub(crate) struct RejectsDocument {
    lake: String,
    run_id: Option<String>,
    sources: Vec<SourceRejectsDocument>,
}

#[derive(Debug, Serialize)]
struct SourceRejectsDocument {
    source: String,
    total: u64,
    rejects: Vec<RejectDocument>,
}

#[derive(Debug, Serialize)]
struct RejectDocument {
    run_id: String,
    object: String,
    line: u64,
    byte_offset: u64,
    reason: String,
    column_name: Option<String>,
    message: String,
    record: Option<String>,
}

impl RejectsDocument {
    /// The document of rejects; `run_id` is the run that they were asked of.
    pub(crate) fn new(lake: String, run_id: Option<String>, rejects: &[SourceRejects]) -> Self {
        let reject = |row: &RejectRow| RejectDocument {
            run_id: row.run_id.clone(),
            object: row.reject.object.clone(),
            line: row.reject.line,
            byte_offset: row.reject.byte_offset,
            reason: row.reject.reason.clone(),
            column_name: row.reject.column.clone(),
            message: row.reject.message.clone(),
            record: row.reject.record.clone(),
        };
        let sources = rejects.iter().map(|source| SourceRejectsDocument {
            source: format!("raw.{}", source.source),
            total: source.total,
            rejects: source.rows.iter().map(reject).collect(),
        });
        Self { lake, run_id, sources: sources.collect() }
    }
}

/// `run`
#[derive(Debug, Serialize)]
pub(crate) struct RunDocument {
    job: String,
    run_id: String,
    sequence: u64,
    release: Option<u64>,
    duration_s: f64,
    steps: Vec<FinishedStep>,
    sources: Vec<ReadDocument>,
    /// Where other engines find each table of the job.
    tables: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct FinishedStep {
    table: String,
    action: StepAction,
    rows_in: u64,
    rows_out: u64,
    rejects: u64,
    files: u64,
    bytes: u64,
    bytes_spilled: u64,
    duration_s: f64,
    version: Option<u64>,
    written_by: Vec<WriterShare>,
    checks: Vec<CheckResultDocument>,
}

impl FinishedStep {
    fn new(step: &StepSummary, history: &CheckHistory) -> Self {
        Self {
            checks: CheckResultDocument::all(&step.table.to_string(), &step.checks, history),
            table: step.table.to_string(),
            action: step.action.clone(),
            rows_in: step.rows_in,
            rows_out: step.rows_out,
            rejects: step.rejects,
            files: step.files,
            bytes: step.bytes,
            bytes_spilled: step.bytes_spilled,
            duration_s: step.duration.as_secs_f64(),
            version: step.version,
            written_by: step.written_by.clone(),
        }
    }
}

impl RunDocument {
    /// The document of a run that has ended well.
    pub(crate) fn new(job: &str, summary: &RunSummary, tables: BTreeMap<String, String>) -> Self {
        Self {
            job: job.to_owned(),
            run_id: summary.run_id.clone(),
            sequence: summary.sequence,
            release: summary.release,
            duration_s: summary.duration.as_secs_f64(),
            steps: summary.steps.iter().map(|step| FinishedStep::new(step, &CheckHistory::default())).collect(),
            sources: summary.reads.iter().map(ReadDocument::new).collect(),
            tables,
        }
    }
}

/// `tables`
#[derive(Debug, Serialize)]
pub(crate) struct TablesDocument {
    lake: String,
    release: Option<u64>,
    tables: Vec<TableDocument>,
}

#[derive(Debug, Serialize)]
struct TableDocument {
    table: String,
    kind: &'static str,
    job: String,
    rows: Option<u64>,
    files: Option<u64>,
    bytes: Option<u64>,
    version: Option<u64>,
    partition_columns: Vec<String>,
    location: Option<String>,
    sql: Option<String>,
}

impl TablesDocument {
    /// The document of a lake's newest release.
    pub(crate) fn new(lake: String, catalog: &LakeCatalog) -> Self {
        let table = |table: &LakeTable| {
            let stored = table.view.is_none();
            TableDocument {
                table: table.name.to_string(),
                kind: if stored { "table" } else { "view" },
                job: table.job.clone(),
                rows: stored.then_some(table.rows),
                files: stored.then_some(table.files),
                bytes: stored.then_some(table.bytes),
                version: table.version,
                partition_columns: table.partition_columns.clone(),
                location: stored.then(|| table.location.clone()),
                sql: table.view.clone(),
            }
        };
        Self { lake, release: catalog.release, tables: catalog.tables.iter().map(table).collect() }
    }
}

/// `runs`
#[derive(Debug, Serialize)]
pub(crate) struct RunsDocument {
    pub(crate) lake: String,
    pub(crate) runs: Vec<RunRecordDocument>,
}

/// `show`, and one of `runs`
#[derive(Debug, Serialize)]
pub(crate) struct RunRecordDocument {
    run_id: String,
    job: String,
    sequence: u64,
    state: RunState,
    accepted: Option<String>,
    failure: Option<String>,
    operation: Option<String>,
    queue_place: Option<u32>,
    release: Option<u64>,
    duration_s: Option<f64>,
    steps: Vec<FinishedStep>,
    sources: Vec<ReadDocument>,
}

impl RunRecordDocument {
    /// The document of a run; `history` is what its checks came to before.
    pub(crate) fn new(record: &RunRecord, history: &CheckHistory) -> Self {
        let summary = record.summary.as_ref();
        let steps = summary.iter().flat_map(|summary| &summary.steps);
        Self {
            run_id: record.run_id.clone(),
            job: record.job.clone(),
            sequence: record.sequence,
            state: record.state,
            accepted: rfc3339(record.accepted_us),
            failure: record.failure.clone(),
            operation: record.operation.clone(),
            queue_place: record.place,
            release: summary.and_then(|summary| summary.release),
            duration_s: summary.map(|summary| summary.duration.as_secs_f64()),
            steps: steps.map(|step| FinishedStep::new(step, history)).collect(),
            sources: summary.iter().flat_map(|summary| &summary.reads).map(ReadDocument::new).collect(),
        }
    }
}

fn rfc3339(microseconds: i64) -> Option<String> {
    let time = chrono::DateTime::from_timestamp_micros(microseconds);
    time.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
}

/// `submit --detach`, `retry --detach`
#[derive(Debug, Serialize)]
pub(crate) struct SubmittedDocument {
    pub(crate) run_id: String,
    sequence: u64,
    repeated: bool,
}

impl SubmittedDocument {
    /// The document of a run that a scheduler has accepted.
    pub(crate) fn new(run_id: String, sequence: u64, repeated: bool) -> Self {
        Self { run_id, sequence, repeated }
    }
}

/// `cancel`
#[derive(Debug, Serialize)]
pub(crate) struct CancelledDocument {
    pub(crate) run_id: String,
}

/// `executors`
#[derive(Debug, Serialize)]
pub(crate) struct ExecutorsDocument {
    executors: Vec<ExecutorDocument>,
}

#[derive(Debug, Serialize)]
struct ExecutorDocument {
    id: String,
    host: String,
    slots: u32,
    slots_free: Option<u32>,
    seen: Option<String>,
}

impl ExecutorsDocument {
    /// The document of who executes steps.
    pub(crate) fn new(executors: &[ExecutorInfo]) -> Self {
        let executor = |executor: &ExecutorInfo| ExecutorDocument {
            id: executor.id.clone(),
            host: executor.host.clone(),
            slots: executor.slots,
            slots_free: executor.slots_free,
            seen: executor.seen_us.and_then(rfc3339),
        };
        Self { executors: executors.iter().map(executor).collect() }
    }
}

/// `certs`
#[derive(Debug, Serialize)]
pub(crate) struct CertsDocument {
    pub(crate) folder: String,
    pub(crate) ca: String,
    pub(crate) hosts: Vec<String>,
}

/// `token create`
#[derive(Debug, Serialize)]
pub(crate) struct CreatedTokenDocument {
    name: String,
    token: String,
    expires: Option<String>,
}

impl CreatedTokenDocument {
    /// The document of a new token.
    pub(crate) fn new(name: &str, token: String, expires_us: Option<i64>) -> Self {
        Self { name: name.to_owned(), token, expires: expires_us.and_then(rfc3339) }
    }
}

/// `token list`
#[derive(Debug, Serialize)]
pub(crate) struct TokensDocument {
    tokens: Vec<TokenDocument>,
}

#[derive(Debug, Serialize)]
struct TokenDocument {
    name: String,
    created: Option<String>,
    expires: Option<String>,
}

impl TokensDocument {
    /// The document of a scheduler's tokens.
    pub(crate) fn new(tokens: &[Token]) -> Self {
        let token = |token: &Token| TokenDocument {
            name: token.name.clone(),
            created: rfc3339(token.created_us),
            expires: token.expires_us.and_then(rfc3339),
        };
        Self { tokens: tokens.iter().map(token).collect() }
    }
}

/// `doctor`
#[derive(Debug, Serialize)]
pub(crate) struct DoctorDocument {
    pub(crate) healthy: bool,
    pub(crate) checks: Vec<CheckedDocument>,
    pub(crate) settings: Vec<SettingOrigin>,
}

/// One line of `doctor`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CheckedDocument {
    pub(crate) name: &'static str,
    pub(crate) status: &'static str,
    pub(crate) detail: String,
    pub(crate) help: Option<String>,
}

/// `init` and the start of `demo`
#[derive(Debug, Serialize)]
pub(crate) struct InitDocument {
    pub(crate) project: String,
    pub(crate) files: usize,
    pub(crate) raw_objects: u64,
    pub(crate) raw_bytes: u64,
}

/// Any command that failed
#[derive(Debug, Serialize)]
pub(crate) struct FailureDocument {
    error: ErrorDocument,
    diagnostics: Vec<FindingDocument>,
}

#[derive(Debug, Serialize)]
struct ErrorDocument {
    kind: &'static str,
    exit_code: u8,
    message: String,
    context: BTreeMap<&'static str, String>,
    causes: Vec<String>,
    help: Option<String>,
}

impl FailureDocument {
    /// The document of a failure; `None` if there is nothing more to tell.
    pub(crate) fn new(failure: &Failure) -> Option<Self> {
        let exit_code = failure.code();
        match failure {
            Failure::Error(error, _) => {
                let described = ErrorDocument {
                    kind: kind_name(error.kind()),
                    exit_code,
                    message: error.message().to_owned(),
                    context: error.context().iter().cloned().collect(),
                    causes: causes(error),
                    help: error.hint().map(str::to_owned),
                };
                Some(Self { error: described, diagnostics: Vec::new() })
            }
            Failure::Findings(findings) => {
                let described = ErrorDocument {
                    kind: kind_name(ErrorKind::Invalid),
                    exit_code,
                    message: "the SQL or a job file is wrong".to_owned(),
                    context: BTreeMap::new(),
                    causes: Vec::new(),
                    help: None,
                };
                Some(Self { error: described, diagnostics: FindingDocument::all(findings) })
            }
            Failure::Told(_) | Failure::ReaderGone => None,
        }
    }
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "invalid",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Exhausted => "exhausted",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Denied => "denied",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Internal => "internal",
    }
}

#[cfg(test)]
mod tests;
