//! Whether runs can be driven: the store is tried, and executors and queue are looked at.
//!
//! Invariant: whoever asks often makes no more requests to the store than who asks now and then.

use std::{sync::Arc, time::Duration};

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use lakewright_proto::v1;
use tokio::{sync::Mutex, time::Instant};

use super::{leader::Standing, registry::Registry};
use crate::run::chain;

/// How long the store's answer is believed.
const BELIEVED: Duration = Duration::from_secs(5);

/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How an object of the lake fared: how long it took, or what went wrong.
type Tried = std::result::Result<Duration, String>;

/// Looks after the health of one scheduler.
#[derive(Debug)]
pub(super) struct Health {
    lake: Prefix,
    standing: Standing,
    tried: Mutex<Option<(Instant, Tried)>>,
}

impl Health {
    /// Nothing has been tried yet.
    pub(super) fn new(lake: &Prefix, standing: Standing) -> Self {
        Self { lake: lake.clone(), standing, tried: Mutex::default() }
    }

    /// What a scheduler is fit for; one that stands by has no registry.
    pub(super) async fn examine(&self, registry: Option<&Arc<Registry>>, term: u64) -> v1::GetHealthResponse {
        let mut health = v1::GetHealthResponse {
            leads: registry.is_some(),
            term,
            leader: self.standing.leader().map(|leader| leader.address).unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        };
        match self.store().await {
            Ok(took) => health.store_us = Some(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            Err(why) => health.problems.push(format!("the lake cannot be written and read: {why}")),
        }
        if let Some(registry) = registry {
            self.examine_leader(registry, &mut health).await;
        }
        health
    }

    async fn examine_leader(&self, registry: &Registry, health: &mut v1::GetHealthResponse) {
        let ((running, waiting), limits) = (registry.counts(), registry.limits);
        health.runs_running = u32::try_from(running).unwrap_or(u32::MAX);
        health.runs_waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        if waiting >= limits.queue_max {
            health.problems.push(format!("the queue is full: {waiting} runs wait"));
        }
        match registry.scheduler.executors().await {
            // The scheduler's own process is not heard of: it is there.
            Ok(executors) if executors.iter().all(|executor| executor.seen_us.is_none()) && !executors.is_empty() => {
                health.slots = executors.iter().map(|executor| executor.slots).sum();
            }
            Ok(executors) => {
                health.executors = Some(u32::try_from(executors.len()).unwrap_or(u32::MAX));
                health.slots = executors.iter().map(|executor| executor.slots).sum();
                if executors.is_empty() {
                    health.problems.push("no executor has joined: steps wait for one".to_owned());
                }
            }
            Err(error) => health.problems.push(chain(&error)),
        }
    }

    /// Whether an object can be written, read and deleted.
    pub(super) async fn store(&self) -> Tried {
        let mut tried = self.tried.lock().await;
        if let Some((at, result)) = tried.as_ref()
            && at.elapsed() < BELIEVED
        {
            return result.clone();
        }
        let begun = Instant::now();
        let result = match tokio::time::timeout(PATIENCE, probe_store(&self.lake)).await {
            Ok(Ok(())) => Ok(begun.elapsed()),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        *tried = Some((Instant::now(), result.clone()));
        result
    }
}

/// Writes, reads and deletes an object of the lake that nobody else can name.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: what is read is not what was written.
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`], [`ErrorKind::Exhausted`]: the store did not answer, or refused.
pub async fn probe_store(lake: &Prefix) -> Result<()> {
    use lakewright_lake::layout;
    let key = format!("{}/probe-{}", layout::STORES_DIR, uuid::Uuid::new_v4());
    let bytes = bytes::Bytes::from(key.clone());
    lake.create(&key, bytes.clone()).await?;
    let read = lake.read(&key).await?;
    lake.delete(&key).await?;
    if read.as_ref() == Some(&bytes) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "the store does not give back what was written").with("object", key))
}
