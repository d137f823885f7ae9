//! A lake and a raw prefix in a temporary directory, and readers that are not the engine's.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType, Field, Schema, SchemaRef},
        util::pretty::pretty_format_batches,
    },
    catalog::MemorySchemaProvider,
    common::ScalarValue,
    datasource::MemTable,
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
    prelude::SessionContext,
};
use futures::TryStreamExt;
use lakewright_engine::{
    Compression, Engine, EngineSettings, RawScan, ReadMode, Reading, Relation, StepProgress, TableScan, TableWrite,
    execute_table_write, plan_table_write, register_relation,
};
use lakewright_error::{Error, Result};
use lakewright_lake::{DataFile, Prefix, RawObject};
use tempfile::TempDir;

/// The first record that does not fit fails the scan.
pub(crate) fn fail_fast() -> Reading {
    Reading { mode: ReadMode::FailFast, ..Reading::default() }
}

/// An engine over a temporary directory.
pub(crate) struct Fixture {
    pub(crate) engine: Engine,
    pub(crate) lake: Prefix,
    pub(crate) raw: Prefix,
    pub(crate) directory: TempDir,
    pub(crate) progress: Mutex<StepProgress>,
}

impl Fixture {
    pub(crate) fn new(partitions: usize) -> Self {
        Self::with_memory(partitions, 1 << 30)
    }

    pub(crate) fn with_memory(partitions: usize, memory_limit_bytes: u64) -> Self {
        let directory = TempDir::new().unwrap();
        let engine = Engine::new(EngineSettings {
            memory_limit_bytes,
            spill_dir: directory.path().join("spill"),
            spill_limit_bytes: 1 << 30,
            target_partitions: partitions,
        })
        .unwrap();
        let open = |name: &str| {
            fs::create_dir_all(directory.path().join(name)).unwrap();
            Prefix::open(directory.path().join(name).to_str().unwrap()).unwrap()
        };
        let (lake, raw) = (open("lake"), open("raw"));
        engine.register_store(&lake);
        engine.register_store(&raw);
        Self { engine, lake, raw, directory, progress: Mutex::default() }
    }

    /// Writes a raw object and describes it as a listing would.
    pub(crate) fn put_raw(&self, key: &str, bytes: impl AsRef<[u8]>) -> RawObject {
        let path = self.raw_path(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes.as_ref()).unwrap();
        let modified: chrono::DateTime<chrono::Utc> = fs::metadata(&path).unwrap().modified().unwrap().into();
        RawObject {
            key: key.to_owned(),
            size_bytes: bytes.as_ref().len() as u64,
            etag: None,
            modified_us: modified.timestamp_micros(),
        }
    }

    pub(crate) fn raw_path(&self, key: &str) -> PathBuf {
        self.directory.path().join("raw").join(key)
    }

    /// A session with the objects as `raw.events`.
    pub(crate) async fn raw_session(&self, schema: &SchemaRef, objects: Vec<RawObject>) -> Result<SessionContext> {
        let session = self.engine.session();
        let scan = RawScan {
            raw: self.raw.clone(),
            schema: Arc::clone(schema),
            compression: Compression::Auto,
            reading: fail_fast(),
            reports: None,
            objects,
        };
        register_relation(&session, "raw", "events", Relation::Raw(scan)).await?;
        Ok(session)
    }

    /// A session with batches as the table `input`, one partition each.
    pub(crate) fn memory_session(&self, partitions: Vec<Vec<RecordBatch>>) -> SessionContext {
        let session = self.engine.session();
        session
            .catalog("datafusion")
            .unwrap()
            .register_schema("public", Arc::new(MemorySchemaProvider::new()))
            .unwrap();
        let schema = partitions.iter().flatten().next().unwrap().schema();
        session.register_table("input", Arc::new(MemTable::try_new(schema, partitions).unwrap())).unwrap();
        session
    }

    /// How a table below the lake is written.
    pub(crate) fn write(&self, schema: SchemaRef) -> TableWrite {
        TableWrite {
            root: self.lake.child("zone/table").unwrap(),
            schema,
            partition_columns: Vec::new(),
            clustered_by: Vec::new(),
            target_file_size_bytes: 128 << 20,
            run_id: "run1".to_owned(),
            rules: Vec::new(),
            quarantine: None,
        }
    }

    /// Plans and runs a write.
    pub(crate) async fn run(&self, session: &SessionContext, sql: &str, write: TableWrite) -> Result<Vec<DataFile>> {
        let plan = plan_table_write(session, sql, &BTreeMap::new(), write).await?;
        let written = execute_table_write(session, plan, &|progress| *self.progress.lock().unwrap() = progress).await;
        written.map(|written| written.files)
    }

    /// A file's rows, read by the Parquet crate alone.
    pub(crate) fn read_file(&self, file: &DataFile) -> Vec<RecordBatch> {
        let path = self.directory.path().join("lake/zone/table").join(&file.path);
        assert_eq!(fs::metadata(&path).unwrap().len(), file.size_bytes, "{}", file.path);
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
        let batches: Vec<RecordBatch> = reader.map(|batch| batch.unwrap()).collect();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, file.row_count);
        batches
    }

    /// Objects that exist below the table, relative to it.
    pub(crate) fn objects(&self) -> Vec<String> {
        let root = self.directory.path().join("lake/zone/table");
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// Reads the table back through the engine's own scan, as text.
    pub(crate) async fn query_table(&self, write: &TableWrite, files: &[DataFile], sql: &str) -> Result<String> {
        let session = self.engine.session();
        let scan = TableScan {
            root: write.root.clone(),
            schema: Arc::clone(&write.schema),
            partition_columns: write.partition_columns.clone(),
            files: files.to_vec(),
        };
        register_relation(&session, "zone", "table", Relation::Table(scan)).await?;
        self.query(&session, sql).await
    }

    /// The rows of a query, as text.
    pub(crate) async fn query(&self, session: &SessionContext, sql: &str) -> Result<String> {
        let params: BTreeMap<String, ScalarValue> = BTreeMap::new();
        let rows = self.engine.query(session, sql, &params).await?;
        let batches: Vec<RecordBatch> = rows.batches.try_collect().await?;
        Ok(pretty_format_batches(&batches).unwrap().to_string())
    }
}

/// A schema of nullable columns.
pub(crate) fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The value of a key of an error's context.
pub(crate) fn context<'a>(error: &'a Error, key: &str) -> Option<&'a str> {
    error.context().iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
}

/// An error with all that it says.
pub(crate) fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
