//! What can be typed: the commands, their arguments, and their help.
//!
//! Data flow: the process's arguments -> **here** -> [`crate::settings`] merges the flags over file and environment ->
//! [`crate::command`] does what was asked.
//!
//! Invariant: a command that is known but not built yet says so; nothing that was typed is ignored.

mod cluster;
mod maintain;
mod project;
mod read;
mod run;
mod service;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::{
    cluster::{ClusterAction, ClusterArgs, ClusterFileArgs},
    maintain::{DropArgs, OptimizeArgs, RepairArgs, RewindArgs, VacuumArgs},
    project::{CompletionsArgs, DataArgs, DemoArgs, DoctorArgs, InitArgs, ReferenceArgs, ReferencePage},
    read::{DiffArgs, RejectsArgs, RowFormat, SqlArgs, TablesArgs, parse_as_of},
    run::{
        CheckArgs, ExplainArgs, LogsArgs, ParamArgs, PreviewArgs, RetryArgs, RunArgs, RunIdArgs, RunsArgs, ShowArgs,
        SubmitArgs, TestArgs,
    },
    service::{CertsArgs, ExecutorArgs, HealthArgs, SchedulerArgs, TokenAction, TokenArgs, Validity},
};

/// SQL jobs from raw JSON to curated tables.
///
/// A job is a folder of SQL files: one file is one table. `run` computes what has changed and publishes all tables of
/// the job together, or none.
#[derive(Debug, Parser)]
#[command(name = "lakewright", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes. A flag wins over the environment (`LAKEWRIGHT_LAKE`), that over `lakewright.toml`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings of every command")]
pub(crate) struct Flags {
    /// Where the tables and the run state are: a directory or s3://bucket/prefix
    #[arg(long, global = true, value_name = "LOCATION")]
    pub(crate) lake: Option<String>,
    /// Where the raw JSON is: a directory or s3://bucket/prefix
    #[arg(long, global = true, value_name = "LOCATION")]
    pub(crate) raw: Option<String>,
    /// Memory for queries: a size such as 256MB, or a share of the machine such as 70%
    #[arg(long, global = true, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Threads that compute; as many as the machine has by default
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<String>,
    /// Directory for what does not fit into memory
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) spill_dir: Option<PathBuf>,
    /// The scheduler to talk to: https://host:50040, several with commas; without it, commands work on the lake itself
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) scheduler: Option<String>,
    /// Where the executors of a fleet join: host:port on loopback or a private interface
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(crate) fleet: Option<String>,
    /// What is logged to stderr: error, warn, info, debug, trace, or `target=level` pairs
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// Print one JSON document on stdout and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results and errors only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a small project, run its job and show what came out
    Demo(DemoArgs),
    /// Make a project with a job and raw data to start from
    Init(InitArgs),
    /// Check a job's files, without reading data
    Check(CheckArgs),
    /// Run the unit tests of a job's models, without a lake and without raw data
    Test(TestArgs),
    /// Show what a run would do and why, without writing anything
    Plan(RunArgs),
    /// Compute what has changed and publish the job's tables
    Run(RunArgs),
    /// Show rows of a model without writing anything
    Preview(PreviewArgs),
    /// Let a scheduler run the job, and watch it
    Submit(SubmitArgs),
    /// List the newest runs
    Runs(RunsArgs),
    /// Show one run
    Show(ShowArgs),
    /// Watch a run until it has ended
    Watch(RunIdArgs),
    /// Show what was logged about a run
    Logs(LogsArgs),
    /// Say where the time of a run went, and what would change it
    Explain(ExplainArgs),
    /// Cancel a run; nothing of it is published
    Cancel(RunIdArgs),
    /// Run a failed or cancelled run again, with the steps that it has written
    Retry(RetryArgs),
    /// Ask the tables a question, or start a shell
    Sql(SqlArgs),
    /// List the published tables, or the releases that changed them
    Tables(TablesArgs),
    /// Show what differs between two releases
    Diff(DiffArgs),
    /// Show the records that were kept aside, and why
    Rejects(RejectsArgs),
    /// List who executes steps for a scheduler
    Executors,
    /// Run as the scheduler of a lake: accept runs over the network and drive them
    Scheduler(SchedulerArgs),
    /// Run as an executor of a fleet: execute what its scheduler plans
    Executor(ExecutorArgs),
    /// Make, show, resize and delete a cluster of EMR for a fleet
    Cluster(ClusterArgs),
    /// Make the certificates of a scheduler
    Certs(CertsArgs),
    /// Make, list and revoke the tokens that a scheduler lets in
    Token(TokenArgs),
    /// Give a job's tables the state of an earlier release; its next run reads again what has come since
    Rewind(RewindArgs),
    /// End a broken run: give the tables that it has committed the state of the newest release
    Repair(RepairArgs),
    /// Take a table that no model makes any more out of the lake
    Drop(DropArgs),
    /// Put the small files of tables that grow file by file together
    Optimize(OptimizeArgs),
    /// Delete files that no release in retention and no unfinished run needs; tells only, unless --force is given
    Vacuum(VacuumArgs),
    /// Tell whether a scheduler, an executor or the lake is healthy: exit code 0, or 3 if not
    Health(HealthArgs),
    /// Check that everything that a run needs is there
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print a page of the reference as Markdown
    #[command(hide = true)]
    Reference(ReferenceArgs),
}

/// What came of reading the arguments.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Something to do.
    Ready(Box<CommandLine>),
    /// Help, the version, or a usage error, ready to print.
    Answer(clap::Error),
}

/// Reads the process's arguments, program name first.
pub(crate) fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Parsed {
    match CommandLine::try_parse_from(arguments) {
        Ok(line) => Parsed::Ready(Box::new(line)),
        Err(error) => Parsed::Answer(error),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(arguments: &[&str]) -> Parsed {
        parse(std::iter::once("lakewright").chain(arguments.iter().copied()).map(Into::into))
    }

    #[test]
    fn the_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn an_unknown_command_is_a_usage_error_with_a_suggestion() {
        let Parsed::Answer(error) = parsed(&["tabels"]) else { panic!("accepted") };
        assert!(error.to_string().contains("'tables'"), "{error}");
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        for arguments in [["--lake", "x", "tables"], ["tables", "--lake", "x"]] {
            let Parsed::Ready(line) = parsed(&arguments) else { panic!("refused") };
            assert_eq!(line.flags.lake.as_deref(), Some("x"));
        }
    }
}
