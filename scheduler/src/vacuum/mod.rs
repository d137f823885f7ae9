//! Removes what nothing needs any more: data files that no table version in retention holds, what ended runs have left
//! behind, and releases that are out of retention.
//!
//! Data flow: everything that could go is listed -> releases out of retention go -> what is needed is read ([`needed`])
//! -> of what was listed, the rest goes.
//!
//! Invariant: no object is deleted that a release in retention or an unfinished run needs. Three things hold it up:
//! what could go is listed *before* what is needed is read, so that a file of a run which publishes meanwhile is seen as
//! needed; only objects with names that are made once are deleted, so that nobody can be made to lose a race by it; and
//! a release goes before the files that only it needs, so that whoever wants to go back to it is either seen, or does
//! not find it any more.

mod needed;

use std::{collections::BTreeMap, time::Duration};

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    ListedObject, Prefix, clean_log, layout,
    state::{list_numbers, open_lake},
};

use self::needed::{Live, Needed, last_runs, oldest_kept};
use crate::run::retrying;

/// Age from which on the heartbeat of a driver is no hint any more: one that is alive writes it again within seconds.
const HEARTBEAT_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Objects deleted by one call of the store.
const DELETES_AT_ONCE_MAX: usize = 1000;

/// What a vacuum is asked for.
#[derive(Clone, Copy, Debug)]
pub struct VacuumOptions {
    /// Age from which on a release may go, and an object that nothing needs.
    pub retain: Duration,
    /// The time now, in microseconds since 1970-01-01T00:00:00Z.
    pub now_us: i64,
    /// Whether anything is deleted, rather than only told.
    pub delete: bool,
}

/// What a vacuum has deleted, or would delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// The oldest release that stays; `None` if nothing has been published.
    pub oldest_release: Option<u64>,
    /// Releases that go.
    pub releases: u64,
    /// Data files that go, by table as `zone.table`, of tables that have any.
    pub tables: BTreeMap<String, Garbage>,
    /// Objects of the run state that go: reports, listings, samples and logs of ended runs, segments of ledgers.
    pub state: Garbage,
    /// Entries and checkpoints of tables' logs that go.
    pub logs: Garbage,
    /// Unfinished runs, since whose beginning everything stays.
    pub unfinished: Vec<String>,
}

/// Objects that go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// How many.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
}

impl Garbage {
    fn add(&mut self, object: &ListedObject) {
        self.objects += 1;
        self.bytes += object.size_bytes;
    }
}

impl Vacuumed {
    /// All data files that go.
    #[must_use]
    pub fn files(&self) -> Garbage {
        let sum = |of: fn(&Garbage) -> u64| self.tables.values().map(of).sum();
        Garbage { objects: sum(|garbage| garbage.objects), bytes: sum(|garbage| garbage.bytes) }
    }
}

/// Deletes what nothing needs any more, or tells what it would delete.
///
/// May run beside runs, and beside other vacuums. One that dies has deleted a part; the next one deletes the rest.
///
/// # Errors
/// - [`ErrorKind::NotFound`]: there is no lake at the prefix.
/// - [`ErrorKind::Conflict`]: a rewind to a release that goes has begun at the same moment; nothing but that release was
///   deleted.
/// - [`ErrorKind::Corrupt`]: a state object does not parse, or a version that a release names is gone.
/// - [`ErrorKind::Unsupported`]: the lake was written by a newer version of this program.
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`]: the store did not answer, or refused.
///
/// # Cancel safety
/// Dropping the future leaves a part undone.
pub async fn vacuum(lake: &Prefix, options: VacuumOptions) -> Result<Vacuumed> {
    if retrying(|| open_lake(lake)).await?.is_none() {
        return Err(Error::new(ErrorKind::NotFound, "there is no lake here")
            .with("lake", lake.display_location())
            .with_hint("`lakewright run` makes it; --lake names another"));
    }
    let before = |age: Duration| options.now_us.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
    let cutoff_us = before(options.retain);
    let listed = Listed::read(lake).await?;

    // Before the unfinished runs: one that begins in between must find the files that it takes over.
    let last = last_runs(lake).await?;
    let live = Live::read(lake).await?;
    let kept = oldest_kept(lake, &live, cutoff_us).await?;
    let releases = retrying(|| list_numbers(lake, layout::RELEASES_DIR)).await?;
    let leaving: Vec<u64> = releases.into_iter().filter(|number| kept.is_some_and(|kept| *number < kept)).collect();
    if options.delete {
        let keys: Vec<String> = leaving.iter().map(|number| layout::release(*number)).collect();
        delete(lake, &keys).await?;
    }
    // Whoever goes back to a release has been accepted before it reads it: what is accepted from here on finds it gone.
    let live = if options.delete { Live::read(lake).await? } else { live };
    if let Some((run_id, release)) = live.rewinds().find(|(_, release)| leaving.contains(release)) {
        return Err(Error::new(ErrorKind::Conflict, "a rewind to a release that was to go has just begun")
            .with("run", run_id)
            .with("release", release)
            .with_hint("nothing but releases was deleted; vacuum again when the rewind has ended"));
    }
    let needed = Needed::read(lake, &live, &last, kept).await?;

    let mut vacuumed = Vacuumed {
        oldest_release: kept,
        releases: leaving.len() as u64,
        unfinished: live.run_ids().map(str::to_owned).collect(),
        ..Vacuumed::default()
    };
    let mut keys = Vec::new();
    for (table, object) in &listed.files {
        if object.modified_us < cutoff_us && !needed.file(&object.key) {
            vacuumed.tables.entry(table.clone()).or_default().add(object);
            keys.push(object.key.clone());
        }
    }
    for object in &listed.state {
        let is_heartbeat = object.key.starts_with(layout::DRIVERS_DIR);
        let cutoff_us = if is_heartbeat { cutoff_us.min(before(HEARTBEAT_AGE_MAX)) } else { cutoff_us };
        if object.modified_us < cutoff_us && !needed.state(&object.key) {
            vacuumed.state.add(object);
            keys.push(object.key.clone());
        }
    }
    for (root, version) in needed.logs() {
        let table = lake.child(root)?;
        for (key, size_bytes) in retrying(|| clean_log(&table, version, cutoff_us)).await?.objects {
            vacuumed.logs.objects += 1;
            vacuumed.logs.bytes += size_bytes;
            keys.push(format!("{root}/{key}"));
        }
    }
    if options.delete {
        delete(lake, &keys).await?;
    }
    Ok(vacuumed)
}

async fn delete(lake: &Prefix, keys: &[String]) -> Result<()> {
    for some in keys.chunks(DELETES_AT_ONCE_MAX) {
        retrying(|| lake.delete_all(some)).await?;
    }
    Ok(())
}

/// What could go.
#[derive(Debug, Default)]
struct Listed {
    /// Files that runs of this lake have written, each with its table.
    files: Vec<(String, ListedObject)>,
    /// Objects of the run state of kinds that may go.
    state: Vec<ListedObject>,
}

impl Listed {
    async fn read(lake: &Prefix) -> Result<Self> {
        let mut listed = Self::default();
        let runs = retrying(|| lake.list_dirs(layout::RUNS_DIR)).await?;
        for zone in visible(retrying(|| lake.list_dirs("")).await?) {
            for table in visible(retrying(|| lake.list_dirs(&zone)).await?) {
                let root = layout::table_root(&zone, &table);
                let objects = retrying(|| lake.list_large(&root)).await?;
                // What lies here under another name is not this program's to delete.
                let is_own = |object: &ListedObject| {
                    layout::writer_of(&object.key)
                        .is_some_and(|writer| runs.binary_search_by(|run| run.as_str().cmp(writer)).is_ok())
                };
                let name = format!("{zone}.{table}");
                listed.files.extend(objects.into_iter().filter(is_own).map(|object| (name.clone(), object)));
            }
        }
        for (dir, may_go) in [
            (layout::RUNS_DIR, may_go_of_run as fn(&str) -> bool),
            (layout::LEDGER_DIR, |_| true),
            (layout::ORIGINS_DIR, |_| true),
            (layout::DRIVERS_DIR, |_| true),
        ] {
            let objects = retrying(|| lake.list_large(dir)).await?;
            listed.state.extend(objects.into_iter().filter(|object| may_go(&object.key)));
        }
        Ok(listed)
    }
}

/// Folders that may be zones or tables.
fn visible(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !name.starts_with(['_', '.']));
    names
}

/// Whether an object of a run is of a kind that ended runs do not need: what decides about a run stays for ever, for a
/// driver that was paused must find it.
fn may_go_of_run(key: &str) -> bool {
    let Some((_, inner)) = key.strip_prefix(layout::RUNS_DIR).and_then(|key| key.strip_prefix('/')?.split_once('/'))
    else {
        return false;
    };
    let is_listing = inner.starts_with("frozen-") && inner.ends_with(".parquet");
    is_listing || ["scans/", "reports/", "checks/", "logs/"].iter().any(|folder| inner.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_about_a_run_stays_and_what_it_only_tells_may_go() {
        let run = "_lakewright/runs/r";
        for name in ["spec.json", "frozen.json", "outcome.json", "done.json", "checks.json", "steps/a.b/written.json"] {
            assert!(!may_go_of_run(&format!("{run}/{name}")), "{name}");
        }
        for name in [
            "frozen-x.parquet",
            "scans/e/a/x.json",
            "reports/raw.a/x/o.parquet",
            "checks/a.b/c-x.parquet",
            "logs/1-x.jsonl",
        ] {
            assert!(may_go_of_run(&format!("{run}/{name}")), "{name}");
        }
    }
}
