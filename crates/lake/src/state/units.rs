//! Units that tables consume, as Parquet: ledger segments, and frozen listings too large for JSON.
//!
//! Invariant: what is decoded equals what was encoded, in the same order, so that equal units give equal bytes'
//! meaning and equal digests on every driver.

use std::sync::Arc;

use arrow::{
    array::{Array, BooleanArray, Int64Array, RecordBatch, StringArray, UInt64Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use bytes::Bytes;
use lakewright_error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

use super::{
    Origin,
    parquet_object::{corrupt, encode_batch, read_batches},
};
use crate::{DataFile, RawObject};

/// One thing that a table has consumed: a raw object of a source, or a DataFile of an upstream table.
///
/// A table that is computed file by file also has the files that it has made in its ledger, as units whose input is the
/// table itself. The files of a batch hold the rows of the units of that batch, and no others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    /// The source or the upstream table, as `zone.table`.
    pub input: String,
    /// Key below the raw prefix, or path below the upstream table's root.
    pub key: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// ETag of a raw object where the store has real ones.
    pub etag: Option<String>,
    /// Modification time of a raw object in microseconds since 1970-01-01T00:00:00Z; 0 for a DataFile.
    pub modified_us: i64,
    /// The raw object was consumed before, has gone since, and its rows stay: a later segment says so once.
    pub gone: bool,
    /// Number of the run, in its job, that last read it or made it; 0 where an earlier version of this program did not
    /// say.
    pub batch: u64,
}

impl Unit {
    /// The unit that a raw object is.
    pub fn raw(input: &str, object: &RawObject) -> Self {
        Self {
            input: input.to_owned(),
            key: object.key.clone(),
            size_bytes: object.size_bytes,
            etag: object.etag.clone(),
            modified_us: object.modified_us,
            gone: false,
            batch: 0,
        }
    }

    /// The unit that a DataFile of `table` is.
    pub fn file(table: &str, file: &DataFile) -> Self {
        Self {
            input: table.to_owned(),
            key: file.path.clone(),
            size_bytes: file.size_bytes,
            etag: None,
            modified_us: 0,
            gone: false,
            batch: 0,
        }
    }

    /// The unit that the rows of a DataFile of `table` are which another file holds now.
    pub fn origin(table: &str, origin: &Origin) -> Self {
        Self {
            input: table.to_owned(),
            key: origin.path.clone(),
            size_bytes: origin.size_bytes,
            etag: None,
            modified_us: 0,
            gone: false,
            batch: 0,
        }
    }

    /// The same, read or made by the run of this number.
    #[must_use]
    pub fn in_batch(self, batch: u64) -> Self {
        Self { batch, ..self }
    }

    /// The raw object that a unit is.
    pub fn into_raw(self) -> RawObject {
        RawObject { key: self.key, size_bytes: self.size_bytes, etag: self.etag, modified_us: self.modified_us }
    }
}

fn units_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("input", DataType::Utf8, false),
        Field::new("key", DataType::Utf8, false),
        Field::new("size_bytes", DataType::UInt64, false),
        Field::new("etag", DataType::Utf8, true),
        Field::new("modified_us", DataType::Int64, false),
        Field::new("gone", DataType::Boolean, false),
        Field::new("batch", DataType::UInt64, false),
    ]))
}

/// Encodes units as Parquet.
///
/// # Errors
/// - [`ErrorKind::Internal`]: the encoder refused.
pub fn encode_units(units: &[Unit]) -> Result<Bytes> {
    let batch = RecordBatch::try_new(
        units_schema(),
        vec![
            Arc::new(StringArray::from_iter_values(units.iter().map(|unit| &unit.input))),
            Arc::new(StringArray::from_iter_values(units.iter().map(|unit| &unit.key))),
            Arc::new(UInt64Array::from_iter_values(units.iter().map(|unit| unit.size_bytes))),
            Arc::new(StringArray::from_iter(units.iter().map(|unit| unit.etag.as_deref()))),
            Arc::new(Int64Array::from_iter_values(units.iter().map(|unit| unit.modified_us))),
            Arc::new(BooleanArray::from_iter(units.iter().map(|unit| Some(unit.gone)))),
            Arc::new(UInt64Array::from_iter_values(units.iter().map(|unit| unit.batch))),
        ],
    );
    let batch = batch
        .map_err(|source| Error::new(ErrorKind::Internal, "cannot encode units as Parquet").with_source(source))?;
    encode_batch(&batch)
}

/// Decodes the units that lie at `key`.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: a newer version of this program wrote them.
/// - [`ErrorKind::Corrupt`]: they do not parse.
pub fn decode_units(key: &str, bytes: Bytes) -> Result<Vec<Unit>> {
    let mut units = Vec::new();
    for batch in read_batches(key, bytes)? {
        read_batch(&batch, &mut units).ok_or_else(|| corrupt(key))?;
    }
    Ok(units)
}

/// Appends the units of a batch; `None` if it has not the columns of units.
fn read_batch(batch: &RecordBatch, units: &mut Vec<Unit>) -> Option<()> {
    let text = |name: &str| batch.column_by_name(name)?.as_any().downcast_ref::<StringArray>();
    let (inputs, keys, etags) = (text("input")?, text("key")?, text("etag")?);
    let sizes = batch.column_by_name("size_bytes")?.as_any().downcast_ref::<UInt64Array>()?;
    let times = batch.column_by_name("modified_us")?.as_any().downcast_ref::<Int64Array>()?;
    let gone = batch.column_by_name("gone")?.as_any().downcast_ref::<BooleanArray>()?;
    // Segments of earlier versions of this program have no batches.
    let batches = batch.column_by_name("batch").and_then(|column| column.as_any().downcast_ref::<UInt64Array>());
    units.reserve(batch.num_rows());
    for row in 0..batch.num_rows() {
        units.push(Unit {
            input: inputs.value(row).to_owned(),
            key: keys.value(row).to_owned(),
            size_bytes: sizes.value(row),
            etag: etags.is_valid(row).then(|| etags.value(row).to_owned()),
            modified_us: times.value(row),
            gone: gone.value(row),
            batch: batches.map_or(0, |batches| batches.value(row)),
        });
    }
    Some(())
}

/// Digest of the identities of a listing that is sorted by key: equal digests mean the same objects.
pub fn listing_digest(objects: &[RawObject]) -> String {
    let mut hasher = Sha256::new();
    for object in objects {
        // Lengths come first, so that no two listings can give the same bytes.
        hasher.update(u64::try_from(object.key.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(object.key.as_bytes());
        hasher.update(object.size_bytes.to_le_bytes());
        match &object.etag {
            Some(etag) => {
                hasher.update([1]);
                hasher.update(u64::try_from(etag.len()).unwrap_or(u64::MAX).to_le_bytes());
                hasher.update(etag.as_bytes());
            }
            None => {
                hasher.update([0]);
                hasher.update(object.modified_us.to_le_bytes());
            }
        }
    }
    format!("{:x}", hasher.finalize())
}
