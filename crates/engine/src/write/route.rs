//! Splits batches by partition value.
//!
//! Rows that stand together are cut out without copying; rows of a value that lie apart are gathered.

use std::{collections::HashMap, ops::Range};

use datafusion::arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::{partition, take, take_record_batch},
    datatypes::SchemaRef,
    error::ArrowError,
    row::{OwnedRow, RowConverter, SortField},
};
use lakewright_error::Result;

use super::value::PartitionValue;
use crate::fault;

/// Rows of one partition value.
pub(super) struct Routed {
    /// Number of the value, from 0 in the order of first appearance.
    pub(super) value: usize,
    pub(super) rows: RecordBatch,
}

/// Numbers partition values as they appear.
#[derive(Debug)]
pub(super) struct Router {
    columns: Vec<(String, usize)>,
    converter: Option<RowConverter>,
    numbers: HashMap<OwnedRow, usize>,
    values: Vec<PartitionValue>,
}

impl Router {
    pub(super) fn new(schema: &SchemaRef, partition_columns: &[String]) -> Result<Self> {
        let mut columns = Vec::with_capacity(partition_columns.len());
        let mut fields = Vec::with_capacity(partition_columns.len());
        for name in partition_columns {
            let index = schema.index_of(name).map_err(|error| fault::from_datafusion(error.into()))?;
            columns.push((name.clone(), index));
            fields.push(SortField::new(schema.field(index).data_type().clone()));
        }
        let converter = if fields.is_empty() {
            None
        } else {
            Some(RowConverter::new(fields).map_err(|error| fault::from_datafusion(error.into()))?)
        };
        let values = if columns.is_empty() { vec![PartitionValue::default()] } else { Vec::new() };
        Ok(Self { columns, converter, numbers: HashMap::new(), values })
    }

    /// The value with this number.
    pub(super) fn value(&self, number: usize) -> Option<&PartitionValue> {
        self.values.get(number)
    }

    /// The batch's rows by value, in the order of each value's first row; rows of a value keep their order.
    pub(super) fn split(&mut self, batch: RecordBatch) -> Result<Vec<Routed>> {
        let Some(converter) = &self.converter else { return Ok(vec![Routed { value: 0, rows: batch }]) };
        let keys: Vec<ArrayRef> = self.columns.iter().map(|(_, index)| ArrayRef::clone(batch.column(*index))).collect();
        let failed = |error: ArrowError| fault::from_datafusion(error.into());
        let runs = partition(&keys).map_err(failed)?.ranges();
        let starts: UInt32Array = runs.iter().map(|run| u32::try_from(run.start).ok()).collect();
        let firsts: Vec<ArrayRef> =
            keys.iter().map(|key| take(key, &starts, None)).collect::<Result<_, _>>().map_err(failed)?;
        let rows = converter.convert_columns(&firsts).map_err(failed)?;

        let mut groups: Vec<(usize, Vec<Range<usize>>)> = Vec::new();
        let mut group_of: HashMap<usize, usize> = HashMap::new();
        for (run, row) in runs.into_iter().zip(rows.iter()) {
            let row = row.owned();
            let number = match self.numbers.get(&row) {
                Some(number) => *number,
                None => {
                    self.values.push(PartitionValue::of_row(&batch, run.start, &self.columns)?);
                    self.numbers.insert(row, self.values.len() - 1);
                    self.values.len() - 1
                }
            };
            let group = *group_of.entry(number).or_insert_with(|| {
                groups.push((number, Vec::new()));
                groups.len() - 1
            });
            groups[group].1.push(run);
        }
        let routed = groups.into_iter().map(|(value, runs)| Ok(Routed { value, rows: gather(&batch, runs)? }));
        routed.collect()
    }
}

fn gather(batch: &RecordBatch, runs: Vec<Range<usize>>) -> Result<RecordBatch> {
    if let [run] = runs.as_slice() {
        return Ok(batch.slice(run.start, run.len()));
    }
    let indices: UInt32Array = runs.into_iter().flatten().map(|row| u32::try_from(row).ok()).collect();
    take_record_batch(batch, &indices).map_err(|error| fault::from_datafusion(error.into()))
}
