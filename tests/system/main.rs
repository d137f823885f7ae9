//! Whole-system tests: the real binary on real files, its tables read by other engines.
//!
//! Data flow: [`project`] makes a folder with a job and raw data -> the binary runs it -> [`engines`] reads the tables
//! back with DuckDB, Polars, deltalake and PyArrow, and compares every value with what they compute from the raw files.
//!
//! Invariant: no test depends on another, on the network, or on time. What a machine lacks is skipped with one line on
//! stderr, or fails if `LAKEWRIGHT_REQUIRE_ALL` is set: see [`requirement`].

#[cfg(test)]
mod at_once;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod changed_objects;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod clusters;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod damaged_state;
#[cfg(test)]
mod docker;
#[cfg(test)]
mod engines;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod incremental;
#[cfg(test)]
mod kinds;
#[cfg(test)]
mod lake_state;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod music;
#[cfg(test)]
mod optimize;
#[cfg(test)]
mod partition_values;
#[cfg(test)]
mod preview;
#[cfg(test)]
mod project;
#[cfg(test)]
mod propose;
#[cfg(test)]
mod raw_classes;
#[cfg(test)]
mod rejects;
#[cfg(test)]
mod releases;
#[cfg(test)]
mod requirement;
#[cfg(test)]
mod s3;
#[cfg(test)]
mod service;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod unit_tests;
#[cfg(test)]
mod vacuum;
#[cfg(test)]
mod witness;
