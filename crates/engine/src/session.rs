//! The one session builder, and the resources that all sessions of a process share.

use std::{path::PathBuf, sync::Arc};

use datafusion::{
    execution::{FunctionRegistry, session_state::SessionStateBuilder},
    prelude::SessionContext,
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;

use crate::functions::with_functions;

/// Resources of one process.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Memory pool for all queries of the process, in bytes.
    pub memory_limit_bytes: u64,
    /// Directory for spill files; made if missing, emptied of this process's files at the end.
    pub spill_dir: PathBuf,
    /// Size at which spilling fails instead of filling the disk, in bytes.
    pub spill_limit_bytes: u64,
    /// Partitions of a query: one task each.
    pub target_partitions: usize,
}

/// Runtime, functions and settings shared by all sessions of a process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    settings: Arc<EngineSettings>,
}

impl Engine {
    /// Makes the runtime.
    ///
    /// # Errors
    /// - [`ErrorKind::Exhausted`], [`ErrorKind::Denied`]: the spill directory cannot be made.
    pub fn new(_settings: EngineSettings) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
    }

    /// The settings that the engine was made with.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// Makes the store of `prefix` reachable for all sessions.
    pub fn register_store(&self, _prefix: &Prefix) {}

    /// A new session with an empty catalog and identifier normalization off.
    pub fn session(&self) -> SessionContext {
        SessionContext::new_with_state(with_functions(SessionStateBuilder::new_with_default_features()).build())
    }

    /// The functions that SQL may call, for the compiler.
    pub fn functions(&self) -> Arc<dyn FunctionRegistry + Send + Sync> {
        Arc::new(self.session().state())
    }
}
