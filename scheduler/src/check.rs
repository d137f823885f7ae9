//! What checks have come to in earlier runs, and the rows that a run's checks have kept.
//!
//! Invariant: reads only. What is gone, because a run was cleaned up, is left out.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use lakewright_error::Result;
use lakewright_lake::{
    Prefix, layout,
    state::{CheckRecord, Done, JobSlot, RunChecks, decode_rows, list_numbers, read_object},
};
use serde::{Deserialize, Serialize};

use crate::run::retrying;

/// Runs looked back at.
const RUNS_BACK_MAX: usize = 24;
/// Objects read at once.
const READS_MAX: usize = 8;

/// What one check came to in an earlier run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierCheck {
    /// The run.
    pub run_id: String,
    /// What it came to.
    pub record: CheckRecord,
}

/// What checks came to in the last runs in which they were asked.
#[derive(Clone, Debug, Default)]
pub struct CheckHistory(BTreeMap<(String, String), EarlierCheck>);

impl CheckHistory {
    /// What a check of a table, as `zone.table`, last came to; `None` if it was not asked lately.
    #[must_use]
    pub fn last(&self, table: &str, check: &str) -> Option<&EarlierCheck> {
        self.0.get(&(table.to_owned(), check.to_owned()))
    }
}

/// Reads what the checks of a job came to in its last runs, before the one with the number `before` if it is given.
///
/// # Errors
/// - [`lakewright_error::ErrorKind::Corrupt`]: a state object does not parse.
/// - [`lakewright_error::ErrorKind::Unavailable`]: the store did not answer.
pub async fn check_history(lake: &Prefix, job: &str, before: Option<u64>) -> Result<CheckHistory> {
    let dir = layout::job_slots_dir(job);
    let numbers = retrying(|| list_numbers(lake, &dir)).await?;
    let earlier = numbers.into_iter().rev().filter(|number| before.is_none_or(|before| *number < before));
    let reads = earlier.take(RUNS_BACK_MAX).map(|number| async move {
        let key = layout::job_slot(job, number);
        let Some(slot) = retrying(|| read_object::<JobSlot>(lake, &key)).await? else { return Ok(None) };
        let key = layout::done(&slot.run_id);
        let done = retrying(|| read_object::<Done>(lake, &key)).await?;
        Ok::<_, lakewright_error::Error>(done.map(|done| (slot.run_id, done)))
    });
    let found: Vec<Option<(String, Done)>> =
        stream::iter(reads.collect::<Vec<_>>()).buffered(READS_MAX).try_collect().await?;
    let mut last = BTreeMap::new();
    for (run_id, done) in found.into_iter().flatten() {
        for step in done.steps {
            for record in step.checks {
                let key = (step.table.clone(), record.name.clone());
                last.entry(key).or_insert_with(|| EarlierCheck { run_id: run_id.clone(), record });
            }
        }
    }
    Ok(CheckHistory(last))
}

/// A few of the rows that violate one check of a run.
#[derive(Clone, Debug)]
pub struct FailingRows {
    /// The table that was checked, as `zone.table`.
    pub table: String,
    /// What the check came to.
    pub record: CheckRecord,
    /// Rows, with the columns of the table, or of the audit's query.
    pub rows: Vec<RecordBatch>,
}

impl FailingRows {
    /// The name, in a zone of their own, that queries call the rows by.
    #[must_use]
    pub fn table_name(&self) -> String {
        failing_table(&self.table, &self.record.name)
    }
}

/// The name, in a zone of their own, of the rows that violate a check of a table.
fn failing_table(table: &str, check: &str) -> String {
    format!("{}_{check}", table.replace('.', "_"))
}

/// Reads the rows that a run's checks have kept, whatever came of the run.
///
/// # Errors
/// As [`check_history`].
pub async fn failing_rows(lake: &Prefix, run_id: &str) -> Result<Vec<FailingRows>> {
    let mut all = Vec::new();
    for (table, records) in checks_of_run(lake, run_id).await? {
        for record in records {
            let Some(key) = record.sample.clone() else { continue };
            let Some(bytes) = retrying(|| lake.read(&key)).await? else { continue };
            all.push(FailingRows { table: table.clone(), rows: decode_rows(&key, bytes)?, record });
        }
    }
    Ok(all)
}

/// What the checks of a run came to, by table: what was decided on, else what was counted until then.
async fn checks_of_run(lake: &Prefix, run_id: &str) -> Result<BTreeMap<String, Vec<CheckRecord>>> {
    let key = layout::checks(run_id);
    if let Some(checks) = retrying(|| read_object::<RunChecks>(lake, &key)).await? {
        return Ok(checks.tables);
    }
    let key = layout::done(run_id);
    let done = retrying(|| read_object::<Done>(lake, &key)).await?;
    let steps = done.into_iter().flat_map(|done| done.steps);
    Ok(steps.map(|step| (step.table, step.checks)).filter(|(_, checks)| !checks.is_empty()).collect())
}
