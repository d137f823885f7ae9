//! The `lakewright` binary.

use std::process::ExitCode;

/// Batches are made and dropped on all threads; the system's allocator takes a tenth of a run's time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lakewright_cli::run_command_line()
}
