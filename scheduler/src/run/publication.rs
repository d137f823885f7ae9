//! What a run makes visible, and the release that says so: pure functions over values.
//!
//! Data flow: frozen inputs, written files and base versions -> [`publication`] -> `outcome.json` -> commits ->
//! [`next_release`] -> `releases/<n>.json`.
//!
//! Invariant: a release replaces the entries of its run's own tables and no others, and never by a lower version.

use std::{collections::BTreeMap, sync::Arc};

use lakewright_compiler::{Model, TableName};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    DataFile,
    state::{
        Compaction, Format, InputState, Publication, PublishedTable, Release, ReleasedTable, ReleasedView, Revision,
        Written,
    },
};
use uuid::Uuid;

use super::{
    accept::Accepted,
    freeze::Plan,
    inputs::{Segment, run_params},
    rejects::RunReads,
};
use crate::{StepWork, lineage::declared_params, literal::bind};

/// What the checks before publishing found about a table that executes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checked {
    /// The version that the commit comes after.
    pub(crate) base_version: Option<u64>,
    /// Its files: those that a replacement removes.
    pub(crate) base_files: Vec<DataFile>,
    /// What the step adds to its table's ledger.
    pub(crate) segment: Option<Segment>,
    /// The segment that says what files hold which were made by compaction.
    pub(crate) origins: Option<u64>,
}

/// Gives what becomes visible, in the job's order.
///
/// # Errors
/// - [`ErrorKind::Internal`]: a step that executes has not been written or checked.
pub(crate) fn publication(
    run: &Accepted,
    plan: &Plan,
    written: &BTreeMap<TableName, Written>,
    checked: &BTreeMap<TableName, Checked>,
    reads: &RunReads,
) -> Result<Publication> {
    let mut tables = Vec::new();
    for model in &plan.job.models {
        match plan.work(&model.name) {
            StepWork::Skip => {}
            StepWork::Define => tables.push(defined_view(run, plan, model)?),
            StepWork::Replace | StepWork::Append | StepWork::Update => {
                let missing = || Error::new(ErrorKind::Internal, "a step was not checked").with("table", &model.name);
                let written = written.get(&model.name).ok_or_else(missing)?;
                let checked = checked.get(&model.name).ok_or_else(missing)?;
                tables.push(published_table(plan, model, written, checked));
            }
        }
    }
    // Behind the tables: a reader that sees rejects sees what was made beside them.
    tables.extend(reads.tables.iter().map(|(table, _)| table.clone()));
    let revisions = plan.job.models.iter().filter_map(|model| rechecked(plan, model)).collect();
    Ok(Publication { tables, reads: reads.reads.clone(), revisions, ..Publication::default() })
}

/// What the release says about a table that stays as it is, and has passed checks that it had not been asked.
fn rechecked(plan: &Plan, model: &Model) -> Option<Revision> {
    let applies = plan.work(&model.name) == StepWork::Skip && plan.rechecks(&model.name);
    let entry = plan.evidence.released(&model.name).filter(|_| applies)?;
    let checks = plan.evidence.check_digests.get(&model.name).cloned();
    Some(Revision {
        table: model.name.to_string(),
        content: None,
        entry: Some(ReleasedTable { checks, ..entry.clone() }),
        own_inputs: Vec::new(),
    })
}

fn published_table(plan: &Plan, model: &Model, written: &Written, checked: &Checked) -> PublishedTable {
    let (inputs, own_inputs) = inputs_of(plan, model);
    PublishedTable {
        table: model.name.to_string(),
        kind: model.kind.keyword().to_owned(),
        work: plan.work(&model.name).into(),
        base_version: checked.base_version,
        fingerprint: written.fingerprint.clone(),
        schema: Arc::clone(&model.schema),
        partition_columns: model.partitioned_by.clone(),
        description: model.description.clone(),
        files: written.files.clone(),
        removes: written.removes.clone(),
        covered: written.covered.clone(),
        view: None,
        inputs,
        own_inputs,
        ledger: checked.segment.as_ref().map_or_else(Vec::new, |segment| segment.kept.clone()),
        new_segment: checked.segment.is_some(),
        checks: plan.evidence.check_digests.get(&model.name).cloned(),
        checked_against: checked_against(plan, model),
        origins: checked.origins,
    }
}

fn defined_view(run: &Accepted, plan: &Plan, model: &Model) -> Result<PublishedTable> {
    let mut values = declared_params(&plan.job);
    values.extend(run_params(run));
    let view = ReleasedView {
        sql: bind(&model.query.sql, &values)?,
        reads: model.query.reads.iter().map(ToString::to_string).collect(),
    };
    Ok(PublishedTable {
        table: model.name.to_string(),
        kind: model.kind.keyword().to_owned(),
        work: StepWork::Define.into(),
        base_version: None,
        fingerprint: plan.evidence.fingerprints.get(&model.name).cloned().unwrap_or_default(),
        schema: Arc::clone(&model.schema),
        partition_columns: Vec::new(),
        description: model.description.clone(),
        files: Vec::new(),
        removes: Vec::new(),
        covered: Vec::new(),
        view: Some(view),
        inputs: BTreeMap::new(),
        own_inputs: Vec::new(),
        ledger: Vec::new(),
        new_segment: false,
        checks: plan.evidence.check_digests.get(&model.name).cloned(),
        checked_against: BTreeMap::new(),
        origins: None,
    })
}

/// What the table has consumed after this run, and the inputs whose versions this run makes.
fn inputs_of(plan: &Plan, model: &Model) -> (BTreeMap<String, InputState>, Vec<String>) {
    let (mut inputs, mut own) = (BTreeMap::new(), Vec::new());
    let Some(lineage) = plan.evidence.lineages.get(&model.name) else { return (inputs, own) };
    for source in &lineage.sources {
        if let Some(listing) = plan.evidence.listings.get(source) {
            let state = InputState::Raw {
                digest: listing.digest.clone(),
                objects: listing.objects.len() as u64,
                bytes: listing.bytes,
            };
            inputs.insert(source.to_string(), state);
        }
    }
    for table in &lineage.tables {
        if plan.executes(table) {
            own.push(table.to_string());
        } else if let Some(version) = plan.evidence.released(table).and_then(|entry| entry.version) {
            inputs.insert(table.to_string(), InputState::Table { version });
        }
    }
    (inputs, own)
}

/// The tables that the model's checks read beside its own, with their versions; `None` of what this run makes.
fn checked_against(plan: &Plan, model: &Model) -> BTreeMap<String, Option<u64>> {
    let read = plan.evidence.check_lineages.get(&model.name).into_iter().flat_map(|lineage| &lineage.tables);
    let others = read.filter(|table| **table != model.name).filter_map(|table| {
        let version = if plan.executes(table) { None } else { Some(plan.evidence.released(table)?.version?) };
        Some((table.to_string(), version))
    });
    others.collect()
}

/// Gives the release that makes the run's tables visible; `None` if `newest` holds them already.
pub(crate) fn next_release(
    run: &Accepted,
    newest: Option<&Release>,
    publication: &Publication,
    versions: &BTreeMap<String, u64>,
    created_us: i64,
) -> Option<Release> {
    let entry = |table: &str| newest.and_then(|release| release.tables.get(table));
    let is_own = |table: &String| entry(table).is_some_and(|entry| entry.run_id == run.run_id);
    let revised = publication.revisions.iter().filter(|revision| revision.entry.is_some());
    let stays = |table: &String| entry(table).is_some();
    let compacted = publication.compactions.iter().map(|compaction| &compaction.table);
    let compacted = compacted.filter(|table| versions.contains_key(*table));
    let published = publication.tables.iter().map(|table| &table.table).chain(revised.map(|r| &r.table));
    if published.chain(compacted).all(is_own) && !publication.drops.iter().any(stays) {
        return None;
    }
    let number = newest.map_or(1, |release| release.number + 1);
    let mut tables = newest.map_or_else(BTreeMap::new, |release| release.tables.clone());
    for published in &publication.tables {
        let version = versions.get(&published.table).copied();
        let before = entry(&published.table);
        if before.is_some_and(|before| before.version > version && published.view.is_none()) {
            continue;
        }
        let released = released_table(run, published, before, versions, number);
        tables.insert(published.table.clone(), released);
    }
    for revision in &publication.revisions {
        let Some(revised) = revised_entry(run, revision, versions, number) else { continue };
        let before = tables.get(&revision.table);
        if before.is_some_and(|before| before.version > revised.version && revised.view.is_none()) {
            continue;
        }
        tables.insert(revision.table.clone(), revised);
    }
    for compaction in &publication.compactions {
        let version = versions.get(&compaction.table).copied();
        let before = tables.get(&compaction.table).filter(|before| before.version < version);
        if let Some(compacted) = before.map(|before| compacted_entry(run, compaction, before, version, number)) {
            tables.insert(compaction.table.clone(), compacted);
        }
    }
    tables.retain(|name, _| !publication.drops.contains(name));
    Some(Release {
        format: Format,
        number,
        run_id: run.run_id.clone(),
        job: run.spec.job.clone(),
        nonce: Uuid::new_v4().to_string(),
        created_us,
        tables,
    })
}

/// The same rows in other files, under another version.
fn compacted_entry(
    run: &Accepted,
    compaction: &Compaction,
    before: &ReleasedTable,
    version: Option<u64>,
    release: u64,
) -> ReleasedTable {
    let bytes = |files: &[DataFile]| files.iter().map(|file| file.size_bytes).sum::<u64>();
    let (files, removes) = (compaction.files.len() as u64, compaction.removes.len() as u64);
    ReleasedTable {
        run_id: run.run_id.clone(),
        release,
        version,
        files: (before.files + files).saturating_sub(removes),
        bytes: (before.bytes + bytes(&compaction.files)).saturating_sub(bytes(&compaction.removes)),
        origins: if compaction.origins.is_empty() { before.origins } else { Some(run.sequence) },
        rows_since: before.rows_since.or(before.version),
        ..before.clone()
    }
}

fn revised_entry(
    run: &Accepted,
    revision: &Revision,
    versions: &BTreeMap<String, u64>,
    release: u64,
) -> Option<ReleasedTable> {
    let mut entry = revision.entry.clone()?;
    for input in &revision.own_inputs {
        if let Some(version) = versions.get(input) {
            entry.inputs.insert(input.clone(), InputState::Table { version: *version });
        }
    }
    let committed = versions.get(&revision.table).copied();
    let (version, rows_since) = (committed.or(entry.version), entry.rows_since.filter(|_| committed.is_none()));
    Some(ReleasedTable { run_id: run.run_id.clone(), release, version, rows_since, ..entry })
}

fn released_table(
    run: &Accepted,
    published: &PublishedTable,
    before: Option<&ReleasedTable>,
    versions: &BTreeMap<String, u64>,
    release: u64,
) -> ReleasedTable {
    // A table that is added to or updated keeps what is not removed; a replaced one does not.
    let keeps = matches!(published.work.into(), StepWork::Append | StepWork::Update);
    let kept = before.filter(|_| keeps);
    let total = |kept: Option<u64>, of: &dyn Fn(&DataFile) -> u64| {
        let sum = |files: &[DataFile]| files.iter().map(of).sum::<u64>();
        (kept.unwrap_or(0) + sum(&published.files)).saturating_sub(sum(&published.removes))
    };
    let mut inputs = published.inputs.clone();
    for input in &published.own_inputs {
        if let Some(version) = versions.get(input) {
            inputs.insert(input.clone(), InputState::Table { version: *version });
        }
    }
    let checked_against = published.checked_against.iter().filter_map(|(table, version)| {
        let version = version.or_else(|| versions.get(table).copied())?;
        Some((table.clone(), version))
    });
    let checked_against = checked_against.collect();
    let mut ledger = published.ledger.clone();
    ledger.extend(published.new_segment.then_some(run.sequence));
    ReleasedTable {
        job: run.spec.job.clone(),
        run_id: run.run_id.clone(),
        release,
        kind: published.kind.clone(),
        fingerprint: published.fingerprint.clone(),
        schema: Arc::clone(&published.schema),
        partition_columns: published.partition_columns.clone(),
        description: published.description.clone(),
        version: versions.get(&published.table).copied(),
        rows: total(kept.map(|kept| kept.rows), &|file| file.row_count),
        files: total(kept.map(|kept| kept.files), &|_| 1),
        bytes: total(kept.map(|kept| kept.bytes), &|file| file.size_bytes),
        view: published.view.clone(),
        inputs,
        ledger,
        covered: published.covered.clone(),
        checks: published.checks.clone(),
        checked_against,
        origins: published.origins,
        rows_since: None,
    }
}
