//! What checks came to in the documents that `--json` prints.
//!
//! Invariant: that of [`super::json`].

use lakewright_lake::state::CheckRecord;
use lakewright_scheduler::{CheckHistory, EarlierCheck, PlannedCheck};
use serde::Serialize;

/// What one check came to.
#[derive(Debug, Serialize)]
pub(crate) struct CheckResultDocument {
    name: String,
    rule: String,
    on_violation: String,
    rows_checked: Option<u64>,
    violations: u64,
    detail: Option<String>,
    sample: Option<String>,
    before: Option<EarlierDocument>,
}

/// What it came to in an earlier run.
#[derive(Debug, Serialize)]
pub(crate) struct EarlierDocument {
    run_id: String,
    rows_checked: Option<u64>,
    violations: u64,
}

impl EarlierDocument {
    fn new(earlier: &EarlierCheck) -> Self {
        let EarlierCheck { run_id, record } = earlier;
        Self { run_id: run_id.clone(), rows_checked: record.rows, violations: record.violations }
    }
}

impl CheckResultDocument {
    /// The documents of a table's checks.
    pub(crate) fn all(table: &str, records: &[CheckRecord], history: &CheckHistory) -> Vec<Self> {
        let document = |record: &CheckRecord| Self {
            name: record.name.clone(),
            rule: record.rule.clone(),
            on_violation: record.on_violation.clone(),
            rows_checked: record.rows,
            violations: record.violations,
            detail: record.detail.clone(),
            sample: record.sample.clone(),
            before: history.last(table, &record.name).map(EarlierDocument::new),
        };
        records.iter().map(document).collect()
    }
}

/// One check that a run would ask.
#[derive(Debug, Serialize)]
pub(crate) struct PlannedCheckDocument {
    name: String,
    rule: String,
    on_violation: String,
    last: Option<EarlierDocument>,
}

impl PlannedCheckDocument {
    /// The documents of a model's checks.
    pub(crate) fn all(checks: &[PlannedCheck]) -> Vec<Self> {
        let document = |check: &PlannedCheck| Self {
            name: check.name.clone(),
            rule: check.rule.clone(),
            on_violation: check.on_violation.clone(),
            last: check.last.as_ref().map(EarlierDocument::new),
        };
        checks.iter().map(document).collect()
    }
}
