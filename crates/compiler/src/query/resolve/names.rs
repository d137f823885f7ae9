//! Columns: from what is written to what is declared.

use datafusion::{
    arrow::datatypes::DataType,
    sql::sqlparser::ast::{Expr, Ident, Value},
};

use super::{Output, Resolver, View};
use crate::{
    metadata::{hidden_column, metadata_fields},
    query::scope::{Column, Found, Hit, Relation, quoted},
    sql_type::same_name,
    suggest::{closest, did_you_mean},
};

/// A resolved column or field.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) expr: Expr,
    pub(super) name: String,
    pub(super) data_type: Option<DataType>,
}

/// What one scope makes of a name.
#[expect(clippy::large_enum_variant, reason = "one lives at a time, on the stack")]
enum Outcome {
    Named(Named),
    /// Reported already.
    Reported,
    Unknown,
}

impl Resolver<'_> {
    /// Resolves `parts`, a name with its qualifiers and its fields; reports and gives `None` if that fails.
    pub(super) fn column(&mut self, parts: &[Ident], view: View<'_>) -> Option<Named> {
        if view.outputs_first
            && let Some(named) = output_named(parts, view.outputs)
        {
            return Some(named);
        }
        for depth in (0..self.scopes.len()).rev() {
            match self.column_of(depth, parts) {
                Outcome::Named(named) => return Some(named),
                Outcome::Reported => return None,
                Outcome::Unknown => {}
            }
        }
        if let Some(named) = output_named(parts, view.outputs) {
            return Some(named);
        }
        let open = parts
            .first()
            .filter(|_| parts.len() == 1)
            .and_then(|name| self.scopes.iter().rev().find_map(|scope| scope.find_open(name)));
        if let Some(hit) = open {
            return Some(named_hit(hit));
        }
        self.report_unknown(parts, view);
        None
    }

    fn column_of(&mut self, depth: usize, parts: &[Ident]) -> Outcome {
        let Some(scope) = self.scopes.get(depth) else { return Outcome::Unknown };
        // The longest qualifier first: `a.b.c` is column c of table b in zone a before it is a field of column a.
        let mut missing_in = None;
        for split in (0..parts.len().min(3)).rev() {
            let (qualifier, rest) = parts.split_at(split);
            let Some((name, fields)) = rest.split_first() else { continue };
            let found =
                if qualifier.is_empty() { Some(scope.find(name)) } else { scope.find_qualified(qualifier, name) };
            match found {
                Some(Found::One(hit)) if hit.column.is_hidden => return self.metadata(hit, fields),
                Some(Found::One(hit)) => return self.fields(named_hit(hit), fields),
                Some(Found::Many(hits)) => {
                    self.report_ambiguous(parts, &hits);
                    return Outcome::Reported;
                }
                Some(Found::None) if !qualifier.is_empty() => missing_in = missing_in.or(Some((split, name.clone()))),
                Some(Found::None) | None => {}
            }
        }
        let Some((split, name)) = missing_in else { return Outcome::Unknown };
        let table = parts.iter().take(split).map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
        let qualifier = parts.get(..split).unwrap_or_default();
        let relations = scope.relations.iter().filter(|relation| relation.is_named(qualifier));
        let columns: Vec<String> = relations
            .flat_map(|relation| relation.columns.iter().flatten())
            .map(|column| column.name.clone())
            .collect();
        let span = self.source.range_of_ident(&name);
        let help = did_you_mean(&name.value, columns.iter().map(String::as_str));
        let message = format!("`{table}` has no column `{}`", name.value);
        self.report(self.source.error("unknown_column", span, message).with_help_if(help));
        Outcome::Reported
    }

    /// Goes to a field of a source's metadata, which is a hidden column of its own; all of them are a struct.
    fn metadata(&mut self, hit: Hit, fields: &[Ident]) -> Outcome {
        let at = last_ident(&hit.expr);
        let base = hit.expr.clone();
        let column = |field: &str| renamed_column(&base, &hidden_column(field));
        let Some((first, rest)) = fields.split_first() else {
            let all = metadata_fields();
            let arguments = all.iter().flat_map(|field| {
                let name = Value::SingleQuotedString(field.name().clone()).with_span(at.span);
                [Expr::value(name), column(field.name())]
            });
            let expr = super::function::call("named_struct", at.span, arguments.collect());
            return Outcome::Named(Named { expr, ..named_hit(hit) });
        };
        match self.field(named_hit(hit), first) {
            Some(field) => self.fields(Named { expr: column(&field.name), ..field }, rest),
            None => Outcome::Reported,
        }
    }

    /// Goes from a column to a field of it, of it …
    fn fields(&mut self, column: Named, fields: &[Ident]) -> Outcome {
        let mut named = column;
        for field in fields {
            match self.field(named, field) {
                Some(inner) => named = inner,
                None => return Outcome::Reported,
            }
        }
        Outcome::Named(named)
    }

    /// Goes from a struct to its field.
    pub(super) fn field(&mut self, parent: Named, field: &Ident) -> Option<Named> {
        let (name, data_type) = match &parent.data_type {
            None => (field.value.clone(), None),
            Some(DataType::Struct(fields)) => {
                let exact = fields.iter().find(|candidate| candidate.name() == &field.value);
                let found = exact.or_else(|| fields.iter().find(|other| same_name(other.name(), &field.value)));
                let Some(found) = found else {
                    let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
                    let help = did_you_mean(&field.value, names.iter().map(String::as_str));
                    let message = format!("`{}` has no field `{}`", parent.name, field.value);
                    let span = self.source.range_of_ident(field);
                    self.report(self.source.error("unknown_field", span, message).with_help_if(help));
                    return None;
                };
                (found.name().clone(), Some(found.data_type().clone()))
            }
            Some(other) => {
                let message = format!("`{}` is of type {other} and has no fields", parent.name);
                self.report(self.source.error("unknown_field", self.source.range_of_ident(field), message));
                return None;
            }
        };
        let key = Expr::value(Value::SingleQuotedString(name.clone()).with_span(field.span));
        let expr = super::function::call("get_field", field.span, vec![parent.expr, key]);
        Some(Named { expr, name, data_type })
    }

    fn report_ambiguous(&mut self, parts: &[Ident], hits: &[Hit]) {
        let written = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
        let names: Vec<String> = hits.iter().map(|hit| plain(&hit.expr)).collect();
        let span = self.source.range_of(&Expr::CompoundIdentifier(parts.to_vec()));
        let message = format!("`{written}` is ambiguous");
        let help = format!("name one of `{}`", names.join("`, `"));
        self.report(self.source.error("ambiguous_column", span, message).with_label("could be either").with_help(help));
    }

    fn report_unknown(&mut self, parts: &[Ident], view: View<'_>) {
        let Some(last) = parts.last() else { return };
        let written = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
        let span = self.source.range_of(&Expr::CompoundIdentifier(parts.to_vec()));
        let diagnostic = match parts {
            [name] => {
                let diagnostic =
                    self.source.error("unknown_column", span, format!("there is no column `{written}` here"));
                diagnostic.with_help_if(self.suggest_column(&name.value, view))
            }
            [qualifier, ..] => {
                let span = self.source.range_of_ident(qualifier);
                let message = format!("there is no table `{}` in this FROM", qualifier.value);
                let help = self.suggest_qualified(&qualifier.value, &last.value);
                self.source.error("unknown_table_alias", span, message).with_help_if(help)
            }
            [] => return,
        };
        self.report(diagnostic);
    }

    /// Another table for a column whose qualifier is unknown: one that has the column, else one of a similar name.
    fn suggest_qualified(&self, qualifier: &str, column: &str) -> Option<String> {
        let relations: Vec<_> = self.scopes.iter().rev().flat_map(|scope| &scope.relations).collect();
        let name = |relation: &&Relation| relation.qualifier.last().cloned();
        let has_column =
            |relation: &&&Relation| relation.columns.iter().flatten().any(|own| same_name(&own.name, column));
        let with_column: Vec<String> = relations.iter().filter(has_column).filter_map(name).collect();
        let all: Vec<String> = relations.iter().filter_map(name).collect();
        let near = |names: &[String]| closest(qualifier, names.iter().map(String::as_str)).map(str::to_owned);
        let found = near(&with_column).or_else(|| with_column.first().cloned()).or_else(|| near(&all));
        match found {
            Some(table) => Some(format!("did you mean `{table}.{column}`?")),
            None => did_you_mean(qualifier, all.iter().map(String::as_str)),
        }
    }

    /// The name nearest to one that is unknown: of this SELECT first, then of those around it.
    fn suggest_column(&self, name: &str, view: View<'_>) -> Option<String> {
        let outputs = view.outputs.iter().filter_map(|output| output.name.as_deref());
        let innermost = self.scopes.last().into_iter().flat_map(|scope| scope.names());
        let here: Vec<&str> = innermost.chain(outputs).collect();
        if self.aliases.iter().any(|alias| same_name(alias, name)) {
            return Some(
                "the expressions of a SELECT do not see each other: repeat it, or name it in a subquery".to_owned(),
            );
        }
        let around = self.scopes.iter().rev().skip(1).flat_map(|scope| scope.names());
        match closest(name, here.iter().copied()).or_else(|| closest(name, around)) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None => did_you_mean(name, here),
        }
    }
}

fn output_named(parts: &[Ident], outputs: &[Output]) -> Option<Named> {
    let [name] = parts else { return None };
    let named = |exact: bool| {
        outputs.iter().find(|output| {
            output
                .name
                .as_deref()
                .is_some_and(|own| if exact { own == name.value } else { same_name(own, &name.value) })
        })
    };
    let output = named(true).or_else(|| named(false))?;
    let own = output.name.clone()?;
    let expr = output.expr.clone().unwrap_or_else(|| Expr::Identifier(quoted(&own, name)));
    Some(Named { expr, name: own, data_type: output.data_type.clone() })
}

fn named_hit(hit: Hit) -> Named {
    let Column { name, data_type, .. } = hit.column;
    Named { expr: hit.expr, name, data_type }
}

/// The last part of a column's name.
fn last_ident(expr: &Expr) -> Ident {
    match expr {
        Expr::Identifier(ident) => ident.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().cloned().unwrap_or_else(|| Ident::new("")),
        _ => Ident::new(""),
    }
}

/// A column of the same table.
fn renamed_column(expr: &Expr, name: &str) -> Expr {
    let renamed = quoted(name, &last_ident(expr));
    match expr {
        Expr::CompoundIdentifier(parts) => {
            let mut parts = parts.clone();
            parts.pop();
            parts.push(renamed);
            Expr::CompoundIdentifier(parts)
        }
        _ => Expr::Identifier(renamed),
    }
}

/// A column as a person would write it.
fn plain(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join("."),
        other => other.to_string(),
    }
}
