//! Runs that make few files of many small ones: what they write, and how it becomes visible.
//!
//! Data flow: the newest release -> small files of each table ([`super::optimize`]) -> new files with the same rows ->
//! `outcome.json` -> [`commit_compaction`] for each table -> one release.
//!
//! Invariant: rows stay what they are, and ledgers are not touched: a segment says of which files the rows of each new
//! file are, in order. Whatever somebody else has changed meanwhile stays: a compaction gives way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    CommitOutcome, CommitPurpose, DataFile, TableCommit, commit_version, layout, newest_version, read_snapshot,
    state::{Compaction, Origins, ReleasedTable, encode_origins, read_ledger, read_origins},
};

use super::{
    accept::Accepted,
    optimize::{Candidate, bins, is_small},
    publish::REBASES_MAX,
    quarantine::QUARANTINE_KIND,
    race::retrying,
    rejects::REJECTS_KIND,
    site::Site,
};
use crate::{RewriteTask, lineage::parse_name};

/// Kind of tables that are computed file by file.
const BY_FILE_KIND: &str = "INCREMENTAL_BY_FILE";

/// Writes the new files of the named tables, or of all of the job that grow file by file.
///
/// # Errors
/// - [`ErrorKind::NotFound`]: the release has no such table.
/// - [`ErrorKind::Conflict`]: a table belongs to another job.
/// - [`ErrorKind::Invalid`]: a table is not one that grows file by file.
/// - As reading tables, and [`crate::Backend::rewrite`].
pub(crate) async fn compactions(
    site: &Site,
    run: &Accepted,
    names: &[String],
    target_bytes: u64,
    released: &BTreeMap<String, ReleasedTable>,
) -> Result<Vec<Compaction>> {
    let mut compactions = Vec::new();
    for (name, entry) in wanted(&run.spec.job, names, released)? {
        let table = Table { site, run, name, entry };
        let compaction = table.compact(target_bytes).await.map_err(|error| error.with("table", name))?;
        compactions.extend(compaction);
    }
    Ok(compactions)
}

/// Checks the named tables; all that can be compacted, if none is named.
///
/// # Errors
/// As [`compactions`].
pub(crate) fn wanted<'a>(
    job: &str,
    names: &[String],
    released: &'a BTreeMap<String, ReleasedTable>,
) -> Result<Vec<(&'a String, &'a ReleasedTable)>> {
    let grows = |entry: &ReleasedTable| {
        entry.version.is_some() && [BY_FILE_KIND, REJECTS_KIND, QUARANTINE_KIND].contains(&entry.kind.as_str())
    };
    if names.is_empty() {
        return Ok(released.iter().filter(|(_, entry)| entry.job == job && grows(entry)).collect());
    }
    let found = names.iter().map(|name| match released.get_key_value(name) {
        None => Err(Error::new(ErrorKind::NotFound, "the lake has no such table").with("table", name)),
        Some((_, entry)) if entry.job != job => Err(Error::new(ErrorKind::Conflict, "a table belongs to another job")
            .with("table", name)
            .with("owner", &entry.job)),
        Some((_, entry)) if !grows(entry) => {
            Err(Error::new(ErrorKind::Invalid, "only tables that grow file by file have small files to put together")
                .with("table", name)
                .with("kind", &entry.kind)
                .with_hint("a table of another kind is written anew when it changes"))
        }
        Some(found) => Ok(found),
    });
    found.collect()
}

struct Table<'a> {
    site: &'a Site,
    run: &'a Accepted,
    name: &'a String,
    entry: &'a ReleasedTable,
}

impl Table<'_> {
    async fn compact(&self, target_bytes: u64) -> Result<Option<Compaction>> {
        let (lake, name) = (&self.site.lake, parse_name(self.name)?);
        let root = lake.child(&layout::table_root(name.zone(), name.table()))?;
        let Some(version) = self.entry.version else { return Ok(None) };
        if retrying(|| newest_version(&root, Some(version))).await? != Some(version) {
            tracing::warn!(table = self.name, version, "table left as it is, for somebody else has changed it");
            return Ok(None);
        }
        let Some(snapshot) = retrying(|| read_snapshot(&root, Some(version))).await? else { return Ok(None) };
        let origins = retrying(|| read_origins(lake, self.name, self.entry.origins)).await?;
        let candidates = self.candidates(&snapshot.files, &origins, target_bytes).await?;
        let bins = bins(candidates, target_bytes);
        if bins.is_empty() {
            return Ok(None);
        }
        let (mut files, mut removes) = (Vec::new(), Vec::new());
        let mut after = origins.clone();
        for bin in bins {
            let task = RewriteTask {
                root: root.clone(),
                schema: Arc::clone(&self.entry.schema),
                partition_columns: self.entry.partition_columns.clone(),
                files: bin.clone(),
                ranges: BTreeMap::new(),
                run_id: self.run.run_id.clone(),
            };
            let file = self.site.backend.rewrite(task).await?;
            after.insert(&file.path, bin.iter().flat_map(|file| origins.of(file)).collect());
            files.push(file);
            removes.extend(bin);
        }
        let gone: BTreeSet<&str> = removes.iter().map(|file| file.path.as_str()).collect();
        after.retain(|path| !gone.contains(path));
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(Some(Compaction {
            table: self.name.clone(),
            base_version: version,
            schema: Arc::clone(&self.entry.schema),
            partition_columns: self.entry.partition_columns.clone(),
            description: self.entry.description.clone(),
            files,
            removes,
            // No table is computed file by file from rejects, and no ledger names their files.
            origins: if self.entry.kind == BY_FILE_KIND { after } else { Origins::default() },
        }))
    }

    /// The small files, with the batches that they hold.
    async fn candidates(&self, files: &[DataFile], origins: &Origins, target_bytes: u64) -> Result<Vec<Candidate>> {
        let small = files.iter().filter(|file| is_small(file, target_bytes));
        if self.entry.kind != BY_FILE_KIND {
            return Ok(small.map(|file| Candidate { file: file.clone(), batches: 0..=0 }).collect());
        }
        let ledger = retrying(|| read_ledger(&self.site.lake, self.name, &self.entry.ledger)).await?;
        let made: BTreeMap<String, u64> =
            ledger.into_iter().filter(|unit| unit.input == *self.name).map(|unit| (unit.key, unit.batch)).collect();
        let candidate = |file: &DataFile| {
            let batches: Option<BTreeSet<u64>> =
                origins.of(file).iter().map(|origin| made.get(&origin.path).copied()).collect();
            let batches = batches?;
            // Rows of which nobody knows where they come from are left where they are.
            let (first, last) = (*batches.first()?, *batches.last()?);
            (first > 0).then(|| Candidate { file: file.clone(), batches: first..=last })
        };
        Ok(small.filter_map(candidate).collect())
    }
}

/// Commits one compaction, behind any foreign commits that do not stand in its way, and gives the version; `None` if one
/// does: the table then stays as it is.
///
/// # Errors
/// As [`commit_version`], and creating state objects.
pub(crate) async fn commit_compaction(
    site: &Site,
    run: &Accepted,
    compaction: &Compaction,
    timestamp_ms: i64,
) -> Result<Option<u64>> {
    let name = parse_name(&compaction.table)?;
    let root = site.lake.child(&layout::table_root(name.zone(), name.table()))?;
    if !compaction.origins.is_empty() {
        let key = layout::origins_segment(&compaction.table, run.sequence);
        let bytes = encode_origins(&compaction.origins)?;
        // It follows from the outcome: whoever is first, the segment holds the same.
        retrying(|| site.lake.create(&key, bytes.clone())).await?;
    }
    let mut base = compaction.base_version;
    for _ in 0..REBASES_MAX {
        let commit = TableCommit {
            base: Some(base),
            schema: Arc::clone(&compaction.schema),
            partition_columns: compaction.partition_columns.clone(),
            adds: compaction.files.clone(),
            removes: compaction.removes.clone(),
            job: run.spec.job.clone(),
            run_id: run.run_id.clone(),
            sequence: run.sequence,
            description: compaction.description.clone(),
            purpose: CommitPurpose::Compact,
            timestamp_ms,
        };
        match retrying(|| commit_version(&root, &commit)).await? {
            CommitOutcome::Committed { version } => return Ok(Some(version)),
            CommitOutcome::Conflict { latest, data_changed } if data_changed => {
                tracing::warn!(
                    table = compaction.table,
                    latest,
                    "table left as it is, for somebody else has changed it"
                );
                return Ok(None);
            }
            CommitOutcome::Conflict { latest, .. } => base = latest,
        }
    }
    Ok(None)
}
