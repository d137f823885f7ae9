//! Partition values: as text in the Delta log, and as the names of Hive directories.
//!
//! Invariant: different values have different texts, and the text is what Delta readers parse back into the value.

use std::collections::BTreeMap;

use chrono::DateTime;
use datafusion::arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
    util::display::{ArrayFormatter, FormatOptions},
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::hive_partition_path;

/// The values of a partition's columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PartitionValue {
    /// `column=value/` for every column, Hive-escaped; empty for a table without partition columns.
    pub(super) directory: String,
    /// As Delta writes them; `None` is NULL.
    pub(super) values: BTreeMap<String, Option<String>>,
}

/// Whether values of the type can be told as text and back.
pub(super) fn can_partition(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Float32
                | DataType::Float64
                | DataType::Decimal128(..)
                | DataType::Utf8
                | DataType::Date32
                | DataType::Timestamp(TimeUnit::Microsecond, _)
        )
}

impl PartitionValue {
    /// The value of `columns` (name and index) in one row.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: the value is empty text, which Delta readers cannot tell from NULL.
    pub(super) fn of_row(batch: &RecordBatch, row: usize, columns: &[(String, usize)]) -> Result<Self> {
        let mut values = BTreeMap::new();
        for (name, index) in columns {
            let text = value_text(batch.column(*index), row).map_err(|error| error.with("column", name))?;
            values.insert(name.clone(), text);
        }
        let in_order = columns.iter().map(|(name, _)| (name.as_str(), values.get(name).and_then(Option::as_deref)));
        let mut directory = hive_partition_path(&in_order.collect::<Vec<_>>())?;
        if !directory.is_empty() {
            directory.push('/');
        }
        Ok(Self { directory, values })
    }
}

fn value_text(array: &dyn Array, row: usize) -> Result<Option<String>> {
    if array.is_null(row) {
        return Ok(None);
    }
    if let Some(texts) = array.as_string_opt::<i32>() {
        return Ok(Some(texts.value(row).to_owned()));
    }
    if let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() {
        let micros = times.value(row);
        let time = DateTime::from_timestamp_micros(micros).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "a time in a partition column is out of range").with("microseconds", micros)
        })?;
        // Without a zone, Delta's readers take it for a time of their own zone; a type that has none means it so.
        let is_instant = matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
        let format = if is_instant { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%d %H:%M:%S%.6f" };
        return Ok(Some(time.format(format).to_string()));
    }
    let failed = |error| Error::new(ErrorKind::Invalid, "cannot write a partition value as text").with_source(error);
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options).map_err(failed)?;
    formatter.value(row).try_to_string().map(Some).map_err(failed)
}
