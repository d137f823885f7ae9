//! Makes the [`Checks`] of a model: names of the header become columns and tables, conditions become canonical SQL.
//!
//! Data flow: the header of a model and the schemas of all tables -> **[`build_checks`]** -> [`Checks`].
//!
//! It comes after all models: a check may name a table that the model does not read, or that reads the model.
//!
//! Invariant: a check takes effect as it is written, or there is a finding at its place.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::{
    arrow::datatypes::{DataType, Schema, SchemaRef},
    execution::FunctionRegistry,
};

use crate::{
    Checks, Demand, Diagnostic, ParamType, ROW_ALIAS, RowCheck, TableCheck, TableName, Violation,
    header::{Audit, AuditUse, Expectation, Header, KindName},
    layout::Layout,
    own_audit::own_audit,
    query::ParsedCondition,
    sql_type::{quoted, same_name, type_text},
    suggest::did_you_mean,
    text::FileText,
    tokens::Ident,
};

/// Everything that checks are looked up in.
#[derive(Clone, Copy)]
pub(crate) struct CheckScope<'s> {
    pub(crate) layout: &'s Layout<'s>,
    /// Of all tables without errors.
    pub(crate) schemas: &'s BTreeMap<TableName, SchemaRef>,
    pub(crate) functions: &'s dyn FunctionRegistry,
    pub(crate) params: &'s BTreeMap<String, ParamType>,
}

/// The model whose checks are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked<'m> {
    pub(crate) file: FileText<'m>,
    pub(crate) name: &'m TableName,
    pub(crate) schema: &'m SchemaRef,
    pub(crate) header: &'m Header,
}

/// Makes the checks of a model that has no other error.
pub(crate) fn build_checks(model: Checked<'_>, scope: CheckScope<'_>) -> (Checks, Vec<Diagnostic>) {
    let mut builder = Builder { model, scope, checks: Checks::default(), names: BTreeSet::new(), findings: Vec::new() };
    builder.grain();
    builder.contract();
    for expectation in &model.header.expect {
        builder.expectation(expectation);
    }
    for audit in &model.header.audits {
        builder.audit(audit);
    }
    builder.quarantine();
    (builder.checks, builder.findings)
}

struct Builder<'m> {
    model: Checked<'m>,
    scope: CheckScope<'m>,
    checks: Checks,
    names: BTreeSet<String>,
    findings: Vec<Diagnostic>,
}

impl Builder<'_> {
    fn grain(&mut self) {
        let Some(first) = self.model.header.grain.first() else { return };
        let line = self.line(first.span.start);
        let Some(columns) = self.columns("grain", &self.model.header.grain) else { return };
        let known = columns.iter().map(|column| not_null(column)).collect::<Vec<_>>().join(" AND ");
        let list = columns.join(", ");
        self.row("grain_not_null", format!("{list} is not NULL"), Violation::Fail, known, line);
        self.table("grain", format!("{list} is unique"), true, unique(columns), line);
    }

    fn contract(&mut self) {
        let declared = self.model.header.columns.iter().flat_map(|contract| &contract.columns);
        for column in declared.filter(|column| column.not_null) {
            let line = self.line(column.name.span.start);
            let Some(names) = self.columns("columns", std::slice::from_ref(&column.name)) else { continue };
            for name in names {
                self.not_null_check(&name, Violation::Fail, line);
            }
        }
    }

    fn not_null_check(&mut self, column: &str, on_violation: Violation, line: usize) {
        let name = format!("not_null_{column}");
        self.row(&name, format!("{column} is not NULL"), on_violation, not_null(column), line);
    }

    fn expectation(&mut self, expectation: &Expectation) {
        let Expectation { name, condition, on_violation } = expectation;
        if self.model.header.kind == KindName::View && on_violation.takes_out() {
            let message = format!("a VIEW stores nothing: {} has nothing to take out", on_violation.keyword());
            let error = self.model.file.error("view_storage", name.span.clone(), message);
            self.findings.push(error.with_help("filter in the query, or use WARN or FAIL"));
            return;
        }
        let line = self.line(name.span.start);
        if let Some((sql, params)) = self.condition(condition) {
            let check = self.row(&name.name, condition.text(), *on_violation, sql, line);
            check.params = params;
        }
    }

    fn audit(&mut self, audit: &AuditUse) {
        let AuditUse { name, audit, blocking } = audit;
        let line = self.line(name.span.start);
        let on_violation = if *blocking { Violation::Fail } else { Violation::Warn };
        match audit {
            Audit::UniqueValues(columns) => {
                for column in self.columns(&name.name, columns).unwrap_or_default() {
                    let (check, rule) = (format!("unique_values_{column}"), format!("{column} is unique"));
                    self.table(&check, rule, *blocking, unique(vec![column]), line);
                }
            }
            Audit::NotNull(columns) => {
                for column in self.columns(&name.name, columns).unwrap_or_default() {
                    self.not_null_check(&column, on_violation, line);
                }
            }
            Audit::AcceptedValues { column, values } => {
                let file = self.model.file;
                let list = crate::query::parse_condition(file.path, file.text, values.clone());
                match list {
                    Ok(list) => self.accepted_values(column, list, on_violation, line),
                    Err(failed) => self.findings.extend(failed.0),
                }
            }
            Audit::Relationships { column, to, to_span, field } => {
                let demand = self.relationship(&name.name, column, (to, to_span.clone()), field);
                if let Some((own, their)) = demand {
                    let (check, rule) = (format!("relationships_{own}"), format!("{own} is in {to}.{their}"));
                    let demand = Demand::Relationship { column: own, to: to.clone(), field: their };
                    self.table(&check, rule, *blocking, demand, line);
                }
            }
            Audit::NumberOfRows(threshold) => {
                let rule = format!("more than {threshold} rows");
                self.table("number_of_rows", rule, *blocking, Demand::MoreRowsThan(*threshold), line);
            }
            Audit::Forall(conditions) => {
                for condition in conditions {
                    self.forall(condition, on_violation, line);
                }
            }
            Audit::Own(arguments) => match own_audit(self.model, self.scope, name, arguments) {
                Ok(Some(demand)) => {
                    let rule = format!("audits/{}.sql gives no row", name.name.to_lowercase());
                    self.table(&name.name, rule, *blocking, demand, line);
                }
                Ok(None) => {}
                Err(findings) => self.findings.extend(findings),
            },
        }
    }

    /// A value that is not known passes, as in SQLMesh.
    fn accepted_values(&mut self, column: &Ident, list: ParsedCondition, on_violation: Violation, line: usize) {
        let Some(names) = self.columns("accepted_values", std::slice::from_ref(column)) else { return };
        let Some(name) = names.into_iter().next() else { return };
        let rule = format!("{name} is one of {}", list.text());
        if let Some((sql, params)) = self.condition(&list.accepts(&name)) {
            let check = format!("accepted_values_{name}");
            self.row(&check, rule, on_violation, format!("({sql}) IS NOT FALSE"), line).params = params;
        }
    }

    /// A condition that is not known passes, as in SQLMesh.
    fn forall(&mut self, condition: &ParsedCondition, on_violation: Violation, line: usize) {
        if let Some((sql, params)) = self.condition(condition) {
            let check = self.row("forall", condition.text(), on_violation, format!("({sql}) IS NOT FALSE"), line);
            check.params = params;
        }
    }

    /// The columns of a relationship, spelt as in their schemas.
    fn relationship(
        &mut self,
        audit: &str,
        column: &Ident,
        (to, to_span): (&TableName, std::ops::Range<usize>),
        field: &Ident,
    ) -> Option<(String, String)> {
        let own = self.columns(audit, std::slice::from_ref(column))?.into_iter().next()?;
        let file = self.model.file;
        let layout = self.scope.layout;
        if layout.sources.contains_key(to) {
            let error = file.error("unknown_table", to_span, format!("`{to}` is a source: a check reads tables"));
            self.findings.push(error.with_help("name the table of a model that reads it"));
            return None;
        }
        if !layout.models.contains_key(to) {
            let known: Vec<String> = layout.models.keys().map(ToString::to_string).collect();
            let error = file.error("unknown_table", to_span, format!("there is no table `{to}`"));
            self.findings.push(error.with_help_if(did_you_mean(&to.to_string(), known.iter().map(String::as_str))));
            return None;
        }
        // A table with errors has its findings elsewhere.
        let schema = self.scope.schemas.get(to)?;
        let Some(found) = find(schema, field) else {
            let message = format!("{audit} names `{}`, which is no column of `{to}`", field.name);
            self.findings.push(unknown_column(file, field, message, schema));
            return None;
        };
        let own_type = self.model.schema.field_with_name(&own).ok()?.data_type();
        let (own_text, their_text) = (type_text(own_type), type_text(found.data_type()));
        if own_text != their_text && !(own_type.is_integer() && found.data_type().is_integer()) {
            let message = format!("`{own}` is {own_text}, and `{to}.{}` is {their_text}", found.name());
            self.findings.push(file.error("check_type", field.span.clone(), message));
            return None;
        }
        Some((own, found.name().clone()))
    }

    fn condition(&mut self, condition: &ParsedCondition) -> Option<(String, Vec<String>)> {
        let Checked { name, schema, .. } = self.model;
        match condition.resolve((name, schema), self.scope.functions, self.scope.params) {
            Ok(resolved) => Some((resolved.sql, resolved.params)),
            Err(failed) => {
                self.findings.extend(failed.0);
                None
            }
        }
    }

    /// The table of the rows that are kept aside must not be that of a source's rejects, nor of another model's.
    fn quarantine(&mut self) {
        if !self.checks.quarantines() {
            return;
        }
        let Checked { file, name, schema, header } = self.model;
        let span = header.places.get("expect").cloned().unwrap_or_default();
        let table = quarantine_table(name);
        let layout = self.scope.layout;
        let is_same = |other: &&TableName| **other != *name && quarantine_table(other) == table;
        let source = TableName::new("raw", &table).filter(|source| layout.sources.contains_key(source));
        if let Some(other) = source.as_ref().or_else(|| layout.models.keys().find(is_same)) {
            let message = format!("rows of `{name}` and of `{other}` would both be kept in `rejects.{table}`");
            self.findings.push(file.error("duplicate_name", span.clone(), message).with_help("rename one of them"));
        }
        let taken =
            schema.fields().iter().find(|field| QUARANTINE_COLUMNS.iter().any(|own| same_name(own, field.name())));
        if let Some(field) = taken {
            let message = format!("column `{}` has the name of one that QUARANTINE adds", field.name());
            self.findings.push(file.error("duplicate_column", span, message).with_help("rename it"));
        }
    }

    /// Spells columns as the schema does; those that it lacks, and those that cannot be compared, are findings.
    fn columns(&mut self, key: &str, columns: &[Ident]) -> Option<Vec<String>> {
        let Checked { file, name, schema, .. } = self.model;
        let mut found = Vec::with_capacity(columns.len());
        for column in columns {
            match find(schema, column) {
                Some(field) if is_keyed(key) && !can_compare(field.data_type()) => {
                    let message =
                        format!("`{}` cannot be compared: it is {}", column.name, type_text(field.data_type()));
                    self.findings.push(file.error("check_type", column.span.clone(), message));
                }
                Some(field) => found.push(field.name().clone()),
                None => {
                    let message = format!("{key} names `{}`, which is no column of `{name}`", column.name);
                    self.findings.push(unknown_column(file, column, message, schema));
                }
            }
        }
        (found.len() == columns.len()).then_some(found)
    }

    fn row(
        &mut self,
        name: &str,
        rule: String,
        on_violation: Violation,
        condition: String,
        line: usize,
    ) -> &mut RowCheck {
        let name = self.unique_name(name);
        let index = self.checks.rows.len();
        self.checks.rows.push(RowCheck { name, rule, on_violation, condition, params: Vec::new(), line });
        &mut self.checks.rows[index]
    }

    fn table(&mut self, name: &str, rule: String, blocking: bool, demand: Demand, line: usize) {
        let name = self.unique_name(name);
        self.checks.tables.push(TableCheck { name, rule, blocking, demand, line });
    }

    /// A name that can be a table's, and that no other check of the model has.
    fn unique_name(&mut self, name: &str) -> String {
        let mut plain: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
        if !plain.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') {
            plain.insert(0, '_');
        }
        let numbered = (2..).map(|number| format!("{plain}_{number}"));
        let mut candidates = std::iter::once(plain.clone()).chain(numbered);
        let unique = candidates.find(|candidate| !self.names.contains(candidate)).unwrap_or(plain);
        self.names.insert(unique.clone());
        unique
    }

    fn line(&self, offset: usize) -> usize {
        crate::text::line_and_column(self.model.file.text, offset).0
    }
}

/// The columns that a quarantined row has before its own.
pub const QUARANTINE_COLUMNS: [&str; 2] = ["_run_id", "_rules"];

/// The name, in the zone of rejects, of the table that keeps the rows which a model's checks have taken out.
#[must_use]
pub fn quarantine_table(model: &TableName) -> String {
    format!("{}_{}", model.zone(), model.table())
}

/// Of a query that is not looked at yet.
fn unique(columns: Vec<String>) -> Demand {
    Demand::Unique { columns, is_proven: false }
}

fn not_null(column: &str) -> String {
    format!("\"{ROW_ALIAS}\".{} IS NOT NULL", quoted(column))
}

fn find<'s>(schema: &'s Schema, column: &Ident) -> Option<&'s datafusion::arrow::datatypes::FieldRef> {
    let exact = schema.fields().iter().find(|field| *field.name() == column.name);
    exact.or_else(|| schema.fields().iter().find(|field| same_name(field.name(), &column.name)))
}

fn unknown_column(file: FileText<'_>, column: &Ident, message: String, schema: &Schema) -> Diagnostic {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    file.error("unknown_column", column.span.clone(), message).with_help_if(did_you_mean(&column.name, names))
}

/// Whether the values of the columns of this key or audit are compared with one another.
fn is_keyed(key: &str) -> bool {
    ["grain", "unique_values", "relationships"].iter().any(|keyed| keyed.eq_ignore_ascii_case(key))
}

fn can_compare(data_type: &DataType) -> bool {
    !data_type.is_nested()
}
