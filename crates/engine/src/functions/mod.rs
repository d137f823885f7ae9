//! What SQL may call, and what it means: DataFusion's functions, Spark's in place of those that share a name.
//!
//! Data flow: the session builder passes through [`with_functions`]; the compiler and the scheduler then plan with this
//! registry, and executors look functions up in it by name.
//!
//! Invariant: one name is one function, everywhere. A plan carries only names, so what a planner rule puts into a plan
//! is what the registry gives for that name.

mod aggregate;
mod arithmetic;
mod average;
mod cast;
mod json;
mod math;
mod native;
mod nested;
mod pattern;
mod pattern_time;
mod planner;
mod regexp;
mod sum;
mod text;
mod time;
mod types;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use datafusion::{
    execution::session_state::{SessionState, SessionStateBuilder},
    optimizer::Analyzer,
};

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
    scalar.extend(pattern_time::functions());
    scalar.extend(cast::functions());
    scalar.extend(json::functions());
    scalar.extend(math::functions());
    scalar.extend(regexp::functions());
    keep_last(scalar, |function| (function.name(), function.aliases()));
    let aggregate = builder.aggregate_functions().get_or_insert_default();
    aggregate.extend(datafusion_spark::all_default_aggregate_functions());
    aggregate.extend(aggregate::functions());
    aggregate.extend(sum::functions());
    aggregate.extend(average::functions());
    keep_last(aggregate, |function| (function.name(), function.aliases()));
    builder.window_functions().get_or_insert_default().extend(datafusion_spark::all_default_window_functions());
    builder.analyzer().get_or_insert_with(Analyzer::new).add_function_rewrite(Arc::new(cast::CastRewrite));
    builder
}

/// Gives a builder that was made from `state` the functions of `state` under the same names.
///
/// A builder takes them out of a hash map, and of two that share a name the later one counts: here those come first that
/// have an alias which is another's name in `state`.
pub(crate) fn with_functions_of(mut builder: SessionStateBuilder, state: &SessionState) -> SessionStateBuilder {
    let scalar = builder.scalar_functions().get_or_insert_default();
    in_order(scalar, state.scalar_functions(), |function| (function.name(), function.aliases()));
    let aggregate = builder.aggregate_functions().get_or_insert_default();
    in_order(aggregate, state.aggregate_functions(), |function| (function.name(), function.aliases()));
    let window = builder.window_functions().get_or_insert_default();
    in_order(window, state.window_functions(), |function| (function.name(), function.aliases()));
    builder
}

fn in_order<T>(functions: &mut [Arc<T>], known: &HashMap<String, Arc<T>>, names: impl Fn(&T) -> (&str, &[String])) {
    let yields = |function: &T| {
        let (name, aliases) = names(function);
        aliases.iter().any(|alias| known.get(alias).is_some_and(|other| names(other).0 != name))
    };
    functions.sort_by_cached_key(|function| (!yields(function), names(function).0.to_owned()));
}

/// Leaves out each function whose name a later one has, so that no other name still leads to it: executors would find
/// the later one.
fn keep_last<T>(functions: &mut Vec<Arc<T>>, names: impl Fn(&T) -> (&str, &[String])) {
    let mut taken = HashSet::new();
    functions.reverse();
    functions.retain(|function| {
        let (name, aliases) = names(function);
        let is_free = !taken.contains(name);
        if is_free {
            taken.insert(name.to_owned());
            taken.extend(aliases.iter().cloned());
        }
        is_free
    });
    functions.reverse();
}

#[cfg(test)]
mod tests;
