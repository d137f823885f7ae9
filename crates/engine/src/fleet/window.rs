//! What plans of window functions lose on the way to an executor, put into the functions themselves, which travel whole.
//!
//! DataFusion's message of a window has no place for FILTER, for IGNORE NULLS of window functions, nor for whether one is
//! evaluated backwards: an executor would compute without them.
//!
//! Data flow: a logical plan, when nothing but its physical one is still to be made of it -> [`carry_windows`] -> functions
//! that do the same by themselves ([`Filtered`], [`Carried`]) -> [`super::FleetCodec`] -> the same functions on an executor.
//!
//! Invariant: a wrapped function has the name, the type and the values of the function and the clause that it is of.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray},
        compute::{SortOptions, filter},
        datatypes::{DataType, FieldRef},
    },
    common::{Result, ScalarValue, internal_err, tree_node::Transformed},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Expr, LimitEffect, LogicalPlan, PartitionEvaluator, ReversedUDAF,
        ReversedUDWF, Signature, Volatility, Window, WindowFunctionDefinition, WindowUDF, WindowUDFImpl,
        expr::{NullTreatment, WindowFunction},
        function::{AccumulatorArgs, ExpressionArgs, PartitionEvaluatorArgs, StateFieldsArgs, WindowUDFFieldArgs},
        utils::AggregateOrderSensitivity,
    },
    physical_expr::PhysicalExpr,
};

/// The plan with each window function that would lose something wrapped.
///
/// # Errors
/// Those of walking the plan.
pub(super) fn carry_windows(plan: LogicalPlan) -> Result<LogicalPlan> {
    let carried = plan.transform_down_with_subqueries(|plan| {
        Ok(match plan {
            LogicalPlan::Window(window) if window.window_expr.iter().any(|expr| is_lossy(unaliased(expr))) => {
                let expressions = window.window_expr.into_iter().map(carry).collect();
                Transformed::yes(LogicalPlan::Window(Window::try_new(expressions, window.input)?))
            }
            plan => Transformed::no(plan),
        })
    })?;
    Ok(carried.data)
}

fn is_lossy(expr: &Expr) -> bool {
    matches!(expr, Expr::WindowFunction(window) if loses(window))
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        expr => expr,
    }
}

/// Whether the message of a window would not have all of it.
fn loses(window: &WindowFunction) -> bool {
    match &window.fun {
        WindowFunctionDefinition::AggregateUDF(_) => window.params.filter.is_some(),
        WindowFunctionDefinition::WindowUDF(function) => {
            !function.inner().is::<Carried>()
                && (window.params.null_treatment == Some(NullTreatment::IgnoreNulls)
                    || matches!(function.reverse_expr(), ReversedUDWF::Reversed(_)))
        }
    }
}

/// The same column by a function that carries all of it.
fn carry(expr: Expr) -> Expr {
    match expr {
        Expr::Alias(mut alias) => {
            *alias.expr = carry_unnamed(*alias.expr);
            Expr::Alias(alias)
        }
        expr if is_lossy(&expr) => {
            let name = expr.schema_name().to_string();
            carry_unnamed(expr).alias(name)
        }
        expr => expr,
    }
}

fn carry_unnamed(expr: Expr) -> Expr {
    let mut window = match expr {
        Expr::WindowFunction(window) if loses(&window) => window,
        expr => return expr,
    };
    match &window.fun {
        WindowFunctionDefinition::AggregateUDF(function) => {
            if let Some(condition) = window.params.filter.take() {
                window.fun = WindowFunctionDefinition::AggregateUDF(Filtered::wrap(Arc::clone(function)));
                window.params.args.push(*condition);
            }
        }
        WindowFunctionDefinition::WindowUDF(function) => {
            let ignore_nulls = window.params.null_treatment.take() == Some(NullTreatment::IgnoreNulls);
            window.fun = WindowFunctionDefinition::WindowUDF(Carried::wrap(Arc::clone(function), ignore_nulls, false));
        }
    }
    Expr::WindowFunction(window)
}

/// An aggregate of the rows that its last argument holds for.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Filtered {
    function: Arc<AggregateUDF>,
    signature: Signature,
}

impl Filtered {
    pub(super) fn wrap(function: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
        // Types have been made to fit before the function is wrapped.
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::new_from_impl(Self { function, signature }))
    }
}

/// All but the condition.
fn arguments<T>(all: &[T]) -> &[T] {
    all.split_last().map_or(all, |(_, arguments)| arguments)
}

fn accumulated<'a>(args: &AccumulatorArgs<'a>) -> AccumulatorArgs<'a> {
    AccumulatorArgs { exprs: arguments(args.exprs), expr_fields: arguments(args.expr_fields), ..args.clone() }
}

impl AggregateUDFImpl for Filtered {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(given.to_vec())
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        self.function.return_type(arguments(given))
    }

    fn return_field(&self, given: &[FieldRef]) -> Result<FieldRef> {
        self.function.return_field(arguments(given))
    }

    fn is_nullable(&self) -> bool {
        self.function.is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.function.default_value(data_type)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.function.inner().order_sensitivity()
    }

    /// Another function would not be wrapped.
    fn reverse_expr(&self) -> ReversedUDAF {
        match self.function.reverse_udf() {
            ReversedUDAF::Identical => ReversedUDAF::Identical,
            ReversedUDAF::NotSupported | ReversedUDAF::Reversed(_) => ReversedUDAF::NotSupported,
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.function.state_fields(StateFieldsArgs { input_fields: arguments(args.input_fields), ..args })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Kept(self.function.accumulator(accumulated(&args))?)))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Kept(self.function.create_sliding_accumulator(accumulated(&args))?)))
    }
}

/// Gives an accumulator the rows whose condition, the last column, is true.
#[derive(Debug)]
struct Kept(Box<dyn Accumulator>);

fn kept(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let Some((condition, arguments)) = values.split_last() else {
        return internal_err!("a filtered aggregate has no condition");
    };
    let Some(condition) = condition.as_boolean_opt() else {
        return internal_err!("the condition of a filtered aggregate is no boolean");
    };
    arguments.iter().map(|argument| Ok(filter(argument, condition)?)).collect()
}

impl Accumulator for Kept {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(&kept(values)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(&kept(values)?)
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

/// A window function that knows by itself whether it ignores NULL and is evaluated backwards.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Carried {
    function: Arc<WindowUDF>,
    pub(super) ignore_nulls: bool,
    pub(super) is_reversed: bool,
}

impl Carried {
    pub(super) fn wrap(function: Arc<WindowUDF>, ignore_nulls: bool, is_reversed: bool) -> Arc<WindowUDF> {
        Arc::new(WindowUDF::new_from_impl(Self { function, ignore_nulls, is_reversed }))
    }
}

impl WindowUDFImpl for Carried {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(given)
    }

    fn expressions(&self, args: ExpressionArgs<'_>) -> Vec<Arc<dyn PhysicalExpr>> {
        self.function.expressions(args)
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        self.function.field(args)
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.function.sort_options()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.function.inner().limit_effect(args)
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        let (exprs, fields) = (args.input_exprs(), args.input_fields());
        let args = PartitionEvaluatorArgs::new(exprs, fields, self.is_reversed, self.ignore_nulls);
        self.function.partition_evaluator_factory(args)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.function.reverse_expr() {
            ReversedUDWF::Reversed(function) => {
                ReversedUDWF::Reversed(Self::wrap(function, self.ignore_nulls, !self.is_reversed))
            }
            same => same,
        }
    }
}
