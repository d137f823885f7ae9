//! Compares the rows that a test expects with those that the model made. Pure.
//!
//! Invariant: no difference is told exactly if the rows are the same; of rows that are not, each is told once.

use std::collections::BTreeSet;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Float32Type, Float64Type},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};

/// Sums of floats depend on the order of their parts in the last digits.
const FLOAT_TOLERANCE: f64 = 1e-9;

/// One value: NULL, or its text, and its number if it is a float.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cell {
    text: Option<String>,
    number: Option<f64>,
}

/// A row that is expected.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedRow {
    pub(crate) cells: Vec<Cell>,
    /// Indexes of the columns that are compared.
    pub(crate) compared: BTreeSet<usize>,
    /// Its line in the test's file, from 1.
    pub(crate) line: usize,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// A row is there with another value.
    Value { row: usize, line: usize, column: String, expected: String, actual: String },
    /// A row is not there.
    Missing { row: usize, line: usize, values: String },
    /// A row is there that is not expected.
    Unexpected { values: String },
}

impl Cell {
    fn matches(&self, other: &Self) -> bool {
        match (self.number, other.number) {
            (Some(one), Some(two)) => {
                one == two
                    || (one.is_nan() && two.is_nan())
                    || (one - two).abs() <= FLOAT_TOLERANCE * one.abs().max(two.abs())
            }
            _ => self.text == other.text,
        }
    }

    fn shown(&self) -> String {
        self.text.clone().unwrap_or_else(|| "NULL".to_owned())
    }
}

/// The rows of batches as cells.
///
/// # Errors
/// A value has no text.
pub(crate) fn cells(batches: &[RecordBatch]) -> Result<Vec<Vec<Cell>>, ArrowError> {
    let mut rows = Vec::new();
    for batch in batches {
        let options = FormatOptions::default().with_display_error(false);
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns: Vec<ArrayFormatter<'_>> = columns.collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().zip(&columns).map(|(array, formatter)| {
                if array.is_null(row) {
                    return Ok(Cell { text: None, number: None });
                }
                let text = formatter.value(row).try_to_string()?;
                let is_text = matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8);
                let text = if is_text { format!("'{text}'") } else { text };
                Ok(Cell { text: Some(text), number: number(array.as_ref(), row) })
            });
            rows.push(cells.collect::<Result<Vec<_>, ArrowError>>()?);
        }
    }
    Ok(rows)
}

fn number(array: &dyn Array, row: usize) -> Option<f64> {
    let single = array.as_primitive_opt::<Float32Type>().map(|values| f64::from(values.value(row)));
    single.or_else(|| array.as_primitive_opt::<Float64Type>().map(|values| values.value(row)))
}

/// Tells how the rows differ; `ordered` if their order counts.
pub(crate) fn compare(
    columns: &[String],
    expected: &[ExpectedRow],
    actual: &[Vec<Cell>],
    ordered: bool,
) -> Vec<Difference> {
    let pairs = if ordered { in_order(expected.len(), actual.len()) } else { pair(expected, actual) };
    let mut differences = Vec::new();
    for (index, row) in expected.iter().enumerate() {
        let found = pairs.iter().find(|(left, _)| *left == index).and_then(|(_, right)| actual.get(*right));
        match found {
            Some(cells) => differences.extend(values(columns, index, row, cells)),
            None => differences.push(Difference::Missing {
                row: index + 1,
                line: row.line,
                values: shown(columns, &row.cells, Some(&row.compared)),
            }),
        }
    }
    for (index, cells) in actual.iter().enumerate() {
        if pairs.iter().all(|(_, right)| *right != index) {
            differences.push(Difference::Unexpected { values: shown(columns, cells, None) });
        }
    }
    differences
}

fn in_order(expected: usize, actual: usize) -> Vec<(usize, usize)> {
    (0..expected.min(actual)).map(|index| (index, index)).collect()
}

/// Pairs rows: as many as can be that are the same, then those that are most alike.
fn pair(expected: &[ExpectedRow], actual: &[Vec<Cell>]) -> Vec<(usize, usize)> {
    let mut taken: Vec<Option<usize>> = vec![None; actual.len()];
    for index in 0..expected.len() {
        let mut tried = vec![false; actual.len()];
        assign(index, expected, actual, &mut taken, &mut tried);
    }
    let mut pairs: Vec<(usize, usize)> =
        taken.iter().enumerate().filter_map(|(right, left)| left.map(|left| (left, right))).collect();
    let mut alike = Vec::new();
    for (left, row) in expected.iter().enumerate().filter(|(left, _)| pairs.iter().all(|(known, _)| known != left)) {
        for (right, cells) in actual.iter().enumerate().filter(|(right, _)| taken.get(*right) == Some(&None)) {
            // Two NULLs make no rows alike.
            let told =
                row.compared.iter().filter(|column| row.cells.get(**column).is_some_and(|cell| cell.text.is_some()));
            let same = told.filter(|column| same(row, cells, **column)).count();
            if same > 0 {
                alike.push((std::cmp::Reverse(same), left, right));
            }
        }
    }
    alike.sort_unstable();
    for (_, left, right) in alike {
        if pairs.iter().all(|(known_left, known_right)| *known_left != left && *known_right != right) {
            pairs.push((left, right));
        }
    }
    pairs
}

/// Finds a row for `index`, moving others to another of theirs if need be.
fn assign(
    index: usize,
    expected: &[ExpectedRow],
    actual: &[Vec<Cell>],
    taken: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    let Some(row) = expected.get(index) else { return false };
    for (right, cells) in actual.iter().enumerate() {
        if tried.get(right) != Some(&false) || !row.compared.iter().all(|column| same(row, cells, *column)) {
            continue;
        }
        if let Some(mark) = tried.get_mut(right) {
            *mark = true;
        }
        let holder = taken.get(right).copied().flatten();
        if holder.is_none_or(|holder| assign(holder, expected, actual, taken, tried)) {
            if let Some(place) = taken.get_mut(right) {
                *place = Some(index);
            }
            return true;
        }
    }
    false
}

fn same(row: &ExpectedRow, cells: &[Cell], column: usize) -> bool {
    matches!((row.cells.get(column), cells.get(column)), (Some(one), Some(two)) if one.matches(two))
}

fn values(columns: &[String], index: usize, row: &ExpectedRow, cells: &[Cell]) -> Vec<Difference> {
    let differing = row.compared.iter().filter(|column| !same(row, cells, **column));
    let difference = |column: &usize| {
        Some(Difference::Value {
            row: index + 1,
            line: row.line,
            column: columns.get(*column)?.clone(),
            expected: row.cells.get(*column)?.shown(),
            actual: cells.get(*column)?.shown(),
        })
    };
    differing.filter_map(difference).collect()
}

fn shown(columns: &[String], cells: &[Cell], only: Option<&BTreeSet<usize>>) -> String {
    let cells = columns.iter().zip(cells).enumerate();
    let cells = cells.filter(|(index, _)| only.is_none_or(|only| only.contains(index)));
    let cells: Vec<String> = cells.map(|(_, (column, cell))| format!("{column}: {}", cell.shown())).collect();
    format!("{{ {} }}", cells.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> Cell {
        Cell { text: (text != "NULL").then(|| text.to_owned()), number: text.parse().ok() }
    }

    fn row(cells: &[&str]) -> Vec<Cell> {
        cells.iter().map(|text| cell(text)).collect()
    }

    fn expected(line: usize, cells: &[Option<&str>]) -> ExpectedRow {
        let compared = cells.iter().enumerate().filter(|(_, cell)| cell.is_some()).map(|(index, _)| index).collect();
        ExpectedRow { cells: cells.iter().map(|text| cell(text.unwrap_or("NULL"))).collect(), compared, line }
    }

    fn told(expected: &[ExpectedRow], actual: &[&[&str]], ordered: bool) -> Vec<Difference> {
        let actual: Vec<Vec<Cell>> = actual.iter().map(|cells| row(cells)).collect();
        compare(&["a".to_owned(), "b".to_owned()], expected, &actual, ordered)
    }

    #[test]
    fn rows_in_any_order_are_the_same_unless_order_counts() {
        let rows = [expected(1, &[Some("x"), Some("1")]), expected(2, &[Some("y"), Some("2")])];
        assert_eq!(told(&rows, &[&["y", "2.0000000000001"], &["x", "1"]], false), []);
        assert_eq!(told(&rows, &[&["y", "2"], &["x", "1"]], true).len(), 4);
    }

    #[test]
    fn a_row_that_says_less_does_not_take_what_another_needs() {
        let rows = [expected(1, &[Some("x"), None]), expected(2, &[Some("x"), Some("1")])];
        assert_eq!(told(&rows, &[&["x", "1"], &["x", "2"]], false), []);
        assert_eq!(told(&rows, &[&["x", "2"], &["x", "1"]], false), []);
    }

    #[test]
    fn a_row_that_is_not_the_same_is_compared_with_the_one_most_alike() {
        let rows = [expected(5, &[Some("x"), Some("NULL")]), expected(6, &[Some("z"), Some("9")])];
        let difference = told(&rows, &[&["x", "2"], &["q", "7"]], false);
        let value = Difference::Value {
            row: 1,
            line: 5,
            column: "b".to_owned(),
            expected: "NULL".to_owned(),
            actual: "2".to_owned(),
        };
        let missing = Difference::Missing { row: 2, line: 6, values: "{ a: z, b: 9 }".to_owned() };
        let unexpected = Difference::Unexpected { values: "{ a: q, b: 7 }".to_owned() };
        assert_eq!(difference, [value, missing, unexpected]);
    }

    #[test]
    fn a_row_too_many_and_one_too_few_are_told() {
        let rows = [expected(1, &[Some("x"), Some("1")])];
        assert_eq!(told(&rows, &[], false).len(), 1);
        assert_eq!(told(&rows, &[&["x", "1"], &["x", "1"]], false).len(), 1);
        assert_eq!(told(&[], &[], false), []);
    }
}
