//! Audits of a job's own: files of `audits/`, one query each that gives the failing rows.
//!
//! Invariant: values reach the query as typed parameters, never as text.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::SchemaRef;

use crate::{
    Demand, Diagnostic, ParamType, ParamValue, TableName,
    checks::{CheckScope, Checked},
    header::Arguments,
    model::first_mentions,
    query::{ParsedQuery, is_range_param, parse_query, range_param_misplaced},
    table_schema,
    text::{FileText, line_and_column},
    tokens::{Ident, lex, text_range},
};

/// What an audit calls the table that it is used for.
const THIS_MODEL: &str = "this_model";

/// Parses the file of an audit.
pub(crate) fn parse_audit(file: FileText<'_>) -> Result<ParsedQuery, Vec<Diagnostic>> {
    // SQLMesh's spelling; a blank of the same length keeps all places.
    let text = file.text.replace("@this_model", " this_model");
    let range = text_range(&text);
    let tokens = lex(FileText::new(file.path, &text), range.clone()).map_err(|finding| vec![finding])?;
    let first = tokens.iter().find(|token| !token.is_blank());
    if let Some(header) = first.filter(|token| token.is_word("MODEL") || token.is_word("AUDIT")) {
        let error = file.error("syntax", header.span.clone(), "an audit has no header");
        return Err(vec![error.with_help("leave it out: the audit's name is that of its file")]);
    }
    parse_query(file.path, &text, range).map_err(|failed| failed.0)
}

/// The demand of an audit, used for a model with these arguments; `None` if a table that it reads has an error.
pub(crate) fn own_audit(
    model: Checked<'_>,
    scope: CheckScope<'_>,
    name: &Ident,
    arguments: &Arguments,
) -> Result<Option<Demand>, Vec<Diagnostic>> {
    let Some((_, file)) = scope.layout.audits.iter().find(|(stem, _)| stem.eq_ignore_ascii_case(&name.name)) else {
        return Ok(None);
    };
    // A file that does not parse has its findings already.
    let Ok(query) = parse_audit(*file) else { return Ok(None) };
    let query = query.reading(THIS_MODEL, model.name);
    let arguments = arguments.literals();
    let params = with_arguments(scope.params, &arguments);
    let tables = scope.schemas.iter().filter(|(table, _)| !scope.layout.sources.contains_key(*table));
    let tables: BTreeMap<TableName, SchemaRef> =
        tables.map(|(name, schema)| (name.clone(), SchemaRef::clone(schema))).collect();
    for (table, span) in first_mentions(&query) {
        if scope.layout.sources.contains_key(&table) {
            let error = file.error("unknown_table", span, format!("`{table}` is a source: an audit reads tables"));
            return Err(vec![error.with_help("name the table of a model that reads it")]);
        }
        if scope.layout.models.contains_key(&table) && !tables.contains_key(&table) {
            return Ok(None);
        }
    }
    let parsed = query;
    let (query, _) = parsed
        .resolve(&tables, scope.functions, &params)
        .map_err(|failed| failed.0.into_iter().map(|finding| used_at(finding, model, name)).collect::<Vec<_>>())?;
    table_schema(&query.schema).map_err(|(column, error)| {
        let message = format!("column `{column}` of type {} cannot be kept", error.data_type);
        vec![file.error("column_type", 0..0, message).with_help(error.reason)]
    })?;
    if let Some(param) = query.params.iter().find(|param| is_range_param(param)) {
        return Err(vec![range_param_misplaced(file.error("parameter", parsed.place_of_param(param), ""), param)]);
    }
    let unused = arguments.keys().find(|argument| !query.params.contains(argument));
    if let Some(argument) = unused {
        let message = format!("audits/{}.sql has no parameter `:{argument}`", name.name.to_lowercase());
        return Err(vec![model.file.error("unknown_key", name.span.clone(), message)]);
    }
    Ok(Some(Demand::NoRowOf { query, arguments }))
}

fn with_arguments(
    params: &BTreeMap<String, ParamType>,
    arguments: &BTreeMap<String, ParamValue>,
) -> BTreeMap<String, ParamType> {
    let mut params = params.clone();
    for (name, value) in arguments {
        // An argument hides a parameter of the job, in whatever case that is written.
        params.retain(|other, _| !other.eq_ignore_ascii_case(name));
        let param_type = match value {
            ParamValue::Boolean(_) => ParamType::Boolean,
            ParamValue::Bigint(_) => ParamType::Bigint,
            ParamValue::Double(_) => ParamType::Double,
            ParamValue::Varchar(_) => ParamType::Varchar,
            ParamValue::Date(_) => ParamType::Date,
            ParamValue::Timestamp(_) => ParamType::Timestamp,
        };
        params.insert(name.clone(), param_type);
    }
    params
}

/// A finding in an audit's file says for which model the audit was read.
fn used_at(finding: Diagnostic, model: Checked<'_>, name: &Ident) -> Diagnostic {
    let (line, column) = line_and_column(model.file.text, name.span.start);
    finding.with_label(format!("used at {}:{line}:{column}", model.file.path))
}
