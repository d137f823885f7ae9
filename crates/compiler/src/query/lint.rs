//! A warning where equal sort keys would let chance decide which row is taken.
//!
//! Kept quiet: it speaks where one row of several is picked (`row_number`, `first_value`, …) and nothing at all, or a
//! single column that repeats as the partition, decides which. Two or more sort keys are taken for a decision that was
//! thought about; a key cannot be proven to be unique here.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArgumentClause, FunctionArguments, OrderByExpr, Query, Visit, Visitor, WindowType,
};

use super::place::Source;
use crate::Diagnostic;

/// Functions that pick a row or number rows by the order of their window.
const ORDERED: [&str; 8] =
    ["row_number", "ntile", "first_value", "last_value", "nth_value", "lag", "lead", "any_value"];

/// Aggregates that depend on the order of their rows.
const ORDERED_AGGREGATES: [&str; 8] =
    ["array_agg", "string_agg", "listagg", "collect_list", "first_value", "last_value", "first", "last"];

/// Aggregates that pick a row by a value, and cannot be told what decides between equal ones.
const PICK_BY_VALUE: [&str; 2] = ["max_by", "min_by"];

/// Warnings about a query as it was written.
pub(super) fn ties(query: &Query, source: &Source) -> Vec<Diagnostic> {
    let mut finder = Finder { source, warnings: Vec::new() };
    let _: ControlFlow<()> = query.visit(&mut finder);
    finder.warnings
}

struct Finder<'a> {
    source: &'a Source,
    warnings: Vec<Diagnostic>,
}

impl Visitor for Finder<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && let Some(reason) = objection(function)
        {
            let name = function.name.to_string().to_lowercase();
            let warning = self.source.warning("ties", self.source.range_of(expr), format!("`{name}` {reason}"));
            let help = "add keys to ORDER BY until no two rows are equal";
            let help = if PICK_BY_VALUE.contains(&name.as_str()) {
                "use row_number() with an ORDER BY that decides"
            } else {
                help
            };
            self.warnings.push(warning.with_help(help));
        }
        ControlFlow::Continue(())
    }
}

fn objection(function: &Function) -> Option<&'static str> {
    const NO_ORDER: &str = "has no ORDER BY: which row comes first is left to chance";
    const ONE_KEY: &str = "sorts by one key: between rows in which it is equal, chance decides";
    let name = function.name.to_string().to_lowercase();
    match &function.over {
        Some(WindowType::WindowSpec(spec)) if ORDERED.contains(&name.as_str()) && spec.window_name.is_none() => {
            match spec.order_by.as_slice() {
                [] => Some(NO_ORDER),
                // Ordered by what is equal within the partition: the author says that the rows are interchangeable.
                [key] if spec.partition_by.contains(&key.expr) => None,
                [_] => Some(ONE_KEY),
                _ => None,
            }
        }
        Some(_) => None,
        None if PICK_BY_VALUE.contains(&name.as_str()) => {
            Some("leaves it to chance which of several equal rows is taken")
        }
        None if ORDERED_AGGREGATES.contains(&name.as_str()) && keys(function).is_empty() => Some(NO_ORDER),
        None => None,
    }
}

fn keys(function: &Function) -> &[OrderByExpr] {
    if !function.within_group.is_empty() {
        return &function.within_group;
    }
    let FunctionArguments::List(list) = &function.args else { return &[] };
    let order_by = list.clauses.iter().find_map(|clause| match clause {
        FunctionArgumentClause::OrderBy(keys) => Some(keys.as_slice()),
        _ => None,
    });
    order_by.unwrap_or_default()
}
