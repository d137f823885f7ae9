//! Rejects as rows: in the report of a step, and in the files of a rejects table.
//!
//! Data flow: rejects of a scan -> a report of the run -> the table `rejects.<source>` in the run's release.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use bytes::Bytes;
use lakewright_error::{Error, ErrorKind, Result};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use uuid::Uuid;

use super::{
    Reject,
    parquet_object::{corrupt, encode_batch, read_batches, writer_properties},
};
use crate::{Created, DataFile, Prefix};

/// A row of a rejects table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectRow {
    /// The run that read the record.
    pub run_id: String,
    /// The record.
    pub reject: Reject,
}

/// The columns of a rejects table: the run that read the record, then the record's place, reason and text.
#[must_use]
pub fn rejects_schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let columns = ["run_id", "object", "line", "byte_offset", "reason", "column_name", "message", "record"];
    let fields = columns.map(|name| match name {
        "line" | "byte_offset" => field(name, DataType::Int64),
        _ => field(name, DataType::Utf8),
    });
    Arc::new(Schema::new(fields.to_vec()))
}

fn to_batch(rows: &[RejectRow]) -> Result<RecordBatch> {
    let text = |of: fn(&RejectRow) -> Option<&str>| Arc::new(StringArray::from_iter(rows.iter().map(of))) as ArrayRef;
    let number = |of: fn(&RejectRow) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::try_from(of(row)).unwrap_or(i64::MAX))))
    };
    let columns = vec![
        text(|row| Some(&row.run_id)),
        text(|row| Some(&row.reject.object)),
        number(|row| row.reject.line),
        number(|row| row.reject.byte_offset),
        text(|row| Some(&row.reject.reason)),
        text(|row| row.reject.column.as_deref()),
        text(|row| Some(&row.reject.message)),
        text(|row| row.reject.record.as_deref()),
    ];
    RecordBatch::try_new(rejects_schema(), columns)
        .map_err(|source| Error::new(ErrorKind::Internal, "cannot encode rejects as Parquet").with_source(source))
}

fn from_batch(batch: &RecordBatch, rows: &mut Vec<RejectRow>) -> Option<()> {
    let text = |name: &str| batch.column_by_name(name)?.as_any().downcast_ref::<StringArray>();
    let number = |name: &str| batch.column_by_name(name)?.as_any().downcast_ref::<Int64Array>();
    let (runs, objects, reasons) = (text("run_id")?, text("object")?, text("reason")?);
    let (columns, messages, records) = (text("column_name")?, text("message")?, text("record")?);
    let (lines, offsets) = (number("line")?, number("byte_offset")?);
    let optional = |texts: &StringArray, row| texts.is_valid(row).then(|| texts.value(row).to_owned());
    rows.extend((0..batch.num_rows()).map(|row| RejectRow {
        run_id: runs.value(row).to_owned(),
        reject: Reject {
            object: objects.value(row).to_owned(),
            line: u64::try_from(lines.value(row)).unwrap_or_default(),
            byte_offset: u64::try_from(offsets.value(row)).unwrap_or_default(),
            reason: reasons.value(row).to_owned(),
            column: optional(columns, row),
            message: messages.value(row).to_owned(),
            record: optional(records, row),
        },
    }));
    Some(())
}

/// Encodes the rejects of a report as Parquet.
///
/// # Errors
/// - [`ErrorKind::Internal`]: they have no Parquet form.
pub fn encode_rejects(rows: &[RejectRow]) -> Result<Bytes> {
    encode_batch(&to_batch(rows)?)
}

/// Decodes the rejects of the report that lies at `key`.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: a newer version of this program wrote them.
/// - [`ErrorKind::Corrupt`]: they do not parse.
pub fn decode_rejects(key: &str, bytes: Bytes) -> Result<Vec<RejectRow>> {
    let mut rows = Vec::new();
    for batch in read_batches(key, bytes)? {
        from_batch(&batch, &mut rows).ok_or_else(|| corrupt(key))?;
    }
    Ok(rows)
}

/// Writes rows as a new file of the rejects table at `root`.
///
/// # Errors
/// As [`Prefix::create`].
///
/// # Cancel safety
/// Dropping the future may leave a file that nothing names.
pub async fn write_rejects(root: &Prefix, run_id: &str, rows: &[RejectRow]) -> Result<DataFile> {
    let batch = to_batch(rows)?;
    let unwritable = |source| Error::new(ErrorKind::Internal, "cannot encode rejects as Parquet").with_source(source);
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(writer_properties(None))).map_err(unwritable)?;
    writer.write(&batch).map_err(unwritable)?;
    let metadata = writer.close().map_err(unwritable)?;
    let path = format!("{run_id}-{}.parquet", Uuid::new_v4());
    let size_bytes = bytes.len() as u64;
    let bytes = Bytes::from(bytes);
    match root.create(&path, bytes.clone()).await? {
        Created::Now => {}
        // The answer to the first try was lost.
        Created::Before(found) if found == bytes => {}
        Created::Before(_) => {
            return Err(Error::new(ErrorKind::Internal, "a new file was there already").with("object", path));
        }
    }
    let no_floats = std::collections::BTreeSet::new();
    Ok(DataFile::from_parquet(path, size_bytes, BTreeMap::new(), &metadata, &batch.schema(), &no_floats))
}

/// Reads the rows of a file of the rejects table at `root`.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: the file is gone, or is not one of a rejects table.
/// - [`ErrorKind::Unavailable`]: the store did not answer.
pub async fn read_rejects(root: &Prefix, path: &str) -> Result<Vec<RejectRow>> {
    let unreadable = || {
        Error::new(ErrorKind::Corrupt, "a file of a rejects table cannot be read")
            .with("object", root.display(path))
            .with_hint("restore it from a backup of the lake")
    };
    let bytes = root.read(path).await?.ok_or_else(unreadable)?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|source| unreadable().with_source(source))?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|source| unreadable().with_source(source))?;
        from_batch(&batch, &mut rows).ok_or_else(unreadable)?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(object: &str, record: Option<&str>) -> RejectRow {
        let reject = Reject {
            object: object.to_owned(),
            line: 3,
            byte_offset: 1 << 40,
            reason: "malformed".to_owned(),
            column: record.map(str::to_owned),
            message: "expected `,`".to_owned(),
            record: record.map(str::to_owned),
        };
        RejectRow { run_id: "r1".to_owned(), reject }
    }

    #[test]
    fn a_reports_rejects_are_read_back_as_they_were() {
        let rows = vec![row("a.json", None), row("ü.json", Some("{\u{fffd}"))];
        assert_eq!(decode_rejects("k", encode_rejects(&rows).unwrap()).unwrap(), rows);
    }

    #[tokio::test]
    async fn a_file_of_a_rejects_table_is_read_back_and_has_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let root = Prefix::open(&folder.path().display().to_string()).unwrap();
        let rows = vec![row("a.json", None), row("b.json", Some("x"))];
        let file = write_rejects(&root, "r1", &rows).await.unwrap();
        assert_eq!(file.row_count, 2);
        assert!(file.bounds.iter().any(|bounds| bounds.path == ["object"] && bounds.max.is_some()));
        assert_eq!(read_rejects(&root, &file.path).await.unwrap(), rows);
        let gone = read_rejects(&root, "gone.parquet").await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::Corrupt);
    }
}
