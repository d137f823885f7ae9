//! The control plane: accepts runs of jobs, drives them, and publishes what they made.
//!
//! Data flow: [`lakewright_compiler::Job`] -> freeze inputs -> decide each step -> a [`Backend`] executes -> written
//! files -> publish: one Delta commit a table, then one release object.
//!
//! Invariant: only the driver commits, and `outcome.json` is the one point of no return.

mod backend;
mod catalog;
mod check;
mod clock;
mod decide;
mod diff;
mod event;
mod evidence;
mod explain;
mod fleet;
mod lineage;
mod literal;
mod plan;
mod record;
mod rejects;
mod releases;
mod room;
mod run;
mod run_log;
mod scaling;
pub mod service;
mod spans;
mod vacuum;

pub use backend::{Backend, EmbeddedBackend, ExecutorInfo, QueryTask, RewriteTask, StepInput, StepOutput, StepTask};
pub use catalog::{LakeCatalog, LakeTable};
pub use check::{CheckHistory, EarlierCheck, FailingRows, check_history, failing_rows};
pub use clock::{Clock, SystemClock};
pub use diff::{ColumnChange, DiffOptions, TableDiff, diff_releases};
pub use event::{RunEvent, RunSummary, StepAction, StepSummary, StepWork};
pub use explain::{Finding, explain};
pub use fleet::{Fleet, FleetSettings};
pub use lakewright_lake::state::Operation;
pub use plan::{PlannedCheck, RunPlan, StepPlan, plan_run};
pub use record::{RunRecord, RunState, list_runs, read_run};
pub use rejects::{SourceRejects, list_rejects, rejects_of_run};
pub use releases::{AsOf, Change, ReleaseRecord, TableChange, changes_of_job, find_release, list_releases};
pub use run::chain as error_chain;
pub use run::{AcceptedRun, RunOptions, RunRequest, Scheduler, raw_scan};
pub use run_log::{RunLogPage, read_run_logs, run_log_layer};
pub use scaling::{MachineCount, Machines, ScalingPolicy, scale};
pub use vacuum::{Garbage, VacuumOptions, Vacuumed, vacuum};
