//! Fleets: a scheduler and executors as real processes, compared with one process that does the same.

mod corners;
mod kills;
mod music;
mod process;
mod tpch;
