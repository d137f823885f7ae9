//! What a task counts, in the few numbers that travel.
//!
//! Data flow: the metrics of a task's plan -> [`task_metrics`] -> Ballista's status of the task -> [`progress_of`].
//!
//! Invariant: one set a task, whatever its plan is. Ballista refuses the status of a task whose number of sets is another
//! than that of the stage's first task, and plans of one stage may differ: a task that has nothing of a branch has another
//! node in its place.

use std::sync::Arc;

use datafusion::physical_plan::{
    ExecutionPlan,
    metrics::{Count, Metric, MetricValue, MetricsSet},
};

use crate::write::{StepProgress, measure};

const ROWS_READ: &str = "lakewright_rows_read";
const BYTES_READ: &str = "lakewright_bytes_read";
const ROWS_WRITTEN: &str = "lakewright_rows_written";
const BYTES_SPILLED: &str = "lakewright_bytes_spilled";

/// The counts of a task as one set of metrics.
#[must_use]
pub fn task_metrics(plan: &dyn ExecutionPlan) -> MetricsSet {
    let progress = measure(plan);
    let mut metrics = MetricsSet::new();
    for (name, value) in [
        (ROWS_READ, progress.rows_read),
        (BYTES_READ, progress.bytes_read),
        (ROWS_WRITTEN, progress.rows_written),
        (BYTES_SPILLED, progress.bytes_spilled),
    ] {
        let count = Count::new();
        count.add(usize::try_from(value).unwrap_or(usize::MAX));
        // The first partition of the task: Ballista replaces what an earlier attempt at it has counted.
        metrics.push(Arc::new(Metric::new(MetricValue::Count { name: name.into(), count }, Some(0))));
    }
    metrics
}

/// The counts in the metrics of a stage.
#[must_use]
pub fn progress_of(metrics: &[MetricsSet]) -> StepProgress {
    let sum = |name: &str| -> u64 {
        metrics.iter().map(|set| set.sum_by_name(name).map_or(0, |value| value.as_usize() as u64)).sum()
    };
    StepProgress {
        rows_read: sum(ROWS_READ),
        bytes_read: sum(BYTES_READ),
        rows_written: sum(ROWS_WRITTEN),
        bytes_spilled: sum(BYTES_SPILLED),
    }
}
