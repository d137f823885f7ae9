//! The `lakewright` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    lakewright_cli::run_command_line()
}
