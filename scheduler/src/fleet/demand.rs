//! How much a fleet has to do, and whether a machine of it is needed.
//!
//! Data flow: the graphs of running jobs and the executors that have joined -> [`Demand`] -> [`crate::scaling`].
//!
//! Invariant: a machine is free only if nothing runs there and no running job may ask for rows that lie there.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use async_trait::async_trait;
use ballista_core::serde::protobuf::task_status::Status;

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
        let of_hosts = members::hosts(&self.server).await;
        let is_there = |executor: &str| of_hosts.get(executor).is_some_and(|host| hosts.contains(host));
        for job in self.server.state.task_manager.get_running_job_cache().values() {
            let graph = job.execution_graph.read().await;
            let is_needed = tasks_of(&graph).any(|(_, task)| match &task.task_status {
                Status::Running(running) => is_there(&running.executor_id),
                Status::Successful(done) => is_there(&done.executor_id),
                Status::Failed(_) => false,
            });
            if is_needed {
                return false;
            }
        }
        true
    }
}
