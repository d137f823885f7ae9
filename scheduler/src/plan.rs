//! What a run would do, without writing anything.

use std::collections::BTreeMap;

use lakewright_compiler::{Job, Model, TableName};
use lakewright_error::Result;
use lakewright_lake::{
    Prefix, layout,
    state::{Active, ReleasedTable, list_names, open_lake, read_object},
};
use serde::{Deserialize, Serialize};

use crate::{
    Clock, StepAction, StepWork, SystemClock,
    check::{CheckHistory, EarlierCheck, check_history},
    decide::{decide, difference},
    evidence::{Evidence, gather},
    record::find_slot,
    run::{QUARANTINE_KIND, REJECTS_KIND, RunOptions},
};

/// What a run would do now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunPlan {
    /// Steps in the order of the job's models.
    pub steps: Vec<StepPlan>,
    /// The release that it would start from.
    pub base_release: Option<u64>,
    /// What the user should know: orphaned tables, unfinished runs.
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
    /// What must hold of the table, with what that last came to.
    pub checks: Vec<PlannedCheck>,
}

/// One check of a model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedCheck {
    /// Unique among the model's checks.
    pub name: String,
    /// What is demanded, for people.
    pub rule: String,
    /// What is done about a violation: `WARN`, `DROP`, `QUARANTINE` or `FAIL`.
    pub on_violation: String,
    /// What it came to in the last run that asked it, if one did lately.
    pub last: Option<EarlierCheck>,
}

/// Plans a run of `job`; writes nothing.
///
/// # Errors
/// - [`lakewright_error::ErrorKind::NotFound`]: a source has no objects, the raw prefix does not exist, or an unselected table that is
///   read has never been published.
/// - [`lakewright_error::ErrorKind::Conflict`]: a table belongs to another job.
/// - [`lakewright_error::ErrorKind::Corrupt`]: a source has lost more than 5 % of its known objects, or a state object does not parse.
/// - [`lakewright_error::ErrorKind::Unavailable`]: the store did not answer.
pub async fn plan_run(lake: &Prefix, raw: &Prefix, job: &Job, options: &RunOptions) -> Result<RunPlan> {
    open_lake(lake).await?;
    let evidence = gather(lake, raw, job, options, SystemClock.now_us()).await?;
    let decisions = decide(job, &evidence)?;
    let mut notes: Vec<String> = decisions.iter().flat_map(|decision| decision.notes.clone()).collect();
    notes.extend(orphan_notes(job, &evidence));
    notes.extend(unfinished_notes(lake, job).await?);
    let works = decisions.iter().map(|decision| (decision.table.clone(), decision.action.work)).collect();
    let has_checks = job.models.iter().any(|model| !model.checks.is_empty());
    let history = if has_checks { check_history(lake, &job.name, None).await? } else { CheckHistory::default() };
    let steps = job.models.iter().zip(decisions).map(|(model, decision)| {
        let reads = read_by(model, &evidence, &works);
        let replaced = decision.action.work == StepWork::Replace;
        StepPlan {
            table: model.name.clone(),
            kind: model.kind.keyword().to_owned(),
            reads: model.query.reads.clone(),
            objects: reads.objects,
            bytes: reads.bytes,
            files_replaced: evidence.released(&model.name).filter(|_| replaced).map_or(0, |entry| entry.files),
            action: decision.action,
            checks: planned_checks(model, &history),
        }
    });
    Ok(RunPlan { steps: steps.collect(), base_release: evidence.base.as_ref().map(|base| base.number), notes })
}

fn planned_checks(model: &Model, history: &CheckHistory) -> Vec<PlannedCheck> {
    let table = model.name.to_string();
    let planned = |name: &str, rule: &str, on_violation: &str| PlannedCheck {
        name: name.to_owned(),
        rule: rule.to_owned(),
        on_violation: on_violation.to_owned(),
        last: history.last(&table, name).cloned(),
    };
    let rows = model.checks.rows.iter().map(|check| planned(&check.name, &check.rule, check.on_violation.keyword()));
    let tables = model.checks.tables.iter();
    let tables = tables.map(|check| planned(&check.name, &check.rule, if check.blocking { "FAIL" } else { "WARN" }));
    rows.chain(tables).collect()
}

#[derive(Default)]
struct Reads {
    objects: u64,
    bytes: u64,
}

/// What a step reads, as far as it exists already: files that earlier steps of the run will write are not there yet.
fn read_by(model: &Model, evidence: &Evidence, works: &BTreeMap<TableName, StepWork>) -> Reads {
    let mut reads = Reads::default();
    let work = works.get(&model.name).copied().unwrap_or(StepWork::Skip);
    let Some(lineage) = evidence.lineages.get(&model.name) else { return reads };
    let reads_all = work == StepWork::Update && model.kind.sides().is_some();
    if !matches!(work, StepWork::Replace | StepWork::Append) && !reads_all {
        return reads;
    }
    let driving = model.kind.driving().filter(|_| work == StepWork::Append);
    for source in &lineage.sources {
        let Some(listing) = evidence.listings.get(source) else { continue };
        if driving == Some(source) {
            let ledger = evidence.ledgers.get(&model.name).map_or(&[][..], Vec::as_slice);
            let added = difference(&source.to_string(), &listing.objects, ledger).added;
            reads.objects += added.len() as u64;
            reads.bytes += added.iter().map(|object| object.size_bytes).sum::<u64>();
        } else {
            reads.objects += listing.objects.len() as u64;
            reads.bytes += listing.bytes;
        }
    }
    for table in lineage.tables.iter().filter(|table| driving != Some(*table)) {
        let rebuilt = works.get(table) == Some(&StepWork::Replace);
        if let Some(entry) = evidence.released(table).filter(|_| !rebuilt) {
            reads.objects += entry.files;
            reads.bytes += entry.bytes;
        }
    }
    reads
}

fn orphan_notes(job: &Job, evidence: &Evidence) -> Vec<String> {
    let Some(base) = &evidence.base else { return Vec::new() };
    let has_model = |table: &str| job.models.iter().any(|model| model.name.to_string() == table);
    let is_own = |entry: &ReleasedTable| {
        entry.job == job.name && ![REJECTS_KIND, QUARANTINE_KIND].contains(&entry.kind.as_str())
    };
    let orphans = base.tables.iter().filter(|(table, entry)| is_own(entry) && !has_model(table));
    orphans.map(|(table, _)| format!("{table}: its model was removed; the table stays as it is")).collect()
}

async fn unfinished_notes(lake: &Prefix, job: &Job) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for run_id in list_names(lake, layout::ACTIVE_DIR).await? {
        let marker = read_object::<Active>(lake, &layout::active(&run_id)).await?;
        let Some(marker) = marker.filter(|marker| marker.job == job.name) else { continue };
        // A marker without a number is of a run that was never accepted.
        if find_slot(lake, &job.name, &run_id, marker.first_sequence).await?.is_some() {
            notes.push(format!(
                "run {run_id} is unfinished: the next run of the job brings it to its end first, with the files that it \
                 began with (to give it up instead: lakewright cancel {run_id})"
            ));
        }
    }
    Ok(notes)
}
