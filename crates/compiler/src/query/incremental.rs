//! The proof that a model may be computed file by file: what one driving input gains is what the output gains.
//!
//! A query is accepted if each of its rows comes from exactly one row of the driving input, and would come from it whatever
//! other rows that input has: projection, filter, scalar functions, INNER and LEFT JOIN from the driving side to other
//! tables, UNION ALL of such queries over the same input, and WITH queries and subqueries in FROM that are such queries
//! themselves. A change of any other table is not the proof's business: the step is then refreshed in full.
//!
//! Invariant: conservative. What is not known to be harmless is refused, and the part that is to blame is named.

use std::{
    cell::RefCell,
    ops::{ControlFlow, Range},
};

use datafusion::{
    execution::FunctionRegistry,
    logical_expr::Volatility,
    sql::sqlparser::ast::{
        Distinct, Expr, Function, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select, SetExpr,
        SetOperator, SetQuantifier, TableFactor, TableWithJoins, Value, ValueWithSpan, Visit, Visitor,
    },
};

use super::{place::Source, resolve::is_clock, tables};
use crate::{Diagnostic, TableName, sql_type::same_name};

/// Gives the input whose rows flow to the output, or the part of the query that stands against it.
pub(super) fn driving_input(
    query: &Query,
    source: &Source,
    functions: &dyn FunctionRegistry,
) -> Result<TableName, Diagnostic> {
    let proof = Proof { source, functions, others: RefCell::default() };
    let driving = proof.query(query, &[])?;
    let others = proof.others.borrow();
    // A subquery over the driving input, or a join of it with itself, sees rows of other files.
    match others.iter().find(|(table, _)| *table == driving) {
        Some((_, span)) => Err(proof.refuse(span.clone(), &format!("`{driving}` in a second place"))),
        None => Ok(driving),
    }
}

struct Proof<'a> {
    source: &'a Source,
    functions: &'a dyn FunctionRegistry,
    /// Tables that are read elsewhere than on the driving side, with the place where the query turns to them.
    others: RefCell<Vec<(TableName, Range<usize>)>>,
}

/// A WITH query that relations may name, with those that it may name itself.
#[derive(Clone, Copy)]
struct Visible<'q> {
    name: &'q Ident,
    query: &'q Query,
    before: usize,
}

impl Proof<'_> {
    fn refuse(&self, span: Range<usize>, what: &str) -> Diagnostic {
        let message = format!("INCREMENTAL_BY_FILE is not possible with {what}");
        let help = "a row of the output must depend on one row of the driving input: use kind FULL, or move this part to \
                    a model of its own";
        self.source.error("not_incremental", span, message).with_help(help)
    }

    fn query<'q>(&self, query: &'q Query, outer: &[Visible<'q>]) -> Result<TableName, Diagnostic> {
        let span = self.source.range_of(query);
        if query.limit_clause.is_some() || query.fetch.is_some() {
            return Err(self.refuse(span, "LIMIT or OFFSET"));
        }
        let mut visible = outer.to_vec();
        if let Some(with) = &query.with {
            if with.recursive {
                return Err(self.refuse(span, "WITH RECURSIVE"));
            }
            for cte in &with.cte_tables {
                visible.push(Visible { name: &cte.alias.name, query: &cte.query, before: visible.len() });
            }
        }
        self.body(&query.body, &visible)
    }

    fn body<'q>(&self, body: &'q SetExpr, visible: &[Visible<'q>]) -> Result<TableName, Diagnostic> {
        match body {
            SetExpr::Select(select) => self.select(select, visible),
            SetExpr::Query(query) => self.query(query, visible),
            SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: SetQuantifier::All, left, right } => {
                let driving = self.body(left, visible)?;
                let other = self.body(right, visible)?;
                if other != driving {
                    let what = format!("a UNION ALL of two inputs, `{driving}` and `{other}`");
                    return Err(self.refuse(self.source.range_of(right.as_ref()), &what));
                }
                Ok(driving)
            }
            SetExpr::SetOperation { op, .. } => {
                Err(self.refuse(self.source.range_of(body), &format!("{op} (UNION ALL is possible)")))
            }
            other => Err(self.refuse(self.source.range_of(other), "rows that come from no table")),
        }
    }

    fn select<'q>(&self, select: &'q Select, visible: &[Visible<'q>]) -> Result<TableName, Diagnostic> {
        let span = self.source.range_of_span(select.select_token.0.span).unwrap_or_else(|| self.source.range());
        if select.distinct.as_ref().is_some_and(|distinct| !matches!(distinct, Distinct::All)) {
            return Err(self.refuse(span, "DISTINCT"));
        }
        match &select.group_by {
            GroupByExpr::Expressions(exprs, _) if exprs.is_empty() => {}
            GroupByExpr::Expressions(exprs, _) => {
                let span = exprs.first().map_or(span, |expr| self.source.range_of(expr));
                return Err(self.refuse(span, "GROUP BY"));
            }
            GroupByExpr::All(_) => return Err(self.refuse(span, "GROUP BY")),
        }
        if let Some(having) = &select.having {
            return Err(self.refuse(self.source.range_of(having), "HAVING"));
        }
        if let Some(qualify) = &select.qualify {
            return Err(self.refuse(self.source.range_of(qualify), "QUALIFY"));
        }
        self.expressions(select, visible)?;
        let (first, others) = match select.from.as_slice() {
            [] => return Err(self.refuse(span, "a SELECT without FROM")),
            [first, others @ ..] => (first, others),
        };
        let driving = self.joined(first, visible)?;
        for other in others {
            self.other_side(&other.relation, visible)?;
            for join in &other.joins {
                self.other_side(&join.relation, visible)?;
            }
        }
        Ok(driving)
    }

    /// The driving side of joins is the left one, and only it may keep rows that find no partner.
    fn joined<'q>(&self, item: &'q TableWithJoins, visible: &[Visible<'q>]) -> Result<TableName, Diagnostic> {
        let driving = self.relation(&item.relation, visible)?;
        for join in &item.joins {
            let span = self.source.range_of(&join.relation);
            match &join.join_operator {
                JoinOperator::Join(_)
                | JoinOperator::Inner(_)
                | JoinOperator::Left(_)
                | JoinOperator::LeftOuter(_)
                | JoinOperator::CrossJoin(_)
                | JoinOperator::Semi(_)
                | JoinOperator::LeftSemi(_)
                | JoinOperator::Anti(_)
                | JoinOperator::LeftAnti(_) => {}
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => {
                    return Err(self.refuse(span, "a RIGHT JOIN, which keeps rows of the other side"));
                }
                JoinOperator::FullOuter(_) => {
                    return Err(self.refuse(span, "a FULL JOIN, which keeps rows of the other side"));
                }
                _ => return Err(self.refuse(span, "this kind of join")),
            }
            self.other_side(&join.relation, visible)?;
        }
        Ok(driving)
    }

    fn other_side(&self, factor: &TableFactor, visible: &[Visible<'_>]) -> Result<(), Diagnostic> {
        let span = self.source.range_of(factor);
        if matches!(factor, TableFactor::Derived { lateral: true, .. }) {
            return Err(self.refuse(span, "a LATERAL subquery"));
        }
        self.note_others(factor, visible, &span);
        Ok(())
    }

    /// Notes every table that a piece of the query reads, through names of a WITH too.
    fn note_others(&self, node: &impl Visit, visible: &[Visible<'_>], span: &Range<usize>) {
        let mut names = Names(Vec::new());
        let _: ControlFlow<()> = node.visit(&mut names);
        self.note_names(names, visible, span);
    }

    fn relation<'q>(&self, factor: &'q TableFactor, visible: &[Visible<'q>]) -> Result<TableName, Diagnostic> {
        let span = self.source.range_of(factor);
        match factor {
            TableFactor::Table { name, args: None, .. } => match tables::table_name(name) {
                Some(table) => Ok(table),
                None => self.cte(name, visible, span),
            },
            TableFactor::Derived { lateral: false, subquery, .. } => self.query(subquery, visible),
            TableFactor::NestedJoin { table_with_joins, .. } => self.joined(table_with_joins, visible),
            _ => Err(self.refuse(span, "rows that come from no table")),
        }
    }

    fn cte<'q>(&self, name: &ObjectName, visible: &[Visible<'q>], span: Range<usize>) -> Result<TableName, Diagnostic> {
        let written = name.to_string();
        let found = find(name, visible);
        let Some(cte) = found else {
            return Err(self.source.error(
                "invalid_table",
                span,
                format!("`{written}` is neither a table nor a name of a WITH"),
            ));
        };
        self.query(cte.query, visible.get(..cte.before).unwrap_or_default())
    }

    /// No aggregate, no window, nothing that differs between runs in this SELECT; what subqueries call is theirs.
    fn expressions(&self, select: &Select, visible: &[Visible<'_>]) -> Result<(), Diagnostic> {
        let mut finder = ExprFinder { proof: self, depth: 0, found: None, subqueries: Vec::new() };
        for item in &select.projection {
            let _: ControlFlow<()> = item.visit(&mut finder);
        }
        let conditions =
            select.from.iter().flat_map(|item| &item.joins).filter_map(|join| condition(&join.join_operator));
        for expr in select.selection.iter().chain(conditions) {
            let _: ControlFlow<()> = expr.visit(&mut finder);
        }
        let ExprFinder { found, subqueries, .. } = finder;
        for subquery in subqueries {
            let span = self.source.range_of(&subquery);
            let mut names = Names(Vec::new());
            let _: ControlFlow<()> = subquery.visit(&mut names);
            self.note_names(names, visible, &span);
        }
        found.map_or(Ok(()), Err)
    }

    fn note_names(&self, names: Names, visible: &[Visible<'_>], span: &Range<usize>) {
        for name in names.0 {
            if let Some(table) = tables::table_name(&name) {
                self.others.borrow_mut().push((table, span.clone()));
            } else if let Some(cte) = find(&name, visible) {
                self.note_others(cte.query, visible.get(..cte.before).unwrap_or_default(), span);
            }
        }
    }

    /// What about a call stands against the proof.
    fn objection(&self, function: &Function) -> Option<String> {
        let name = function.name.to_string().trim_matches('"').to_lowercase();
        let functions = self.functions;
        if function.over.is_some() {
            return Some(format!("the window function `{name}`"));
        }
        let is_scalar = functions.udf(&name).is_ok();
        if !is_scalar && (functions.udaf(&name).is_ok() || functions.udwf(&name).is_ok()) {
            return Some(format!("the aggregate `{name}`"));
        }
        let volatile = functions.udf(&name).is_ok_and(|udf| udf.signature().volatility == Volatility::Volatile);
        (volatile || is_clock(&name)).then(|| format!("`{name}`, which gives another value in each run"))
    }
}

/// The WITH query that a relation names.
fn find<'v, 'q>(name: &ObjectName, visible: &'v [Visible<'q>]) -> Option<&'v Visible<'q>> {
    let [part] = name.0.as_slice() else { return None };
    let ident = part.as_ident()?;
    visible.iter().rev().find(|cte| same_name(&cte.name.value, &ident.value))
}

fn condition(operator: &JoinOperator) -> Option<&Expr> {
    match operator {
        JoinOperator::Join(JoinConstraint::On(on))
        | JoinOperator::Inner(JoinConstraint::On(on))
        | JoinOperator::Left(JoinConstraint::On(on))
        | JoinOperator::LeftOuter(JoinConstraint::On(on))
        | JoinOperator::Semi(JoinConstraint::On(on))
        | JoinOperator::LeftSemi(JoinConstraint::On(on))
        | JoinOperator::Anti(JoinConstraint::On(on))
        | JoinOperator::LeftAnti(JoinConstraint::On(on)) => Some(on),
        _ => None,
    }
}

/// Names of relations in a piece of a query.
struct Names(Vec<ObjectName>);

impl Visitor for Names {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: None, .. } = factor {
            self.0.push(name.clone());
        }
        ControlFlow::Continue(())
    }
}

struct ExprFinder<'a> {
    proof: &'a Proof<'a>,
    depth: usize,
    found: Option<Diagnostic>,
    subqueries: Vec<Query>,
}

impl Visitor for ExprFinder<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.depth == 0 {
            self.subqueries.push(query.clone());
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let objection = match expr {
            Expr::Function(function) if self.depth == 0 => self.proof.objection(function),
            Expr::Value(ValueWithSpan { value: Value::Placeholder(name), .. }) => {
                let differs = matches!(name.to_lowercase().as_str(), ":run_id" | ":execution_ts");
                differs.then(|| format!("`{name}`, which has another value in each run"))
            }
            _ => None,
        };
        if let Some(objection) = objection {
            self.found.get_or_insert_with(|| self.proof.refuse(self.proof.source.range_of(expr), &objection));
        }
        ControlFlow::Continue(())
    }
}
