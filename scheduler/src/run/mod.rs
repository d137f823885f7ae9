//! Accepts a run and drives it to its end.

mod accept;
mod accounting;
mod affected;
mod affected_query;
mod check_query;
mod check_scope;
mod checkpoint;
mod checks;
mod compact;
mod drive;
mod earlier;
mod excluded;
mod failure;
mod freeze;
mod heartbeat;
mod inputs;
mod key_bounds;
mod machine;
mod maintain;
mod optimize;
mod publication;
mod publish;
mod quarantine;
mod race;
mod rejects;
mod reports;
mod rework;
mod site;
mod steps;
mod verify;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use lakewright_compiler::{Diagnostics, Job, JobFolder, Model, ModelKind, TableName, compile_job, select_models};
use lakewright_engine::Engine;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    Prefix, layout,
    state::{AbortReason, Format, Operation, Outcome, Spec, Verdict, open_lake, read_object},
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

pub(crate) use self::{
    accept::make_lake,
    failure::error_of as abort_error,
    heartbeat::{Heart, Observer, read_heartbeats},
    quarantine::QUARANTINE_KIND,
    race::{Race, create, retrying},
    rejects::REJECTS_KIND,
};
use self::{
    accept::{Accepted, accept, accepted_before, ensure_lake, name_run},
    drive::{Driver, Events},
    earlier::{Watch, find_accepted, finish, finish_earlier, unfinished},
    failure::error_of,
    site::{Pace, Site, folder_of},
};
pub use self::{inputs::raw_scan, race::chain};
use crate::{
    Backend, Clock, ExecutorInfo, RunEvent, RunState, RunSummary, SystemClock, event::run_summary, record::read_run,
    run_log::KeptLog,
};

/// Choices of one run that change what it does, not what a table means.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Rebuild selected models whatever has changed.
    pub full_refresh: bool,
    /// Go on although a source has lost more than 5 % of its known objects at once.
    pub accept_losses: bool,
    /// `--select` patterns; empty is everything.
    pub select: Vec<String>,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
    /// Keys of raw objects to read again although they have not changed, by source.
    pub replay: BTreeMap<String, BTreeSet<String>>,
    /// Compute models of kind INCREMENTAL_BY_TIME_RANGE from this time on, rounded down to a whole interval, whatever has
    /// changed; in microseconds since 1970-01-01T00:00:00Z.
    pub start_us: Option<i64>,
    /// The same, to before this time, rounded up.
    pub end_us: Option<i64>,
    /// Compute incremental models in full too, and fail if their tables do not hold the same rows.
    pub verify_incremental: bool,
}

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub struct RunRequest {
    /// The job's files.
    pub folder: JobFolder,
    /// Overrides of parameters, as text.
    pub params: BTreeMap<String, String>,
    /// The raw prefix, as a location that a later driver can open.
    pub raw: String,
    /// Choices.
    pub options: RunOptions,
    /// Who asks; empty for the user of this process.
    pub principal: String,
    /// The same key of the same principal is the same run, however often it is sent.
    pub idempotency_key: Option<String>,
    /// The failed run that this one tries again.
    pub retries: Option<String>,
}

/// Drives the runs of one lake.
#[derive(Clone, Debug)]
pub struct Scheduler {
    site: Site,
}

impl Scheduler {
    /// Makes a scheduler; does no I/O.
    pub fn new(lake: Prefix, engine: Engine, backend: Arc<dyn Backend>) -> Self {
        engine.register_store(&lake);
        let functions = engine.functions();
        let compile = move |folder: &JobFolder, params: &BTreeMap<String, String>| {
            compile_job(folder, functions.as_ref(), params)
        };
        let open_raw = move |location: &str| {
            let raw = Prefix::open(location)?;
            engine.register_store(&raw);
            Ok(raw)
        };
        let site = Site {
            lake,
            backend,
            clock: Arc::new(SystemClock),
            compile: Arc::new(compile),
            open_raw: Arc::new(open_raw),
            pace: Pace::default(),
            steps: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            observer: Arc::new(Mutex::new(Observer::new(Pace::default().silence_max))),
        };
        Self { site }
    }

    /// Executes at most so many steps at once, of all runs together.
    #[must_use]
    pub fn with_steps_at_once(mut self, steps: usize) -> Self {
        self.site.steps = Arc::new(Semaphore::new(steps.clamp(1, Semaphore::MAX_PERMITS)));
        self
    }

    /// Takes another clock than the machine's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.site.clock = clock;
        self
    }

    /// Accepts a run and drives it, and every unfinished earlier run of the job before it, to the end.
    ///
    /// # Errors
    /// The kind of whatever failed the run; a failed run has published nothing.
    /// - [`ErrorKind::Invalid`](lakewright_error::ErrorKind::Invalid): the job does not compile, or the selection names
    ///   nothing; no run was accepted.
    /// - [`ErrorKind::Cancelled`](lakewright_error::ErrorKind::Cancelled): `cancel` fired before the outcome; after the
    ///   outcome publishing goes on to its end.
    /// - [`ErrorKind::Conflict`](lakewright_error::ErrorKind::Conflict): a table belongs to another job, an earlier run
    ///   of the job is broken, or the idempotency key was used for another request.
    /// - [`ErrorKind::Unavailable`](lakewright_error::ErrorKind::Unavailable): the store does not answer. If the
    ///   outcome was decided, the next run of the job brings this one to its end.
    ///
    /// # Cancel safety
    /// Dropping the future is a crash: the next driver resumes.
    pub async fn run(
        &self,
        request: RunRequest,
        cancel: CancellationToken,
        events: &(dyn Fn(RunEvent) + Send + Sync),
    ) -> Result<RunSummary> {
        let run = self.accept(request).await?;
        self.drive(run, cancel, &CancellationToken::new(), events).await
    }

    /// Accepts a run without driving it.
    ///
    /// # Errors
    /// As [`Self::run`], for what is known before the first step.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the run was accepted; with an idempotency key, ask again.
    pub async fn accept(&self, request: RunRequest) -> Result<AcceptedRun> {
        let job = self.site.compile(&request.folder, &request.params)?;
        self.accept_compiled(request, job).await
    }

    /// Compiles the job of a request.
    ///
    /// # Errors
    /// Every finding of its files, if at least one is an error.
    pub(crate) fn compile(&self, request: &RunRequest) -> Result<Job, Diagnostics> {
        (self.site.compile)(&request.folder, &request.params)
    }

    /// The id and number of the run that the same request with the same key was accepted as, if it was.
    ///
    /// # Errors
    /// As reading state objects.
    pub(crate) async fn accepted_before(&self, request: &RunRequest) -> Result<Option<(String, u64)>> {
        Ok(accepted_before(&self.site, request).await?.map(|run| (run.run_id, run.sequence)))
    }

    /// Accepts a run of a job that has been compiled.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub(crate) async fn accept_compiled(&self, request: RunRequest, job: Job) -> Result<AcceptedRun> {
        let selected = select_models(&job, &request.options.select, &request.options.exclude)?;
        refuse_window(&job, &selected, &request.options)?;
        (self.site.open_raw)(&request.raw)?;
        ensure_lake(&self.site).await?;
        let job_name = job.name.clone();
        self.accept_named(&job_name, &request, Some(job), None).await
    }

    /// Accepts a run that changes published tables without running models, and drives it to its end, as
    /// [`Scheduler::run`] does: it has a number in the job, waits for earlier runs, and publishes a release.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](lakewright_error::ErrorKind::NotFound): there is no lake, release, run or table of the
    ///   name.
    /// - [`ErrorKind::Invalid`](lakewright_error::ErrorKind::Invalid): the run to repair is not broken.
    /// - [`ErrorKind::Conflict`](lakewright_error::ErrorKind::Conflict): other tables read the one that is dropped.
    /// - [`ErrorKind::Corrupt`](lakewright_error::ErrorKind::Corrupt): a file of the earlier state is gone; nothing was
    ///   changed.
    /// - As [`Scheduler::run`].
    ///
    /// # Cancel safety
    /// Dropping the future is a crash: the next driver resumes.
    pub async fn maintain(
        &self,
        job: &str,
        operation: Operation,
        cancel: CancellationToken,
        events: &(dyn Fn(RunEvent) + Send + Sync),
    ) -> Result<RunSummary> {
        maintain::check_lake(&self.site, job, &operation).await?;
        let run = self.accept_named(job, &RunRequest::default(), None, Some(operation)).await?;
        self.drive(run, cancel, &CancellationToken::new(), events).await
    }

    async fn accept_named(
        &self,
        job_name: &str,
        request: &RunRequest,
        job: Option<Job>,
        operation: Option<Operation>,
    ) -> Result<AcceptedRun> {
        let mut heart = self.heart();
        let accepted = match name_run(&self.site, &mut heart, job_name, request).await {
            Ok(mut named) => {
                named.operation = operation;
                accept(&self.site, job_name, request, named).await
            }
            Err(error) => Err(error),
        };
        match accepted {
            Ok(run) => {
                tracing::info!(run_id = run.run_id, sequence = run.sequence, repeated = run.repeated, "run accepted");
                Ok(AcceptedRun { run, job, heart })
            }
            Err(error) => {
                heart.stop().await;
                Err(error)
            }
        }
    }

    /// Drives an accepted run, and every unfinished earlier run of the job before it, to the end.
    ///
    /// When `leave` fires, the driver stops where it is, and the next one goes on from there.
    ///
    /// # Errors
    /// As [`Self::run`]; [`ErrorKind::Unavailable`](lakewright_error::ErrorKind::Unavailable) also if `leave` fired.
    ///
    /// # Cancel safety
    /// Dropping the future is a crash: the next driver resumes.
    pub async fn drive(
        &self,
        run: AcceptedRun,
        cancel: CancellationToken,
        leave: &CancellationToken,
        events: &(dyn Fn(RunEvent) + Send + Sync),
    ) -> Result<RunSummary> {
        let AcceptedRun { run, job, mut heart } = run;
        let span = tracing::info_span!("run", run_id = run.run_id, job = run.spec.job);
        let log = KeptLog::begin(&self.site.lake, &run.run_id, &self.site.clock);
        let drive = Drive { site: &self.site, job, cancel, events };
        let ended = tokio::select! {
            biased;
            () = leave.cancelled() => Err(Error::new(ErrorKind::Unavailable, "the scheduler is stopping")
                .with("run", &run.run_id)
                .with_hint("the run goes on when a scheduler starts again")),
            ended = Box::pin(drive.run(&mut heart, run.clone()).instrument(span)) => ended,
        };
        heart.stop().await;
        log.end().await;
        ended
    }

    /// Every unfinished run of the lake, in the order in which they have to be driven.
    ///
    /// # Errors
    /// As reading state objects.
    pub async fn unfinished(&self) -> Result<Vec<AcceptedRun>> {
        if open_lake(&self.site.lake).await?.is_none() {
            return Ok(Vec::new());
        }
        let runs = unfinished(&self.site, None, None).await?;
        Ok(runs.into_iter().map(|run| AcceptedRun { run, job: None, heart: self.heart() }).collect())
    }

    /// One accepted run, to be driven from what it left; `None` if it was not accepted.
    ///
    /// # Errors
    /// As reading state objects.
    pub async fn find(&self, run_id: &str) -> Result<Option<AcceptedRun>> {
        let run = find_accepted(&self.site, run_id).await?;
        Ok(run.map(|run| AcceptedRun { run, job: None, heart: self.heart() }))
    }

    /// Decides that a run is cancelled, whoever drives it; its driver finds out within seconds.
    ///
    /// # Errors
    /// - [`ErrorKind::Conflict`](lakewright_error::ErrorKind::Conflict): the run publishes already, or has ended.
    /// - As reading and creating state objects.
    pub async fn cancel(&self, run_id: &str, principal: &str) -> Result<()> {
        let reason = AbortReason {
            cancelled: true,
            message: match principal {
                "" => "the run was cancelled".to_owned(),
                principal => format!("the run was cancelled by {principal}"),
            },
            kind: "cancelled".to_owned(),
            hint: Some("lakewright retry runs it again, with the steps that it has written".to_owned()),
            step: None,
        };
        let outcome = Outcome {
            format: Format,
            nonce: Uuid::new_v4().to_string(),
            decided_us: self.site.clock.now_us(),
            verdict: Verdict::Abort(reason),
        };
        let refused = |message| Err(Error::new(ErrorKind::Conflict, message).with("run", run_id));
        match create(&self.site.lake, &layout::outcome(run_id), &outcome).await? {
            Race::Won => Ok(()),
            Race::Lost(Outcome { verdict: Verdict::Abort(reason), .. }) if reason.cancelled => Ok(()),
            Race::Lost(Outcome { verdict: Verdict::Abort(_), .. }) => refused("the run has failed already"),
            Race::Lost(_) => refused("it is too late to cancel: the run publishes, or has published"),
        }
    }

    /// The request that tries a failed or cancelled run again, with its files, parameters and choices.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](lakewright_error::ErrorKind::NotFound): there is no such run.
    /// - [`ErrorKind::Conflict`](lakewright_error::ErrorKind::Conflict): it is not one that has failed or was cancelled.
    pub async fn retry_request(&self, run_id: &str) -> Result<RunRequest> {
        let record = read_run(&self.site.lake, run_id).await?;
        let key = layout::spec(&record.run_id);
        let spec: Option<Spec> = retrying(|| read_object(&self.site.lake, &key)).await?;
        let may =
            |spec: &Spec| spec.operation.is_none() && matches!(record.state, RunState::Failed | RunState::Cancelled);
        let Some(spec) = spec.filter(may) else {
            return Err(Error::new(ErrorKind::Conflict, "only a run that failed or was cancelled can be tried again")
                .with("run", &record.run_id)
                .with("state", format!("{:?}", record.state).to_lowercase())
                .with_hint("lakewright submit starts a new run"));
        };
        Ok(RunRequest {
            folder: folder_of(&spec),
            params: spec.params.clone(),
            raw: spec.raw.clone(),
            options: site::options_of(&spec),
            retries: Some(record.run_id),
            ..RunRequest::default()
        })
    }

    /// Who executes steps at this moment.
    ///
    /// # Errors
    /// As [`Backend::executors`].
    pub async fn executors(&self) -> Result<Vec<ExecutorInfo>> {
        self.site.backend.executors().await
    }

    /// A heart of a driver of this lake.
    pub(crate) fn heart(&self) -> Heart {
        Heart::new(&self.site.lake, self.site.pace.beat)
    }
}

/// Refuses a window that is none, or that no selected model is computed by.
pub(crate) fn refuse_window(job: &Job, selected: &BTreeSet<TableName>, options: &RunOptions) -> Result<()> {
    let RunOptions { start_us, end_us, full_refresh, .. } = *options;
    if start_us.is_none() && end_us.is_none() {
        return Ok(());
    }
    let is_timed = |model: &Model| matches!(model.kind, ModelKind::IncrementalByTimeRange { .. });
    let invalid = |message, hint| Err(Error::new(ErrorKind::Invalid, message).with_hint(hint));
    if start_us.zip(end_us).is_some_and(|(start_us, end_us)| start_us >= end_us) {
        return invalid(
            "--start must be before --end",
            "the end is exclusive: --start 2018-11-01 --end 2018-11-02 is one day",
        );
    }
    if full_refresh {
        return invalid("--start and --end do not go with --full-refresh", "leave one of them out");
    }
    if !job.models.iter().any(|model| selected.contains(&model.name) && is_timed(model)) {
        return invalid(
            "--start and --end are for models of kind INCREMENTAL_BY_TIME_RANGE, and none is selected",
            "leave them out; --full-refresh computes selected models as a whole",
        );
    }
    Ok(())
}

/// A run that has its number, and that somebody has to drive. Dropping it is a crash: the next driver resumes.
#[derive(Debug)]
pub struct AcceptedRun {
    run: Accepted,
    /// Compiled already, for a run that this process has accepted.
    job: Option<Job>,
    heart: Heart,
}

impl AcceptedRun {
    /// The run.
    pub fn run_id(&self) -> &str {
        &self.run.run_id
    }

    /// Its job.
    pub fn job(&self) -> &str {
        &self.run.spec.job
    }

    /// Its number in its job.
    pub fn sequence(&self) -> u64 {
        self.run.sequence
    }

    /// Text of its job's files, in bytes.
    pub(crate) fn text_bytes(&self) -> usize {
        self.run.spec.files.iter().map(|(path, text)| path.len() + text.len()).sum()
    }

    /// Who has asked for it.
    pub fn principal(&self) -> &str {
        &self.run.spec.principal
    }

    /// Lets the run wait: it keeps its number, and `keeper` says that somebody will drive it.
    pub(crate) async fn park(self, keeper: &mut Heart) -> ParkedRun {
        let Self { run, heart, .. } = self;
        keeper.drives(&run.run_id).await;
        heart.stop().await;
        ParkedRun { run }
    }

    /// Leaves the run to whoever drives it already.
    pub async fn release(self) {
        self.heart.stop().await;
    }

    /// Whether an earlier request with the same key has made it.
    pub fn is_repeated(&self) -> bool {
        self.run.repeated
    }
}

/// A run that waits for its turn.
#[derive(Debug)]
pub(crate) struct ParkedRun {
    run: Accepted,
}

impl ParkedRun {
    /// The run, ready to be driven; `keeper` lets it go.
    pub(crate) async fn unpark(self, scheduler: &Scheduler, keeper: &mut Heart) -> AcceptedRun {
        let Self { run } = self;
        let mut heart = scheduler.heart();
        if run.repeated {
            // Somebody else may drive it: whoever looks must not take the keeper for that.
            keeper.leaves_now(&run.run_id).await;
        } else {
            heart.drives(&run.run_id).await;
            keeper.leaves(&run.run_id).await;
        }
        AcceptedRun { run, job: None, heart }
    }
}

/// A run on its way to its end.
struct Drive<'a> {
    site: &'a Site,
    job: Option<Job>,
    cancel: CancellationToken,
    events: Events<'a>,
}

impl Drive<'_> {
    async fn run(self, heart: &mut Heart, run: Accepted) -> Result<RunSummary> {
        let Self { site, job, cancel, events } = self;
        let started = Instant::now();
        events(RunEvent::Accepted { run_id: run.run_id.clone(), sequence: run.sequence });
        let run_id = run.run_id.clone();
        let earlier = finish_earlier(site, heart, &run, &cancel, events).await;
        let ended = if run.repeated {
            match earlier {
                Err(error) if error.kind() != ErrorKind::Cancelled => return Err(error),
                _ => {}
            }
            let watch = Watch { leave: &CancellationToken::new(), cancel: &cancel, events };
            finish(site, heart, run, watch).await?
        } else {
            let mut driver = Driver::new(site, run, job, cancel, events);
            if let Err(error) = earlier {
                driver.stop(error);
            }
            driver.drive().await?
        };
        match (ended.error, &ended.done.failure) {
            (Some(error), _) => Err(error),
            (None, Some(reason)) => Err(error_of(reason)),
            (None, None) => Ok(RunSummary { duration: started.elapsed(), ..run_summary(&run_id, &ended.done)? }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
