//! Writes the rows of a query as the Parquet files of a table, every partition its own, in parallel.
//!
//! Data flow: canonical SQL -> logical plan, cast to the stored schema -> [`plan::TableWriteNode`] -> [`exec::TableWriteExec`],
//! an interior node of one child: each of its partitions judges rows by their rules ([`judge`]), routes rows by partition value ([`route`]), encodes and uploads
//! files ([`file`]) within a share of the memory pool ([`budget`]) -> one row per DataFile -> [`execute_table_write`].
//!
//! Invariant: every row of the query is in exactly one file that is named, and no file has a name that another attempt
//! could have.

mod budget;
mod encode;
mod exec;
mod file;
mod judge;
mod manifest;
mod partition;
mod plan;
mod progress;
mod route;
mod rules;
mod sort;
mod upload;
mod value;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use datafusion::{
    arrow::datatypes::SchemaRef,
    common::ScalarValue,
    logical_expr::{Extension, LogicalPlan},
    physical_plan::ExecutionPlan,
    prelude::SessionContext,
};
use futures::StreamExt;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use tokio::task::JoinSet;

pub(crate) use self::{
    encode::rows_bytes,
    exec::{TableWriteExec, with_siblings},
    plan::WritePlanner,
    progress::measure,
    sort::Sorter,
};
pub use self::{
    judge::quarantine_schema,
    manifest::read_manifest,
    progress::StepProgress,
    rules::{RowRule, RuleAction, RuleReport, WriteOutput, WriteShare},
};
use self::{plan::TableWriteNode, rules::with_rules};
use crate::{
    fault,
    query::{cast_to, plan_query},
};

/// Where and how a query's rows are written.
#[derive(Clone, Debug)]
pub struct TableWrite {
    /// The table's root.
    pub root: Prefix,
    /// Stored schema; the query's columns are cast to it in order, and a value that does not fit fails the step.
    pub schema: SchemaRef,
    /// Partition columns in directory order.
    pub partition_columns: Vec<String>,
    /// Sort order inside files.
    pub clustered_by: Vec<String>,
    /// Size at which a file is closed, in bytes.
    pub target_file_size_bytes: u64,
    /// First part of every file's name: `<run_id>-<uuid v4>.parquet`.
    pub run_id: String,
    /// What is asked of every row.
    pub rules: Vec<RowRule>,
    /// Root of the files of rows that a rule keeps apart ([`quarantine_schema`]); needed if one does.
    pub quarantine: Option<Prefix>,
}

/// Time between two reports of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Plans canonical SQL under a write node.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: the SQL does not plan over the registered relations, or a column of the write is not in its
///   schema.
/// - [`ErrorKind::Unsupported`]: a partition column has a type that no directory can name.
pub async fn plan_table_write(
    session: &SessionContext,
    sql: &str,
    params: &BTreeMap<String, ScalarValue>,
    write: TableWrite,
) -> Result<Arc<dyn ExecutionPlan>> {
    check_columns(&write)?;
    let plan = cast_to(plan_query(session, sql, params).await?, &write.schema)?;
    let plan = with_rules(session, plan, &write.rules, params)?;
    let node = TableWriteNode::new(plan, write).map_err(fault::from_datafusion)?;
    let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
    session.state().create_physical_plan(&plan).await.map_err(fault::from_datafusion)
}

fn check_columns(write: &TableWrite) -> Result<()> {
    for name in write.partition_columns.iter().chain(&write.clustered_by) {
        write.schema.index_of(name).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the table has no such column").with("column", name).with_source(error)
        })?;
    }
    for name in &write.partition_columns {
        if let Ok(field) = write.schema.field_with_name(name)
            && !value::can_partition(field.data_type())
        {
            return Err(Error::new(ErrorKind::Unsupported, "a table cannot be partitioned by a column of this type")
                .with("column", name)
                .with("type", field.data_type()));
        }
    }
    if write.quarantine.is_none() && write.rules.iter().any(|rule| rule.action == RuleAction::Quarantine) {
        return Err(Error::new(ErrorKind::Internal, "a rule keeps rows apart, and nothing says where"));
    }
    if write.partition_columns.len() == write.schema.fields().len() {
        return Err(Error::new(ErrorKind::Invalid, "a table needs a column that it is not partitioned by"));
    }
    Ok(())
}

/// Runs the plan to its end and gives what it wrote. `progress` is called a few times a second.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: a raw object or a data file cannot be read; names it.
/// - [`ErrorKind::Conflict`]: a raw object has changed since it was listed; names it.
/// - [`ErrorKind::Exhausted`]: memory pool, spill limit or disk.
/// - [`ErrorKind::Unavailable`]: the store did not answer.
/// - [`ErrorKind::Denied`]: the store refused.
/// - [`ErrorKind::Invalid`]: a value does not fit (overflow, invalid cast), or a partition column has empty text.
///
/// # Cancel safety
/// Dropping the future stops the query. Files that were already written stay, and nothing names them.
pub async fn execute_table_write(
    session: &SessionContext,
    plan: Arc<dyn ExecutionPlan>,
    progress: &(dyn Fn(StepProgress) + Send + Sync),
) -> Result<WriteOutput> {
    let plan = with_siblings(plan).map_err(fault::from_datafusion)?;
    let context = session.task_ctx();
    let mut partitions = JoinSet::new();
    for partition in 0..plan.properties().output_partitioning().partition_count() {
        let mut rows = plan.execute(partition, Arc::clone(&context)).map_err(fault::from_datafusion)?;
        partitions.spawn(async move {
            let mut manifest = Vec::new();
            while let Some(batch) = rows.next().await {
                manifest.push(batch.map_err(fault::from_datafusion)?);
            }
            Ok::<_, Error>((partition, manifest))
        });
    }
    let mut manifests = BTreeMap::new();
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    loop {
        tokio::select! {
            ended = partitions.join_next() => match ended {
                Some(Ok(written)) => manifests.extend([written?]),
                Some(Err(error)) => return Err(fault::from_join(error)),
                None => break,
            },
            _ = ticks.tick() => progress(measure(plan.as_ref())),
        }
    }
    progress(measure(plan.as_ref()));
    let mut written = WriteOutput::default();
    for batch in manifests.values().flatten() {
        read_manifest(batch, &mut written)?;
    }
    written.files.sort_by(|a, b| a.path.cmp(&b.path));
    written.quarantined.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(written)
}
