//! Everything that decisions about a run's steps rest on, read from the store.
//!
//! Data flow: a job and the lake -> **here**: base release, listings, and of ledgers and tables only what differs ->
//! [`crate::decide`].
//!
//! Invariant: reads only. On a lake where nothing has changed it reads the newest release and the listings, and no more.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use lakewright_compiler::{Job, Model, ModelKind, Source, TableName, select_models};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    DataFile, Prefix, RawObject, layout, list_raw_objects, read_snapshot,
    state::{InputState, Release, ReleasedTable, Unit, listing_digest, newest_release, read_ledger, read_origins},
};

use crate::{
    lineage::{Lineage, Scope, check_digest, fingerprint},
    run::{RunOptions, retrying},
};

/// Sources listed, and ledgers read, at once.
const READS_MAX: usize = 8;

/// Files looked for at once.
const HEADS_MAX: usize = 64;

/// What decisions rest on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) base: Option<Release>,
    pub(crate) selected: BTreeSet<TableName>,
    pub(crate) full_refresh: bool,
    pub(crate) accept_losses: bool,
    /// Keys of raw objects that are read again although they have not changed, by source.
    replay: BTreeMap<String, BTreeSet<String>>,
    /// Of selected models.
    pub(crate) lineages: BTreeMap<TableName, Lineage>,
    /// Of selected models.
    pub(crate) fingerprints: BTreeMap<TableName, String>,
    /// What the checks of selected models read, of those that have any.
    pub(crate) check_lineages: BTreeMap<TableName, Lineage>,
    /// Names the checks of selected models, of those that have any.
    pub(crate) check_digests: BTreeMap<TableName, String>,
    /// Of the sources that selected tables read.
    pub(crate) listings: BTreeMap<TableName, Listing>,
    /// Units consumed, of tables whose inputs differ from what they consumed.
    pub(crate) ledgers: BTreeMap<TableName, Vec<Unit>>,
    /// The run's one time, in microseconds since 1970-01-01T00:00:00Z.
    pub(crate) now_us: i64,
    /// From when to when rows are asked for, in the same unit, the latter exclusive; a side that is `None` is open.
    pub(crate) window: Option<(Option<i64>, Option<i64>)>,
    /// What has become of input tables since a model that computes rows by key has read them, by model and input; `None`
    /// where nobody can tell.
    pub(crate) turnovers: BTreeMap<TableName, BTreeMap<TableName, Option<Turnover>>>,
    /// Files that the driving table holds at the base release, as steps have written them, of tables that have not seen
    /// that version.
    pub(crate) unseen_files: BTreeMap<TableName, UnseenFiles>,
}

/// The files of a driving table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnseenFiles {
    /// Paths of the files that steps have written.
    pub(crate) paths: BTreeSet<String>,
    /// The same, of those whose rows lie together in one file, for each such file.
    pub(crate) together: Vec<BTreeSet<String>>,
}

impl UnseenFiles {
    /// Whether some file holds rows that were consumed beside others that were not: it cannot be read in part.
    pub(crate) fn is_mixed(&self, is_consumed: impl Fn(&String) -> bool) -> bool {
        let some = |paths: &BTreeSet<String>| paths.iter().any(&is_consumed) && !paths.iter().all(&is_consumed);
        self.together.iter().any(some)
    }
}

/// The files that a table has lost and gained between two versions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Turnover {
    pub(crate) removed: Vec<DataFile>,
    pub(crate) added: Vec<DataFile>,
}

impl Turnover {
    /// What leads from the files of one version to those of another.
    pub(crate) fn between(before: &[DataFile], after: &[DataFile]) -> Self {
        let paths = |files: &[DataFile]| files.iter().map(|file| file.path.clone()).collect::<BTreeSet<_>>();
        let (old, new) = (paths(before), paths(after));
        Self {
            removed: before.iter().filter(|file| !new.contains(&file.path)).cloned().collect(),
            added: after.iter().filter(|file| !old.contains(&file.path)).cloned().collect(),
        }
    }
}

/// The raw objects of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Sorted by key.
    pub(crate) objects: Vec<RawObject>,
    pub(crate) digest: String,
    pub(crate) bytes: u64,
}

impl Listing {
    /// Takes objects that are sorted by key.
    pub(crate) fn new(objects: Vec<RawObject>) -> Self {
        let bytes = objects.iter().map(|object| object.size_bytes).sum();
        Self { digest: listing_digest(&objects), bytes, objects }
    }
}

impl Evidence {
    /// The entry of a table in the base release.
    pub(crate) fn released(&self, table: &TableName) -> Option<&ReleasedTable> {
        self.base.as_ref()?.tables.get(&table.to_string())
    }

    /// Whether a published table has not passed the checks that its model has now.
    pub(crate) fn needs_recheck(&self, table: &TableName) -> bool {
        let released = self.released(table).map(|entry| &entry.checks);
        matches!((self.check_digests.get(table), released), (Some(now), Some(then)) if then.as_ref() != Some(now))
    }

    /// Whether objects of the source are read again although they have not changed.
    pub(crate) fn replays(&self, source: &TableName) -> bool {
        self.replay.contains_key(&source.to_string())
    }

    /// Units of a ledger as a run compares them with listings: an object that it is to read again has another identity.
    pub(crate) fn to_be_compared(&self, mut units: Vec<Unit>) -> Vec<Unit> {
        for (source, keys) in &self.replay {
            let listing = TableName::parse(source).and_then(|name| self.listings.get(&name));
            let listed: BTreeSet<&str> =
                listing.into_iter().flat_map(|listing| &listing.objects).map(|object| object.key.as_str()).collect();
            // What has gone cannot be read again: its unit stays what it is.
            let is_replayed =
                |unit: &&mut Unit| unit.input == *source && keys.contains(&unit.key) && listed.contains(&*unit.key);
            for unit in units.iter_mut().filter(is_replayed) {
                (unit.etag, unit.modified_us) = (None, i64::MIN);
            }
        }
        units
    }

    /// Whether it is known what has become of an input table since the model has read it.
    pub(crate) fn knows_changes(&self, model: &TableName, input: &TableName) -> bool {
        // No entry: the base release has what was read.
        self.turnovers.get(model).and_then(|inputs| inputs.get(input)).is_none_or(Option::is_some)
    }

    /// Whether the table's recorded state of the input is not the input's state now, as far as it exists already.
    fn differs(&self, entry: &ReleasedTable, input: &TableName) -> bool {
        match entry.inputs.get(&input.to_string()) {
            Some(InputState::Raw { digest, .. }) => {
                self.listings.get(input).is_none_or(|listing| listing.digest != *digest)
            }
            Some(InputState::Table { version }) => {
                !self.released(input).is_some_and(|upstream| upstream.has_rows_of(*version))
            }
            None => true,
        }
    }
}

/// Reads what decisions about a run of `job` rest on.
///
/// # Errors
/// - [`ErrorKind::NotFound`]: a source has no objects; the raw prefix does not exist; an unselected table that is read
///   has never been published.
/// - [`ErrorKind::Invalid`]: a pattern of the selection matches nothing.
/// - [`ErrorKind::Corrupt`], [`ErrorKind::Unsupported`], [`ErrorKind::Unavailable`]: as reading a lake.
pub(crate) async fn gather(
    lake: &Prefix,
    raw: &Prefix,
    job: &Job,
    options: &RunOptions,
    now_us: i64,
) -> Result<Evidence> {
    let base = retrying(|| newest_release(lake)).await?;
    let mut evidence = Evidence { now_us, ..resolve(job, options, base)? };
    evidence.listings = list_sources(raw, job, &evidence).await?;
    read_differences(lake, job, &mut evidence).await?;
    Ok(evidence)
}

/// Follows what every selected model reads; no I/O.
///
/// # Errors
/// As [`gather`].
pub(crate) fn resolve(job: &Job, options: &RunOptions, base: Option<Release>) -> Result<Evidence> {
    let selected = select_models(job, &options.select, &options.exclude)?;
    let (mut lineages, mut fingerprints) = (BTreeMap::new(), BTreeMap::new());
    let (mut check_lineages, mut check_digests) = (BTreeMap::new(), BTreeMap::new());
    let scope = Scope { job, selected: &selected, base: base.as_ref() };
    for model in job.models.iter().filter(|model| selected.contains(&model.name)) {
        let lineage = scope.lineage(model)?;
        fingerprints.insert(model.name.clone(), fingerprint(job, model, &lineage));
        lineages.insert(model.name.clone(), lineage);
        if let Some(digest) = check_digest(job, model) {
            check_digests.insert(model.name.clone(), digest);
            check_lineages.insert(model.name.clone(), scope.check_lineage(model)?);
        }
    }
    let RunOptions { full_refresh, accept_losses, start_us, end_us, .. } = *options;
    let window = (start_us.is_some() || end_us.is_some()).then_some((start_us, end_us));
    let replay = options.replay.clone();
    Ok(Evidence {
        base,
        selected,
        full_refresh,
        accept_losses,
        window,
        replay,
        lineages,
        fingerprints,
        check_lineages,
        check_digests,
        ..Evidence::default()
    })
}

async fn list_sources(raw: &Prefix, job: &Job, evidence: &Evidence) -> Result<BTreeMap<TableName, Listing>> {
    let read: BTreeSet<&TableName> = stored_models(job, evidence)
        .filter_map(|model| evidence.lineages.get(&model.name))
        .chain(evidence.check_lineages.values())
        .flat_map(|lineage| &lineage.sources)
        .collect();
    let sources = job.sources.values().filter(|source| read.contains(&source.name));
    let listings = sources.map(|source| async move {
        let objects = retrying(|| list_raw_objects(raw, &source.location))
            .await
            .map_err(|error| error.with("source", &source.name))?;
        if objects.is_empty() && !source.options.allow_empty {
            return Err(no_objects(source));
        }
        Ok((source.name.clone(), Listing::new(objects)))
    });
    stream::iter(listings.collect::<Vec<_>>()).buffered(READS_MAX).try_collect().await
}

/// The selected models that store rows.
fn stored_models<'a>(job: &'a Job, evidence: &'a Evidence) -> impl Iterator<Item = &'a Model> {
    job.models.iter().filter(|model| evidence.selected.contains(&model.name) && model.kind != ModelKind::View)
}

fn no_objects(source: &Source) -> Error {
    Error::new(ErrorKind::NotFound, "a source has no objects")
        .with("source", &source.name)
        .with("location", &source.location)
        .with("file", &source.file)
        .with_hint("check the raw prefix and LOCATION; if the source may be empty, set the option allow_empty 'true'")
}

/// Reads ledgers and file lists of the tables whose inputs differ from what they have consumed.
pub(crate) async fn read_differences(lake: &Prefix, job: &Job, evidence: &mut Evidence) -> Result<()> {
    let mut ledgers = Vec::new();
    let mut drifts = Vec::new();
    for model in stored_models(job, evidence) {
        let (Some(entry), Some(lineage)) = (evidence.released(&model.name), evidence.lineages.get(&model.name)) else {
            continue;
        };
        let driving = model.kind.driving();
        let drifted = driving.filter(|name| lineage.tables.contains(*name) && evidence.differs(entry, name));
        let is_compared = |source: &TableName| evidence.differs(entry, source) || evidence.replays(source);
        if drifted.is_some() || lineage.sources.iter().any(is_compared) {
            ledgers.push((model.name.clone(), entry.ledger.clone()));
        }
        if let Some(upstream) = drifted
            && let Some(entry) = evidence.released(upstream)
            && let Some(version) = entry.version
        {
            drifts.push((model.name.clone(), upstream.clone(), version, entry.origins));
        }
    }
    let ledgers = ledgers.into_iter().map(|(table, segments)| async move {
        let name = table.to_string();
        let units = retrying(|| read_ledger(lake, &name, &segments)).await?;
        Ok::<_, Error>((table, units))
    });
    let ledgers: Vec<(TableName, Vec<Unit>)> = stream::iter(ledgers).buffered(READS_MAX).try_collect().await?;
    evidence.ledgers = ledgers.into_iter().map(|(table, units)| (table, evidence.to_be_compared(units))).collect();
    let drifts = drifts.into_iter().map(|(table, upstream, version, segment)| async move {
        let root = lake.child(&layout::table_root(upstream.zone(), upstream.table()))?;
        let name = upstream.to_string();
        let snapshot = retrying(|| read_snapshot(&root, Some(version))).await?;
        let origins = retrying(|| read_origins(lake, &name, segment)).await?;
        let mut unseen = UnseenFiles::default();
        for file in snapshot.into_iter().flat_map(|snapshot| snapshot.files) {
            let paths: BTreeSet<String> = origins.of(&file).into_iter().map(|origin| origin.path).collect();
            if origins.is_compacted(&file.path) {
                unseen.together.push(paths.clone());
            }
            unseen.paths.extend(paths);
        }
        Ok::<_, Error>((table, unseen))
    });
    evidence.unseen_files = stream::iter(drifts).buffered(READS_MAX).try_collect().await?;
    evidence.turnovers = read_turnovers(lake, job, evidence).await?;
    Ok(())
}

type Turnovers = BTreeMap<TableName, BTreeMap<TableName, Option<Turnover>>>;

/// Reads what has become of input tables since models that compute rows by key have read them.
async fn read_turnovers(lake: &Prefix, job: &Job, evidence: &Evidence) -> Result<Turnovers> {
    let mut wanted = Vec::new();
    for model in stored_models(job, evidence) {
        let (Some(sides), Some(entry)) = (model.kind.sides(), evidence.released(&model.name)) else { continue };
        for input in sides.keys().filter(|input| evidence.differs(entry, input)) {
            let consumed = entry.inputs.get(&input.to_string());
            let released = evidence.released(input).and_then(|upstream| upstream.version);
            if let (Some(InputState::Table { version }), Some(released)) = (consumed, released) {
                wanted.push((model.name.clone(), input.clone(), (*version, released)));
            }
        }
    }
    let reads = wanted.into_iter().map(|(model, input, versions)| async move {
        let root = lake.child(&layout::table_root(input.zone(), input.table()))?;
        let turnover = turnover(&root, versions).await?;
        Ok::<_, Error>((model, input, turnover))
    });
    let read: Vec<_> = stream::iter(reads).buffered(READS_MAX).try_collect().await?;
    let mut turnovers = Turnovers::new();
    for (model, input, turnover) in read {
        turnovers.entry(model).or_default().insert(input, turnover);
    }
    Ok(turnovers)
}

/// What leads from one version of a table to another; `None` if a version, or a file that has left the table since, is
/// not there any more.
async fn turnover(root: &Prefix, (before, after): (u64, u64)) -> Result<Option<Turnover>> {
    let files = |version: u64| async move {
        match retrying(|| read_snapshot(root, Some(version))).await {
            Ok(snapshot) => Ok(snapshot.map(|snapshot| snapshot.files)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let (Some(old), Some(new)) = (files(before).await?, files(after).await?) else { return Ok(None) };
    let turnover = Turnover::between(&old, &new);
    let found = turnover.removed.iter().map(|file| async move { retrying(|| root.head(&file.path)).await });
    let found: Vec<_> = stream::iter(found.collect::<Vec<_>>()).buffered(HEADS_MAX).try_collect().await?;
    Ok(found.iter().all(Option::is_some).then_some(turnover))
}
