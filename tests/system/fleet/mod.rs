//! Fleets: a scheduler and executors as real processes, compared with one process that does the same.

mod corners;
mod faults;
mod kills;
mod kinds;
mod music;
pub(crate) mod process;
mod tpch;
