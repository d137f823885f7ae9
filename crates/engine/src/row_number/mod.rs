//! Numbers the rows of groups, `row_number() OVER (PARTITION BY …)`, at the cost that it must have.
//!
//! Data flow: a physical plan as DataFusion made it -> [`NumberRows`], three rewrites -> execution:
//! - [`first`]: under "the first row of each group" (`row_number() = 1`) rows that are not the first so far are dropped
//!   before they are shuffled and sorted;
//! - [`unsorted`]: numbers in no particular order are counted with a hash table, and nothing is sorted;
//! - [`RowNumberExec`]: what is sorted by its groups is numbered in one vectorised pass.
//!
//! DataFusion's own node sorts whole rows and keeps a state for each group. "The latest row of each key" is the commonest
//! window of a job, its groups are as many as the keys, and the sort and the states cost more than all else in such a step.
//!
//! Invariant: the same rows as those of the nodes that are replaced; in the same order where anything asks for one.

mod first;
mod unsorted;

use std::{any::Any, fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, Datum, RecordBatch, Scalar, UInt64Array},
        compute::{kernels::cmp::not_distinct, partition},
        datatypes::{DataType, SchemaRef},
    },
    common::{
        Result,
        config::ConfigOptions,
        exec_datafusion_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation},
    },
    functions_window::row_number::RowNumber,
    logical_expr::WindowUDFImpl,
    physical_expr::{
        Distribution, PhysicalExpr,
        window::{StandardWindowExpr, WindowExpr},
    },
    physical_expr_common::sort_expr::OrderingRequirements,
    physical_optimizer::{PhysicalOptimizerRule, sanity_checker::SanityCheckPlan},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
        InputDistributionRequirements, InputOrderMode, PlanProperties, ReplaceChildrenOptions,
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet},
        stream::RecordBatchStreamAdapter,
        windows::{BoundedWindowAggExec, WindowUDFExpr},
    },
};
use futures::StreamExt;

/// Replaces the windows that the nodes of this module can compute, in a plan that is complete otherwise.
#[derive(Debug)]
pub(crate) struct NumberRows;

impl PhysicalOptimizerRule for NumberRows {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = first::drop_early(plan)?;
        let unsorted = unsorted::number_unsorted(Arc::clone(&plan))?;
        // A sort that is gone may have served others too.
        let plan = if keeps_promises(&plan, &unsorted, options) { unsorted } else { plan };
        number_sorted(plan)
    }

    fn name(&self) -> &str {
        "NumberRows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The same for the plan of a task, which no optimizer has seen: our nodes do not travel.
///
/// # Errors
/// Those of walking the plan.
pub(crate) fn number_rows(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    NumberRows.optimize(plan, &ConfigOptions::default())
}

/// Whether every node of `after` gets the order and distribution that it asks for, and its rows the order of `before`.
fn keeps_promises(before: &Arc<dyn ExecutionPlan>, after: &Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> bool {
    let in_order = before
        .output_ordering()
        .is_none_or(|order| after.equivalence_properties().ordering_satisfy(order.iter().cloned()).unwrap_or_default());
    in_order && SanityCheckPlan::new().optimize(Arc::clone(after), options).is_ok()
}

fn number_sorted(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|node| {
        let window = (node.as_ref() as &dyn Any).downcast_ref::<BoundedWindowAggExec>();
        Ok(match window.and_then(RowNumberExec::in_place_of) {
            Some(numbered) => Transformed::yes(Arc::new(numbered) as Arc<dyn ExecutionPlan>),
            None => Transformed::no(node),
        })
    })?;
    Ok(plan.data)
}

/// Rows sorted by their groups -> the same rows, each with its number in its group, from 1.
#[derive(Debug)]
struct RowNumberExec {
    input: Arc<dyn ExecutionPlan>,
    groups: Vec<Arc<dyn PhysicalExpr>>,
    /// How many equal columns of numbers are added.
    columns: usize,
    requirements: Vec<Option<OrderingRequirements>>,
    distribution: Vec<Distribution>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl RowNumberExec {
    /// The node that gives what `window` gives; `None` if only `window` itself can.
    fn in_place_of(window: &BoundedWindowAggExec) -> Option<Self> {
        let groups = groups_of(window)?;
        let (input, exprs) = (window.input(), window.window_expr());
        let schema = input.schema();
        let is_comparable = |group: &Arc<dyn PhysicalExpr>| {
            group.data_type(&schema).is_ok_and(|data_type| !data_type.is_nested() && data_type != DataType::Null)
        };
        groups.iter().all(is_comparable).then(|| Self {
            input: Arc::clone(input),
            groups: groups.to_vec(),
            columns: exprs.len(),
            requirements: window.required_input_ordering(),
            distribution: vec![Distribution::KeyPartitioned(groups.to_vec())],
            properties: Arc::clone(window.properties()),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

/// The groups of a window that computes nothing but row numbers of the same groups, over input that is sorted by them.
fn groups_of(window: &BoundedWindowAggExec) -> Option<&[Arc<dyn PhysicalExpr>]> {
    let exprs = window.window_expr();
    let groups = exprs.first()?.partition_by();
    let applies = window.input_order_mode == InputOrderMode::Sorted
        && !groups.is_empty()
        && exprs.iter().all(|expr| is_row_number(expr.as_ref()) && same_groups(expr.partition_by(), groups));
    applies.then_some(groups)
}

/// Whether a hash table finds the same groups as comparing neighbours does. Floats are not: 0.0 and -0.0.
fn is_hashable(group: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> bool {
    group.data_type(schema).is_ok_and(|data_type| {
        let is_plain = matches!(
            data_type,
            DataType::Boolean
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::Date32
                | DataType::Timestamp(_, _)
                | DataType::Decimal128(_, _)
        );
        is_plain || data_type.is_integer()
    })
}

fn is_row_number(expr: &dyn WindowExpr) -> bool {
    let Some(standard) = expr.as_any().downcast_ref::<StandardWindowExpr>() else { return false };
    let Some(function) = standard.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>() else {
        return false;
    };
    let implementation: &dyn WindowUDFImpl = function.fun().inner().as_ref();
    (implementation as &dyn Any).is::<RowNumber>()
}

fn same_groups(one: &[Arc<dyn PhysicalExpr>], other: &[Arc<dyn PhysicalExpr>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one == other)
}

impl DisplayAs for RowNumberExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.groups.iter().map(ToString::to_string).collect();
        write!(f, "RowNumberExec: partition_by=[{}]", groups.join(", "))
    }
}

impl ExecutionPlan for RowNumberExec {
    fn name(&self) -> &str {
        "RowNumberExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(self.distribution.clone())
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.requirements.clone()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input =
            children.into_iter().next().ok_or_else(|| exec_datafusion_err!("a numbering of rows needs an input"))?;
        Ok(Arc::new(Self {
            input,
            groups: self.groups.clone(),
            columns: self.columns,
            requirements: self.requirements.clone(),
            distribution: self.distribution.clone(),
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for group in &self.groups {
            if f(group)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let schema = self.schema();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let mut numbering = Numbering {
            groups: self.groups.clone(),
            columns: self.columns,
            schema: Arc::clone(&schema),
            last: Vec::new(),
            count: 0,
        };
        let rows = input.map(move |batch| {
            let _timer = metrics.elapsed_compute().timer();
            let numbered = numbering.number(&batch?)?;
            metrics.output_rows().add(numbered.num_rows());
            Ok(numbered)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

fn evaluate(exprs: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    exprs.iter().map(|expr| expr.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// The rows with their numbers in `count` equal columns behind the others.
fn with_numbers(schema: &SchemaRef, columns: &[ArrayRef], numbers: UInt64Array, count: usize) -> Result<RecordBatch> {
    let numbers: ArrayRef = Arc::new(numbers);
    let mut columns = columns.to_vec();
    columns.extend(std::iter::repeat_n(numbers, count));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// One partition's share of the memory pool, for what cannot spill.
struct Room {
    reservation: MemoryReservation,
    share_bytes: usize,
}

impl Room {
    /// All partitions of a node together may take a quarter of the pool: what sorts beside them must have room too.
    fn new(node: &str, partition: usize, context: &TaskContext) -> Self {
        let pool = context.memory_pool();
        let partitions = context.session_config().target_partitions().max(1);
        let share_bytes = match pool.memory_limit() {
            MemoryLimit::Finite(limit) => limit / 4 / partitions,
            _ => usize::MAX,
        };
        Self { reservation: MemoryConsumer::new(format!("{node}[{partition}]")).register(pool), share_bytes }
    }

    /// Reserves `bytes` in place of what was reserved; false if that is too much.
    fn try_hold(&self, bytes: usize) -> bool {
        bytes <= self.share_bytes && self.reservation.try_resize(bytes).is_ok()
    }
}

/// The numbers of one stream of batches.
struct Numbering {
    groups: Vec<Arc<dyn PhysicalExpr>>,
    columns: usize,
    schema: SchemaRef,
    /// The group of the last row: one value a column.
    last: Vec<ArrayRef>,
    /// The number of the last row.
    count: u64,
}

impl Numbering {
    fn number(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let keys = evaluate(&self.groups, batch)?;
        let numbers = self.count(&keys, batch.num_rows(), None)?;
        with_numbers(&self.schema, batch.columns(), UInt64Array::from(numbers), self.columns)
    }

    /// The numbers of rows with these `keys`. A group whose first row has a value in `firsts` begins with that number.
    fn count(&mut self, keys: &[ArrayRef], rows: usize, firsts: Option<&UInt64Array>) -> Result<Vec<u64>> {
        let mut numbers = Vec::with_capacity(rows);
        if rows == 0 {
            return Ok(numbers);
        }
        let mut goes_on = self.goes_on(keys)?;
        for range in partition(keys)?.ranges() {
            if !std::mem::take(&mut goes_on) {
                let first =
                    firsts.filter(|firsts| firsts.is_valid(range.start)).map(|firsts| firsts.value(range.start));
                self.count = first.map_or(0, |first| first.saturating_sub(1));
            }
            let first = self.count + 1;
            self.count += range.len() as u64;
            numbers.extend(first..=self.count);
        }
        self.last = keys.iter().map(|key| key.slice(rows - 1, 1)).collect();
        Ok(numbers)
    }

    /// Whether the first row of `keys`, which is not empty, is of the group of the last row before it.
    fn goes_on(&self, keys: &[ArrayRef]) -> Result<bool> {
        if self.last.is_empty() {
            return Ok(false);
        }
        for (last, key) in self.last.iter().zip(keys) {
            let first = key.slice(0, 1);
            let (last, first) = (Scalar::new(Arc::clone(last)), Scalar::new(first));
            let equal = not_distinct(&last as &dyn Datum, &first as &dyn Datum)?;
            if !equal.value(0) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::{
        arrow::{
            array::{AsArray, Float64Array, StringArray},
            compute::concat_batches,
            datatypes::{Field, Schema, UInt64Type},
        },
        physical_expr::expressions::col,
    };

    use super::*;

    /// Sorted keys in groups of 1, 2, 3, 2 and 1 rows, NULL among them.
    fn rows() -> RecordBatch {
        let texts = [Some("a"), Some("b"), Some("b"), Some("c"), Some("c"), Some("c"), None, None, None];
        let numbers = [Some(1.0), Some(1.0), Some(1.0), Some(f64::NAN), Some(f64::NAN), Some(f64::NAN)];
        let numbers = numbers.into_iter().chain([Some(2.0), Some(2.0), None]);
        let texts: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let numbers: ArrayRef = Arc::new(numbers.collect::<Float64Array>());
        RecordBatch::try_from_iter_with_nullable([("text", texts, true), ("number", numbers, true)]).unwrap()
    }

    fn numbered(batch_rows: usize) -> Vec<u64> {
        let rows = rows();
        let mut fields = rows.schema().fields().to_vec();
        fields.push(Arc::new(Field::new("n", DataType::UInt64, false)));
        let schema = Arc::new(Schema::new(fields));
        let groups = ["text", "number"].map(|name| col(name, &rows.schema()).unwrap()).to_vec();
        let mut numbering = Numbering { groups, columns: 1, schema: Arc::clone(&schema), last: Vec::new(), count: 0 };
        let starts = (0..rows.num_rows()).step_by(batch_rows);
        let batches = starts.flat_map(|start| {
            let batch = rows.slice(start, batch_rows.min(rows.num_rows() - start));
            [numbering.number(&batch).unwrap(), numbering.number(&rows.slice(0, 0)).unwrap()]
        });
        let all = concat_batches(&schema, batches.collect::<Vec<_>>().iter()).unwrap();
        all.column(2).as_primitive::<UInt64Type>().values().to_vec()
    }

    #[test]
    fn a_group_is_counted_on_over_the_end_of_a_batch() {
        for batch_rows in 1..=9 {
            assert_eq!(numbered(batch_rows), [1, 1, 2, 1, 2, 3, 1, 2, 1], "batches of {batch_rows}");
        }
    }
}
