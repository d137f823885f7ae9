//! Fleets: a scheduler and executors as real processes, compared with one process that does the same.

mod corner_cases;
mod corners;
mod faults;
mod kills;
mod kinds;
mod many_files;
mod music;
pub(crate) mod process;
mod tpch;
mod tpch_data;
