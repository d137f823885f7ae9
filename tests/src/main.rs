//! The `lakewright` binary, built by the tests' own package so that cargo hands its path to them.

use std::process::ExitCode;

fn main() -> ExitCode {
    lakewright_cli::run_command_line()
}
