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
        let mut directories = Vec::with_capacity(columns.len());
        for (name, index) in columns {
            let text = value_text(batch.column(*index), row).map_err(|error| error.with("column", name))?;
            if text.as_deref() == Some("") {
                return Err(Error::new(ErrorKind::Invalid, "a partition column has empty text")
                    .with("column", name)
                    .with_hint("readers cannot tell it from NULL: make it NULL with nullif(.., ''), or another text"));
            }
            directories.push((name.as_str(), text.clone()));
            values.insert(name.clone(), text);
        }
        Ok(Self { directory: hive_directory(&directories), values })
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
        return Ok(Some(time.format("%Y-%m-%d %H:%M:%S%.6f").to_string()));
    }
    let failed = |error| Error::new(ErrorKind::Invalid, "cannot write a partition value as text").with_source(error);
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options).map_err(failed)?;
    formatter.value(row).try_to_string().map(Some).map_err(failed)
}

fn hive_directory(values: &[(&str, Option<String>)]) -> String {
    let parts = values.iter().map(|(name, value)| match value {
        Some(value) => format!("{}={}/", hive_escape(name), hive_escape(value)),
        None => format!("{}=__HIVE_DEFAULT_PARTITION__/", hive_escape(name)),
    });
    parts.collect()
}

/// Escapes what Hive and Spark escape in a directory's name.
fn hive_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(c) {
            escaped.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}
