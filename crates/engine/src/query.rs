//! Plans SQL over a session's relations, and runs ad-hoc queries.

use std::collections::BTreeMap;

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    common::{ParamValues, ScalarValue},
    execution::context::SQLOptions,
    logical_expr::{LogicalPlan, LogicalPlanBuilder, cast, col},
    prelude::{DataFrame, SessionContext},
};
use futures::{StreamExt, stream::BoxStream};
use lakewright_error::{Error, ErrorKind, Result};

use crate::{fault, session::Engine};

/// The rows of an ad-hoc query.
pub struct Rows {
    /// Their columns.
    pub schema: SchemaRef,
    /// Batches as they come; an error ends the stream. Dropping it stops the query.
    pub batches: BoxStream<'static, Result<RecordBatch>>,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts a query over the session's relations. `params` are the values of its `$name` placeholders.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: the SQL does not plan, or it is not a query (DDL, INSERT, SET).
    ///
    /// The stream's errors are those of [`crate::execute_table_write`].
    pub async fn query(
        &self,
        session: &SessionContext,
        sql: &str,
        params: &BTreeMap<String, ScalarValue>,
    ) -> Result<Rows> {
        self.start(session, plan_query(session, sql, params).await?).await
    }

    /// Starts a query whose first `rows_max` rows, in the query's own order, are enough.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn query_first(
        &self,
        session: &SessionContext,
        sql: &str,
        params: &BTreeMap<String, ScalarValue>,
        rows_max: u64,
    ) -> Result<Rows> {
        let plan = plan_query(session, sql, params).await?;
        // Around the plan and not around the text: a subquery has no order.
        let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
        let limited = LogicalPlanBuilder::from(plan).limit(0, Some(rows_max)).and_then(LogicalPlanBuilder::build);
        self.start(session, limited.map_err(fault::from_datafusion)?).await
    }

    /// Starts a query whose rows are stored: its columns are cast to those of `schema`, as the writer does.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn query_as(
        &self,
        session: &SessionContext,
        sql: &str,
        params: &BTreeMap<String, ScalarValue>,
        schema: &SchemaRef,
    ) -> Result<Rows> {
        let plan = cast_to(plan_query(session, sql, params).await?, schema)?;
        self.start(session, plan).await
    }

    async fn start(&self, session: &SessionContext, plan: LogicalPlan) -> Result<Rows> {
        let stream = DataFrame::new(session.state(), plan).execute_stream().await.map_err(fault::from_datafusion)?;
        Ok(Rows { schema: stream.schema(), batches: stream.map(|batch| batch.map_err(fault::from_datafusion)).boxed() })
    }
}

/// Plans a query and gives its placeholders their values.
pub(crate) async fn plan_query(
    session: &SessionContext,
    sql: &str,
    params: &BTreeMap<String, ScalarValue>,
) -> Result<LogicalPlan> {
    let plan = session.state().create_logical_plan(sql).await.map_err(fault::from_datafusion)?;
    let reading = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reading.verify_plan(&plan).map_err(|error| {
        Error::new(ErrorKind::Invalid, "only queries are accepted")
            .with_hint("tables are written by models, not by statements")
            .with_source(error)
    })?;
    if params.is_empty() {
        return Ok(plan);
    }
    let values: Vec<(&str, ScalarValue)> = params.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    plan.with_param_values(ParamValues::from(values)).map_err(fault::from_datafusion)
}

/// Casts a plan's columns, in order, to those of `schema`, and gives them its names.
pub(crate) fn cast_to(plan: LogicalPlan, schema: &SchemaRef) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    if columns.len() != schema.fields().len() {
        return Err(Error::new(ErrorKind::Invalid, "the query does not give the columns of its table")
            .with("query", columns.len())
            .with("table", schema.fields().len()));
    }
    let sources: Vec<_> = plan.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let exprs = columns.into_iter().zip(sources).zip(schema.fields()).map(|((column, source), target)| {
        let is_named = column.name() == target.name();
        let expr = col(column);
        match source == *target.data_type() {
            // Not `t.k AS k`: the optimizer puts both names side by side where fields of structures are read.
            true if is_named => expr,
            true => expr.alias(target.name()),
            false => cast(expr, target.data_type().clone()).alias(target.name()),
        }
    });
    let exprs: Vec<_> = exprs.collect();
    LogicalPlanBuilder::new(plan).project(exprs).and_then(LogicalPlanBuilder::build).map_err(fault::from_datafusion)
}
