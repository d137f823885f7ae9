//! A number is no instant: a cast of one to TIMESTAMP is refused, since its unit would have to be guessed (DataFusion
//! takes microseconds, Spark takes seconds).

use std::ops::Range;

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{Expr, ExprSchemable, LogicalPlan},
};

use super::place::Source;
use crate::Diagnostic;

/// Refuses the first cast of a number to an instant in an analyzed plan.
pub(super) fn refuse_epochs(plan: &LogicalPlan, source: &Source) -> Result<(), Diagnostic> {
    let mut found: Option<(DataType, Range<usize>)> = None;
    // The plan has been walked before, by the analyzer: if it cannot be walked there is nothing to find.
    let _ = plan.apply_with_subqueries(|node| {
        let mut schema = DFSchema::empty();
        node.inputs().iter().for_each(|input| schema.merge(input.schema()));
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Some(operand) = cast_to_instant(expr)
                    && let Ok(data_type) = operand.get_type(&schema)
                    && data_type.is_numeric()
                {
                    let span = operand.column_refs().iter().find_map(|column| column.spans().first());
                    let span = span.and_then(|span| source.range_of_span(super::plan::parser_span(span)));
                    found.get_or_insert((data_type, span.unwrap_or_else(|| source.range())));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    let Some((data_type, span)) = found else { return Ok(()) };
    let message = format!("a number ({data_type}) has no unit, so that it cannot be cast to TIMESTAMP");
    let help = "use timestamp_seconds, timestamp_millis or timestamp_micros";
    Err(source.error("epoch_cast", span, message).with_help(help))
}

/// What is cast, if that is how canonical SQL casts to TIMESTAMP.
fn cast_to_instant(expr: &Expr) -> Option<&Expr> {
    let Expr::ScalarFunction(function) = expr else { return None };
    if !matches!(function.name(), "arrow_cast" | "arrow_try_cast") {
        return None;
    }
    let [operand, Expr::Literal(name, _)] = function.args.as_slice() else { return None };
    let is_instant = name.try_as_str().flatten().is_some_and(|name| name.starts_with("Timestamp"));
    is_instant.then_some(operand)
}
