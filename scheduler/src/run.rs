//! Accepts a run and drives it to its end.

use std::{collections::BTreeMap, sync::Arc};

use lakewright_compiler::JobFolder;
use lakewright_engine::Engine;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use tokio_util::sync::CancellationToken;

use crate::{Backend, RunEvent, RunSummary};

/// Choices of one run that change what it does, not what a table means.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Rebuild selected models whatever has changed.
    pub full_refresh: bool,
    /// `--select` patterns; empty is everything.
    pub select: Vec<String>,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
}

/// What a client asks for.
#[derive(Clone, Debug, Default)]
pub struct RunRequest {
    /// The job's files.
    pub folder: JobFolder,
    /// Overrides of parameters, as text.
    pub params: BTreeMap<String, String>,
    /// The raw prefix, as a location that a later driver can open.
    pub raw: String,
    /// Choices.
    pub options: RunOptions,
    /// Who asks; empty for the user of this process.
    pub principal: String,
    /// The same key of the same principal is the same run, however often it is sent.
    pub idempotency_key: Option<String>,
    /// The failed run that this one tries again.
    pub retries: Option<String>,
}

/// Drives the runs of one lake.
#[derive(Clone, Debug)]
pub struct Scheduler {
    lake: Prefix,
    engine: Engine,
    backend: Arc<dyn Backend>,
}

impl Scheduler {
    /// Makes a scheduler; does no I/O.
    pub fn new(lake: Prefix, engine: Engine, backend: Arc<dyn Backend>) -> Self {
        Self { lake, engine, backend }
    }

    /// Accepts a run and drives it, and every unfinished earlier run of the job before it, to the end.
    ///
    /// # Errors
    /// The kind of whatever failed the run; a failed run has published nothing.
    /// - [`ErrorKind::Cancelled`]: `cancel` fired before the outcome; after the outcome publishing goes on to its end.
    /// - [`ErrorKind::Conflict`]: a table belongs to another job.
    ///
    /// # Cancel safety
    /// Dropping the future is a crash: the next driver resumes.
    pub async fn run(
        &self,
        _request: RunRequest,
        _cancel: CancellationToken,
        _events: &(dyn Fn(RunEvent) + Send + Sync),
    ) -> Result<RunSummary> {
        let _ = (&self.lake, &self.engine, &self.backend);
        Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
    }
}
