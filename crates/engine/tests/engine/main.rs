//! The engine through its public surface: real files in a temporary directory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a skipped test says so in one line")]

mod compressed;
mod failing_store;
mod fixture;
mod layouts;
mod modes;
mod oracle;
mod read;
mod row_number;
mod travel;
mod witness;
mod write;
