//! Arguments of what changes published tables without running models.

use std::time::Duration;

use clap::Args;
use lakewright_scheduler::AsOf;

use super::parse_as_of;
use crate::settings::parse_bytes;

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

/// Arguments of `optimize`.
#[derive(Args, Debug)]
pub(crate) struct OptimizeArgs {
    /// The tables, for example staging.events; all that grow file by file by default
    #[arg(value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// Size of the files to make; those of half of it and more are left alone
    #[arg(long, value_name = "SIZE", default_value = "128MB", value_parser = parse_file_size)]
    pub(crate) target_size: u64,
    /// A job's folder or name, where the project has several lakes
    #[arg(long)]
    pub(crate) job: Option<String>,
}

/// Arguments of `vacuum`.
#[derive(Args, Debug)]
pub(crate) struct VacuumArgs {
    /// How long releases stay readable, and files that nothing needs stay where they are: 12h, 7d, 0d
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = parse_retention)]
    pub(crate) retain: Duration,
    /// Delete, instead of telling what would be deleted
    #[arg(long)]
    pub(crate) force: bool,
    /// Only tell what would be deleted; this is so without --force
    #[arg(long, conflicts_with = "force")]
    pub(crate) dry_run: bool,
    /// A job's folder or name, where the project has several lakes
    #[arg(long)]
    pub(crate) job: Option<String>,
}

/// Reads `30m`, `12h` or `7d`.
fn parse_retention(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and m, h or d, for example 7d".to_owned();
    let (number, unit_s) = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((number, "m")) => (number, 60),
        Some((number, "h")) => (number, 3_600),
        Some((number, "d")) => (number, 86_400),
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    // A century is long enough, and keeps sums in range.
    let seconds = number.checked_mul(unit_s).filter(|seconds| *seconds <= 3_155_760_000);
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

/// Reads the size of a file, in bytes.
fn parse_file_size(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text).filter(|bytes| (1 << 20..=1 << 40).contains(bytes));
    bytes.ok_or_else(|| "give a size from 1MB to 1TB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_size_that_readers_can_work_with() {
        assert_eq!(parse_file_size("64MB"), Ok(64 << 20));
        for wrong in ["", "1", "512KB", "2TB", "big"] {
            assert!(parse_file_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_retention_has_a_unit_and_may_be_none_at_all() {
        assert_eq!(parse_retention("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_retention("90m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_retention("0d"), Ok(Duration::ZERO));
        for wrong in ["", "d", "7", "-1d", "7w", "99999999999d", "ä"] {
            assert!(parse_retention(wrong).is_err(), "{wrong}");
        }
    }
}
