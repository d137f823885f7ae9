//! Runs over a store in memory: from acceptance to release, through every fault.

mod crash;
mod races;
mod resume;
mod store;
mod world;
