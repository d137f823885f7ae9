//! Order inside files, and the spilling sort for tables with more partition values than files can be open.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::{
    arrow::{
        array::RecordBatch,
        compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch},
        datatypes::SchemaRef,
        error::ArrowError,
    },
    common::{Result as PlanResult, exec_datafusion_err},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_plan::{
        ExecutionPlan,
        sorts::sort::SortExec,
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
    },
};
use futures::{StreamExt, stream};
use lakewright_error::{Error, ErrorKind, Result};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinSet,
};

use super::TableWrite;
use crate::fault;

/// Ascending, NULLs last.
const FILE_ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };

/// By partition columns, then by the columns that the table is clustered by; `None` if there are neither.
pub(super) fn file_ordering(write: &TableWrite) -> Option<LexOrdering> {
    let columns = write.partition_columns.iter().chain(&write.clustered_by);
    LexOrdering::new(columns.filter_map(|name| {
        let index = write.schema.index_of(name).ok()?;
        Some(PhysicalSortExpr::new(Arc::new(Column::new(name, index)), FILE_ORDER))
    }))
}

/// Brings few rows into the order of the table's files.
pub(super) fn sort_rows(write: &TableWrite, rows: &[RecordBatch]) -> Result<RecordBatch> {
    let failed = |error: ArrowError| fault::from_datafusion(error.into());
    let rows = concat_batches(&write.schema, rows).map_err(failed)?;
    let columns = write.partition_columns.iter().chain(&write.clustered_by);
    let keys = columns.filter_map(|name| rows.column_by_name(name));
    let keys: Vec<SortColumn> =
        keys.map(|values| SortColumn { values: Arc::clone(values), options: Some(FILE_ORDER) }).collect();
    if keys.is_empty() {
        return Ok(rows);
    }
    let order = lexsort_to_indices(&keys, None).map_err(failed)?;
    take_record_batch(&rows, &order).map_err(failed)
}

/// A sort that takes rows while an input is read, and spills as any sort of a query.
#[derive(Debug)]
pub(crate) struct Sorter {
    rows: Sender<RecordBatch>,
    /// Its one task reads all rows, and ends with the sorted stream and the first batch of it.
    task: JoinSet<(Option<PlanResult<RecordBatch>>, SendableRecordBatchStreamBox)>,
}

struct SendableRecordBatchStreamBox(SendableRecordBatchStream);

impl Sorter {
    /// A sort of rows of `schema`.
    pub(crate) fn start(schema: &SchemaRef, ordering: LexOrdering, context: &Arc<TaskContext>) -> Result<Self> {
        let (rows, input) = channel(1);
        let input = Handed { schema: Arc::clone(schema), input: Mutex::new(Some(input)) };
        let input = StreamingTableExec::try_new(Arc::clone(schema), vec![Arc::new(input)], None, [], false, None)
            .map_err(fault::from_datafusion)?;
        let mut sorted =
            SortExec::new(ordering, Arc::new(input)).execute(0, Arc::clone(context)).map_err(fault::from_datafusion)?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            let first = sorted.next().await;
            (first, SendableRecordBatchStreamBox(sorted))
        });
        Ok(Self { rows, task })
    }

    /// Hands rows over; waits while the sort spills.
    pub(crate) async fn add(&mut self, rows: RecordBatch) -> Result<()> {
        if self.rows.send(rows).await.is_ok() {
            return Ok(());
        }
        // The sort has stopped taking rows: its result says why.
        match self.task.join_next().await {
            Some(Ok((Some(Err(error)), _))) => Err(fault::from_datafusion(error)),
            Some(Err(error)) => Err(fault::from_join(error)),
            _ => Err(Error::new(ErrorKind::Internal, "the sort ended before its input")),
        }
    }

    /// All rows in order.
    pub(crate) async fn finish(mut self) -> Result<SendableRecordBatchStream> {
        drop(self.rows);
        match self.task.join_next().await {
            Some(Ok((first, rest))) => {
                let schema = rest.0.schema();
                let all = stream::iter(first).chain(rest.0);
                Ok(Box::pin(RecordBatchStreamAdapter::new(schema, all)))
            }
            Some(Err(error)) => Err(fault::from_join(error)),
            None => Err(Error::new(ErrorKind::Internal, "the sort was read twice")),
        }
    }
}

impl std::fmt::Debug for SendableRecordBatchStreamBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SendableRecordBatchStreamBox")
    }
}

/// The sort's input: batches from a channel, read once.
#[derive(Debug)]
struct Handed {
    schema: SchemaRef,
    input: Mutex<Option<Receiver<RecordBatch>>>,
}

impl PartitionStream for Handed {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner).take();
        let rows = stream::unfold(input, |input| async {
            match input {
                Some(mut input) => input.recv().await.map(|rows| (Ok(rows), Some(input))),
                None => Some((Err(exec_datafusion_err!("the rows to sort were read before")), None)),
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}
