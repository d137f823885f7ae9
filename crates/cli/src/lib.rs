//! The `lakewright` command line: reads settings and arguments, calls the other crates, and prints.
//!
//! Invariant: the only crate that prints, reads the environment, or decides an exit code.

use std::process::ExitCode;

/// Runs one command line to its exit code.
pub fn run_command_line() -> ExitCode {
    ExitCode::from(2)
}
