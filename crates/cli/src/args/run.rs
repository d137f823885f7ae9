//! Arguments of what looks at a job, runs it, and follows its runs.

use clap::Args;

use super::{RowFormat, read::parse_instant};

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
    /// Compute models of kind INCREMENTAL_BY_TIME_RANGE from this date or instant (UTC) on, whatever has changed
    #[arg(long, value_name = "TIME", value_parser = parse_instant, conflicts_with = "full_refresh")]
    pub(crate) start: Option<i64>,
    /// The same, to before this date or instant (UTC)
    #[arg(long, value_name = "TIME", value_parser = parse_instant, conflicts_with = "full_refresh")]
    pub(crate) end: Option<i64>,
    /// Compute incremental models in full too, and fail if their tables do not hold the same rows
    #[arg(long)]
    pub(crate) verify_incremental: bool,
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

/// Arguments of `logs`.
#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// The run's id or a unique beginning of it; the newest run by default
    pub(crate) run: Option<String>,
    /// Show what comes until the run has ended
    #[arg(long)]
    pub(crate) follow: bool,
    /// Only what is about this step, for example staging.events
    #[arg(long, value_name = "TABLE")]
    pub(crate) step: Option<String>,
}

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The run's id or a unique beginning of it; the newest run by default
    pub(crate) run: Option<String>,
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

/// Reads `name=value`.
fn parse_param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write it as name=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_keeps_everything_after_its_first_equals_sign() {
        assert_eq!(parse_param("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(parse_param("a").is_err());
        assert!(parse_param("=b").is_err());
    }
}
