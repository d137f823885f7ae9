//! Rewrites rows of a table's files as another file, in order: for compaction, and for what stays of a compacted file.
//!
//! Data flow: files in order, of each all rows or ranges of them -> one partition, so that rows keep their order -> the
//! write node of [`crate::write`].
//!
//! Invariant: the rows of the new file are those that were asked for, in that order, or there is no new file.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    catalog::streaming::StreamingTable,
    common::Result as PlanResult,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{ExecutionPlan, stream::RecordBatchStreamAdapter, streaming::PartitionStream},
};
use futures::{StreamExt, TryStreamExt, stream};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::DataFile;

use crate::{
    fault,
    relation::{TableScan, file_table},
    session::Engine,
    write::{TableWrite, execute_table_write, plan_table_write},
};

/// Writes rows of the scan's files, in the order of the files, as one file of the same table.
///
/// `ranges` has the rows of the files that are not taken as a whole, by path.
///
/// # Errors
/// - [`ErrorKind::Exhausted`]: the rows do not fit into one file within the memory that there is; files may have been
///   written, and nothing names them.
/// - [`ErrorKind::Corrupt`]: a file cannot be read, or has other rows than its table's log says.
/// - As [`execute_table_write`].
///
/// # Cancel safety
/// As [`execute_table_write`].
pub async fn rewrite_files(
    engine: &Engine,
    scan: TableScan,
    ranges: &BTreeMap<String, Vec<Range<u64>>>,
    write: TableWrite,
) -> Result<DataFile> {
    engine.register_store(&scan.root);
    let session = engine.ordered_session();
    let state = session.state();
    let rows = |file: &DataFile| match ranges.get(&file.path) {
        Some(ranges) => ranges.iter().map(|range| range.end - range.start).sum(),
        None => file.row_count,
    };
    let expected: u64 = scan.files.iter().map(rows).sum();
    let mut parts = Vec::new();
    for file in &scan.files {
        let alone = TableScan { files: vec![file.clone()], ..scan.clone() };
        let plan = file_table(alone)?.scan(&state, None, &[], None).await;
        let plan = plan.map_err(fault::from_datafusion)?;
        parts.push(Part { plan, ranges: ranges.get(&file.path).cloned() });
    }
    let ordered = Arc::new(Ordered { schema: Arc::clone(&scan.schema), parts });
    let table = StreamingTable::try_new(Arc::clone(&scan.schema), vec![ordered]).map_err(fault::from_datafusion)?;
    session.register_table("rows", Arc::new(table)).map_err(fault::from_datafusion)?;
    // One file, however large: whoever compacts has chosen files that fit into one.
    let write = TableWrite { target_file_size_bytes: u64::MAX, clustered_by: Vec::new(), ..write };
    let plan = plan_table_write(&session, "SELECT * FROM \"rows\"", &BTreeMap::new(), write).await?;
    let mut files = execute_table_write(&session, plan, &|_| {}).await?.files;
    let written: u64 = files.iter().map(|file| file.row_count).sum();
    if written != expected {
        return Err(Error::new(ErrorKind::Corrupt, "files of a table do not have the rows that its log says")
            .with("object", scan.root.display_location())
            .with("expected", expected)
            .with("found", written));
    }
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => Ok(file),
        _ => Err(Error::new(ErrorKind::Exhausted, "rows that belong into one file did not fit into one")
            .with("object", scan.root.display_location())
            .with_hint("give more memory with --memory")),
    }
}

/// One file and what is taken of it.
#[derive(Clone, Debug)]
struct Part {
    plan: Arc<dyn ExecutionPlan>,
    /// Rows by their numbers from 0, ascending and apart; `None` is all of them.
    ranges: Option<Vec<Range<u64>>>,
}

/// The rows of several files, one file after the other.
#[derive(Debug)]
struct Ordered {
    schema: SchemaRef,
    parts: Vec<Part>,
}

impl PartitionStream for Ordered {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let parts = self.parts.clone();
        let rows = stream::iter(parts).map(move |part| part.rows(&context)).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

impl Part {
    fn rows(self, context: &Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let rows = self.plan.execute(0, Arc::clone(context))?;
        let Some(ranges) = self.ranges else { return Ok(rows) };
        let mut start = 0;
        let kept = rows.map_ok(move |batch| {
            let slices = slices_of(&batch, start, &ranges);
            start += batch.num_rows() as u64;
            stream::iter(slices.into_iter().map(Ok))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.plan.schema(), kept.try_flatten())))
    }
}

/// The rows of a batch, whose first row has the number `start`, that lie in the ranges.
fn slices_of(batch: &RecordBatch, start: u64, ranges: &[Range<u64>]) -> Vec<RecordBatch> {
    let end = start + batch.num_rows() as u64;
    let within = ranges.iter().map(|range| range.start.max(start)..range.end.min(end));
    let place = |number: u64| usize::try_from(number - start).unwrap_or(usize::MAX);
    let some = within.filter(|range| range.start < range.end);
    some.map(|range| batch.slice(place(range.start), place(range.end) - place(range.start))).collect()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::{array::Int64Array, datatypes::Int64Type};

    use super::*;

    #[test]
    fn rows_are_cut_out_by_their_numbers_in_the_file() {
        let numbers: Vec<i64> = (10..20).collect();
        let array = Arc::new(Int64Array::from(numbers)) as _;
        let batch = RecordBatch::try_from_iter([("n", array)]).unwrap();
        let cut = |ranges: &[Range<u64>]| -> Vec<i64> {
            let slices = slices_of(&batch, 10, ranges).into_iter();
            slices.flat_map(|slice| arrow_values(&slice)).collect()
        };
        assert_eq!(cut(&[0..12, 15..16, 19..40]), [10, 11, 15, 19]);
        assert_eq!(cut(&[0..10, 20..21]), Vec::<i64>::new());
        assert_eq!(cut(&[0..15, 15..100]).len(), 10);
    }

    fn arrow_values(batch: &RecordBatch) -> Vec<i64> {
        use datafusion::arrow::array::AsArray;
        batch.column(0).as_primitive::<Int64Type>().values().to_vec()
    }
}
