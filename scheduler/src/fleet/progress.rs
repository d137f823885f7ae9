//! How far a job is, and whether it still gets on.
//!
//! Data flow: the graph of a job and the heartbeats of executors, looked at while it runs -> [`Pulse`] -> the counts that
//! are shown, and the moment from which it is taken for stuck.
//!
//! Invariant: a task that reads, writes, spills or moves rows is not stuck, and neither is a job of which tasks begin and
//! end. Who is blamed was running at that moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ballista_core::serde::protobuf::{executor_status, task_status};
use ballista_scheduler::state::{
    execution_graph::ExecutionGraphBox,
    execution_stage::{ExecutionStage, TaskInfo},
};
use lakewright_engine::{
    StepProgress,
    fleet::{TaskBeat, decode_beats, progress_of},
};
use lakewright_error::{Error, ErrorKind};
use lakewright_lake::state::TaskTimes;
use tokio::time::Instant;

use super::Server;

/// One task: its stage, and its number in it.
type TaskId = (usize, usize);

/// Running tasks that an error names.
const NAMED_MAX: usize = 3;

/// A task that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Running {
    executor: String,
    partitions: Vec<usize>,
}

/// What was seen of a job at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    counts: StepProgress,
    rows_moved: u64,
    ended: usize,
    running: BTreeMap<TaskId, Running>,
}

/// Whether a job gets on.
#[derive(Debug)]
pub(super) struct Pulse {
    stall_max: Duration,
    seen: Seen,
    since: Instant,
    /// The last word of each running task: Ballista's own heartbeats, which say nothing of tasks, come in between.
    beats: BTreeMap<TaskId, TaskBeat>,
}

/// A job that does not get on.
#[derive(Debug)]
pub(super) struct Stuck {
    /// Why it is given up: names executors and tasks.
    pub(super) error: Error,
    /// The executors that ran its tasks.
    pub(super) executors: BTreeSet<String>,
}

impl Pulse {
    /// A job that has just begun, and is given up after so long without a sign of life.
    pub(super) fn new(stall_max: Duration, now: Instant) -> Self {
        Self { stall_max, seen: Seen::default(), since: now, beats: BTreeMap::new() }
    }

    /// Takes a look; gives the counts to show.
    pub(super) fn look(&mut self, server: &Server, job: &str, graph: &ExecutionGraphBox, now: Instant) -> StepProgress {
        let mut seen = Seen { counts: counts_of(graph), ..Seen::default() };
        for (stage, task) in tasks_of(graph) {
            match &task.task_status {
                task_status::Status::Running(running) => {
                    let partitions = task.global_input_partition_ids.clone();
                    let running = Running { executor: running.executor_id.clone(), partitions };
                    seen.running.insert((stage, task.task_id), running);
                }
                task_status::Status::Successful(_) | task_status::Status::Failed(_) => seen.ended += 1,
            }
        }
        let executors: BTreeSet<&str> = seen.running.values().map(|running| running.executor.as_str()).collect();
        let texts = executors.into_iter().filter_map(|executor| {
            let heartbeat = server.state.executor_manager.get_executor_hearbeat(executor)?;
            match heartbeat.status?.status? {
                executor_status::Status::Active(text) if !text.is_empty() => Some(text),
                _ => None,
            }
        });
        self.hear(texts.collect(), job, seen, now)
    }

    /// Adds what running tasks have said to what was seen.
    fn hear(&mut self, texts: Vec<String>, job: &str, mut seen: Seen, now: Instant) -> StepProgress {
        self.beats.retain(|task, _| seen.running.contains_key(task));
        for beat in texts.iter().flat_map(|text| decode_beats(text)).filter(|beat| beat.job == job) {
            let task = (beat.stage, beat.task);
            if seen.running.contains_key(&task) {
                self.beats.insert(task, beat);
            }
        }
        for beat in self.beats.values() {
            seen.counts.add(&beat.progress());
            seen.rows_moved = seen.rows_moved.saturating_add(beat.rows_moved);
        }
        if seen != self.seen {
            (self.seen, self.since) = (seen, now);
        }
        self.seen.counts
    }

    /// Whether none of the job's tasks was running when it was last looked at.
    pub(super) fn waits(&self) -> bool {
        self.seen.running.is_empty()
    }

    /// Takes note that the job waits for others, whose tasks run.
    pub(super) fn gives_way(&mut self, now: Instant) {
        self.since = now;
    }

    /// Why the job is to be given up, if it is.
    pub(super) fn stuck(&self, now: Instant, host_of: impl Fn(&str) -> String) -> Option<Stuck> {
        if now.duration_since(self.since) < self.stall_max {
            return None;
        }
        let seconds = self.stall_max.as_secs();
        let mut error = Error::new(ErrorKind::Unavailable, format!("a step has made no progress for {seconds} s"))
            .with_hint("the executor's log says what it does; the setting stall_timeout says how long a step may take");
        for ((stage, task), running) in self.seen.running.iter().take(NAMED_MAX) {
            let partitions: Vec<String> = running.partitions.iter().map(ToString::to_string).collect();
            error = error
                .with("executor", host_of(&running.executor))
                .with("task", format!("{task} of stage {stage} (partition {})", partitions.join(" ")));
        }
        if self.seen.running.is_empty() {
            error = error.with("task", "none is running: they wait for executors");
        }
        let executors = self.seen.running.values().map(|running| running.executor.clone()).collect();
        Some(Stuck { error, executors })
    }
}

/// The tasks of a job that have begun, with their stages; those of stages that were taken back are not among them.
pub(super) fn tasks_of(graph: &ExecutionGraphBox) -> impl Iterator<Item = (usize, &TaskInfo)> {
    graph.stages().iter().flat_map(|(stage_id, stage)| {
        let tasks: &[TaskInfo] = match stage {
            ExecutionStage::Running(stage) => &stage.task_infos,
            ExecutionStage::Successful(stage) => &stage.task_infos,
            _ => &[],
        };
        tasks.iter().map(|task| (*stage_id, task))
    })
}

fn counts_of(graph: &ExecutionGraphBox) -> StepProgress {
    let mut counts = StepProgress::default();
    for stage in graph.stages().values() {
        match stage {
            ExecutionStage::Running(stage) => {
                counts.add(&stage.stage_metrics.as_deref().map(progress_of).unwrap_or_default());
            }
            ExecutionStage::Successful(stage) => counts.add(&progress_of(&stage.stage_metrics)),
            _ => {}
        }
    }
    counts
}

/// The times of the tasks of the stage whose slowest task took longest.
pub(super) fn task_times(graph: &ExecutionGraphBox, host_of: impl Fn(&str) -> String) -> Option<TaskTimes> {
    let mut stages: BTreeMap<usize, Vec<(u64, String)>> = BTreeMap::new();
    for (stage, task) in tasks_of(graph) {
        let task_status::Status::Successful(done) = &task.task_status else { continue };
        let took_ms = task.end_exec_time.saturating_sub(task.start_exec_time);
        let took_us = u64::try_from(took_ms.saturating_mul(1000)).unwrap_or(u64::MAX);
        stages.entry(stage).or_default().push((took_us, done.executor_id.clone()));
    }
    let mut slowest = stages.into_values().max_by_key(|tasks| tasks.iter().map(|(took_us, _)| *took_us).max())?;
    slowest.sort();
    let median_us = slowest.get(slowest.len() / 2)?.0;
    let (slowest_us, executor) = slowest.last()?;
    let slowest_on = host_of(executor);
    Some(TaskTimes { tasks: slowest.len() as u64, slowest_us: *slowest_us, median_us, slowest_on })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(10);

    fn seen(ended: usize, running: &[(TaskId, &str)]) -> Seen {
        let running = running
            .iter()
            .map(|(task, executor)| (*task, Running { executor: (*executor).to_owned(), partitions: vec![task.1] }));
        Seen { ended, running: running.collect(), ..Seen::default() }
    }

    fn beat(task: usize, rows_moved: u64) -> String {
        format!(
            "[{{\"job\":\"j\",\"stage\":1,\"task\":{task},\"rows_read\":{rows_moved},\"bytes_read\":0,\"rows_written\":0,\
             \"bytes_spilled\":0,\"rows_moved\":{rows_moved}}}]"
        )
    }

    fn host(id: &str) -> String {
        format!("host of {id}")
    }

    #[test]
    fn a_job_whose_tasks_move_rows_is_not_stuck_and_one_without_a_sign_is_named() {
        let begun = Instant::now();
        let mut pulse = Pulse::new(STALL, begun);
        let running = [((1, 0), "a")];
        for second in 0..30 {
            let now = begun + Duration::from_secs(second);
            // Ballista's own heartbeats say nothing.
            let texts = if second % 2 == 0 { vec![beat(0, second)] } else { Vec::new() };
            let counts = pulse.hear(texts, "j", seen(0, &running), now);
            assert_eq!(counts.rows_read, second - second % 2);
            assert!(pulse.stuck(now, host).is_none(), "{second}");
        }
        let stuck = pulse.stuck(begun + Duration::from_secs(28) + STALL, host).unwrap();
        assert_eq!(stuck.executors, BTreeSet::from(["a".to_owned()]));
        let text = stuck.error.to_string();
        assert!(text.contains("host of a") && text.contains("task 0 of stage 1"), "{text}");
    }

    #[test]
    fn tasks_that_begin_or_end_are_progress_and_what_ended_tasks_said_counts_no_more() {
        let begun = Instant::now();
        let mut pulse = Pulse::new(STALL, begun);
        pulse.hear(vec![beat(0, 5)], "j", seen(0, &[((1, 0), "a"), ((1, 1), "a")]), begun);
        let later = begun + STALL - Duration::from_millis(1);
        let counts = pulse.hear(vec![beat(0, 5)], "j", seen(1, &[((1, 1), "a")]), later);
        assert_eq!(counts.rows_read, 0, "a task that has ended is counted by its metrics");
        assert!(pulse.stuck(begun + STALL, host).is_none());
        assert!(pulse.stuck(later + STALL, host).is_some());
        let mut pulse = Pulse::new(STALL, begun);
        let waiting = pulse.stuck(begun + STALL, host).unwrap();
        assert!(waiting.error.to_string().contains("wait for executors"), "{}", waiting.error);
        pulse.gives_way(begun + STALL);
        assert!(pulse.waits() && pulse.stuck(begun + STALL, host).is_none(), "others run");
    }
}
