//! Column bounds from the footer of a Parquet file.
//!
//! Invariant: a bound that might be wrong is left out. A file is read once too often rather than pruned once.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use parquet::{
    data_type::{ByteArray, FixedLenByteArray},
    file::{
        metadata::{ParquetMetaData, RowGroupMetaData},
        statistics::Statistics,
    },
};

use crate::{ColumnBounds, Scalar};

/// Leaf columns of a file that get bounds, in schema order: Delta's own default.
pub const BOUND_COLUMNS_MAX: usize = 32;
/// Characters kept of a text bound, as in Spark.
pub(crate) const TEXT_CHARS_MAX: usize = 32;

/// Leaf columns that can have bounds, with the path to each: fields of structs yes, of lists and maps no.
pub(crate) fn leaves(fields: &Fields) -> Vec<(Vec<String>, &DataType)> {
    fn walk<'a>(fields: &'a Fields, above: &[&str], found: &mut Vec<(Vec<String>, &'a DataType)>) {
        for field in fields {
            let mut path = above.to_vec();
            path.push(field.name());
            match field.data_type() {
                DataType::Struct(inner) => walk(inner, &path, found),
                simple if can_have_bounds(simple) => {
                    found.push((path.into_iter().map(str::to_owned).collect(), simple))
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(fields, &[], &mut found);
    found.truncate(BOUND_COLUMNS_MAX);
    found
}

/// The leaf columns of a table's schema without its partition columns.
pub(crate) fn stored_fields(schema: &Schema, partition_columns: &[String]) -> Fields {
    let stored = |field: &&std::sync::Arc<Field>| !partition_columns.contains(field.name());
    schema.fields().iter().filter(stored).cloned().collect()
}

/// Bounds of the columns of `schema` over all row groups.
pub(crate) fn from_footer(
    metadata: &ParquetMetaData,
    schema: &Schema,
    nan_free: &BTreeSet<Vec<String>>,
) -> Vec<ColumnBounds> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let by_path: BTreeMap<&[String], usize> =
        columns.iter().enumerate().map(|(index, column)| (column.path().parts(), index)).collect();
    let row_groups = metadata.row_groups();
    let mut found = Vec::new();
    for (path, data_type) in leaves(schema.fields()) {
        let Some(&index) = by_path.get(path.as_slice()) else { continue };
        let floats_unknown = is_float(data_type) && !nan_free.contains(&path);
        let mut merged = merge(row_groups, index, data_type);
        if floats_unknown {
            (merged.min, merged.max) = (None, None);
        }
        if merged.null_count.is_some() || merged.min.is_some() || merged.max.is_some() {
            found.push(ColumnBounds { path, ..merged });
        }
    }
    found
}

fn can_have_bounds(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal128(..)
            | DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _)
    )
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// Bounds over all row groups: unknown as soon as one row group with values does not have them.
fn merge(row_groups: &[RowGroupMetaData], column: usize, data_type: &DataType) -> ColumnBounds {
    let mut null_count = Some(0_u64);
    let (mut min, mut max) = (Side::Empty, Side::Empty);
    for row_group in row_groups {
        let statistics = row_group.column(column).statistics();
        let nulls = statistics.and_then(Statistics::null_count_opt);
        null_count = null_count.zip(nulls).and_then(|(sum, nulls)| sum.checked_add(nulls));
        // A row group of nothing but NULLs has no bounds, and needs none.
        if nulls.is_some_and(|nulls| i64::try_from(nulls) == Ok(row_group.num_rows())) {
            continue;
        }
        let (low, high) = statistics.map_or((None, None), |statistics| scalars(statistics, data_type));
        min = min.widen(low, Ordered::less);
        max = max.widen(high, |new, old| Ordered::less(old, new));
    }
    let min = min.known().and_then(round_down);
    let max = max.known().and_then(round_up);
    ColumnBounds { path: Vec::new(), null_count, min, max }
}

/// One bound while row groups are added to it.
enum Side {
    Empty,
    Known(Scalar),
    Unknown,
}

impl Side {
    fn widen(self, new: Option<Scalar>, is_wider: impl Fn(&Scalar, &Scalar) -> Option<bool>) -> Self {
        match (self, new) {
            (Self::Unknown, _) | (_, None) => Self::Unknown,
            (Self::Empty, Some(new)) => Self::Known(new),
            (Self::Known(old), Some(new)) => match is_wider(&new, &old) {
                Some(true) => Self::Known(new),
                Some(false) => Self::Known(old),
                None => Self::Unknown,
            },
        }
    }

    fn known(self) -> Option<Scalar> {
        match self {
            Self::Known(scalar) => Some(scalar),
            Self::Empty | Self::Unknown => None,
        }
    }
}

/// The order of bounds of one column.
struct Ordered;

impl Ordered {
    /// Whether `left` sorts before `right`; `None` if the two cannot be compared.
    fn less(left: &Scalar, right: &Scalar) -> Option<bool> {
        match (left, right) {
            (Scalar::Boolean(left), Scalar::Boolean(right)) => Some(left < right),
            (Scalar::Integer(left), Scalar::Integer(right)) | (Scalar::Timestamp(left), Scalar::Timestamp(right)) => {
                Some(left < right)
            }
            (Scalar::Double(left), Scalar::Double(right)) => left.partial_cmp(right).map(std::cmp::Ordering::is_lt),
            (Scalar::Decimal(left, scale), Scalar::Decimal(right, other)) if scale == other => Some(left < right),
            (Scalar::Text(left), Scalar::Text(right)) => Some(left < right),
            (Scalar::Date(left), Scalar::Date(right)) => Some(left < right),
            _ => None,
        }
    }
}

/// Smallest and greatest value of one row group, as the footer has them.
fn scalars(statistics: &Statistics, data_type: &DataType) -> (Option<Scalar>, Option<Scalar>) {
    // Written by old programs with the wrong order for text.
    if statistics.is_min_max_deprecated() {
        return (None, None);
    }
    match statistics {
        Statistics::Boolean(values) => {
            (values.min_opt().copied().map(Scalar::Boolean), values.max_opt().copied().map(Scalar::Boolean))
        }
        Statistics::Int32(values) => {
            let scalar = |value: &i32| integer(i64::from(*value), data_type);
            (values.min_opt().and_then(scalar), values.max_opt().and_then(scalar))
        }
        Statistics::Int64(values) => {
            let scalar = |value: &i64| integer(*value, data_type);
            (values.min_opt().and_then(scalar), values.max_opt().and_then(scalar))
        }
        Statistics::Float(values) => {
            let scalar = |value: &f32| double(f64::from(*value));
            (values.min_opt().and_then(scalar), values.max_opt().and_then(scalar))
        }
        Statistics::Double(values) => {
            let scalar = |value: &f64| double(*value);
            (values.min_opt().and_then(scalar), values.max_opt().and_then(scalar))
        }
        Statistics::ByteArray(values) => {
            let scalar = |value: &ByteArray| bytes(value.data(), data_type);
            (values.min_opt().and_then(scalar), values.max_opt().and_then(scalar))
        }
        // Cut statistics of decimals would be other numbers.
        Statistics::FixedLenByteArray(values) => {
            let scalar = |value: &FixedLenByteArray| bytes(value.data(), data_type);
            let min = values.min_opt().filter(|_| values.min_is_exact());
            let max = values.max_opt().filter(|_| values.max_is_exact());
            (min.and_then(scalar), max.and_then(scalar))
        }
        Statistics::Int96(_) => (None, None),
    }
}

fn integer(value: i64, data_type: &DataType) -> Option<Scalar> {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(Scalar::Integer(value)),
        DataType::Decimal128(_, scale) => Some(Scalar::Decimal(i128::from(value), *scale)),
        DataType::Date32 => i32::try_from(value).ok().map(Scalar::Date),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some(Scalar::Timestamp(value)),
        _ => None,
    }
}

fn double(value: f64) -> Option<Scalar> {
    value.is_finite().then_some(Scalar::Double(value))
}

fn bytes(value: &[u8], data_type: &DataType) -> Option<Scalar> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            std::str::from_utf8(value).ok().map(|text| Scalar::Text(text.to_owned()))
        }
        DataType::Decimal128(_, scale) => Some(Scalar::Decimal(big_endian(value)?, *scale)),
        _ => None,
    }
}

fn big_endian(value: &[u8]) -> Option<i128> {
    if value.is_empty() || value.len() > 16 {
        return None;
    }
    let fill = if value.first().is_some_and(|first| first & 0x80 != 0) { 0xFF } else { 0 };
    let mut wide = [fill; 16];
    wide.get_mut(16 - value.len()..)?.copy_from_slice(value);
    Some(i128::from_be_bytes(wide))
}

/// A bound that is not above `scalar`, and that every reader takes.
fn round_down(scalar: Scalar) -> Option<Scalar> {
    match scalar {
        // Zero may be a negative zero in the file, which some readers sort before it.
        Scalar::Double(0.0) => Some(Scalar::Double(-0.0)),
        Scalar::Text(text) => Some(Scalar::Text(text.chars().take(TEXT_CHARS_MAX).collect())),
        other => Some(other),
    }
}

/// A bound that is not below `scalar`, and that every reader takes.
fn round_up(scalar: Scalar) -> Option<Scalar> {
    match scalar {
        Scalar::Double(0.0) => Some(Scalar::Double(0.0)),
        Scalar::Text(text) => cut_up(&text).map(Scalar::Text),
        other => Some(other),
    }
}

/// The text itself if short, else a short text that sorts after it; `None` if there is none.
fn cut_up(text: &str) -> Option<String> {
    if text.chars().count() <= TEXT_CHARS_MAX {
        return Some(text.to_owned());
    }
    let mut kept: Vec<char> = text.chars().take(TEXT_CHARS_MAX).collect();
    while let Some(last) = kept.pop() {
        if let Some(next) = next_char(last) {
            kept.push(next);
            return Some(kept.into_iter().collect());
        }
    }
    None
}

/// The next code point that is a character; UTF-8 sorts as code points do.
fn next_char(letter: char) -> Option<char> {
    match letter {
        '\u{D7FF}' => Some('\u{E000}'),
        char::MAX => None,
        other => char::from_u32(u32::from(other) + 1),
    }
}

#[cfg(test)]
mod tests;
