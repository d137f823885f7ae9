//! Which tables a query names, without knowing any of them.
//!
//! Invariant: every table factor of the query, however deep, is either a CTE, a `zone.table`, no table at all (a subquery,
//! a function), or a diagnostic.

use std::ops::{ControlFlow, Range};

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Query, TableAlias, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};

use super::place::Source;
use crate::{Diagnostic, TableName, suggest::did_you_mean};

/// What one FROM names.
pub(super) enum Mention {
    /// A `zone.table`.
    Table(TableName, Range<usize>),
    /// Neither that nor a CTE.
    Invalid(String, Range<usize>),
}

/// All mentions in the order of the text.
pub(super) fn mentions(query: &Query, source: &Source) -> Vec<Mention> {
    let mut finder = Finder { source, ctes: Vec::new(), mentions: Vec::new() };
    let _: ControlFlow<()> = query.visit(&mut finder);
    finder.mentions
}

/// The name that a relation is written with, if it is one of a table: two parts of plain identifiers.
pub(super) fn table_name(name: &ObjectName) -> Option<TableName> {
    let [zone, table] = name.0.as_slice() else { return None };
    let (zone, table) = (zone.as_ident()?, table.as_ident()?);
    TableName::new(&zone.value.to_lowercase(), &table.value.to_lowercase())
}

/// The error for a relation that is neither a `zone.table` nor a CTE; `tables` are the names worth suggesting.
pub(super) fn invalid_table<'a>(
    source: &Source,
    name: &str,
    span: Range<usize>,
    tables: impl IntoIterator<Item = &'a TableName>,
) -> Diagnostic {
    let tables: Vec<String> = tables.into_iter().map(ToString::to_string).collect();
    let last = name.rsplit('.').next().unwrap_or(name);
    // `events` is most likely `staging.events`; of several zones the last in order is the nearest to the user's models.
    let same_table =
        tables.iter().filter(|table| table.split_once('.').is_some_and(|(_, table)| table.eq_ignore_ascii_case(last)));
    let same_table: Vec<&str> = same_table.map(String::as_str).collect();
    let help = match same_table.as_slice() {
        [] => did_you_mean(name, tables.iter().map(String::as_str)),
        found => Some(format!("did you mean `{}`?", found.join("` or `"))),
    };
    let message = format!("`{name}` is neither a table nor a name of a WITH");
    source
        .error("invalid_table", span, message)
        .with_help_if(help.or_else(|| Some("a table is named zone.table, by its folder and its file".to_owned())))
}

/// Puts `table` in the place of the relation `name`, wherever no WITH declares it.
pub(super) fn replace(query: &mut Query, name: &str, table: &TableName) {
    let _: ControlFlow<()> = query.visit(&mut Replacer { name, table, ctes: Vec::new() });
}

struct Replacer<'a> {
    name: &'a str,
    table: &'a TableName,
    /// Per open query, whether its WITH declares the name.
    ctes: Vec<bool>,
}

impl VisitorMut for Replacer<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let mut names = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| &cte.alias.name.value);
        self.ctes.push(names.any(|cte| cte.eq_ignore_ascii_case(self.name)));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.ctes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { return ControlFlow::Continue(()) };
        let [part] = name.0.as_slice() else { return ControlFlow::Continue(()) };
        let Some(ident) = part.as_ident().filter(|ident| ident.value.eq_ignore_ascii_case(self.name)) else {
            return ControlFlow::Continue(());
        };
        if self.ctes.iter().any(|declares| *declares) {
            return ControlFlow::Continue(());
        }
        let ident = ident.clone();
        let named = |text: &str| ObjectNamePart::Identifier(Ident::with_span(ident.span, text));
        *name = ObjectName(vec![named(self.table.zone()), named(self.table.table())]);
        // Columns may be qualified by the name that stood here.
        alias.get_or_insert_with(|| TableAlias { explicit: true, name: ident, columns: Vec::new(), at: None });
        ControlFlow::Continue(())
    }
}

struct Finder<'a> {
    source: &'a Source,
    /// Per open query, the names that its WITH declares.
    ctes: Vec<Vec<String>>,
    mentions: Vec<Mention>,
}

impl Visitor for Finder<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let names = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| cte.alias.name.value.to_lowercase());
        self.ctes.push(names.collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.ctes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, args: None, .. } = factor else { return ControlFlow::Continue(()) };
        let span = self.source.range_of(name);
        if let Some(table) = table_name(name) {
            self.mentions.push(Mention::Table(table, span));
        } else if !self.is_cte(name) {
            let name = name.0.iter().map(|part| part.as_ident().map_or_else(|| part.to_string(), |i| i.value.clone()));
            self.mentions.push(Mention::Invalid(name.collect::<Vec<_>>().join("."), span));
        }
        ControlFlow::Continue(())
    }
}

impl Finder<'_> {
    fn is_cte(&self, name: &ObjectName) -> bool {
        let [part] = name.0.as_slice() else { return false };
        let Some(ident) = part.as_ident() else { return false };
        let name = ident.value.to_lowercase();
        self.ctes.iter().flatten().any(|cte| *cte == name)
    }
}
