//! Rules about the rows of a write, and what is found out about them while they are written.

use std::collections::BTreeMap;

use datafusion::{
    arrow::array::RecordBatch,
    common::{ParamValues, ScalarValue},
    logical_expr::{LogicalPlan, LogicalPlanBuilder, col},
    prelude::SessionContext,
};
use lakewright_error::Result;
use lakewright_lake::DataFile;

use crate::fault;

/// The name by which a rule's condition calls the row.
const ROW_ALIAS: &str = "this";

/// What is asked of every row that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRule {
    /// Unique among the rules of a write.
    pub name: String,
    /// Canonical SQL over the stored columns of the row `this`; a row violates the rule unless it is true.
    pub condition: String,
    /// What is done about a row that violates it.
    pub action: RuleAction,
}

/// What is done about a row that violates a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// It is counted, if no other rule takes it out.
    Count,
    /// It is left out.
    Drop,
    /// It is kept apart, also if another rule would drop it.
    Quarantine,
}

/// What was found out about one rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleReport {
    /// The rule.
    pub name: String,
    /// Rows that violate it.
    pub violations: u64,
    /// A few of them, with the columns of the table.
    pub sample: Vec<RecordBatch>,
}

/// What a write has made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteOutput {
    /// Files of the table, sorted by path.
    pub files: Vec<DataFile>,
    /// Files of rows that were kept apart, sorted by path.
    pub quarantined: Vec<DataFile>,
    /// What was found out about the rules, in their order.
    pub rules: Vec<RuleReport>,
    /// What each executor of a fleet has written of the table, by its id.
    pub shares: BTreeMap<String, WriteShare>,
}

/// What one executor has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteShare {
    /// Files of the table.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Size of the files in bytes.
    pub bytes: u64,
}

/// Puts a truth value for each rule behind the columns of the plan.
///
/// # Errors
/// - [`lakewright_error::ErrorKind::Invalid`]: a condition does not plan over the columns.
pub(super) fn with_rules(
    session: &SessionContext,
    plan: LogicalPlan,
    rules: &[RowRule],
    params: &BTreeMap<String, ScalarValue>,
) -> Result<LogicalPlan> {
    if rules.is_empty() {
        return Ok(plan);
    }
    let named = LogicalPlanBuilder::from(plan).alias(ROW_ALIAS).and_then(LogicalPlanBuilder::build);
    let plan = named.map_err(fault::from_datafusion)?;
    let mut exprs: Vec<_> = plan.schema().columns().into_iter().map(col).collect();
    let state = session.state();
    for (index, rule) in rules.iter().enumerate() {
        let condition = state.create_logical_expr(&rule.condition, plan.schema());
        let condition = condition.map_err(|error| fault::from_datafusion(error).with("rule", &rule.name))?;
        exprs.push(condition.alias(format!("__rule_{index}")));
    }
    let plan = LogicalPlanBuilder::from(plan).project(exprs).and_then(LogicalPlanBuilder::build);
    let plan = plan.map_err(fault::from_datafusion)?;
    if params.is_empty() {
        return Ok(plan);
    }
    let values: Vec<(&str, ScalarValue)> = params.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    plan.with_param_values(ParamValues::from(values)).map_err(fault::from_datafusion)
}
