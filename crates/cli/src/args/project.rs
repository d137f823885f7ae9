//! Arguments of what makes and checks projects, and of what is made from the command line itself.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

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
