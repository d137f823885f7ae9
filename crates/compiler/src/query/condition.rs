//! One condition over the rows of a table: from text to canonical SQL, without a query around it.
//!
//! Invariant: what is given back reads one row and nothing else: no subquery, no aggregate, no window, no chance.

use std::{
    collections::BTreeMap,
    ops::{ControlFlow, Range},
};

use datafusion::{
    arrow::datatypes::SchemaRef,
    execution::FunctionRegistry,
    sql::sqlparser::{
        ast::{Expr, Ident, Query, SetExpr, Visit, Visitor},
        parser::Parser,
    },
};

use super::{
    ParsedQuery,
    dialect::JobDialect,
    parse,
    place::Source,
    resolve::{Known, Purpose},
    with_stack,
};
use crate::{Diagnostic, Diagnostics, ParamType, ROW_ALIAS, TableName, sql_type::quoted};

/// A condition, or a list of values in parentheses; spans are byte offsets in the whole file's text.
#[derive(Clone, Debug)]
pub(crate) struct ParsedCondition {
    source: Source,
    expr: Expr,
}

/// Canonical SQL of a condition over the row [`ROW_ALIAS`], and the parameters that it uses, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) sql: String,
    pub(crate) params: Vec<String>,
}

/// Parses the expression that stands in `range` of the file's text.
pub(crate) fn parse_condition(file: &str, text: &str, range: Range<usize>) -> Result<ParsedCondition, Diagnostics> {
    let source = Source::new(file, text, range);
    let expr = with_stack(|| parse::parse_expression(&source))?;
    let mut finder = SubqueryFinder { source: &source };
    if let ControlFlow::Break(finding) = expr.visit(&mut finder) {
        return Err(Diagnostics(vec![finding]));
    }
    Ok(ParsedCondition { source, expr })
}

impl ParsedCondition {
    /// The text as written, on one line.
    pub(crate) fn text(&self) -> String {
        self.source.query_text().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The condition that a column, spelt as in its schema, has one of these values.
    pub(crate) fn accepts(self, column: &str) -> Self {
        let list = match self.expr {
            Expr::Tuple(values) => values,
            Expr::Nested(value) => vec![*value],
            value => vec![value],
        };
        let column = Expr::Identifier(Ident::with_quote('"', column));
        let expr = Expr::InList { expr: Box::new(column), list, negated: false };
        Self { source: self.source, expr }
    }

    /// Resolves names and types against the columns of one table.
    pub(crate) fn resolve(
        &self,
        (table, schema): (&TableName, &SchemaRef),
        functions: &dyn FunctionRegistry,
        params: &BTreeMap<String, ParamType>,
    ) -> Result<Condition, Diagnostics> {
        let failed =
            |message: &str| Diagnostics(vec![self.source.error("planner", self.source.range(), message.to_owned())]);
        let mut query = around(table).ok_or_else(|| failed("this condition cannot be read"))?;
        let SetExpr::Select(select) = query.body.as_mut() else { return Err(failed("this condition cannot be read")) };
        select.selection = Some(self.expr.clone());
        let query = ParsedQuery { source: self.source.clone(), query };
        let tables = BTreeMap::from([(table.clone(), SchemaRef::clone(schema))]);
        with_stack(|| {
            let tree = query.resolve_tree(Purpose::Model, Known { tables: &tables, functions, params })?;
            let selection = match *tree.resolved.query.body {
                SetExpr::Select(select) => select.selection,
                _ => None,
            };
            let sql = selection.ok_or_else(|| failed("this condition cannot be written out"))?.to_string();
            Ok(Condition { sql, params: tree.resolved.params.into_iter().collect() })
        })
    }
}

/// A query of the table whose condition is still to come. WHERE, and not the SELECT list: a condition there that is no
/// truth value, or that aggregates, is refused by the planner.
fn around(table: &TableName) -> Option<Box<Query>> {
    let (zone, name) = (quoted(table.zone()), quoted(table.table()));
    let text = format!("SELECT 1 AS \"one\" FROM {zone}.{name} AS \"{ROW_ALIAS}\" WHERE true");
    Parser::new(&JobDialect).try_with_sql(&text).and_then(|mut parser| parser.parse_query()).ok()
}

/// Refuses queries inside of a condition.
struct SubqueryFinder<'a> {
    source: &'a Source,
}

impl Visitor for SubqueryFinder<'_> {
    type Break = Diagnostic;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Diagnostic> {
        let span = Some(self.source.range_of(query)).filter(|range| !range.is_empty());
        let span = span.unwrap_or_else(|| self.source.range());
        let error = self.source.error("subquery", span, "a condition is about one row: it cannot hold a query");
        ControlFlow::Break(error.with_help("write a query that gives the failing rows to a file in audits/"))
    }
}
