//! Sends the events of a run to one watcher.
//!
//! Invariant: a watcher that does not read holds up nothing but itself.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, stream};
use lakewright_error::{Error, ErrorKind};
use lakewright_proto::{
    status::status_of,
    v1::{self, run_event::Event},
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{log::RunLog, registry::LiveRun, wire};
use crate::{RunEvent, RunRecord};

/// Events read from the log at once.
const BATCH_MAX: usize = 64;

/// How long one stream lasts: a token is looked at again when its owner comes back.
const STREAM_MAX: Duration = Duration::from_secs(3600);

/// The events for one watcher.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<v1::RunEvent, Status>> + Send>>;

/// Where the events of a run are.
#[derive(Debug)]
pub(super) enum Source {
    /// In the log of a run of this process.
    Live(Arc<LiveRun>),
    /// In a log that was made from the record of a run that has ended.
    Ended(RunLog),
}

impl Source {
    fn log(&self) -> &RunLog {
        match self {
            Self::Live(run) => &run.log,
            Self::Ended(log) => log,
        }
    }
}

/// The log of a run that has ended, as far as its record tells it. It is the same whenever it is made.
pub(super) fn log_of(record: &RunRecord, error: Option<v1::ErrorDetail>) -> RunLog {
    let log = RunLog::new(format!("record-{}", record.run_id));
    let accepted = RunEvent::Accepted { run_id: record.run_id.clone(), sequence: record.sequence };
    log.append(record.accepted_us, wire::event(&accepted));
    let duration = record.summary.as_ref().map_or(Duration::ZERO, |summary| summary.duration);
    let ended_us = record.accepted_us.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX));
    for summary in record.summary.iter().flat_map(|summary| &summary.steps) {
        log.append(ended_us, wire::event(&RunEvent::StepFinished { summary: summary.clone() }));
    }
    log.append(ended_us, Event::Ended(wire::ended(record, error)));
    log
}

struct Watcher {
    source: Source,
    position: u64,
    found: std::vec::IntoIter<v1::RunEvent>,
    is_complete: bool,
    until: Instant,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// Sends every event after the given one, until the run has ended.
pub(super) fn watch(
    source: Source,
    request: &v1::WatchRunRequest,
    stop: CancellationToken,
    place: OwnedSemaphorePermit,
) -> Events {
    let position = source.log().position(&request.log_id, request.after_sequence);
    let watcher = Watcher {
        source,
        position,
        found: Vec::new().into_iter(),
        is_complete: false,
        until: Instant::now() + STREAM_MAX,
        stop,
        _place: place,
    };
    Box::pin(stream::unfold(Some(watcher), |watcher| async move {
        let mut watcher = watcher?;
        match watcher.next().await {
            Ok(Some(event)) => Some((Ok(event), Some(watcher))),
            Ok(None) => None,
            Err(error) => Some((Err(status_of(&error)), None)),
        }
    }))
}

impl Watcher {
    async fn next(&mut self) -> Result<Option<v1::RunEvent>, Error> {
        let mut changes = self.source.log().changes();
        loop {
            if let Some(event) = self.found.next() {
                self.position = event.sequence;
                return Ok(Some(event));
            }
            if self.is_complete {
                return Ok(None);
            }
            changes.borrow_and_update();
            let found = self.source.log().after(self.position, BATCH_MAX);
            self.is_complete = found.is_complete;
            self.found = found.events.into_iter();
            if self.found.len() > 0 || self.is_complete {
                continue;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = self.stop.cancelled() => return Err(interrupted("the scheduler is stopping")),
                () = tokio::time::sleep_until(self.until) => return Err(interrupted("the stream has lasted long enough")),
            }
        }
    }
}

fn interrupted(message: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, message).with_hint("watch again from the last event")
}
