//! What SQL may call, and what it means: DataFusion's functions, Spark's in place of those that share a name.
//!
//! Data flow: the session builder passes through [`with_functions`]; the compiler and the scheduler then plan with this
//! registry, and executors look functions up in it by name.
//!
//! Invariant: one name is one function, everywhere. A plan carries only names, so what a planner rule puts into a plan
//! is what the registry gives for that name.

mod aggregate;
mod arithmetic;
mod native;
mod nested;
mod planner;
mod sum;
mod text;
mod time;
mod types;

use std::sync::Arc;

use datafusion::execution::session_state::SessionStateBuilder;

/// Adds the functions and the expression planners of the dialect to a builder that has DataFusion's defaults.
///
/// Must be the last to add functions: of two with one name, the later one is used.
pub(crate) fn with_functions(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    // The first planner that takes an expression wins.
    builder.expr_planners().get_or_insert_default().insert(0, Arc::new(planner::DialectPlanner));
    *builder.type_planner() = Some(Arc::new(types::DialectTypes));
    let scalar = builder.scalar_functions().get_or_insert_default();
    scalar.extend(datafusion_spark::all_default_scalar_functions());
    scalar.extend(arithmetic::functions());
    scalar.extend(nested::functions());
    scalar.extend(text::functions());
    scalar.extend(time::functions());
    let aggregate = builder.aggregate_functions().get_or_insert_default();
    aggregate.extend(datafusion_spark::all_default_aggregate_functions());
    aggregate.extend(aggregate::functions());
    aggregate.extend(sum::functions());
    builder.window_functions().get_or_insert_default().extend(datafusion_spark::all_default_window_functions());
    builder
}

#[cfg(test)]
mod tests;
