//! Recursive queries on their way to an executor: what they read of their own rows, which the nodes do not tell.
//!
//! Invariant: a node that reads the last round reads the columns that it did before, by their names, which are unique
//! within one query.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::SchemaRef,
    common::{
        Result, internal_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    physical_plan::{ExecutionPlan, recursive_query::RecursiveQueryExec, work_table::WorkTableExec},
};

use super::message::{RecursiveQueryMessage, WorkTableMessage};

pub(super) fn query_message(query: &RecursiveQueryExec) -> Result<RecursiveQueryMessage> {
    Ok(RecursiveQueryMessage {
        name: query.name().to_owned(),
        is_distinct: query.is_distinct(),
        schema: Some(query.schema().as_ref().try_into()?),
    })
}

pub(super) fn work_table_message(table: &WorkTableExec) -> Result<WorkTableMessage> {
    Ok(WorkTableMessage { name: table.name().to_owned(), schema: Some(table.schema().as_ref().try_into()?) })
}

/// The node as if it read a table of these columns alone, until [`read_query`] knows all that there are.
pub(super) fn read_work_table(message: WorkTableMessage) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(schema) = message.schema else { return internal_err!("a round of a query has no schema") };
    Ok(Arc::new(WorkTableExec::new(message.name, Arc::new((&schema).try_into()?), None)?))
}

pub(super) fn read_query(
    message: RecursiveQueryMessage,
    inputs: &[Arc<dyn ExecutionPlan>],
) -> Result<Arc<dyn ExecutionPlan>> {
    let RecursiveQueryMessage { name, is_distinct, schema } = message;
    let ([first, next], Some(schema)) = (inputs, schema) else {
        return internal_err!("a recursive query has {} inputs and may have no schema", inputs.len());
    };
    let schema: SchemaRef = Arc::new((&schema).try_into()?);
    let next = Arc::clone(next).transform_down(|node| {
        if node.downcast_ref::<RecursiveQueryExec>().is_some_and(|inner| inner.name() == name) {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        match node.downcast_ref::<WorkTableExec>() {
            Some(table) if table.name() == name => {
                let names = table.schema();
                let columns = names.fields().iter().map(|field| Ok(schema.index_of(field.name())?));
                let columns = columns.collect::<Result<Vec<_>>>()?;
                let table = WorkTableExec::new(name.clone(), Arc::clone(&schema), Some(columns))?;
                Ok(Transformed::yes(Arc::new(table) as _))
            }
            _ => Ok(Transformed::no(node)),
        }
    })?;
    Ok(Arc::new(RecursiveQueryExec::try_new(name, schema, Arc::clone(first), next.data, is_distinct)?))
}
