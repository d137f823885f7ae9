//! Arguments of what reads published tables, releases and rejects.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use clap::{Args, ValueEnum};
use lakewright_scheduler::AsOf;

use super::ParamArgs;

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

/// Reads a release's number or a time. A time without a zone is UTC; a date is its first moment.
pub(crate) fn parse_as_of(text: &str) -> Result<AsOf, String> {
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return Ok(AsOf::Release(number));
    }
    let time = instant_us(text).map(AsOf::Time);
    time.ok_or_else(|| "give a release's number, or a time such as 2018-11-13T12:30:00Z".to_owned())
}

/// Reads a time. A time without a zone is UTC; a date is its first moment.
pub(super) fn parse_instant(text: &str) -> Result<i64, String> {
    let time = instant_us(text.trim());
    time.ok_or_else(|| "give a date or a time, such as 2018-11-13 or 2018-11-13T12:30:00Z".to_owned())
}

/// Microseconds since 1970-01-01T00:00:00Z.
fn instant_us(text: &str) -> Option<i64> {
    let zoned = DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_micros());
    let plain = || {
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
        formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
    };
    let day = || Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN));
    zoned.ok().or_else(|| Some(plain().or_else(day)?.and_utc().timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
