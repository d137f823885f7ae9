//! What is written to the log and read back is never narrower.

use std::sync::Arc;

use arrow::datatypes::{Field, Fields, TimeUnit};
use proptest::prelude::*;

use super::*;

fn schema() -> Schema {
    let inner = Fields::from(vec![Field::new("x", DataType::Int32, true)]);
    Schema::new(vec![
        Field::new("p", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("v", DataType::Utf8, true),
        Field::new("d", DataType::Date32, true),
        Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))), true),
        Field::new("m", DataType::Decimal128(20, 2), true),
        Field::new("s", DataType::Struct(inner), true),
    ])
}

fn column(path: &[&str], min: Scalar, max: Scalar) -> ColumnBounds {
    let path = path.iter().map(|part| (*part).to_owned()).collect();
    ColumnBounds { path, null_count: Some(1), min: Some(min), max: Some(max) }
}

fn there_and_back(bounds: &[ColumnBounds]) -> Vec<ColumnBounds> {
    let (rows, back) = decode(&encode(7, bounds), &schema(), &["p".to_owned()]);
    assert_eq!(rows, Some(7));
    back
}

#[test]
fn exact_bounds_come_back_as_they_were() {
    let bounds = [
        column(&["n"], Scalar::Integer(i64::MIN), Scalar::Integer(i64::MAX)),
        column(&["v"], Scalar::Text("a\"\\\n".to_owned()), Scalar::Text("é🎵".to_owned())),
        column(&["d"], Scalar::Date(-1), Scalar::Date(17_836)),
        column(&["m"], Scalar::Decimal(-5, 2), Scalar::Decimal(123_456_789_012_345, 2)),
        column(&["s", "x"], Scalar::Integer(1), Scalar::Integer(2)),
    ];
    assert_eq!(there_and_back(&bounds), bounds);
}

#[test]
fn the_text_is_what_delta_readers_expect() {
    let bounds = [
        column(&["t"], Scalar::Timestamp(1_542_069_637_796_001), Scalar::Timestamp(1_542_069_637_796_001)),
        column(&["m"], Scalar::Decimal(-5, 2), Scalar::Decimal(1_050, 2)),
        column(&["s", "x"], Scalar::Integer(1), Scalar::Integer(2)),
    ];
    let stats: Value = serde_json::from_str(&encode(3, &bounds)).unwrap();
    let expected = serde_json::json!({
        "numRecords": 3,
        "minValues": { "t": "2018-11-13T00:40:37.796Z", "m": -0.05, "s": { "x": 1 } },
        "maxValues": { "t": "2018-11-13T00:40:37.797Z", "m": 10.5, "s": { "x": 2 } },
        "nullCount": { "t": 1, "m": 1, "s": { "x": 1 } },
    });
    assert_eq!(stats, expected);
}

#[test]
fn what_a_reader_could_get_wrong_is_left_out() {
    let bounds = [
        column(&["m"], Scalar::Decimal(-10_i128.pow(17), 2), Scalar::Decimal(10_i128.pow(17), 2)),
        column(&["d"], Scalar::Date(i32::MIN), Scalar::Date(i32::MAX)),
        column(&["t"], Scalar::Timestamp(i64::MIN), Scalar::Timestamp(i64::MAX)),
    ];
    for left in there_and_back(&bounds) {
        assert_eq!((left.min, left.max, left.null_count), (None, None, Some(1)));
    }
    let flags = [column(&["b"], Scalar::Boolean(false), Scalar::Boolean(true))];
    assert!(encode(1, &flags).contains("\"minValues\":{}"));
}

#[test]
fn stats_that_do_not_parse_say_nothing() {
    for text in ["", "[]", "{", "{\"numRecords\":-1}", "{\"minValues\":{\"n\":\"x\"}}", "null"] {
        assert_eq!(decode(text, &schema(), &[]), (None, Vec::new()), "{text}");
    }
}

#[test]
fn a_partition_column_has_no_bounds() {
    let text = "{\"numRecords\":1,\"minValues\":{\"p\":\"a\"}}";
    assert_eq!(decode(text, &schema(), &["p".to_owned()]).1, []);
}

#[test]
fn decimals_of_other_writers_are_rounded_outwards() {
    let parse = |text, direction| parse_decimal(text, 2, direction);
    assert_eq!(parse("1.239", Direction::Down), Some(Scalar::Decimal(123, 2)));
    assert_eq!(parse("1.239", Direction::Up), Some(Scalar::Decimal(124, 2)));
    assert_eq!(parse("-1.239", Direction::Down), Some(Scalar::Decimal(-124, 2)));
    assert_eq!(parse("-1.239", Direction::Up), Some(Scalar::Decimal(-123, 2)));
    assert_eq!(parse("7", Direction::Up), Some(Scalar::Decimal(700, 2)));
    assert_eq!(parse("1e300", Direction::Up), None);
}

proptest! {
    #[test]
    fn times_come_back_no_narrower(micros in any::<i64>()) {
        let back = there_and_back(&[column(&["t"], Scalar::Timestamp(micros), Scalar::Timestamp(micros))]);
        if let Some(Scalar::Timestamp(min)) = back[0].min { prop_assert!(min <= micros); }
        if let Some(Scalar::Timestamp(max)) = back[0].max { prop_assert!(max >= micros); }
    }

    #[test]
    fn decimals_come_back_no_narrower(unscaled in -2_000_000_000_000_000_i128..2_000_000_000_000_000) {
        let back = there_and_back(&[column(&["m"], Scalar::Decimal(unscaled, 2), Scalar::Decimal(unscaled, 2))]);
        if let Some(Scalar::Decimal(min, 2)) = back[0].min { prop_assert!(min <= unscaled); }
        if let Some(Scalar::Decimal(max, 2)) = back[0].max { prop_assert!(max >= unscaled); }
        prop_assert!(unscaled.abs() > 999_999_999_999_999 || back[0].min.is_some());
    }
}
