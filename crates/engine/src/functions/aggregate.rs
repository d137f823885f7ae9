//! Aggregate functions that DataFusion has not, or has under another name.
//!
//! Invariant: what a name means does not depend on how the rows are partitioned, except where several rows are equally
//! right (ties of `max_by`).

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BooleanArray},
        compute::nullif,
        datatypes::{DataType, Field, FieldRef},
    },
    common::{ScalarValue, plan_err},
    error::Result,
    functions_aggregate::{
        approx_distinct::approx_distinct_udaf,
        array_agg::array_agg_udaf,
        bool_and_or::{bool_and_udaf, bool_or_udaf},
        count::count_udaf,
        first_last::{first_value_udaf, last_value_udaf},
        percentile_cont::percentile_cont_udaf,
        stddev::stddev_udaf,
        string_agg::string_agg_udaf,
        variance::var_samp_udaf,
    },
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, Expr, GroupsAccumulator, Signature, Volatility,
        expr::AggregateFunction,
        function::{AccumulatorArgs, StateFieldsArgs},
        planner::{PlannerResult, RawAggregateExpr},
        utils::format_state_name,
    },
};
use datafusion_spark::function::aggregate::collect_list;

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    let renamed = |function: Arc<AggregateUDF>, names: &[&'static str]| {
        Arc::new(function.as_ref().clone().with_aliases(names.iter().copied()))
    };
    vec![
        // Spark's crate makes decimals doubles.
        renamed(percentile_cont_udaf(), &["percentile"]),
        renamed(string_agg_udaf(), &["listagg"]),
        renamed(bool_and_udaf(), &["every"]),
        renamed(bool_or_udaf(), &["some", "any"]),
        renamed(stddev_udaf(), &["stddev_samp", "std"]),
        renamed(var_samp_udaf(), &["var_sample", "var_samp", "variance"]),
        renamed(approx_distinct_udaf(), &["approx_count_distinct"]),
        renamed(first_value_udaf(), &["first"]),
        renamed(last_value_udaf(), &["last"]),
        Arc::new(AggregateUDF::new_from_impl(By::new("max_by"))),
        Arc::new(AggregateUDF::new_from_impl(By::new("min_by"))),
        Arc::new(AggregateUDF::new_from_impl(CountIf::new())),
    ]
}

/// Puts DataFusion's ordered aggregates in place of Spark's that have no order of their own.
pub(super) fn plan_aggregate(expr: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
    match expr.func.name() {
        "max_by" => Ok(plan_by(expr, last_value_udaf())),
        "min_by" => Ok(plan_by(expr, first_value_udaf())),
        "collect_set" if !expr.order_by.is_empty() => plan_err!("a set has no order: use sort_array(collect_set(..))"),
        "collect_list" | "array_agg" => Ok(plan_list(expr)),
        _ => Ok(PlannerResult::Original(expr)),
    }
}

/// `max_by(x, y)` is the last x in the order of y, of the rows that have a y: DataFusion's `last_value` is that, with
/// state per group in columns. `min_by` is the first.
fn plan_by(expr: RawAggregateExpr, function: Arc<AggregateUDF>) -> PlannerResult<RawAggregateExpr> {
    let [value, key] = expr.args.as_slice() else { return PlannerResult::Original(expr) };
    if expr.distinct || !expr.order_by.is_empty() || expr.null_treatment.is_some() {
        return PlannerResult::Original(expr);
    }
    let planned = RawAggregateExpr {
        func: function,
        args: vec![value.clone()],
        order_by: vec![key.clone().sort(true, false)],
        ..only_where_not_null(&expr, key)
    };
    planned_as(&expr, planned)
}

/// NULLs are left out. `collect_list` of DataFusion's Spark functions would ignore DISTINCT and ORDER BY.
fn plan_list(expr: RawAggregateExpr) -> PlannerResult<RawAggregateExpr> {
    let [value] = expr.args.as_slice() else { return PlannerResult::Original(expr) };
    let plain = !expr.distinct && expr.order_by.is_empty() && expr.null_treatment.is_none();
    let planned = if plain {
        RawAggregateExpr { func: collect_list(), ..expr.clone() }
    } else {
        RawAggregateExpr { func: array_agg_udaf(), ..only_where_not_null(&expr, value) }
    };
    planned_as(&expr, planned)
}

fn only_where_not_null(expr: &RawAggregateExpr, value: &Expr) -> RawAggregateExpr {
    let not_null = value.clone().is_not_null();
    let filter = match &expr.filter {
        Some(filter) => filter.as_ref().clone().and(not_null),
        None => not_null,
    };
    RawAggregateExpr { filter: Some(Box::new(filter)), ..expr.clone() }
}

/// The planned call under the name that the written one has.
fn planned_as(written: &RawAggregateExpr, planned: RawAggregateExpr) -> PlannerResult<RawAggregateExpr> {
    let call = |expr: RawAggregateExpr| {
        let RawAggregateExpr { func, args, distinct, filter, order_by, null_treatment } = expr;
        Expr::AggregateFunction(AggregateFunction::new_udf(func, args, distinct, filter, order_by, null_treatment))
    };
    let name = call(written.clone()).schema_name().to_string();
    PlannerResult::Planned(call(planned).alias(name))
}

/// The value at the greatest or least key, as a window function; [`plan_aggregate`] takes the others.
#[derive(Debug, PartialEq, Eq, Hash)]
struct By {
    name: &'static str,
    signature: Signature,
}

impl By {
    fn new(name: &'static str) -> Self {
        Self { name, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for By {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        match given {
            [value, _] => Ok(value.clone()),
            _ => plan_err!("{} takes 2 arguments, not {}", self.name, given.len()),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let names = ["value", "key"];
        let fields = names.iter().zip(args.input_fields).map(|(name, field)| {
            Arc::new(Field::new(format_state_name(args.name, name), field.data_type().clone(), true))
        });
        Ok(fields.collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let types: Vec<_> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let [value, key] = types.as_slice() else { return plan_err!("{} takes 2 arguments", self.name) };
        Ok(Box::new(Best {
            greatest: self.name == "max_by",
            value: ScalarValue::try_from(value)?,
            key: ScalarValue::try_from(key)?,
        }))
    }
}

#[derive(Debug)]
struct Best {
    greatest: bool,
    value: ScalarValue,
    key: ScalarValue,
}

impl Accumulator for Best {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (candidates, keys) = (&values[0], &values[1]);
        for row in 0..keys.len() {
            if keys.is_null(row) {
                continue;
            }
            let key = ScalarValue::try_from_array(keys, row)?;
            let better = self.key.is_null() || {
                let order = key.try_cmp(&self.key)?;
                if self.greatest { order.is_gt() } else { order.is_lt() }
            };
            if better {
                self.key = key;
                self.value = ScalarValue::try_from_array(candidates, row)?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), self.key.clone()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.value.size() + self.key.size()
    }
}

/// How many rows meet a condition.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CountIf {
    signature: Signature,
}

impl CountIf {
    fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Boolean], Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for CountIf {
    fn name(&self) -> &str {
        "count_if"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _given: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(TrueOnly(count_udaf().accumulator(args)?)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(TrueOnlyGroups(count_udaf().create_groups_accumulator(args)?)))
    }
}

/// FALSE as NULL, which `count` leaves out.
fn true_only(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let conditions = values[0].as_boolean();
    let is_false: BooleanArray = conditions.iter().map(|value| Some(value == Some(false))).collect();
    Ok(vec![nullif(&values[0], &is_false)?])
}

#[derive(Debug)]
struct TrueOnly(Box<dyn Accumulator>);

impl Accumulator for TrueOnly {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(&true_only(values)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(&true_only(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.evaluate()
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}

struct TrueOnlyGroups(Box<dyn GroupsAccumulator>);

impl GroupsAccumulator for TrueOnlyGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.0.update_batch(&true_only(values)?, group_indices, filter, group_count)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], group_count: usize) -> Result<()> {
        self.0.merge_batch(values, group_indices, group_count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.0.evaluate(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.0.state(emit_to)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.0.convert_to_state(&true_only(values)?, filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
