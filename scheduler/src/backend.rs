//! Who executes a step: this process over plain DataFusion, or a fleet.

use std::{collections::BTreeMap, fmt::Debug};

use async_trait::async_trait;
use datafusion::common::ScalarValue;
use lakewright_compiler::TableName;
use lakewright_engine::{Engine, Relation, StepProgress, TableWrite};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::DataFile;

/// Executes steps.
#[async_trait]
pub trait Backend: Debug + Send + Sync {
    /// Runs one step to its end.
    ///
    /// # Errors
    /// Those of [`lakewright_engine::execute_table_write`].
    ///
    /// # Cancel safety
    /// Dropping the future stops the step; files that were written stay, and nothing names them.
    async fn execute(&self, task: StepTask, progress: &(dyn Fn(StepProgress) + Send + Sync)) -> Result<StepOutput>;
}

/// What a backend needs to run a step.
#[derive(Clone, Debug)]
pub struct StepTask {
    /// The step.
    pub table: TableName,
    /// Canonical SQL.
    pub sql: String,
    /// Values of `$name` parameters.
    pub params: BTreeMap<String, ScalarValue>,
    /// Inputs; a view comes after what it reads.
    pub inputs: Vec<StepInput>,
    /// Where the rows go.
    pub write: TableWrite,
}

/// One input of a step.
#[derive(Clone, Debug)]
pub struct StepInput {
    /// The name that the SQL calls it by.
    pub name: TableName,
    /// The rows.
    pub relation: Relation,
}

/// What a step made.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutput {
    /// Files written, sorted by path.
    pub files: Vec<DataFile>,
    /// Final counts.
    pub progress: StepProgress,
}

/// Executes steps in this process.
#[derive(Debug)]
pub struct EmbeddedBackend {
    engine: Engine,
}

impl EmbeddedBackend {
    /// Makes a backend over the process's engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[async_trait]
impl Backend for EmbeddedBackend {
    async fn execute(&self, _task: StepTask, _progress: &(dyn Fn(StepProgress) + Send + Sync)) -> Result<StepOutput> {
        let _ = &self.engine;
        Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
    }
}
