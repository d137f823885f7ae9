//! The effects of publishing: checks before the outcome, then commits, then the release.
//!
//! Data flow: written files -> [`check_table`] -> outcome -> **[`commit_table`]** for each table -> **[`release`]**.
//!
//! Invariant: nothing here runs before its turn in [`super::machine`]; each function may be repeated by any driver.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use lakewright_compiler::{Model, TableName};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    CommitOutcome, CommitPurpose, DataFile, Prefix, Snapshot, TableCommit, commit_version, layout, newest_version,
    read_snapshot,
    state::{
        Broken, Done, Format, Publication, PublishedTable, Written, encode_origins, encode_units, newest_release,
        read_object,
    },
};

use super::{
    accept::Accepted,
    freeze::Plan,
    inputs::StepSite,
    publication::{Checked, next_release},
    race::{Race, create, retrying},
    site::Site,
};
use crate::{StepWork, decide::belongs_to, lineage::parse_name};

/// Files whose size is asked for at once.
const FILE_CHECKS_MAX: usize = 64;

/// Foreign commits that a commit is moved behind before the run gives up.
pub(crate) const REBASES_MAX: usize = 100;

/// Checks everything that the commit of a table will rest on, and stores the segment of its ledger.
///
/// # Errors
/// - [`ErrorKind::Conflict`]: the table belongs to another job or to none, or somebody else has changed what an
///   appending step adds to.
/// - [`ErrorKind::Corrupt`]: the table or a written file is not what it must be.
/// - [`ErrorKind::Unsupported`]: the table needs a feature that this program does not have.
pub(crate) async fn check_table(at: StepSite<'_>, model: &Model, written: &Written) -> Result<Checked> {
    let root = at.lake.child(&layout::table_root(model.name.zone(), model.name.table()))?;
    let keeps = matches!(at.plan.work(&model.name), StepWork::Append | StepWork::Update);
    let (base_version, base_files) = check_base(at.plan, &model.name, keeps, &root).await?;
    check_files(&root, &written.files).await?;
    let segment = at.segment(model).await?;
    if let Some(segment) = &segment {
        let key = layout::ledger_segment(&model.name.to_string(), at.run.sequence);
        let bytes = encode_units(&segment.units)?;
        // Drivers of one run give the same units: whoever is first, the segment holds them.
        retrying(|| at.lake.create(&key, bytes.clone())).await?;
    }
    let (origins, new_origins) = at.origins_after(model).await?;
    if let Some(origins) = new_origins {
        let key = layout::origins_segment(&model.name.to_string(), at.run.sequence);
        let bytes = encode_origins(&origins)?;
        retrying(|| at.lake.create(&key, bytes.clone())).await?;
    }
    Ok(Checked { base_version, base_files, segment, origins })
}

/// Finds the version that a commit comes after, and the files that a replacement removes. `keeps` tells that rows of
/// the table stay.
///
/// # Errors
/// As [`check_table`].
pub(crate) async fn check_base(
    plan: &Plan,
    table: &TableName,
    keeps: bool,
    root: &Prefix,
) -> Result<(Option<u64>, Vec<DataFile>)> {
    let released = plan.evidence.released(table).and_then(|entry| entry.version);
    let newest = retrying(|| newest_version(root, released)).await?;
    let Some(newest) = newest else {
        return match released {
            None => Ok((None, Vec::new())),
            Some(version) => Err(damaged(table, "the newest release names a version of a table that is gone", version)),
        };
    };
    match released {
        Some(version) if newest < version => {
            return Err(damaged(table, "a table is older than the newest release says", version));
        }
        // What the release names is this job's, and what is removed of it is known: the log need not be read.
        Some(version) if newest == version && keeps => return Ok((Some(version), Vec::new())),
        Some(_) | None => {}
    }
    let snapshot = retrying(|| read_snapshot(root, Some(newest))).await?;
    let snapshot = snapshot.ok_or_else(|| damaged(table, "a table is gone while it is read", newest))?;
    if snapshot.job.as_deref() != Some(plan.job.name.as_str()) {
        return Err(belongs_to(table, snapshot.job.as_deref().unwrap_or("none")));
    }
    if let Some(version) = released.filter(|_| keeps) {
        refuse_foreign_data(table, root, version, &snapshot).await?;
    }
    Ok((Some(newest), snapshot.files))
}

async fn refuse_foreign_data(table: &TableName, root: &Prefix, released: u64, newest: &Snapshot) -> Result<()> {
    let base = retrying(|| read_snapshot(root, Some(released))).await?;
    let paths = |snapshot: &Snapshot| snapshot.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    if base.as_ref().map(paths) == Some(paths(newest)) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, "somebody else has changed a table that the run adds to or updates")
        .with("table", table)
        .with("version", newest.version)
        .with_hint(format!("rebuild it with --full-refresh --select {table}")))
}

fn damaged(table: &TableName, message: &str, version: u64) -> Error {
    Error::new(ErrorKind::Corrupt, message)
        .with("table", table)
        .with("version", version)
        .with_hint("restore the table's folder from a backup of the lake")
}

/// Checks that every file is there with its size.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: one is not.
pub(crate) async fn check_files(root: &Prefix, files: &[DataFile]) -> Result<()> {
    let checks = files.iter().map(|file| async move {
        let found = retrying(|| root.head(&file.path)).await?;
        match found {
            Some(object) if object.size_bytes == file.size_bytes => Ok(()),
            found => Err(Error::new(ErrorKind::Corrupt, "a file that a step has written is not there with its size")
                .with("object", root.display(&file.path))
                .with("expected", file.size_bytes)
                .with("found", found.map_or_else(|| "nothing".to_owned(), |object| object.size_bytes.to_string()))),
        }
    });
    stream::iter(checks.collect::<Vec<_>>()).buffer_unordered(FILE_CHECKS_MAX).try_collect().await
}

/// Commits one table, behind any foreign commits that do not stand in its way, and gives its version.
///
/// `base_files` are those of the base version, if this driver has them at hand.
///
/// # Errors
/// - [`ErrorKind::Conflict`]: foreign data is in the way of an addition: the run is BROKEN.
/// - As [`commit_version`].
pub(crate) async fn commit_table(
    site: &Site,
    run: &Accepted,
    published: &PublishedTable,
    base_files: Option<Vec<DataFile>>,
    timestamp_ms: i64,
) -> Result<u64> {
    let name = parse_name(&published.table)?;
    let root = site.lake.child(&layout::table_root(name.zone(), name.table()))?;
    let mut base = published.base_version;
    let mut removes = match (published.work.into(), base_files) {
        (StepWork::Replace, Some(files)) => files,
        (StepWork::Replace, None) => files_at(&root, base).await?,
        (StepWork::Update, _) => published.removes.clone(),
        (StepWork::Append | StepWork::Skip | StepWork::Define, _) => Vec::new(),
    };
    for _ in 0..REBASES_MAX {
        let commit = TableCommit {
            base,
            schema: Arc::clone(&published.schema),
            partition_columns: published.partition_columns.clone(),
            adds: published.files.clone(),
            removes: removes.clone(),
            job: run.spec.job.clone(),
            run_id: run.run_id.clone(),
            sequence: run.sequence,
            description: published.description.clone(),
            purpose: CommitPurpose::Write,
            timestamp_ms,
        };
        match retrying(|| commit_version(&root, &commit)).await? {
            CommitOutcome::Committed { version } => return Ok(version),
            CommitOutcome::Conflict { latest, data_changed } => {
                let replaces = StepWork::from(published.work) == StepWork::Replace;
                if data_changed && !replaces {
                    return Err(break_run(site, run, published, latest).await);
                }
                tracing::warn!(table = published.table, latest, "commit moved behind a foreign one");
                base = Some(latest);
                if replaces {
                    removes = files_at(&root, base).await?;
                }
            }
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "other writers keep taking the next version of a table")
        .with("table", &published.table)
        .with_hint("stop the other writers; the next run of the job goes on from here"))
}

/// Files of a version; none if there is no version.
///
/// # Errors
/// As [`read_snapshot`].
pub(crate) async fn files_at(root: &Prefix, version: Option<u64>) -> Result<Vec<DataFile>> {
    let Some(version) = version else { return Ok(Vec::new()) };
    let snapshot = retrying(|| read_snapshot(root, Some(version))).await?;
    Ok(snapshot.map_or_else(Vec::new, |snapshot| snapshot.files))
}

async fn break_run(site: &Site, run: &Accepted, published: &PublishedTable, latest: u64) -> Error {
    let message = "somebody else has changed a table while the run was publishing a change of it";
    let broken = Broken { format: Format, table: published.table.clone(), message: message.to_owned() };
    // Advisory: the error says the same to whoever is watching.
    if let Err(error) = create(&site.lake, &layout::broken(&run.run_id), &broken).await {
        tracing::warn!(%error, "cannot record that the run is broken");
    }
    tracing::error!(table = published.table, latest, "run is broken");
    Error::new(ErrorKind::Conflict, message)
        .with("run", &run.run_id)
        .with("table", &published.table)
        .with("version", latest)
        .with_hint(format!("the job is blocked until the run is repaired: lakewright repair {}", run.run_id))
}

/// Makes the run's tables visible as one release, and gives its number; `None` if nothing in the release changes.
///
/// A driver that wakes up after its run has ended makes none: later runs may have changed what this one published. The
/// summary is looked for after the newest release was read, so that a run which ends meanwhile takes the number away.
///
/// # Errors
/// As reading and creating state objects.
pub(crate) async fn release(
    site: &Site,
    run: &Accepted,
    publication: &Publication,
    versions: &BTreeMap<String, u64>,
) -> Result<Option<u64>> {
    loop {
        let newest = retrying(|| newest_release(&site.lake)).await?;
        let Some(release) = next_release(run, newest.as_ref(), publication, versions, site.clock.now_us()) else {
            let revised = publication.revisions.iter().filter(|revision| revision.entry.is_some());
            let compacted = publication.compactions.iter().map(|compaction| &compaction.table);
            let compacted = compacted.filter(|table| versions.contains_key(*table));
            let tables = publication.tables.iter().map(|t| &t.table).chain(revised.map(|r| &r.table));
            let first = tables.chain(compacted).next();
            let entry = newest.as_ref().zip(first).and_then(|(release, first)| release.tables.get(first));
            let own = newest.as_ref().filter(|release| release.run_id == run.run_id).map(|release| release.number);
            return Ok(entry.map(|entry| entry.release).or(own));
        };
        let done = layout::done(&run.run_id);
        if let Some(done) = retrying(|| read_object::<Done>(&site.lake, &done)).await? {
            return Ok(done.release);
        }
        match create(&site.lake, &layout::release(release.number), &release).await? {
            Race::Won => return Ok(Some(release.number)),
            // Whoever was first, what the newest release holds has to be read again.
            Race::Lost(_) => {}
        }
    }
}
