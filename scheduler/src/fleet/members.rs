//! The executors of a fleet: who they are, and who of them has died.
//!
//! Invariant: an executor is given up only if nobody listens at its port any more, if it has been silent for as long
//! as the fleet waits, or if a step makes no progress. Giving one up too early costs work, and changes no row. Slots that
//! Ballista has lost count of are given back when no task runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use ballista_core::{
    JobId,
    serde::{
        protobuf::{
            CancelTasksParams, ExecutorStoppedParams, RemoveJobDataParams, UpdateTaskStatusParams,
            executor_grpc_client::ExecutorGrpcClient, executor_status::Status, scheduler_grpc_server::SchedulerGrpc,
        },
        scheduler::{ExecutorData, ExecutorMetadata},
    },
};
use futures::{StreamExt, stream};
use lakewright_error::{Error, ErrorKind, Result};
use tokio::{
    net::TcpStream,
    time::{Instant, interval, sleep, timeout},
};
use tonic::{Code, Request};

use super::{SILENCE_MAX_S, Server, held::Held};
use crate::{Clock, ExecutorInfo, SystemClock};

/// Time between two looks whether somebody listens at an executor's port.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a look may take. No answer says nothing: the heartbeat decides.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Looks in a row at which nobody listened.
const REFUSALS_MAX: u32 = 2;

/// How long an executor may take to answer a call that asks nothing of it, and such calls at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const CALLS_AT_ONCE_MAX: usize = 64;

/// How long an executor may take to say that it takes no more tasks, and the pause between two looks.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(5);
const LEAVE_LOOK: Duration = Duration::from_millis(50);

/// Looks in a row at which no task ran, after which the slots of an executor are counted anew.
const IDLE_LOOKS: u32 = 2;

/// Gives up executors whose process has ended, and gives back slots that have been lost count of, until dropped.
pub(super) async fn look_after(server: Server) {
    let mut ticks = interval(LOOK_INTERVAL);
    let mut refusals: BTreeMap<String, u32> = BTreeMap::new();
    let mut recount = Recount::default();
    loop {
        ticks.tick().await;
        let Ok(executors) = server.state.executor_manager.get_executors_state().await else { continue };
        recount.look(&server, executors.iter().map(|(executor, ..)| executor)).await;
        refusals.retain(|id, _| executors.iter().any(|(executor, ..)| executor.id == *id));
        for (executor, ..) in executors {
            if !is_refused(&executor).await {
                refusals.remove(&executor.id);
                continue;
            }
            let count = refusals.entry(executor.id.clone()).or_default();
            *count += 1;
            // Only once: it is removed after a pause.
            if *count == REFUSALS_MAX {
                give_up(&server, &executor.id, "nobody listens at its port").await;
            }
        }
    }
}

/// When slots are to be counted anew.
///
/// Ballista gives a slot back by looking the ended task up in its stage. When an executor is lost it takes whole stages
/// back, with the tasks that others run for them: their slots are never free again, and a fleet that has lost all of them
/// does nothing for ever.
///
/// Somebody may join and be lost between two looks: that a job waits and nothing runs at all says as much.
#[derive(Default)]
struct Recount {
    members: BTreeSet<String>,
    /// Whether somebody was seen to go since the last count.
    is_due: bool,
    idle_looks: u32,
}

impl Recount {
    async fn look(&mut self, server: &Server, executors: impl Iterator<Item = &ExecutorMetadata>) {
        let executors: Vec<&ExecutorMetadata> = executors.collect();
        let members: BTreeSet<String> = executors.iter().map(|executor| executor.id.clone()).collect();
        self.is_due |= !self.members.is_subset(&members);
        self.members = members;
        let waits = !server.state.task_manager.get_running_job_cache().is_empty();
        let is_asked_for = self.is_due || waits;
        self.idle_looks = if is_asked_for && is_idle(server).await { self.idle_looks + 1 } else { 0 };
        if self.idle_looks < IDLE_LOOKS {
            return;
        }
        self.idle_looks = 0;
        // Who leaves must not be taken in again.
        for executor in executors.into_iter().filter(|executor| is_active(server, &executor.id)) {
            // A task that has begun meanwhile would give its slot back beside those that are counted now.
            if !is_idle(server).await {
                return;
            }
            count_anew(server, executor).await;
        }
        self.is_due = false;
    }
}

/// Whether no task of any job runs.
pub(super) async fn is_idle(server: &Server) -> bool {
    for job in server.state.task_manager.get_running_job_cache().values() {
        if !job.execution_graph.read().await.running_tasks().is_empty() {
            return false;
        }
    }
    true
}

/// Lets an executor that runs nothing join again, with all of its slots.
async fn count_anew(server: &Server, executor: &ExecutorMetadata) {
    let manager = &server.state.executor_manager;
    let total_vcores = executor.specification.vcores;
    let slots = ExecutorData { executor_id: executor.id.clone(), total_vcores, available_vcores: total_vcores };
    let removed = manager.remove_executor(&executor.id, None).await;
    if let Err(error) = removed.and(manager.register_executor(executor.clone(), slots).await) {
        // Its next heartbeat lets it join again.
        tracing::warn!(executor_id = executor.id, %error, "slots of an executor cannot be counted anew");
    }
    offer_tasks(server, &executor.id).await;
}

/// Has tasks that wait offered to whoever has room: an update about no task, of an executor that has joined.
pub(super) async fn offer_tasks(server: &Server, executor_id: &str) {
    let nothing = UpdateTaskStatusParams { executor_id: executor_id.to_owned(), task_status: Vec::new() };
    if let Err(error) = server.update_task_status(Request::new(nothing)).await {
        tracing::warn!(executor_id, %error, "waiting tasks cannot be offered");
    }
}

async fn is_refused(executor: &ExecutorMetadata) -> bool {
    let host = executor.host.trim_start_matches('[').trim_end_matches(']');
    match timeout(LOOK_TIMEOUT, TcpStream::connect((host, executor.grpc_port))).await {
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        Ok(Ok(_)) | Err(_) => false,
    }
}

/// Whether an executor answers calls. The system of one that is frozen accepts connections all the same, and so does a
/// network that lets bytes through one way only.
pub(super) async fn answers(executor: &ExecutorMetadata) -> bool {
    let call = async {
        let url = format!("http://{}:{}", executor.host, executor.grpc_port);
        let mut client = ExecutorGrpcClient::connect(url).await.ok()?;
        let nothing = CancelTasksParams { task_infos: Vec::new() };
        match client.cancel_tasks(nothing).await {
            Ok(_) => Some(()),
            // Whoever says so has heard the question.
            Err(status) => (status.code() == Code::Unimplemented).then_some(()),
        }
    };
    timeout(ANSWER_TIMEOUT, call).await.is_ok_and(|answer| answer.is_some())
}

/// Tells executors that take no tasks any more that nobody needs a job's rows: Ballista tells only those that do, and one
/// that is about to leave waits for it.
pub(super) async fn clear_leaving(server: &Server, job: &JobId) {
    let executors = server.state.executor_manager.get_executors_state().await.unwrap_or_default();
    let leaving = executors.into_iter().filter(|(executor, ..)| !is_active(server, &executor.id));
    let calls = leaving.map(|(executor, ..)| async move {
        let call = async {
            let url = format!("http://{}:{}", executor.host, executor.grpc_port);
            let mut client = ExecutorGrpcClient::connect(url).await.ok()?;
            let all = RemoveJobDataParams { job_id: job.to_string(), remove_stage_ids: Vec::new() };
            client.remove_job_data(all).await.ok()
        };
        if timeout(ANSWER_TIMEOUT, call).await.ok().flatten().is_none() {
            tracing::debug!(executor_id = executor.id, %job, "data of a job left behind");
        }
    });
    stream::iter(calls.collect::<Vec<_>>()).buffer_unordered(CALLS_AT_ONCE_MAX).collect::<Vec<()>>().await;
}

/// Gives up the executors that do not answer; gives whether there were any.
pub(super) async fn give_up_mute(server: &Server, reason: &str) -> bool {
    let executors = server.state.executor_manager.get_executors_state().await.unwrap_or_default();
    let looks = executors.into_iter().map(|(executor, ..)| async move { (answers(&executor).await, executor.id) });
    let looks: Vec<(bool, String)> =
        stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(CALLS_AT_ONCE_MAX).collect().await;
    let mute: Vec<String> = looks.into_iter().filter(|(answers, _)| !answers).map(|(_, id)| id).collect();
    for executor in &mute {
        give_up(server, executor, reason).await;
    }
    !mute.is_empty()
}

/// Gives no more tasks to an executor, and those that it has to others.
pub(super) async fn give_up(server: &Server, executor_id: &str, reason: &str) {
    tracing::warn!(executor_id, reason, "executor given up");
    let stopped = ExecutorStoppedParams { executor_id: executor_id.to_owned(), reason: reason.to_owned() };
    if let Err(error) = server.executor_stopped(Request::new(stopped)).await {
        tracing::error!(executor_id, %error, "executor cannot be given up");
    }
}

/// The machine of each executor that has joined, as an address without a port, by its id; none if they cannot be listed.
pub(super) async fn machines(server: &Server) -> Option<BTreeMap<String, String>> {
    let executors = server.state.executor_manager.get_executors_state().await.ok()?;
    Some(executors.into_iter().map(|(executor, ..)| (executor.id, executor.host)).collect())
}

/// Where each executor is called, as `host:port`, by its id.
pub(super) async fn hosts(server: &Server) -> BTreeMap<String, String> {
    let executors = list(server).await.unwrap_or_default();
    executors.into_iter().map(|executor| (executor.id, executor.host)).collect()
}

/// Everybody who has joined, sorted by id.
///
/// # Errors
/// - [`ErrorKind::Unavailable`]: the fleet's state cannot be read.
pub(super) async fn list(server: &Server) -> Result<Vec<ExecutorInfo>> {
    let executors = server
        .state
        .executor_manager
        .get_executors_state()
        .await
        .map_err(|error| Error::new(ErrorKind::Unavailable, "the executors cannot be listed").with_source(error))?;
    let infos = executors.into_iter().map(|(executor, seen, _)| ExecutorInfo {
        slots: executor.specification.vcores,
        slots_free: None,
        seen_us: seen.and_then(|seen| i64::try_from(seen.as_micros()).ok()),
        host: format!("{}:{}", executor.host, executor.grpc_port),
        id: executor.id,
    });
    let mut infos: Vec<ExecutorInfo> = infos.collect();
    infos.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(infos)
}

/// The executors that take tasks at this moment: where they are, and how many at once.
pub(super) async fn active(server: &Server, held: &Held) -> Vec<(String, usize)> {
    let Ok(executors) = server.state.executor_manager.get_executors_state().await else { return Vec::new() };
    let now = now();
    let takes =
        |executor: &ExecutorMetadata, seen| takes_tasks(server, &executor.id, seen, now) && !held.has(&executor.host);
    let active = executors.into_iter().filter(|(executor, seen, _)| takes(executor, *seen));
    active.map(|(executor, ..)| (executor.host, usize::try_from(executor.specification.vcores).unwrap_or(0))).collect()
}

/// Room for tasks at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) executors: usize,
    /// Of all of them together.
    pub(super) slots: usize,
}

/// How much room there is at this moment.
pub(super) async fn room(server: &Server, held: &Held) -> Room {
    let active = active(server, held).await;
    Room { executors: active.len(), slots: active.into_iter().map(|(_, slots)| slots).sum() }
}

/// Waits until an executor takes no more tasks, which it is about to say itself; gives it up if it does not.
pub(super) async fn await_leaving(server: &Server, executor_id: &str) {
    let until = Instant::now() + LEAVE_TIME_MAX;
    while Instant::now() < until {
        let Ok(executors) = server.state.executor_manager.get_executors_state().await else { return };
        let found = executors.into_iter().find(|(executor, ..)| executor.id == executor_id);
        if !found.is_some_and(|(executor, seen, _)| takes_tasks(server, &executor.id, seen, now())) {
            return;
        }
        sleep(LEAVE_LOOK).await;
    }
    give_up(server, executor_id, "it has no room on its disk").await;
}

/// This machine's clock, by which heartbeats are stamped.
fn now() -> Duration {
    Duration::from_micros(u64::try_from(SystemClock.now_us()).unwrap_or_default())
}

fn takes_tasks(server: &Server, executor_id: &str, seen: Option<Duration>, now: Duration) -> bool {
    let is_silent = seen.is_none_or(|seen| now.saturating_sub(seen) > Duration::from_secs(SILENCE_MAX_S));
    is_active(server, executor_id) && !is_silent
}

/// Whether an executor has last said that it takes tasks.
fn is_active(server: &Server, executor_id: &str) -> bool {
    let heartbeat = server.state.executor_manager.get_executor_hearbeat(executor_id);
    let status = heartbeat.and_then(|heartbeat| heartbeat.status).and_then(|status| status.status);
    matches!(status, Some(Status::Active(_)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ballista_core::serde::scheduler::{ExecutorOperatingSystemSpecification, ExecutorSpecification};
    use ballista_scheduler::{cluster::BallistaCluster, scheduler_process::create_scheduler};
    use lakewright_engine::{Engine, EngineSettings, fleet::TaskOrigin};
    use tempfile::TempDir;
    use tokio::{net::TcpListener, task::JoinSet};
    use tonic::transport::server::TcpIncoming;

    use super::*;
    use crate::fleet::scheduler_config;

    /// A scheduler without executors, and whatever must live as long.
    struct World {
        server: Server,
        engine: Engine,
        /// Executors are called here, and nobody answers: what was given to one runs for as long as the test does.
        port: TcpListener,
        _folder: TempDir,
    }

    impl World {
        async fn new() -> Self {
            let folder = TempDir::new().unwrap();
            let settings = EngineSettings {
                memory_limit_bytes: 64 << 20,
                spill_dir: folder.path().join("spill"),
                spill_limit_bytes: 1 << 20,
                target_partitions: 1,
            };
            let engine = Engine::new(settings).unwrap();
            let config = Arc::new(scheduler_config(&engine, "127.0.0.1", 0));
            let cluster = BallistaCluster::new_from_config(&config).await.unwrap();
            let server = create_scheduler(cluster, config).await.unwrap();
            let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
            Self { server, engine, port, _folder: folder }
        }

        /// Takes an executor in of which this many of two slots are free.
        async fn join(&self, id: &str, available_vcores: u32) -> ExecutorMetadata {
            self.join_at(id, available_vcores, &self.port).await
        }

        /// The same, of one that listens elsewhere.
        async fn join_at(&self, id: &str, available_vcores: u32, listener: &TcpListener) -> ExecutorMetadata {
            let port = listener.local_addr().unwrap().port();
            let executor = ExecutorMetadata {
                id: id.to_owned(),
                host: "127.0.0.1".to_owned(),
                port,
                grpc_port: port,
                specification: ExecutorSpecification::default().with_vcores(2),
                os_info: ExecutorOperatingSystemSpecification::default(),
            };
            let slots = ExecutorData { executor_id: id.to_owned(), total_vcores: 2, available_vcores };
            self.server.state.executor_manager.register_executor(executor.clone(), slots).await.unwrap();
            executor
        }

        /// Has a query of one task executed.
        async fn submit(&self) -> JobId {
            let session = self.engine.fleet_session(1, TaskOrigin::default());
            let plan = session.sql("SELECT 1 AS x").await.unwrap().create_physical_plan().await.unwrap();
            self.server.submit_physical_plan("job", Arc::new(session), plan, None).await.unwrap()
        }

        /// Waits until tasks run, or none does.
        async fn await_idle(&self, idle: bool) {
            let mut looks = interval(Duration::from_millis(5));
            let until = async {
                while is_idle(&self.server).await != idle {
                    looks.tick().await;
                }
            };
            timeout(Duration::from_secs(30), until).await.unwrap();
        }
    }

    #[tokio::test]
    async fn slots_that_nobody_gives_back_are_free_again_when_an_executor_has_gone() {
        let world = World::new().await;
        let (stays, goes) = (world.join("stays", 0).await, world.join("goes", 0).await);
        let mut recount = Recount::default();
        for _ in 0..IDLE_LOOKS * 2 {
            recount.look(&world.server, [&stays, &goes].into_iter()).await;
        }
        assert!(!recount.is_due, "nobody has gone");
        assert_eq!(recount.idle_looks, 0, "nothing waits");
        let job = world.submit().await;
        let mut looks = interval(Duration::from_millis(5));
        while world.server.state.task_manager.get_running_job_cache().get(&job).is_none() {
            looks.tick().await;
        }
        world.server.state.executor_manager.remove_executor("goes", None).await.unwrap();
        recount.look(&world.server, [&stays].into_iter()).await;
        assert!(recount.is_due && is_idle(&world.server).await, "a task may be on its way at one look");
        recount.look(&world.server, [&stays].into_iter()).await;
        assert!(!recount.is_due);
        // What has waited is offered to whoever has room, without another word of an executor.
        world.await_idle(false).await;
    }

    #[tokio::test]
    async fn slots_that_nobody_gives_back_are_free_again_when_a_job_waits_and_nothing_runs() {
        let world = World::new().await;
        let stays = world.join("stays", 0).await;
        // Whoever has cost its slots has joined and gone between two looks.
        let mut recount = Recount::default();
        let job = world.submit().await;
        let mut looks = interval(Duration::from_millis(5));
        while world.server.state.task_manager.get_running_job_cache().get(&job).is_none() {
            looks.tick().await;
        }
        for _ in 0..IDLE_LOOKS {
            recount.look(&world.server, [&stays].into_iter()).await;
        }
        world.await_idle(false).await;
    }

    #[tokio::test]
    async fn who_takes_connections_and_answers_nothing_is_given_up_and_who_answers_stays() {
        let world = World::new().await;
        let mute = world.join("mute", 2).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let well = world.join_at("well", 2, &listener).await;
        let (_, health) = tonic_health::server::health_reporter();
        let mut serving = JoinSet::new();
        let server = tonic::transport::Server::builder().add_service(health);
        serving.spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        assert!(answers(&well).await && !answers(&mute).await);
        assert!(give_up_mute(&world.server, "it does not answer").await);
        let mut looks = interval(Duration::from_millis(5));
        let given_up = async {
            while active(&world.server, &Held::default()).await.len() > 1 {
                looks.tick().await;
            }
        };
        timeout(Duration::from_secs(30), given_up).await.unwrap();
        assert!(takes_tasks(&world.server, "well", Some(now()), now()));
    }

    #[tokio::test]
    async fn slots_are_not_counted_while_a_task_runs() {
        let world = World::new().await;
        let stays = world.join("stays", 2).await;
        let mut recount = Recount { members: BTreeSet::from(["goes".to_owned()]), ..Recount::default() };
        let job = world.submit().await;
        world.await_idle(false).await;
        for _ in 0..IDLE_LOOKS * 3 {
            recount.look(&world.server, [&stays].into_iter()).await;
            assert!(recount.is_due, "the running task would give back a slot that is free already");
        }
        world.server.cancel_job(job).await.unwrap();
        world.await_idle(true).await;
        for _ in 0..IDLE_LOOKS {
            recount.look(&world.server, [&stays].into_iter()).await;
        }
        assert!(!recount.is_due);
    }
}
