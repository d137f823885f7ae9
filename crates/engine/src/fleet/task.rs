//! What an executor does with a task beside running it.
//!
//! Data flow: a task's plan as it was decoded -> [`prepare_task`] -> Ballista runs it in the context of [`task_context`]
//! -> [`store_reports`], if it ended well.
//!
//! Invariant: the rows of a prepared plan are those of the plan.

use std::{any::Any, sync::Arc};

use bytes::Bytes;
use datafusion::{
    common::{
        Result as PlanResult,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    datasource::{
        physical_plan::{FileScanConfig, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
    },
    execution::{TaskContext, memory_pool::MemoryLimit},
    physical_plan::ExecutionPlan,
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    Created, layout,
    state::{Format, ScanReport, encode},
};
use uuid::Uuid;

use super::{
    codec::{file_scan, json_scan},
    one_task::OneTaskExec,
};
use crate::{
    json::ScanReports, relation::named_readers, row_number::number_rows, session::sort_reservation_bytes,
    write::with_siblings,
};

/// A task's plan, ready to run.
#[derive(Debug)]
pub struct PreparedTask {
    /// The plan.
    pub plan: Arc<dyn ExecutionPlan>,
    /// What its scans of raw objects will have seen.
    pub reports: Vec<ScanReports>,
}

/// Does to a task's plan what serves within one process only, and gives its scans reports of their own.
///
/// # Errors
/// Those of walking the plan.
pub fn prepare_task(plan: Arc<dyn ExecutionPlan>) -> PlanResult<PreparedTask> {
    let mut reports = Vec::new();
    let plan = plan.transform_down(|node| {
        Ok(match node.downcast_ref::<OneTaskExec>() {
            Some(whole) => Transformed::yes(whole.taken_apart()),
            None => Transformed::no(node),
        })
    })?;
    let plan = plan.data.transform_up(|node| {
        if let Some((config, source)) = json_scan(node.as_ref()) {
            let Some((lake, folder)) = source.reports().and_then(ScanReports::place) else {
                return Ok(Transformed::no(node));
            };
            // Tasks of one message share their decoded plan, and one may fail where another does not.
            let own = ScanReports::stored_in(lake, folder);
            reports.push(own.clone());
            let source = Arc::new(source.clone().with_reports(Some(own)));
            return Ok(Transformed::yes(rebuilt(config.clone(), source)));
        }
        Ok(match file_scan(node.as_ref()).and_then(|config| Some((config, named_parquet(config)?))) {
            Some((config, source)) => Transformed::yes(rebuilt(config.clone(), Arc::new(source))),
            None => Transformed::no(node),
        })
    })?;
    let plan = with_siblings(number_rows(plan.data)?)?;
    Ok(PreparedTask { plan, reports })
}

fn rebuilt(
    config: FileScanConfig,
    source: Arc<dyn datafusion::datasource::physical_plan::FileSource>,
) -> Arc<dyn ExecutionPlan> {
    let groups = config.file_groups.clone();
    let config = FileScanConfigBuilder::from(config).with_source(source).with_file_groups(groups).build();
    DataSourceExec::from_data_source(config)
}

/// The Parquet source of a scan, with readers that name the file in their errors.
fn named_parquet(config: &FileScanConfig) -> Option<ParquetSource> {
    let source: &dyn Any = config.file_source().as_ref();
    let source = source.downcast_ref::<ParquetSource>()?;
    let readers = source.parquet_file_reader_factory()?;
    Some(source.clone().with_parquet_file_reader_factory(named_readers(Arc::clone(readers))))
}

/// The id of the executor that runs a task, in the session of its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskExecutor(pub String);

/// The context of a task: as many partitions share the memory as the executor has slots, not as the whole fleet has, and
/// what sorts set aside is measured by its memory, not by the scheduler's.
#[must_use]
pub fn task_context(context: &TaskContext, slots: usize, executor: &TaskExecutor) -> Arc<TaskContext> {
    let mut config = context.session_config().clone().with_target_partitions(slots.max(1));
    if let MemoryLimit::Finite(bytes) = context.runtime_env().memory_pool.memory_limit() {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        config.options_mut().execution.sort_spill_reservation_bytes = sort_reservation_bytes(bytes);
    }
    Arc::new(TaskContext::new(
        context.task_id(),
        context.session_id(),
        config.with_extension(Arc::new(executor.clone())),
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        context.runtime_env(),
    ))
}

/// Stores what a task's scans saw, for the driver of the run.
///
/// # Errors
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`], [`ErrorKind::Exhausted`]: as creating an object.
///
/// # Cancel safety
/// Dropping the future may leave a report of what the next attempt reports again: the driver takes each range once.
pub async fn store_reports(reports: &[ScanReports]) -> Result<()> {
    for scan in reports {
        let (Some((lake, folder)), ranges) = (scan.place(), scan.take()) else { continue };
        if ranges.is_empty() {
            continue;
        }
        let key = layout::scan_report(&folder, &Uuid::new_v4().to_string());
        let bytes: Bytes = encode(&ScanReport { format: Format, ranges })?;
        if let Created::Before(before) = lake.create(&key, bytes.clone()).await?
            && before != bytes
        {
            return Err(Error::new(ErrorKind::Internal, "a new report was there already").with("object", key));
        }
    }
    Ok(())
}

/// Locations of the objects that one partition of a stage's plan reads, in order, at most `max`.
#[must_use]
pub fn objects_of_partition(plan: &Arc<dyn ExecutionPlan>, partition: usize, max: usize) -> Vec<String> {
    let mut objects = Vec::new();
    add_objects(plan, Some(partition), max, &mut objects);
    objects
}

/// Adds the objects of one partition, or of all of them.
fn add_objects(plan: &Arc<dyn ExecutionPlan>, partition: Option<usize>, max: usize, objects: &mut Vec<String>) {
    // The closure never fails.
    let _ = plan.apply(|node| {
        if let Some(whole) = node.downcast_ref::<OneTaskExec>() {
            add_objects(whole.plan(), None, max, objects);
        } else if let Some(config) = file_scan(node.as_ref()) {
            let groups = config.file_groups.iter().enumerate();
            let read = groups.filter(|(number, _)| partition.is_none_or(|partition| partition == *number));
            let locations = read.flat_map(|(_, group)| group.iter()).map(|file| file.object_meta.location.to_string());
            objects.extend(locations.take(max.saturating_sub(objects.len())));
        }
        Ok(if objects.len() < max { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
}

#[cfg(test)]
mod tests {
    use datafusion::{
        execution::{memory_pool::FairSpillPool, runtime_env::RuntimeEnvBuilder},
        prelude::{SessionConfig, SessionContext},
    };

    use super::*;

    #[test]
    fn what_sorts_set_aside_is_measured_by_the_memory_of_the_executor() {
        let mut config = SessionConfig::new();
        config.options_mut().execution.sort_spill_reservation_bytes = 10 << 20;
        let pool = Arc::new(FairSpillPool::new(24 << 20));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
        let planned = SessionContext::new_with_config_rt(config, runtime).task_ctx();
        let context = task_context(&planned, 1, &TaskExecutor("e-1".to_owned()));
        assert_eq!(context.session_config().options().execution.sort_spill_reservation_bytes, 1 << 20);
    }
}
