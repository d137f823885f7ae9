//! State objects that are Parquet: one batch of rows, marked with the format.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::Schema};
use bytes::Bytes;
use lakewright_error::{Error, ErrorKind, Result};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};

use super::FORMAT;

/// Key of the Parquet metadata that holds the format.
const FORMAT_KEY: &str = "lakewright.format";

/// Encodes a batch with the format's mark.
pub(super) fn encode_batch(batch: &RecordBatch) -> Result<Bytes> {
    encode_batches(std::slice::from_ref(batch))
}

/// Encodes batches of the same columns with the format's mark.
pub(super) fn encode_batches(batches: &[RecordBatch]) -> Result<Bytes> {
    write(batches).map(Bytes::from).map_err(|source| {
        Error::new(ErrorKind::Internal, "cannot encode a state object as Parquet").with_source(source)
    })
}

fn write(batches: &[RecordBatch]) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let properties = writer_properties(Some(vec![KeyValue::new(FORMAT_KEY.to_owned(), FORMAT.to_string())]));
    let mut bytes = Vec::new();
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties))?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(bytes)
}

/// How small Parquet objects are written.
pub(super) fn writer_properties(metadata: Option<Vec<KeyValue>>) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(metadata)
        .build()
}

/// Decodes the batches that lie at `key`.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: a newer version of this program wrote them.
/// - [`ErrorKind::Corrupt`]: they do not parse.
pub(super) fn read_batches(key: &str, bytes: Bytes) -> Result<Vec<RecordBatch>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|source| corrupt(key).with_source(source))?;
    let format = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .and_then(|pairs| pairs.iter().find(|pair| pair.key == FORMAT_KEY))
        .and_then(|pair| pair.value.as_ref()?.parse::<u32>().ok())
        .ok_or_else(|| corrupt(key))?;
    if format > FORMAT {
        return Err(super::newer(key, format));
    }
    let batches = reader.build().map_err(|source| corrupt(key).with_source(source))?;
    batches.map(|batch| batch.map_err(|source| corrupt(key).with_source(source))).collect()
}

/// The error of an object that is not what it must be.
pub(super) fn corrupt(key: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "a state object of the lake does not parse")
        .with("object", key)
        .with_hint("restore this object from a backup of the lake; nothing else names what it held")
}
