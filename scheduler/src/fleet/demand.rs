//! How much a fleet has to do, and whether a machine of it is needed.
//!
//! Data flow: the graphs of running jobs and the executors that have joined -> [`Demand`] -> [`crate::scaling`].
//!
//! Invariant: a machine is free only if nothing runs there and nobody may ask for rows that lie there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};

use async_trait::async_trait;
use ballista_core::serde::protobuf::task_status::Status;
use ballista_scheduler::state::execution_graph::ExecutionGraphBox;

use super::{Fleet, members, progress::tasks_of};
use crate::scaling::{Demand, Work};

#[async_trait]
impl Work for Fleet {
    async fn demand(&self) -> Demand {
        let mut demand = Demand { executors: members::active(&self.server, &self.held).await, ..Demand::default() };
        for job in self.server.state.task_manager.get_running_job_cache().values() {
            let graph = job.execution_graph.read().await;
            demand.slots_waited_for += graph.available_tasks();
            for (_, task) in tasks_of(&graph) {
                if matches!(task.task_status, Status::Running(_)) {
                    demand.slots_busy += usize::try_from(task.vcores_consumed).unwrap_or(0);
                }
            }
        }
        // A step that waits for a first executor has no tasks as yet.
        demand.slots_waited_for += self.steps_waiting.load(Ordering::Relaxed);
        demand
    }

    async fn hold(&self, hosts: BTreeSet<String>) {
        self.held.set(hosts);
        // Whoever is held no more may have room for tasks that wait.
        if let Some(executor) = members::hosts(&self.server).await.into_keys().next() {
            members::offer_tasks(&self.server, &executor).await;
        }
    }

    async fn is_free(&self, hosts: &BTreeSet<String>) -> bool {
        // Nobody is free of whom it cannot be said where they are.
        let Some(mut there) = members::machines(&self.server).await else { return false };
        there.retain(|_, host| hosts.contains(host));
        let running = self.server.state.task_manager.get_running_job_cache();
        for job in running.values() {
            let graph = job.execution_graph.read().await;
            if has_tasks(&graph, &there) {
                return false;
            }
        }
        // Of a job that has ended, the rows of its last stage lie where they are until they have been fetched.
        for job in self.awaited.jobs().iter().filter(|job| !running.contains_key(*job)) {
            match self.jobs.get_execution_graph(job).await {
                Ok(Some(graph)) if !has_tasks(&graph, &there) => {}
                // One that is about to begin, or of which nothing is known: the next look tells.
                _ => return false,
            }
        }
        true
    }
}

/// Whether tasks of a job run on these executors, or rows of it lie there.
fn has_tasks(graph: &ExecutionGraphBox, executors: &BTreeMap<String, String>) -> bool {
    tasks_of(graph).any(|(_, task)| match &task.task_status {
        Status::Running(running) => executors.contains_key(&running.executor_id),
        Status::Successful(done) => executors.contains_key(&done.executor_id),
        Status::Failed(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use ballista_core::{
        JobId,
        serde::{
            protobuf::{
                CancelTasksParams, CancelTasksResult, LaunchMultiTaskParams, LaunchMultiTaskResult, LaunchTaskParams,
                LaunchTaskResult, RemoveJobDataParams, RemoveJobDataResult, StopExecutorParams, StopExecutorResult,
                executor_grpc_server::{ExecutorGrpc, ExecutorGrpcServer},
            },
            scheduler::{ExecutorData, ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification},
        },
    };
    use lakewright_engine::{
        Engine, EngineSettings,
        fleet::{LocalFiles, TaskOrigin},
    };
    use lakewright_lake::Prefix;
    use tempfile::TempDir;
    use tokio::{
        net::TcpListener,
        task::JoinSet,
        time::{interval, timeout},
    };
    use tonic::{Request, Response, Status, transport::server::TcpIncoming};

    use super::*;
    use crate::fleet::FleetSettings;

    /// Takes all tasks and never ends one.
    struct Endless;

    #[async_trait]
    impl ExecutorGrpc for Endless {
        async fn launch_task(&self, _: Request<LaunchTaskParams>) -> Result<Response<LaunchTaskResult>, Status> {
            Ok(Response::new(LaunchTaskResult { success: true }))
        }

        async fn launch_multi_task(
            &self,
            _: Request<LaunchMultiTaskParams>,
        ) -> Result<Response<LaunchMultiTaskResult>, Status> {
            Ok(Response::new(LaunchMultiTaskResult::default()))
        }

        async fn stop_executor(&self, _: Request<StopExecutorParams>) -> Result<Response<StopExecutorResult>, Status> {
            Ok(Response::new(StopExecutorResult::default()))
        }

        async fn cancel_tasks(&self, _: Request<CancelTasksParams>) -> Result<Response<CancelTasksResult>, Status> {
            Ok(Response::new(CancelTasksResult { cancelled: true }))
        }

        async fn remove_job_data(
            &self,
            _: Request<RemoveJobDataParams>,
        ) -> Result<Response<RemoveJobDataResult>, Status> {
            Ok(Response::new(RemoveJobDataResult::default()))
        }
    }

    /// A fleet whose executors run what they are given for as long as the test does.
    struct World {
        fleet: Fleet,
        engine: Engine,
        port: u16,
        _serving: JoinSet<Result<(), tonic::transport::Error>>,
        _folder: TempDir,
    }

    fn hosts(hosts: &[&str]) -> BTreeSet<String> {
        hosts.iter().map(|host| (*host).to_owned()).collect()
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
            let lake = Prefix::open(folder.path().join("lake").to_str().unwrap()).unwrap();
            let settings = FleetSettings {
                lake,
                engine: engine.clone(),
                listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
                host: None,
                local: LocalFiles::Shared,
                patience: Duration::from_secs(1),
                stall_max: Duration::from_secs(60),
                single_executor_bytes: 0,
            };
            let fleet = Fleet::start(settings).await.unwrap();
            // One server for all addresses of this machine that executors have.
            let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut serving = JoinSet::new();
            let server = tonic::transport::Server::builder().add_service(ExecutorGrpcServer::new(Endless));
            serving.spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
            let world = Self { fleet, engine, port, _serving: serving, _folder: folder };
            for number in [1, 2] {
                world.join(&format!("e{number}"), &format!("127.0.0.{number}")).await;
            }
            world
        }

        async fn join(&self, id: &str, host: &str) {
            let executor = ExecutorMetadata {
                id: id.to_owned(),
                host: host.to_owned(),
                port: self.port,
                grpc_port: self.port,
                specification: ExecutorSpecification::default().with_vcores(1),
                os_info: ExecutorOperatingSystemSpecification::default(),
            };
            let slots = ExecutorData { executor_id: id.to_owned(), total_vcores: 1, available_vcores: 1 };
            self.fleet.server.state.executor_manager.register_executor(executor, slots).await.unwrap();
        }

        /// Has a query of one task executed.
        async fn submit(&self) -> JobId {
            let session = self.engine.fleet_session(1, TaskOrigin::default());
            let plan = session.sql("SELECT 1 AS x").await.unwrap().create_physical_plan().await.unwrap();
            self.fleet.server.submit_physical_plan("job", Arc::new(session), plan, None).await.unwrap()
        }

        /// Waits until tasks run and wait in so many slots.
        async fn await_slots(&self, busy: usize, waited_for: usize) {
            let mut looks = interval(Duration::from_millis(5));
            let until = async {
                loop {
                    let demand = self.fleet.demand().await;
                    if (demand.slots_busy, demand.slots_waited_for) == (busy, waited_for) {
                        return;
                    }
                    looks.tick().await;
                }
            };
            timeout(Duration::from_secs(30), until).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_machine_with_a_task_is_not_free_and_one_that_is_held_gets_none() {
        let world = World::new().await;
        assert!(world.fleet.is_free(&hosts(&["127.0.0.1", "127.0.0.2"])).await);
        world.fleet.hold(hosts(&["127.0.0.2"])).await;
        let first = world.submit().await;
        world.await_slots(1, 0).await;
        world.submit().await;
        world.await_slots(1, 1).await;
        assert!(!world.fleet.is_free(&hosts(&["127.0.0.1"])).await);
        assert!(!world.fleet.is_free(&hosts(&["127.0.0.1", "127.0.0.2"])).await, "one of both works");
        assert!(world.fleet.is_free(&hosts(&["127.0.0.2"])).await, "what waits is not given to a held machine");
        world.fleet.hold(BTreeSet::new()).await;
        world.await_slots(2, 0).await;
        assert!(!world.fleet.is_free(&hosts(&["127.0.0.2"])).await, "held no more, it works without another word");
        world.fleet.server.cancel_job(first).await.unwrap();
        world.await_slots(1, 0).await;
        assert!(world.fleet.is_free(&hosts(&["127.0.0.1"])).await);
    }

    #[tokio::test]
    async fn nobody_is_free_while_a_step_waits_for_rows_of_which_nothing_is_known() {
        let world = World::new().await;
        let waiting = world.fleet.awaited.begin(JobId::from("j"));
        assert!(!world.fleet.is_free(&hosts(&["127.0.0.1"])).await);
        drop(waiting);
        assert!(world.fleet.is_free(&hosts(&["127.0.0.1"])).await);
    }
}
