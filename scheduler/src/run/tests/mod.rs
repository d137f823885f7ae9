//! Runs over a store in memory: from acceptance to release, through every fault.

mod crash;
mod foreign;
mod maintain;
mod optimize;
mod races;
mod resume;
mod scale;
mod schedules;
mod store;
mod vacuum;
pub(crate) mod world;
