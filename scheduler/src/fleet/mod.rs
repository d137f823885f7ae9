//! A fleet: executors on other machines, or in other processes of this one, that execute steps.
//!
//! Data flow: [`Fleet::start`] listens for executors, and tells where in a heartbeat of the lake -> [`Backend`] for
//! drivers: [`step`] plans and [`job`] has the plan executed -> the rows of the write node come back.
//!
//! Invariant: a step ends with the files of successful tasks, or with an error. What a lost executor has written is
//! named by nothing.

mod demand;
mod held;
mod job;
mod losses;
mod members;
mod progress;
mod step;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use async_trait::async_trait;
use ballista_core::{JobId, config::TaskSchedulingPolicy};
use ballista_scheduler::{
    cluster::{BallistaCluster, JobState},
    config::{SchedulerConfig, TaskDistributionPolicy},
    scheduler_process::{create_scheduler, start_grpc_service_with_listener},
    scheduler_server::{JobIdGenerator, SchedulerServer},
};
use datafusion::{arrow::array::RecordBatch, execution::SessionStateBuilder};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use lakewright_engine::{
    Engine, RawScan, StepProgress,
    fleet::{FLEET_MESSAGE_BYTES_MAX, FleetCodec, LocalFiles, check_private},
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{DataFile, Prefix, state::RangeReport};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use uuid::Uuid;

use self::{
    held::{Held, Holding},
    job::Awaited,
};
use crate::{
    Backend, ExecutorInfo, QueryTask, RewriteTask, StepOutput, StepTask,
    backend::{read_raw_here, rewrite_here},
    room::Room,
    run::{Heart, make_lake},
};

/// Seconds without a heartbeat after which an executor is taken for dead. A dead process of a machine that answers is
/// found sooner: nobody listens at its port.
const SILENCE_MAX_S: u64 = 30;

/// Seconds between two looks for executors that are silent.
const SILENCE_LOOK_S: u64 = 5;

/// Seconds between the word that an executor has gone and running its tasks again. An executor that drains says so in
/// every heartbeat, and more often than this.
const LEAVE_GRACE_S: u64 = 2;

/// Tries of a task whose store did not answer.
const TASK_TRIES_MAX: usize = 4;

/// Tries of a stage whose input was lost.
const STAGE_TRIES_MAX: usize = 6;

/// Jobs that wait to be cleared away.
const ENDED_QUEUED_MAX: usize = 1024;

/// Pause before a job's data is removed: Ballista removes that of its inner stages first.
const CLEAR_PAUSE: Duration = Duration::from_millis(500);

/// Time between two heartbeats.
const BEAT: Duration = Duration::from_secs(5);

type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// What a fleet is given.
#[derive(Debug)]
pub struct FleetSettings {
    /// Where executors look for the fleet.
    pub lake: Prefix,
    /// Plans steps; its functions are those that executors have.
    pub engine: Engine,
    /// Where executors join: loopback, or a private interface. Whoever reaches it can have anything executed.
    pub listener: TcpListener,
    /// The name or address by which executors reach the listener; the listener's own if none.
    pub host: Option<String>,
    /// Whether prefixes on the local disk may be named.
    pub local: LocalFiles,
    /// How long a step waits for a first executor.
    pub patience: Duration,
    /// How long a step may go on without a sign of progress.
    pub stall_max: Duration,
    /// Bytes of tables up to which a step is executed by one executor, where there are two; 0 for never. It shrinks as
    /// the number of executors that would have no part in the step grows.
    pub single_executor_bytes: u64,
}

/// A job that nobody waits for any more.
#[derive(Debug)]
struct EndedJob {
    job: JobId,
    /// Whether it may still be running.
    cancel: bool,
}

/// Executes steps on executors that have joined.
pub struct Fleet {
    engine: Engine,
    /// Of queries that are answered here.
    room: Room,
    server: Server,
    /// The jobs of the server, those that have ended too.
    jobs: Arc<dyn JobState>,
    /// Machines that get no more tasks.
    held: Held,
    awaited: Awaited,
    /// Steps that wait for a first executor.
    steps_waiting: AtomicUsize,
    local: LocalFiles,
    patience: Duration,
    stall_max: Duration,
    single_executor_bytes: u64,
    address: String,
    ended: mpsc::Sender<EndedJob>,
    /// Listens, and looks after executors; ends with the fleet.
    tasks: JoinSet<()>,
    heart: Option<Heart>,
}

impl Fleet {
    /// Begins to take executors in.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: the listener is neither on loopback nor on a private address, or the lake is on a disk
    ///   that the executors do not share.
    /// - [`ErrorKind::Internal`]: Ballista's scheduler does not start.
    /// - As making a lake.
    pub async fn start(settings: FleetSettings) -> Result<Self> {
        let FleetSettings { lake, engine, listener, host, local, patience, stall_max, single_executor_bytes } =
            settings;
        let bound = listener
            .local_addr()
            .map_err(|error| Error::new(ErrorKind::Unavailable, "the listener has no address").with_source(error))?;
        check_private(bound.ip(), "executors join")?;
        local.check(&lake)?;
        make_lake(&lake).await?;
        let host = host.unwrap_or_else(|| bound.ip().to_string());
        let config = Arc::new(scheduler_config(&engine, &host, bound.port()));
        let jobs = BallistaCluster::new_from_config(&config).await.map_err(not_started)?.job_state();
        let held = Held::default();
        let cluster = BallistaCluster::new(Arc::new(Holding::new(held.clone())), Arc::clone(&jobs));
        let server: Server = create_scheduler(cluster, config).await.map_err(not_started)?;

        let mut tasks = JoinSet::new();
        let (ended, queue) = mpsc::channel(ENDED_QUEUED_MAX);
        tasks.spawn(members::look_after(server.clone()));
        tasks.spawn(clear_jobs(server.clone(), queue));
        let served = server.clone();
        tasks.spawn(async move {
            if let Err(error) = start_grpc_service_with_listener(listener, served).await {
                tracing::error!(%error, "executors cannot join any more");
            }
        });
        let address = join_address(&host, bound.port());
        let mut heart = Heart::new(&lake, BEAT);
        heart.announce(&address).await;
        tracing::info!(address, "fleet takes executors in");
        let (steps_waiting, heart) = (AtomicUsize::new(0), Some(heart));
        Ok(Self {
            engine,
            room: Room::default(),
            server,
            jobs,
            held,
            awaited: Awaited::default(),
            steps_waiting,
            local,
            patience,
            stall_max,
            single_executor_bytes,
            address,
            ended,
            tasks,
            heart,
        })
    }

    /// `host:port` at which executors join.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Stops, and takes the heartbeat away. Executors that have joined look for another fleet of the lake.
    pub async fn stop(mut self) {
        if let Some(heart) = self.heart.take() {
            heart.stop().await;
        }
        self.tasks.shutdown().await;
    }
}

#[async_trait]
impl Backend for Fleet {
    async fn execute(&self, task: StepTask, progress: &(dyn Fn(StepProgress) + Send + Sync)) -> Result<StepOutput> {
        step::execute(self, task, progress).await
    }

    /// Read in this process: it is what few tasks have left, as one that stops at a LIMIT.
    /// In this process: what checks ask of written files are few columns, and few rows come back.
    async fn query(&self, task: QueryTask) -> Result<Vec<RecordBatch>> {
        self.room.query(&self.engine, task).await
    }

    async fn read_raw(&self, scan: RawScan) -> Result<Vec<RangeReport>> {
        self.local.check(&scan.raw)?;
        read_raw_here(&self.engine, scan).await
    }

    async fn rewrite(&self, task: RewriteTask) -> Result<DataFile> {
        self.local.check(&task.root)?;
        rewrite_here(&self.engine, task).await
    }

    async fn executors(&self) -> Result<Vec<ExecutorInfo>> {
        members::list(&self.server).await
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("address", &self.address).finish_non_exhaustive()
    }
}

fn join_address(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn not_started(error: ballista_core::error::BallistaError) -> Error {
    Error::new(ErrorKind::Internal, "the scheduler of the fleet does not start").with_source(error)
}

fn scheduler_config(engine: &Engine, host: &str, port: u16) -> SchedulerConfig {
    let (sessions, configs) = (engine.clone(), engine.clone());
    SchedulerConfig {
        scheduler_id: Uuid::new_v4().to_string(),
        external_host: if host.contains(':') { format!("[{host}]") } else { host.to_owned() },
        bind_port: port,
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        // Every executor works on every stage that has tasks for all of them.
        task_distribution: TaskDistributionPolicy::RoundRobin,
        // The rows of a step are fetched at once, and then its data is removed: this is for what a crash leaves.
        finished_job_data_clean_up_interval_seconds: 300,
        // A step looks at its job a second after the end at the latest. What is kept for longer is kept for nobody: with
        // the plans of its stages, some tens of kilobytes a step, and megabytes of one that reads many objects.
        finished_job_state_clean_up_interval_seconds: 10,
        executor_termination_grace_period: LEAVE_GRACE_S,
        grpc_server_max_decoding_message_size: FLEET_MESSAGE_BYTES_MAX,
        grpc_server_max_encoding_message_size: FLEET_MESSAGE_BYTES_MAX,
        grpc_client_max_message_size: FLEET_MESSAGE_BYTES_MAX,
        executor_timeout_seconds: SILENCE_MAX_S,
        expire_dead_executor_interval_seconds: SILENCE_LOOK_S,
        // A step waits for executors as long as a fleet of spot machines needs to come back.
        no_executors_grace_period_seconds: 600,
        task_max_failures: TASK_TRIES_MAX,
        stage_max_failures: STAGE_TRIES_MAX,
        override_config_producer: Some(Arc::new(move || configs.fleet_config())),
        override_session_builder: Some(Arc::new(move |config| {
            let state = sessions.template().clone();
            Ok(SessionStateBuilder::new_from_existing(state).with_config(config).build())
        })),
        override_physical_codec: Some(Arc::new(FleetCodec::new(engine))),
        job_id_generator: Some(Arc::new(RandomIds)),
        ..SchedulerConfig::default()
    }
}

/// Ids of jobs that nobody can guess: whoever knows one can fetch its rows.
struct RandomIds;

#[async_trait]
impl JobIdGenerator for RandomIds {
    async fn next_id(&self) -> String {
        Uuid::new_v4().to_string()
    }
}

/// Stops jobs that are still running, at once, and removes the data of all that have ended a little later.
async fn clear_jobs(server: Server, mut queue: mpsc::Receiver<EndedJob>) {
    let mut clearing = JoinSet::new();
    while let Some(EndedJob { job, cancel }) = queue.recv().await {
        while clearing.try_join_next().is_some() {}
        let server = server.clone();
        clearing.spawn(async move {
            if cancel && let Err(error) = server.cancel_job(job.clone()).await {
                tracing::warn!(%job, %error, "job cannot be cancelled");
            }
            tokio::time::sleep(CLEAR_PAUSE).await;
            server.state.executor_manager.clean_up_job_data(job.clone());
            members::clear_leaving(&server, &job).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_that_can_be_called() {
        assert_eq!(join_address("10.0.0.1", 50050), "10.0.0.1:50050");
        assert_eq!(join_address("::1", 50050), "[::1]:50050");
        assert_eq!(join_address("ip-10-0-0-1", 1), "ip-10-0-0-1:1");
    }
}
