//! The meaning of `/`: double division, as in Spark, but for decimals, which stay decimals.
//!
//! Data flow: the resolver puts a [`marker`] call in place of each `/` -> the planner types it ([`Divisions`]) -> here
//! [`write_out`] puts `/` back, with a cast where the operands would otherwise be divided as integers.
//!
//! Invariant: what the cast is decided on are the planner's own types, so that canonical SQL is divided the same by any
//! session.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use datafusion::{
    arrow::datatypes::{DataType, Field, FieldRef},
    common::{ScalarValue, plan_err},
    error::Result,
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
    sql::sqlparser::{
        ast::{
            BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Value,
            ValueWithSpan, VisitMut, VisitorMut,
        },
        tokenizer::Span,
    },
};

use super::resolve::function_call;

const MARKER: &str = "__divide";

/// The call that stands for the `index`th division.
pub(super) fn marker(left: Expr, right: Expr, index: usize, span: Span) -> Expr {
    let index = Expr::value(Value::Number(index.to_string(), false).with_span(span));
    function_call(MARKER, span, vec![left, right, index])
}

/// The types of the operands of each division, as the planner finds them.
#[derive(Clone, Debug, Default)]
pub(super) struct Divisions(Arc<Mutex<BTreeMap<u64, (DataType, DataType)>>>);

impl Divisions {
    /// The function that the planner finds under the marker's name.
    pub(super) fn function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        (name == MARKER).then(|| {
            let signature = Signature::any(3, Volatility::Immutable);
            Arc::new(ScalarUDF::new_from_impl(DivideMarker { divisions: self.clone(), signature }))
        })
    }

    fn types(&self) -> BTreeMap<u64, (DataType, DataType)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Puts `/` back into a tree that has been planned with `divisions`.
pub(super) fn write_out(query: &mut Query, divisions: &Divisions) {
    let mut writer = Writer { types: divisions.types() };
    let _: ControlFlow<()> = query.visit(&mut writer);
}

/// The type of a division of these operands.
fn quotient(left: &DataType, right: &DataType) -> Option<DataType> {
    let is_number =
        |data_type: &DataType| data_type.is_numeric() || matches!(data_type, DataType::Null | DataType::Utf8);
    if !is_number(left) || !is_number(right) {
        return None;
    }
    Some(if keeps_decimals(left, right) { left.clone() } else { DataType::Float64 })
}

fn keeps_decimals(left: &DataType, right: &DataType) -> bool {
    let exact = |data_type: &DataType| data_type.is_decimal() || data_type.is_integer();
    exact(left) && exact(right) && (left.is_decimal() || right.is_decimal())
}

#[derive(Debug)]
struct DivideMarker {
    divisions: Divisions,
    signature: Signature,
}

// Two markers are the same function: which division is meant stands in the arguments.
impl PartialEq for DivideMarker {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for DivideMarker {}
impl std::hash::Hash for DivideMarker {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        MARKER.hash(state);
    }
}

impl ScalarUDFImpl for DivideMarker {
    fn name(&self) -> &str {
        MARKER
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [left, right, _] = args.arg_fields else { return plan_err!("a division has two operands") };
        let Some(data_type) = quotient(left.data_type(), right.data_type()) else {
            return plan_err!("{} cannot be divided by {}", left.data_type(), right.data_type());
        };
        if let [_, _, Some(ScalarValue::Int64(Some(index)))] = args.scalar_arguments {
            let types = (left.data_type().clone(), right.data_type().clone());
            let mut divisions = self.divisions.0.lock().unwrap_or_else(PoisonError::into_inner);
            divisions.insert(index.unsigned_abs(), types);
        }
        Ok(Arc::new(Field::new(MARKER, data_type, true)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        plan_err!("a division was not written out")
    }
}

struct Writer {
    types: BTreeMap<u64, (DataType, DataType)>,
}

impl VisitorMut for Writer {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some((left, right, index)) = operands(expr) {
            let needs_cast = self
                .types
                .get(&index)
                .is_none_or(|(left, right)| !keeps_decimals(left, right) && left != &DataType::Float64);
            let left =
                if needs_cast { super::resolve::cast_to(left, &DataType::Float64, false, Span::empty()) } else { left };
            // The tree that was parsed had parentheses where they are needed, but for the operands of `/` itself.
            *expr = Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::Divide, right: Box::new(right) };
        }
        ControlFlow::Continue(())
    }
}

fn operands(expr: &Expr) -> Option<(Expr, Expr, u64)> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return None };
    if name.0.first()?.as_ident()?.value != MARKER {
        return None;
    }
    let [left, right, index] = list.args.as_slice() else { return None };
    let argument = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    let Expr::Value(ValueWithSpan { value: Value::Number(index, _), .. }) = argument(index)? else { return None };
    Some((argument(left)?, argument(right)?, index.parse().ok()?))
}
