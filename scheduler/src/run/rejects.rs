//! What the rejects tables become by a run, and what the run's reading of each source came to.
//!
//! Data flow: the reports that the steps' records name -> **here** -> a file of new rejects for each source, published
//! with the run's tables as `rejects.<source>`.
//!
//! Invariant: a rejects table holds the rejects of each raw object once, as it was last read.

use std::collections::{BTreeMap, BTreeSet};

use lakewright_compiler::TableName;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    DataFile, Prefix, Scalar, layout,
    state::{
        ObjectReport, PublishedTable, RejectRow, SourceRead, Tally, Written, read_rejects, rejects_schema,
        write_rejects,
    },
};

use super::{
    freeze::Plan,
    inputs::StepSite,
    publication::Checked,
    publish::check_base,
    race::retrying,
    reports::{read_objects, read_report_rejects},
};
use crate::{StepWork, lineage::parse_name};

/// The kind of a rejects table, where a model has its keyword.
pub(crate) const REJECTS_KIND: &str = "REJECTS";

/// What a run read, and the rejects tables that it publishes.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunReads {
    /// By source, each raw object once.
    pub(crate) reads: Vec<SourceRead>,
    pub(crate) tables: Vec<(PublishedTable, Checked)>,
}

/// The readings of one source by steps of the run, in the job's order.
#[derive(Debug, Default)]
struct Readings {
    reads: Vec<SourceRead>,
    /// Whether a step has read the source as a whole.
    whole: bool,
}

/// Joins what the steps have read, and writes the new rejects.
///
/// # Errors
/// - [`ErrorKind::Conflict`]: a rejects table belongs to another job.
/// - As reading reports and tables of a lake.
pub(crate) async fn run_reads(at: StepSite<'_>) -> Result<RunReads> {
    let mut run_reads = RunReads::default();
    for (source, readings) in readings(at.plan, at.written) {
        let objects = objects_of(at.lake, &readings.reads).await?;
        run_reads.reads.extend(joined(&readings.reads, &objects));
        run_reads.tables.extend(rejects_table(at, &source, &readings, &objects).await?);
    }
    Ok(run_reads)
}

fn readings(plan: &Plan, written: &BTreeMap<TableName, Written>) -> BTreeMap<TableName, Readings> {
    let mut by_source: BTreeMap<TableName, Readings> = BTreeMap::new();
    for model in plan.executing() {
        for read in written.get(&model.name).into_iter().flat_map(|written| &written.record.reads) {
            let Some(source) = TableName::parse(&read.source) else { continue };
            let readings = by_source.entry(source).or_default();
            readings.whole |= plan.work(&model.name) == StepWork::Replace;
            // Two readings of the same objects are one.
            if readings.reads.iter().all(|other| other.digest != read.digest) {
                readings.reads.push(read.clone());
            }
        }
    }
    by_source
}

/// For each raw object of several readings, the index of the one that counts: the first that has read it.
type Objects = BTreeMap<String, (usize, ObjectReport)>;

/// The objects that each reading counts for; empty for a single reading, which counts for all that it has read.
async fn objects_of(lake: &Prefix, reads: &[SourceRead]) -> Result<Objects> {
    let mut objects = Objects::new();
    if reads.len() > 1 {
        for (index, read) in reads.iter().enumerate() {
            for report in read_objects(lake, &read.report).await? {
                objects.entry(report.object.clone()).or_insert((index, report));
            }
        }
    }
    Ok(objects)
}

/// What the readings come to together, each object once. Drift is not known by object: it is that of the largest.
fn joined(reads: &[SourceRead], objects: &Objects) -> Option<SourceRead> {
    let mut joined = reads.iter().max_by_key(|read| read.objects).cloned()?;
    if !objects.is_empty() {
        joined.objects = objects.len() as u64;
        joined.bytes = objects.values().map(|(_, report)| report.size_bytes).sum();
        joined.tally = Tally::default();
        objects.values().for_each(|(_, report)| joined.tally.add(&report.tally));
    }
    Some(joined)
}

async fn rejects_table(
    at: StepSite<'_>,
    source: &TableName,
    readings: &Readings,
    objects: &Objects,
) -> Result<Option<(PublishedTable, Checked)>> {
    let name = TableName::new(layout::REJECTS_ZONE, source.table())
        .ok_or_else(|| Error::new(ErrorKind::Internal, "a source has no rejects table").with("source", source))?;
    let released = at.plan.evidence.released(&name);
    let is_known = released.is_some_and(|entry| entry.rows > 0);
    if !is_known && readings.reads.iter().all(|read| read.tally.rejects == 0) {
        return Ok(None);
    }
    let mut rows = Vec::new();
    for (index, read) in readings.reads.iter().enumerate() {
        let rejects = read_report_rejects(at.lake, read).await?.into_iter();
        rows.extend(rejects.filter(|row| objects.get(&row.reject.object).is_none_or(|(first, _)| *first == index)));
    }
    let root = at.lake.child(&layout::table_root(name.zone(), name.table()))?;
    let (base_version, base_files) = check_base(at.plan, &name, false, &root).await?;
    let kept = if readings.whole { None } else { kept_rows(at.lake, &root, readings, &base_files).await? };
    let work = match (&kept, readings.whole) {
        (None, false) => StepWork::Append,
        _ => StepWork::Replace,
    };
    if rows.is_empty() && work == StepWork::Append {
        return Ok(None);
    }
    rows.extend(kept.unwrap_or_default());
    rows.sort_by(|a, b| (&a.reject.object, a.reject.byte_offset).cmp(&(&b.reject.object, b.reject.byte_offset)));
    let files = if rows.is_empty() {
        Vec::new()
    } else {
        vec![retrying(|| write_rejects(&root, &at.run.run_id, &rows)).await?]
    };
    let checked = Checked { base_version, base_files, segment: None, origins: None };
    Ok(Some((published(&name, source, work, base_version, files), checked)))
}

/// The rows that stay of a table when the rejects of objects that were read again are replaced; `None` if it has none
/// of those, so that nothing of it changes.
async fn kept_rows(
    lake: &Prefix,
    root: &Prefix,
    readings: &Readings,
    files: &[DataFile],
) -> Result<Option<Vec<RejectRow>>> {
    let mut read = BTreeSet::new();
    for reading in &readings.reads {
        read.extend(read_objects(lake, &reading.report).await?.into_iter().map(|report| report.object));
    }
    if !files.iter().any(|file| may_hold(file, &read)) {
        return Ok(None);
    }
    let mut rows = Vec::new();
    for file in files {
        rows.extend(retrying(|| read_rejects(root, &file.path)).await?);
    }
    let before = rows.len();
    rows.retain(|row| !read.contains(&row.reject.object));
    Ok((rows.len() < before).then_some(rows))
}

/// Whether the file may have rejects of one of the objects.
fn may_hold(file: &DataFile, objects: &BTreeSet<String>) -> bool {
    let bounds = file.bounds.iter().find(|bounds| bounds.path == ["object"]);
    match bounds.map(|bounds| (&bounds.min, &bounds.max)) {
        Some((Some(Scalar::Text(min)), Some(Scalar::Text(max)))) => {
            objects.range(min.clone()..=max.clone()).next().is_some()
        }
        _ => true,
    }
}

fn published(
    name: &TableName,
    source: &TableName,
    work: StepWork,
    base_version: Option<u64>,
    files: Vec<DataFile>,
) -> PublishedTable {
    PublishedTable {
        table: name.to_string(),
        kind: REJECTS_KIND.to_owned(),
        work: work.into(),
        base_version,
        fingerprint: String::new(),
        schema: rejects_schema(),
        partition_columns: Vec::new(),
        description: Some(format!("Records of {source} that were kept aside.")),
        files,
        removes: Vec::new(),
        covered: Vec::new(),
        view: None,
        inputs: BTreeMap::new(),
        own_inputs: Vec::new(),
        ledger: Vec::new(),
        new_segment: false,
        checks: None,
        checked_against: BTreeMap::new(),
        origins: None,
    }
}

/// The checks of the rejects tables, by name, as those of the models' tables.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: a table has no name.
pub(crate) fn checks(reads: &RunReads) -> Result<Vec<(TableName, Checked)>> {
    reads.tables.iter().map(|(table, checked)| Ok((parse_name(&table.table)?, checked.clone()))).collect()
}
