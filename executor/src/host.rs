//! One membership of a fleet: Ballista's executor, put together so that it can be ended and begun again in one process.
//!
//! Data flow: a connection to the fleet's scheduler -> ports of our own -> registration -> tasks, until the process is to
//! stop, the scheduler asks for it, or the scheduler has gone.
//!
//! Invariant: what one membership has begun ends with it. The next one has another id, other ports and another directory.

use std::{
    net::IpAddr,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::{
    config::TaskSchedulingPolicy,
    extension::SessionConfigExt,
    registry::BallistaFunctionRegistry,
    serde::{
        BallistaCodec, BallistaLogicalExtensionCodec,
        protobuf::{
            ExecutorStatus as ExecutorStatusMessage, ExecutorStoppedParams, HeartBeatParams, executor_status::Status,
            scheduler_grpc_client::SchedulerGrpcClient,
        },
    },
    utils::{GrpcClientConfig, GrpcServerConfig, create_grpc_client_endpoint, create_grpc_server},
};
use ballista_executor::{
    executor::Executor,
    executor_process::{ExecutorProcessConfig, structure_executor_metadata},
    executor_server::{self, TERMINATING},
    flight_service::BallistaFlightService,
    health::ExecutorHealth,
    metrics::LoggingMetricsCollector,
    shutdown::ShutdownNotifier,
};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use lakewright_engine::{
    Engine,
    fleet::{FLEET_MESSAGE_BYTES_MAX, FleetCodec, encode_beats},
};
use lakewright_error::{Error, ErrorKind, Result};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, server::TcpIncoming};
use uuid::Uuid;

use crate::{
    ExecutorSettings,
    logs::RunLogs,
    scratch::{ExecutorStatus, Scratch},
    tasks::{Member, RunningTasks, Tasks},
};

/// Seconds between two heartbeats.
const HEARTBEAT_S: u64 = 10;

/// Time between two words of what running tasks have done, and of how this process is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between two looks whether somebody listens at the scheduler's port.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Looks in a row at which nobody answered, after which the scheduler is taken for gone.
const MISSES_MAX: u32 = 3;

/// Time between two words that this executor takes no more tasks.
const FAREWELL_INTERVAL: Duration = Duration::from_millis(500);

/// How long an executor goes on whose disk is full: tasks that need no more of it may end.
const NO_ROOM_DRAIN: Duration = Duration::from_secs(10);

/// How long the parts of a membership may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest call: rows are fetched by calls.
const CALL_TIMEOUT_S: u64 = 3600;

/// What all memberships of a process share.
pub(crate) struct Host<'a> {
    pub(crate) settings: &'a ExecutorSettings,
    pub(crate) engine: Engine,
    pub(crate) scratch: &'a Arc<Scratch>,
    pub(crate) logs: &'a Arc<RunLogs>,
}

/// Why a membership has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// This process is to stop.
    Stopped,
    /// The scheduler has gone, or wants this executor no more.
    Lost,
    /// There is no room on the disk.
    NoRoom,
}

type Scheduler = SchedulerGrpcClient<Channel>;

/// The ports of one membership.
struct Ports {
    bind: IpAddr,
    data: TcpListener,
    data_port: u16,
    tasks_port: u16,
}

impl Host<'_> {
    /// Joins the fleet at `address`, and runs its tasks until it ends or `stop` fires.
    ///
    /// # Errors
    /// - [`ErrorKind::Unavailable`]: nobody answers, or this executor was not taken in.
    /// - [`ErrorKind::Exhausted`], [`ErrorKind::Denied`]: the scratch directory.
    pub(crate) async fn serve(&self, address: &str, stop: &CancellationToken) -> Result<Left> {
        let mut scheduler = self.connect(address).await?;
        let id = Uuid::new_v4().to_string();
        let work_dir = self.scratch.work_dir(&id)?;
        let ports = self.ports().await?;
        let config = Arc::new(self.config(&id, &work_dir, &ports));
        let running = RunningTasks::default();
        let executor = Arc::new(self.executor(&config, &work_dir, running.clone()));
        let codec = BallistaCodec::<LogicalPlanNode, PhysicalPlanNode>::new(
            Arc::new(BallistaLogicalExtensionCodec::default()),
            Arc::new(FleetCodec::new(&self.engine)),
        );
        // A word of an earlier membership, which Ballista keeps for the whole process.
        TERMINATING.store(false, Ordering::Release);
        let notifier = ShutdownNotifier::new();
        let (stop_sender, mut asked_to_stop) = mpsc::channel(1);
        let health = ExecutorHealth::new();
        let started = executor_server::startup(
            scheduler.clone(),
            Arc::clone(&config),
            Arc::clone(&executor),
            codec,
            stop_sender,
            &notifier,
            health,
        );
        let mut services = started.await.map_err(|error| unjoined(address, error))?;
        let mut data = JoinSet::new();
        data.spawn(serve_data(ports.data, work_dir.clone(), notifier.subscribe_for_shutdown()));
        tracing::info!(address, executor_id = id, slots = self.settings.slots, "joined a fleet");

        // Ballista fires it when its heartbeats fail.
        let mut given_up = notifier.subscribe_for_shutdown();
        let left = tokio::select! {
            () = stop.cancelled() => Left::Stopped,
            _ = asked_to_stop.recv() => Left::Lost,
            () = given_up.recv() => Left::Lost,
            _ = &mut services => Left::Lost,
            _ = data.join_next() => Left::Lost,
            () = gone(address) => Left::Lost,
            () = self.scratch.until_no_room() => Left::NoRoom,
            () = self.tell(&scheduler, &executor, &running, address) => Left::Lost,
        };
        match left {
            Left::Stopped => self.drain(&mut scheduler, &executor, &work_dir, self.settings.drain).await,
            Left::NoRoom => self.drain(&mut scheduler, &executor, &work_dir, NO_ROOM_DRAIN).await,
            Left::Lost => {}
        }
        end(notifier).await;
        services.abort();
        data.shutdown().await;
        if let Err(error) = std::fs::remove_dir_all(&work_dir) {
            tracing::debug!(%error, "rows of a membership left behind");
        }
        Ok(left)
    }

    /// Tells the scheduler what running tasks have done, and whoever asks on this machine how this process is, for ever.
    async fn tell(&self, scheduler: &Scheduler, executor: &Executor, running: &RunningTasks, address: &str) {
        let mut ticks = interval(PROGRESS_INTERVAL);
        loop {
            ticks.tick().await;
            let beats = running.beats();
            self.scratch.tell(&ExecutorStatus {
                executor_id: Some(executor.metadata.id.clone()),
                fleet: Some(address.to_owned()),
                slots: self.settings.slots,
                tasks: beats.len(),
            });
            if beats.is_empty() {
                continue;
            }
            let progress = HeartBeatParams {
                executor_id: executor.metadata.id.clone(),
                metrics: Vec::new(),
                status: Some(ExecutorStatusMessage { status: Some(Status::Active(encode_beats(&beats))) }),
                metadata: Some(executor.metadata.clone()),
            };
            // One that does not arrive is made up for by the next.
            let _ = timeout(CONNECT_TIMEOUT, scheduler.clone().heart_beat_from_executor(progress)).await;
        }
    }

    async fn connect(&self, address: &str) -> Result<Scheduler> {
        let config = GrpcClientConfig::from(&self.engine.fleet_config().ballista_config());
        let endpoint = create_grpc_client_endpoint(format!("http://{address}"), Some(&config)).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the fleet's address cannot be called")
                .with("location", address)
                .with_source(error)
        })?;
        let channel = timeout(CONNECT_TIMEOUT, endpoint.connect()).await;
        let channel = channel
            .map_err(|error| unjoined(address, error))
            .and_then(|connected| connected.map_err(|error| unjoined(address, error)))?;
        let bytes_max = FLEET_MESSAGE_BYTES_MAX as usize;
        Ok(Scheduler::new(channel).max_encoding_message_size(bytes_max).max_decoding_message_size(bytes_max))
    }

    async fn ports(&self) -> Result<Ports> {
        let bind = self.settings.address().await?;
        let unbound = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "cannot listen there").with("location", bind).with_source(error)
        };
        let tasks_port = match self.settings.port {
            Some(port) => port,
            // Ballista binds it itself. Between this and that another process may take it: then joining fails, and the
            // next try has another.
            None => TcpListener::bind((bind, 0)).await.and_then(|free| free.local_addr()).map_err(unbound)?.port(),
        };
        let wanted = self.settings.port.map_or(0, |port| port.saturating_add(1));
        let data = TcpListener::bind((bind, wanted)).await.map_err(unbound)?;
        let data_port = data.local_addr().map_err(unbound)?.port();
        Ok(Ports { bind, data, data_port, tasks_port })
    }

    fn config(&self, id: &str, work_dir: &Path, ports: &Ports) -> ExecutorProcessConfig {
        let host = self.settings.host.clone().unwrap_or_else(|| host_text(ports.bind));
        ExecutorProcessConfig {
            executor_id: id.to_owned(),
            bind_host: host_text(ports.bind),
            external_host: Some(host),
            port: ports.data_port,
            grpc_port: ports.tasks_port,
            vcores: self.settings.slots,
            task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
            work_dir: Some(work_dir.display().to_string()),
            grpc_max_decoding_message_size: FLEET_MESSAGE_BYTES_MAX,
            grpc_max_encoding_message_size: FLEET_MESSAGE_BYTES_MAX,
            executor_heartbeat_interval_seconds: HEARTBEAT_S,
            ..ExecutorProcessConfig::default()
        }
    }

    fn executor(&self, config: &Arc<ExecutorProcessConfig>, work_dir: &Path, running: RunningTasks) -> Executor {
        let slots = self.settings.slots;
        let metadata = structure_executor_metadata(config, u32::try_from(slots).unwrap_or(u32::MAX));
        let member = Member {
            id: metadata.id.clone(),
            place: format!("{}:{}", metadata.host.as_deref().unwrap_or_default(), metadata.grpc_port),
            slots,
            scratch: Arc::clone(self.scratch),
            work_dir: work_dir.to_owned(),
            logs: Arc::clone(self.logs),
        };
        let (runtime, engine) = (self.engine.runtime(), self.engine.clone());
        Executor::new(
            metadata,
            &work_dir.display().to_string(),
            // One pool for all tasks, as embedded: a task may take what the others leave.
            Arc::new(move |_| Ok(Arc::clone(&runtime))),
            Arc::new(move || engine.fleet_config()),
            Arc::new(BallistaFunctionRegistry::from(self.engine.template())),
            Arc::new(LoggingMetricsCollector::default()),
            slots,
            Arc::new(Tasks::new(member, running)),
        )
    }

    /// Takes no more tasks, ends those that it has, and serves their rows until nobody needs them.
    async fn drain(&self, scheduler: &mut Scheduler, executor: &Executor, work_dir: &Path, time_max: Duration) {
        tracing::info!("executor drains");
        TERMINATING.store(true, Ordering::Release);
        let until = Instant::now() + time_max;
        while Instant::now() < until {
            let farewell = HeartBeatParams {
                executor_id: executor.metadata.id.clone(),
                metrics: Vec::new(),
                status: Some(ExecutorStatusMessage { status: Some(Status::Terminating(String::new())) }),
                metadata: Some(executor.metadata.clone()),
            };
            let told = timeout(CONNECT_TIMEOUT, scheduler.heart_beat_from_executor(farewell)).await;
            // Nobody is left who could need anything.
            if !matches!(told, Ok(Ok(_))) {
                return;
            }
            // Tasks on their way have arrived when the word has been heard twice.
            sleep(FAREWELL_INTERVAL).await;
            if executor.active_task_count() == 0 && is_empty(work_dir) {
                break;
            }
        }
        let stopped = ExecutorStoppedParams {
            executor_id: executor.metadata.id.clone(),
            reason: "it takes no more tasks".to_owned(),
        };
        if let Ok(Err(error)) = timeout(CONNECT_TIMEOUT, scheduler.executor_stopped(stopped)).await {
            tracing::debug!(%error, "scheduler was not told");
        }
    }
}

fn host_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Whether no rows of a job are left: the folder of a job stays for a while after its last rows have gone.
fn is_empty(work_dir: &Path) -> bool {
    let holds_nothing =
        |entry: std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_empty(&entry.path());
    // What vanishes meanwhile holds nothing either.
    std::fs::read_dir(work_dir).map_or(true, |mut entries| entries.all(|entry| entry.is_ok_and(holds_nothing)))
}

/// Ends when nobody answers at the scheduler's port any more.
async fn gone(address: &str) {
    let mut ticks = interval(LOOK_INTERVAL);
    let mut misses = 0;
    while misses < MISSES_MAX {
        ticks.tick().await;
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => misses = 0,
            Ok(Err(_)) | Err(_) => misses += 1,
        }
    }
}

/// Serves rows of tasks to other tasks.
async fn serve_data(
    listener: TcpListener,
    work_dir: std::path::PathBuf,
    mut shutdown: ballista_executor::shutdown::Shutdown,
) {
    let bytes_max = FLEET_MESSAGE_BYTES_MAX as usize;
    let service = FlightServiceServer::new(BallistaFlightService::new(work_dir.display().to_string()))
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(bytes_max);
    let config = GrpcServerConfig { timeout_seconds: CALL_TIMEOUT_S, ..GrpcServerConfig::default() };
    let server = create_grpc_server(&config)
        .add_service(service)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), shutdown.recv());
    if let Err(error) = server.await {
        tracing::error!(%error, "rows of tasks cannot be served any more");
    }
}

/// Tells all parts to end, and waits for them.
async fn end(notifier: ShutdownNotifier) {
    let ShutdownNotifier { notify_shutdown, mut shutdown_complete_rx, shutdown_complete_tx } = notifier;
    // Nobody listens any more: all have ended.
    let _ = notify_shutdown.send(());
    drop((notify_shutdown, shutdown_complete_tx));
    if timeout(END_TIMEOUT, shutdown_complete_rx.recv()).await.is_err() {
        tracing::debug!("parts of a membership have not ended in time");
    }
}

fn unjoined(address: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Unavailable, "the fleet does not take this executor in")
        .with("location", address)
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_without_rows_keep_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_empty(dir.path()) && is_empty(&dir.path().join("gone")));
        std::fs::create_dir_all(dir.path().join("job/1/0")).unwrap();
        assert!(is_empty(dir.path()));
        std::fs::write(dir.path().join("job/1/0/data.arrow"), "").unwrap();
        assert!(!is_empty(dir.path()));
    }
}
