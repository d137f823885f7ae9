//! Who executes a step: this process over plain DataFusion, or a fleet.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    ops::Range,
    sync::{Arc, Mutex},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use datafusion::{common::ScalarValue, prelude::SessionContext};
use futures::StreamExt;
use lakewright_compiler::TableName;
use lakewright_engine::{
    Engine, RawScan, Relation, RuleReport, ScanReports, StepProgress, TableScan, TableWrite, WriteOutput,
    execute_table_write, plan_table_write, register_relation, rewrite_files,
};
use lakewright_error::Result;
use lakewright_lake::{
    DataFile, Prefix,
    state::{RangeReport, TaskTimes, WriterShare},
};
use serde::{Deserialize, Serialize};

use crate::room::{Planned, Room};

/// Executes steps.
#[async_trait]
pub trait Backend: Debug + Send + Sync {
    /// Runs one step to its end.
    ///
    /// # Errors
    /// Those of [`lakewright_engine::execute_table_write`].
    ///
    /// # Cancel safety
    /// Dropping the future stops the step; files that were written stay, and nothing names them.
    async fn execute(&self, task: StepTask, progress: &(dyn Fn(StepProgress) + Send + Sync)) -> Result<StepOutput>;

    /// Answers a query over tables, with at most [`QueryTask::rows_max`] rows.
    ///
    /// # Errors
    /// As [`Backend::execute`].
    async fn query(&self, task: QueryTask) -> Result<Vec<RecordBatch>>;

    /// Reads raw objects that no task of a step has read to their end, for their reports alone.
    ///
    /// # Errors
    /// As [`Backend::execute`].
    async fn read_raw(&self, scan: RawScan) -> Result<Vec<RangeReport>>;

    /// Writes rows of files of a table, in order, as one file of the same table.
    ///
    /// # Errors
    /// As [`lakewright_engine::rewrite_files`].
    async fn rewrite(&self, task: RewriteTask) -> Result<DataFile>;

    /// Who executes steps at this moment.
    ///
    /// # Errors
    /// - [`lakewright_error::ErrorKind::Unavailable`]: whoever knows does not answer.
    async fn executors(&self) -> Result<Vec<ExecutorInfo>> {
        Ok(Vec::new())
    }
}

/// One process that executes steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorInfo {
    /// Its id.
    pub id: String,
    /// Name or address of its machine.
    pub host: String,
    /// Tasks that it runs at once.
    pub slots: u32,
    /// Tasks that it could start now; `None` if nobody counts.
    pub slots_free: Option<u32>,
    /// When it was last heard of, in microseconds since 1970-01-01T00:00:00Z; `None` for this process.
    pub seen_us: Option<i64>,
}

/// What a backend needs to run a step.
#[derive(Clone, Debug)]
pub struct StepTask {
    /// The step.
    pub table: TableName,
    /// Canonical SQL.
    pub sql: String,
    /// Values of `$name` parameters.
    pub params: BTreeMap<String, ScalarValue>,
    /// Inputs; a view comes after what it reads.
    pub inputs: Vec<StepInput>,
    /// Where the rows go.
    pub write: TableWrite,
}

/// What a backend needs to answer a query.
#[derive(Clone, Debug)]
pub struct QueryTask {
    /// Canonical SQL.
    pub sql: String,
    /// Values of `$name` parameters.
    pub params: BTreeMap<String, ScalarValue>,
    /// What it reads; a view comes after what it reads.
    pub inputs: Vec<StepInput>,
    /// The first rows that are enough.
    pub rows_max: u64,
}

/// What a backend needs to write rows of a table again.
#[derive(Clone, Debug)]
pub struct RewriteTask {
    /// The table's root.
    pub root: Prefix,
    /// All columns in table order, partition columns included.
    pub schema: SchemaRef,
    /// Partition columns.
    pub partition_columns: Vec<String>,
    /// The files, all of one partition value, in the order that their rows get.
    pub files: Vec<DataFile>,
    /// Rows of the files that are not taken as a whole, by path: numbers from 0, ascending and apart.
    pub ranges: BTreeMap<String, Vec<Range<u64>>>,
    /// First part of the new file's name.
    pub run_id: String,
}

/// One input of a step.
#[derive(Clone, Debug)]
pub struct StepInput {
    /// The name that the SQL calls it by.
    pub name: TableName,
    /// The rows.
    pub relation: Relation,
}

/// What a step made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOutput {
    /// Files written, sorted by path.
    pub files: Vec<DataFile>,
    /// Files of rows that were kept apart, sorted by path.
    pub quarantined: Vec<DataFile>,
    /// What was found out about the write's rules, in their order.
    pub rules: Vec<RuleReport>,
    /// Final counts.
    pub progress: StepProgress,
    /// Times that it was executed; 0 counts as once.
    pub executions: u32,
    /// Whether it had found too little memory, and was planned to spare it then.
    pub spared_memory: bool,
    /// The times of its tasks, on a fleet.
    pub tasks: Option<TaskTimes>,
    /// Who wrote the files, on a fleet, sorted by executor.
    pub written_by: Vec<WriterShare>,
    /// What scans of sources saw, by source. A range may be there twice, or not at all.
    pub reports: BTreeMap<TableName, Vec<RangeReport>>,
}

/// Executes steps in this process.
#[derive(Debug)]
pub struct EmbeddedBackend {
    engine: Engine,
    room: Room,
}

impl EmbeddedBackend {
    /// Makes a backend over the process's engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine, room: Room::default() }
    }

    async fn write(
        &self,
        session: SessionContext,
        task: StepTask,
        progress: &(dyn Fn(StepProgress) + Send + Sync),
    ) -> Result<StepOutput> {
        self.engine.register_store(&task.write.root);
        if let Some(root) = &task.write.quarantine {
            self.engine.register_store(root);
        }
        let mut reports = BTreeMap::new();
        for StepInput { name, mut relation } in task.inputs {
            match &mut relation {
                Relation::Raw(scan) => {
                    self.engine.register_store(&scan.raw);
                    // Of this attempt alone.
                    let collected = ScanReports::default();
                    scan.reports = Some(collected.clone());
                    reports.insert(name.clone(), collected);
                }
                Relation::Table(scan) => self.engine.register_store(&scan.root),
                Relation::View { .. } => {}
            }
            register_relation(&session, name.zone(), name.table(), relation).await?;
        }
        let plan = plan_table_write(&session, &task.sql, &task.params, task.write).await?;
        let last = Mutex::new(StepProgress::default());
        let written = execute_table_write(&session, plan, &|counts| {
            // A poisoned lock would only mean that a report was lost.
            if let Ok(mut last) = last.lock() {
                *last = counts;
            }
            progress(counts);
        })
        .await?;
        let progress = last.into_inner().unwrap_or_default();
        let reports = reports.into_iter().map(|(name, collected)| (name, collected.take())).collect();
        let WriteOutput { files, quarantined, rules, .. } = written;
        Ok(StepOutput { files, quarantined, rules, progress, reports, ..StepOutput::default() })
    }
}

/// Writes rows of a table again in this process: small files, whose rows must keep their order.
pub(crate) async fn rewrite_here(engine: &Engine, task: RewriteTask) -> Result<DataFile> {
    let RewriteTask { root, schema, partition_columns, files, ranges, run_id } = task;
    let write = TableWrite {
        root: root.clone(),
        schema: Arc::clone(&schema),
        partition_columns: partition_columns.clone(),
        clustered_by: Vec::new(),
        target_file_size_bytes: u64::MAX,
        run_id,
        rules: Vec::new(),
        quarantine: None,
    };
    rewrite_files(engine, TableScan { root, schema, partition_columns, files }, &ranges, write).await
}

/// Reads raw objects in this process for their reports alone.
pub(crate) async fn read_raw_here(engine: &Engine, mut scan: RawScan) -> Result<Vec<RangeReport>> {
    let session = engine.session();
    engine.register_store(&scan.raw);
    let reports = ScanReports::default();
    scan.reports = Some(reports.clone());
    register_relation(&session, "raw", "objects", Relation::Raw(scan)).await?;
    let sql = r#"SELECT count(*) AS "records" FROM "raw"."objects""#;
    let mut rows = engine.query(&session, sql, &BTreeMap::new()).await?;
    while let Some(batch) = rows.batches.next().await {
        batch?;
    }
    Ok(reports.take())
}

#[async_trait]
impl Backend for EmbeddedBackend {
    async fn execute(&self, task: StepTask, progress: &(dyn Fn(StepProgress) + Send + Sync)) -> Result<StepOutput> {
        let table = task.table.to_string();
        let attempt = |planned: Planned| {
            let task = task.clone();
            async move {
                let mut output = self.write(planned.session(&self.engine), task, progress).await?;
                output.spared_memory = planned == Planned::Sparing;
                output.executions = if output.spared_memory { 2 } else { 1 };
                Ok(output)
            }
        };
        self.room.run(&table, attempt).await
    }

    async fn query(&self, task: QueryTask) -> Result<Vec<RecordBatch>> {
        self.room.query(&self.engine, task).await
    }

    async fn read_raw(&self, scan: RawScan) -> Result<Vec<RangeReport>> {
        read_raw_here(&self.engine, scan).await
    }

    async fn rewrite(&self, task: RewriteTask) -> Result<DataFile> {
        rewrite_here(&self.engine, task).await
    }

    async fn executors(&self) -> Result<Vec<ExecutorInfo>> {
        let partitions = self.engine.session().state().config().target_partitions();
        Ok(vec![ExecutorInfo {
            id: "embedded".to_owned(),
            host: sysinfo::System::host_name().unwrap_or_default(),
            slots: u32::try_from(partitions).unwrap_or(u32::MAX),
            slots_free: None,
            seen_us: None,
        }])
    }
}
