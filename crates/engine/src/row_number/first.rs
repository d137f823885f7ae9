//! Drops rows early that are not the first of their group: what "the latest row of each key" reads, but never gives.
//!
//! Data flow: the plan of a filter `row_number() = 1` -> [`drop_early`] puts a [`FirstOfGroupsExec`] below the shuffle and
//! the sort of its window -> each partition hands on its own first rows, and the window decides between those.
//!
//! Invariant: a row is dropped only if the node gives another row of its group that comes before it or beside it in the
//! window's order. If it drops too few, or memory is short, it gives all that it holds, and drops nothing more.

use std::{any::Any, collections::VecDeque, fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch},
        compute::interleave_record_batch,
        datatypes::{Field, Schema, SchemaRef},
        row::{RowConverter, SortField},
    },
    common::{
        Result, ScalarValue, exec_datafusion_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::Operator,
    physical_expr::{
        Partitioning, PhysicalExpr, PhysicalSortExpr,
        expressions::{BinaryExpr, Column, Literal},
        split_conjunction,
    },
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
        ReplaceChildrenOptions,
        aggregates::{
            group_values::{GroupValues, new_group_values},
            order::GroupOrdering,
        },
        execution_plan::EmissionType,
        filter::FilterExec,
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet},
        projection::ProjectionExec,
        repartition::RepartitionExec,
        sorts::sort::SortExec,
        stream::RecordBatchStreamAdapter,
        windows::BoundedWindowAggExec,
    },
};
use futures::{StreamExt, stream};

use super::{Room, evaluate, groups_of, is_hashable};
use crate::write::rows_bytes;

/// Rows after which it is judged whether enough are dropped.
const TRIAL_ROWS: usize = 64 << 10;
/// Rows held beside the first ones before the others are let go.
const IDLE_ROWS_MAX: usize = 64 << 10;
/// Memory of one partition: more groups than this holds are many for their rows.
const HELD_BYTES_MAX: usize = 256 << 20;

/// Puts a [`FirstOfGroupsExec`] below every window of which only the first row of each group is used.
pub(super) fn drop_early(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|node| {
        let filter = (node.as_ref() as &dyn Any).downcast_ref::<FilterExec>();
        let thinned = match filter.and_then(|filter| Some((filter, first_only(filter)?))) {
            Some((filter, number)) => thin(filter.input(), number)?,
            None => None,
        };
        Ok(match thinned {
            Some(input) => Transformed::yes(with_input(&node, input)?),
            None => Transformed::no(node),
        })
    })?;
    Ok(plan.data)
}

/// The column that a filter asks to be 1, or less than 2.
fn first_only(filter: &FilterExec) -> Option<usize> {
    split_conjunction(filter.predicate()).into_iter().find_map(|part| {
        let comparison = (part.as_ref() as &dyn Any).downcast_ref::<BinaryExpr>()?;
        let column = (comparison.left().as_ref() as &dyn Any).downcast_ref::<Column>()?;
        let literal = (comparison.right().as_ref() as &dyn Any).downcast_ref::<Literal>()?;
        let ScalarValue::UInt64(Some(number)) = literal.value() else { return None };
        let is_first = matches!((comparison.op(), number), (Operator::Eq | Operator::LtEq, 1) | (Operator::Lt, 2));
        is_first.then(|| column.index())
    })
}

/// The same plan with rows dropped early, if its column `number` is the number of rows in groups.
fn thin(plan: &Arc<dyn ExecutionPlan>, number: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let node = plan.as_ref() as &dyn Any;
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        let Some(expr) = projection.expr().get(number) else { return Ok(None) };
        let Some(column) = (expr.expr.as_ref() as &dyn Any).downcast_ref::<Column>() else { return Ok(None) };
        let Some(input) = thin(projection.input(), column.index())? else { return Ok(None) };
        return with_input(plan, input).map(Some);
    }
    let Some(window) = node.downcast_ref::<BoundedWindowAggExec>() else { return Ok(None) };
    let Some(groups) = groups_of(window).filter(|_| number >= window.input().schema().fields().len()) else {
        return Ok(None);
    };
    let [numbering] = window.window_expr() else { return Ok(None) };
    let Some(sort) = (window.input().as_ref() as &dyn Any).downcast_ref::<SortExec>() else { return Ok(None) };
    // What the sort does not sort by is the same in every row of a group.
    let Some((leading, order)) = sort.expr().split_at_checked(groups.len()) else { return Ok(None) };
    let schema = sort.schema();
    let applies = sort.fetch().is_none()
        && leading.iter().all(|key| groups.contains(&key.expr))
        && groups.iter().all(|group| leading.iter().any(|key| &key.expr == group))
        && order.iter().all(|key| numbering.order_by().contains(key))
        && groups.iter().all(|group| is_hashable(group, &schema));
    if !applies {
        return Ok(None);
    }
    let first = |input: &Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
        Arc::new(FirstOfGroupsExec::new(Arc::clone(input), groups.to_vec(), order.to_vec()))
    };
    let shuffle = (sort.input().as_ref() as &dyn Any).downcast_ref::<RepartitionExec>();
    let input = match shuffle {
        Some(shuffle) if matches!(shuffle.partitioning(), Partitioning::Hash(_, _)) => {
            with_input(sort.input(), first(shuffle.input()))?
        }
        _ => first(sort.input()),
    };
    let sort = with_input(window.input(), input)?;
    with_input(plan, sort).map(Some)
}

fn with_input(node: &Arc<dyn ExecutionPlan>, input: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::clone(node).replace_children(vec![input], options)
}

/// Rows -> some of them, among which is the first of each group.
#[derive(Debug)]
struct FirstOfGroupsExec {
    input: Arc<dyn ExecutionPlan>,
    groups: Vec<Arc<dyn PhysicalExpr>>,
    order: Vec<PhysicalSortExpr>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl FirstOfGroupsExec {
    fn new(input: Arc<dyn ExecutionPlan>, groups: Vec<Arc<dyn PhysicalExpr>>, order: Vec<PhysicalSortExpr>) -> Self {
        let mut equivalences = input.equivalence_properties().clone();
        equivalences.clear_orderings();
        let properties = PlanProperties::new(
            equivalences,
            input.output_partitioning().clone(),
            EmissionType::Both,
            input.boundedness(),
        );
        Self { input, groups, order, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for FirstOfGroupsExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.groups.iter().map(ToString::to_string).collect();
        let order: Vec<String> = self.order.iter().map(ToString::to_string).collect();
        write!(f, "FirstOfGroupsExec: partition_by=[{}], order_by=[{}]", groups.join(", "), order.join(", "))
    }
}

impl ExecutionPlan for FirstOfGroupsExec {
    fn name(&self) -> &str {
        "FirstOfGroupsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().ok_or_else(|| exec_datafusion_err!("the first rows need an input"))?;
        Ok(Arc::new(Self::new(input, self.groups.clone(), self.order.clone())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expr in self.groups.iter().chain(self.order.iter().map(|key| &key.expr)) {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let room = Room::new("FirstOfGroupsExec", partition, &context);
        let state = Thinning {
            firsts: Some(Firsts::new(&self.groups, &self.order, &self.schema(), room)?),
            input,
            batch_rows: context.session_config().batch_size().max(1),
            ready: VecDeque::new(),
        };
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let rows = stream::try_unfold((state, metrics), |(mut state, metrics)| async move {
            let next = state.next().await?;
            Ok(next.map(|batch| {
                metrics.output_rows().add(batch.num_rows());
                (batch, (state, metrics))
            }))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One partition.
struct Thinning {
    input: SendableRecordBatchStream,
    /// `None` once nothing more is dropped.
    firsts: Option<Firsts>,
    ready: VecDeque<RecordBatch>,
    batch_rows: usize,
}

impl Thinning {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            let batch = self.input.next().await.transpose()?;
            let Some(firsts) = &mut self.firsts else { return Ok(batch) };
            let goes_on = match batch {
                Some(batch) => firsts.add(batch)?,
                None => false,
            };
            if !goes_on && let Some(firsts) = self.firsts.take() {
                self.ready = firsts.take(self.batch_rows)?;
            }
        }
    }
}

/// The first row of each group so far.
struct Firsts {
    groups: Vec<Arc<dyn PhysicalExpr>>,
    order: Vec<PhysicalSortExpr>,
    seen: Box<dyn GroupValues>,
    converter: RowConverter,
    /// For each group its first row: which batch, and where in it.
    places: Vec<(usize, usize)>,
    /// For each group what its first row is ordered by, as bytes that compare alike.
    keys: Vec<Vec<u8>>,
    keys_bytes: usize,
    batches: Vec<RecordBatch>,
    batches_rows: usize,
    batches_bytes: usize,
    rows_seen: usize,
    /// For each row of a batch its group.
    row_groups: Vec<usize>,
    room: Room,
}

impl Firsts {
    fn new(
        groups: &[Arc<dyn PhysicalExpr>],
        order: &[PhysicalSortExpr],
        schema: &SchemaRef,
        room: Room,
    ) -> Result<Self> {
        let fields = groups.iter().map(|group| Ok(Field::new("", group.data_type(schema)?, true)));
        let fields = Schema::new(fields.collect::<Result<Vec<_>>>()?);
        let sorted = order.iter().map(|key| Ok(SortField::new_with_options(key.expr.data_type(schema)?, key.options)));
        Ok(Self {
            groups: groups.to_vec(),
            order: order.to_vec(),
            seen: new_group_values(Arc::new(fields), &GroupOrdering::None)?,
            converter: RowConverter::new(sorted.collect::<Result<_>>()?)?,
            places: Vec::new(),
            keys: Vec::new(),
            keys_bytes: 0,
            batches: Vec::new(),
            batches_rows: 0,
            batches_bytes: 0,
            rows_seen: 0,
            row_groups: Vec::new(),
            room,
        })
    }

    /// Takes rows; false if no more should be given.
    fn add(&mut self, batch: RecordBatch) -> Result<bool> {
        if batch.num_rows() == 0 {
            return Ok(true);
        }
        let groups = evaluate(&self.groups, &batch)?;
        let order: Vec<_> = self.order.iter().map(|key| Arc::clone(&key.expr)).collect();
        let order = evaluate(&order, &batch)?;
        self.seen.intern(&groups, &mut self.row_groups)?;
        let is_used = if order.is_empty() { self.add_unordered() } else { self.add_ordered(&order)? };
        let rows = batch.num_rows();
        let is_on_trial = self.rows_seen < TRIAL_ROWS;
        self.rows_seen += rows;
        if is_used {
            self.batches_rows += rows;
            self.batches_bytes += rows_bytes(&batch);
            self.batches.push(batch);
        }
        if is_on_trial && self.rows_seen >= TRIAL_ROWS && self.places.len() > self.rows_seen / 2 {
            return Ok(false);
        }
        if self.batches_rows > self.places.len() * 4 + IDLE_ROWS_MAX {
            self.compact()?;
        }
        Ok(self.has_room())
    }

    /// Any row of a group is its first: whether one of the rows is.
    fn add_unordered(&mut self) -> bool {
        let known = self.places.len();
        let batch = self.batches.len();
        for (row, group) in self.row_groups.iter().enumerate() {
            if *group == self.places.len() {
                self.places.push((batch, row));
            }
        }
        self.places.len() > known
    }

    /// Whether one of the rows is the first of its group so far.
    fn add_ordered(&mut self, order: &[ArrayRef]) -> Result<bool> {
        let rows = self.converter.convert_columns(order)?;
        let batch = self.batches.len();
        let mut is_used = false;
        for (row, (group, key)) in self.row_groups.iter().zip(rows.iter()).enumerate() {
            let key = key.as_ref();
            match (self.keys.get_mut(*group), self.places.get_mut(*group)) {
                (Some(first), _) if first.as_slice() <= key => continue,
                (Some(first), Some(place)) => {
                    self.keys_bytes = self.keys_bytes + key.len() - first.len();
                    first.clear();
                    first.extend_from_slice(key);
                    *place = (batch, row);
                }
                _ => {
                    self.keys_bytes += key.len();
                    self.keys.push(key.to_vec());
                    self.places.push((batch, row));
                }
            }
            is_used = true;
        }
        Ok(is_used)
    }

    fn has_room(&self) -> bool {
        let places = self.places.capacity() * size_of::<(usize, usize)>();
        let keys = self.keys.capacity() * size_of::<Vec<u8>>() + self.keys_bytes;
        let bytes = self.seen.size() + places + keys + self.batches_bytes;
        bytes <= HELD_BYTES_MAX && self.room.try_hold(bytes)
    }

    /// Keeps the first rows alone.
    fn compact(&mut self) -> Result<()> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        if batches.is_empty() {
            return Ok(());
        }
        let firsts = interleave_record_batch(&batches, &self.places)?;
        for (row, place) in self.places.iter_mut().enumerate() {
            *place = (0, row);
        }
        self.batches_rows = firsts.num_rows();
        self.batches_bytes = rows_bytes(&firsts);
        self.batches = vec![firsts];
        Ok(())
    }

    /// All first rows.
    fn take(mut self, batch_rows: usize) -> Result<VecDeque<RecordBatch>> {
        self.compact()?;
        let Some(firsts) = self.batches.pop() else { return Ok(VecDeque::new()) };
        let starts = (0..firsts.num_rows()).step_by(batch_rows);
        Ok(starts.map(|start| firsts.slice(start, batch_rows.min(firsts.num_rows() - start))).collect())
    }
}
