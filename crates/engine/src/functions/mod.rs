//! What SQL may call, and what it means: DataFusion's functions, Spark's in place of those that share a name.
//!
//! Data flow: the session builder passes through [`with_functions`]; the compiler and the scheduler then plan with this
//! registry, and executors look functions up in it by name.
//!
//! Invariant: one name is one function, everywhere. A plan carries only names, so what a planner rule puts into a plan
//! is what the registry gives for that name.

use std::sync::Arc;

use datafusion::execution::session_state::SessionStateBuilder;
use datafusion_spark::planner::SparkFunctionPlanner;

/// Adds the functions and the expression planners of the dialect to a builder that has DataFusion's defaults.
///
/// Must be the last to add functions: of two with one name, the later one is used.
pub(crate) fn with_functions(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    // The first planner that takes an expression wins.
    builder.expr_planners().get_or_insert_default().insert(0, Arc::new(SparkFunctionPlanner));
    builder.scalar_functions().get_or_insert_default().extend(datafusion_spark::all_default_scalar_functions());
    builder.aggregate_functions().get_or_insert_default().extend(datafusion_spark::all_default_aggregate_functions());
    builder.window_functions().get_or_insert_default().extend(datafusion_spark::all_default_window_functions());
    builder
}
