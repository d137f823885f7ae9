//! Queries, SELECTs, set operations and WITH.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, LimitClause, OrderBy, OrderByKind, Parens, Query, Select, SelectFlavor,
    SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned, With,
};

use super::{Cte, Output, Purpose, Resolver, View, multiset::counted, wildcard::is_column_named};
use crate::{
    query::scope::{Column, quoted},
    sql_type::same_name,
};

impl Resolver<'_> {
    /// Resolves a query and gives its output columns.
    pub(super) fn query(&mut self, query: &mut Query) -> Vec<Output> {
        self.check_clauses(query);
        let outer_ctes = self.ctes.len();
        if let Some(with) = &mut query.with {
            self.with(with);
        }
        let Query { body, order_by, limit_clause, .. } = query;
        let outputs = match body.as_mut() {
            SetExpr::Select(select) => self.in_block(|resolver| resolver.select(select, order_by.as_mut())),
            other => {
                let outputs = self.set_expr(other);
                if let Some(order_by) = order_by {
                    let (result, _) = self.in_scope(Default::default(), |resolver| {
                        resolver.output_order(order_by, View { outputs: &outputs, outputs_first: true });
                    });
                    result
                }
                outputs
            }
        };
        self.limit(limit_clause.as_mut());
        self.ctes.truncate(outer_ctes);
        outputs
    }

    fn check_clauses(&mut self, query: &Query) {
        let span = self.source.range_of(query);
        let clauses = [
            (query.fetch.is_some(), "FETCH (write LIMIT)"),
            (!query.locks.is_empty(), "FOR UPDATE"),
            (query.for_clause.is_some(), "FOR"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
            (!query.pipe_operators.is_empty(), "a pipe"),
        ];
        for (_, what) in clauses.into_iter().filter(|(present, _)| *present) {
            self.unsupported(span.clone(), what);
        }
    }

    /// A LIMIT sees parameters and literals, but no column.
    fn limit(&mut self, clause: Option<&mut LimitClause>) {
        let Some(clause) = clause else { return };
        let scopes = std::mem::take(&mut self.scopes);
        match clause {
            LimitClause::LimitOffset { limit, offset, limit_by } => {
                if let Some(expr) = limit_by.first() {
                    self.unsupported(self.source.range_of(expr), "LIMIT BY");
                }
                if let Some(expr) = limit {
                    self.expr(expr, View::SCOPE);
                }
                if let Some(offset) = offset {
                    self.expr(&mut offset.value, View::SCOPE);
                }
            }
            LimitClause::OffsetCommaLimit { offset, limit } => {
                self.expr(offset, View::SCOPE);
                self.expr(limit, View::SCOPE);
            }
        }
        self.scopes = scopes;
    }

    fn with(&mut self, with: &mut With) {
        let first = self.ctes.len();
        for cte in &mut with.cte_tables {
            let name = cte.alias.name.value.clone();
            let span = self.source.range_of_ident(&cte.alias.name);
            if self.ctes.iter().skip(first).any(|other| same_name(&other.name, &name)) {
                self.report(self.source.error(
                    "duplicate_cte",
                    span.clone(),
                    format!("this WITH has two queries `{name}`"),
                ));
            }
            if cte.from.is_some() {
                self.unsupported(span, "FROM of a WITH query");
            }
            // DataFusion keeps no promise about it, so it is no part of the meaning.
            cte.materialized = None;
            // A recursive query sees itself: with the declared names, or with those of its first part.
            let outer = self.ctes.len();
            if with.recursive {
                let columns = if cte.alias.columns.is_empty() {
                    self.first_part_columns(&cte.query)
                } else {
                    let names = cte.alias.columns.iter();
                    Some(names.map(|c| Column::new(c.name.value.clone(), None)).collect())
                };
                self.ctes.push(Cte { name: name.clone(), columns });
            }
            // A WITH query sees no columns of the queries around it.
            let scopes = std::mem::take(&mut self.scopes);
            let outputs = self.query(&mut cte.query);
            self.scopes = scopes;
            self.ctes.truncate(outer);
            let columns =
                outputs.into_iter().map(|output| Column::new(output.name.unwrap_or_default(), output.data_type));
            cte.alias.name.quote_style = Some('"');
            let columns = self.renamed(Some(columns.collect()), &mut cte.alias);
            self.ctes.push(Cte { name, columns });
        }
    }

    /// The columns of the part of a recursive query that does not name the query itself.
    fn first_part_columns(&mut self, query: &Query) -> Option<Vec<Column>> {
        let SetExpr::SetOperation { left, .. } = query.body.as_ref() else { return None };
        let mut left = left.clone();
        let (reported, reads, params) = (self.errors.len(), self.reads.clone(), self.params.clone());
        let scopes = std::mem::take(&mut self.scopes);
        let outputs = self.set_expr(&mut left);
        self.scopes = scopes;
        self.errors.truncate(reported);
        (self.reads, self.params) = (reads, params);
        Some(outputs.into_iter().map(|o| Column::new(o.name.unwrap_or_default(), o.data_type)).collect())
    }

    fn set_expr(&mut self, body: &mut SetExpr) -> Vec<Output> {
        let span = self.source.range_of(body);
        match body {
            SetExpr::Select(select) => self.in_block(|resolver| resolver.select(select, None)),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { .. } => self.set_operation(body, &span),
            SetExpr::Values(values) => self.values(&mut values.rows, &span),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                self.report(self.source.error("not_a_query", span, "tables are written by models only"));
                Vec::new()
            }
            SetExpr::Table(_) => {
                self.unsupported(span, "TABLE (write SELECT * FROM)");
                Vec::new()
            }
        }
    }

    fn set_operation(&mut self, body: &mut SetExpr, span: &Range<usize>) -> Vec<Output> {
        let SetExpr::SetOperation { left, op, right, set_quantifier } = body else { return Vec::new() };
        if matches!(set_quantifier, SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName) {
            self.unsupported(span.clone(), "BY NAME");
        }
        if *op == SetOperator::Minus {
            *op = SetOperator::Except;
        }
        let outputs = self.set_expr(left);
        let others = self.set_expr(right);
        if outputs.len() != others.len() && !outputs.is_empty() && !others.is_empty() {
            let message = format!("the two sides of this {op} have {} and {} columns", outputs.len(), others.len());
            self.report(self.source.error("set_columns", self.source.range_of(right.as_ref()), message));
        }
        if *set_quantifier == SetQuantifier::All && *op != SetOperator::Union && !outputs.is_empty() {
            let name = |(index, output): (usize, &Output)| output.name.clone().unwrap_or_else(|| format!("c{index}"));
            let names: Vec<String> = outputs.iter().enumerate().map(name).collect();
            match counted(left, *op, right, &names) {
                Some(counted) => *body = counted,
                None => self.unsupported(span.clone(), "ALL of this set operation"),
            }
        }
        // The columns are those of neither side any more.
        outputs
            .into_iter()
            .zip(others.into_iter().map(Some).chain(std::iter::repeat(None)))
            .map(|(output, other)| {
                let same_type = other.is_some_and(|other| other.data_type == output.data_type);
                Output { expr: None, data_type: output.data_type.filter(|_| same_type), ..output }
            })
            .collect()
    }

    fn values(&mut self, rows: &mut [Parens<Vec<Expr>>], span: &Range<usize>) -> Vec<Output> {
        let width = rows.first().map_or(0, |row| row.content.len());
        for row in rows {
            row.content.iter_mut().for_each(|expr| self.expr(expr, View::SCOPE));
        }
        // The planner's names.
        let output =
            |index| Output { name: Some(format!("column{index}")), expr: None, data_type: None, span: span.clone() };
        (1..=width).map(output).collect()
    }

    fn select(&mut self, select: &mut Select, order_by: Option<&mut OrderBy>) -> Vec<Output> {
        self.check_select(select);
        self.write_windows_out(select);
        let scope = self.from(&mut select.from);
        let (outputs, _) = self.in_scope(scope, |resolver| {
            let outer_aliases = std::mem::replace(&mut resolver.aliases, aliases_of(&select.projection));
            if let Some(expr) = &mut select.selection {
                resolver.expr(expr, View::SCOPE);
            }
            let outputs = resolver.projection(&mut select.projection);
            resolver.aliases = outer_aliases;
            // A column wins over an output of its name everywhere but in ORDER BY and DISTINCT ON.
            let columns_first = View { outputs: &outputs, outputs_first: false };
            let outputs_first = View { outputs: &outputs, outputs_first: true };
            match &mut select.group_by {
                GroupByExpr::Expressions(exprs, modifiers) => {
                    if !modifiers.is_empty() {
                        resolver.unsupported(resolver.source.range(), "a modifier of GROUP BY");
                    }
                    exprs.iter_mut().for_each(|expr| resolver.expr(expr, columns_first));
                }
                GroupByExpr::All(modifiers) => {
                    if !modifiers.is_empty() {
                        resolver.unsupported(resolver.source.range(), "a modifier of GROUP BY");
                    }
                }
            }
            if let Some(expr) = &mut select.having {
                resolver.expr(expr, columns_first);
            }
            if let Some(expr) = &mut select.qualify {
                resolver.expr(expr, columns_first);
            }
            if let Some(Distinct::On(exprs)) = &mut select.distinct {
                exprs.iter_mut().for_each(|expr| resolver.expr(expr, outputs_first));
            }
            if let Some(order_by) = order_by {
                resolver.output_order(order_by, outputs_first);
            }
            outputs
        });
        outputs
    }

    fn output_order(&mut self, order_by: &mut OrderBy, view: View<'_>) {
        if order_by.interpolate.is_some() {
            self.unsupported(self.source.range(), "INTERPOLATE");
        }
        match &mut order_by.kind {
            OrderByKind::Expressions(keys) => self.order_by(keys, view),
            OrderByKind::All(_) => self.unsupported(self.source.range(), "ORDER BY ALL"),
        }
    }

    fn check_select(&mut self, select: &Select) {
        let span = self.source.range_of_span(select.select_token.0.span).unwrap_or_else(|| self.source.range());
        let clauses = [
            (select.top.is_some(), "TOP (write LIMIT)"),
            (select.into.is_some(), "INTO (the name of a table is that of its file)"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW (write unnest)"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.value_table_mode.is_some(), "SELECT AS"),
            (select.exclude.is_some(), "EXCLUDE after the list"),
            (select.select_modifiers.is_some(), "this modifier of SELECT"),
            (select.flavor != SelectFlavor::Standard, "FROM before SELECT"),
        ];
        for (_, what) in clauses.into_iter().filter(|(present, _)| *present) {
            self.unsupported(span.clone(), what);
        }
    }

    fn projection(&mut self, items: &mut Vec<SelectItem>) -> Vec<Output> {
        let mut resolved = Vec::new();
        let mut outputs = Vec::new();
        for mut item in std::mem::take(items) {
            let span = self.item_range(&item);
            let written_out = match &mut item {
                SelectItem::Wildcard(options) => self.wildcard(None, options),
                SelectItem::QualifiedWildcard(of, options) => self.wildcard(Some(&*of), options),
                SelectItem::ExprWithAliases { .. } => {
                    self.unsupported(span.clone(), "several aliases of one expression");
                    None
                }
                SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => {
                    let (item, output) = self.item(item, span);
                    resolved.push(item);
                    outputs.push(output);
                    continue;
                }
            };
            match written_out {
                Some(columns) => {
                    for (item, output) in columns {
                        resolved.push(item);
                        outputs.push(output);
                    }
                }
                None => resolved.push(item),
            }
        }
        *items = resolved;
        outputs
    }

    fn item_range(&self, item: &SelectItem) -> Range<usize> {
        match item {
            SelectItem::Wildcard(options) => {
                self.source.range_of_span(options.wildcard_token.0.span).unwrap_or_else(|| self.source.range())
            }
            other => self.source.range_of(other),
        }
    }

    fn item(&mut self, item: SelectItem, span: Range<usize>) -> (SelectItem, Output) {
        let (mut expr, alias) = match item {
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
            SelectItem::UnnamedExpr(expr) => (expr, None),
            other => return (other, Output { name: None, expr: None, data_type: None, span }),
        };
        let at = Ident::with_span(expr.span(), "");
        let written = expr.to_string();
        // A column or a field is named by itself, as declared.
        let mut own_name = None;
        let mut data_type = None;
        match &expr {
            Expr::Identifier(ident) => {
                if let Some(named) = self.column(std::slice::from_ref(ident), View::SCOPE) {
                    (expr, own_name, data_type) = (named.expr, Some(named.name), named.data_type);
                } else {
                    own_name = Some(ident.value.clone());
                }
            }
            Expr::CompoundIdentifier(parts) => {
                if let Some(named) = self.column(parts, View::SCOPE) {
                    (expr, own_name, data_type) = (named.expr, Some(named.name), named.data_type);
                } else {
                    own_name = parts.last().map(|part| part.value.clone());
                }
            }
            _ => self.expr(&mut expr, View::SCOPE),
        }
        if let Some(alias) = alias {
            let name = alias.value.clone();
            let output =
                Output { name: Some(name.clone()), expr: None, data_type, span: self.source.range_of_ident(&alias) };
            return (SelectItem::ExprWithAlias { expr, alias: quoted(&name, &alias) }, output);
        }
        let own_name = own_name.or_else(|| self.derived_name(&expr, written));
        match own_name {
            Some(name) if is_column_named(&expr, &name) => {
                let output = Output { name: Some(name), expr: Some(expr.clone()), data_type, span };
                (SelectItem::UnnamedExpr(expr), output)
            }
            Some(name) => {
                let output = Output { name: Some(name.clone()), expr: None, data_type, span };
                (SelectItem::ExprWithAlias { expr, alias: quoted(&name, &at) }, output)
            }
            None => (SelectItem::UnnamedExpr(expr), Output { name: None, expr: None, data_type, span }),
        }
    }

    /// The name of an expression that has none: a column is one that is read as a call (`user`), and to a person an
    /// expression is shown as it is written.
    fn derived_name(&self, expr: &Expr, written: String) -> Option<String> {
        if let Expr::Identifier(ident) = expr {
            return Some(ident.value.clone());
        }
        if let Expr::CompoundIdentifier(parts) = expr {
            return parts.last().map(|part| part.value.clone());
        }
        (self.purpose == Purpose::AdHoc && self.scopes.len() == 1).then_some(written)
    }

    /// The output of a model becomes a table: its columns need names, each another one, that a table can have.
    pub(super) fn check_outputs(&mut self, outputs: &[Output]) {
        const FORBIDDEN: [char; 10] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];
        for (index, output) in outputs.iter().enumerate() {
            let span = output.span.clone();
            let Some(name) = &output.name else {
                let help = format!("give it a name: `AS {}`", suggested_alias(self.source.slice(&span)));
                let error = self.source.error("alias_needed", span, "this column of the table needs a name");
                self.report(error.with_help(help));
                continue;
            };
            if name.is_empty() || name.contains(FORBIDDEN) {
                let fixed = name.replace(FORBIDDEN, "_");
                let message = format!("a column of a table cannot be named `{}`", name.escape_debug());
                let help = if name.is_empty() {
                    "give it a name".to_owned()
                } else {
                    format!("rename it, for example to `{fixed}`")
                };
                self.report(self.source.error("column_name", span.clone(), message).with_help(help));
            }
            let same = outputs
                .iter()
                .take(index)
                .filter_map(|other| other.name.as_deref())
                .find(|other| same_name(other, name));
            if let Some(other) = same {
                let message = if other == name {
                    format!("two columns of the table are named `{name}`")
                } else {
                    format!("two columns of the table, `{other}` and `{name}`, differ only in case")
                };
                let help = "rename or leave out one of them";
                self.report(self.source.error("duplicate_column", span, message).with_help(help));
            }
        }
    }
}

fn aliases_of(items: &[SelectItem]) -> Vec<String> {
    let alias = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    };
    items.iter().filter_map(alias).collect()
}

/// A name for an expression: its words, `count(DISTINCT user_id)` gives `count_distinct_user_id`.
fn suggested_alias(written: &str) -> String {
    const WORDS_MAX: usize = 4;
    let words = written.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    let alias = words.take(WORDS_MAX).collect::<Vec<_>>().join("_").to_lowercase();
    if alias.starts_with(|c: char| c.is_alphabetic() || c == '_') { alias } else { "name".to_owned() }
}
