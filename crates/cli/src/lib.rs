//! The `lakewright` command line: reads settings and arguments, calls the other crates, and prints.
//!
//! Data flow: arguments ([`args`]) and environment ([`settings`]) -> the project and its job ([`project`],
//! [`job_folder`]) -> [`command`] calls compiler, scheduler and engine -> [`render`] prints -> [`exit`] decides the code.
//!
//! Invariant: the only crate that prints, reads the environment, or decides an exit code.

mod args;
mod command;
mod exit;
mod generate;
mod interrupt;
mod job_folder;
mod logging;
mod place;
mod project;
mod proposal;
mod remote;
mod render;
mod settings;
mod sql;
mod suggest;
mod unit_test;

use std::{panic, process::ExitCode, thread};

use chrono::{DateTime, Utc};
use lakewright_error::{Error, ErrorKind};

use crate::{
    args::{CommandLine, Flags, Parsed},
    exit::{DONE, FAILED, Failure, USAGE},
    place::{Invocation, SpillDir},
    render::Output,
    settings::Environment,
};

/// Stack of every thread that plans: plans are trees, and deep SQL makes deep ones.
const STACK_BYTES: usize = 32 << 20;

/// Runs one command line to its exit code.
pub fn run_command_line() -> ExitCode {
    panic::set_hook(Box::new(|defect| {
        let defect = defect.to_string().replace('\n', ": ");
        plain_output().complain(&format!("error: a defect stopped lakewright: {defect}\n  help: please report it"));
    }));
    // A thread of its own: the stack of the main thread is the shell's choice.
    let worker = thread::Builder::new().name("lakewright".to_owned()).stack_size(STACK_BYTES).spawn(run);
    let ended = worker.map(thread::JoinHandle::join);
    ExitCode::from(match ended {
        Ok(Ok(code)) => code,
        Ok(Err(_)) => FAILED,
        Err(error) => {
            plain_output().complain(&format!("error: cannot start a thread: {error}"));
            FAILED
        }
    })
}

fn run() -> u8 {
    let line = match args::parse(std::env::args_os()) {
        Parsed::Ready(line) => *line,
        Parsed::Answer(answer) => {
            // Help into a pipe that has closed is nobody's loss.
            let _ = answer.print();
            return if answer.use_stderr() { USAGE } else { DONE };
        }
    };
    let environment = match Environment::of_process() {
        Ok(environment) => environment,
        Err(error) => {
            let failure = Failure::from(error);
            command::tell(&plain_output(), &failure);
            return failure.code();
        }
    };
    let output = Output::of_process(&line.flags, &environment);
    let CommandLine { flags, command } = line;
    let invocation = Invocation { environment, flags, output, spill: SpillDir::default() };
    match execute(&invocation, command) {
        Ok(()) => DONE,
        Err(failure) => {
            command::tell(&output, &failure);
            failure.code()
        }
    }
}

fn execute(invocation: &Invocation, command: args::Command) -> exit::Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(|error| Error::new(ErrorKind::Unavailable, "cannot start the runtime").with_source(error))?;
    let done = runtime.block_on(Box::pin(command::execute(invocation, command, now())));
    // The result is known: a thread that still waits for work of the runtime panics when that ends, and says nothing that
    // a user could use.
    panic::set_hook(Box::new(|_| {}));
    // A query that was dropped may still sit in a blocking call: it must not hold up the exit.
    runtime.shutdown_background();
    // It may hold on to what would remove its spilled rows, too.
    if let Some(dir) = invocation.spill.get() {
        dir.remove();
    }
    done
}

#[expect(clippy::disallowed_methods, reason = "the one place where the clock enters; everything else takes the time")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// For what is told before the arguments and the environment are known.
fn plain_output() -> Output {
    Output::of_process(&Flags::default(), &Environment::default())
}
