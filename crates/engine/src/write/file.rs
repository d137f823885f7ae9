//! One Parquet file while it is written: encoded row group by row group, uploaded as it grows.
//!
//! Invariant: the object appears under its name only when it is complete, and a name is used once.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType, Fields, Schema, SchemaRef},
    },
    parquet::{
        arrow::{
            ArrowWriter,
            arrow_writer::{ArrowRowGroupWriterFactory, ArrowWriterOptions},
        },
        basic::{Compression, ZstdLevel},
        errors::ParquetError,
        file::{
            properties::{EnabledStatistics, WriterProperties},
            writer::SerializedFileWriter,
        },
        schema::types::ColumnPath,
    },
};
use lakewright_error::Result;
use lakewright_lake::DataFile;
use uuid::Uuid;

use super::{
    TableWrite,
    encode::{RowGroup, rows_bytes},
    upload::Upload,
    value::PartitionValue,
};
use crate::fault;

const ROW_GROUP_ROWS_MAX: usize = 1 << 20;
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
/// What the end of a file takes: once, and per column and row group.
const FOOTER_BYTES: u64 = 2 << 10;
const FOOTER_COLUMN_BYTES: u64 = 300;

/// What all files of a table have in common.
#[derive(Debug)]
pub(super) struct FileForm {
    write: Arc<TableWrite>,
    /// Columns in the files: all but the partition columns.
    schema: SchemaRef,
    /// Where they are in the rows.
    columns: Vec<usize>,
    properties: WriterProperties,
    /// Tasks that encode one file.
    lanes: usize,
}

impl FileForm {
    /// `cores` may help to encode one file.
    pub(super) fn new(write: &Arc<TableWrite>, cores: usize) -> Self {
        // Columns differ in cost: more lanes than cores even that out.
        let lanes = if cores > 1 { cores * 3 } else { 1 };
        let stored = write.schema.fields().iter().enumerate();
        let stored = stored.filter(|(_, field)| !write.partition_columns.contains(field.name()));
        let (columns, fields): (Vec<_>, Vec<_>) = stored.map(|(index, field)| (index, Arc::clone(field))).unzip();
        let schema = Arc::new(Schema::new(fields));
        Self { write: Arc::clone(write), properties: writer_properties(&schema), schema, columns, lanes }
    }

    /// Rows are encoded in units of at most this size, so that a file is closed near its target.
    pub(super) fn unit_bytes(&self) -> usize {
        const UNIT_BYTES_MAX: u64 = 4 << 20;
        usize::try_from((self.write.target_file_size_bytes / 16).clamp(1, UNIT_BYTES_MAX)).unwrap_or(1)
    }
}

fn writer_properties(schema: &Schema) -> WriterProperties {
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_created_by(concat!("lakewright version ", env!("CARGO_PKG_VERSION")).to_owned());
    // Parquet's bounds of floats leave NaN out, and NaN compares above every number: a reader that trusts them loses rows.
    for path in float_columns(schema.fields(), &[]) {
        properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    properties.build()
}

/// The float columns, also as fields of structs; no reader prunes by the items of lists and maps.
fn float_columns(fields: &Fields, parents: &[String]) -> Vec<ColumnPath> {
    let mut found = Vec::new();
    for field in fields {
        let path = [parents, &[field.name().clone()]].concat();
        match field.data_type() {
            DataType::Float16 | DataType::Float32 | DataType::Float64 => found.push(ColumnPath::new(path)),
            DataType::Struct(children) => found.extend(float_columns(children, &path)),
            _ => {}
        }
    }
    found
}

/// A file that takes rows.
pub(super) struct OpenFile {
    form: Arc<FileForm>,
    path: String,
    value: PartitionValue,
    sink: SerializedFileWriter<Buffer>,
    /// What the sink has written.
    encoded: Buffer,
    factory: ArrowRowGroupWriterFactory,
    row_group: Option<RowGroup>,
    upload: Upload,
}

impl OpenFile {
    pub(super) fn open(form: &Arc<FileForm>, value: PartitionValue) -> Result<Self> {
        let path = format!("{}{}-{}.parquet", value.directory, form.write.run_id, Uuid::new_v4());
        let location = form.write.root.path(&path)?;
        let options = ArrowWriterOptions::new().with_properties(form.properties.clone());
        let encoded = Buffer::default();
        let (sink, factory) = ArrowWriter::try_new_with_options(encoded.clone(), Arc::clone(&form.schema), options)
            .and_then(ArrowWriter::into_serialized_writer)
            .map_err(fault::from_parquet)?;
        let upload = Upload::new(Arc::clone(form.write.root.store()), location);
        Ok(Self { form: Arc::clone(form), path, value, sink, encoded, factory, row_group: None, upload })
    }

    /// Adds rows, all columns of the table. They should be no larger than a unit.
    pub(super) async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut rows = rows.project(&self.form.columns).map_err(|error| fault::from_datafusion(error.into()))?;
        while rows.num_rows() > 0 {
            let group = match &mut self.row_group {
                Some(group) => group,
                None => {
                    let index = self.sink.flushed_row_groups().len();
                    let writers = self.factory.create_column_writers(index).map_err(fault::from_parquet)?;
                    self.row_group.insert(RowGroup::new(&self.form.schema, writers, self.form.lanes))
                }
            };
            let count = rows.num_rows().min(ROW_GROUP_ROWS_MAX - group.row_count);
            let head = rows.slice(0, count);
            rows = rows.slice(count, rows.num_rows() - count);
            group.encode(&head, rows_bytes(&head)).await?;
            if group.row_count >= ROW_GROUP_ROWS_MAX || group.encoded_bytes() >= ROW_GROUP_BYTES_MAX {
                self.end_row_group().await?;
            }
        }
        Ok(())
    }

    /// Ends the row group and hands its bytes to the upload, column by column: a whole group beside its columns would be
    /// the same bytes twice.
    pub(super) async fn end_row_group(&mut self) -> Result<()> {
        let Some(group) = self.row_group.take() else { return Ok(()) };
        let chunks = group.close().map_err(fault::from_parquet)?;
        let mut writer = self.sink.next_row_group().map_err(fault::from_parquet)?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut writer).map_err(fault::from_parquet)?;
            for bytes in self.encoded.take_full() {
                self.upload.put(bytes).await?;
            }
        }
        writer.close().map_err(fault::from_parquet)?;
        self.upload_encoded().await
    }

    async fn upload_encoded(&mut self) -> Result<()> {
        let flushed = self.sink.flush();
        flushed.map_err(|error| fault::from_parquet(ParquetError::from(error)))?;
        for bytes in self.encoded.take_all() {
            self.upload.put(bytes).await?;
        }
        Ok(())
    }

    /// About the size that the file would have if it ended here, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        let groups = self.sink.flushed_row_groups().len() as u64 + u64::from(self.row_group.is_some());
        let footer = FOOTER_BYTES + FOOTER_COLUMN_BYTES * self.form.schema.fields().len() as u64 * groups;
        let encoded = self.row_group.as_ref().map_or(0, RowGroup::encoded_bytes);
        self.sink.bytes_written() as u64 + encoded as u64 + footer
    }

    /// Whether the file has reached its target size.
    pub(super) fn is_full(&self) -> bool {
        self.size_bytes() >= self.form.write.target_file_size_bytes
    }

    /// Memory that [`Self::end_row_group`] gives back, in bytes.
    pub(super) fn group_memory_bytes(&self) -> usize {
        self.row_group.as_ref().map_or(0, RowGroup::memory_bytes)
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.group_memory_bytes() + self.upload.memory_bytes()
    }

    /// Ends the file. It exists when this returns.
    pub(super) async fn finish(mut self) -> Result<DataFile> {
        let finished = self.try_finish().await;
        if finished.is_err() {
            self.abort().await;
        }
        finished
    }

    async fn try_finish(&mut self) -> Result<DataFile> {
        self.end_row_group().await?;
        let footer = self.sink.finish().map_err(fault::from_parquet)?;
        self.upload_encoded().await?;
        let size_bytes = self.sink.bytes_written() as u64;
        self.upload.finish().await?;
        let values = self.value.values.clone();
        let schema = &self.form.schema;
        Ok(DataFile::from_parquet(self.path.clone(), size_bytes, values, &footer, schema, &BTreeSet::new()))
    }

    /// Gives the file up.
    pub(super) async fn abort(&mut self) {
        self.upload.abort().await;
    }
}

/// Size at which encoded bytes are a piece of their own: what grows without end is copied each time it doubles.
const PIECE_BYTES: usize = 1 << 20;

/// Encoded bytes that wait for their upload. The encoder and the file hold the same ones.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Pieces>>);

#[derive(Default)]
struct Pieces {
    full: Vec<Bytes>,
    last: Vec<u8>,
}

impl Buffer {
    fn take_full(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.pieces().full)
    }

    fn take_all(&self) -> Vec<Bytes> {
        let mut pieces = self.pieces();
        let last = Bytes::from(std::mem::take(&mut pieces.last));
        let mut all = std::mem::take(&mut pieces.full);
        all.extend(Some(last).filter(|last| !last.is_empty()));
        all
    }

    fn pieces(&self) -> std::sync::MutexGuard<'_, Pieces> {
        // They are whole between any two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pieces = self.pieces();
        pieces.last.extend_from_slice(bytes);
        if pieces.last.len() >= PIECE_BYTES {
            let full = Bytes::from(std::mem::take(&mut pieces.last));
            pieces.full.push(full);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
