//! What is known about a DataFile, and which files a filter can leave out.
//!
//! Invariant: a bound may be wide but never narrow, so a file is left out only if no row of it can meet the filter.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, BooleanArray, UInt64Array},
        datatypes::{DataType, SchemaRef, TimeUnit},
    },
    catalog::Session,
    common::{
        Column, ColumnStatistics, DFSchema, Result as PlanResult, ScalarValue, Statistics, pruning::PruningStatistics,
        stats::Precision,
    },
    datasource::{listing::PartitionedFile, table_schema::TableSchema},
    logical_expr::{Expr, utils::conjunction},
    physical_optimizer::pruning::PruningPredicateBuilder,
};
use lakewright_lake::{ColumnBounds, DataFile, Scalar};

/// What decoding multiplies the size of a file by: a guess that only join order depends on.
const EXPANSION: u64 = 4;

/// The statistics of one file, in the order of the scan's columns.
pub(super) fn file_statistics(schema: &TableSchema, file: &DataFile, partition_values: &[ScalarValue]) -> Statistics {
    let rows = usize::try_from(file.row_count).unwrap_or(usize::MAX);
    let stored = schema.file_schema().fields().iter().map(|field| {
        let bounds = file.bounds.iter().find(|bounds| matches!(bounds.path.as_slice(), [name] if name == field.name()));
        bounds.map_or_else(ColumnStatistics::new_unknown, |bounds| column_statistics(bounds, field.data_type()))
    });
    let partitions = partition_values.iter().map(|value| partition_statistics(value, rows));
    Statistics {
        num_rows: Precision::Exact(rows),
        total_byte_size: Precision::Inexact(
            usize::try_from(file.size_bytes.saturating_mul(EXPANSION)).unwrap_or(usize::MAX),
        ),
        column_statistics: stored.chain(partitions).collect(),
    }
}

fn column_statistics(bounds: &ColumnBounds, data_type: &DataType) -> ColumnStatistics {
    let bound = |scalar: Option<&Scalar>| {
        scalar.and_then(|scalar| bound_value(scalar, data_type)).map_or(Precision::Absent, Precision::Inexact)
    };
    let nulls = bounds.null_count.and_then(|count| usize::try_from(count).ok());
    ColumnStatistics {
        null_count: nulls.map_or(Precision::Absent, Precision::Inexact),
        min_value: bound(bounds.min.as_ref()),
        max_value: bound(bounds.max.as_ref()),
        ..ColumnStatistics::new_unknown()
    }
}

fn partition_statistics(value: &ScalarValue, rows: usize) -> ColumnStatistics {
    // A file without rows has its directory's value in no row.
    let exact = || if value.is_null() || rows == 0 { Precision::Absent } else { Precision::Exact(value.clone()) };
    ColumnStatistics {
        null_count: Precision::Exact(if value.is_null() { rows } else { 0 }),
        min_value: exact(),
        max_value: exact(),
        ..ColumnStatistics::new_unknown()
    }
}

/// A bound as a value of the column's type; `None` if it cannot be one, or must not be used.
fn bound_value(scalar: &Scalar, data_type: &DataType) -> Option<ScalarValue> {
    match (scalar, data_type) {
        (Scalar::Boolean(value), DataType::Boolean) => Some(ScalarValue::Boolean(Some(*value))),
        (Scalar::Integer(value), DataType::Int8) => Some(ScalarValue::Int8(Some((*value).try_into().ok()?))),
        (Scalar::Integer(value), DataType::Int16) => Some(ScalarValue::Int16(Some((*value).try_into().ok()?))),
        (Scalar::Integer(value), DataType::Int32) => Some(ScalarValue::Int32(Some((*value).try_into().ok()?))),
        (Scalar::Integer(value), DataType::Int64) => Some(ScalarValue::Int64(Some(*value))),
        (Scalar::Decimal(value, scale), DataType::Decimal128(precision, column_scale)) if scale == column_scale => {
            Some(ScalarValue::Decimal128(Some(*value), *precision, *scale))
        }
        (Scalar::Text(value), DataType::Utf8) => Some(ScalarValue::Utf8(Some(value.clone()))),
        (Scalar::Date(value), DataType::Date32) => Some(ScalarValue::Date32(Some(*value))),
        (Scalar::Timestamp(value), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            Some(ScalarValue::TimestampMicrosecond(Some(*value), zone.clone()))
        }
        // Bounds of floats do not cover NaN, which compares above every number.
        _ => None,
    }
}

/// The files that may hold rows that meet all of `filters`.
pub(super) fn keep_files(
    state: &dyn Session,
    schema: &SchemaRef,
    files: &[PartitionedFile],
    filters: &[Expr],
) -> PlanResult<Vec<PartitionedFile>> {
    let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(files.to_vec()) };
    let columns = DFSchema::try_from(Arc::clone(schema))?;
    let filter = state.create_physical_expr(filter, &columns)?;
    // A filter that cannot be told in terms of bounds leaves nothing out.
    let predicate = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).build(filter);
    let Some(predicate) = predicate else { return Ok(files.to_vec()) };
    let kept = predicate.prune(&FileBounds { schema, files })?;
    Ok(files.iter().zip(kept).filter(|(_, kept)| *kept).map(|(file, _)| file.clone()).collect())
}

struct FileBounds<'a> {
    schema: &'a SchemaRef,
    files: &'a [PartitionedFile],
}

impl FileBounds<'_> {
    fn values(&self, column: &Column, pick: impl Fn(&ColumnStatistics) -> &Precision<ScalarValue>) -> Option<ArrayRef> {
        let index = self.schema.index_of(column.name()).ok()?;
        let null = ScalarValue::try_from(self.schema.field(index).data_type()).ok()?;
        let values = self.files.iter().map(|file| {
            let known = file.statistics.as_ref().and_then(|statistics| statistics.column_statistics.get(index));
            known.and_then(|known| pick(known).get_value().cloned()).unwrap_or_else(|| null.clone())
        });
        ScalarValue::iter_to_array(values).ok()
    }

    fn counts(&self, pick: impl Fn(&Statistics) -> Option<usize>) -> ArrayRef {
        let counts = self.files.iter().map(|file| file.statistics.as_deref().and_then(&pick).map(|count| count as u64));
        Arc::new(counts.collect::<UInt64Array>())
    }
}

impl PruningStatistics for FileBounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |known| &known.min_value)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |known| &known.max_value)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let index = self.schema.index_of(column.name()).ok()?;
        Some(self.counts(|statistics| statistics.column_statistics.get(index)?.null_count.get_value().copied()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(self.counts(|statistics| statistics.num_rows.get_value().copied()))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
