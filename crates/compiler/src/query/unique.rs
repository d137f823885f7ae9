//! The proof that no two rows of a query's output share a key, so that nobody has to count them.
//!
//! Data flow: a resolved query's plan, and output columns -> **[`is_unique`]** walks from the output towards the tables.
//!
//! Rows are told apart by DISTINCT, GROUP BY and `row_number()`, or there is but one: below these nothing needs to be
//! looked at. Projections, filters and sorts keep rows apart; a join does if a row of one side meets at most one of the
//! other. A filter `n = 1` makes `n` part of every key, for it is the same in all rows.
//!
//! Invariant: conservative. `false` means that it is not known. Only types count of which equal values are the same: no
//! floats (0.0 equals -0.0), and nothing nested, which may hold some.

use datafusion::{
    arrow::datatypes::{DataType, TimeUnit},
    common::{DFSchema, JoinType, tree_node::TreeNode},
    logical_expr::{
        Aggregate, Distinct, Expr, ExprSchemable, Filter, Join, LogicalPlan, Operator, Window,
        expr::{BinaryExpr, WindowFunction},
        utils::split_conjunction,
    },
};

use super::{
    affected::{equalities, unaliased},
    sides::Splitting,
    terms::{column_at, is_covered, is_of_row, rewrite},
};

/// Expressions that are followed: equalities could make more than anybody needs.
const KEY_MAX: usize = 64;

/// Whether no two rows of the plan's output have the same values in these columns; `false` if that is not known.
///
/// NULL counts as a value. `plan` is not analyzed.
pub(super) fn is_unique(plan: &LogicalPlan, columns: &[String]) -> bool {
    let schema = plan.schema();
    let index_of = |column: &String| schema.fields().iter().position(|field| field.name() == column);
    let key = columns.iter().filter_map(index_of).map(|index| column_at(schema, index)).collect();
    tells_rows_apart(plan, &Key::new(key, schema))
}

/// Expressions over the columns of one plan, named in one way only, each of a type whose equal values are the same.
struct Key(Vec<Expr>);

impl Key {
    fn new(exprs: Vec<Expr>, schema: &DFSchema) -> Self {
        let mut key = Self(Vec::new());
        for expr in exprs {
            key.add(expr, schema);
        }
        key
    }

    fn add(&mut self, expr: Expr, schema: &DFSchema) {
        let is_known = expr.get_type(schema).is_ok_and(|data_type| is_exact(&data_type));
        if is_known && self.0.len() < KEY_MAX && !self.0.contains(&expr) && !expr.is_volatile() {
            self.0.push(expr);
        }
    }

    /// The same over the columns of an input, as far as it can be told there.
    fn map(&self, schema: &DFSchema, input: &DFSchema, column: &dyn Fn(usize) -> Option<Expr>) -> Self {
        let mapped = self.0.iter().filter_map(|expr| rewrite(expr, schema, column));
        Self::new(mapped.filter(is_of_row).filter_map(|expr| canonical(&expr, input)).collect(), input)
    }

    /// Whether rows that are alike in the key are alike in an expression.
    fn tells(&self, expr: &Expr, schema: &DFSchema) -> bool {
        let is_known = expr.get_type(schema).is_ok_and(|data_type| is_exact(&data_type));
        is_known && !is_of_nothing(expr) && is_of_row(expr) && is_covered(expr, &self.0)
    }
}

/// Whether an expression calls something that is given nothing, and may have another value in each row.
fn is_of_nothing(expr: &Expr) -> bool {
    let is_bare = |inner: &Expr| matches!(inner, Expr::ScalarFunction(function) if function.args.is_empty());
    expr.is_volatile() || expr.exists(|inner| Ok(is_bare(inner))).unwrap_or(true)
}

/// Whether equal values of a type are the same value, and are stored as different ones if they are not.
fn is_exact(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
                | DataType::Binary
                | DataType::Date32
                | DataType::Timestamp(TimeUnit::Microsecond, _)
                | DataType::Decimal128(..)
        )
}

fn canonical(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    rewrite(&unaliased(expr), schema, &|index| Some(column_at(schema, index)))
}

fn tells_rows_apart(plan: &LogicalPlan, key: &Key) -> bool {
    match plan {
        // It would give several rows for one.
        LogicalPlan::Projection(projection) if projection.expr.iter().any(has_unnest) => false,
        LogicalPlan::Projection(projection) => {
            let input = projection.input.schema();
            let column = |index: usize| projection.expr.get(index).map(unaliased).filter(is_of_row);
            tells_rows_apart(&projection.input, &key.map(&projection.schema, input, &column))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let input = alias.input.schema();
            tells_rows_apart(&alias.input, &key.map(&alias.schema, input, &|index| Some(column_at(input, index))))
        }
        LogicalPlan::Sort(sort) => tells_rows_apart(&sort.input, key),
        LogicalPlan::Limit(limit) => tells_rows_apart(&limit.input, key),
        LogicalPlan::Filter(filter) => tells_rows_apart(&filter.input, &with_conditions(filter, key)),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let schema = input.schema();
            let mut columns = (0..schema.fields().len()).map(|index| column_at(schema, index));
            columns.all(|column| key.tells(&column, schema)) || tells_rows_apart(input, key)
        }
        LogicalPlan::Distinct(Distinct::On(distinct)) => {
            let input = distinct.input.schema();
            let column = |index: usize| distinct.select_expr.get(index).map(unaliased).filter(is_of_row);
            let below = key.map(&distinct.schema, input, &column);
            let mut on = distinct.on_expr.iter().map(|expr| canonical(expr, input));
            on.all(|expr| expr.is_some_and(|expr| below.tells(&expr, input)))
                || tells_rows_apart(&distinct.input, &below)
        }
        LogicalPlan::Aggregate(aggregate) => tells_groups_apart(aggregate, key),
        LogicalPlan::Window(window) => tells_numbers_apart(window, key),
        LogicalPlan::Join(join) => tells_pairs_apart(join, key),
        LogicalPlan::EmptyRelation(_) => true,
        _ => false,
    }
}

fn has_unnest(expr: &Expr) -> bool {
    expr.exists(|inner| Ok(matches!(inner, Expr::Unnest(_)))).unwrap_or(true)
}

/// A filter's input has the key's rows apart if it does with what is the same in all rows, or follows from the key.
fn with_conditions(filter: &Filter, key: &Key) -> Key {
    let schema = filter.input.schema();
    let conditions: Vec<Expr> = split_conjunction(&filter.predicate).into_iter().cloned().collect();
    let mut found = Key::new(key.0.clone(), schema);
    add_conditions(&mut found, &conditions, schema);
    add_equal(&mut found, &equalities(&conditions, schema), schema);
    found
}

/// Adds what conditions hold to one value.
fn add_conditions(key: &mut Key, conditions: &[Expr], schema: &DFSchema) {
    for condition in conditions {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq | Operator::IsNotDistinctFrom, right }) = condition
        else {
            continue;
        };
        for (value, constant) in [(left, right), (right, left)] {
            if is_constant(constant) && is_of_row(value) && is_same_when_equal(value, constant, schema) {
                canonical(value, schema).into_iter().for_each(|value| key.add(value, schema));
            }
        }
    }
}

fn is_constant(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(..) | Expr::Placeholder(_))
}

/// Whether all values that are equal to a constant are the same: a text that equals a number may be `1` or `01`.
fn is_same_when_equal(value: &Expr, constant: &Expr, schema: &DFSchema) -> bool {
    match (value.get_type(schema), constant.get_type(schema)) {
        (Ok(value), Ok(constant)) => {
            is_exact(&value) && (value == constant || (value.is_integer() && constant.is_integer()))
        }
        _ => false,
    }
}

/// Adds what is equal to an expression of the key.
fn add_equal(key: &mut Key, equal: &[(Expr, Expr)], schema: &DFSchema) {
    let pairs = equal.iter().filter_map(|(left, right)| Some((canonical(left, schema)?, canonical(right, schema)?)));
    let pairs: Vec<(Expr, Expr)> = pairs.collect();
    let mut before = usize::MAX;
    while before != key.0.len() {
        before = key.0.len();
        for (left, right) in &pairs {
            for (from, to) in [(left, right), (right, left)] {
                if key.tells(from, schema) {
                    key.add(to.clone(), schema);
                }
            }
        }
    }
}

fn tells_groups_apart(aggregate: &Aggregate, key: &Key) -> bool {
    let groups = &aggregate.group_expr;
    if groups.iter().any(|group| matches!(group, Expr::GroupingSet(_))) {
        return false;
    }
    let schema = &aggregate.schema;
    let mut columns = (0..groups.len()).map(|index| column_at(schema, index));
    if columns.all(|column| key.tells(&column, schema)) {
        return true;
    }
    // Two groups that are alike in the key would have input rows that are.
    let input = aggregate.input.schema();
    let group = |index: usize| groups.get(index).map(unaliased);
    tells_rows_apart(&aggregate.input, &key.map(schema, input, &group))
}

fn tells_numbers_apart(window: &Window, key: &Key) -> bool {
    let input = window.input.schema();
    let width = input.fields().len();
    let below = key.map(&window.schema, input, &|index| (index < width).then(|| column_at(input, index)));
    let numbers = window.window_expr.iter().enumerate().any(|(index, expr)| {
        let number = column_at(&window.schema, width + index);
        matches!(unaliased(expr), Expr::WindowFunction(function)
            if key.0.contains(&number) && numbers_rows_of(&function, &below, input))
    });
    numbers || tells_rows_apart(&window.input, &below)
}

/// Whether a window numbers the rows that are alike in the key, each by a number of its own.
fn numbers_rows_of(function: &WindowFunction, key: &Key, input: &DFSchema) -> bool {
    let params = &function.params;
    let is_plain = params.filter.is_none() && !params.distinct;
    let is_told = |part: &Expr| canonical(part, input).is_some_and(|part| key.tells(&part, input));
    is_plain && function.fun.name() == "row_number" && params.partition_by.iter().all(is_told)
}

fn tells_pairs_apart(join: &Join, key: &Key) -> bool {
    let Ok(split) = Splitting::new(join) else { return false };
    let both = split.both();
    let all = match join.join_type {
        JoinType::LeftSemi | JoinType::LeftAnti => return tells_rows_apart(&join.left, key),
        JoinType::RightSemi | JoinType::RightAnti => return tells_rows_apart(&join.right, key),
        JoinType::Inner => {
            let mut all = Key::new(key.0.clone(), both);
            add_conditions(&mut all, split.conditions(), both);
            add_equal(&mut all, split.equal(), both);
            all
        }
        JoinType::Left | JoinType::Right => Key::new(key.0.clone(), both),
        JoinType::Full | JoinType::LeftMark | JoinType::RightMark => return false,
    };
    let [left, right] = [true, false].map(|left| tells_side_apart(&all, left, &split, join));
    // Rows of one side that are alike in the key are one row, and it meets one row of the other side, or rows that the
    // key tells apart.
    match join.join_type {
        JoinType::Left => left && (right || meets_one(false, &split, join)),
        JoinType::Right => right && (left || meets_one(true, &split, join)),
        _ => (left && (right || meets_one(false, &split, join))) || (right && meets_one(true, &split, join)),
    }
}

/// Whether a row meets at most one row of the left or of the right side: those that it meets are alike in what ON compares.
fn meets_one(left: bool, split: &Splitting<'_>, join: &Join) -> bool {
    let both = split.both();
    let pairs = split.equal().iter().flat_map(|(left, right)| [left.clone(), right.clone()]);
    let mut compared = Key(Vec::new());
    for expr in pairs.filter_map(|expr| canonical(&expr, both)) {
        compared.add(expr, both);
    }
    add_conditions(&mut compared, split.conditions(), both);
    tells_side_apart(&compared, left, split, join)
}

/// Whether rows of one side are told apart by what of a key over both is about that side alone.
fn tells_side_apart(key: &Key, left: bool, split: &Splitting<'_>, join: &Join) -> bool {
    let input = if left { &join.left } else { &join.right };
    tells_rows_apart(input, &key.map(split.both(), input.schema(), &|index| split.column(index, left)))
}
