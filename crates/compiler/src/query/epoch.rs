//! What would silently mean another time than it says.
//!
//! A number is no instant: a cast of one to TIMESTAMP is refused, since its unit would have to be guessed (DataFusion
//! takes microseconds, Spark takes seconds). A DATE has no hours: DataFusion adds an interval of hours to one and drops
//! them, Spark makes it a TIMESTAMP.

use std::ops::Range;

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        DFSchema, ScalarValue,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator},
};

use super::place::Source;
use crate::Diagnostic;

/// What is refused.
enum Found {
    /// A number of this type is cast to an instant.
    Epoch(DataType),
    /// Hours are added to a date.
    Hours,
}

/// Refuses the first such expression of an analyzed plan.
pub(super) fn refuse_epochs(plan: &LogicalPlan, source: &Source) -> Result<(), Diagnostic> {
    let mut found: Option<(Found, Range<usize>)> = None;
    // The plan has been walked before, by the analyzer: if it cannot be walked there is nothing to find.
    let _ = plan.apply_with_subqueries(|node| {
        let mut schema = DFSchema::empty();
        node.inputs().iter().for_each(|input| schema.merge(input.schema()));
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let number = cast_to_instant(expr).and_then(|operand| {
                    let data_type = operand.get_type(&schema).ok().filter(DataType::is_numeric)?;
                    Some((Found::Epoch(data_type), operand))
                });
                let hours = || Some((Found::Hours, moved_by_hours(expr, &schema)?));
                if let Some((what, operand)) = number.or_else(hours) {
                    let span = operand.column_refs().iter().find_map(|column| column.spans().first());
                    let span = span.and_then(|span| source.range_of_span(super::plan::parser_span(span)));
                    found.get_or_insert((what, span.unwrap_or_else(|| source.range())));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    let Some((what, span)) = found else { return Ok(()) };
    Err(match what {
        Found::Epoch(data_type) => {
            let message = format!("a number ({data_type}) has no unit, so that it cannot be cast to TIMESTAMP");
            let help = "use timestamp_seconds, timestamp_millis or timestamp_micros";
            source.error("epoch_cast", span, message).with_help(help)
        }
        Found::Hours => {
            let message = "a DATE has no hours, minutes or seconds that an interval could change";
            source.error("date_hours", span, message).with_help("cast it first: CAST(.. AS TIMESTAMP) + INTERVAL ..")
        }
    })
}

/// The date that an interval of less than days is added to, or taken from.
fn moved_by_hours<'e>(expr: &'e Expr, schema: &DFSchema) -> Option<&'e Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) = expr else { return None };
    let is_date = |expr: &Expr| matches!(expr.get_type(schema), Ok(DataType::Date32));
    let moved = |date: &'e Expr, by: &Expr| (has_hours(by) && is_date(date)).then_some(date);
    moved(left, right).or_else(|| moved(right, left))
}

fn has_hours(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => interval.nanoseconds != 0,
        Expr::Literal(ScalarValue::IntervalDayTime(Some(interval)), _) => interval.milliseconds != 0,
        Expr::Cast(cast) => has_hours(&cast.expr),
        Expr::Negative(inner) => has_hours(inner),
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => has_hours(left) || has_hours(right),
        _ => false,
    }
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
