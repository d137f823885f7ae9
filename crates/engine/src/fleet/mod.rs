//! What makes a plan run on a fleet: how it travels, and what each side does with it.
//!
//! Data flow: the scheduler plans a step in a session of [`crate::Engine::fleet_session`] -> [`FleetCodec`] -> a task's
//! slice of the plan on an executor -> [`prepare_task`] -> the task runs in the runtime of
//! [`crate::Engine::for_executor`] -> rows, an error that [`carry_error`] puts into words for the way back, and the
//! account of raw objects ([`store_reports`]).
//!
//! Invariant: both sides are built from the same parts: functions by their names, settings by [`crate::session`], nodes
//! by one codec. What a plan means does not depend on who runs which part of it.

mod address;
mod beat;
mod codec;
mod error;
mod message;
mod metrics;
mod not_in;
mod one_task;
mod origin;
mod planner;
mod recursive;
mod spawned;
mod stores;
mod task;
mod window;

pub use self::{
    address::check_private,
    beat::{TaskBeat, decode_beats, encode_beats},
    codec::FleetCodec,
    error::{carried_error, carry, carry_error, carry_task_error, executor_without_room, without_room},
    metrics::{progress_of, task_metrics},
    one_task::OneTaskExec,
    origin::TaskOrigin,
    spawned::keep_spans,
    stores::LocalFiles,
    task::{PreparedTask, TaskExecutor, objects_of_partition, prepare_task, store_reports, task_context},
};
pub(crate) use self::{planner::FleetPlanner, stores::OpenedStores};

/// Bytes of one message between a scheduler and its executors: a stage's plan names all files of a task.
pub const FLEET_MESSAGE_BYTES_MAX: u32 = 256 << 20;
