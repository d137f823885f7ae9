//! Executors that get no tasks: those of machines that are about to be taken away, and those that do not answer.
//!
//! Data flow: who scales the fleet names machines -> [`Holding`] stands between Ballista and its own state of executors, and
//! leaves them out when tasks are handed out. An executor that joins is called first.
//!
//! Invariant: a machine is held by its address, so that an executor that joins again from there is held too. Nothing but
//! the handing out of tasks knows of it: what a held machine has is brought to its end.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use ballista_core::{
    JobId,
    error::{BallistaError, Result},
    serde::{
        protobuf::ExecutorHeartbeat,
        scheduler::{ExecutorData, ExecutorMetadata},
    },
};
use ballista_scheduler::{
    cluster::{BoundTask, ClusterState, ClusterStateEventStream, ExecutorSlot, memory::InMemoryClusterState},
    config::TaskDistributionPolicy,
    state::task_manager::JobInfoCache,
};

use super::members;

/// The machines that are held; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<BTreeSet<String>>>);

impl Held {
    /// Holds these machines, and no others.
    pub(super) fn set(&self, hosts: BTreeSet<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    /// Whether the machine of this address is held.
    pub(super) fn has(&self, host: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Ballista's state of executors, with held machines left out.
pub(super) struct Holding {
    executors: InMemoryClusterState,
    held: Held,
}

impl Holding {
    /// A state without executors.
    pub(super) fn new(held: Held) -> Self {
        Self { executors: InMemoryClusterState::default(), held }
    }

    /// Of `asked`, or of all, those that are not held.
    async fn at_hand(&self, asked: Option<HashSet<String>>) -> Option<HashSet<String>> {
        if self.held.is_empty() {
            return asked;
        }
        let known = self.executors.registered_executor_metadata().await;
        let free = known.into_iter().filter(|executor| !self.held.has(&executor.host)).map(|executor| executor.id);
        Some(match asked {
            Some(asked) => free.filter(|id| asked.contains(id)).collect(),
            None => free.collect(),
        })
    }
}

#[async_trait]
impl ClusterState for Holding {
    async fn init(&self) -> Result<()> {
        self.executors.init().await
    }

    async fn bind_schedulable_tasks(
        &self,
        distribution: TaskDistributionPolicy,
        active_jobs: Arc<HashMap<JobId, JobInfoCache>>,
        executors: Option<HashSet<String>>,
    ) -> Result<Vec<BoundTask>> {
        let executors = self.at_hand(executors).await;
        self.executors.bind_schedulable_tasks(distribution, active_jobs, executors).await
    }

    async fn unbind_tasks(&self, executor_slots: Vec<ExecutorSlot>) -> Result<()> {
        self.executors.unbind_tasks(executor_slots).await
    }

    async fn register_executor(&self, metadata: ExecutorMetadata, spec: ExecutorData) -> Result<()> {
        // One that is heard and hears nothing would join again with each heartbeat, and cost a step its time each time.
        if !members::answers(&metadata).await {
            let ExecutorMetadata { host, grpc_port, .. } = metadata;
            return Err(BallistaError::GrpcConnectionError(format!(
                "the executor cannot be called at {host}:{grpc_port}: it cannot join"
            )));
        }
        self.executors.register_executor(metadata, spec).await
    }

    async fn save_executor_metadata(&self, metadata: ExecutorMetadata) -> Result<()> {
        self.executors.save_executor_metadata(metadata).await
    }

    async fn get_executor_metadata(&self, executor_id: &str) -> Result<ExecutorMetadata> {
        self.executors.get_executor_metadata(executor_id).await
    }

    async fn registered_executor_metadata(&self) -> Vec<ExecutorMetadata> {
        self.executors.registered_executor_metadata().await
    }

    async fn save_executor_heartbeat(&self, heartbeat: ExecutorHeartbeat) -> Result<()> {
        self.executors.save_executor_heartbeat(heartbeat).await
    }

    async fn remove_executor(&self, executor_id: &str) -> Result<()> {
        self.executors.remove_executor(executor_id).await
    }

    fn executor_heartbeats(&self) -> HashMap<String, ExecutorHeartbeat> {
        self.executors.executor_heartbeats()
    }

    fn get_executor_heartbeat(&self, executor_id: &str) -> Option<ExecutorHeartbeat> {
        self.executors.get_executor_heartbeat(executor_id)
    }

    async fn cluster_state_events(&self) -> Result<ClusterStateEventStream> {
        self.executors.cluster_state_events().await
    }
}
