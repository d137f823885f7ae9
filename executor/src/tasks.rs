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
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ballista_core::{
    JobId,
    serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport},
};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::{
    common::{DataFusionError, Result as PlanResult},
    execution::TaskContext,
    physical_plan::{ExecutionPlan, metrics::MetricsSet},
    prelude::SessionConfig,
};
use lakewright_engine::{
    CollectedLog, ScanReports, StepProgress,
    fleet::{
        PreparedTask, TaskBeat, TaskExecutor, TaskOrigin, carried_error, carry, carry_error, carry_task_error,
        executor_without_room, prepare_task, store_reports, task_context, task_metrics, without_room,
    },
};
use lakewright_error::Error;
use tracing::{Instrument, Span};

use crate::{chain, logs::RunLogs, scratch::Scratch};

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

impl RunningTask {
    fn beat(&self) -> TaskBeat {
        TaskBeat::of(&self.job, self.stage, self.task, self.plan.as_ref())
    }
}

impl RunningTasks {
    /// What they have done so far.
    pub(crate) fn beats(&self) -> Vec<TaskBeat> {
        let tasks: Vec<RunningTask> = self.numbered().tasks.values().cloned().collect();
        tasks.iter().map(RunningTask::beat).collect()
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

/// Who runs tasks: one membership of a fleet.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its id in the fleet.
    pub(crate) id: String,
    /// `host:port`, as the fleet names it.
    pub(crate) place: String,
    /// Tasks at once.
    pub(crate) slots: usize,
    pub(crate) scratch: Arc<Scratch>,
    /// Where the rows of tasks lie.
    pub(crate) work_dir: PathBuf,
    pub(crate) logs: Arc<RunLogs>,
}

/// Runs tasks.
pub(crate) struct Tasks {
    ballista: DefaultExecutionEngine,
    member: Arc<Member>,
    running: RunningTasks,
}

impl Tasks {
    /// Runs tasks of a member.
    pub(crate) fn new(member: Member, running: RunningTasks) -> Self {
        Self { ballista: DefaultExecutionEngine::new(), member: Arc::new(member), running }
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
        let log = TaskLog::begin(&self.member, config, stage_id, task_id);
        let refused = |error| log.failed(error);
        let room = self.member.scratch.check(&self.member.work_dir);
        room.map_err(|error| refused(carry(self.member.has_no_room(error))))?;
        let PreparedTask { plan, reports } = prepare_task(plan).map_err(|error| refused(carry_error(error)))?;
        let task = RunningTask { job: job_id.to_string(), stage: stage_id, task: task_id, plan: Arc::clone(&plan) };
        let stage = self.ballista.create_query_stage_exec(
            job_id,
            stage_id,
            task_id,
            global_output_partition_ids,
            plan,
            work_dir,
            config,
        );
        let stage = stage.map_err(|error| refused(carry_error(error)))?;
        let (member, running) = (Arc::clone(&self.member), self.running.clone());
        Ok(Arc::new(Stage { stage, task, reports, member, running, log }))
    }
}

impl Member {
    /// Leaves the fleet soon, and says whose disk the error is about.
    fn has_no_room(&self, error: Error) -> Error {
        self.scratch.has_no_room();
        without_room(error, &self.id)
    }
}

/// Where the events of a task go.
struct TaskLog {
    span: Span,
    /// Collects the run's events for as long as the task lives.
    _run: Option<Arc<CollectedLog>>,
}

impl TaskLog {
    fn begin(member: &Member, config: &SessionConfig, stage: usize, task: usize) -> Self {
        let Some(origin) = TaskOrigin::of(config) else { return Self { span: Span::none(), _run: None } };
        let run = member.logs.of(origin);
        let (run_id, step, executor) = (origin.run_id.as_str(), origin.step.as_str(), member.place.as_str());
        Self { span: tracing::info_span!("task", run_id, step, executor, stage, task), _run: run }
    }

    fn ended(&self, done: &StepProgress, took: Duration) {
        let StepProgress { rows_read, bytes_read, rows_written, bytes_spilled } = *done;
        let took_s = took.as_secs_f64();
        self.span
            .in_scope(|| tracing::debug!(rows_read, bytes_read, rows_written, bytes_spilled, took_s, "task ended"));
    }

    /// Takes note of the error as it will be told to the driver.
    fn failed(&self, error: DataFusionError) -> DataFusionError {
        let text = error.to_string();
        let error_text = carried_error(&text).map_or(text, |error| chain(&error));
        self.span.in_scope(|| tracing::warn!(error = error_text, "task failed"));
        error
    }
}

/// One task.
struct Stage {
    stage: Arc<dyn QueryStageExecutor>,
    task: RunningTask,
    reports: Vec<ScanReports>,
    member: Arc<Member>,
    running: RunningTasks,
    log: TaskLog,
}

impl Stage {
    async fn execute(&self, task_id: usize, context: Arc<TaskContext>) -> PlanResult<Vec<ShuffleWritePartition>> {
        let rows = self
            .stage
            .execute_query_stage(
                task_id,
                task_context(&context, self.member.slots, &TaskExecutor(self.member.id.clone())),
            )
            .await;
        let rows = rows.map_err(|error| {
            let error = carry_task_error(error, &self.member.id);
            if carried_error(&error.to_string()).is_some_and(|error| executor_without_room(&error).is_some()) {
                self.member.scratch.has_no_room();
            }
            error
        })?;
        store_reports(&self.reports).await.map_err(carry)?;
        Ok(rows)
    }
}

#[async_trait]
impl QueryStageExecutor for Stage {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> PlanResult<Vec<ShuffleWritePartition>> {
        let _entered = self.running.enter(self.task.clone());
        let begun = Instant::now();
        let rows = self.execute(task_id, context).instrument(self.log.span.clone()).await;
        if rows.is_ok() {
            self.log.ended(&self.task.beat().progress(), begun.elapsed());
        }
        rows.map_err(|error| self.log.failed(error))
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
