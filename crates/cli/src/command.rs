//! Does what was asked: one module a command.
//!
//! Data flow: [`Command`] -> a [`crate::place::Place`] -> the other crates -> [`crate::render`].
//!
//! Invariant: everything that can be refused is refused before anything is done.

mod certs;
mod check;
mod cluster;
mod demo;
mod diff;
mod doctor;
mod executor;
mod health;
mod init;
mod logs;
mod maintain;
mod plan;
mod preview;
mod propose;
mod reference;
mod rejects;
mod run;
mod runs;
mod scaling;
mod service;
mod sql;
mod submit;
mod tables;
mod test;
mod vacuum;

use chrono::{DateTime, Utc};

use crate::{
    args::{Command, RowFormat},
    exit::{Failure, INTERRUPTED, Outcome},
    interrupt::Interrupts,
    place::Invocation,
    render::{Output, failure::failure_text, json::FailureDocument},
};

/// Does what was asked, to its end or to the first Ctrl-C.
///
/// `run`, `demo`, `submit`, `watch`, `retry`, `scheduler`, `executor` and the shell of `sql` take Ctrl-C themselves:
/// they have something to bring to an end, or to leave in good order.
///
/// # Errors
/// Why it was not done.
pub(crate) async fn execute(invocation: &Invocation, command: Command, now: DateTime<Utc>) -> Outcome {
    match command {
        Command::Run(arguments) => Box::pin(run::run(invocation, &arguments)).await,
        Command::Demo(arguments) => Box::pin(demo::demo(invocation, &arguments, now)).await,
        Command::Rejects(arguments) if arguments.replay => Box::pin(rejects::replay(invocation, &arguments)).await,
        Command::Submit(arguments) => Box::pin(submit::submit(invocation, &arguments)).await,
        Command::Watch(arguments) => Box::pin(runs::watch(invocation, &arguments)).await,
        Command::Retry(arguments) => Box::pin(runs::retry(invocation, &arguments)).await,
        Command::Scheduler(arguments) => Box::pin(service::scheduler(invocation, &arguments)).await,
        Command::Executor(arguments) => Box::pin(executor::executor(invocation, &arguments)).await,
        Command::Sql(arguments) if sql::is_shell(&arguments, &invocation.output) => {
            Box::pin(sql::sql(invocation, &arguments, now)).await
        }
        other => {
            let mut interrupts = Interrupts::new()?;
            tokio::select! {
                done = Box::pin(execute_quietly(invocation, other, now)) => done,
                () = interrupts.next() => Err(Failure::Told(INTERRUPTED)),
            }
        }
    }
}

/// The commands that can be dropped at any moment.
async fn execute_quietly(invocation: &Invocation, command: Command, now: DateTime<Utc>) -> Outcome {
    match command {
        Command::Init(arguments) => match &arguments.from {
            Some(from) => propose::propose(invocation, &arguments, from).await,
            None => init::init(invocation, &arguments),
        },
        Command::Check(arguments) => check::check(invocation, &arguments),
        Command::Test(arguments) => test::test(invocation, &arguments).await,
        Command::Plan(arguments) => plan::plan(invocation, &arguments).await,
        Command::Preview(arguments) => preview::preview(invocation, &arguments, now).await,
        Command::Runs(arguments) => runs::list(invocation, &arguments).await,
        Command::Show(arguments) => runs::show(invocation, &arguments).await,
        Command::Logs(arguments) => logs::logs(invocation, &arguments).await,
        Command::Explain(arguments) => logs::explain(invocation, &arguments).await,
        Command::Health(arguments) => health::health(invocation, &arguments).await,
        Command::Sql(arguments) => sql::sql(invocation, &arguments, now).await,
        Command::Tables(arguments) => tables::tables(invocation, &arguments).await,
        Command::Diff(arguments) => diff::diff(invocation, &arguments).await,
        Command::Rejects(arguments) => rejects::rejects(invocation, &arguments).await,
        Command::Doctor(arguments) => doctor::doctor(invocation, &arguments).await,
        Command::Completions(arguments) => reference::completions(invocation, &arguments),
        Command::Reference(arguments) => reference::page(invocation, &arguments),
        Command::Cancel(arguments) => runs::cancel(invocation, &arguments).await,
        Command::Executors => service::executors(invocation).await,
        Command::Cluster(arguments) => Box::pin(cluster::cluster(invocation, &arguments, now)).await,
        Command::Certs(arguments) => certs::certs(invocation, &arguments, now),
        Command::Token(arguments) => service::token(invocation, &arguments, now),
        Command::Rewind(arguments) => maintain::rewind(invocation, &arguments).await,
        Command::Repair(arguments) => maintain::repair(invocation, &arguments).await,
        Command::Drop(arguments) => maintain::drop_table(invocation, &arguments).await,
        Command::Optimize(arguments) => maintain::optimize(invocation, &arguments).await,
        Command::Vacuum(arguments) => vacuum::vacuum(invocation, &arguments, now).await,
        // Taken above; named so that a new command cannot be forgotten here.
        Command::Run(arguments) => run::run(invocation, &arguments).await,
        Command::Demo(arguments) => demo::demo(invocation, &arguments, now).await,
        Command::Submit(arguments) => submit::submit(invocation, &arguments).await,
        Command::Watch(arguments) => runs::watch(invocation, &arguments).await,
        Command::Retry(arguments) => runs::retry(invocation, &arguments).await,
        Command::Scheduler(arguments) => service::scheduler(invocation, &arguments).await,
        Command::Executor(arguments) => executor::executor(invocation, &arguments).await,
    }
}

/// Tells a failure: with `--json` as the one document, else as text on stderr.
pub(crate) fn tell(output: &Output, failure: &Failure) {
    if output.json
        && let Some(document) = FailureDocument::new(failure)
    {
        // Whoever does not read stdout any more has the exit code.
        let _ = output.document(&document);
        return;
    }
    let text = failure_text(failure, output);
    if !text.is_empty() {
        output.complain(&text);
    }
}

/// The format of rows: what was asked for, else JSON with `--json`, a table on a terminal, CSV elsewhere.
pub(crate) fn row_format(asked: Option<RowFormat>, output: &Output) -> RowFormat {
    match asked {
        Some(format) => format,
        None if output.json => RowFormat::Json,
        None if output.stdout_is_terminal => RowFormat::Table,
        None => RowFormat::Csv,
    }
}
