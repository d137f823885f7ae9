//! Fleets: a scheduler and executors as real processes, compared with one process that does the same.

mod corner_cases;
mod corners;
pub(crate) mod elastic;
mod faults;
pub(crate) mod kills;
mod kinds;
mod logs;
mod many_files;
mod music;
mod network;
pub(crate) mod process;
mod tpch;
mod tpch_data;
mod trouble;
mod wire;
