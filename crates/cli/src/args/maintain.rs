//! Arguments of what changes published tables without running models.

use clap::Args;
use lakewright_scheduler::AsOf;

use super::parse_as_of;

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
