//! The runs that this process drives, and their logs.
//!
//! Data flow: an accepted run -> one task drives it -> its events go into its [`RunLog`], its end last.
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

use super::{log::RunLog, wire};
use crate::{AcceptedRun, Clock, RunEvent, RunRecord, RunRequest, RunState, Scheduler, read_run, run::abort_error};

/// Runs driven at once; more are refused.
const RUNS_MAX: usize = 256;

/// Logs of ended runs that are kept. Watchers of older runs get what the lake's record says.
const ENDED_LOGS_MAX: usize = 64;

/// Pause before a run that has no end yet is driven again; it doubles up to the second value.
const AGAIN_PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

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
    runs: Mutex<Runs>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct Runs {
    driven: BTreeMap<String, Arc<LiveRun>>,
    ended: VecDeque<Arc<LiveRun>>,
}

impl Registry {
    /// A registry without runs.
    pub(super) fn new(scheduler: Scheduler, lake: Prefix, clock: Arc<dyn Clock>, stop: CancellationToken) -> Self {
        let (runs, tasks) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { scheduler, lake, clock, stop, runs, tasks }
    }

    /// Drives every unfinished run of the lake.
    ///
    /// # Errors
    /// As [`Scheduler::unfinished`].
    pub(super) async fn resume(self: &Arc<Self>) -> Result<()> {
        for run in self.scheduler.unfinished().await? {
            tracing::info!(run_id = run.run_id(), job = run.job(), "run resumed");
            self.start(run).await;
        }
        Ok(())
    }

    /// Accepts a run and drives it. The run is driven even if whoever asked does not wait for the answer.
    ///
    /// # Errors
    /// As [`Scheduler::accept`]; [`ErrorKind::Exhausted`]: too many runs are driven;
    /// [`ErrorKind::Unavailable`]: the process stops.
    pub(super) async fn submit(self: &Arc<Self>, request: RunRequest, job: Job) -> Result<Submitted> {
        if self.runs().driven.len() >= RUNS_MAX {
            return Err(Error::new(ErrorKind::Exhausted, "the scheduler drives as many runs as it can")
                .with("limit", RUNS_MAX)
                .with_hint("try again when some have ended"));
        }
        let (sender, receiver) = oneshot::channel();
        let registry = Arc::clone(self);
        self.spawn(async move {
            let accepted = tokio::select! {
                () = registry.stop.cancelled() => Err(stopping()),
                accepted = registry.scheduler.accept_compiled(request, job) => accepted,
            };
            let answer = match accepted {
                Ok(run) => {
                    let submitted = Submitted {
                        run_id: run.run_id().to_owned(),
                        sequence: run.sequence(),
                        repeated: run.is_repeated(),
                    };
                    registry.start(run).await;
                    Ok(submitted)
                }
                Err(error) => Err(error),
            };
            let _ = sender.send(answer);
        })
        .await;
        receiver.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// The run, if this process drives it or remembers its log.
    pub(super) fn find(&self, run_id: &str) -> Option<Arc<LiveRun>> {
        let runs = self.runs();
        let ended = || runs.ended.iter().rev().find(|run| run.run_id == run_id);
        runs.driven.get(run_id).or_else(ended).cloned()
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
            Some(run) => Ok(Some(self.start(run).await)),
            None => Ok(None),
        }
    }

    /// Waits until every task has stopped.
    pub(super) async fn drained(&self) {
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
    }

    async fn start(self: &Arc<Self>, run: AcceptedRun) -> Arc<LiveRun> {
        let (live, is_new) = self.enter(&run);
        if is_new {
            let (registry, driven) = (Arc::clone(self), Arc::clone(&live));
            // A thread of its own: planning is work without pauses, which must not hold up the calls of others.
            let here = tokio::runtime::Handle::current();
            let mut tasks = self.tasks.lock().await;
            tasks.spawn_blocking(move || here.block_on(registry.drive(run, driven)));
        } else {
            run.release().await;
        }
        live
    }

    /// The live run for an accepted one, and whether it is new.
    fn enter(&self, run: &AcceptedRun) -> (Arc<LiveRun>, bool) {
        let mut runs = self.runs();
        if let Some(live) = runs.driven.get(run.run_id()) {
            return (Arc::clone(live), false);
        }
        let live = Arc::new(LiveRun {
            run_id: run.run_id().to_owned(),
            log: RunLog::new(Uuid::new_v4().to_string()),
            cancel: CancellationToken::new(),
        });
        runs.driven.insert(live.run_id.clone(), Arc::clone(&live));
        (live, true)
    }

    async fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().await;
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    async fn drive(&self, run: AcceptedRun, live: Arc<LiveRun>) {
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

    async fn end(&self, live: &LiveRun, record: &RunRecord, error: Option<Error>) {
        tracing::info!(run_id = live.run_id, state = ?record.state, "run has ended");
        let detail = match &error {
            // What this driver was told may be less than what the run failed of.
            Some(error) if matches!(record.state, RunState::Failed | RunState::Broken) => Some(detail_of(error)),
            _ => failure_detail(&self.lake, record).await,
        };
        live.log.append(self.clock.now_us(), Event::Ended(wire::ended(record, detail)));
        let mut runs = self.runs();
        if let Some(live) = runs.driven.remove(&live.run_id) {
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
