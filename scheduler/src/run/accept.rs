//! Gives a run its id and its number.
//!
//! Data flow: a request -> idempotency object -> spec -> marker -> **slot**: from here on the run is accepted.
//!
//! Invariant: a run has one slot. Whoever places it walks up from the run's `first_sequence`, below which it cannot
//! be; numbers are dense and never freed, so the walk meets the run's slot before any free number above it.

use lakewright_compiler::JobFolder;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    Prefix, ensure_store_checked, layout,
    state::{
        Active, Format, Idempotency, JobSlot, LakeMarker, Operation, Spec, SpecOptions, last_number, newest_release,
        open_lake, read_object,
    },
};
use uuid::{NoContext, Timestamp, Uuid};

use super::{
    RunRequest,
    earlier::find_accepted,
    heartbeat::Heart,
    race::{Race, create, retrying},
    site::Site,
};
use crate::{lineage::Parts, record::find_slot};

/// A run that has its number.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) run_id: String,
    pub(crate) sequence: u64,
    pub(crate) spec: Spec,
    /// Whether an earlier request with the same key has made it.
    pub(crate) repeated: bool,
}

/// A request that has its id, and not yet its number.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) run_id: String,
    first_sequence: u64,
    repeated: bool,
    /// What the run does, if it runs no models.
    pub(super) operation: Option<Operation>,
}

/// Refuses a lake of a newer format and a store that cannot hold one, and makes a prefix without a lake one.
pub(crate) async fn ensure_lake(site: &Site) -> Result<()> {
    make_lake(&site.lake).await
}

/// As [`ensure_lake`], of a prefix.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: the lake is of a newer format, or the store cannot hold one.
/// - As reading and creating state objects.
pub(crate) async fn make_lake(lake: &Prefix) -> Result<()> {
    let is_lake = retrying(|| open_lake(lake)).await?.is_some();
    if is_lake {
        // What a newer program published is refused before the run is accepted: its lake is left as it was.
        retrying(|| newest_release(lake)).await?;
    }
    retrying(|| ensure_store_checked(lake)).await?;
    if is_lake {
        return Ok(());
    }
    let marker = LakeMarker { format: Format, program: env!("CARGO_PKG_VERSION").to_owned() };
    create(lake, layout::LAKE_MARKER, &marker).await.map(|_| ())
}

/// Gives the request its run id: a new one, or that of the earlier request with the same key.
///
/// # Errors
/// - [`ErrorKind::Conflict`]: the key was used for another request.
pub(crate) async fn name_run(site: &Site, heart: &mut Heart, job: &str, request: &RunRequest) -> Result<Named> {
    let slots = layout::job_slots_dir(job);
    let taken = retrying(|| last_number(&site.lake, &slots)).await?;
    let first_sequence = taken.map_or(1, |last| last + 1);
    let run_id = new_run_id(site.clock.now_us());
    heart.drives(&run_id).await;
    let Some(key) = &request.idempotency_key else {
        return Ok(Named { run_id, first_sequence, repeated: false, operation: None });
    };
    let request_digest = request_digest(request);
    let object = Idempotency { format: Format, run_id: run_id.clone(), request_digest, first_sequence };
    match create(&site.lake, &idempotency_object(&request.principal, key), &object).await? {
        Race::Won => Ok(Named { run_id, first_sequence, repeated: false, operation: None }),
        Race::Lost(earlier) if earlier.request_digest == object.request_digest => {
            heart.leaves(&run_id).await;
            let Idempotency { run_id, first_sequence, .. } = earlier;
            Ok(Named { run_id, first_sequence, repeated: true, operation: None })
        }
        Race::Lost(earlier) => Err(Error::new(ErrorKind::Conflict, "the idempotency key was used for another request")
            .with("run", earlier.run_id)
            .with_hint("send the same request again, or use another key")),
    }
}

fn idempotency_object(principal: &str, key: &str) -> String {
    let mut digest = Parts::new("idempotency");
    digest.add(principal);
    digest.add(key);
    layout::idempotency(&digest.finish())
}

/// The run that the same request with the same key was accepted as, if it was.
///
/// # Errors
/// As reading state objects.
pub(crate) async fn accepted_before(site: &Site, request: &RunRequest) -> Result<Option<Accepted>> {
    let Some(key) = &request.idempotency_key else { return Ok(None) };
    let object = idempotency_object(&request.principal, key);
    let earlier = retrying(|| read_object::<Idempotency>(&site.lake, &object)).await?;
    match earlier.filter(|earlier| earlier.request_digest == request_digest(request)) {
        Some(earlier) => find_accepted(site, &earlier.run_id).await,
        None => Ok(None),
    }
}

/// Creates everything that an accepted run consists of, its slot last.
pub(crate) async fn accept(site: &Site, job: &str, request: &RunRequest, named: Named) -> Result<Accepted> {
    let Named { run_id, first_sequence, repeated, operation } = named;
    let spec = Spec {
        format: Format,
        job: job.to_owned(),
        files: request.folder.files.clone(),
        params: request.params.clone(),
        raw: request.raw.clone(),
        options: SpecOptions {
            full_refresh: request.options.full_refresh,
            accept_losses: request.options.accept_losses,
            select: request.options.select.clone(),
            exclude: request.options.exclude.clone(),
            replay: request.options.replay.clone(),
            start_us: request.options.start_us,
            end_us: request.options.end_us,
            verify_incremental: request.options.verify_incremental,
        },
        principal: request.principal.clone(),
        execution_us: site.clock.now_us(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        retries: request.retries.clone(),
        first_sequence,
        operation,
    };
    let spec = match create(&site.lake, &layout::spec(&run_id), &spec).await? {
        Race::Won => spec,
        Race::Lost(earlier) => earlier,
    };
    // A repeated request may be late: its run may have ended, and its marker must not come back.
    let placed = if repeated { find_slot(&site.lake, job, &run_id, first_sequence).await? } else { None };
    let sequence = match placed {
        Some(sequence) => sequence,
        None => {
            let marker = Active { format: Format, job: job.to_owned(), first_sequence };
            create(&site.lake, &layout::active(&run_id), &marker).await?;
            place(site, job, &run_id, first_sequence).await?
        }
    };
    Ok(Accepted { run_id, sequence, spec, repeated })
}

/// Takes the first free number of the job.
async fn place(site: &Site, job: &str, run_id: &str, first_sequence: u64) -> Result<u64> {
    let slot = JobSlot { format: Format, run_id: run_id.to_owned() };
    let mut sequence = first_sequence;
    loop {
        match create(&site.lake, &layout::job_slot(job, sequence), &slot).await? {
            Race::Won => return Ok(sequence),
            Race::Lost(_) => sequence += 1,
        }
    }
}

/// A new id that sorts by time.
fn new_run_id(now_us: i64) -> String {
    let us = u64::try_from(now_us).unwrap_or(0);
    let nanos = u32::try_from(us % 1_000_000).unwrap_or(0) * 1_000;
    Uuid::new_v7(Timestamp::from_unix(NoContext, us / 1_000_000, nanos)).to_string()
}

fn request_digest(request: &RunRequest) -> String {
    let mut digest = Parts::new("request");
    let JobFolder { files } = &request.folder;
    for (list, map) in [("files", files), ("params", &request.params)] {
        digest.add(list);
        digest.add(&map.len().to_string());
        for (name, value) in map {
            digest.add(name);
            digest.add(value);
        }
    }
    digest.add(&request.raw);
    digest.add(&request.options.full_refresh.to_string());
    digest.add(&request.options.accept_losses.to_string());
    for (list, patterns) in [("select", &request.options.select), ("exclude", &request.options.exclude)] {
        digest.add(list);
        digest.add(&patterns.len().to_string());
        for pattern in patterns {
            digest.add(pattern);
        }
    }
    for (source, objects) in &request.options.replay {
        digest.add(source);
        digest.add(&objects.len().to_string());
        objects.iter().for_each(|object| digest.add(object));
    }
    for (name, value) in [("start", request.options.start_us), ("end", request.options.end_us)] {
        if let Some(us) = value {
            digest.add(name);
            digest.add(&us.to_string());
        }
    }
    if request.options.verify_incremental {
        digest.add("verify");
    }
    digest.add(request.retries.as_deref().unwrap_or(""));
    digest.finish()
}
