//! Runs without models: they give published tables an earlier state, take them out of the release, or put their files
//! together.
//!
//! Data flow: the newest release and an earlier one -> [`publication`] -> `outcome.json` -> [`super::publish::commit_revision`]
//! for each table -> one release, as in any run.
//!
//! Invariant: a table gets an earlier state by a commit after its newest version, never by going back in its log; its
//! files are checked to be there before the outcome. Tables and ledgers of one job change together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    DataFile, Prefix, check_commit, layout, newest_version, read_snapshot,
    state::{
        AbortReason, Done, Format, InputState, Operation, Outcome, Publication, Release, ReleasedTable, RevisedContent,
        Revision, RunEnd, Spec, Verdict, list_numbers, newest_release, open_lake, read_object,
    },
    version_of_run,
};

use super::{
    accept::Accepted,
    compact::{compactions, wanted},
    publish::{check_files, files_at, paths, restoring_commit},
    race::{chain, create, retrying},
    site::Site,
};
use crate::{
    RunState,
    lineage::parse_name,
    record::{find_slot, read_run},
    releases::missing_release,
};

/// Refuses what can be refused before a run is accepted.
///
/// # Errors
/// As [`super::Scheduler::maintain`].
pub(crate) async fn check_lake(site: &Site, job: &str, operation: &Operation) -> Result<()> {
    if retrying(|| open_lake(&site.lake)).await?.is_none() {
        return Err(Error::new(ErrorKind::NotFound, "there is no lake here")
            .with("lake", site.lake.display_location())
            .with_hint("`lakewright run` makes it; --lake names another"));
    }
    match operation {
        Operation::Rewind { release } => release_at(site, *release).await.map(|_| ()),
        Operation::Repair { run_id } => match retrying(|| read_run(&site.lake, run_id)).await?.state {
            RunState::Broken => Ok(()),
            _ => Err(not_broken(run_id)),
        },
        Operation::Optimize { tables, .. } => {
            let newest = retrying(|| newest_release(&site.lake)).await?;
            wanted(job, tables, &newest.map_or_else(BTreeMap::new, |release| release.tables)).map(|_| ())
        }
        Operation::Drop { .. } => Ok(()),
    }
}

fn not_broken(run_id: &str) -> Error {
    Error::new(ErrorKind::Invalid, "the run is not broken, so there is nothing to repair")
        .with("run", run_id)
        .with_hint("`lakewright show RUN` tells how far a run is; an unfinished one is finished by the job's next run")
}

/// Works out what becomes visible.
///
/// # Errors
/// As [`super::Scheduler::maintain`].
pub(crate) async fn publication(site: &Site, run: &Accepted, operation: &Operation) -> Result<Publication> {
    let job = run.spec.job.as_str();
    let newest = retrying(|| newest_release(&site.lake)).await?;
    let tables = newest.map_or_else(BTreeMap::new, |release| release.tables);
    match operation {
        Operation::Rewind { release } => {
            let target = release_at(site, *release).await?.tables;
            Change { site, job, newest: &tables, target: &target }.rewind().await
        }
        Operation::Repair { run_id } => Change { site, job, newest: &tables, target: &tables }.repair(run_id).await,
        Operation::Optimize { tables: names, target_bytes } => {
            let compactions = compactions(site, run, names, *target_bytes, &tables).await?;
            Ok(Publication { compactions, ..Publication::default() })
        }
        Operation::Drop { table, force } => {
            let mut publication = drop_table(job, table, *force, &tables)?;
            publication.revisions.extend(emptied_by_drop(site, run, table, &tables).await?);
            Ok(publication)
        }
    }
}

/// Takes all files out of a table that leaves the release, so that other engines need none of them when they go.
async fn emptied_by_drop(
    site: &Site,
    run: &Accepted,
    table: &str,
    tables: &BTreeMap<String, ReleasedTable>,
) -> Result<Option<Revision>> {
    let Some(version) = tables.get(table).and_then(|entry| entry.version) else { return Ok(None) };
    let change = Change { site, job: &run.spec.job, newest: tables, target: tables };
    let emptied = async {
        let content = change.emptied(table, version).await?;
        let root = change.root(table)?;
        let commit = restoring_commit(&root, run, &content, content.base_version, 0).await?;
        retrying(|| check_commit(&root, &commit)).await?;
        Ok::<_, Error>(content)
    };
    let content = match emptied.await {
        Ok(content) => content,
        // A table that cannot be read or written to any more can be dropped all the same.
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
            tracing::warn!(table, error = chain(&error), "table dropped with its files");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    Ok(Some(Revision { table: table.to_owned(), content: Some(content), entry: None, own_inputs: Vec::new() }))
}

async fn release_at(site: &Site, number: u64) -> Result<Release> {
    let key = layout::release(number);
    if let Some(release) = retrying(|| read_object(&site.lake, &key)).await? {
        return Ok(release);
    }
    let numbers = retrying(|| list_numbers(&site.lake, layout::RELEASES_DIR)).await?;
    Err(Error::new(ErrorKind::NotFound, missing_release(&numbers, number))
        .with("release", number)
        .with_hint("`lakewright tables --history` lists the releases"))
}

fn drop_table(job: &str, table: &str, force: bool, tables: &BTreeMap<String, ReleasedTable>) -> Result<Publication> {
    match tables.get(table) {
        Some(entry) if entry.job == job => {}
        Some(entry) => return Err(of_another_job(table, &entry.job)),
        None => return Err(Error::new(ErrorKind::NotFound, "the lake has no such table").with("table", table)),
    }
    let reads = |entry: &ReleasedTable| {
        entry.inputs.contains_key(table)
            || entry.view.as_ref().is_some_and(|view| view.reads.iter().any(|read| read == table))
    };
    let readers: Vec<&str> = tables.iter().filter(|(_, entry)| reads(entry)).map(|(name, _)| name.as_str()).collect();
    if !readers.is_empty() && !force {
        return Err(Error::new(ErrorKind::Conflict, "other tables read this one")
            .with("table", table)
            .with("readers", readers.join(", "))
            .with_hint("drop them first, or give --force: views on it can then not be read"));
    }
    Ok(Publication { drops: vec![table.to_owned()], ..Publication::default() })
}

fn of_another_job(table: &str, owner: &str) -> Error {
    Error::new(ErrorKind::Conflict, "a table belongs to another job").with("table", table).with("owner", owner)
}

/// Tables of one job on their way from the newest release to another state.
struct Change<'a> {
    site: &'a Site,
    job: &'a str,
    newest: &'a BTreeMap<String, ReleasedTable>,
    target: &'a BTreeMap<String, ReleasedTable>,
}

impl Change<'_> {
    async fn rewind(&self) -> Result<Publication> {
        let mut contents = BTreeMap::new();
        for (name, entry) in self.own(self.target) {
            let now = self.newest.get(name);
            if let Some(other) = now.filter(|now| now.job != self.job) {
                return Err(of_another_job(name, &other.job));
            }
            if let Some(version) = entry.version.filter(|version| now.and_then(|now| now.version) != Some(*version)) {
                contents.insert(name.clone(), self.content(name, entry, version).await?);
            }
        }
        let same = |now: &ReleasedTable, then: &ReleasedTable| {
            let ReleasedTable { run_id, release, .. } = now.clone();
            *now == ReleasedTable { run_id, release, ..then.clone() }
        };
        let mut revisions = Vec::new();
        for (name, entry) in self.own(self.target) {
            let own_inputs = self.own_inputs(entry, &contents);
            let content = contents.get(name).cloned();
            let unchanged = self.newest.get(name).is_some_and(|now| same(now, entry));
            if content.is_some() || !own_inputs.is_empty() || !unchanged {
                revisions.push(Revision { table: name.clone(), content, entry: Some(entry.clone()), own_inputs });
            }
        }
        let gone = self.own(self.newest).filter(|(name, _)| !self.target.contains_key(*name));
        let drops = gone.map(|(name, _)| name.clone()).collect();
        Ok(Publication { revisions, drops, ..Publication::default() })
    }

    /// Gives what the broken run has committed the state of the newest release.
    async fn repair(&self, run_id: &str) -> Result<Publication> {
        let lake = &self.site.lake;
        let (done, outcome) = (layout::done(run_id), layout::outcome(run_id));
        let ended = retrying(|| read_object::<Done>(lake, &done)).await?.is_some();
        let outcome = retrying(|| read_object::<Outcome>(lake, &outcome)).await?;
        let Some(Outcome { verdict: Verdict::Publish(broken), .. }) = outcome.filter(|_| !ended) else {
            return Err(not_broken(run_id));
        };
        let (mut contents, mut revisions) = (BTreeMap::new(), Vec::new());
        let published = broken.tables.iter().filter(|table| table.view.is_none());
        let published = published.map(|table| (&table.table, table.base_version));
        let revised = broken.revisions.iter().filter_map(|r| Some((&r.table, Some(r.content.as_ref()?.base_version))));
        for (name, base) in published.chain(revised) {
            let root = self.root(name)?;
            let Some(version) = retrying(|| version_of_run(&root, base, run_id)).await? else { continue };
            let released = self.target.get(name).and_then(|entry| Some((entry, entry.version?)));
            match released {
                Some((entry, version)) => {
                    contents.insert(name.clone(), self.content(name, entry, version).await?);
                }
                // The run has made the table: nothing was in it before.
                None => {
                    let content = Some(self.emptied(name, version).await?);
                    revisions.push(Revision { table: name.clone(), content, entry: None, own_inputs: Vec::new() });
                }
            }
        }
        for (name, entry) in self.own(self.target) {
            let (own_inputs, content) = (self.own_inputs(entry, &contents), contents.get(name).cloned());
            if content.is_some() || !own_inputs.is_empty() {
                revisions.push(Revision { table: name.clone(), content, entry: Some(entry.clone()), own_inputs });
            }
        }
        Ok(Publication { revisions, ..Publication::default() })
    }

    fn own<'b>(
        &'b self,
        tables: &'b BTreeMap<String, ReleasedTable>,
    ) -> impl Iterator<Item = (&'b String, &'b ReleasedTable)> {
        tables.iter().filter(|(_, entry)| entry.job == self.job)
    }

    /// Inputs of which the table has consumed exactly the version whose rows come back under another number.
    fn own_inputs(&self, entry: &ReleasedTable, contents: &BTreeMap<String, RevisedContent>) -> Vec<String> {
        let restored = |name: &String, state: &InputState| match state {
            InputState::Table { version } => {
                contents.contains_key(name)
                    && self.target.get(name).is_some_and(|upstream| upstream.has_rows_of(*version))
            }
            InputState::Raw { .. } => false,
        };
        entry.inputs.iter().filter(|(name, state)| restored(name, state)).map(|(name, _)| name.clone()).collect()
    }

    fn root(&self, table: &str) -> Result<Prefix> {
        let name = parse_name(table)?;
        self.site.lake.child(&layout::table_root(name.zone(), name.table()))
    }

    /// The state of a table at a version of an earlier release.
    async fn content(&self, table: &str, entry: &ReleasedTable, version: u64) -> Result<RevisedContent> {
        let root = self.root(table)?;
        let gone = || {
            Error::new(ErrorKind::Corrupt, "a table cannot get its earlier state, for its files are gone")
                .with("table", table)
                .with("version", version)
                .with_hint("rewind to a later release, or rebuild the table with --full-refresh")
        };
        let base_version = retrying(|| newest_version(&root, Some(version))).await?.ok_or_else(gone)?;
        let files = retrying(|| read_snapshot(&root, Some(version))).await?.ok_or_else(gone)?.files;
        let present: BTreeSet<String> = paths(&files_at(&root, Some(base_version)).await?);
        let back: Vec<DataFile> = files.iter().filter(|file| !present.contains(&file.path)).cloned().collect();
        check_files(&root, &back).await.map_err(|error| match error.kind() {
            ErrorKind::Corrupt => gone().with_source(error),
            _ => error,
        })?;
        Ok(RevisedContent {
            base_version,
            schema: Arc::clone(&entry.schema),
            partition_columns: entry.partition_columns.clone(),
            description: entry.description.clone(),
            files,
        })
    }

    /// A table without rows.
    async fn emptied(&self, table: &str, version: u64) -> Result<RevisedContent> {
        let root = self.root(table)?;
        let newest = retrying(|| read_snapshot(&root, None)).await?.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "the table is gone").with("table", table).with("version", version)
        })?;
        Ok(RevisedContent {
            base_version: newest.version,
            schema: newest.schema,
            partition_columns: newest.partition_columns,
            description: None,
            files: Vec::new(),
        })
    }
}

/// Ends a broken run, once its tables are restored: it publishes nothing, and blocks its job no longer.
///
/// # Errors
/// As creating state objects.
pub(crate) async fn end_broken(site: &Site, repair: &Accepted, run_id: &str) -> Result<()> {
    let key = layout::spec(run_id);
    let spec = retrying(|| read_object::<Spec>(&site.lake, &key)).await?;
    let spec =
        spec.ok_or_else(|| Error::new(ErrorKind::Corrupt, "an accepted run has no spec").with("object", &key))?;
    let sequence = find_slot(&site.lake, &spec.job, run_id, spec.first_sequence).await?.unwrap_or(spec.first_sequence);
    let failure = AbortReason {
        cancelled: false,
        message: format!("somebody else had changed a table; the run was repaired by run {}", repair.run_id),
        kind: "conflict".to_owned(),
        hint: Some("run the job again".to_owned()),
        step: None,
    };
    let (end, failure) = (RunEnd::Failed, Some(failure));
    let done = Done {
        format: Format,
        sequence,
        end,
        release: None,
        steps: Vec::new(),
        reads: Vec::new(),
        failure,
        duration_us: 0,
        waited_us: 0,
    };
    create(&site.lake, &layout::done(run_id), &done).await?;
    let marker = layout::active(run_id);
    retrying(|| site.lake.delete(&marker)).await
}
