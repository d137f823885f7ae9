//! Sources: from the DDL of a file in `raw/` to a [`Source`].
//!
//! Data flow: text -> tokens -> [`ddl`] (grammar) -> [`options`], [`location`] (meaning) -> **[`compile_source`]**.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema};

use self::{
    ddl::{Ddl, parse_ddl},
    location::check_location,
    options::{Options, check_options},
};
use crate::{
    Column, Diagnostic, Source, TableName,
    metadata::METADATA_COLUMN,
    sql_type::{Names, quoted, same_name, text_type},
    table_schema,
    text::{FINDINGS_MAX, FileText, line_and_column},
    tokens::{Cursor, Ident, comment_above, lex, text_range},
};

mod ddl;
mod location;
mod options;
#[cfg(test)]
mod tests;

/// Compiles the declaration of one source; `None` if it has an error.
pub(crate) fn compile_source(name: &TableName, file: FileText<'_>) -> (Option<Source>, Vec<Diagnostic>) {
    let tokens = match lex(file, text_range(file.text)) {
        Ok(tokens) => tokens,
        Err(finding) => return (None, vec![finding]),
    };
    let mut cursor = Cursor::new(file, &tokens, file.text.len());
    let (mut ddl, mut findings) = parse_ddl(&mut cursor, name);
    let (mut options, option_findings) = check_options(file, &ddl.options);
    findings.extend(option_findings);
    findings.extend(find_rescued(file, &mut ddl, &mut options));
    findings.extend(check_columns(file, &ddl));
    findings.extend(find_corrupt_record(file, &ddl, &mut options));
    if let Some((location, span)) = &ddl.location
        && let Err(bad) = check_location(location)
    {
        findings.push(file.error("location", span.clone(), bad.message).with_help(bad.help));
    }
    let location = match ddl.location {
        Some((location, _)) if findings.is_empty() => location,
        _ => return (None, findings),
    };
    let description = tokens.iter().position(|token| !token.is_blank()).and_then(|first| comment_above(&tokens, first));
    let fields: Fields =
        ddl.columns.iter().map(|(name, column)| Field::new(&name.name, column.data_type.clone(), true)).collect();
    // Every type that can be declared has a stored type; the table of types decides how its parts are named.
    let schema = match table_schema(&Arc::new(Schema::new(fields))) {
        Ok(schema) => schema,
        Err((column, error)) => {
            let message = format!("column `{column}` of type {} cannot be stored", error.data_type);
            findings.push(file.error("column_type", ddl.name_span, message).with_help(error.reason));
            return (None, findings);
        }
    };
    let columns: Vec<Column> =
        ddl.columns.into_iter().map(|(name, column)| Column { name: name.name, sql_type: column.canonical }).collect();
    let source = Source {
        name: name.clone(),
        schema,
        canonical: canonical(name, &columns, &location, &options),
        columns,
        location,
        options: options.options,
        description,
        file: file.path.to_owned(),
    };
    (Some(source), findings)
}

fn check_columns(file: FileText<'_>, ddl: &Ddl) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let mut names = Names::default();
    for (column, _) in &ddl.columns {
        if findings.len() >= FINDINGS_MAX {
            break;
        }
        let name = &column.name;
        if let Some(first) = names.insert(column) {
            let (line, _) = line_and_column(file.text, first.span.start);
            let error =
                file.error("duplicate_column", column.span.clone(), format!("column `{name}` is declared twice"));
            let help = format!("`{}` in line {line} is the same column: names have no regard to case", first.name);
            findings.push(error.with_label("declared again").with_help(help));
        } else if same_name(name.split('.').next().unwrap_or(name), METADATA_COLUMN) {
            let message = format!("column `{name}` is reserved");
            let error = file.error("reserved_name", column.span.clone(), message);
            findings.push(error.with_help("every source offers _metadata with the path, size and time of its objects"));
        } else if name.chars().any(char::is_control) {
            let message = "a column's name holds a control character";
            findings.push(file.error("invalid_name", column.span.clone(), message));
        }
    }
    findings
}

/// Finds the declared column for records that do not fit; its name has no regard to case.
fn find_corrupt_record(file: FileText<'_>, ddl: &Ddl, options: &mut Options) -> Option<Diagnostic> {
    let (name, asked) = &options.corrupt_record_column;
    let found = ddl.columns.iter().find(|(column, _)| same_name(&column.name, name));
    match (found, asked) {
        (Some((column, column_type)), _) if column_type.data_type == DataType::Utf8 => {
            options.options.corrupt_record = Some(column.name.clone());
            None
        }
        (Some((column, column_type)), _) => {
            let message = format!(
                "column `{}` holds the text of records and has the type {}",
                column.name, column_type.canonical
            );
            Some(file.error("column_type", column.span.clone(), message).with_help("declare it as VARCHAR"))
        }
        (None, Some(span)) => {
            let message = format!("column `{name}` for records that do not fit is not declared");
            let error = file.error("unknown_column", span.clone(), message);
            Some(error.with_help(format!("add `{name} VARCHAR` to the columns, or leave the option out")))
        }
        (None, None) => None,
    }
}

/// Finds the column for fields that are not declared or do not fit; it is the last one if it is not declared.
fn find_rescued(file: FileText<'_>, ddl: &mut Ddl, options: &mut Options) -> Option<Diagnostic> {
    let (name, span) = options.rescued_column.clone()?;
    if same_name(&name, &options.corrupt_record_column.0) {
        let message = format!("column `{name}` cannot hold both whole records and single fields");
        let error = file.error("option_value", span, message);
        return Some(error.with_help("give columnNameOfCorruptRecord and rescuedDataColumn different columns"));
    }
    let found = ddl.columns.iter().find(|(column, _)| same_name(&column.name, &name));
    match found {
        Some((column, column_type)) if column_type.data_type != DataType::Utf8 => {
            let message =
                format!("column `{}` holds the text of fields and has the type {}", column.name, column_type.canonical);
            return Some(file.error("column_type", column.span.clone(), message).with_help("declare it as VARCHAR"));
        }
        Some((column, _)) => options.options.rescued = Some(column.name.clone()),
        None => {
            options.options.rescued = Some(name.clone());
            ddl.columns.push((Ident { name, span }, text_type()));
        }
    }
    None
}

fn canonical(name: &TableName, columns: &[Column], location: &str, options: &Options) -> String {
    let columns: Vec<String> =
        columns.iter().map(|column| format!("{} {}", quoted(&column.name), column.sql_type)).collect();
    let location = location.replace('\'', "''");
    let columns = columns.join(", ");
    let options = options.canonical();
    format!("CREATE EXTERNAL TABLE {name} ({columns}) STORED AS JSON LOCATION '{location}' OPTIONS ({options})")
}
