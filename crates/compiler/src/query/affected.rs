//! The proof that rows of one key can be computed apart from all others: which rows of which input they depend on.
//!
//! Data flow: a resolved query's plan, and the output columns that are the key -> **[`sides`]** walks from the output to
//! the tables -> the expressions by which rows of a table tell their keys ([`Sides`]), or the part that stands against it.
//!
//! A condition on the key alone is pushed down, node by node, as a filter would be. It passes a node if rows of one key
//! come from input rows of that key alone: projections, filters, UNION, DISTINCT, groups and windows whose GROUP BY and
//! PARTITION BY hold the key, and the sides of joins that carry it, or are bound to it by `=`. Where it comes to a table,
//! a row of that table can change output rows of its own key and no others. A table that it does not come to may be read
//! all the same: a change of it is answered by computing everything.
//!
//! Invariant: conservative. What is not known to be harmless is refused, and the part that is to blame is named.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        DFSchema, JoinType, Result as PlanResult,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Aggregate, Distinct, Expr, ExprSchemable, Filter, Join, LogicalPlan, Operator, Projection, Window,
        expr::{BinaryExpr, Placeholder},
        utils::split_conjunction,
    },
};

use super::{
    sides::Splitting,
    terms::{Goal, column_at, is_covered, is_of_row, refers_to, rewrite, text_of},
};
use crate::{Side, Sides, TableName};

/// Parameters that differ from run to run.
const RUN_PARAMS: [&str; 2] = ["$run_id", "$execution_ts"];
/// Parameters that say which time range is computed.
pub(super) const RANGE_PARAMS: [&str; 2] = ["$start_ts", "$end_ts"];

/// What stands against the proof, and where to look for it in the text.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// Completes `not possible with ..`.
    pub(super) what: String,
    pub(super) blame: Blame,
}

/// Where a part of a plan stands in the text, as far as a plan knows.
#[derive(Clone, Debug)]
pub(super) enum Blame {
    /// At the columns of these expressions.
    Exprs(Vec<Expr>),
    Limit,
    /// A GROUP BY, or the first aggregate.
    Group,
    /// The call of this window function.
    Window(String),
    Join,
    Table(TableName),
    /// The parameter of this name.
    Param(String),
    /// The whole query.
    Query,
}

impl Refusal {
    pub(super) fn new(what: impl Into<String>, blame: Blame) -> Self {
        Self { what: what.into(), blame }
    }
}

/// What is to be proved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// The key: columns of the output.
    pub(super) columns: &'a [String],
    /// Whether the key is a time by which the query may ask for a range.
    pub(super) is_time: bool,
}

/// Finds the tables whose rows tell which keys they can change.
///
/// `plan` is not analyzed; `types` are those of the key's columns when it is.
pub(super) fn sides(plan: &LogicalPlan, wanted: Wanted<'_>, types: Vec<DataType>) -> Result<Sides, Refusal> {
    refuse_moving(plan)?;
    if types.len() != wanted.columns.len() {
        return Err(Refusal::new("a key of which a column is not in the output", Blame::Query));
    }
    let mut terms = Vec::new();
    for column in wanted.columns {
        let index = plan.schema().fields().iter().position(|field| field.name() == column);
        let index = index.ok_or_else(|| Refusal::new(format!("the key `{column}`"), Blame::Query))?;
        terms.push(vec![column_at(plan.schema(), index)]);
    }
    let mut walk = Walk { types, ..Walk::default() };
    walk.follow(plan, Goal { names: wanted.columns.to_vec(), terms, filters: Vec::new() })?;
    let bounds = range_params(plan);
    if let Some(name) = bounds.first().filter(|_| !wanted.is_time || bounds.len() != walk.bounds) {
        let what = format!("`:{}` other than in `time >= :start_ts` or `time < :end_ts`", name.trim_start_matches('$'));
        return Err(Refusal::new(what, Blame::Param(name.clone())));
    }
    let Walk { sides, whole, .. } = walk;
    let twice = sides.keys().find(|table| whole.contains_key(*table)).cloned();
    let found: Sides = sides.into_iter().filter(|(table, _)| !whole.contains_key(table)).collect();
    match (found.is_empty(), twice) {
        (false, _) => Ok(found),
        (true, Some(table)) => {
            let what = format!("`{table}` in a second place, where its rows do not tell their key");
            Err(whole.get(&table).and_then(Clone::clone).unwrap_or_else(|| Refusal::new(what, Blame::Table(table))))
        }
        (true, None) => Err(Refusal::new("rows that come from no table", Blame::Query)),
    }
}

/// Refuses what gives other rows in each run.
fn refuse_moving(plan: &LogicalPlan) -> Result<(), Refusal> {
    let mut found = None;
    each_expr(plan, &mut |expr| {
        let refusal = match expr {
            Expr::Placeholder(Placeholder { id, .. }) if RUN_PARAMS.contains(&id.as_str()) => {
                let what = format!("`:{}`, which has another value in each run", id.trim_start_matches('$'));
                Some(Refusal::new(what, Blame::Param(id.clone())))
            }
            expr if expr.is_volatile_node() => {
                let what = format!("`{}`, which gives another value in each run", expr.schema_name());
                Some(Refusal::new(what, Blame::Exprs(vec![expr.clone()])))
            }
            _ => None,
        };
        if found.is_none() {
            found = refusal;
        }
    });
    found.map_or(Ok(()), Err)
}

/// The parameters of time ranges, as often as they are used.
fn range_params(plan: &LogicalPlan) -> Vec<String> {
    let mut found = Vec::new();
    each_expr(plan, &mut |expr| {
        if let Expr::Placeholder(Placeholder { id, .. }) = expr
            && RANGE_PARAMS.contains(&id.as_str())
        {
            found.push(id.clone());
        }
    });
    found
}

/// Looks at every expression of a plan, those of subqueries among them.
fn each_expr(plan: &LogicalPlan, look: &mut dyn FnMut(&Expr)) {
    // No closure gives an error.
    let _ = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                look(inner);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
}

/// What was found on the way down.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    sides: Sides,
    /// Tables that are read where the key is not known, with why.
    whole: BTreeMap<TableName, Option<Refusal>>,
    /// Types of the key's columns.
    types: Vec<DataType>,
    /// Conditions that ask for the time range.
    bounds: usize,
}

impl Walk {
    /// Follows the goal to the tables below a plan.
    pub(super) fn follow(&mut self, plan: &LogicalPlan, goal: Goal) -> Result<(), Refusal> {
        self.hide_subqueries(plan);
        match plan {
            LogicalPlan::Projection(projection) => {
                let below = self.through_projection(projection, &goal)?;
                self.follow(&projection.input, below)
            }
            LogicalPlan::Filter(filter) => self.filter(filter, goal),
            LogicalPlan::SubqueryAlias(alias) => {
                let below = goal.map(&alias.schema, &|index| Some(column_at(alias.input.schema(), index)));
                self.follow(&alias.input, below)
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.follow(&sort.input, goal),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => Err(Refusal::new("LIMIT or OFFSET", Blame::Limit)),
            LogicalPlan::Distinct(Distinct::All(input)) => self.follow(input, goal),
            LogicalPlan::Distinct(Distinct::On(distinct)) => {
                let on: Vec<Expr> = distinct.on_expr.iter().map(|expr| canonical(expr, &distinct.input)).collect();
                let select = |index: usize| distinct.select_expr.get(index).map(unaliased);
                let below = goal.map(&distinct.schema, &select).keep(&|expr| is_covered(expr, &on));
                let below =
                    below.or_refuse(&goal, "a DISTINCT ON that does not hold the key", Blame::Exprs(on.clone()))?;
                self.follow(&distinct.input, below)
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, &goal),
            LogicalPlan::Window(window) => self.window(window, &goal),
            LogicalPlan::Join(join) => self.join(join, &goal),
            LogicalPlan::Union(union) => {
                for input in &union.inputs {
                    let below = goal.map(&union.schema, &|index| Some(column_at(input.schema(), index)));
                    self.follow(input, below)?;
                }
                Ok(())
            }
            LogicalPlan::Unnest(unnest) => {
                let is_taken_apart = |index: &usize| {
                    unnest.list_type_columns.iter().any(|(list, _)| list == index)
                        || unnest.struct_type_columns.contains(index)
                };
                let column = |index: usize| {
                    let source = unnest.dependency_indices.get(index).filter(|index| !is_taken_apart(index))?;
                    Some(column_at(unnest.input.schema(), *source))
                };
                let below = goal.map(&unnest.schema, &column);
                let below = below.or_refuse(&goal, "`unnest`, which gives the key", Blame::Query)?;
                self.follow(&unnest.input, below)
            }
            LogicalPlan::TableScan(scan) => self.table(plan, scan.table_name.schema(), scan.table_name.table(), &goal),
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => Ok(()),
            LogicalPlan::Subquery(_) => Err(Refusal::new("a LATERAL subquery", Blame::Query)),
            LogicalPlan::RecursiveQuery(_) => Err(Refusal::new("WITH RECURSIVE", Blame::Query)),
            _ => Err(Refusal::new("this kind of query", Blame::Query)),
        }
    }

    fn through_projection(&self, projection: &Projection, goal: &Goal) -> Result<Goal, Refusal> {
        let column = |index: usize| projection.expr.get(index).map(unaliased);
        let below = goal.map(&projection.schema, &|index| column(index).filter(is_of_row));
        let blamed = goal.lost_in(&below).into_iter();
        let blamed: Vec<Expr> =
            blamed.flat_map(|form| refers_to(&form, &projection.schema)).filter_map(column).collect();
        below.or_refuse(goal, "a subquery, which gives the key", Blame::Exprs(blamed))
    }

    /// Output rows of a filter meet it: what it says to be equal is.
    fn filter(&mut self, filter: &Filter, mut goal: Goal) -> Result<(), Refusal> {
        let mut conditions = Vec::new();
        for condition in split_conjunction(&filter.predicate) {
            if is_bound(&canonical(condition, &filter.input), &goal) {
                self.bounds += 1;
            } else {
                conditions.push(condition.clone());
            }
        }
        let schema = filter.input.schema();
        goal.expand(&equalities(&conditions, schema), schema);
        goal.filters.extend(conditions);
        self.follow(&filter.input, goal)
    }

    fn aggregate(&mut self, aggregate: &Aggregate, goal: &Goal) -> Result<(), Refusal> {
        let groups = &aggregate.group_expr;
        if groups.is_empty() {
            return Err(Refusal::new("an aggregate without GROUP BY, which all rows flow into", Blame::Group));
        }
        if groups.iter().any(|group| matches!(group, Expr::GroupingSet(_))) {
            return Err(Refusal::new("GROUPING SETS, ROLLUP or CUBE", Blame::Exprs(groups.clone())));
        }
        let input = aggregate.input.schema();
        let group = |index: usize| groups.get(index).filter(|group| tells_apart(group, input)).map(unaliased);
        let below = goal.map(&aggregate.schema, &group);
        let below = below.or_refuse(goal, "an aggregate whose GROUP BY does not hold the key", Blame::Group)?;
        self.follow(&aggregate.input, below)
    }

    fn window(&mut self, window: &Window, goal: &Goal) -> Result<(), Refusal> {
        let input = window.input.schema();
        let of_input = |index: usize| (index < input.fields().len()).then(|| column_at(input, index));
        let mut below = goal.map(&window.schema, &of_input);
        for expr in &window.window_expr {
            let Expr::WindowFunction(function) = unaliased(expr) else {
                return Err(Refusal::new("this kind of window", Blame::Query));
            };
            let name = function.fun.name().to_owned();
            let blame = || Blame::Window(name.clone());
            let parts = function.params.partition_by.iter().filter(|part| tells_apart(part, input));
            let parts: Vec<Expr> = parts.map(|part| canonical(part, &window.input)).collect();
            below = below.or_refuse(goal, &format!("`{name}`, which gives the key"), blame())?;
            below = below.keep(&|form| is_covered(form, &parts));
            let what = format!("the window of `{name}`, whose PARTITION BY does not hold the key");
            below = below.or_refuse(goal, &what, blame())?;
        }
        self.follow(&window.input, below)
    }

    fn join(&mut self, join: &Join, goal: &Goal) -> Result<(), Refusal> {
        let split = Splitting::new(join)?;
        match join.join_type {
            JoinType::Inner => {
                let (left, right) = split.inner(goal);
                if left.is_none() && right.is_none() {
                    let what = "a JOIN of which no side has all of the key, or is bound to it by `=`: it lacks";
                    return goal.clone().emptied().or_refuse(goal, what, Blame::Join).map(drop);
                }
                let left = self.attempt(&join.left, left);
                let right = self.attempt(&join.right, right);
                match (left, right) {
                    (Err(Some(refusal)), Err(_)) | (Err(None), Err(Some(refusal))) => Err(refusal),
                    _ => Ok(()),
                }
            }
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => {
                let (kept, other) = split.outer(goal, true);
                self.outer((&join.left, kept), (&join.right, other), goal)
            }
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => {
                let (kept, other) = split.outer(goal, false);
                self.outer((&join.right, kept), (&join.left, other), goal)
            }
            JoinType::Full => Err(Refusal::new("a FULL JOIN, which keeps rows of both sides", Blame::Join)),
            JoinType::LeftMark | JoinType::RightMark => Err(Refusal::new("this kind of join", Blame::Join)),
        }
    }

    /// The side whose rows an outer join keeps must carry the key; the other one may be bound to it.
    fn outer(
        &mut self,
        (kept, kept_goal): (&Arc<LogicalPlan>, Option<Goal>),
        (other, other_goal): (&Arc<LogicalPlan>, Option<Goal>),
        goal: &Goal,
    ) -> Result<(), Refusal> {
        let Some(kept_goal) = kept_goal else {
            let what = "an outer join that may leave out the side of the key";
            return goal.clone().emptied().or_refuse(goal, what, Blame::Join).map(drop);
        };
        self.follow(kept, kept_goal)?;
        // Why the other side cannot be followed does not matter: the rows of the kept one flow to the output.
        let _ = self.attempt(other, other_goal);
        Ok(())
    }

    /// Follows a side, or notes that all of it is read: `Err` then, with why.
    fn attempt(&mut self, side: &Arc<LogicalPlan>, goal: Option<Goal>) -> Result<(), Option<Refusal>> {
        let before = self.clone();
        let result = match goal {
            Some(goal) => self.follow(side, goal).map_err(Some),
            None => Err(None),
        };
        if let Err(refusal) = &result {
            *self = before;
            self.hide(side, refusal.as_ref());
        }
        result
    }

    /// Notes every table of a plan as one that is read as a whole.
    fn hide(&mut self, plan: &LogicalPlan, refusal: Option<&Refusal>) {
        // The closure gives no error.
        let _ = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(table) = table_name(scan.table_name.schema(), scan.table_name.table())
            {
                self.whole.entry(table).or_insert_with(|| refusal.cloned());
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }

    fn hide_subqueries(&mut self, plan: &LogicalPlan) {
        let mut subqueries = Vec::new();
        // The closure gives no error.
        let _: PlanResult<_> = plan.apply_subqueries(|subquery| {
            subqueries.push(subquery.clone());
            Ok(TreeNodeRecursion::Jump)
        });
        subqueries.iter().for_each(|subquery| self.hide(subquery, None));
    }

    fn table(&mut self, plan: &LogicalPlan, zone: Option<&str>, table: &str, goal: &Goal) -> Result<(), Refusal> {
        let Some(name) = table_name(zone, table) else {
            return Err(Refusal::new("rows that come from no table", Blame::Query));
        };
        let schema = plan.schema();
        let mut key = Vec::new();
        for (forms, wanted) in goal.terms.iter().zip(&self.types) {
            let fits = |form: &&Expr| form.get_type(schema.as_ref()).is_ok_and(|found| found == *wanted);
            let Some(text) = forms.iter().filter(fits).find_map(text_of) else {
                let what = format!("a key that rows of `{name}` have in another type, or do not tell");
                return Err(Refusal::new(what, Blame::Exprs(forms.clone())));
            };
            key.push(text);
        }
        let side = Side { key, filters: goal.filters.iter().filter_map(text_of).collect() };
        let sides = self.sides.entry(name).or_default();
        if !sides.contains(&side) {
            sides.push(side);
        }
        Ok(())
    }
}

/// Whether a condition asks for the time range that is computed: `time >= $start_ts`, `time < $end_ts`, or the same
/// turned round.
fn is_bound(condition: &Expr, goal: &Goal) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return false };
    let [forms] = goal.terms.as_slice() else { return false };
    let is_time = |expr: &Expr| forms.contains(expr);
    let is = |expr: &Expr, index: usize| param_of(expr).as_deref() == RANGE_PARAMS.get(index).copied();
    match op {
        Operator::GtEq => is_time(left) && is(right, 0),
        Operator::LtEq => is_time(right) && is(left, 0),
        Operator::Lt => is_time(left) && is(right, 1),
        Operator::Gt => is_time(right) && is(left, 1),
        _ => false,
    }
}

/// The parameter that an expression is, cast to its type or not.
fn param_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Placeholder(placeholder) => Some(placeholder.id.clone()),
        Expr::Cast(cast) => param_of(&cast.expr),
        Expr::ScalarFunction(function) if function.func.name() == "arrow_cast" => param_of(function.args.first()?),
        _ => None,
    }
}

/// The expressions that conditions say to be equal, of equal types in which equal values are the same.
pub(super) fn equalities(conditions: &[Expr], schema: &DFSchema) -> Vec<(Expr, Expr)> {
    let pairs = conditions.iter().filter_map(|condition| match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq | Operator::IsNotDistinctFrom, right }) => {
            Some((left.as_ref().clone(), right.as_ref().clone()))
        }
        _ => None,
    });
    pairs.filter(|(left, right)| is_same_type(left, right, schema)).collect()
}

/// Whether two expressions have one type, of which equal values are the same: 0.0 equals -0.0.
pub(super) fn is_same_type(left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    match (left.get_type(schema), right.get_type(schema)) {
        (Ok(left), Ok(right)) => left == right && !left.is_floating(),
        _ => false,
    }
}

/// Whether rows that are alike in an expression have one value of it: of floats, 0.0 and -0.0 are alike.
fn tells_apart(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| !data_type.is_floating())
}

/// An expression without aliases.
pub(super) fn unaliased(expr: &Expr) -> Expr {
    expr.clone().unalias_nested().data
}

/// An expression over the columns of a plan, which are named in one way only.
fn canonical(expr: &Expr, input: &LogicalPlan) -> Expr {
    let expr = unaliased(expr);
    rewrite(&expr, input.schema(), &|index| Some(column_at(input.schema(), index))).unwrap_or(expr)
}

fn table_name(zone: Option<&str>, table: &str) -> Option<TableName> {
    TableName::new(zone?, table)
}
