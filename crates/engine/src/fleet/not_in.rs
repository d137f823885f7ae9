//! `NOT IN (SELECT ..)` in a way that many tasks can compute.
//!
//! DataFusion's join for it knows in memory whether any row of the list was NULL, and which rows have found their value:
//! two tasks know it of their own rows only, and each gives the rows that the other one has found.
//!
//! Data flow: such a join -> an anti join as for NOT EXISTS, in parts by the value, and how many rows and values the list
//! has -> the rows that NOT IN is true of. The list is read twice.

use std::sync::Arc;

use datafusion::{
    common::{Result, not_impl_err, tree_node::Transformed},
    functions_aggregate::expr_fn::count,
    logical_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, ident, lit},
};

/// Columns of the counts, named as no column of a table is.
const ROWS: &str = "rows of the list";
const VALUES: &str = "values of the list";

/// The plan with each such join taken apart.
///
/// # Errors
/// Those of building plans; a join with a condition beside the value.
pub(super) fn split_null_aware_joins(plan: LogicalPlan) -> Result<LogicalPlan> {
    let split = plan.transform_up_with_subqueries(|plan| {
        Ok(match plan {
            LogicalPlan::Join(join) if join.null_aware => Transformed::yes(split(join)?),
            plan => Transformed::no(plan),
        })
    })?;
    Ok(split.data)
}

fn split(join: Join) -> Result<LogicalPlan> {
    let (JoinType::LeftAnti, [(value, listed)], None) = (join.join_type, join.on.as_slice(), &join.filter) else {
        return not_impl_err!("NOT IN over a query that depends on the row: write NOT EXISTS");
    };
    let (value, listed) = (value.clone(), listed.clone());
    let list = Arc::unwrap_or_clone(Arc::clone(&join.right));
    let counts = vec![count(lit(1)).alias(ROWS), count(listed).alias(VALUES)];
    let counts = LogicalPlanBuilder::from(list).aggregate(Vec::<Expr>::new(), counts)?.build()?;
    let columns: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
    let unmatched = LogicalPlan::Join(Join { null_aware: false, ..join });
    let is_empty = ident(ROWS).eq(lit(0_i64));
    let has_no_null = ident(ROWS).eq(ident(VALUES));
    // The counts to the left: every task holds all of that side.
    LogicalPlanBuilder::from(counts)
        .cross_join(unmatched)?
        .filter(is_empty.or(has_no_null.and(value.is_not_null())))?
        .project(columns)?
        .build()
}
