//! Numbers the rows of groups as they come, with a hash table of the groups.
//!
//! Data flow: rows, all of a group in one partition -> [`UnsortedRowNumberExec`] -> the same rows in the same order, each
//! with a number of its own in its group, from 1.
//!
//! Where the memory pool has no room for more groups, the numbers given so far and the rest of the rows are sorted by
//! group, spilling, and numbered on.

use std::{any::Any, fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, RecordBatch, UInt64Array, new_null_array},
        compute::{SortOptions, filter_record_batch, is_null, take_record_batch},
        datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    },
    common::{
        Result, exec_datafusion_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::EmitTo,
    physical_expr::EquivalenceProperties,
    physical_expr::{
        Distribution, LexOrdering, PhysicalExpr, PhysicalSortExpr, expressions::Column, window::WindowExpr,
    },
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
        InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions,
        aggregates::{
            group_values::{GroupValues, new_group_values},
            order::GroupOrdering,
        },
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet},
        sorts::sort::SortExec,
        stream::RecordBatchStreamAdapter,
        windows::BoundedWindowAggExec,
    },
};
use futures::{StreamExt, stream};

use super::{Numbering, Room, evaluate, groups_of, is_hashable, with_numbers};
use crate::{fault, write::Sorter};

/// Groups sorted next to one another, NULL is one of them.
const GROUP_ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };

/// Replaces the windows whose numbers are in no particular order, with the sorts below them.
pub(super) fn number_unsorted(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|node| {
        let window = (node.as_ref() as &dyn Any).downcast_ref::<BoundedWindowAggExec>();
        Ok(match window.and_then(UnsortedRowNumberExec::in_place_of) {
            Some(numbered) => Transformed::yes(Arc::new(numbered) as Arc<dyn ExecutionPlan>),
            None => Transformed::no(node),
        })
    })?;
    Ok(plan.data)
}

/// Rows -> the same rows, each with its number in its group, from 1.
#[derive(Debug)]
struct UnsortedRowNumberExec {
    input: Arc<dyn ExecutionPlan>,
    groups: Vec<Arc<dyn PhysicalExpr>>,
    /// How many equal columns of numbers are added.
    columns: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl UnsortedRowNumberExec {
    /// The node that gives what `window` and the sort below it give; `None` if the numbers have an order to keep to.
    fn in_place_of(window: &BoundedWindowAggExec) -> Option<Self> {
        let groups = groups_of(window)?;
        let sort = (window.input().as_ref() as &dyn Any).downcast_ref::<SortExec>()?;
        let schema = sort.schema();
        // Rows of a group are all alike to an order by the group's own columns.
        let is_free = |expr: &Arc<dyn WindowExpr>| expr.order_by().iter().all(|order| groups.contains(&order.expr));
        let keeps_partitions =
            sort.preserve_partitioning() || sort.input().output_partitioning().partition_count() == 1;
        let applies = sort.fetch().is_none()
            && keeps_partitions
            && window.window_expr().iter().all(is_free)
            && groups.iter().all(|group| is_hashable(group, &schema));
        applies
            .then(|| Self::new(Arc::clone(sort.input()), groups.to_vec(), window.window_expr().len(), window.schema()))
    }

    fn new(
        input: Arc<dyn ExecutionPlan>,
        groups: Vec<Arc<dyn PhysicalExpr>>,
        columns: usize,
        schema: SchemaRef,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self { input, groups, columns, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for UnsortedRowNumberExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.groups.iter().map(ToString::to_string).collect();
        write!(f, "UnsortedRowNumberExec: partition_by=[{}]", groups.join(", "))
    }
}

impl ExecutionPlan for UnsortedRowNumberExec {
    fn name(&self) -> &str {
        "UnsortedRowNumberExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::KeyPartitioned(self.groups.clone())])
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
        Ok(Arc::new(Self::new(input, self.groups.clone(), self.columns, self.schema())))
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
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let room = Room::new("UnsortedRowNumberExec", partition, &context);
        let form = Form { groups: self.groups.clone(), columns: self.columns, schema: self.schema() };
        let state = State::Counting(Counting::new(form, input, room)?);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let rows = stream::try_unfold((state, context, metrics), |(state, context, metrics)| async move {
            let next = state.next(&context).await?;
            Ok(next.map(|(batch, state)| {
                metrics.output_rows().add(batch.num_rows());
                (batch, (state, context, metrics))
            }))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// What the rows and their numbers look like.
struct Form {
    groups: Vec<Arc<dyn PhysicalExpr>>,
    columns: usize,
    schema: SchemaRef,
}

/// One partition while it is numbered.
enum State {
    Counting(Counting),
    Sorted(Sorted),
}

impl State {
    async fn next(mut self, context: &Arc<TaskContext>) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            self = match self {
                Self::Counting(mut counting) => match counting.input.next().await {
                    None => return Ok(None),
                    Some(batch) => {
                        let numbered = counting.number(&batch?)?;
                        let state =
                            if counting.has_room() { Self::Counting(counting) } else { counting.sort(context).await? };
                        return Ok(Some((numbered, state)));
                    }
                },
                Self::Sorted(mut sorted) => match sorted.rows.next().await {
                    None => return Ok(None),
                    Some(batch) => {
                        let numbered = sorted.number(&batch?)?;
                        if numbered.num_rows() > 0 {
                            return Ok(Some((numbered, Self::Sorted(sorted))));
                        }
                        Self::Sorted(sorted)
                    }
                },
            };
        }
    }
}

/// Numbers from a hash table.
struct Counting {
    form: Form,
    input: SendableRecordBatchStream,
    /// The groups seen so far.
    seen: Box<dyn GroupValues>,
    /// For each of them the number that was given last.
    last: Vec<u64>,
    /// For each row of a batch its group.
    row_groups: Vec<usize>,
    room: Room,
}

impl Counting {
    fn new(form: Form, input: SendableRecordBatchStream, room: Room) -> Result<Self> {
        let seen = new_group_values(Arc::new(Schema::new(key_fields(&form, &input.schema())?)), &GroupOrdering::None)?;
        Ok(Self { form, input, seen, last: Vec::new(), row_groups: Vec::new(), room })
    }

    fn number(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let keys = evaluate(&self.form.groups, batch)?;
        self.seen.intern(&keys, &mut self.row_groups)?;
        self.last.resize(self.seen.len(), 0);
        let numbers = self.row_groups.iter().map(|group| {
            let last = &mut self.last[*group];
            *last += 1;
            *last
        });
        let numbers: Vec<u64> = numbers.collect();
        with_numbers(&self.form.schema, batch.columns(), UInt64Array::from(numbers), self.form.columns)
    }

    /// Reserves what the table takes; false if that is too much.
    fn has_room(&self) -> bool {
        let bytes = self.seen.size() + self.last.capacity() * size_of::<u64>();
        self.room.try_hold(bytes)
    }

    /// Sorts the rest of the rows by group, and before the rows of each group the number that it has come to.
    async fn sort(mut self, context: &Arc<TaskContext>) -> Result<State> {
        let keys = key_fields(&self.form, &self.input.schema())?;
        let schema = sort_schema(&keys, &self.input.schema());
        let ordering = group_ordering(keys.len())
            .ok_or_else(|| exec_datafusion_err!("rows are to be numbered in groups without columns"))?;
        let mut sorter = Sorter::start(&schema, ordering, context).map_err(fault::into_datafusion)?;

        let mut columns = self.seen.emit(EmitTo::All)?;
        let reached: ArrayRef = Arc::new(UInt64Array::from(std::mem::take(&mut self.last)));
        let groups = reached.len();
        columns.push(reached);
        columns
            .extend(schema.fields().iter().skip(columns.len()).map(|field| new_null_array(field.data_type(), groups)));
        let reached = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        drop(self.seen);
        self.room.reservation.free();
        let batch_rows = context.session_config().batch_size().max(1);
        for start in (0..groups).step_by(batch_rows) {
            // Copied: a slice would be counted by the sort as large as the whole.
            let indices = (start..groups.min(start + batch_rows)).map(|index| index as u64);
            let rows = take_record_batch(&reached, &UInt64Array::from_iter_values(indices))?;
            sorter.add(rows).await.map_err(fault::into_datafusion)?;
        }
        drop(reached);
        while let Some(batch) = self.input.next().await {
            let batch = batch?;
            let mut columns = evaluate(&self.form.groups, &batch)?;
            columns.push(new_null_array(&DataType::UInt64, batch.num_rows()));
            columns.extend(batch.columns().iter().cloned());
            let rows = RecordBatch::try_new(Arc::clone(&schema), columns)?;
            sorter.add(rows).await.map_err(fault::into_datafusion)?;
        }
        let rows = sorter.finish().await.map_err(fault::into_datafusion)?;
        let numbering = Numbering {
            groups: Vec::new(),
            columns: self.form.columns,
            schema: Arc::clone(&self.form.schema),
            last: Vec::new(),
            count: 0,
        };
        Ok(State::Sorted(Sorted { keys: keys.len(), numbering, rows }))
    }
}

/// The groups' columns, as fields.
fn key_fields(form: &Form, input: &SchemaRef) -> Result<Vec<FieldRef>> {
    let fields = form.groups.iter().enumerate().map(|(index, group)| {
        let data_type = group.data_type(input)?;
        Ok(Arc::new(Field::new(format!("key_{index}"), data_type, true)))
    });
    fields.collect()
}

/// The groups' columns, the number that a group has come to, and the columns of the rows: NULL beside such a number.
fn sort_schema(keys: &[FieldRef], input: &SchemaRef) -> SchemaRef {
    let reached = Arc::new(Field::new("reached", DataType::UInt64, true));
    let columns = input.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(keys.iter().cloned().chain([reached]).chain(columns).collect::<Vec<_>>()))
}

/// By group, and in it the number that it has come to before its rows.
fn group_ordering(keys: usize) -> Option<LexOrdering> {
    LexOrdering::new((0..=keys).map(|index| PhysicalSortExpr::new(Arc::new(Column::new("", index)), GROUP_ORDER)))
}

/// Numbers of sorted rows, on from those that were given before.
struct Sorted {
    keys: usize,
    numbering: Numbering,
    rows: SendableRecordBatchStream,
}

impl Sorted {
    fn number(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let (keys, rest) = batch.columns().split_at(self.keys);
        let (reached, columns) =
            rest.split_first().ok_or_else(|| exec_datafusion_err!("sorted rows have lost their numbers"))?;
        let counts = reached
            .as_any()
            .downcast_ref::<UInt64Array>()
            .ok_or_else(|| exec_datafusion_err!("sorted rows have numbers of another type"))?;
        let numbers = self.numbering.count(keys, batch.num_rows(), Some(counts))?;
        // Without the rows that only hold a number; the others have the columns' own NULLs.
        let own = is_null(reached)?;
        let numbers = UInt64Array::from(numbers);
        let unnumbered = Schema::new(batch.schema().fields().iter().skip(self.keys + 1).cloned().collect::<Vec<_>>());
        let numbered = Arc::new(Field::new("number", DataType::UInt64, false));
        let schema = Schema::new(unnumbered.fields().iter().cloned().chain([numbered]).collect::<Vec<_>>());
        let mut with_number = columns.to_vec();
        with_number.push(Arc::new(numbers));
        let own = filter_record_batch(&RecordBatch::try_new(Arc::new(schema), with_number)?, &own)?;
        let Some((number, columns)) = own.columns().split_last() else { return Ok(own) };
        let number = number
            .as_any()
            .downcast_ref::<UInt64Array>()
            .ok_or_else(|| exec_datafusion_err!("rows have numbers of another type"))?;
        with_numbers(&self.numbering.schema, columns, number.clone(), self.numbering.columns)
    }
}
