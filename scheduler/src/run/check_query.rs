//! The SQL of checks over written files: pure functions from what is demanded to canonical text.
//!
//! Invariant: a count of 0 means that the demand is met, and the rows of a sample are rows that do not meet it.

use lakewright_compiler::{ROW_ALIAS, RowCheck, TableName};

/// Keys that a sample of repeated ones shows.
const KEYS_SHOWN_MAX: usize = 20;

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The table under the name of a check's row.
fn from(table: &TableName) -> String {
    format!("{}.{} AS {}", quoted(table.zone()), quoted(table.table()), quoted(ROW_ALIAS))
}

fn column_of(relation: &str, column: &str) -> String {
    format!("{}.{}", quoted(relation), quoted(column))
}

/// One row: how many rows there are, then for each check how many violate it.
pub(super) fn count_rows(table: &TableName, checks: &[&RowCheck]) -> String {
    let mut columns = vec!["count(*) AS \"rows\"".to_owned()];
    columns.extend(checks.iter().enumerate().map(|(index, check)| {
        format!("count(*) FILTER (WHERE ({}) IS NOT TRUE) AS \"violations_{index}\"", check.condition)
    }));
    format!("SELECT {} FROM {}", columns.join(", "), from(table))
}

/// Rows that violate a check.
pub(super) fn violating_rows(table: &TableName, check: &RowCheck) -> String {
    format!("SELECT * FROM {} WHERE ({}) IS NOT TRUE", from(table), check.condition)
}

/// The keys of a table that several rows have, with how many.
fn repeated(table: &TableName, columns: &[String]) -> String {
    let names: Vec<String> = columns.iter().map(|column| column_of(ROW_ALIAS, column)).collect();
    let known: Vec<String> = names.iter().map(|name| format!("{name} IS NOT NULL")).collect();
    format!(
        "SELECT {keys}, count(*) AS \"lakewright rows\" FROM {from} WHERE {known} GROUP BY {keys} HAVING count(*) > 1",
        keys = names.join(", "),
        known = known.join(" AND "),
        from = from(table),
    )
}

/// One row: how many rows share their key with another.
pub(super) fn count_repeated(table: &TableName, columns: &[String]) -> String {
    let repeated = repeated(table, columns);
    format!("SELECT sum(\"repeated\".\"lakewright rows\") AS \"violations\" FROM ({repeated}) AS \"repeated\"")
}

/// Rows of a few of the keys that several rows have.
pub(super) fn repeated_rows(table: &TableName, columns: &[String]) -> String {
    let pairs =
        columns.iter().map(|column| format!("{} = {}", column_of(ROW_ALIAS, column), column_of("repeated", column)));
    let keys: Vec<String> = columns.iter().map(|column| column_of(ROW_ALIAS, column)).collect();
    format!(
        "SELECT {this}.* FROM {from} JOIN ({repeated} ORDER BY {keys} LIMIT {KEYS_SHOWN_MAX}) AS \"repeated\" ON {on} \
         ORDER BY {keys}",
        this = quoted(ROW_ALIAS),
        from = from(table),
        repeated = repeated(table, columns),
        on = pairs.collect::<Vec<_>>().join(" AND "),
        keys = keys.join(", "),
    )
}

/// The rows whose value is in no row of the other table.
fn without_partner(select: &str, table: &TableName, column: &str, (to, field): (&TableName, &str)) -> String {
    let own = column_of(ROW_ALIAS, column);
    format!(
        "SELECT {select} FROM {from} LEFT ANTI JOIN {zone}.{name} AS \"other\" ON {own} = {field} WHERE {own} IS NOT NULL",
        from = from(table),
        zone = quoted(to.zone()),
        name = quoted(to.table()),
        field = column_of("other", field),
    )
}

/// One row: how many rows have a value that is in no row of the other table.
pub(super) fn count_without_partner(table: &TableName, column: &str, other: (&TableName, &str)) -> String {
    without_partner("count(*) AS \"violations\"", table, column, other)
}

/// These rows.
pub(super) fn rows_without_partner(table: &TableName, column: &str, other: (&TableName, &str)) -> String {
    without_partner(&format!("{}.*", quoted(ROW_ALIAS)), table, column, other)
}

/// One row: how many rows a query gives.
pub(super) fn count_of(query: &str) -> String {
    format!("SELECT count(*) AS \"violations\" FROM ({query}) AS \"failing\"")
}

/// One row: how many rows the table has.
pub(super) fn count_all(table: &TableName) -> String {
    format!("SELECT count(*) AS \"rows\" FROM {}", from(table))
}
