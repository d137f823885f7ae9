//! The SQL of an update by key: pure functions from what has changed to canonical text.
//!
//! Invariant: keys are compared as groups are, NULL with NULL; names of columns that are made here have a blank, which no
//! column of a table has.

use arrow::datatypes::DataType;
use lakewright_compiler::{IntervalUnit, ParamValue, Side};
use lakewright_error::Result;

use super::key_bounds::KeyBounds;
use crate::{literal::literal, spans::Spans};

/// The zone of the relations that an update makes for itself: no folder of a job has the name.
pub(super) const ZONE: &str = "_changes";
/// Keys that appear in what has come or gone.
pub(super) const KEYS: &str = "keys";
/// The table's own files that hold rows which are replaced.
pub(super) const OWN: &str = "own";
/// The rows of the model's query, as they are stored.
pub(super) const MODEL: &str = "model";
/// The hidden column of a file's path.
pub(super) const FILE_COLUMN: &str = "lakewright file";

const DAY_US: i64 = 86_400_000_000;

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A relation of the update, by its own name.
fn relation(name: &str) -> String {
    format!("{}.{name} AS {name}", quoted(ZONE), name = quoted(name))
}

fn list(alias: &str, columns: &[String]) -> String {
    columns.iter().map(|column| format!("{}.{}", quoted(alias), quoted(column))).collect::<Vec<_>>().join(", ")
}

/// The name of the key's column with this index.
pub(super) fn key_column(index: usize) -> String {
    format!("key {index}")
}

/// The distinct keys of rows of relations, each with how its rows tell them.
pub(super) fn keys(changed: &[(String, &Side)]) -> String {
    let columns = changed.first().map_or(0, |(_, side)| side.key.len());
    let names: Vec<String> =
        (0..columns).map(|index| format!("\"k{index}\" AS {}", quoted(&key_column(index)))).collect();
    let rows: Vec<String> =
        changed.iter().map(|(name, side)| side.rows_of(&format!("{}.{}", quoted(ZONE), quoted(name)))).collect();
    format!("SELECT DISTINCT {} FROM ({}) AS \"changed\"", names.join(", "), rows.join(" UNION ALL "))
}

/// `exprs` are, one by one, the columns of the key.
fn is_key(exprs: &[String]) -> String {
    // In parentheses: the last FROM would take in all that follows.
    let pairs = exprs
        .iter()
        .enumerate()
        .map(|(index, expr)| format!("({expr} IS NOT DISTINCT FROM {}.{})", quoted(KEYS), quoted(&key_column(index))));
    pairs.collect::<Vec<_>>().join(" AND ")
}

/// What is asked beside a join: a condition that leaves out files, not rows that the join finds.
fn filter(condition: Option<String>) -> String {
    condition.map_or_else(String::new, |condition| format!(" WHERE {condition}"))
}

/// The rows of an input that have one of the keys.
pub(super) fn rows_of_keys(name: &str, columns: &[String], side: &Side, bounds: &KeyBounds) -> String {
    format!(
        "SELECT {} FROM {} RIGHT SEMI JOIN {} ON {}{}",
        list(name, columns),
        relation(KEYS),
        relation(name),
        is_key(&side.key),
        filter(bounds.condition(&side.key))
    )
}

/// The files that hold rows of the keys.
pub(super) fn files_of_keys(key: &[String], bounds: &KeyBounds) -> String {
    let own: Vec<String> = key.iter().map(|column| list(OWN, std::slice::from_ref(column))).collect();
    format!(
        "SELECT DISTINCT {} FROM {} RIGHT SEMI JOIN {} ON {}{}",
        list(OWN, &[FILE_COLUMN.to_owned()]),
        relation(KEYS),
        relation(OWN),
        is_key(&own),
        filter(bounds.condition(&own))
    )
}

/// The rows that take the place of the files that hold rows of the keys; `keeps` tells that these hold others, too.
pub(super) fn replaced_rows(columns: &[String], key: &[String], keeps: bool) -> String {
    let of = |name: &str| key.iter().map(|column| list(name, std::slice::from_ref(column))).collect::<Vec<_>>();
    let computed = format!(
        "SELECT {} FROM {} RIGHT SEMI JOIN {} ON {}",
        list(MODEL, columns),
        relation(KEYS),
        relation(MODEL),
        is_key(&of(MODEL))
    );
    if !keeps {
        return computed;
    }
    format!(
        "{computed} UNION ALL SELECT {} FROM {} RIGHT ANTI JOIN {} ON {}",
        list(OWN, columns),
        relation(KEYS),
        relation(OWN),
        is_key(&of(OWN))
    )
}

/// No row at all.
pub(super) fn no_rows(columns: &[String]) -> String {
    format!("SELECT {} FROM {} WHERE FALSE", list(OWN, columns), relation(OWN))
}

/// Whether a time is in one of the ranges.
///
/// # Errors
/// - [`lakewright_error::ErrorKind::Invalid`]: an instant is too far away to be written.
pub(super) fn is_in(expr: &str, data_type: &DataType, spans: &Spans) -> Result<String> {
    let instant = |us: i64| {
        literal(&match data_type {
            DataType::Date32 => ParamValue::Date(i32::try_from(us.div_euclid(DAY_US)).unwrap_or(i32::MAX)),
            _ => ParamValue::Timestamp(us),
        })
    };
    let ranges = spans
        .ranges()
        .iter()
        .map(|(from, to)| Ok(format!("({expr} >= {} AND {expr} < {})", instant(*from)?, instant(*to)?)));
    let ranges = ranges.collect::<Result<Vec<_>>>()?;
    Ok(if ranges.is_empty() { "FALSE".to_owned() } else { format!("({})", ranges.join(" OR ")) })
}

/// The rows of an input whose time is in the ranges.
pub(super) fn rows_of_spans(name: &str, columns: &[String], condition: &str) -> String {
    format!("SELECT {} FROM {} WHERE {condition}", list(name, columns), relation(name))
}

/// The files that hold rows of the ranges.
pub(super) fn files_of_spans(condition: &str) -> String {
    format!("SELECT DISTINCT {} FROM {} WHERE {condition}", list(OWN, &[FILE_COLUMN.to_owned()]), relation(OWN))
}

/// The rows of the model in the ranges, with those outside of them that the replaced files hold.
pub(super) fn replaced_spans(columns: &[String], of_model: &str, of_own: Option<&str>) -> String {
    let computed = rows_of_spans(MODEL, columns, of_model);
    match of_own {
        Some(of_own) => {
            format!("{computed} UNION ALL {}", rows_of_spans(OWN, columns, &format!("({of_own}) IS NOT TRUE")))
        }
        None => computed,
    }
}

/// The intervals that have changed, with how many rows more or less they have.
pub(super) fn intervals(unit: IntervalUnit, changed: &[(String, &Side, bool)]) -> String {
    let rows: Vec<String> = changed
        .iter()
        .map(|(name, side, is_added)| {
            let rows = side.rows_of(&format!("{}.{}", quoted(ZONE), quoted(name)));
            let sign = if *is_added { "1" } else { "-1" };
            format!("SELECT \"k0\", {sign} AS \"rows\" FROM ({rows}) AS \"side\"")
        })
        .collect();
    format!(
        "SELECT date_trunc('{}', \"k0\") AS \"from\", sum(\"rows\") AS \"rows\" FROM ({}) AS \"changed\" \
         WHERE \"k0\" IS NOT NULL GROUP BY date_trunc('{}', \"k0\") ORDER BY 1",
        unit.name(),
        rows.join(" UNION ALL "),
        unit.name(),
    )
}
