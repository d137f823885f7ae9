//! What files hold that were made by compaction: rows of which earlier files, in which order.
//!
//! Data flow: a run that compacts -> a segment, named by the release -> steps that replace some of these rows, and tables
//! that are computed file by file from these files.
//!
//! Invariant: ledgers name the files that steps have written, and compaction changes no ledger. The rows of a file made
//! by compaction are those of its origins, one after the other.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use arrow::{
    array::{Array, RecordBatch, StringArray, UInt64Array},
    datatypes::{DataType, Field, Schema},
};
use bytes::Bytes;
use lakewright_error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::parquet_object::{corrupt, encode_batch, read_batches};
use crate::DataFile;

/// A file that a step has written, whose rows another file holds now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its path below the table's root.
    pub path: String,
    /// Size in bytes that it had.
    pub size_bytes: u64,
    /// Its number of rows.
    pub row_count: u64,
}

/// Origins of files, by the path of the file that holds their rows now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origins(BTreeMap<String, Vec<Origin>>);

impl Origins {
    /// Whether no file was made by compaction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the file of this path was made by compaction.
    #[must_use]
    pub fn is_compacted(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// The files that steps have written whose rows `file` holds, in the order of its rows; `file` itself, if a step has
    /// written it.
    #[must_use]
    pub fn of(&self, file: &DataFile) -> Vec<Origin> {
        self.0.get(&file.path).cloned().unwrap_or_else(|| {
            let DataFile { path, size_bytes, row_count, .. } = file;
            vec![Origin { path: path.clone(), size_bytes: *size_bytes, row_count: *row_count }]
        })
    }

    /// The origins of `file`, each with the numbers of its rows in the file, from 0.
    #[must_use]
    pub fn places(&self, file: &DataFile) -> Vec<(Origin, Range<u64>)> {
        let mut start = 0;
        let place = |origin: Origin| {
            let rows = start..start + origin.row_count;
            start = rows.end;
            (origin, rows)
        };
        self.of(file).into_iter().map(place).collect()
    }

    /// Notes what a file holds.
    pub fn insert(&mut self, path: &str, origins: Vec<Origin>) {
        self.0.insert(path.to_owned(), origins);
    }

    /// Takes over what others say about their files.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Keeps what is said about files of which `keeps` is true.
    pub fn retain(&mut self, keeps: impl Fn(&str) -> bool) {
        self.0.retain(|path, _| keeps(path));
    }
}

/// Encodes origins as Parquet.
///
/// # Errors
/// - [`ErrorKind::Internal`]: the encoder refused.
pub fn encode_origins(origins: &Origins) -> Result<Bytes> {
    let schema = Schema::new(vec![
        Field::new("file", DataType::Utf8, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("size_bytes", DataType::UInt64, false),
        Field::new("row_count", DataType::UInt64, false),
    ]);
    let rows: Vec<(&String, &Origin)> =
        origins.0.iter().flat_map(|(file, origins)| origins.iter().map(move |origin| (file, origin))).collect();
    let batch = RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(file, _)| file))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, origin)| &origin.path))),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|(_, origin)| origin.size_bytes))),
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(|(_, origin)| origin.row_count))),
        ],
    );
    let batch = batch
        .map_err(|source| Error::new(ErrorKind::Internal, "cannot encode origins as Parquet").with_source(source))?;
    encode_batch(&batch)
}

/// Decodes the origins that lie at `key`.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: a newer version of this program wrote them.
/// - [`ErrorKind::Corrupt`]: they do not parse.
pub fn decode_origins(key: &str, bytes: Bytes) -> Result<Origins> {
    let mut origins = Origins::default();
    for batch in read_batches(key, bytes)? {
        read_batch(&batch, &mut origins).ok_or_else(|| corrupt(key))?;
    }
    Ok(origins)
}

fn read_batch(batch: &RecordBatch, origins: &mut Origins) -> Option<()> {
    let text = |name: &str| batch.column_by_name(name)?.as_any().downcast_ref::<StringArray>();
    let number = |name: &str| batch.column_by_name(name)?.as_any().downcast_ref::<UInt64Array>();
    let (files, paths, sizes, counts) = (text("file")?, text("path")?, number("size_bytes")?, number("row_count")?);
    for row in 0..batch.num_rows() {
        let path = paths.value(row).to_owned();
        let origin = Origin { path, size_bytes: sizes.value(row), row_count: counts.value(row) };
        origins.0.entry(files.value(row).to_owned()).or_default().push(origin);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, row_count: u64) -> DataFile {
        let (partition_values, bounds) = (BTreeMap::new(), Vec::new());
        DataFile { path: path.to_owned(), size_bytes: 10, row_count, partition_values, bounds }
    }

    fn origin(path: &str, row_count: u64) -> Origin {
        Origin { path: path.to_owned(), size_bytes: 10, row_count }
    }

    #[test]
    fn a_file_that_a_step_has_written_is_its_own_origin() {
        assert_eq!(Origins::default().of(&file("a", 3)), [origin("a", 3)]);
    }

    #[test]
    fn rows_lie_in_the_order_of_the_origins_also_after_they_were_stored() {
        let mut origins = Origins::default();
        origins.insert("g", vec![origin("z", 2), origin("a", 3)]);
        let stored = decode_origins("k", encode_origins(&origins).unwrap()).unwrap();
        assert_eq!(stored, origins);
        assert_eq!(stored.places(&file("g", 5)), [(origin("z", 2), 0..2), (origin("a", 3), 2..5)]);
        assert!(decode_origins("k", Bytes::from_static(b"no Parquet")).unwrap_err().to_string().contains('k'));
    }
}
