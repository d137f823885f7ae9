//! What every driver of a process is given: the lake, who executes, who compiles, what time it is.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use lakewright_compiler::{Diagnostics, Job, JobFolder};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{Prefix, state::Spec};
use tokio::sync::Semaphore;

use super::{RunOptions, heartbeat::Observer};
use crate::{Backend, Clock};

type Compile = dyn Fn(&JobFolder, &BTreeMap<String, String>) -> Result<Job, Diagnostics> + Send + Sync;
type OpenRaw = dyn Fn(&str) -> Result<Prefix> + Send + Sync;

/// The surroundings of a driver; cheap to clone.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) lake: Prefix,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) compile: Arc<Compile>,
    pub(crate) open_raw: Arc<OpenRaw>,
    pub(crate) pace: Pace,
    /// Steps that execute at once, of all runs.
    pub(crate) steps: Arc<Semaphore>,
    /// What the process has seen of other drivers: a dead one is waited for once, not once for each run that it drove.
    pub(crate) observer: Arc<Mutex<Observer>>,
}

/// How often a driver looks at others, and they at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Time between two beats of a driver.
    pub(crate) beat: Duration,
    /// Time without a beat after which a driver seems dead.
    pub(crate) silence_max: Duration,
    /// Pause between two looks at a run that somebody else drives.
    pub(crate) wait_poll: Duration,
    /// How often a driver that waits for its steps looks whether somebody else has decided.
    pub(crate) outcome_poll: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(5),
            silence_max: Duration::from_secs(20),
            wait_poll: Duration::from_secs(1),
            outcome_poll: Duration::from_secs(3),
        }
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("lake", &self.lake).field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl Site {
    /// Compiles the job that a run was accepted with.
    pub(crate) fn compile(&self, folder: &JobFolder, params: &BTreeMap<String, String>) -> Result<Job> {
        (self.compile)(folder, params)
            .map_err(|diagnostics| Error::new(ErrorKind::Invalid, "the job does not compile").with_source(diagnostics))
    }
}

/// The job's files of a spec.
pub(crate) fn folder_of(spec: &Spec) -> JobFolder {
    JobFolder { files: spec.files.clone() }
}

/// The choices of a spec.
pub(crate) fn options_of(spec: &Spec) -> RunOptions {
    RunOptions {
        full_refresh: spec.options.full_refresh,
        accept_losses: spec.options.accept_losses,
        select: spec.options.select.clone(),
        exclude: spec.options.exclude.clone(),
        replay: spec.options.replay.clone(),
        start_us: spec.options.start_us,
        end_us: spec.options.end_us,
        verify_incremental: spec.options.verify_incremental,
    }
}
