//! Logs: on stderr, and those of runs beside their state.
//!
//! Invariant: logs never reach stdout, so that a result can be piped whatever is logged.

use std::io;

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_scheduler::run_log_layer;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts logging by a filter such as `info` or `warn,lakewright_scheduler=debug`; a second start changes nothing.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: the filter does not parse.
pub(crate) fn start(filter: &str) -> Result<()> {
    let targets: Targets = filter
        .parse()
        .map_err(|error| Error::new(ErrorKind::Invalid, "the log filter does not parse").with_source(error))?;
    // Executors count in a form of their own, which Ballista takes for a mistake.
    let targets = targets.with_target("ballista_scheduler::display", LevelFilter::OFF);
    let stderr = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false).with_filter(targets);
    let of_runs = run_log_layer().with_filter(
        Targets::new()
            .with_default(LevelFilter::WARN)
            .with_target("lakewright", LevelFilter::INFO)
            // A line a task is much for stderr, and what a run's log is for.
            .with_target("lakewright_executor::tasks", LevelFilter::DEBUG)
            .with_target("ballista_scheduler::display", LevelFilter::OFF),
    );
    // One process may work in several places; the first one's filter stays.
    let _ = tracing_subscriber::registry().with(stderr).with(of_runs).try_init();
    Ok(())
}
