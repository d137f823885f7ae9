//! What the running tasks of an executor have done so far, in the text of its heartbeats.
//!
//! Data flow: the metrics of running plans -> [`encode_beats`] -> a heartbeat of the executor -> [`decode_beats`] -> the
//! progress of a step while its tasks run.
//!
//! Invariant: a text that is not understood says nothing. Counts of a task only grow.

use datafusion::physical_plan::ExecutionPlan;
use serde::{Deserialize, Serialize};

use crate::write::{StepProgress, measure};

/// Tasks that one heartbeat tells of.
const BEATS_MAX: usize = 256;

/// What one running task has done so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskBeat {
    /// Ballista's id of the job that it is part of.
    pub job: String,
    /// The stage of that job.
    pub stage: usize,
    /// Its number in the stage.
    pub task: usize,
    rows_read: u64,
    bytes_read: u64,
    rows_written: u64,
    bytes_spilled: u64,
    /// Rows that all nodes of its plan have given: it grows also where nothing is read or written.
    pub rows_moved: u64,
}

impl TaskBeat {
    /// Looks at the plan of a running task.
    #[must_use]
    pub fn of(job: &str, stage: usize, task: usize, plan: &dyn ExecutionPlan) -> Self {
        let StepProgress { rows_read, bytes_read, rows_written, bytes_spilled } = measure(plan);
        let rows_moved = rows_moved(plan);
        Self { job: job.to_owned(), stage, task, rows_read, bytes_read, rows_written, bytes_spilled, rows_moved }
    }

    /// The counts as a step shows them.
    #[must_use]
    pub fn progress(&self) -> StepProgress {
        let Self { rows_read, bytes_read, rows_written, bytes_spilled, .. } = *self;
        StepProgress { rows_read, bytes_read, rows_written, bytes_spilled }
    }
}

fn rows_moved(plan: &dyn ExecutionPlan) -> u64 {
    let own = plan.metrics().and_then(|metrics| metrics.output_rows()).map_or(0, |rows| rows as u64);
    plan.children().into_iter().fold(own, |sum, child| sum.saturating_add(rows_moved(child.as_ref())))
}

/// Writes what running tasks have done.
#[must_use]
pub fn encode_beats(beats: &[TaskBeat]) -> String {
    let told = beats.get(..BEATS_MAX).unwrap_or(beats);
    // Numbers and texts always have a JSON form.
    serde_json::to_string(told).unwrap_or_default()
}

/// Reads what running tasks have done; nothing from a text of another kind.
#[must_use]
pub fn decode_beats(text: &str) -> Vec<TaskBeat> {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::{arrow::datatypes::Schema, physical_plan::empty::EmptyExec};

    use super::*;

    #[test]
    fn what_tasks_have_done_reads_back_and_other_text_says_nothing() {
        let plan = EmptyExec::new(Arc::new(Schema::empty()));
        let beats: Vec<TaskBeat> = (0..300).map(|task| TaskBeat::of("job", 2, task, &plan)).collect();
        let read = decode_beats(&encode_beats(&beats));
        assert_eq!(read, beats[..BEATS_MAX]);
        assert_eq!(decode_beats(""), []);
        assert_eq!(decode_beats("{\"a\": 1}"), []);
    }
}
