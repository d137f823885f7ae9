//! How far a running step is, read from the metrics of its plan.

use datafusion::{
    datasource::source::DataSourceExec,
    physical_plan::{ExecutionPlan, metrics::MetricsSet},
};

use crate::json::BYTES_READ_METRIC;

/// The metric that counts rows handed to the writers.
pub(super) const ROWS_WRITTEN_METRIC: &str = "rows_written";

/// Live counts of a running step; every field only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepProgress {
    /// Rows that scans gave.
    pub rows_read: u64,
    /// Bytes that scans read.
    pub bytes_read: u64,
    /// Rows handed to the writers.
    pub rows_written: u64,
    /// Bytes spilled to disk.
    pub bytes_spilled: u64,
}

impl StepProgress {
    /// Adds the counts of another part of the step.
    pub fn add(&mut self, other: &Self) {
        self.rows_read += other.rows_read;
        self.bytes_read += other.bytes_read;
        self.rows_written += other.rows_written;
        self.bytes_spilled += other.bytes_spilled;
    }
}

/// Sums the metrics of all nodes.
pub(crate) fn measure(plan: &dyn ExecutionPlan) -> StepProgress {
    let mut progress = StepProgress::default();
    add(plan, &mut progress);
    progress
}

fn add(plan: &dyn ExecutionPlan, progress: &mut StepProgress) {
    let children = plan.children();
    if let Some(metrics) = plan.metrics() {
        progress.bytes_spilled += metrics.spilled_bytes().map_or(0, |bytes| bytes as u64);
        progress.rows_written += named(&metrics, ROWS_WRITTEN_METRIC);
        // A shuffle that is read in another stage has no such metric, and its rows were counted where they were scanned.
        if children.is_empty() && plan.name() == DataSourceExec::static_name() {
            progress.rows_read += metrics.output_rows().map_or(0, |rows| rows as u64);
            progress.bytes_read += named(&metrics, BYTES_READ_METRIC);
        }
    }
    for child in children {
        add(child.as_ref(), progress);
    }
}

fn named(metrics: &MetricsSet, name: &str) -> u64 {
    metrics.sum_by_name(name).map_or(0, |value| value.as_usize() as u64)
}
