//! Logs of the libraries, on stderr.
//!
//! Invariant: logs never reach stdout, so that a result can be piped whatever is logged.

use std::io;

use lakewright_error::{Error, ErrorKind, Result};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts logging by a filter such as `info` or `warn,lakewright_scheduler=debug`; a second start changes nothing.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: the filter does not parse.
pub(crate) fn start(filter: &str) -> Result<()> {
    let targets: Targets = filter
        .parse()
        .map_err(|error| Error::new(ErrorKind::Invalid, "the log filter does not parse").with_source(error))?;
    // Executors count in a form of their own, which Ballista takes for a mistake.
    let targets = targets.with_target("ballista_scheduler::display", tracing::level_filters::LevelFilter::OFF);
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    // One process may work in several places; the first one's filter stays.
    let _ = tracing_subscriber::registry().with(layer).with(targets).try_init();
    Ok(())
}
