//! One row group while it is encoded: columns in lanes, so that idle cores help a partition that writes alone.

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch},
        datatypes::{DataType, FieldRef, SchemaRef},
    },
    parquet::{
        arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves},
        errors::{ParquetError, Result as ParquetResult},
    },
};
use lakewright_error::Result;
use tokio::task::JoinSet;

use crate::fault;

/// Less than this is encoded in place: handing it to another thread costs as much.
const PARALLEL_MIN_BYTES: usize = 1 << 20;
/// What an open column takes besides the pages it counts: the compressor's tables.
const COLUMN_OVERHEAD_BYTES: usize = 128 << 10;

/// Column writers of one row group.
pub(super) struct RowGroup {
    lanes: Vec<Lane>,
    pub(super) row_count: usize,
}

/// Neighbouring columns that are encoded by one task.
struct Lane {
    columns: Vec<(usize, FieldRef)>,
    /// One writer per leaf of the columns.
    writers: Vec<ArrowColumnWriter>,
}

impl RowGroup {
    pub(super) fn new(schema: &SchemaRef, writers: Vec<ArrowColumnWriter>, lanes: usize) -> Self {
        let per_lane = schema.fields().len().div_ceil(lanes.max(1)).max(1);
        let columns: Vec<(usize, FieldRef)> = schema.fields().iter().cloned().enumerate().collect();
        let mut writers = writers.into_iter();
        let lanes = columns.chunks(per_lane).map(|columns| {
            let leaves = columns.iter().map(|(_, field)| leaf_count(field.data_type())).sum();
            Lane { columns: columns.to_vec(), writers: writers.by_ref().take(leaves).collect() }
        });
        Self { lanes: lanes.collect(), row_count: 0 }
    }

    /// Encoded bytes so far; pages that are not complete count uncompressed.
    pub(super) fn encoded_bytes(&self) -> usize {
        self.writers().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
    }

    /// Memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.writers().map(|writer| writer.memory_size() + COLUMN_OVERHEAD_BYTES).sum()
    }

    fn writers(&self) -> impl Iterator<Item = &ArrowColumnWriter> {
        self.lanes.iter().flat_map(|lane| &lane.writers)
    }

    /// Adds rows. `size_bytes` is about their size in memory.
    pub(super) async fn encode(&mut self, rows: &RecordBatch, size_bytes: usize) -> Result<()> {
        self.row_count += rows.num_rows();
        if self.lanes.len() < 2 || size_bytes < PARALLEL_MIN_BYTES {
            for lane in &mut self.lanes {
                lane.encode(rows.columns()).map_err(fault::from_parquet)?;
            }
            return Ok(());
        }
        let mut tasks = JoinSet::new();
        for (index, mut lane) in std::mem::take(&mut self.lanes).into_iter().enumerate() {
            let columns: Vec<ArrayRef> = rows.columns().to_vec();
            tasks.spawn(async move { lane.encode(&columns).map(|()| (index, lane)) });
        }
        let mut lanes = Vec::with_capacity(tasks.len());
        while let Some(done) = tasks.join_next().await {
            lanes.push(done.map_err(fault::from_join)?.map_err(fault::from_parquet)?);
        }
        lanes.sort_by_key(|(index, _)| *index);
        self.lanes = lanes.into_iter().map(|(_, lane)| lane).collect();
        Ok(())
    }

    /// Ends all columns.
    pub(super) fn close(self) -> ParquetResult<Vec<ArrowColumnChunk>> {
        self.lanes.into_iter().flat_map(|lane| lane.writers).map(ArrowColumnWriter::close).collect()
    }
}

impl Lane {
    fn encode(&mut self, columns: &[ArrayRef]) -> ParquetResult<()> {
        let mut writers = self.writers.iter_mut();
        for (index, field) in &self.columns {
            let column = columns.get(*index).ok_or_else(|| missing(field))?;
            for leaf in compute_leaves(field, column)? {
                writers.next().ok_or_else(|| missing(field))?.write(&leaf)?;
            }
        }
        Ok(())
    }
}

fn missing(field: &FieldRef) -> ParquetError {
    ParquetError::General(format!("the column {} has no writer", field.name()))
}

/// Number of Parquet columns that a column of this type becomes.
fn leaf_count(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| leaf_count(field.data_type())).sum(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => leaf_count(item.data_type()),
        _ => 1,
    }
}

/// The size of a batch's own rows in memory, also if it is a slice of a larger one.
pub(crate) fn rows_bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_default()).sum()
}
