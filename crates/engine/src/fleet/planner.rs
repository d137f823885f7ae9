//! Plans queries for a fleet: as embedded, with what would be lost on the way put where it is not, and with what only one
//! process can execute as one task.
//!
//! Invariant: the rows are those of the query, whoever runs which part of it.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{
        Result,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::context::QueryPlanner,
    logical_expr::LogicalPlan,
    physical_plan::{ExecutionPlan, recursive_query::RecursiveQueryExec},
};

use super::{not_in::split_null_aware_joins, one_task::OneTaskExec, window::carry_windows};
use crate::write::WritePlanner;

/// The planner of [`crate::Engine::fleet_session`].
#[derive(Debug)]
pub(crate) struct FleetPlanner;

#[async_trait]
impl QueryPlanner for FleetPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let logical_plan = split_null_aware_joins(carry_windows(logical_plan.clone())?)?;
        let plan = WritePlanner.create_physical_plan(&logical_plan, session).await?;
        let whole = plan.transform_down(|node| {
            Ok(if node.is::<RecursiveQueryExec>() {
                // Each round reads what the last one has left in memory.
                Transformed::new(Arc::new(OneTaskExec::new(node)), true, TreeNodeRecursion::Jump)
            } else {
                Transformed::no(node)
            })
        })?;
        Ok(whole.data)
    }
}
