//! The effects of publishing: checks before the outcome, then commits, then the release.
//!
//! Data flow: written files -> [`check_table`] -> [`check_commits`] -> outcome -> **[`commit_table`]** for each table ->
//! **[`release`]**.
//!
//! Invariant: nothing here runs before its turn in [`super::machine`]; each function may be repeated by any driver.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use lakewright_compiler::{Model, TableName};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    CommitOutcome, CommitPurpose, DataFile, Prefix, Snapshot, TableCommit, check_commit, commit_version, layout,
    newest_version, read_snapshot,
    state::{
        Broken, Done, Format, Publication, PublishedTable, RevisedContent, Revision, Written, encode_origins,
        encode_units, newest_release, read_object,
    },
};

use super::{
    accept::Accepted,
    freeze::{Plan, executes},
    inputs::StepSite,
    publication::{Checked, next_release},
    race::{Race, create, retrying},
    site::Site,
};
use crate::{StepWork, decide::belongs_to, lineage::parse_name};

/// Files whose size is asked for at once.
const FILE_CHECKS_MAX: usize = 64;

/// Tables that are asked at once whether they would take a commit.
const COMMIT_CHECKS_MAX: usize = 8;

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

/// Asks every table that is committed to whether it would take its commit, before anything is decided.
///
/// # Errors
/// As [`check_commit`]: nothing of the run is visible then, and nothing will be.
pub(crate) async fn check_commits(
    site: &Site,
    run: &Accepted,
    publication: &Publication,
    checked: &BTreeMap<TableName, Checked>,
) -> Result<()> {
    let tables = publication.tables.iter().filter(|table| executes(table.work.into())).map(|published| async move {
        let root = table_root(site, &published.table)?;
        let base_files = checked.get(&parse_name(&published.table)?).map(|checked| checked.base_files.clone());
        let removes = removed_files(&root, published, base_files).await?;
        let commit = table_commit(run, published, published.base_version, removes, 0);
        retrying(|| check_commit(&root, &commit)).await
    });
    stream::iter(tables.collect::<Vec<_>>()).buffer_unordered(COMMIT_CHECKS_MAX).try_collect::<()>().await?;
    for revision in &publication.revisions {
        if let Some(content) = &revision.content {
            let root = table_root(site, &revision.table)?;
            let commit = restoring_commit(&root, run, content, content.base_version, 0).await?;
            retrying(|| check_commit(&root, &commit)).await?;
        }
    }
    Ok(())
}

fn table_root(site: &Site, table: &str) -> Result<Prefix> {
    let name = parse_name(table)?;
    site.lake.child(&layout::table_root(name.zone(), name.table()))
}

/// The files that a commit to the base version removes.
async fn removed_files(
    root: &Prefix,
    published: &PublishedTable,
    base_files: Option<Vec<DataFile>>,
) -> Result<Vec<DataFile>> {
    match (published.work.into(), base_files) {
        (StepWork::Replace, Some(files)) => Ok(files),
        (StepWork::Replace, None) => files_at(root, published.base_version).await,
        (StepWork::Update, _) => Ok(published.removes.clone()),
        (StepWork::Append | StepWork::Skip | StepWork::Define, _) => Ok(Vec::new()),
    }
}

fn table_commit(
    run: &Accepted,
    published: &PublishedTable,
    base: Option<u64>,
    removes: Vec<DataFile>,
    timestamp_ms: i64,
) -> TableCommit {
    TableCommit {
        base,
        schema: Arc::clone(&published.schema),
        partition_columns: published.partition_columns.clone(),
        adds: published.files.clone(),
        removes,
        job: run.spec.job.clone(),
        run_id: run.run_id.clone(),
        sequence: run.sequence,
        description: published.description.clone(),
        purpose: CommitPurpose::Write,
        timestamp_ms,
    }
}

/// Commits one table, behind any foreign commits that do not stand in its way, and gives its version.
///
/// `base_files` are those of the base version, if this driver has them at hand.
///
/// # Errors
/// - [`ErrorKind::Conflict`]: foreign data is in the way of an addition, or the table refuses the commit for good: the
///   run is BROKEN.
/// - As [`commit_version`].
pub(crate) async fn commit_table(
    site: &Site,
    run: &Accepted,
    published: &PublishedTable,
    base_files: Option<Vec<DataFile>>,
    timestamp_ms: i64,
) -> Result<u64> {
    let root = table_root(site, &published.table)?;
    let mut base = published.base_version;
    let mut removes = removed_files(&root, published, base_files).await?;
    for _ in 0..REBASES_MAX {
        let commit = table_commit(run, published, base, removes.clone(), timestamp_ms);
        match commit_or_break(site, run, &published.table, &root, &commit).await? {
            CommitOutcome::Committed { version } => return Ok(version),
            CommitOutcome::Conflict { latest, data_changed } => {
                let replaces = StepWork::from(published.work) == StepWork::Replace;
                if data_changed && !replaces {
                    let message = "somebody else has changed a table while the run was publishing a change of it";
                    return Err(break_run(site, run, &published.table, message).await.with("version", latest));
                }
                tracing::warn!(table = published.table, latest, "commit moved behind a foreign one");
                base = Some(latest);
                if replaces {
                    removes = files_at(&root, base).await?;
                }
            }
        }
    }
    Err(taken_again_and_again(&published.table))
}

/// Tries a commit of a run whose outcome is decided. Whatever the table refuses for good breaks the run: nobody could
/// bring it to its end, and its job would wait for ever.
///
/// # Errors
/// As [`commit_version`].
async fn commit_or_break(
    site: &Site,
    run: &Accepted,
    table: &str,
    root: &Prefix,
    commit: &TableCommit,
) -> Result<CommitOutcome> {
    match retrying(|| commit_version(root, commit)).await {
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Invalid | ErrorKind::Unsupported) => {
            let message = format!("a table refuses what the run has written for it: {error}");
            Err(break_run(site, run, table, &message).await.with_source(error))
        }
        answer => answer,
    }
}

fn taken_again_and_again(table: &str) -> Error {
    Error::new(ErrorKind::Unavailable, "other writers keep taking the next version of a table")
        .with("table", table)
        .with_hint("stop the other writers; the next run of the job goes on from here")
}

/// Commits the files of a revision after the newest version, and gives the version; `None` if its files stay.
///
/// Whatever others have committed meanwhile is replaced, too: the table gets exactly the files that were decided.
///
/// # Errors
/// As [`commit_version`]; what the table refuses for good breaks the run.
pub(crate) async fn commit_revision(
    site: &Site,
    run: &Accepted,
    revision: &Revision,
    timestamp_ms: i64,
) -> Result<Option<u64>> {
    let Some(content) = &revision.content else { return Ok(None) };
    let root = table_root(site, &revision.table)?;
    let mut base = content.base_version;
    for _ in 0..REBASES_MAX {
        let commit = restoring_commit(&root, run, content, base, timestamp_ms).await?;
        match commit_or_break(site, run, &revision.table, &root, &commit).await? {
            CommitOutcome::Committed { version } => return Ok(Some(version)),
            CommitOutcome::Conflict { latest, .. } => {
                tracing::warn!(table = revision.table, latest, "commit moved behind a foreign one");
                base = latest;
            }
        }
    }
    Err(taken_again_and_again(&revision.table))
}

/// The commit that gives a table the files of a revision, after a version.
///
/// # Errors
/// As [`read_snapshot`].
pub(crate) async fn restoring_commit(
    root: &Prefix,
    run: &Accepted,
    content: &RevisedContent,
    base: u64,
    timestamp_ms: i64,
) -> Result<TableCommit> {
    let present = files_at(root, Some(base)).await?;
    let (wanted, present_paths) = (paths(&content.files), paths(&present));
    Ok(TableCommit {
        base: Some(base),
        schema: Arc::clone(&content.schema),
        partition_columns: content.partition_columns.clone(),
        adds: content.files.iter().filter(|file| !present_paths.contains(&file.path)).cloned().collect(),
        removes: present.into_iter().filter(|file| !wanted.contains(&file.path)).collect(),
        job: run.spec.job.clone(),
        run_id: run.run_id.clone(),
        sequence: run.sequence,
        description: content.description.clone(),
        purpose: CommitPurpose::Restore,
        timestamp_ms,
    })
}

/// Paths of files.
pub(crate) fn paths(files: &[DataFile]) -> BTreeSet<String> {
    files.iter().map(|file| file.path.clone()).collect()
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

/// Records that nobody can bring a run to its end.
async fn break_run(site: &Site, run: &Accepted, table: &str, message: &str) -> Error {
    let broken = Broken { format: Format, table: table.to_owned(), message: message.to_owned() };
    // Advisory: the error says the same to whoever is watching.
    if let Err(error) = create(&site.lake, &layout::broken(&run.run_id), &broken).await {
        tracing::warn!(%error, "cannot record that the run is broken");
    }
    tracing::error!(table, message, "run is broken");
    Error::new(ErrorKind::Conflict, message)
        .with("run", &run.run_id)
        .with("table", table)
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
