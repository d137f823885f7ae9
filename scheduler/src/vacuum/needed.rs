//! What a lake needs: the releases in retention, the versions of tables that they name, and what unfinished runs name.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use lakewright_error::Result;
use lakewright_lake::{
    DataFile, Prefix, file_names_since, layout,
    state::{
        Active, Frozen, JobSlot, Operation, Outcome, Release, Spec, Verdict, Written, list_names, list_numbers,
        read_object,
    },
};

use crate::{lineage::parse_name, record::find_slot, run::retrying};

/// Releases, tables and runs read at once.
const READS_MAX: usize = 16;

/// The accepted runs that have a marker. One that has no number yet has read nothing of the lake, and holds nothing.
#[derive(Debug, Default)]
pub(super) struct Live(Vec<LiveRun>);

#[derive(Debug)]
struct LiveRun {
    run_id: String,
    job: String,
    /// Its number in its job.
    sequence: u64,
    /// When it was accepted, in microseconds since 1970-01-01T00:00:00Z.
    since_us: i64,
    /// The release that it starts from, or goes back to.
    release: Option<u64>,
    rewinds_to: Option<u64>,
}

impl Live {
    /// Reads the unfinished runs of all jobs.
    ///
    /// # Errors
    /// As reading state objects.
    pub(super) async fn read(lake: &Prefix) -> Result<Self> {
        let run_ids = retrying(|| list_names(lake, layout::ACTIVE_DIR)).await?;
        let reads = run_ids.into_iter().map(|run_id| live_run(lake, run_id));
        let runs: Vec<Option<LiveRun>> = stream::iter(reads).buffered(READS_MAX).try_collect().await?;
        Ok(Self(runs.into_iter().flatten().collect()))
    }

    pub(super) fn run_ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|run| run.run_id.as_str())
    }

    /// Runs that go back to a release, with its number.
    pub(super) fn rewinds(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter_map(|run| Some((run.run_id.as_str(), run.rewinds_to?)))
    }
}

async fn live_run(lake: &Prefix, run_id: String) -> Result<Option<LiveRun>> {
    let (active, spec, frozen) = (layout::active(&run_id), layout::spec(&run_id), layout::frozen(&run_id));
    // Markers go away while they are being looked at.
    let Some(marker) = retrying(|| read_object::<Active>(lake, &active)).await? else { return Ok(None) };
    let spec = retrying(|| read_object::<Spec>(lake, &spec)).await?;
    let frozen = retrying(|| read_object::<Frozen>(lake, &frozen)).await?;
    let Some(sequence) = find_slot(lake, &marker.job, &run_id, marker.first_sequence).await? else { return Ok(None) };
    let rewinds_to = match spec.as_ref().and_then(|spec| spec.operation.as_ref()) {
        Some(Operation::Rewind { release }) => Some(*release),
        _ => None,
    };
    let release = rewinds_to.or(frozen.and_then(|frozen| frozen.base_release));
    let since_us = spec.map_or(i64::MIN, |spec| spec.execution_us);
    Ok(Some(LiveRun { run_id, job: marker.job, sequence, since_us, release, rewinds_to }))
}

/// The oldest release that stays: the one that was the newest when the retention, or the first unfinished run, began, or
/// that an unfinished run names. `None` if nothing has been published.
///
/// # Errors
/// As reading state objects.
pub(super) async fn oldest_kept(lake: &Prefix, live: &Live, cutoff_us: i64) -> Result<Option<u64>> {
    let numbers = retrying(|| list_numbers(lake, layout::RELEASES_DIR)).await?;
    let since_us = live.0.iter().map(|run| run.since_us).fold(cutoff_us, i64::min);
    let named = live.0.iter().filter_map(|run| run.release).min();
    let mut kept = numbers.last().copied();
    let reads = numbers.iter().rev().map(|number| read_release(lake, *number));
    let mut releases = stream::iter(reads).buffered(READS_MAX);
    while let Some(release) = releases.try_next().await? {
        let Some(release) = release else { continue };
        kept = Some(release.number);
        if release.created_us < since_us {
            break;
        }
    }
    // What is named and gone already cannot be kept.
    let first = numbers.first().copied();
    Ok(kept.map(|kept| named.map_or(kept, |named| kept.min(named)).max(first.unwrap_or(kept))))
}

async fn read_release(lake: &Prefix, number: u64) -> Result<Option<Release>> {
    let key = layout::release(number);
    retrying(|| read_object(lake, &key)).await
}

/// What must stay.
#[derive(Debug, Default)]
pub(super) struct Needed {
    /// Unfinished runs: all that they have written.
    runs: BTreeSet<String>,
    /// Numbers of unfinished runs in their jobs: segments of ledgers have no other name.
    sequences: BTreeSet<u64>,
    /// Names of data files, without directories.
    files: BTreeSet<String>,
    /// Keys of state objects, and of folders of them.
    state: BTreeSet<String>,
    /// The oldest version that is needed of each table, by the table's root.
    versions: BTreeMap<String, u64>,
}

impl Needed {
    /// Reads what must stay, where `oldest` is the oldest release that stays, and `last` are the [`last_runs`] before `live`
    /// was read.
    ///
    /// # Errors
    /// As reading state objects and tables.
    pub(super) async fn read(lake: &Prefix, live: &Live, last: &BTreeSet<String>, oldest: Option<u64>) -> Result<Self> {
        let mut needed = Self {
            runs: live.run_ids().map(str::to_owned).collect(),
            sequences: live.0.iter().map(|run| run.sequence).collect(),
            ..Self::default()
        };
        needed.note_releases(lake, oldest).await?;
        let reads = needed.versions.iter().map(|(root, version)| async move {
            let table = lake.child(root)?;
            let names = retrying(|| file_names_since(&table, *version)).await;
            names.map_err(|error| error.with("table", root))
        });
        let reads: Vec<_> = reads.collect();
        let names: Vec<BTreeSet<String>> = stream::iter(reads).buffered(READS_MAX).try_collect().await?;
        needed.files.extend(names.into_iter().flatten());
        for run_id in runs_that_lend(lake, live, last).await? {
            needed.note_run(lake, &run_id).await?;
        }
        Ok(needed)
    }

    /// The roots of tables whose logs are needed from a version on.
    pub(super) fn logs(&self) -> impl Iterator<Item = (&String, u64)> {
        self.versions.iter().map(|(root, version)| (root, *version))
    }

    /// Whether the data file must stay.
    pub(super) fn file(&self, key: &str) -> bool {
        let name = key.rsplit('/').next().unwrap_or(key);
        self.files.contains(name) || layout::writer_of(key).is_none_or(|writer| self.runs.contains(writer))
    }

    /// Whether the object of the run state must stay.
    pub(super) fn state(&self, key: &str) -> bool {
        if self.state.contains(key) || key.rsplit_once('/').is_some_and(|(folder, _)| self.state.contains(folder)) {
            return true;
        }
        if let Some(rest) = key.strip_prefix(layout::RUNS_DIR) {
            let run = rest.trim_start_matches('/').split('/').next().unwrap_or_default();
            return self.runs.contains(run);
        }
        let number = key.rsplit('/').next().and_then(layout::number_of);
        !key.starts_with(layout::DRIVERS_DIR) && number.is_none_or(|number| self.sequences.contains(&number))
    }

    /// Notes the segments and the versions of tables that releases in retention name.
    async fn note_releases(&mut self, lake: &Prefix, oldest: Option<u64>) -> Result<()> {
        let Some(oldest) = oldest else { return Ok(()) };
        let numbers = retrying(|| list_numbers(lake, layout::RELEASES_DIR)).await?;
        let kept = numbers.into_iter().filter(|number| *number >= oldest);
        let mut releases = stream::iter(kept.map(|number| read_release(lake, number))).buffered(READS_MAX);
        while let Some(release) = releases.try_next().await? {
            for (table, entry) in release.into_iter().flat_map(|release| release.tables) {
                let segments = entry.ledger.iter().map(|segment| layout::ledger_segment(&table, *segment));
                self.state.extend(segments);
                self.state.extend(entry.origins.map(|segment| layout::origins_segment(&table, segment)));
                if let Some(version) = entry.version {
                    let name = parse_name(&table)?;
                    let oldest = self.versions.entry(layout::table_root(name.zone(), name.table())).or_insert(version);
                    *oldest = version.min(*oldest);
                }
            }
        }
        Ok(())
    }

    /// Notes what a run has written, and what it has decided to publish.
    async fn note_run(&mut self, lake: &Prefix, run_id: &str) -> Result<()> {
        let dir = layout::run_dir(run_id);
        let steps = retrying(|| list_names(lake, &dir)).await?;
        for name in steps.iter().filter(|name| name.ends_with("/written.json")) {
            let key = format!("{dir}/{name}");
            let Some(written) = retrying(|| read_object::<Written>(lake, &key)).await? else { continue };
            self.note_files(&written.files);
            self.note_files(written.checks.iter().flat_map(|checks| &checks.quarantined));
            self.state.extend(written.record.reads.iter().map(|read| read.report.clone()));
        }
        let key = layout::outcome(run_id);
        if let Some(Outcome { verdict: Verdict::Publish(publication), .. }) =
            retrying(|| read_object::<Outcome>(lake, &key)).await?
        {
            self.note_files(publication.tables.iter().flat_map(|table| &table.files));
            self.note_files(publication.compactions.iter().flat_map(|compaction| &compaction.files));
            self.note_files(publication.revisions.iter().flat_map(|revision| &revision.content).flat_map(|c| &c.files));
            for table in &publication.tables {
                self.state.extend(table.ledger.iter().map(|segment| layout::ledger_segment(&table.table, *segment)));
                self.state.extend(table.origins.map(|segment| layout::origins_segment(&table.table, segment)));
            }
        }
        Ok(())
    }

    fn note_files<'a>(&mut self, files: impl IntoIterator<Item = &'a DataFile>) {
        let name = |file: &DataFile| file.path.rsplit('/').next().unwrap_or(&file.path).to_owned();
        self.files.extend(files.into_iter().map(name));
    }
}

/// The last run of each job at this moment: the next one may take over its files.
///
/// # Errors
/// As reading state objects.
pub(super) async fn last_runs(lake: &Prefix) -> Result<BTreeSet<String>> {
    let mut run_ids = BTreeSet::new();
    for job in retrying(|| lake.list_dirs(layout::JOBS_DIR)).await? {
        let dir = layout::job_slots_dir(&job);
        if let Some(last) = retrying(|| list_numbers(lake, &dir)).await?.last() {
            run_ids.extend(run_of(lake, &job, *last).await?);
        }
    }
    Ok(run_ids)
}

async fn run_of(lake: &Prefix, job: &str, sequence: u64) -> Result<Option<String>> {
    let key = layout::job_slot(job, sequence);
    Ok(retrying(|| read_object::<JobSlot>(lake, &key)).await?.map(|slot| slot.run_id))
}

/// Runs whose files others may take over: unfinished ones, the one before each, and those that were the last of their jobs
/// before it was looked which are unfinished. Whatever was accepted since takes over from one of these.
async fn runs_that_lend(lake: &Prefix, live: &Live, last: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let mut run_ids: BTreeSet<String> = live.run_ids().map(str::to_owned).collect();
    run_ids.extend(last.iter().cloned());
    for run in live.0.iter().filter(|run| run.sequence > 1) {
        run_ids.extend(run_of(lake, &run.job, run.sequence - 1).await?);
    }
    Ok(run_ids)
}
