//! What can be typed: the commands, their arguments, and their help.
//!
//! Data flow: the process's arguments -> **here** -> [`crate::settings`] merges the flags over file and environment ->
//! [`crate::command`] does what was asked.
//!
//! Invariant: a command that is known but not built yet says so; nothing that was typed is ignored.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use lakewright_scheduler::AsOf;

/// Commands that are part of the design and that this program does not have.
const PLANNED_COMMANDS: [&str; 4] = ["vacuum", "logs", "health", "cluster"];

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
    /// The scheduler to talk to: https://host:50040; without it, commands work on the lake itself
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
    /// Check that everything that a run needs is there
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print a page of the reference as Markdown
    #[command(hide = true)]
    Reference(ReferenceArgs),
}

/// The values of a job's parameters.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ParamArgs {
    /// Value of a parameter that job.toml declares
    #[arg(long = "param", short = 'd', value_name = "NAME=VALUE", value_parser = parse_param)]
    pub(crate) params: Vec<(String, String)>,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// A job's folder or name; the project's only job by default
    pub(crate) job: Option<String>,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
}

/// Arguments of `test`.
#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// A job's folder or name; the project's only job by default
    pub(crate) job: Option<String>,
    /// Only tests of these models: `name`, `+name` with all upstream, `name+` with all downstream, `zone.*`, `tag:x`
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) select: Vec<String>,
}

/// Arguments of `plan` and `run`.
#[derive(Args, Debug, Default)]
pub(crate) struct RunArgs {
    /// A job's folder or name; the project's only job by default
    pub(crate) job: Option<String>,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
    /// Only these models: `name`, `+name` with all upstream, `name+` with all downstream, `zone.*`, `tag:x`
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) select: Vec<String>,
    /// All models but these
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) exclude: Vec<String>,
    /// Rebuild the selected models, whatever has changed
    #[arg(long)]
    pub(crate) full_refresh: bool,
    /// Go on although a source has lost more than 5 % of its known objects at once
    #[arg(long)]
    pub(crate) accept_losses: bool,
}

/// Arguments of `submit`.
#[derive(Args, Debug)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Return as soon as the run has its number
    #[arg(long)]
    pub(crate) detach: bool,
    /// Name of this request: sent again, it leads to the same run
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// Arguments of `watch` and `cancel`.
#[derive(Args, Debug)]
pub(crate) struct RunIdArgs {
    /// The run's id or a unique beginning of it
    pub(crate) run: String,
}

/// Arguments of `retry`.
#[derive(Args, Debug)]
pub(crate) struct RetryArgs {
    /// The run's id or a unique beginning of it
    pub(crate) run: String,
    /// Return as soon as the run has its number; with a scheduler only
    #[arg(long)]
    pub(crate) detach: bool,
}

/// Arguments of `scheduler`.
#[derive(Args, Debug)]
pub(crate) struct SchedulerArgs {
    /// Where to listen; 127.0.0.1:50040 by default
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Speak plaintext and ask for no token: on loopback only
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Write the address to a file, once connections are accepted
    #[arg(long, value_name = "FILE")]
    pub(crate) address_file: Option<PathBuf>,
}

/// Arguments of `executor`. Tasks at once are `--threads`, their memory `--memory`, their directory `--spill-dir`.
#[derive(Args, Debug)]
pub(crate) struct ExecutorArgs {
    /// The address of this machine for the fleet: loopback or a private interface. With a port, that one takes tasks and
    /// the next one gives rows
    #[arg(long, value_name = "IP[:PORT]", default_value = "127.0.0.1")]
    pub(crate) listen: String,
    /// Seconds that it may go on with its tasks when it is asked to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 100)]
    pub(crate) drain: u64,
}

/// Arguments of `certs`.
#[derive(Args, Debug)]
pub(crate) struct CertsArgs {
    /// A name or address of the scheduler's machine, beside its own name and localhost
    #[arg(long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
    /// Days that the server's certificate is valid
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
    /// Make a new server certificate, signed by the authority that is there
    #[arg(long)]
    pub(crate) renew: bool,
}

/// Arguments of `token`.
#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) action: TokenAction,
}

/// What is done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// Make a token and print it, once
    Create {
        /// Whose it is: letters, digits and - _ . @
        name: String,
        /// How long it is valid: 12h, 90d; `never` for a token that stays
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = parse_validity)]
        expires: Validity,
    },
    /// List the tokens, without their text
    List,
    /// Take a token away; a running scheduler refuses it from then on
    Revoke {
        /// Whose it is
        name: String,
    },
}

/// How long a token is valid, in seconds; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity(pub(crate) Option<u64>);

/// Arguments of `preview`.
#[derive(Args, Debug)]
pub(crate) struct PreviewArgs {
    /// The model, for example curated.songs
    pub(crate) model: String,
    /// A job's folder or name; the project's only job by default
    #[arg(long)]
    pub(crate) job: Option<String>,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
    /// How many rows
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(crate) limit: u64,
    /// How rows are printed; table on a terminal, else csv
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<RowFormat>,
}

/// Arguments of `runs`.
#[derive(Args, Debug)]
pub(crate) struct RunsArgs {
    /// Only the runs of this job: its folder or name
    pub(crate) job: Option<String>,
    /// How many runs
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
}

/// Arguments of `show`.
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// The run's id or a unique beginning of it; the newest run by default
    pub(crate) run: Option<String>,
    /// A job's folder or name, where the project has several lakes
    #[arg(long)]
    pub(crate) job: Option<String>,
}

/// Arguments of `sql`.
#[derive(Args, Debug)]
pub(crate) struct SqlArgs {
    /// The SQL; a shell without it, or what stdin gives
    #[arg(conflicts_with = "file")]
    pub(crate) sql: Option<String>,
    /// Read the SQL from a file, for example jobs/music/analyses/top_songs.sql
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// A job's folder or name, for its raw tables and parameters; the project's only job by default
    #[arg(long)]
    pub(crate) job: Option<String>,
    #[command(flatten)]
    pub(crate) params: ParamArgs,
    /// How rows are printed; table on a terminal, else csv
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<RowFormat>,
    /// How many rows a table shows at most; 0 is all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) rows: u64,
    /// Read the tables of an earlier release: its number, or a time in UTC such as 2018-11-13 or 2018-11-13T12:30:00Z
    #[arg(long, value_name = "RELEASE|TIME", value_parser = parse_as_of)]
    pub(crate) as_of: Option<AsOf>,
    /// Also read the rows that violate checks of this run, as `failed.<zone>_<table>_<check>`
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
}

/// Arguments of `tables`.
#[derive(Args, Debug)]
pub(crate) struct TablesArgs {
    /// A job's folder or name, where the project has several lakes
    #[arg(long)]
    pub(crate) job: Option<String>,
    /// The tables of an earlier release: its number, or a time in UTC such as 2018-11-13 or 2018-11-13T12:30:00Z
    #[arg(long, value_name = "RELEASE|TIME", value_parser = parse_as_of, conflicts_with = "history")]
    pub(crate) as_of: Option<AsOf>,
    /// List the releases, newest first, with what each changed; with a table only those that changed it
    #[arg(long, value_name = "TABLE", num_args = 0..=1)]
    pub(crate) history: Option<Option<String>>,
    /// How many releases
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, requires = "history")]
    pub(crate) limit: usize,
}

/// Arguments of `diff`.
#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// The release before: its number, or a time in UTC
    #[arg(value_name = "A", value_parser = parse_as_of)]
    pub(crate) before: AsOf,
    /// The release after: its number, or a time in UTC
    #[arg(value_name = "B", value_parser = parse_as_of)]
    pub(crate) after: AsOf,
    /// Only this table, for example curated.songs
    pub(crate) table: Option<String>,
    /// Columns by which rows are matched, so that a row with other values counts as changed
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', requires = "table")]
    pub(crate) key: Vec<String>,
    /// How many rows of each table are shown; 0 is none
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rows: usize,
    /// A job's folder or name, where the project has several lakes
    #[arg(long)]
    pub(crate) job: Option<String>,
}

/// Arguments of `rejects`.
#[derive(Args, Debug)]
pub(crate) struct RejectsArgs {
    /// The source, for example raw.events; all sources by default
    pub(crate) source: Option<String>,
    /// What this run has kept aside, also if it failed: its id or a unique beginning of it
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// A job's folder or name, where the project has several lakes
    #[arg(long)]
    pub(crate) job: Option<String>,
    /// How many rejects of each source
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Run the job as its files are now, and read the raw objects that have rejects again
    #[arg(long)]
    pub(crate) replay: bool,
}

/// Arguments of `rewind`.
#[derive(Args, Debug)]
pub(crate) struct RewindArgs {
    /// A job's folder or name; the project's only job by default
    pub(crate) job: Option<String>,
    /// The release: its number, or a time in UTC such as 2018-11-13 or 2018-11-13T12:30:00Z
    #[arg(long, value_name = "RELEASE|TIME", value_parser = parse_as_of)]
    pub(crate) to: AsOf,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
}

/// Arguments of `repair`.
#[derive(Args, Debug)]
pub(crate) struct RepairArgs {
    /// The broken run's id or a unique beginning of it
    pub(crate) run: String,
    /// A job's folder or name, where the project has several lakes
    #[arg(long)]
    pub(crate) job: Option<String>,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
}

/// Arguments of `drop`.
#[derive(Args, Debug)]
pub(crate) struct DropArgs {
    /// The table, for example curated.songs
    pub(crate) table: String,
    /// Drop it although a model makes it, or other tables read it
    #[arg(long)]
    pub(crate) force: bool,
    /// A job's folder or name, where the project has several lakes
    #[arg(long)]
    pub(crate) job: Option<String>,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
}

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// A job's folder or name; the project's only job by default
    pub(crate) job: Option<String>,
    /// Also create, read and delete one object in the lake
    #[arg(long)]
    pub(crate) write: bool,
}

/// Arguments of `init`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InitArgs {
    /// The project's folder, made if missing
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Propose a job for raw JSON that is there: one source for each folder of the prefix, with the columns of all records
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["events", "songs", "days", "seed"])]
    pub(crate) from: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

/// How much raw data is generated.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataArgs {
    /// Events to generate
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) events: u64,
    /// Song files to generate
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) songs: u64,
    /// Days over which the events are spread
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub(crate) days: u32,
    /// Equal seeds and sizes give equal files
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Arguments of `demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// The project's folder, made if missing
    #[arg(default_value = "lakewright-demo")]
    pub(crate) dir: PathBuf,
}

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// Arguments of `reference`.
#[derive(Args, Debug)]
pub(crate) struct ReferenceArgs {
    /// The page
    pub(crate) page: ReferencePage,
}

/// A page of the reference that is generated from the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReferencePage {
    /// `docs/settings.md`
    Settings,
    /// `docs/cli.md`
    Cli,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    /// Aligned columns
    Table,
    /// RFC 4180, with a header line
    Csv,
    /// One array of objects
    Json,
    /// One object a line
    Ndjson,
}

/// Reads `name=value`.
fn parse_param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write it as name=value".to_owned()),
    }
}

/// Reads a release's number or a time. A time without a zone is UTC; a date is its first moment.
pub(crate) fn parse_as_of(text: &str) -> Result<AsOf, String> {
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return Ok(AsOf::Release(number));
    }
    let zoned = DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_micros());
    let plain = || {
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
        formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
    };
    let day = || Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN));
    let time = zoned.ok().or_else(|| Some(plain().or_else(day)?.and_utc().timestamp_micros()));
    time.map(AsOf::Time).ok_or_else(|| "give a release's number, or a time such as 2018-11-13T12:30:00Z".to_owned())
}

/// Reads `12h`, `90d` or `never`.
fn parse_validity(text: &str) -> Result<Validity, String> {
    let wrong = || "write a number and h or d, for example 90d, or never".to_owned();
    if text == "never" {
        return Ok(Validity(None));
    }
    let (number, unit_s) = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((number, "h")) => (number, 3_600),
        Some((number, "d")) => (number, 86_400),
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    // A century is long enough, and keeps the sum in range.
    let seconds = number.checked_mul(unit_s).filter(|seconds| (1..=3_155_760_000).contains(seconds));
    seconds.map(|seconds| Validity(Some(seconds))).ok_or_else(wrong)
}

/// What came of reading the arguments.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Something to do.
    Ready(Box<CommandLine>),
    /// A command that this program does not have yet.
    Planned(&'static str),
    /// Help, the version, or a usage error, ready to print.
    Answer(clap::Error),
}

/// Reads the process's arguments, program name first.
pub(crate) fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Parsed {
    let planned = PLANNED_COMMANDS.map(|name| {
        let rest = clap::Arg::new("rest").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true).hide(true);
        clap::Command::new(name).hide(true).disable_help_flag(true).arg(rest)
    });
    let matches = match CommandLine::command().subcommands(planned).try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return Parsed::Answer(error),
    };
    if let Some(name) = PLANNED_COMMANDS.into_iter().find(|name| matches.subcommand_name() == Some(name)) {
        return Parsed::Planned(name);
    }
    match CommandLine::from_arg_matches(&matches) {
        Ok(line) => Parsed::Ready(Box::new(line)),
        Err(error) => Parsed::Answer(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Parsed {
        parse(std::iter::once("lakewright").chain(arguments.iter().copied()).map(Into::into))
    }

    #[test]
    fn the_definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_planned_command_is_recognized_with_any_arguments() {
        assert!(matches!(parsed(&["cluster", "create", "--size", "3"]), Parsed::Planned("cluster")));
        assert!(matches!(parsed(&["vacuum"]), Parsed::Planned("vacuum")));
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

    #[test]
    fn a_release_is_named_by_its_number_or_by_a_time_in_utc() {
        assert_eq!(parse_as_of("12"), Ok(AsOf::Release(12)));
        let noon = Ok(AsOf::Time(1_542_110_400_000_000));
        for text in ["2018-11-13T12:00:00Z", "2018-11-13T13:00:00+01:00", "2018-11-13 12:00", "2018-11-13T12:00:00.0"] {
            assert_eq!(parse_as_of(text), noon, "{text}");
        }
        assert_eq!(parse_as_of("2018-11-13"), Ok(AsOf::Time(1_542_067_200_000_000)));
        for text in ["", "-1", "yesterday", "2018-13-01", "2018-11-13T25:00:00Z"] {
            assert!(parse_as_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_validity_has_a_unit_and_an_end() {
        assert_eq!(parse_validity("90d"), Ok(Validity(Some(7_776_000))));
        assert_eq!(parse_validity("12h"), Ok(Validity(Some(43_200))));
        assert_eq!(parse_validity("never"), Ok(Validity(None)));
        for wrong in ["", "d", "90", "0d", "-1d", "1y", "99999999999d", "ä"] {
            assert!(parse_validity(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_parameter_keeps_everything_after_its_first_equals_sign() {
        assert_eq!(parse_param("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(parse_param("a").is_err());
        assert!(parse_param("=b").is_err());
    }
}
