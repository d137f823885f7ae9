//! What becomes of a value in a column of each type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::fixture::{Decoded, column, decode, list, map, schema, strict, told};
use lakewright_json::{Decoder, Options};

/// Decodes one record `{"a":value}` for each value; what does not fit is NULL.
fn values(data_type: DataType, values: &[&str]) -> Decoded {
    let lines: String = values.iter().map(|value| format!("{{\"a\":{value}}}\n")).collect();
    let decoded = decode(&column(data_type), Options::default(), lines);
    assert_eq!(decoded.faults, [], "only fields do not fit");
    decoded
}

fn misfits(decoded: &Decoded) -> u64 {
    decoded.report.misfits.get("a").map_or(0, |misfit| misfit.count)
}

#[test]
fn integers_fit_exactly_or_not_at_all() {
    let decoded = values(DataType::Int32, &["1", "-0", "2147483647", "-2147483648", "7.0", "12e1", "null"]);
    assert_eq!(decoded.texts("a"), told(&["1", "0", "2147483647", "-2147483648", "7", "120", "NULL"]));
    assert_eq!(misfits(&decoded), 0);
    let decoded =
        values(DataType::Int32, &["1.5", "2147483648", "\"1\"", "true", "[1]", "{\"b\":1}", "1e99999", "1e-1"]);
    assert_eq!(decoded.texts("a"), told(&["NULL"; 8]));
    assert_eq!(misfits(&decoded), 8);
    let decoded = values(DataType::Int64, &["9223372036854775807", "9223372036854775808", "-9223372036854775808"]);
    assert_eq!(decoded.texts("a"), told(&["9223372036854775807", "NULL", "-9223372036854775808"]));
    assert_eq!(values(DataType::Int8, &["127", "128"]).texts("a"), told(&["127", "NULL"]));
    assert_eq!(values(DataType::Int16, &["-32768", "-32769"]).texts("a"), told(&["-32768", "NULL"]));
}

#[test]
fn doubles_are_the_nearest_and_never_infinite() {
    let decoded = values(DataType::Float64, &["0.1", "1e400", "-1e400", "5e-324", "1e-400", "17", "\"NaN\"", "null"]);
    assert_eq!(decoded.texts("a"), told(&["0.1", "NULL", "NULL", "5e-324", "0.0", "17.0", "NULL", "NULL"]));
    assert_eq!(misfits(&decoded), 3);
    let decoded = values(DataType::Float32, &["0.1", "1e39", "16777217"]);
    assert_eq!(decoded.texts("a"), told(&["0.1", "NULL", "16777216.0"]));
}

#[test]
fn decimals_fit_exactly_or_not_at_all() {
    let decoded = values(DataType::Decimal128(5, 2), &["1.50", "-999.99", "1.500", "1.505", "1000", "1e2", "\"1\""]);
    assert_eq!(decoded.texts("a"), told(&["1.50", "-999.99", "1.50", "NULL", "NULL", "100.00", "NULL"]));
    assert_eq!(misfits(&decoded), 3);
}

#[test]
fn times_are_read_and_numbers_are_no_times() {
    let zone = Some(Arc::from("+00:00"));
    let times = DataType::Timestamp(TimeUnit::Microsecond, zone);
    let decoded = values(times, &["\"2018-11-13T01:00:00+01:00\"", "1542069637796", "\"13.11.2018\"", "null"]);
    assert_eq!(decoded.texts("a"), told(&["2018-11-13T00:00:00Z", "NULL", "NULL", "NULL"]));
    assert_eq!(misfits(&decoded), 2);
    let decoded = values(DataType::Date32, &["\"2018-11-13\"", "\"2018-11-31\"", "17"]);
    assert_eq!(decoded.texts("a"), told(&["2018-11-13", "NULL", "NULL"]));
}

#[test]
fn a_text_column_takes_any_value_as_it_is_written() {
    let written = ["\"x\"", "12.50", "true", "null", "{\"b\": [1, \"\\u00e4\"]}", "[ 1 , 2 ]", "1E+2", "\"\""];
    let decoded = values(DataType::Utf8, &written);
    let expected = ["x", "12.50", "true", "NULL", "{\"b\": [1, \"\\u00e4\"]}", "[ 1 , 2 ]", "1E+2", ""];
    assert_eq!(decoded.texts("a"), told(&expected));
    assert_eq!(misfits(&decoded), 0);
}

#[test]
fn escapes_become_their_characters() {
    let written = [
        r#""a\"b\\c\/d\b\f\n\r\t""#,
        r#""\u00E4\u20ac\uD834\udd1e""#,
        r#""long text before the escape \u0041 and behind it""#,
    ];
    let decoded = values(DataType::Utf8, &written);
    let expected = ["a\"b\\c/d\u{8}\u{c}\n\r\t", "ä€\u{1d11e}", "long text before the escape A and behind it"];
    assert_eq!(decoded.texts("a"), told(&expected));
}

#[test]
fn booleans_and_bytes_have_one_spelling() {
    assert_eq!(
        values(DataType::Boolean, &["true", "false", "\"true\"", "1"]).texts("a"),
        told(&["true", "false", "NULL", "NULL"])
    );
    assert_eq!(values(DataType::Binary, &["\"AP8=\"", "\"?\"", "1"]).texts("a"), told(&["00ff", "NULL", "NULL"]));
}

#[test]
fn nested_columns_are_filled_at_every_depth() {
    let inner = DataType::Struct(
        vec![Field::new("x", DataType::Int64, true), Field::new("y", list(DataType::Utf8), true)].into(),
    );
    let decoded =
        values(list(inner), &[r#"[{"x":1,"y":["p",null]},null,{"y":[]}]"#, "[]", "null", r#"[{"x":"no"}]"#, "{}"]);
    let expected = ["[{x: 1, y: [p, ]}, , {x: , y: []}]", "[]", "NULL", "[{x: , y: }]", "NULL"];
    assert_eq!(decoded.texts("a"), told(&expected));
    assert_eq!(decoded.report.misfits.keys().collect::<Vec<_>>(), ["a", "element.x"]);
}

#[test]
fn a_map_keeps_the_last_value_of_a_key() {
    let decoded = values(map(DataType::Int64), &[r#"{"k":1,"l":2,"k":3}"#, "{}", "null", "[]"]);
    assert_eq!(decoded.texts("a"), told(&["{l: 2, k: 3}", "{}", "NULL", "NULL"]));
    assert_eq!((decoded.report.duplicates, misfits(&decoded)), (1, 1));
}

#[test]
fn a_key_matches_exactly_first_and_then_without_regard_to_case() {
    let columns = schema(&[("userId", DataType::Int64), ("ÄPFEL", DataType::Int64)]);
    let lines = "{\"userId\":1,\"USERID\":2}\n{\"USERID\":2,\"userId\":1}\n{\"userid\":3,\"äpfel\":4}\n{\"USERID\":5,\"userid\":6}\n{\"user\\u0049d\":7}\n";
    let decoded = decode(&columns, strict(), lines);
    assert_eq!(decoded.texts("userId"), told(&["1", "1", "3", "6", "7"]));
    assert_eq!(decoded.texts("ÄPFEL"), told(&["NULL", "NULL", "4", "NULL", "NULL"]));
    assert_eq!(decoded.report.duplicates, 3);
}

#[test]
fn a_duplicate_is_the_last_one_and_what_it_replaces_does_not_count() {
    let inner = DataType::Struct(vec![Field::new("x", DataType::Int64, true)].into());
    let columns = schema(&[("a", DataType::Int64), ("s", inner), ("t", DataType::Utf8)]);
    let decoded =
        decode(&columns, strict(), r#"{"a":"x","a":2,"s":{"x":"bad"},"t":"first","s":{"x":1,"x":2},"t":"second"}"#);
    assert_eq!(decoded.faults, []);
    assert_eq!(
        (decoded.texts("a"), decoded.texts("s"), decoded.texts("t")),
        (told(&["2"]), told(&["{x: 2}"]), told(&["second"]))
    );
    assert_eq!(decoded.report.duplicates, 4);
}

#[test]
fn a_duplicate_in_one_object_forgets_nothing_of_another_of_the_record() {
    let inner = DataType::Struct(vec![Field::new("x", DataType::Int64, true)].into());
    let lines = r#"{"a":[{"x":"bad"},{"x":1,"x":2}]}
{"a":[{"x":1,"x":2},{"x":"bad","x":3}]}
"#;
    let lenient = decode(&column(list(inner.clone())), Options::default(), lines);
    assert_eq!(lenient.texts("a"), told(&["[{x: }, {x: 2}]", "[{x: 2}, {x: 3}]"]));
    assert_eq!(lenient.report.misfits["element.x"].count, 1);
    let strict = decode(&column(list(inner)), strict(), lines);
    assert_eq!((strict.codes(), strict.report.rows), (vec!["does_not_fit"], 1));
}

#[test]
fn a_map_that_is_read_again_for_a_duplicate_counts_what_it_holds_once() {
    let decoded = values(map(DataType::Int64), &[r#"{"k":"bad","l":"worse","k":3}"#, r#"{"k":"bad","k":3}"#]);
    assert_eq!(decoded.texts("a"), told(&["{l: , k: 3}", "{k: 3}"]));
    assert_eq!((decoded.report.duplicates, misfits(&decoded)), (2, 1));
    let nested = decode(&column(map(DataType::Int64)), strict(), "{\"a\":{\"k\":\"bad\",\"k\":3}}\n");
    assert_eq!((nested.codes(), nested.report.rows), (Vec::<&str>::new(), 1));
}

#[test]
fn only_the_columns_asked_for_are_decoded_in_their_order() {
    let columns = schema(&[("a", DataType::Int64), ("b", DataType::Int64), ("c", DataType::Int64)]);
    let mut decoder = Decoder::new(&columns, &[2, 0], strict()).unwrap();
    decoder.decode(b"{\"a\":1,\"b\":\"no number, but nobody asks\",\"c\":3}\n");
    let batch = decoder.take_batch().unwrap().unwrap();
    assert_eq!(batch.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["c", "a"]);
    assert_eq!(format!("{:?}", batch.column(0)), format!("{:?}", arrow::array::Int64Array::from(vec![3])));

    let mut decoder = Decoder::new(&columns, &[], strict()).unwrap();
    decoder.decode(b"{\"a\":1}\n\n{}\n");
    assert_eq!(decoder.take_batch().unwrap().unwrap().num_rows(), 2);
}

#[test]
fn a_type_without_json_values_is_refused_by_name() {
    let error = Decoder::new(&column(DataType::Duration(TimeUnit::Second)), &[0], strict()).unwrap_err();
    assert_eq!(error.field, "a");
}
