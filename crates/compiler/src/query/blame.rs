//! Where in the text the part of a plan stands that is to blame.
//!
//! Invariant: a place inside of the query, the whole of it if nothing is known better.

use std::ops::{ControlFlow, Range};

use datafusion::{
    logical_expr::Expr as PlanExpr,
    sql::sqlparser::ast::{Expr, GroupByExpr, Query, Select, SetExpr, Spanned, TableFactor, Value, Visit, Visitor},
};

use super::{affected::Blame, place::Source, plan::parser_span, tables};
use crate::TableName;

/// Finds the place.
pub(super) fn place(blame: &Blame, query: &Query, source: &Source) -> Range<usize> {
    let found = match blame {
        Blame::Exprs(exprs) => exprs.iter().find_map(|expr| of_columns(expr, source)),
        Blame::Query => None,
        other => {
            let mut finder = Finder { blame: other, source, found: None };
            let _: ControlFlow<()> = query.visit(&mut finder);
            finder.found
        }
    };
    found.unwrap_or_else(|| source.range())
}

/// From the first to the last column of an expression that knows where it stands.
fn of_columns(expr: &PlanExpr, source: &Source) -> Option<Range<usize>> {
    let columns = expr.column_refs();
    let spans = columns.iter().flat_map(|column| column.spans.0.iter());
    let mut ranges: Vec<Range<usize>> =
        spans.filter_map(|span| source.range_of_node(parser_span(*span))).filter(|range| !range.is_empty()).collect();
    ranges.sort_by_key(|range| range.start);
    ranges.into_iter().next()
}

struct Finder<'a> {
    blame: &'a Blame,
    source: &'a Source,
    /// The first place that fits.
    found: Option<Range<usize>>,
}

impl Finder<'_> {
    fn note(&mut self, node: &impl Spanned) {
        if self.found.is_none() {
            self.found = self.source.range_of_node(node.span());
        }
    }

    fn select(&mut self, select: &Select) {
        match self.blame {
            Blame::Group => {
                if let GroupByExpr::Expressions(exprs, _) = &select.group_by
                    && let Some(first) = exprs.first()
                {
                    self.note(first);
                }
            }
            Blame::Join => {
                if let Some(join) = select.from.iter().flat_map(|item| &item.joins).next() {
                    self.note(&join.relation);
                } else if let [_, second, ..] = select.from.as_slice() {
                    self.note(&second.relation);
                }
            }
            _ => {}
        }
    }

    fn table(&mut self, wanted: &TableName, factor: &TableFactor) {
        if let TableFactor::Table { name, .. } = factor
            && tables::table_name(name).as_ref() == Some(wanted)
        {
            // The last mention is the second place.
            self.found = self.source.range_of_node(factor.span()).or(self.found.take());
        }
    }
}

impl Visitor for Finder<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if matches!(self.blame, Blame::Limit) && (query.limit_clause.is_some() || query.fetch.is_some()) {
            self.note(query);
        }
        if let SetExpr::Select(select) = query.body.as_ref() {
            self.select(select);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let Blame::Table(wanted) = self.blame {
            self.table(wanted, factor);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match (self.blame, expr) {
            (Blame::Window(name), Expr::Function(function))
                if function.over.is_some() && function.name.to_string().eq_ignore_ascii_case(name) =>
            {
                self.note(expr);
            }
            (Blame::Param(name), Expr::Value(value)) => {
                let written = match &value.value {
                    Value::Placeholder(written) => written.trim_start_matches([':', '$']),
                    _ => return ControlFlow::Continue(()),
                };
                if written.eq_ignore_ascii_case(name.trim_start_matches('$')) {
                    self.note(expr);
                }
            }
            (Blame::Param(name), Expr::Function(function)) => {
                let called = function.name.to_string().to_lowercase();
                if name == "$execution_ts" && super::resolve::is_clock(&called) {
                    self.note(expr);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
