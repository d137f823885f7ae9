//! One execution of a plan by Ballista: submits it, watches it, fetches the rows of its last stage.
//!
//! Data flow: a plan -> tasks on executors -> counts while they run -> the rows of the write node, or an error as a task
//! has raised it.
//!
//! Invariant: rows that cannot be fetched are a lost execution, never fewer rows.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ballista_core::{
    JobId,
    client::BallistaClient,
    serde::protobuf::{JobStatus, PartitionLocation, job_status::Status, task_status},
};
use ballista_scheduler::{
    cluster::{ClusterStateEvent, ClusterStateEventStream},
    state::{execution_graph::ExecutionGraphBox, execution_stage::ExecutionStage},
};
use datafusion::{physical_plan::ExecutionPlan, prelude::SessionContext};
use futures::StreamExt;
use lakewright_engine::{
    StepProgress, WriteOutput,
    fleet::{FLEET_MESSAGE_BYTES_MAX, carried_error, executor_without_room, objects_of_partition},
    read_manifest,
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::state::TaskTimes;
use tokio::{
    sync::{RwLock, mpsc},
    time::{Instant, interval, sleep, timeout},
};

use super::{
    EndedJob, Fleet,
    losses::{LOSSES_MAX, Losses, Part},
    members,
    progress::{Pulse, Stuck, task_times},
};

/// Time between two looks at a running job.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Words of a job that wait to be read. The end of a job is also found by looking.
const STATUSES_QUEUED_MAX: usize = 16;

/// Tries of fetching rows, and milliseconds between them.
const FETCH_TRIES: (u8, u64) = (3, 500);

/// Looks for a job that has ended, and the pause between them.
const FINDS_MAX: u32 = 50;
const FIND_PAUSE: Duration = Duration::from_millis(20);

/// Objects that are named where a task has cost executors.
const OBJECTS_NAMED_MAX: usize = 3;

/// How an execution ended, where it did not fail.
pub(super) enum Ended {
    /// All rows are here.
    Done { written: WriteOutput, progress: StepProgress, tasks: Option<TaskTimes> },
    /// The fleet has lost it: it can be executed again.
    Lost(Error),
    /// It did not get on, although all of the fleet answers: it can be executed again, by others.
    Stuck(Error),
    /// An executor had no room on its disk, and takes no more tasks: it can be executed again, by others.
    NoRoom(Error),
}

type Graph = Arc<RwLock<ExecutionGraphBox>>;

/// The jobs that steps wait for, from their submission until their rows are here; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Awaited(Arc<Mutex<HashSet<JobId>>>);

impl Awaited {
    /// Takes note of one, until what is given is dropped.
    pub(super) fn begin(&self, job: JobId) -> Awaiting {
        self.set().insert(job.clone());
        Awaiting { awaited: self.clone(), job }
    }

    /// The jobs at this moment, in no order.
    pub(super) fn jobs(&self) -> Vec<JobId> {
        self.set().iter().cloned().collect()
    }

    fn set(&self) -> MutexGuard<'_, HashSet<JobId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that a step waits for.
#[derive(Debug)]
pub(super) struct Awaiting {
    awaited: Awaited,
    job: JobId,
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.awaited.set().remove(&self.job);
    }
}

/// Has the job cleared away when it is dropped, and cancelled before if it has not ended.
struct Running<'a> {
    fleet: &'a Fleet,
    job: JobId,
    has_ended: bool,
    _awaiting: Awaiting,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let ended = EndedJob { job: self.job.clone(), cancel: !self.has_ended };
        // A full queue means that the fleet is stopping or choked: Ballista clears away later what has ended.
        let _ = self.fleet.ended.try_send(ended);
    }
}

/// Who is told how a job gets on, and what the step has cost so far.
pub(super) struct Watching<'a> {
    pub(super) progress: &'a (dyn Fn(StepProgress) + Send + Sync),
    pub(super) losses: &'a mut Losses,
}

/// Has a plan executed, each of its stages once.
///
/// Ballista runs a stage again when what it has read or written is lost, but what its first run has handed to later
/// stages stays there: rows would be read twice. A job in which that has begun is given up as lost.
///
/// # Errors
/// - The error of a task that failed, as it was raised.
/// - [`ErrorKind::Exhausted`]: a task has ended the processes that ran it.
///
/// # Cancel safety
/// Dropping the future cancels the job.
pub(super) async fn run_job(
    fleet: &Fleet,
    name: &str,
    session: SessionContext,
    plan: Arc<dyn ExecutionPlan>,
    watching: Watching<'_>,
) -> Result<Ended> {
    let server = &fleet.server;
    let events = server.cluster_state_events().await.map_err(unusable)?;
    let (sender, statuses) = mpsc::channel(STATUSES_QUEUED_MAX);
    let job = server.submit_physical_plan(name, Arc::new(session), plan, Some(sender)).await.map_err(unusable)?;
    let _awaiting = fleet.awaited.begin(job.clone());
    let mut running = Running { fleet, job: job.clone(), has_ended: false, _awaiting };
    let pulse = Pulse::new(fleet.stall_max, Instant::now());
    let mut watch = Watch { fleet, job: &job, graph: None, watching, counts: None, pulse };
    let status = match watch.until_end(statuses, events).await? {
        Watched::Ended(status) => status,
        Watched::Again => {
            return Ok(Ended::Lost(lost("an executor has gone, and a stage of the step would be run again")));
        }
        Watched::Stuck(stuck) => return Ok(give_up(fleet, stuck).await),
    };
    running.has_ended = true;
    let locations = match status {
        Status::Successful(done) => done.partition_location,
        Status::Failed(failed) => return failed_job(fleet, &failed.error).await,
        Status::Queued(_) | Status::Running(_) => return Ok(Ended::Lost(lost("its end was not told"))),
    };
    let Some(progress) = watch.last_counts().await else {
        return Ok(Ended::Lost(lost("nothing shows that each of its stages was run once")));
    };
    let tasks = watch.task_times().await;
    // Whoever has the rows may have been frozen since: then no word comes, and no error.
    Ok(match timeout(fleet.stall_max, fetch_rows(locations)).await {
        Ok(Ok(written)) => Ended::Done { written, progress, tasks },
        Ok(Err(error)) => Ended::Lost(error),
        Err(_) => {
            members::give_up_mute(&fleet.server, "it does not answer, and has the rows of a step").await;
            Ended::Lost(lost("the rows that name its files did not come in time"))
        }
    })
}

/// Gives up whoever keeps a job from getting on.
///
/// One that does not answer is it, even if others wait for the rows that it has. If all answer it is those who run its
/// tasks: who is well joins anew.
async fn give_up(fleet: &Fleet, Stuck { error, executors }: Stuck) -> Ended {
    if members::give_up_mute(&fleet.server, "it does not answer, and a step makes no progress").await {
        return Ended::Lost(error);
    }
    for executor in &executors {
        members::give_up(&fleet.server, executor, "its tasks make no progress").await;
    }
    Ended::Stuck(error)
}

/// What has come of a job that a task has failed.
async fn failed_job(fleet: &Fleet, text: &str) -> Result<Ended> {
    let Some(error) = carried_error(text) else { return Ok(Ended::Lost(lost(text))) };
    let Some(executor) = executor_without_room(&error) else { return Err(error) };
    members::await_leaving(&fleet.server, executor).await;
    Ok(Ended::NoRoom(error))
}

/// What is looked at while a job runs.
struct Watch<'a> {
    fleet: &'a Fleet,
    job: &'a JobId,
    graph: Option<Graph>,
    watching: Watching<'a>,
    counts: Option<StepProgress>,
    pulse: Pulse,
}

/// What has come of watching a job.
enum Watched {
    Ended(Status),
    /// One of its stages is run again.
    Again,
    Stuck(Stuck),
}

/// Whether every stage of a job is, or was, run for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stages {
    First,
    Again,
    Unknown,
}

impl Watch<'_> {
    /// How the job has ended, or why it is watched no longer.
    async fn until_end(
        &mut self,
        mut statuses: mpsc::Receiver<JobStatus>,
        mut events: ClusterStateEventStream,
    ) -> Result<Watched> {
        let mut ticks = interval(LOOK_INTERVAL);
        loop {
            tokio::select! {
                // Losses first: the next look no longer sees who ran what.
                biased;
                Some(event) = events.next() => self.take_event(event).await?,
                Some(status) = statuses.recv() => {
                    if let Some(end) = end_of(status) {
                        return Ok(Watched::Ended(end));
                    }
                }
                _ = ticks.tick() => {
                    if self.look().await == Stages::Again {
                        return Ok(Watched::Again);
                    }
                    if let Some(stuck) = self.stuck().await {
                        return Ok(Watched::Stuck(stuck));
                    }
                    // A word of the end is lost if the queue of words is full.
                    let tasks = &self.fleet.server.state.task_manager;
                    if let Some(end) = tasks.get_job_status(self.job).await.map_err(unusable)?.and_then(end_of) {
                        return Ok(Watched::Ended(end));
                    }
                }
            }
        }
    }

    async fn take_event(&mut self, event: ClusterStateEvent) -> Result<()> {
        let ClusterStateEvent::RemovedExecutor { executor_id } = event else { return Ok(()) };
        match self.watching.losses.lose(&executor_id) {
            Some(part) => Err(self.deadly(part).await),
            None => Ok(()),
        }
    }

    async fn look(&mut self) -> Stages {
        if self.graph.is_none() {
            let cached = self.fleet.server.state.task_manager.get_running_job_cache();
            self.graph = cached.get(self.job).map(|cached| Arc::clone(&cached.execution_graph));
        }
        let Some(graph) = self.graph.clone() else { return Stages::Unknown };
        let graph = graph.read().await;
        self.watching.losses.saw(running_parts(&graph));
        let counts = self.pulse.look(&self.fleet.server, self.job.as_ref(), &graph, Instant::now());
        if self.counts != Some(counts) {
            self.counts = Some(counts);
            (self.watching.progress)(counts);
        }
        if graph.stages().values().all(|stage| attempt_of(stage) == 0) { Stages::First } else { Stages::Again }
    }

    async fn stuck(&mut self) -> Option<Stuck> {
        // Looked up only when it is needed: it is not, as long as anything moves.
        let now = Instant::now();
        self.pulse.stuck(now, str::to_owned)?;
        // A job that waits for its turn is not stuck, however long the tasks of others take: they are watched too.
        if self.pulse.waits() && !members::is_idle(&self.fleet.server).await {
            self.pulse.gives_way(now);
            return None;
        }
        let hosts = members::hosts(&self.fleet.server).await;
        self.pulse.stuck(now, |id| hosts.get(id).cloned().unwrap_or_else(|| id.to_owned()))
    }

    async fn task_times(&self) -> Option<TaskTimes> {
        let graph = self.graph.clone()?;
        let hosts = members::hosts(&self.fleet.server).await;
        let graph = graph.read().await;
        task_times(&graph, |id| hosts.get(id).cloned().unwrap_or_else(|| id.to_owned()))
    }

    /// The counts of a job that has ended; `None` if it is not known that each of its stages was run once.
    async fn last_counts(&mut self) -> Option<StepProgress> {
        for _ in 0..FINDS_MAX {
            match self.look().await {
                Stages::First => return Some(self.counts.unwrap_or_default()),
                Stages::Again => return None,
                // It was too quick to be seen running: the record of ended jobs has it.
                Stages::Unknown => {
                    let ended = self.fleet.jobs.get_execution_graph(self.job).await.ok().flatten();
                    self.graph = ended.map(|graph| Arc::new(RwLock::new(graph)));
                }
            }
            if self.graph.is_none() {
                sleep(FIND_PAUSE).await;
            }
        }
        None
    }

    async fn deadly(&self, (stage, partition): Part) -> Error {
        let mut error =
            Error::new(ErrorKind::Exhausted, format!("a task has ended {LOSSES_MAX} executors that ran it")).with_hint(
                "the logs of the executors say how they ended; give them more memory, or leave out what it reads",
            );
        if let Some(graph) = &self.graph
            && let Some(stage) = graph.read().await.stages().get(&stage)
            && let Some(plan) = plan_of(stage)
        {
            for object in objects_of_partition(plan, partition, OBJECTS_NAMED_MAX) {
                error = error.with("object", object);
            }
        }
        error
    }
}

fn end_of(status: JobStatus) -> Option<Status> {
    status.status.filter(|status| matches!(status, Status::Successful(_) | Status::Failed(_)))
}

fn plan_of(stage: &ExecutionStage) -> Option<&Arc<dyn ExecutionPlan>> {
    match stage {
        ExecutionStage::UnResolved(stage) => Some(&stage.plan),
        ExecutionStage::Resolved(stage) => Some(&stage.plan),
        ExecutionStage::Running(stage) => Some(&stage.plan),
        ExecutionStage::Successful(stage) => Some(&stage.plan),
        ExecutionStage::Failed(stage) => Some(&stage.plan),
    }
}

/// Times that a stage was begun again.
fn attempt_of(stage: &ExecutionStage) -> usize {
    match stage {
        ExecutionStage::UnResolved(stage) => stage.stage_attempt_num,
        ExecutionStage::Resolved(stage) => stage.stage_attempt_num,
        ExecutionStage::Running(stage) => stage.stage_attempt_num,
        ExecutionStage::Successful(stage) => stage.stage_attempt_num,
        ExecutionStage::Failed(stage) => stage.stage_attempt_num,
    }
}

fn running_parts(graph: &ExecutionGraphBox) -> BTreeMap<Part, String> {
    let mut parts = BTreeMap::new();
    for (stage_id, stage) in graph.stages() {
        let ExecutionStage::Running(stage) = stage else { continue };
        for task in &stage.task_infos {
            if let task_status::Status::Running(running) = &task.task_status {
                for partition in &task.global_input_partition_ids {
                    parts.insert((*stage_id, *partition), running.executor_id.clone());
                }
            }
        }
    }
    parts
}

/// Fetches the rows of the last stage.
///
/// # Errors
/// - [`ErrorKind::Unavailable`]: an executor does not answer, or has them no more.
async fn fetch_rows(locations: Vec<PartitionLocation>) -> Result<WriteOutput> {
    let mut written = WriteOutput::default();
    for location in locations {
        fetch(location, &mut written).await?;
    }
    Ok(written)
}

async fn fetch(location: PartitionLocation, written: &mut WriteOutput) -> Result<()> {
    let layout = location.layout();
    let (Some(executor), Some(partition)) = (location.executor_meta, location.partition_id) else {
        return Err(Error::new(ErrorKind::Internal, "the fleet does not say where the rows of a step are"));
    };
    let unfetched = |error: ballista_core::error::BallistaError| {
        Error::new(ErrorKind::Unavailable, "the rows that name a step's files cannot be fetched")
            .with("location", &executor.host)
            .with_source(error)
    };
    let port = u16::try_from(executor.port).unwrap_or_default();
    let (tries, pause_ms) = FETCH_TRIES;
    let bytes_max = FLEET_MESSAGE_BYTES_MAX as usize;
    let client = BallistaClient::try_new(&executor.host, port, bytes_max, false, None, tries, pause_ms, 0, 0).await;
    let mut client = client.map_err(unfetched)?;
    let rows = client.fetch_partition(&executor.id, &partition.into(), location.file_id, layout, true).await;
    let mut rows = rows.map_err(unfetched)?;
    while let Some(batch) = rows.next().await {
        read_manifest(&batch.map_err(|error| unfetched(error.into()))?, written)?;
    }
    Ok(())
}

fn unusable(error: ballista_core::error::BallistaError) -> Error {
    Error::new(ErrorKind::Internal, "the fleet does not take a step").with_source(error)
}

/// What Ballista says of a job that no task of ours has failed.
fn lost(text: &str) -> Error {
    Error::new(ErrorKind::Unavailable, "the fleet has lost a step")
        .with_hint("the logs of the executors say more")
        .with_source(text.trim().to_owned())
}
