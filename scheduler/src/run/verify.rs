//! Computes incremental models in full, and compares with what their tables would hold after the run.
//!
//! Data flow: written files -> the query of each incremental model over whole inputs, against the table's rows -> the run
//! goes on, or fails before anything is published.
//!
//! Invariant: rows are compared with how often they are there, exactly but for floats, whose sums depend on the order in
//! which they are added up: these may differ by one part in 10^9.

use std::{cmp::Ordering, collections::BTreeMap};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, Schema},
    util::display::{ArrayFormatter, FormatOptions},
};
use lakewright_compiler::{Model, ModelKind, ROW_ALIAS};
use lakewright_engine::Relation;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::state::read_ledger;

use super::{affected_query::quoted, inputs::StepSite, race::retrying, site::Site};
use crate::{QueryTask, StepInput, StepWork};

/// Rows that may differ by nothing but the order of their sums.
const ROWS_MAX: u64 = 100_000;
/// Rows that an error shows.
const EXAMPLES_MAX: usize = 3;
/// Characters of a row that an error shows.
const EXAMPLE_CHARS_MAX: usize = 300;
/// How far floats may be apart, as a part of the greater one.
const TOLERANCE: f64 = 1e-9;

/// Verifies every selected model of an incremental kind.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: a table would not hold the rows that its model gives.
/// - Those of reading tables and raw objects.
pub(crate) async fn verify(site: &Site, at: StepSite<'_>) -> Result<()> {
    for model in &at.plan.job.models {
        let is_incremental = model.kind.driving().is_some() || model.kind.sides().is_some();
        let is_stored = at.plan.executes(&model.name) || at.plan.evidence.released(&model.name).is_some();
        let is_whole = at.plan.work(&model.name) == StepWork::Replace;
        if !is_incremental || is_whole || !is_stored || !at.plan.evidence.selected.contains(&model.name) {
            continue;
        }
        if keeps_what_is_gone(at, model).await? {
            tracing::warn!(table = %model.name, "not verified: rows of objects that have gone are kept");
            continue;
        }
        verify_table(site, at, model).await.map_err(|error| error.with("table", &model.name))?;
        tracing::info!(table = %model.name, "verified");
    }
    Ok(())
}

/// Whether the table holds rows of raw objects that are not there any more: nothing can give them again.
async fn keeps_what_is_gone(at: StepSite<'_>, model: &Model) -> Result<bool> {
    let Some(source) = model.kind.driving().filter(|driving| at.plan.job.sources.contains_key(*driving)) else {
        return Ok(false);
    };
    let Some(entry) = at.plan.evidence.released(&model.name) else { return Ok(false) };
    let input = source.to_string();
    let table = model.name.to_string();
    let units = retrying(|| read_ledger(at.lake, &table, &entry.ledger)).await?;
    let listing = at.plan.evidence.listings.get(source).map_or(&[][..], |listing| listing.objects.as_slice());
    let is_listed = |key: &str| listing.binary_search_by(|object| object.key.as_str().cmp(key)).is_ok();
    let keeps = at
        .plan
        .job
        .sources
        .get(source)
        .is_some_and(|source| source.options.on_delete != lakewright_compiler::OnDelete::Remove);
    Ok(keeps && units.iter().any(|unit| unit.input == input && !is_listed(&unit.key)))
}

async fn verify_table(site: &Site, at: StepSite<'_>, model: &Model) -> Result<()> {
    let covered = match at.written.get(&model.name) {
        Some(written) => written.covered.clone(),
        None => at.plan.evidence.released(&model.name).map(|entry| entry.covered.clone()).unwrap_or_default(),
    };
    let (full, mut inputs) = at.full_query(model, &covered).await?;
    inputs.push(StepInput {
        name: model.name.clone(),
        relation: Relation::Table(at.whole_scan(model, &model.name).await?),
    });
    let task = QueryTask { sql: difference(model, &full), params: BTreeMap::new(), inputs, rows_max: ROWS_MAX };
    let rows = site.backend.query(task).await?;
    let differing = unmatched(&rows, &model.schema)?;
    if differing.is_empty() {
        return Ok(());
    }
    let count = |is_missing: bool| {
        let rows = differing.iter().filter(|row| (row.copies > 0) == is_missing);
        rows.map(|row| row.copies.unsigned_abs()).sum::<u64>()
    };
    let example = |is_missing: bool| {
        let rows = differing.iter().filter(|row| (row.copies > 0) == is_missing).take(EXAMPLES_MAX);
        rows.map(|row| row.text.chars().take(EXAMPLE_CHARS_MAX).collect::<String>()).collect::<Vec<_>>().join("; ")
    };
    let mut error = Error::new(ErrorKind::Corrupt, "a table does not hold the rows that its query gives");
    for (what, is_missing) in [("missing", true), ("too many", false)] {
        if count(is_missing) > 0 {
            error = error.with(what, format!("{} rows, for example {}", count(is_missing), example(is_missing)));
        }
    }
    Err(error.with_hint(match &model.kind {
        ModelKind::IncrementalByTimeRange { range, .. } if range.lookback.is_some() => format!(
            "rows that came later than the lookback are left out: run --start .. --end .. takes them in; \
             --full-refresh --select {} computes the table again",
            model.name
        ),
        _ => format!("nothing was published; --full-refresh --select {} computes the table again", model.name),
    }))
}

/// Columns whose values can be compared.
fn comparable(schema: &Schema) -> Vec<String> {
    let is_comparable = |data_type: &DataType| !matches!(data_type, DataType::Map(..));
    let fields = schema.fields().iter().filter(|field| is_comparable(field.data_type()));
    fields.map(|field| field.name().clone()).collect()
}

/// The rows that the query gives more often than the table holds them, with a count above 0, and the reverse.
fn difference(model: &Model, full: &str) -> String {
    let columns = comparable(&model.schema);
    let list =
        |of: &str| columns.iter().map(|column| format!("{of}.{}", quoted(column))).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT sum(\"both\".\"lakewright copies\") AS \"lakewright copies\", {of_both} FROM (\
         SELECT CAST(1 AS BIGINT) AS \"lakewright copies\", {of_full} FROM ({full}) AS \"full\" UNION ALL \
         SELECT CAST(-1 AS BIGINT) AS \"lakewright copies\", {of_table} FROM {zone}.{table} AS \"{ROW_ALIAS}\") AS \"both\" \
         GROUP BY {of_both} HAVING sum(\"both\".\"lakewright copies\") <> 0",
        of_both = list("\"both\""),
        of_full = list("\"full\""),
        of_table = list(&format!("\"{ROW_ALIAS}\"")),
        zone = quoted(model.name.zone()),
        table = quoted(model.name.table()),
    )
}

/// One distinct row that is there too often or not often enough.
#[derive(Clone, Debug)]
struct Row {
    copies: i64,
    /// Its columns but floats, as text.
    exact: String,
    floats: Vec<Option<f64>>,
    text: String,
}

/// The rows that are left when those are paired that differ in floats by no more than their sums may.
fn unmatched(batches: &[RecordBatch], schema: &Schema) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for batch in batches {
        rows.extend(read_rows(batch)?);
    }
    if !schema.fields().iter().any(|field| field.data_type().is_floating()) {
        return Ok(rows);
    }
    rows.sort_by(|left, right| left.exact.cmp(&right.exact).then_with(|| by_floats(left, right)));
    let mut left: Vec<Row> = Vec::new();
    for mut row in rows {
        for other in left.iter_mut().rev().take_while(|other| other.exact == row.exact) {
            if row.copies == 0 || (row.copies > 0) == (other.copies > 0) || other.copies == 0 || !is_close(other, &row)
            {
                continue;
            }
            let paired = row.copies.abs().min(other.copies.abs());
            other.copies -= paired * other.copies.signum();
            row.copies -= paired * row.copies.signum();
        }
        left.push(row);
    }
    left.retain(|row| row.copies != 0);
    Ok(left)
}

fn by_floats(left: &Row, right: &Row) -> Ordering {
    let pairs = left.floats.iter().zip(&right.floats);
    let mut orders = pairs.map(|(left, right)| match (left, right) {
        (Some(left), Some(right)) => left.total_cmp(right),
        (left, right) => left.is_some().cmp(&right.is_some()),
    });
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn is_close(left: &Row, right: &Row) -> bool {
    left.floats.iter().zip(&right.floats).all(|(left, right)| match (left, right) {
        (Some(left), Some(right)) => {
            left == right
                || (left - right).abs() <= TOLERANCE * left.abs().max(right.abs())
                || left.is_nan() && right.is_nan()
        }
        (left, right) => left.is_none() && right.is_none(),
    })
}

fn read_rows(batch: &RecordBatch) -> Result<Vec<Row>> {
    let failed = |error| Error::new(ErrorKind::Internal, "rows that differ cannot be read").with_source(error);
    let Some((copies, columns)) = batch.columns().split_first() else { return Ok(Vec::new()) };
    let copies = cast(copies, &DataType::Int64).map_err(failed)?;
    let copies = copies.as_primitive::<Int64Type>();
    let options = FormatOptions::default().with_null("NULL");
    let formatters = columns.iter().map(|column| ArrayFormatter::try_new(column, &options));
    let formatters: Vec<ArrayFormatter<'_>> = formatters.collect::<std::result::Result<_, _>>().map_err(failed)?;
    let floats = columns.iter().map(|column| {
        let is_float = column.data_type().is_floating();
        is_float.then(|| cast(column, &DataType::Float64)).transpose()
    });
    let floats: Vec<_> = floats.collect::<std::result::Result<_, _>>().map_err(failed)?;
    let names: Vec<String> = batch.schema().fields().iter().skip(1).map(|field| field.name().clone()).collect();
    let row = |index: usize| {
        let mut row =
            Row { copies: copies.value(index), exact: String::new(), floats: Vec::new(), text: String::new() };
        for ((name, formatter), float) in names.iter().zip(&formatters).zip(&floats) {
            let value = formatter.value(index).to_string();
            let comma = if row.text.is_empty() { "" } else { ", " };
            row.text.push_str(&format!("{comma}{name} = {value}"));
            match float {
                Some(float) => {
                    let float = float.as_primitive::<Float64Type>();
                    row.floats.push(float.is_valid(index).then(|| float.value(index)));
                }
                // Lengths keep values apart.
                None => row.exact.push_str(&format!("{}:{value}", value.len())),
            }
        }
        row
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Float64Array, Int64Array, StringArray},
        datatypes::Field,
    };

    use super::*;

    #[test]
    fn floats_pair_that_differ_by_the_order_of_their_sums_and_nothing_else_does() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("copies", DataType::Int64, false),
            Field::new("key", DataType::Utf8, true),
            Field::new("sum", DataType::Float64, true),
        ]));
        let left = |rows: &[(i64, &str, Option<f64>)]| {
            let batch = RecordBatch::try_new(
                Arc::clone(&schema),
                vec![
                    Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
                    Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
                    Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.2))),
                ],
            );
            let rows = unmatched(&[batch.unwrap()], &schema).unwrap();
            rows.into_iter().map(|row| (row.copies, row.text)).collect::<Vec<_>>()
        };
        assert_eq!(left(&[(2, "a", Some(0.3)), (-2, "a", Some(0.1 + 0.2)), (1, "b", None), (-1, "b", None)]), []);
        assert_eq!(left(&[(1, "a", Some(0.3)), (-1, "a", Some(0.31))]).len(), 2);
        assert_eq!(left(&[(1, "a", Some(0.3)), (-1, "b", Some(0.3))]).len(), 2);
        assert_eq!(left(&[(3, "a", Some(0.3)), (-1, "a", Some(0.1 + 0.2))]), [(2, "key = a, sum = 0.3".to_owned())]);
    }
}
