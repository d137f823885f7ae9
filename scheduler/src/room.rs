//! What this process executes beside other things in one memory pool, and what becomes of it if the pool has too little.
//!
//! Data flow: a step or a query -> **[`Room::run`]** -> planned to be fast, beside others -> if there is too little memory,
//! once more: alone, and planned to spare it.
//!
//! Joins that hash cannot spill, and merges of what was spilled need memory at once: whether they find some depends on what
//! others hold at that moment, and the same job would fail today and pass tomorrow.
//!
//! Invariant: what is tried again has left nothing that counts: files that nobody names, reports that nobody has read.

use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use lakewright_engine::{Engine, Relation, is_no_memory, register_relation};
use lakewright_error::Result;
use tokio::sync::RwLock;

use crate::{QueryTask, StepInput};

/// How a query is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planned {
    /// To be fast.
    Fast,
    /// To take as little memory as it can.
    Sparing,
}

impl Planned {
    /// A session that plans so.
    pub(crate) fn session(self, engine: &Engine) -> SessionContext {
        match self {
            Self::Fast => engine.session(),
            Self::Sparing => engine.sparing_session(),
        }
    }
}

/// The memory pool of a process, as something that one may have for oneself.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Shared by what runs beside others, held alone by what runs alone.
    turns: RwLock<()>,
}

impl Room {
    /// Runs something beside others, and once more alone if it finds too little memory.
    ///
    /// # Errors
    /// Those of the last attempt.
    pub(crate) async fn run<T, F>(&self, what: &str, attempt: impl Fn(Planned) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let first = {
            let _beside_others = self.turns.read().await;
            attempt(Planned::Fast).await
        };
        match first {
            Err(error) if is_no_memory(&error) => {
                tracing::info!(what, "too little memory: tried again alone");
                let _alone = self.turns.write().await;
                attempt(Planned::Sparing).await
            }
            result => result,
        }
    }

    /// Answers a query over tables.
    ///
    /// # Errors
    /// As [`crate::Backend::query`].
    pub(crate) async fn query(&self, engine: &Engine, task: QueryTask) -> Result<Vec<RecordBatch>> {
        self.run(&task.sql, |planned| answer(engine, planned.session(engine), task.clone())).await
    }
}

async fn answer(engine: &Engine, session: SessionContext, task: QueryTask) -> Result<Vec<RecordBatch>> {
    for StepInput { name, relation } in task.inputs {
        match &relation {
            Relation::Raw(scan) => engine.register_store(&scan.raw),
            Relation::Table(scan) => engine.register_store(&scan.root),
            Relation::View { .. } => {}
        }
        register_relation(&session, name.zone(), name.table(), relation).await?;
    }
    let rows = engine.query_first(&session, &task.sql, &task.params, task.rows_max).await?;
    rows.batches.try_collect().await
}
