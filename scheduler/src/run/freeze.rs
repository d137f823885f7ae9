//! Freezes a run's inputs once, and takes them up again in any later driver.
//!
//! Data flow: [`gather`] and [`decide`] -> `frozen.json` (first creator wins) -> a [`Plan`], the same for every driver.
//!
//! Invariant: what a driver executes comes from `frozen.json` alone: the loser of the race, and the driver of a resumed
//! run, drop what they saw themselves.

use std::collections::{BTreeMap, BTreeSet};

use lakewright_compiler::{Job, Model, TableName};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    Prefix, RawObject, layout,
    state::{Format, Frozen, FrozenModel, FrozenSource, Release, Unit, decode_units, encode_units, read_object},
};
use uuid::Uuid;

use super::{
    accept::Accepted,
    race::{Race, create, retrying},
    site::{Site, options_of},
};
use crate::{
    StepWork,
    decide::{Decision, decide},
    evidence::{Evidence, Listing, gather, read_differences, resolve},
    lineage::parse_name,
};

/// Raw objects up to which a listing stands in `frozen.json` itself.
const INLINE_OBJECTS_MAX: usize = 100;

/// What every try of a run works from.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) job: Job,
    pub(crate) raw: Prefix,
    pub(crate) evidence: Evidence,
    pub(crate) frozen: Frozen,
    pub(crate) works: BTreeMap<TableName, StepWork>,
}

impl Plan {
    /// What is done about a model.
    pub(crate) fn work(&self, table: &TableName) -> StepWork {
        self.works.get(table).copied().unwrap_or(StepWork::Skip)
    }

    /// Whether the model's checks are asked of all rows of its table, because they have changed.
    pub(crate) fn rechecks(&self, table: &TableName) -> bool {
        let table = table.to_string();
        self.frozen.models.iter().any(|model| model.table == table && model.recheck)
    }

    /// Whether the run writes files for the table.
    pub(crate) fn executes(&self, table: &TableName) -> bool {
        executes(self.work(table))
    }

    /// The models whose steps execute, in the job's order.
    pub(crate) fn executing(&self) -> impl Iterator<Item = &Model> {
        self.job.models.iter().filter(|model| self.executes(&model.name))
    }
}

/// Whether the work makes files.
pub(crate) fn executes(work: StepWork) -> bool {
    matches!(work, StepWork::Replace | StepWork::Append | StepWork::Update)
}

/// Freezes the run, or takes up what another driver has frozen meanwhile.
///
/// # Errors
/// As [`gather`] and [`decide`].
pub(crate) async fn freeze(site: &Site, run: &Accepted, job: Job) -> Result<Plan> {
    let raw = (site.open_raw)(&run.spec.raw)?;
    let options = options_of(&run.spec);
    let evidence = gather(&site.lake, &raw, &job, &options, run.spec.execution_us).await?;
    let decisions = decide(&job, &evidence)?;
    let frozen = frozen_of(run.sequence, &evidence, &decisions);
    store_listing(site, run, &frozen, &evidence).await?;
    match create(&site.lake, &layout::frozen(&run.run_id), &frozen).await? {
        Race::Won => {
            let works = decisions.into_iter().map(|decision| (decision.table, decision.action.work)).collect();
            Ok(Plan { job, raw, evidence, frozen, works })
        }
        Race::Lost(theirs) => thaw(site, run, job, theirs).await,
    }
}

/// Takes up what was frozen.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: this program's fingerprints of the job are not those that were frozen.
/// - [`ErrorKind::Corrupt`]: an object that `frozen.json` names is missing.
pub(crate) async fn thaw(site: &Site, run: &Accepted, job: Job, frozen: Frozen) -> Result<Plan> {
    let raw = (site.open_raw)(&run.spec.raw)?;
    let base = match frozen.base_release {
        Some(number) => Some(read_release(site, number).await?),
        None => None,
    };
    let mut evidence = resolve(&job, &options_of(&run.spec), base)?;
    evidence.now_us = run.spec.execution_us;
    let works = frozen_works(&job, &evidence, &frozen)?;
    evidence.listings = read_listings(site, run, &frozen).await?;
    read_differences(&site.lake, &job, &mut evidence).await?;
    Ok(Plan { job, raw, evidence, frozen, works })
}

fn frozen_of(sequence: u64, evidence: &Evidence, decisions: &[Decision]) -> Frozen {
    let inline = is_inline(evidence);
    let sources = evidence.listings.iter().map(|(name, listing)| {
        let source = FrozenSource {
            digest: listing.digest.clone(),
            object_count: listing.objects.len() as u64,
            byte_count: listing.bytes,
            objects: inline.then(|| listing.objects.clone()),
        };
        (name.to_string(), source)
    });
    let models = decisions.iter().map(|decision| FrozenModel {
        table: decision.table.to_string(),
        fingerprint: evidence.fingerprints.get(&decision.table).cloned().unwrap_or_default(),
        work: decision.action.work.into(),
        reason: decision.action.reason.clone(),
        recheck: decision.recheck,
    });
    Frozen {
        format: Format,
        nonce: Uuid::new_v4().to_string(),
        sequence,
        base_release: evidence.base.as_ref().map(|base| base.number),
        sources: sources.collect(),
        models: models.collect(),
    }
}

fn is_inline(evidence: &Evidence) -> bool {
    evidence.listings.values().map(|listing| listing.objects.len()).sum::<usize>() <= INLINE_OBJECTS_MAX
}

async fn store_listing(site: &Site, run: &Accepted, frozen: &Frozen, evidence: &Evidence) -> Result<()> {
    if is_inline(evidence) {
        return Ok(());
    }
    let units: Vec<Unit> = evidence
        .listings
        .iter()
        .flat_map(|(name, listing)| {
            let input = name.to_string();
            listing.objects.iter().map(move |object| Unit::raw(&input, object))
        })
        .collect();
    let bytes = encode_units(&units)?;
    let key = layout::frozen_listing(&run.run_id, &frozen.nonce);
    // The nonce is in the key: nobody else creates this object.
    retrying(|| site.lake.create(&key, bytes.clone())).await.map(|_| ())
}

async fn read_listings(site: &Site, run: &Accepted, frozen: &Frozen) -> Result<BTreeMap<TableName, Listing>> {
    let mut objects: BTreeMap<String, Vec<RawObject>> = BTreeMap::new();
    if frozen.sources.values().any(|source| source.objects.is_none()) {
        let key = layout::frozen_listing(&run.run_id, &frozen.nonce);
        let bytes = retrying(|| site.lake.read(&key)).await?.ok_or_else(|| missing(&key))?;
        for unit in decode_units(&key, bytes)? {
            objects.entry(unit.input.clone()).or_default().push(unit.into_raw());
        }
    }
    let listings = frozen.sources.iter().map(|(name, source)| {
        let objects = match &source.objects {
            Some(objects) => objects.clone(),
            None => objects.remove(name).unwrap_or_default(),
        };
        Ok((parse_name(name)?, Listing { objects, digest: source.digest.clone(), bytes: source.byte_count }))
    });
    listings.collect()
}

async fn read_release(site: &Site, number: u64) -> Result<Release> {
    let key = layout::release(number);
    retrying(|| read_object(&site.lake, &key)).await?.ok_or_else(|| missing(&key))
}

fn missing(key: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "a state object that a run was frozen with is missing")
        .with("object", key)
        .with_hint("start the run again")
}

/// The frozen work of every model, if the job means to this program what it meant to the one that froze it.
fn frozen_works(job: &Job, evidence: &Evidence, frozen: &Frozen) -> Result<BTreeMap<TableName, StepWork>> {
    let differs = |table: &str| {
        Error::new(
            ErrorKind::Unsupported,
            "this version of lakewright reads the job otherwise than the one that began the run",
        )
        .with("table", table)
        .with_hint("start the run again")
    };
    let mut works = BTreeMap::new();
    for model in &frozen.models {
        let table = parse_name(&model.table)?;
        if evidence.fingerprints.get(&table).map_or("", String::as_str) != model.fingerprint {
            return Err(differs(&model.table));
        }
        works.insert(table, StepWork::from(model.work));
    }
    let frozen: BTreeSet<&TableName> = works.keys().collect();
    match job.models.iter().find(|model| !frozen.contains(&model.name)) {
        Some(model) => Err(differs(&model.name.to_string())),
        None => Ok(works),
    }
}
