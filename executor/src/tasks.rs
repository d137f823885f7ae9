//! How a task is run: our engine's part around Ballista's.
//!
//! Data flow: a decoded plan -> [`prepare_task`] -> Ballista's stage executor -> rows for other tasks, the account of raw
//! objects, one set of counts, or an error that keeps its meaning on the way to the driver.
//!
//! Invariant: a task has succeeded only if what its scans saw is stored.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use ballista_core::{
    JobId,
    serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport},
};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::{
    common::Result as PlanResult,
    execution::TaskContext,
    physical_plan::{ExecutionPlan, metrics::MetricsSet},
    prelude::SessionConfig,
};
use lakewright_engine::{
    ScanReports,
    fleet::{
        PreparedTask, TaskBeat, TaskExecutor, carry, carry_error, prepare_task, store_reports, task_context,
        task_metrics,
    },
};

use crate::scratch::Scratch;

/// The tasks that run at this moment, by the order in which they began.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunningTasks(Arc<Mutex<Numbered>>);

#[derive(Debug, Default)]
struct Numbered {
    last: u64,
    tasks: BTreeMap<u64, RunningTask>,
}

#[derive(Clone, Debug)]
struct RunningTask {
    job: String,
    stage: usize,
    task: usize,
    plan: Arc<dyn ExecutionPlan>,
}

impl RunningTasks {
    /// What they have done so far.
    pub(crate) fn beats(&self) -> Vec<TaskBeat> {
        let tasks: Vec<RunningTask> = self.numbered().tasks.values().cloned().collect();
        tasks.iter().map(|task| TaskBeat::of(&task.job, task.stage, task.task, task.plan.as_ref())).collect()
    }

    fn enter(&self, task: RunningTask) -> Entered {
        let mut numbered = self.numbered();
        numbered.last += 1;
        let number = numbered.last;
        numbered.tasks.insert(number, task);
        drop(numbered);
        Entered { running: self.clone(), number }
    }

    fn numbered(&self) -> std::sync::MutexGuard<'_, Numbered> {
        // The map is whole between any two calls on it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that runs until this is dropped.
struct Entered {
    running: RunningTasks,
    number: u64,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.running.numbered().tasks.remove(&self.number);
    }
}

/// Runs tasks.
pub(crate) struct Tasks {
    ballista: DefaultExecutionEngine,
    executor: TaskExecutor,
    slots: usize,
    scratch: Arc<Scratch>,
    work_dir: PathBuf,
    running: RunningTasks,
}

impl Tasks {
    /// Runs tasks in `slots` at once, whose rows lie in `work_dir`; `id` is the executor's.
    pub(crate) fn new(id: &str, slots: usize, scratch: Arc<Scratch>, work_dir: PathBuf, running: RunningTasks) -> Self {
        let executor = TaskExecutor(id.to_owned());
        Self { ballista: DefaultExecutionEngine::new(), executor, slots, scratch, work_dir, running }
    }
}

impl ExecutionEngine for Tasks {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        global_output_partition_ids: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> PlanResult<Arc<dyn QueryStageExecutor>> {
        self.scratch.check(&self.work_dir).map_err(carry)?;
        let PreparedTask { plan, reports } = prepare_task(plan).map_err(carry_error)?;
        let measured = RunningTask { job: job_id.to_string(), stage: stage_id, task: task_id, plan: Arc::clone(&plan) };
        let stage = self.ballista.create_query_stage_exec(
            job_id,
            stage_id,
            task_id,
            global_output_partition_ids,
            plan,
            work_dir,
            config,
        );
        let stage = stage.map_err(carry_error)?;
        let (executor, running) = (self.executor.clone(), self.running.clone());
        Ok(Arc::new(Stage { stage, task: measured, reports, executor, slots: self.slots, running }))
    }
}

/// One task.
struct Stage {
    stage: Arc<dyn QueryStageExecutor>,
    task: RunningTask,
    reports: Vec<ScanReports>,
    executor: TaskExecutor,
    slots: usize,
    running: RunningTasks,
}

#[async_trait]
impl QueryStageExecutor for Stage {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> PlanResult<Vec<ShuffleWritePartition>> {
        let _entered = self.running.enter(self.task.clone());
        let rows = self.stage.execute_query_stage(task_id, task_context(&context, self.slots, &self.executor)).await;
        let rows = rows.map_err(carry_error)?;
        store_reports(&self.reports).await.map_err(carry)?;
        Ok(rows)
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        vec![task_metrics(self.task.plan.as_ref())]
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.stage.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> PlanResult<Vec<WindowStateReport>> {
        self.stage.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.stage.collect_column_stats()
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.stage, f)
    }
}
