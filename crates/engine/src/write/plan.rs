//! The write as a logical node, and the planner that turns it into its physical one.
//!
//! A logical node is planned by the session's query planner, so an adaptive scheduler plans everything below it as usual.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{DFSchema, DFSchemaRef, Result, exec_datafusion_err},
    execution::context::QueryPlanner,
    logical_expr::{
        Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner},
};

use super::{TableWrite, exec::TableWriteExec, manifest::manifest_schema};
use crate::row_number::number_rows;

/// Rows of the input -> one row per DataFile.
#[derive(Clone, Debug)]
pub(super) struct TableWriteNode {
    input: LogicalPlan,
    write: Arc<TableWrite>,
    schema: DFSchemaRef,
}

impl TableWriteNode {
    pub(super) fn new(input: LogicalPlan, write: TableWrite) -> Result<Self> {
        let schema = DFSchema::try_from(manifest_schema())?;
        Ok(Self { input, write: Arc::new(write), schema: Arc::new(schema) })
    }

    /// What tells two writes apart.
    fn key(&self) -> (&LogicalPlan, &str, &str) {
        (&self.input, self.write.root.root().as_ref(), &self.write.run_id)
    }
}

impl PartialEq for TableWriteNode {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for TableWriteNode {}

impl PartialOrd for TableWriteNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl Hash for TableWriteNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl UserDefinedLogicalNodeCore for TableWriteNode {
    fn name(&self) -> &str {
        "TableWrite"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableWrite: {}", self.write.root.root())
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = inputs.into_iter().next().ok_or_else(|| exec_datafusion_err!("a table write needs an input"))?;
        Ok(Self { input, write: Arc::clone(&self.write), schema: Arc::clone(&self.schema) })
    }
}

/// DataFusion's planner, the write node, and our own numbering of rows.
#[derive(Debug)]
pub(crate) struct WritePlanner {
    /// Whether rows are numbered by our own node. On a fleet executors put it into each task: it does not travel.
    pub(crate) numbers_rows: bool,
}

#[async_trait]
impl QueryPlanner for WritePlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(WriteExtensionPlanner)]);
        let plan = planner.create_physical_plan(logical_plan, session).await?;
        if self.numbers_rows { number_rows(plan) } else { Ok(plan) }
    }
}

struct WriteExtensionPlanner;

#[async_trait]
impl ExtensionPlanner for WriteExtensionPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<TableWriteNode>() else { return Ok(None) };
        let Some(input) = physical_inputs.first() else { return Ok(None) };
        Ok(Some(Arc::new(TableWriteExec::new(Arc::clone(input), Arc::clone(&node.write)))))
    }
}
