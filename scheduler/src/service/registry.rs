//! The runs that this process drives or lets wait, and their logs.
//!
//! Data flow: an accepted run -> [`Admission`] -> one task drives it -> its events go into its [`RunLog`], its end last.
//!
//! Invariant: a run has at most one driver in this process. A run that has no end yet is driven again until it has
//! one, it is broken, or the process stops.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lakewright_compiler::Job;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use lakewright_proto::{
    status::detail_of,
    v1::{self, run_event::Event},
};
use tokio::{sync::oneshot, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    admission::{Admission, Owner, RunLimits},
    log::RunLog,
    wire,
};
use crate::{
    AcceptedRun, Clock, RunEvent, RunRecord, RunRequest, RunState, Scheduler, read_run,
    run::{Heart, ParkedRun, abort_error},
};

/// Logs of ended runs that are kept. Watchers of older runs get what the lake's record says.
const ENDED_LOGS_MAX: usize = 64;

/// Pause before a run that has no end yet is driven again; it doubles up to the second value.
const AGAIN_PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Text of the jobs of all runs that wait.
const PARKED_BYTES_MAX: usize = 256 << 20;

/// A run of this process.
#[derive(Debug)]
pub(super) struct LiveRun {
    pub(super) run_id: String,
    pub(super) log: RunLog,
    pub(super) cancel: CancellationToken,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub(super) struct Submitted {
    pub(super) run_id: String,
    pub(super) sequence: u64,
    pub(super) repeated: bool,
}

/// The runs of this process.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) scheduler: Scheduler,
    lake: Prefix,
    clock: Arc<dyn Clock>,
    /// Fires when the process stops.
    pub(super) stop: CancellationToken,
    pub(super) limits: RunLimits,
    runs: Mutex<Runs>,
    keeper: tokio::sync::Mutex<Keeper>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct Runs {
    /// Driven or waiting.
    live: BTreeMap<String, Arc<LiveRun>>,
    admission: Admission,
    /// The place of each run that waits, as last told.
    places: BTreeMap<String, u32>,
    parked_bytes: usize,
    ended: VecDeque<Arc<LiveRun>>,
}

/// Keeps the runs that wait. Whoever holds its lock changes the queue.
#[derive(Debug)]
struct Keeper {
    parked: BTreeMap<String, (ParkedRun, usize)>,
    /// Says that somebody will drive them; none once the process stops.
    heart: Option<Heart>,
}

impl Registry {
    /// A registry without runs.
    pub(super) fn new(
        scheduler: Scheduler,
        lake: Prefix,
        clock: Arc<dyn Clock>,
        limits: RunLimits,
        stop: CancellationToken,
    ) -> Self {
        let (runs, tasks) = (Mutex::default(), tokio::sync::Mutex::default());
        let keeper = Keeper { parked: BTreeMap::new(), heart: Some(scheduler.heart()) };
        Self { scheduler, lake, clock, stop, limits, runs, keeper: tokio::sync::Mutex::new(keeper), tasks }
    }

    /// Takes in every unfinished run of the lake, however many may wait.
    ///
    /// # Errors
    /// As [`Scheduler::unfinished`].
    pub(super) async fn resume(self: &Arc<Self>) -> Result<()> {
        for run in self.scheduler.unfinished().await? {
            tracing::info!(run_id = run.run_id(), job = run.job(), "run resumed");
            self.take_in(run).await;
        }
        Ok(())
    }

    /// Accepts a run, and drives it when its turn has come, even if whoever asked does not wait for the answer.
    ///
    /// # Errors
    /// As [`Scheduler::accept`]; [`ErrorKind::Exhausted`]: too many runs wait, and this one was not accepted;
    /// [`ErrorKind::Unavailable`]: the process stops.
    pub(super) async fn submit(self: &Arc<Self>, request: RunRequest, job: Job) -> Result<Submitted> {
        if let Err(full) = self.promise() {
            // Whoever asks again for what was accepted is answered, however many wait.
            return match self.scheduler.accepted_before(&request).await? {
                Some((run_id, sequence)) => Ok(Submitted { run_id, sequence, repeated: true }),
                None => Err(full),
            };
        }
        let (sender, receiver) = oneshot::channel();
        let registry = Arc::clone(self);
        self.spawn(async move {
            let accepted = tokio::select! {
                () = registry.stop.cancelled() => Err(stopping()),
                accepted = Box::pin(registry.scheduler.accept_compiled(request, job)) => accepted,
            };
            let answer = match accepted {
                Ok(run) => {
                    let submitted = Submitted {
                        run_id: run.run_id().to_owned(),
                        sequence: run.sequence(),
                        repeated: run.is_repeated(),
                    };
                    Box::pin(registry.take_in(run)).await;
                    Ok(submitted)
                }
                Err(error) => Err(error),
            };
            registry.runs().admission.settle();
            let _ = sender.send(answer);
        })
        .await;
        receiver.await.unwrap_or_else(|_| Err(stopping()))
    }

    fn promise(&self) -> Result<()> {
        let mut runs = self.runs();
        let (running, waiting) = runs.admission.counts();
        if runs.parked_bytes < PARKED_BYTES_MAX && runs.admission.promise(self.limits) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Exhausted, "the scheduler's queue is full, and the run was not accepted")
            .with("running", running)
            .with("waiting", waiting)
            .with("limit", self.limits.queue_max)
            .with_hint(
                "submit it again when some have ended; `lakewright runs` shows them, and the settings runs_at_once and \
                 queue_max of the scheduler say how many it takes",
            ))
    }

    /// Runs that are driven, and that wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        self.runs().admission.counts()
    }

    /// The place of a run that waits.
    pub(super) fn place(&self, run_id: &str) -> Option<u32> {
        self.runs().places.get(run_id).copied()
    }

    /// Lets a cancelled run that waits come to its end.
    pub(super) async fn hurry(self: &Arc<Self>, run_id: &str) {
        let mut keeper = self.keeper.lock().await;
        self.runs().admission.hurry(run_id);
        self.let_in(&mut keeper, None).await;
    }

    /// The run, if this process drives it or remembers its log.
    pub(super) fn find(&self, run_id: &str) -> Option<Arc<LiveRun>> {
        let runs = self.runs();
        let ended = || runs.ended.iter().rev().find(|run| run.run_id == run_id);
        runs.live.get(run_id).or_else(ended).cloned()
    }

    /// The run, driven by this process from here on if nobody else drives it; `None` if it has ended or is broken.
    ///
    /// # Errors
    /// As [`Scheduler::find`].
    pub(super) async fn take_over(self: &Arc<Self>, record: &RunRecord) -> Result<Option<Arc<LiveRun>>> {
        if let Some(run) = self.find(&record.run_id) {
            return Ok(Some(run));
        }
        if record.summary.is_some() || record.state == RunState::Broken {
            return Ok(None);
        }
        match self.scheduler.find(&record.run_id).await? {
            Some(run) => Ok(Some(self.take_in(run).await)),
            None => Ok(None),
        }
    }

    /// Waits until every task has stopped.
    pub(super) async fn drained(&self) {
        loop {
            // Taken out: a task may want to begin another one, which then sees that the process stops.
            let mut tasks = std::mem::take(&mut *self.tasks.lock().await);
            if tasks.is_empty() {
                break;
            }
            while tasks.join_next().await.is_some() {}
        }
        if let Some(heart) = self.keeper.lock().await.heart.take() {
            heart.stop().await;
        }
    }

    /// Drives a run now, or lets it wait for its turn.
    async fn take_in(self: &Arc<Self>, run: AcceptedRun) -> Arc<LiveRun> {
        let (live, is_new) = self.enter(&run);
        if !is_new {
            run.release().await;
            return live;
        }
        let owner =
            Owner { principal: run.principal().to_owned(), job: run.job().to_owned(), sequence: run.sequence() };
        let mut keeper = self.keeper.lock().await;
        self.runs().admission.join(run.run_id(), owner);
        self.let_in(&mut keeper, Some(run)).await;
        live
    }

    /// Lets runs in whose turn has come; `new` has joined just now, and is not parked yet.
    async fn let_in(self: &Arc<Self>, keeper: &mut Keeper, mut new: Option<AcceptedRun>) {
        let admitted = self.runs().admission.admit(self.limits.runs_at_once);
        for run_id in admitted {
            let run = match new.take_if(|run| run.run_id() == run_id) {
                Some(run) => run,
                None => {
                    let (Some((parked, bytes)), Some(heart)) = (keeper.parked.remove(&run_id), &mut keeper.heart)
                    else {
                        continue;
                    };
                    self.runs().parked_bytes -= bytes;
                    parked.unpark(&self.scheduler, heart).await
                }
            };
            self.start(run).await;
        }
        match (new, &mut keeper.heart) {
            (Some(run), Some(heart)) => {
                let (run_id, bytes) = (run.run_id().to_owned(), run.text_bytes());
                keeper.parked.insert(run_id, (run.park(heart).await, bytes));
                self.runs().parked_bytes += bytes;
            }
            // The process stops: the next one finds it.
            (Some(run), None) => run.release().await,
            (None, _) => {}
        }
        self.tell_places();
    }

    /// Tells those who wait where they are, if that has changed.
    fn tell_places(&self) {
        let now_us = self.clock.now_us();
        let mut runs = self.runs();
        let places = runs.admission.places();
        let running = u32::try_from(runs.admission.counts().0).unwrap_or(u32::MAX);
        for (run_id, place) in &places {
            if runs.places.get(run_id) != Some(place)
                && let Some(live) = runs.live.get(run_id)
            {
                live.log.append(now_us, wire::event(&RunEvent::Queued { place: *place, running }));
            }
        }
        runs.places = places;
    }

    async fn start(self: &Arc<Self>, run: AcceptedRun) {
        let Some(driven) = self.runs().live.get(run.run_id()).cloned() else { return };
        let registry = Arc::clone(self);
        // A thread of its own: planning is work without pauses, which must not hold up the calls of others.
        let here = tokio::runtime::Handle::current();
        let mut tasks = self.tasks.lock().await;
        tasks.spawn_blocking(move || here.block_on(registry.drive(run, driven)));
    }

    /// The live run for an accepted one, and whether it is new.
    fn enter(&self, run: &AcceptedRun) -> (Arc<LiveRun>, bool) {
        let mut runs = self.runs();
        if let Some(live) = runs.live.get(run.run_id()) {
            return (Arc::clone(live), false);
        }
        let live = Arc::new(LiveRun {
            run_id: run.run_id().to_owned(),
            log: RunLog::new(Uuid::new_v4().to_string()),
            cancel: CancellationToken::new(),
        });
        runs.live.insert(live.run_id.clone(), Arc::clone(&live));
        (live, true)
    }

    async fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().await;
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    async fn drive(self: &Arc<Self>, run: AcceptedRun, live: Arc<LiveRun>) {
        let (log_of, clock) = (Arc::clone(&live), Arc::clone(&self.clock));
        let events = move |event: RunEvent| log_of.log.append(clock.now_us(), wire::event(&event));
        let (mut pause, pause_max) = AGAIN_PAUSES;
        let mut next = Some(run);
        while !self.stop.is_cancelled() {
            let error = match next.take() {
                Some(run) => self.scheduler.drive(run, live.cancel.clone(), &self.stop, &events).await.err(),
                None => None,
            };
            match read_run(&self.lake, &live.run_id).await {
                Ok(record) if record.summary.is_some() || record.state == RunState::Broken => {
                    return self.end(&live, &record, error).await;
                }
                Ok(_) => {
                    if let Some(error) = error.filter(|_| !self.stop.is_cancelled()) {
                        tracing::warn!(run_id = live.run_id, %error, "run has no end yet: it is driven again");
                    }
                    next = self.scheduler.find(&live.run_id).await.ok().flatten();
                }
                Err(error) => tracing::warn!(run_id = live.run_id, %error, "run cannot be read"),
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(pause_max),
            }
        }
    }

    async fn end(self: &Arc<Self>, live: &LiveRun, record: &RunRecord, error: Option<Error>) {
        tracing::info!(run_id = live.run_id, state = ?record.state, "run has ended");
        let detail = match &error {
            // What this driver was told may be less than what the run failed of.
            Some(error) if matches!(record.state, RunState::Failed | RunState::Broken) => Some(detail_of(error)),
            _ => failure_detail(&self.lake, record).await,
        };
        live.log.append(self.clock.now_us(), Event::Ended(wire::ended(record, detail)));
        self.forget(&live.run_id);
        let mut keeper = self.keeper.lock().await;
        self.let_in(&mut keeper, None).await;
    }

    fn forget(&self, run_id: &str) {
        let mut runs = self.runs();
        runs.admission.leave(run_id);
        if let Some(live) = runs.live.remove(run_id) {
            runs.ended.push_back(live);
        }
        while runs.ended.len() > ENDED_LOGS_MAX {
            runs.ended.pop_front();
        }
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        // The maps are whole between any two calls on them.
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a run failed, as its outcome tells it; `None` if it did not.
pub(super) async fn failure_detail(lake: &Prefix, record: &RunRecord) -> Option<v1::ErrorDetail> {
    use lakewright_lake::{
        layout,
        state::{Outcome, Verdict, read_object},
    };
    let message = record.failure.clone()?;
    let outcome = read_object::<Outcome>(lake, &layout::outcome(&record.run_id)).await.ok().flatten();
    Some(match outcome.map(|outcome| outcome.verdict) {
        Some(Verdict::Abort(reason)) => detail_of(&abort_error(&reason)),
        _ => detail_of(&Error::new(ErrorKind::Conflict, message)),
    })
}

fn stopping() -> Error {
    Error::new(ErrorKind::Unavailable, "the scheduler is stopping")
        .with_hint("send the request again, with the same idempotency key, when it has started")
}
