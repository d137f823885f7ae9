//! The write node of a physical plan: one child, any partitioning; behind the table's columns it gives a truth value for
//! each rule.
//!
//! Invariant: a partition's number is used for metrics only. On a fleet it is local to a task and repeats, so no name and
//! no identity is made of it.

use std::{any::Any, fmt, sync::Arc};

use datafusion::{
    common::{
        Result, exec_datafusion_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{
        Distribution, EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr, expressions::Column,
    },
    physical_expr_common::sort_expr::{LexRequirement, OrderingRequirements},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
        InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType},
        metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet},
        stream::RecordBatchStreamAdapter,
    },
};

use super::{
    TableWrite,
    manifest::{manifest_schema, write_manifest},
    partition::{Siblings, WritePartition},
    progress::ROWS_WRITTEN_METRIC,
    sort::file_ordering,
};
use crate::{fault, fleet::TaskExecutor};

/// Rows of the input -> one row per DataFile.
#[derive(Debug)]
pub(crate) struct TableWriteExec {
    input: Arc<dyn ExecutionPlan>,
    write: Arc<TableWrite>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    /// What the partitions of one execution in one process share: on a fleet, those of one task.
    siblings: Option<Arc<Siblings>>,
    apart_siblings: Option<Arc<Siblings>>,
}

impl TableWriteExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, write: Arc<TableWrite>) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(manifest_schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Self { input, write, properties: Arc::new(properties), metrics, siblings: None, apart_siblings: None }
    }

    /// What is written.
    pub(crate) fn table_write(&self) -> &TableWrite {
        &self.write
    }

    fn column(&self, name: &str) -> Option<Arc<dyn PhysicalExpr>> {
        let index = self.write.schema.index_of(name).ok()?;
        Some(Arc::new(Column::new(name, index)))
    }

    /// The order that the rows of a partition must come in: only tables with an order inside files need one.
    fn required_ordering(&self) -> Option<LexOrdering> {
        if self.write.clustered_by.is_empty() { None } else { file_ordering(&self.write) }
    }
}

impl DisplayAs for TableWriteExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableWriteExec: root={}", self.write.root.root())?;
        if !self.write.partition_columns.is_empty() {
            write!(f, ", partitioned_by=[{}]", self.write.partition_columns.join(", "))?;
        }
        if !self.write.clustered_by.is_empty() {
            write!(f, ", clustered_by=[{}]", self.write.clustered_by.join(", "))?;
        }
        Ok(())
    }
}

impl ExecutionPlan for TableWriteExec {
    fn name(&self) -> &str {
        "TableWriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    /// All rows of a partition value come to one partition, so that they make as few files as can be.
    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let keys: Vec<_> = self.write.partition_columns.iter().filter_map(|name| self.column(name)).collect();
        let required =
            if keys.is_empty() { Distribution::UnspecifiedDistribution } else { Distribution::KeyPartitioned(keys) };
        InputDistributionRequirements::new(vec![required])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let required =
            self.required_ordering().map(|ordering| OrderingRequirements::new(LexRequirement::from(ordering)));
        vec![required]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().ok_or_else(|| exec_datafusion_err!("a table write needs an input"))?;
        Ok(Arc::new(Self::new(input, Arc::clone(&self.write))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let job = WritePartition {
            write: Arc::clone(&self.write),
            input_is_sorted: !self.write.clustered_by.is_empty(),
            context,
            partition,
            rows_written: MetricBuilder::new(&self.metrics).counter(ROWS_WRITTEN_METRIC, partition),
            siblings: self.siblings.clone(),
            apart_siblings: self.apart_siblings.clone(),
        };
        let rows = async move {
            let executor = job.context.session_config().get_extension::<TaskExecutor>();
            let written = job.run(input).await.map_err(fault::into_datafusion)?;
            let executor = executor.as_ref().map(|executor| executor.0.as_str());
            write_manifest(&written, executor).map_err(fault::into_datafusion)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(manifest_schema(), futures::stream::once(rows))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// The same plan, its write nodes ready for one execution of all of their partitions in this process.
pub(crate) fn with_siblings(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_down(|node| {
        let Some(write) = (node.as_ref() as &dyn Any).downcast_ref::<TableWriteExec>() else {
            return Ok(Transformed::no(node));
        };
        let mut write = TableWriteExec::new(Arc::clone(&write.input), Arc::clone(&write.write));
        let partitions = write.properties.output_partitioning().partition_count();
        write.siblings = Some(Arc::new(Siblings::new(partitions)));
        write.apart_siblings = Some(Arc::new(Siblings::new(partitions)));
        Ok(Transformed::yes(Arc::new(write) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(plan.data)
}
