//! The events of one run, for any number of watchers.
//!
//! Data flow: a driver appends -> [`RunLog`] -> each watcher reads at its own pace, from where it is.
//!
//! Invariant: appending never waits. The log is bounded: newer progress of a step replaces older, and beyond
//! [`EVENTS_MAX`] the oldest events go.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lakewright_proto::v1::{RunEvent, run_event::Event};
use tokio::{sync::watch, time::Instant};

/// Events of one log: two for every step of the largest job, and the run's own.
const EVENTS_MAX: usize = 25_000;

/// Progress of one step that comes sooner than this after the last is left out.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

/// The log of one run.
#[derive(Debug)]
pub(super) struct RunLog {
    log_id: String,
    written: Mutex<Written>,
    /// The number of the last event.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Written {
    events: BTreeMap<u64, RunEvent>,
    last: u64,
    /// By step: the number of its progress, and when it came.
    progress: BTreeMap<String, (u64, Instant)>,
    /// The number of the run's place in the queue.
    queued: Option<u64>,
    is_complete: bool,
}

/// What a watcher finds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Events, in order.
    pub(super) events: Vec<RunEvent>,
    /// Whether no more will come after these.
    pub(super) is_complete: bool,
}

impl RunLog {
    /// An empty log.
    pub(super) fn new(log_id: String) -> Self {
        Self { log_id, written: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Appends an event; one that ends the run is the last.
    pub(super) fn append(&self, time_us: i64, event: Event) {
        self.append_at(time_us, event, Instant::now());
    }

    fn append_at(&self, time_us: i64, event: Event, now: Instant) {
        let mut written = self.written();
        if written.is_complete {
            return;
        }
        if let Event::StepProgressed(progress) = &event {
            match written.progress.get(&progress.table).copied() {
                Some((_, since)) if now.duration_since(since) < PROGRESS_PAUSE => return,
                Some((number, _)) => drop(written.events.remove(&number)),
                None => {}
            }
            let number = written.last + 1;
            written.progress.insert(progress.table.clone(), (number, now));
        }
        if matches!(event, Event::Queued(_)) {
            let number = written.last + 1;
            if let Some(before) = written.queued.replace(number) {
                written.events.remove(&before);
            }
        }
        if let Event::StepFinished(finished) = &event
            && let Some((number, _)) = written.progress.remove(&finished.table)
        {
            written.events.remove(&number);
        }
        written.is_complete = matches!(event, Event::Ended(_));
        written.last += 1;
        let sequence = written.last;
        let event = RunEvent { log_id: self.log_id.clone(), sequence, time_us, event: Some(event) };
        written.events.insert(sequence, event);
        while written.events.len() > EVENTS_MAX {
            written.events.pop_first();
        }
        drop(written);
        self.changed.send_replace(sequence);
    }

    /// Where a watcher begins: after what it has seen, if it was of this log.
    pub(super) fn position(&self, log_id: &str, after: u64) -> u64 {
        if log_id == self.log_id { after } else { 0 }
    }

    /// At most `max` events after the number `after`.
    pub(super) fn after(&self, after: u64, max: usize) -> Found {
        let written = self.written();
        let Some(first) = after.checked_add(1) else { return Found { is_complete: true, ..Found::default() } };
        let events: Vec<RunEvent> = written.events.range(first..).take(max).map(|(_, event)| event.clone()).collect();
        let reached = events.last().map_or(after, |event| event.sequence);
        Found { is_complete: written.is_complete && reached >= written.last, events }
    }

    /// Gives word of every change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        // A panic between two lines leaves a log that is still in order.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use lakewright_proto::v1::{RunEnded, StepProgressed, StepStarted, StepSummary};

    use super::*;

    fn log() -> RunLog {
        RunLog::new("l".to_owned())
    }

    fn started(table: &str) -> Event {
        Event::StepStarted(StepStarted { table: table.to_owned() })
    }

    fn progressed(table: &str, rows_read: u64) -> Event {
        Event::StepProgressed(StepProgressed { table: table.to_owned(), rows_read, ..Default::default() })
    }

    fn numbers(found: &Found) -> Vec<u64> {
        found.events.iter().map(|event| event.sequence).collect()
    }

    #[tokio::test]
    async fn newer_progress_replaces_older_of_the_same_step_and_its_end_takes_it_away() {
        let log = log();
        let mut now = Instant::now();
        log.append(0, started("z.a"));
        for rows in 0..5 {
            log.append_at(0, progressed("z.a", rows), now);
            log.append_at(0, progressed("z.b", rows), now);
            now += PROGRESS_PAUSE;
        }
        let found = log.after(0, 100);
        assert_eq!(numbers(&found), [1, 10, 11]);
        log.append(0, Event::StepFinished(StepSummary { table: "z.a".to_owned(), ..Default::default() }));
        assert_eq!(numbers(&log.after(0, 100)), [1, 11, 12]);
    }

    #[tokio::test]
    async fn progress_that_comes_too_fast_is_left_out() {
        let log = log();
        for rows in 0..1000 {
            log.append(0, progressed("z.a", rows));
        }
        assert!(log.after(0, 2000).events.len() == 1);
        assert!(log.written().last < 100, "{}", log.written().last);
    }

    #[tokio::test]
    async fn a_watcher_goes_on_where_it_was_and_begins_again_in_another_log() {
        let log = log();
        for step in 0..5 {
            log.append(0, started(&format!("z.t{step}")));
        }
        assert_eq!(numbers(&log.after(log.position("l", 3), 100)), [4, 5]);
        assert_eq!(numbers(&log.after(log.position("other", 3), 2)), [1, 2]);
        assert!(log.after(u64::MAX, 1).is_complete);
    }

    #[tokio::test]
    async fn the_end_is_the_last_event_and_only_who_has_seen_it_is_done() {
        let log = log();
        log.append(0, started("z.a"));
        log.append(0, Event::Ended(RunEnded::default()));
        log.append(0, started("z.b"));
        assert!(!log.after(0, 1).is_complete);
        let found = log.after(0, 10);
        assert_eq!((numbers(&found), found.is_complete), (vec![1, 2], true));
        assert!(log.after(2, 10).is_complete);
    }

    #[tokio::test]
    async fn a_log_forgets_its_oldest_events_beyond_its_limit() {
        let log = log();
        for step in 0..EVENTS_MAX + 10 {
            log.append(0, started(&step.to_string()));
        }
        assert_eq!(log.after(0, 1).events[0].sequence, 11);
    }
}
