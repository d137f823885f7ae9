//! Operators and special syntax become the dialect's functions while SQL is planned.
//!
//! Data flow: SQL -> sqlparser -> DataFusion's planner asks **here** first -> functions of the registry. The compiler
//! plans with the same rules, so both see the same types.
//!
//! Invariant: a rule only names functions that the registry has under that very name.

use datafusion::{
    arrow::datatypes::DataType,
    common::{DFSchema, ScalarValue, tree_node::TreeNode},
    error::Result,
    functions::core::get_field,
    logical_expr::{
        Expr, ExprSchemable, GetFieldAccess, cast,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawFieldAccessExpr, RawWindowExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};

use super::{
    arithmetic::{Operation, checked, decimal_result},
    nested::element_or_error,
};

/// The planner rules of the dialect.
#[derive(Debug)]
pub(super) struct DialectPlanner;

impl ExprPlanner for DialectPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let Some(operation) = operation_of(&expr.op) else { return Ok(PlannerResult::Original(expr)) };
        // A parameter has no type until it is bound: the native operator then fails or not as DataFusion has it.
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        if let Some(planned) = plan_date_and_days(operation, &expr, &left, &right) {
            return Ok(PlannerResult::Planned(planned));
        }
        let RawBinaryExpr { op, left: left_expr, right: right_expr } = expr;
        let left_expr = fit_literal(left_expr, &right);
        let right_expr = fit_literal(right_expr, &left);
        let left = left_expr.get_type(schema)?;
        let right = right_expr.get_type(schema)?;
        if needs_check(operation, &left, &right) {
            Ok(PlannerResult::Planned(checked(operation).call(vec![left_expr, right_expr])))
        } else {
            Ok(PlannerResult::Original(RawBinaryExpr { op, left: left_expr, right: right_expr }))
        }
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { field_access, expr } = expr;
        let data_type = expr.get_type(schema)?;
        match field_access {
            GetFieldAccess::ListIndex { key } if is_list(&data_type) => {
                Ok(PlannerResult::Planned(element_or_error().call(vec![expr, *key])))
            }
            GetFieldAccess::ListIndex { key } if matches!(data_type, DataType::Map(..)) => {
                Ok(PlannerResult::Planned(get_field().call(vec![expr, *key])))
            }
            field_access => Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr })),
        }
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let function = ScalarFunction::new_udf(super::time::date_part(), args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(function)))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let function = ScalarFunction::new_udf(datafusion_spark::function::string::substring(), args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(function)))
    }

    fn plan_aggregate(&self, expr: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        super::aggregate::plan_aggregate(RawAggregateExpr { args: name_casts(expr.args), ..expr })
    }

    fn plan_window(&self, expr: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        Ok(PlannerResult::Original(RawWindowExpr { args: name_casts(expr.args), ..expr }))
    }

    fn plan_position(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        // The planner gives the text first, `locate` takes what is looked for first.
        let args = args.into_iter().rev().collect();
        let function = ScalarFunction::new_udf(super::text::locate(), args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(function)))
    }
}

/// Gives arguments that cast a column a name that says so. DataFusion leaves casts out of names: it would refuse
/// `min(at)` beside `min(CAST(at AS DATE))` as one name for two columns.
fn name_casts(args: Vec<Expr>) -> Vec<Expr> {
    let casts = |expr: &Expr| {
        let is_cast = |expr: &Expr| Ok(matches!(expr, Expr::Cast(_) | Expr::TryCast(_)));
        expr.any_column_refs() && expr.exists(is_cast).unwrap_or(false)
    };
    let named = |expr: Expr| {
        let name = expr.to_string();
        expr.alias(name)
    };
    args.into_iter().map(|expr| if casts(&expr) { named(expr) } else { expr }).collect()
}

fn operation_of(operator: &BinaryOperator) -> Option<Operation> {
    match operator {
        BinaryOperator::Plus => Some(Operation::Add),
        BinaryOperator::Minus => Some(Operation::Subtract),
        BinaryOperator::Multiply => Some(Operation::Multiply),
        BinaryOperator::Divide => Some(Operation::Divide),
        BinaryOperator::Modulo => Some(Operation::Remainder),
        BinaryOperator::MyIntegerDivide | BinaryOperator::DuckIntegerDivide => Some(Operation::IntegerDivide),
        _ => None,
    }
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

/// `date + n` and `date - n` count days.
fn plan_date_and_days(operation: Operation, expr: &RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
    let (date, days, days_type) = match (operation, left, right) {
        (Operation::Add | Operation::Subtract, DataType::Date32, other) => (&expr.left, &expr.right, other),
        (Operation::Add, other, DataType::Date32) => (&expr.right, &expr.left, other),
        _ => return None,
    };
    if !days_type.is_integer() {
        return None;
    }
    let function = if operation == Operation::Add { super::time::date_add() } else { super::time::date_sub() };
    Some(function.call(vec![date.clone(), days.clone()]))
}

/// Whether the native operator could wrap, divide by zero, or give more digits than its type has.
fn needs_check(operation: Operation, left: &DataType, right: &DataType) -> bool {
    let number = |side: &DataType| side.is_numeric() || side == &DataType::Null;
    if !number(left) || !number(right) {
        return matches!(operation, Operation::Divide | Operation::IntegerDivide)
            && (number(left) || number(right))
            && !(left.is_temporal() || right.is_temporal());
    }
    match (operation, left, right) {
        (Operation::Add | Operation::Subtract | Operation::Multiply, _, _) => {
            if left.is_floating() || right.is_floating() {
                return mixes_float_and_wider(left, right);
            }
            match (decimal_shape(left), decimal_shape(right)) {
                (Some(left), Some(right)) => {
                    matches!(decimal_result(operation, left, right), DataType::Decimal128(38, _))
                }
                _ => true,
            }
        }
        _ => true,
    }
}

/// A FLOAT beside another kind of number is a DOUBLE in Spark, and a FLOAT natively.
fn mixes_float_and_wider(left: &DataType, right: &DataType) -> bool {
    let is_float = |side: &DataType| side == &DataType::Float32;
    (is_float(left) || is_float(right)) && left != right && left != &DataType::Null && right != &DataType::Null
}

/// Precision and scale of a side beside a decimal; `None` if neither side need be one.
fn decimal_shape(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

/// An integer literal beside a decimal is a decimal of as many digits as it has, so that the result keeps its scale.
fn fit_literal(expr: Expr, other: &DataType) -> Expr {
    match (&expr, other) {
        (Expr::Literal(ScalarValue::Int64(Some(value)), _), DataType::Decimal128(..)) => {
            let digits = u8::try_from(value.unsigned_abs().checked_ilog10().unwrap_or(0) + 1).unwrap_or(20);
            cast(expr, DataType::Decimal128(digits, 0))
        }
        _ => expr,
    }
}
