//! Bounds as the text that Delta keeps with a file, and back.
//!
//! Invariant: what is written and read back is as wide as, or wider than what it was made from. Left out are
//! truth values (readers do not expect them), decimals that a reader may parse as a float and lose digits of, and
//! times outside of the years 1 to 9999. Bounds of floats are not read back: other writers leave NaN out of them.

use arrow::datatypes::{DataType, Schema};
use chrono::{DateTime, Datelike, NaiveDate};
use serde_json::{Map, Number, Value};

use crate::{
    ColumnBounds, Scalar,
    bounds::{leaves, stored_fields},
};

/// Digits of a decimal that survive a reader's 64-bit float.
const EXACT_DIGITS_MAX: usize = 15;
const MICROS_PER_MILLI: i64 = 1000;

/// Makes Delta's stats text.
pub(super) fn encode(row_count: u64, bounds: &[ColumnBounds]) -> String {
    let (mut min, mut max, mut nulls) = (Map::new(), Map::new(), Map::new());
    for column in bounds {
        if let Some(value) = column.min.as_ref().and_then(|scalar| to_json(scalar, Direction::Down)) {
            insert(&mut min, &column.path, value);
        }
        if let Some(value) = column.max.as_ref().and_then(|scalar| to_json(scalar, Direction::Up)) {
            insert(&mut max, &column.path, value);
        }
        if let Some(count) = column.null_count {
            insert(&mut nulls, &column.path, Value::from(count));
        }
    }
    serde_json::json!({ "numRecords": row_count, "minValues": min, "maxValues": max, "nullCount": nulls }).to_string()
}

/// Reads Delta's stats text: the number of rows, where it is there, and bounds. Text that does not parse says nothing.
pub(super) fn decode(text: &str, schema: &Schema, partition_columns: &[String]) -> (Option<u64>, Vec<ColumnBounds>) {
    let Ok(Value::Object(stats)) = serde_json::from_str::<Value>(text) else { return (None, Vec::new()) };
    let row_count = stats.get("numRecords").and_then(Value::as_u64);
    let mut bounds = Vec::new();
    for (path, data_type) in leaves(&stored_fields(schema, partition_columns)) {
        let null_count = find(&stats, "nullCount", &path).and_then(Value::as_u64);
        let min = find(&stats, "minValues", &path).and_then(|value| from_json(value, data_type, Direction::Down));
        let max = find(&stats, "maxValues", &path).and_then(|value| from_json(value, data_type, Direction::Up));
        if null_count.is_some() || min.is_some() || max.is_some() {
            bounds.push(ColumnBounds { path, null_count, min, max });
        }
    }
    (row_count, bounds)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Down,
    Up,
}

fn insert(object: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            object.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let inner = object.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn find<'a>(stats: &'a Map<String, Value>, kind: &str, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(stats.get(kind)?, |value, name| value.get(name))
}

fn to_json(scalar: &Scalar, direction: Direction) -> Option<Value> {
    match scalar {
        Scalar::Boolean(_) => None,
        Scalar::Integer(value) => Some(Value::from(*value)),
        Scalar::Double(value) => Number::from_f64(*value).map(Value::Number),
        Scalar::Decimal(unscaled, scale) => decimal_number(*unscaled, *scale).map(Value::Number),
        Scalar::Text(text) => Some(Value::from(text.as_str())),
        Scalar::Date(days) => date_text(*days).map(Value::from),
        Scalar::Timestamp(micros) => timestamp_text(*micros, direction).map(Value::from),
    }
}

fn from_json(value: &Value, data_type: &DataType, direction: Direction) -> Option<Scalar> {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => value.as_i64().map(Scalar::Integer),
        DataType::Decimal128(_, scale) => parse_decimal(&value.as_number()?.to_string(), *scale, direction),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            value.as_str().map(|text| Scalar::Text(text.to_owned()))
        }
        DataType::Date32 => {
            let date = NaiveDate::parse_from_str(value.as_str()?, "%Y-%m-%d").ok()?;
            i32::try_from((date - NaiveDate::default()).num_days()).ok().map(Scalar::Date)
        }
        DataType::Timestamp(..) => {
            let micros = DateTime::parse_from_rfc3339(value.as_str()?).ok()?.timestamp_micros();
            // Writers cut to milliseconds, also the greatest value.
            let slack = if direction == Direction::Up { MICROS_PER_MILLI - 1 } else { 0 };
            micros.checked_add(slack).map(Scalar::Timestamp)
        }
        _ => None,
    }
}

fn date_text(days: i32) -> Option<String> {
    let date = NaiveDate::default().checked_add_signed(chrono::TimeDelta::try_days(i64::from(days))?)?;
    (1..=9999).contains(&date.year()).then(|| date.format("%Y-%m-%d").to_string())
}

/// To the millisecond: more digits are cut by many readers, and the greatest value would be cut inwards.
fn timestamp_text(micros: i64, direction: Direction) -> Option<String> {
    let floor = micros.div_euclid(MICROS_PER_MILLI);
    let cut = micros.rem_euclid(MICROS_PER_MILLI) != 0;
    let millis = if cut && direction == Direction::Up { floor.checked_add(1)? } else { floor };
    let time = DateTime::from_timestamp_millis(millis)?;
    (1..=9999).contains(&time.year()).then(|| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

fn decimal_number(unscaled: i128, scale: i8) -> Option<Number> {
    let digits = unscaled.unsigned_abs().to_string();
    let scale = usize::try_from(scale).ok()?;
    if digits.len() > EXACT_DIGITS_MAX || scale > EXACT_DIGITS_MAX {
        return None;
    }
    if scale == 0 {
        return i64::try_from(unscaled).ok().map(Number::from);
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    format!("{sign}{whole}.{fraction}").parse().ok().and_then(Number::from_f64)
}

/// Reads a plain decimal number, rounded to `scale` in `direction`; `None` if it has more digits than a float keeps.
fn parse_decimal(text: &str, scale: i8, direction: Direction) -> Option<Scalar> {
    let places = usize::try_from(scale).ok()?;
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_digits = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
    let significant = whole.trim_start_matches('0').len() + fraction.len();
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || significant > EXACT_DIGITS_MAX + 1 {
        return None;
    }
    let kept: String = fraction.chars().chain(std::iter::repeat('0')).take(places).collect();
    let cut = fraction.get(places..).is_some_and(|rest| rest.bytes().any(|digit| digit != b'0'));
    let magnitude: i128 = format!("{whole}{kept}").parse().ok()?;
    let toward_zero = if negative { -magnitude } else { magnitude };
    let outward = match direction {
        Direction::Down if cut && negative => toward_zero.checked_sub(1)?,
        Direction::Up if cut && !negative => toward_zero.checked_add(1)?,
        _ => toward_zero,
    };
    Some(Scalar::Decimal(outward, scale))
}

#[cfg(test)]
mod tests;
