//! The decoder through its public surface: records, faults, counts, and what other parsers say.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod differential;
mod faults;
mod fixture;
mod modes;
mod suite;
mod values;
