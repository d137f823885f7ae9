//! Brings the unfinished runs of a job to their end before a later one goes on.
//!
//! Data flow: the markers of unfinished runs -> those of this job with lower numbers, in order -> each is waited for if
//! somebody seems to drive it, and driven from what it left otherwise.
//!
//! Invariant: a run freezes only after every lower number of its job is terminal. A run without a slot has no number
//! yet and will get a higher one, for all lower ones are taken.

use std::{collections::BTreeSet, sync::PoisonError};

use lakewright_error::{ErrorKind, Result};
use lakewright_lake::{
    layout,
    state::{Active, Done, Operation, Spec, list_names, read_object},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    accept::Accepted,
    drive::{Driver, Ended, Events},
    failure::cancelled,
    heartbeat::{Heart, read_heartbeats},
    race::{chain, retrying},
    site::Site,
};
use crate::{RunEvent, record::find_slot};

/// Brings every unfinished run of the job below `sequence` to its end.
///
/// # Errors
/// - [`ErrorKind::Cancelled`]: `cancel` fired.
/// - [`ErrorKind::Conflict`]: an earlier run is broken.
/// - As reading state objects.
pub(crate) async fn finish_earlier(
    site: &Site,
    heart: &mut Heart,
    run: &Accepted,
    cancel: &CancellationToken,
    events: Events<'_>,
) -> Result<()> {
    let earlier = unfinished_before(site, &run.spec.job, run.sequence, Some(&run.run_id)).await?;
    let own = repaired_by(run).map(str::to_owned);
    let repaired: BTreeSet<String> = earlier.iter().filter_map(repaired_by).map(str::to_owned).collect();
    // A broken run cannot be brought to its end: the run that repairs it ends it. If that one fails, it is still here.
    let (waiting, others): (Vec<_>, Vec<_>) = earlier.into_iter().partition(|run| repaired.contains(&run.run_id));
    for earlier in others.into_iter().chain(waiting).filter(|run| own.as_deref() != Some(run.run_id.as_str())) {
        let run_id = earlier.run_id.clone();
        // Nobody has cancelled the earlier run: if the later one is cancelled meanwhile, it is left where it is.
        let watch = Watch { leave: cancel, cancel: &CancellationToken::new(), events };
        finish(site, heart, earlier, watch).await.map_err(|error| error.with("run", run_id))?;
    }
    Ok(())
}

/// Who waits for the end of a run, and what stops the waiting or the run.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    /// Whoever waits goes away; the run stays as it is.
    pub(crate) leave: &'a CancellationToken,
    /// The run itself is cancelled.
    pub(crate) cancel: &'a CancellationToken,
    /// Where the run's events go.
    pub(crate) events: Events<'a>,
}

/// The broken run that this one repairs.
fn repaired_by(run: &Accepted) -> Option<&str> {
    match &run.spec.operation {
        Some(Operation::Repair { run_id }) => Some(run_id),
        Some(Operation::Rewind { .. } | Operation::Drop { .. } | Operation::Optimize { .. }) | None => None,
    }
}

/// The unfinished runs of a job with numbers below `sequence`, in order, without the run `own`, whose number is known.
pub(crate) async fn unfinished_before(
    site: &Site,
    job: &str,
    sequence: u64,
    own: Option<&str>,
) -> Result<Vec<Accepted>> {
    let mut runs = unfinished_below(site, Some(job), own, sequence).await?;
    runs.retain(|run| run.sequence < sequence);
    Ok(runs)
}

/// The unfinished runs of one job or of all, in order, without the run `own`.
pub(crate) async fn unfinished(site: &Site, job: Option<&str>, own: Option<&str>) -> Result<Vec<Accepted>> {
    unfinished_below(site, job, own, u64::MAX).await
}

/// As [`unfinished`], without runs that cannot have a number below `sequence`: of many that wait, few are read.
async fn unfinished_below(site: &Site, job: Option<&str>, own: Option<&str>, sequence: u64) -> Result<Vec<Accepted>> {
    let mut runs = Vec::new();
    let run_ids = retrying(|| list_names(&site.lake, layout::ACTIVE_DIR)).await?;
    for run_id in run_ids.into_iter().filter(|run_id| Some(run_id.as_str()) != own) {
        let key = layout::active(&run_id);
        // Markers go away while they are being looked at.
        let Some(marker) = retrying(|| read_object::<Active>(&site.lake, &key)).await? else { continue };
        if job.is_none_or(|job| marker.job == job) && marker.first_sequence < sequence {
            match find_accepted(site, &run_id).await {
                Ok(run) => runs.extend(run),
                // What one job has that cannot be read is no reason to leave those of all others.
                Err(error) if job.is_none() && error.kind() == ErrorKind::Corrupt => {
                    tracing::error!(run_id, error = chain(&error), "run cannot be read, and is left");
                }
                Err(error) => return Err(error),
            }
        }
    }
    runs.sort_by_key(|run| run.sequence);
    Ok(runs)
}

/// Reads an accepted run; `None` if no run of this id was accepted.
pub(crate) async fn find_accepted(site: &Site, run_id: &str) -> Result<Option<Accepted>> {
    let key = layout::spec(run_id);
    let Some(spec) = retrying(|| read_object::<Spec>(&site.lake, &key)).await? else { return Ok(None) };
    let sequence = find_slot(&site.lake, &spec.job, run_id, spec.first_sequence).await?;
    Ok(sequence.map(|sequence| Accepted { run_id: run_id.to_owned(), sequence, spec, repeated: true }))
}

/// Waits for the run while somebody seems to drive it, and drives it when nobody does.
///
/// Gives how it ended.
///
/// # Errors
/// As [`finish_earlier`].
pub(crate) async fn finish(site: &Site, heart: &mut Heart, run: Accepted, watch: Watch<'_>) -> Result<Ended> {
    let mut told = false;
    loop {
        if let Some(done) = ended(site, &run.run_id).await? {
            retire(site, &run.run_id).await?;
            return Ok(Ended { done, error: None });
        }
        let heartbeats = read_heartbeats(&site.lake).await?;
        let observed = site.observer.lock().unwrap_or_else(PoisonError::into_inner).seems_driven(
            &heartbeats,
            &run.run_id,
            Instant::now(),
        );
        if !observed {
            break;
        }
        if !told {
            tracing::info!(earlier = run.run_id, "run waits for an earlier one");
            (watch.events)(RunEvent::Waiting { run_id: run.run_id.clone() });
            told = true;
        }
        tokio::select! {
            () = watch.leave.cancelled() => return Err(cancelled()),
            () = tokio::time::sleep(site.pace.wait_poll) => {}
        }
    }
    tracing::info!(earlier = run.run_id, "run resumes an earlier one");
    (watch.events)(RunEvent::Resuming { run_id: run.run_id.clone() });
    heart.drives(&run.run_id).await;
    let run_id = run.run_id.clone();
    let result = tokio::select! {
        biased;
        () = watch.leave.cancelled() => Err(cancelled()),
        result = resume(site, run, watch) => result,
    };
    heart.leaves(&run_id).await;
    result
}

/// Drives a run from what it left, to its end.
async fn resume(site: &Site, run: Accepted, watch: Watch<'_>) -> Result<Ended> {
    let mut driver = Driver::new(site, run, None, watch.cancel.clone(), watch.events);
    driver.load().await?;
    driver.drive().await
}

async fn ended(site: &Site, run_id: &str) -> Result<Option<Done>> {
    let key = layout::done(run_id);
    retrying(|| read_object::<Done>(&site.lake, &key)).await
}

async fn retire(site: &Site, run_id: &str) -> Result<()> {
    let key = layout::active(run_id);
    retrying(|| site.lake.delete(&key)).await
}
