//! Accepts a run and drives it to its end.

mod accept;
mod drive;
mod earlier;
mod failure;
mod freeze;
mod heartbeat;
mod inputs;
mod machine;
mod maintain;
mod publication;
mod publish;
mod race;
mod site;
mod steps;

use std::{collections::BTreeMap, sync::Arc};

use lakewright_compiler::{Job, JobFolder, compile_job, select_models};
use lakewright_engine::Engine;
use lakewright_error::Result;
use lakewright_lake::{Prefix, state::Operation};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use self::inputs::raw_scan;
pub(crate) use self::race::retrying;
use self::{
    accept::{Named, accept, ensure_lake, name_run},
    drive::{Driver, Events},
    earlier::{finish, finish_earlier},
    failure::error_of,
    heartbeat::Heart,
    site::{Pace, Site},
};
use crate::{Backend, Clock, RunEvent, RunSummary, SystemClock, event::run_summary};

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
        };
        Self { site }
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
        let job = self.site.compile(&request.folder, &request.params)?;
        select_models(&job, &request.options.select, &request.options.exclude)?;
        (self.site.open_raw)(&request.raw)?;
        ensure_lake(&self.site).await?;
        let mut heart = Heart::new(&self.site.lake, self.site.pace.beat);
        let (job_name, job, operation) = (job.name.clone(), Some(job), None);
        let run = Submission { site: &self.site, request, job_name, job, operation, cancel, events };
        let result = Box::pin(run.drive(&mut heart)).await;
        heart.stop().await;
        result
    }
}

impl Scheduler {
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
        maintain::check_lake(&self.site, &operation).await?;
        let mut heart = Heart::new(&self.site.lake, self.site.pace.beat);
        let run = Submission {
            site: &self.site,
            request: RunRequest::default(),
            job_name: job.to_owned(),
            job: None,
            operation: Some(operation),
            cancel,
            events,
        };
        let result = Box::pin(run.drive(&mut heart)).await;
        heart.stop().await;
        result
    }
}

/// A request on its way to its end.
struct Submission<'a> {
    site: &'a Site,
    request: RunRequest,
    job_name: String,
    /// Compiled, for a run of models.
    job: Option<Job>,
    /// What a run without models does.
    operation: Option<Operation>,
    cancel: CancellationToken,
    events: Events<'a>,
}

impl Submission<'_> {
    async fn drive(self, heart: &mut Heart) -> Result<RunSummary> {
        let mut named = name_run(self.site, heart, &self.job_name, &self.request).await?;
        named.operation.clone_from(&self.operation);
        let span = tracing::info_span!("run", run_id = named.run_id, job = self.job_name);
        self.drive_named(heart, named).instrument(span).await
    }

    async fn drive_named(self, heart: &mut Heart, named: Named) -> Result<RunSummary> {
        let Self { site, request, job_name, job, cancel, events, .. } = self;
        let started = Instant::now();
        let run = accept(site, &job_name, &request, named).await?;
        tracing::info!(sequence = run.sequence, repeated = run.repeated, "run accepted");
        events(RunEvent::Accepted { run_id: run.run_id.clone(), sequence: run.sequence });
        let run_id = run.run_id.clone();
        let earlier = finish_earlier(site, heart, &run, &cancel, events).await;
        let ended = if run.repeated {
            earlier?;
            finish(site, heart, run, &cancel, events).await?
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
