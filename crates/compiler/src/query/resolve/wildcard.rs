//! `*` and `t.*`, written out.

use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, ObjectName, RenameSelectItem, SelectItem, SelectItemQualifiedWildcardKind,
    WildcardAdditionalOptions,
};

use super::{Output, Resolver, View};
use crate::{
    metadata::{hidden_column, metadata_fields},
    query::scope::{Hit, Scope, quoted},
    sql_type::same_name,
    suggest::did_you_mean,
};

/// A column on its way through `EXCLUDE`, `REPLACE` and `RENAME`.
struct Expanded {
    hit: Hit,
    /// An expression in its place.
    replaced: Option<Expr>,
    /// Another name.
    renamed: Option<String>,
}

impl Resolver<'_> {
    /// Writes `*` or `t.*` out; `None` if the columns are not known, and the planner must do it.
    pub(super) fn wildcard(
        &mut self,
        of: Option<&SelectItemQualifiedWildcardKind>,
        options: &mut WildcardAdditionalOptions,
    ) -> Option<Vec<(SelectItem, Output)>> {
        let at = Ident::with_span(options.wildcard_token.0.span, "*");
        let span = self.source.range_of_ident(&at);
        let hits = match of {
            None => match self.scopes.last()?.all(&at) {
                Some(hits) => hits,
                None => {
                    self.leave_out_hidden(options, &at);
                    return None;
                }
            },
            Some(SelectItemQualifiedWildcardKind::ObjectName(name)) => self.columns_of(name, &at)?,
            Some(SelectItemQualifiedWildcardKind::Expr(expr)) => {
                self.unsupported(self.source.range_of(expr), "* of an expression");
                return None;
            }
        };
        if hits.is_empty() {
            self.report(self.source.error("no_columns", span.clone(), "SELECT * needs a FROM"));
        }
        if hits.iter().any(|hit| hit.column.name.is_empty()) {
            let message = "a subquery that * stands for has a column without a name";
            self.report(self.source.error("alias_needed", span.clone(), message).with_help("give it a name with AS"));
        }
        let mut columns: Vec<Expanded> =
            hits.into_iter().map(|hit| Expanded { hit, replaced: None, renamed: None }).collect();
        self.apply_options(&mut columns, options);
        Some(columns.into_iter().map(|column| item(column, &at, &span)).collect())
    }

    /// Leaves hidden columns out of a `*` that the planner writes out.
    fn leave_out_hidden(&self, options: &mut WildcardAdditionalOptions, at: &Ident) {
        if self.scopes.last().is_some_and(Scope::has_hidden) && options.opt_exclude.is_none() {
            let hidden = metadata_fields();
            let names = hidden.iter().map(|field| ObjectName::from(vec![quoted(&hidden_column(field.name()), at)]));
            options.opt_exclude = Some(ExcludeSelectItem::Multiple(names.collect()));
        }
    }

    fn columns_of(&mut self, name: &ObjectName, at: &Ident) -> Option<Vec<Hit>> {
        let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
        let scope = self.scopes.last()?;
        let index = scope.relations.iter().position(|relation| relation.is_named(&parts));
        let Some(index) = index else {
            let names: Vec<&str> =
                scope.relations.iter().filter_map(|relation| relation.qualifier.last()).map(String::as_str).collect();
            let written = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
            let help = did_you_mean(&written, names.iter().copied());
            let span = self.source.range_of(name);
            let error =
                self.source.error("unknown_table_alias", span, format!("there is no table `{written}` in this FROM"));
            self.report(error.with_help_if(help));
            return None;
        };
        scope.all_of(index, at)
    }

    fn apply_options(&mut self, columns: &mut Vec<Expanded>, options: &mut WildcardAdditionalOptions) {
        let span = self.source.range_of_span(options.wildcard_token.0.span).unwrap_or_else(|| self.source.range());
        if options.opt_ilike.is_some() || options.opt_alias.is_some() {
            self.unsupported(span, "this option of *");
        }
        for name in excluded(options) {
            if let Some(index) = self.option_column(columns, &name) {
                columns.remove(index);
            }
        }
        for element in options.opt_replace.iter_mut().flat_map(|replace| &mut replace.items) {
            self.expr(&mut element.expr, View::SCOPE);
            if let Some(index) = self.option_column(columns, &element.column_name)
                && let Some(column) = columns.get_mut(index)
            {
                column.replaced = Some(element.expr.clone());
            }
        }
        let renames = match &options.opt_rename {
            Some(RenameSelectItem::Single(rename)) => vec![rename.clone()],
            Some(RenameSelectItem::Multiple(renames)) => renames.clone(),
            None => Vec::new(),
        };
        for rename in renames {
            if let Some(index) = self.option_column(columns, &rename.ident)
                && let Some(column) = columns.get_mut(index)
            {
                column.renamed = Some(rename.alias.value.clone());
            }
        }
    }

    /// Finds the column that an option names.
    fn option_column(&mut self, columns: &[Expanded], name: &Ident) -> Option<usize> {
        let exact = columns.iter().position(|column| column.hit.column.name == name.value);
        let found = exact.or_else(|| columns.iter().position(|column| same_name(&column.hit.column.name, &name.value)));
        if found.is_none() {
            let names = columns.iter().map(|column| column.hit.column.name.as_str());
            let help = did_you_mean(&name.value, names);
            let span = self.source.range_of_ident(name);
            let error = self.source.error("unknown_column", span, format!("`*` has no column `{}`", name.value));
            self.report(error.with_help_if(help));
        }
        found
    }
}

fn excluded(options: &WildcardAdditionalOptions) -> Vec<Ident> {
    let mut names = Vec::new();
    let objects = match &options.opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => std::slice::from_ref(name),
        Some(ExcludeSelectItem::Multiple(all)) => all.as_slice(),
        None => &[],
    };
    names.extend(objects.iter().filter_map(|name| name.0.last().and_then(|part| part.as_ident()).cloned()));
    if let Some(except) = &options.opt_except {
        names.push(except.first_element.clone());
        names.extend(except.additional_elements.iter().cloned());
    }
    names
}

fn item(column: Expanded, at: &Ident, span: &std::ops::Range<usize>) -> (SelectItem, Output) {
    let Expanded { hit, replaced, renamed } = column;
    let name = renamed.clone().unwrap_or_else(|| hit.column.name.clone());
    let is_plain = replaced.is_none() && renamed.is_none() && is_column(&hit.expr);
    let data_type = if replaced.is_none() { hit.column.data_type } else { None };
    let expr = replaced.unwrap_or(hit.expr);
    let output =
        Output { name: Some(name.clone()), expr: is_plain.then(|| expr.clone()), data_type, span: span.clone() };
    let item = if is_plain {
        SelectItem::UnnamedExpr(expr)
    } else {
        SelectItem::ExprWithAlias { expr, alias: quoted(&name, at) }
    };
    (item, output)
}

/// Whether an expression is a column of this name and nothing else.
pub(super) fn is_column_named(expr: &Expr, name: &str) -> bool {
    match expr {
        Expr::Identifier(ident) => ident.value == name,
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|last| last.value == name),
        _ => false,
    }
}

/// Whether an expression is a column and nothing else.
fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}
