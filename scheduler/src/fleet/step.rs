//! Runs one step on the fleet: plans it for as many tasks as there are slots, and has it executed until its rows are here.
//!
//! Data flow: a [`StepTask`] -> relations of a session -> a plan of which one last stage collects the rows of the write
//! node -> [`super::job`] -> files, counts, and what scans of raw objects have stored of what they saw.
//!
//! Invariant: the files are those of one execution of the whole plan. What an execution that was lost has written is
//! named by nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use datafusion::physical_plan::{ExecutionPlan, coalesce_partitions::CoalescePartitionsExec};
use futures::{StreamExt, TryStreamExt, stream};
use lakewright_compiler::TableName;
use lakewright_engine::{
    Relation, ScanReports, StepProgress, WriteOutput, WriteShare,
    fleet::{OneTaskExec, TaskOrigin},
    is_no_memory, plan_table_write, register_relation,
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    DataFile, Prefix, layout,
    state::{RangeReport, ScanReport, WriterShare, list_names, read_object},
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Fleet,
    job::{Ended, Watching, run_job},
    losses::Losses,
    members::{self, Room},
};
use crate::{StepInput, StepOutput, StepTask, room::Planned, run::retrying};

/// Executions of a step of which the fleet has lost the earlier ones.
const EXECUTIONS_MAX: u32 = 8;

/// Executions that may have made no progress before a step fails.
const STALLS_MAX: u32 = 2;

/// Bytes of input that one task is for, where there is more than the slots take at once.
const TASK_BYTES: u64 = 128 << 20;

/// Tasks of a stage for each slot, at most: more would only be more messages.
const TASKS_OF_SLOT_MAX: usize = 4;

/// Pause between two looks whether somebody has joined.
const JOIN_LOOK: std::time::Duration = std::time::Duration::from_millis(100);

/// Reports read at once.
const REPORT_READS_MAX: usize = 16;

/// Where the reports of the sources are.
type Scans = BTreeMap<TableName, String>;

/// Runs a step to its end.
///
/// # Errors
/// Those of the step; [`ErrorKind::Unavailable`] also if nobody joins, or the fleet loses the step again and again.
pub(super) async fn execute(
    fleet: &Fleet,
    task: StepTask,
    progress: &(dyn Fn(StepProgress) + Send + Sync),
) -> Result<StepOutput> {
    fleet.local.check(&task.write.root)?;
    if let Some(root) = &task.write.quarantine {
        fleet.local.check(root)?;
    }
    let lake = lake_of(&task)?;
    let mut lost = None;
    let mut losses = Losses::default();
    let mut stalls = 0;
    let mut planned = Planned::Fast;
    for execution in 1..=EXECUTIONS_MAX {
        let room = wait_for_room(fleet).await?;
        let (plan, session, scans) = plan(fleet, &task, &lake, room, planned).await?;
        let watching = Watching { progress, losses: &mut losses };
        let ended = match run_job(fleet, &task.table.to_string(), session, plan, watching).await {
            Err(error) if planned == Planned::Fast && is_no_memory(&error) => {
                tracing::info!(step = %task.table, "too little memory: tried again, sparing it");
                planned = Planned::Sparing;
                lost = Some(error);
                continue;
            }
            ended => ended?,
        };
        match ended {
            Ended::Done { written, progress, tasks } => {
                let WriteOutput { files, quarantined, rules, shares } = written;
                let (files, quarantined) = (sorted(files), sorted(quarantined));
                let reports = read_reports(&lake, scans).await?;
                let written_by = written_by(shares, &members::hosts(&fleet.server).await);
                return Ok(StepOutput {
                    files,
                    quarantined,
                    rules,
                    progress,
                    reports,
                    executions: execution,
                    spared_memory: planned == Planned::Sparing,
                    tasks,
                    written_by,
                });
            }
            Ended::Stuck(error) if stalls >= STALLS_MAX => return Err(error),
            Ended::Stuck(error) => {
                tracing::warn!(step = %task.table, error = crate::run::chain(&error), "step is executed again");
                stalls += 1;
                lost = Some(error);
            }
            // Others may have room: whoever has none does not join again at once.
            Ended::NoRoom(error) if members::room(&fleet.server, &fleet.held).await.slots == 0 => return Err(error),
            Ended::Lost(error) | Ended::NoRoom(error) => {
                tracing::warn!(step = %task.table, error = crate::run::chain(&error), "step is executed again");
                lost = Some(error);
            }
        }
    }
    Err(lost.unwrap_or_else(|| Error::new(ErrorKind::Internal, "a step was not executed")))
}

fn sorted(mut files: Vec<DataFile>) -> Vec<DataFile> {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Who wrote what, with the machines of those that are still there.
fn written_by(shares: BTreeMap<String, WriteShare>, hosts: &BTreeMap<String, String>) -> Vec<WriterShare> {
    let named = shares.into_iter().map(|(executor, WriteShare { files, rows, bytes })| {
        let host = hosts.get(&executor).cloned().unwrap_or_default();
        WriterShare { executor, host, files, rows, bytes }
    });
    named.collect()
}

/// The lake that a table is in: reports are stored there.
fn lake_of(task: &StepTask) -> Result<Prefix> {
    task.write
        .root
        .above(&layout::table_root(task.table.zone(), task.table.table()))
        .ok_or_else(|| Error::new(ErrorKind::Internal, "a table does not lie in its lake").with("table", &task.table))
}

/// A step that is counted among those that wait for executors, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn wait_for_room(fleet: &Fleet) -> Result<Room> {
    let started = Instant::now();
    let mut told = false;
    let _waiting = Waiting::new(&fleet.steps_waiting);
    loop {
        let room = members::room(&fleet.server, &fleet.held).await;
        if room.slots > 0 {
            return Ok(room);
        }
        if started.elapsed() > fleet.patience {
            return Err(Error::new(ErrorKind::Unavailable, "no executor has joined")
                .with("location", &fleet.address)
                .with_hint(
                    "start one with `lakewright executor`; `lakewright executors` lists those that have joined",
                ));
        }
        if !told {
            tracing::warn!(address = fleet.address, "step waits for executors to join");
            told = true;
        }
        sleep(JOIN_LOOK).await;
    }
}

async fn plan(
    fleet: &Fleet,
    task: &StepTask,
    lake: &Prefix,
    room: Room,
    planned: Planned,
) -> Result<(Arc<dyn ExecutionPlan>, datafusion::prelude::SessionContext, Scans)> {
    let is_one_task = planned == Planned::Fast && is_for_one(&task.inputs, room, fleet.single_executor_bytes);
    let partitions = match planned {
        Planned::Fast if is_one_task => room.slots.div_ceil(room.executors.max(1)),
        Planned::Fast => tasks_for(input_bytes(&task.inputs), room.slots),
        // The more parts, the fewer rows has each; how many run at once is a matter of slots.
        Planned::Sparing => room.slots.saturating_mul(TASKS_OF_SLOT_MAX),
    };
    let origin = TaskOrigin::new(lake.display_location(), task.write.run_id.clone(), task.table.to_string());
    let session = match planned {
        Planned::Fast => fleet.engine.fleet_session(partitions, origin),
        Planned::Sparing => fleet.engine.sparing_fleet_session(partitions, origin),
    };
    fleet.engine.register_store(&task.write.root);
    let execution = Uuid::new_v4().to_string();
    let mut scans = Scans::new();
    for StepInput { name, relation } in &task.inputs {
        let mut relation = relation.clone();
        match &mut relation {
            Relation::Raw(scan) => {
                fleet.local.check(&scan.raw)?;
                fleet.engine.register_store(&scan.raw);
                let folder = layout::scans(&task.write.run_id, &execution, &name.to_string());
                scan.reports = Some(ScanReports::stored_in(lake.clone(), folder.clone()));
                scans.insert(name.clone(), folder);
            }
            Relation::Table(scan) => fleet.engine.register_store(&scan.root),
            Relation::View { .. } => {}
        }
        register_relation(&session, name.zone(), name.table(), relation).await?;
    }
    let plan = plan_table_write(&session, &task.sql, &task.params, task.write.clone()).await?;
    // One last stage of one task: its rows are in one place, and complete or not there at all.
    let plan: Arc<dyn ExecutionPlan> =
        if is_one_task { Arc::new(OneTaskExec::new(plan)) } else { Arc::new(CoalescePartitionsExec::new(plan)) };
    Ok((plan, session, scans))
}

/// Whether one executor is to execute a step alone: rows that go from one executor to another pass through files and the
/// network, which costs more than the work of most steps. The more executors have no part in it, the less it may read.
///
/// Never if it reads raw objects: their tasks exchange little, and an object that ends executors must be found.
fn is_for_one(inputs: &[StepInput], room: Room, limit_bytes: u64) -> bool {
    let reads_raw = inputs.iter().any(|input| matches!(input.relation, Relation::Raw(_)));
    let others = u64::try_from(room.executors.saturating_sub(1)).unwrap_or(u64::MAX);
    limit_bytes > 0 && !reads_raw && input_bytes(inputs).saturating_mul(others) <= limit_bytes
}

/// Tasks of a stage: as many as run at once, or as there are portions of the input.
fn tasks_for(input_bytes: u64, slots: usize) -> usize {
    let portions = usize::try_from(input_bytes.div_ceil(TASK_BYTES)).unwrap_or(usize::MAX);
    portions.clamp(slots, slots.saturating_mul(TASKS_OF_SLOT_MAX))
}

fn input_bytes(inputs: &[StepInput]) -> u64 {
    let bytes = inputs.iter().map(|input| match &input.relation {
        Relation::Raw(scan) => scan.objects.iter().map(|object| object.size_bytes).sum(),
        Relation::Table(scan) => scan.files.iter().map(|file| file.size_bytes).sum(),
        Relation::View { .. } => 0,
    });
    bytes.fold(0, u64::saturating_add)
}

/// What the tasks of one execution have stored. A range may be there twice: a task may have been tried again.
async fn read_reports(lake: &Prefix, scans: Scans) -> Result<BTreeMap<TableName, Vec<RangeReport>>> {
    let mut reports = BTreeMap::new();
    for (source, folder) in scans {
        let names = retrying(|| list_names(lake, &folder)).await?;
        let reads = names.iter().map(|name| {
            let key = format!("{folder}/{name}");
            async move { retrying(|| read_object::<ScanReport>(lake, &key)).await }
        });
        let read: Vec<Option<ScanReport>> =
            stream::iter(reads.collect::<Vec<_>>()).buffered(REPORT_READS_MAX).try_collect().await?;
        reports.insert(source, read.into_iter().flatten().flat_map(|report| report.ranges).collect());
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;
    use lakewright_engine::TableScan;

    use super::*;

    #[test]
    fn a_stage_has_a_task_for_each_slot_and_more_for_large_inputs() {
        assert_eq!(tasks_for(0, 6), 6);
        assert_eq!(tasks_for(10 * TASK_BYTES, 6), 10);
        assert_eq!(tasks_for(10 * TASK_BYTES + 1, 6), 11);
        assert_eq!(tasks_for(u64::MAX, 6), 24);
        assert_eq!(tasks_for(1, 1), 1);
    }

    fn table(size_bytes: u64) -> StepInput {
        let file = DataFile {
            path: "a.parquet".to_owned(),
            size_bytes,
            row_count: 1,
            partition_values: BTreeMap::new(),
            bounds: Vec::new(),
        };
        let scan = TableScan {
            root: Prefix::open("/tmp").unwrap(),
            schema: Arc::new(Schema::empty()),
            partition_columns: Vec::new(),
            files: vec![file],
        };
        StepInput { name: TableName::new("z", "t").unwrap(), relation: Relation::Table(scan) }
    }

    #[test]
    fn the_more_executors_would_have_no_part_in_a_step_the_smaller_it_is_for_one() {
        let room = |executors| Room { executors, slots: executors * 4 };
        assert!(is_for_one(&[table(600), table(400)], room(2), 1000));
        assert!(!is_for_one(&[table(600), table(401)], room(2), 1000));
        assert!(is_for_one(&[table(100)], room(11), 1000));
        assert!(!is_for_one(&[table(101)], room(11), 1000));
        assert!(is_for_one(&[table(u64::MAX)], room(1), 1000), "nobody else is there");
        assert!(!is_for_one(&[table(0)], room(1), 0), "it is turned off");
    }
}
