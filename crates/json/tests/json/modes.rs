//! What is kept of records that are not as they were declared, and what is counted.

use arrow::datatypes::DataType;

use crate::fixture::{column, decode, schema, strict, told};
use lakewright_json::{Decoder, Options, Stop};

#[test]
fn a_field_that_does_not_fit_is_null_and_counted_by_column() {
    let columns = schema(&[("id", DataType::Int64), ("name", DataType::Utf8)]);
    let lines = "{\"id\":\"x\",\"name\":\"a\"}\n{\"id\":2.5}\n{\"id\":3}\n{\"id\":\"y\",}\n";
    let decoded = decode(&columns, Options::default(), lines);
    assert_eq!(
        (decoded.texts("id"), decoded.texts("name")),
        (told(&["NULL", "NULL", "3"]), told(&["a", "NULL", "NULL"]))
    );
    let misfit = &decoded.report.misfits["id"];
    assert_eq!((misfit.count, misfit.at, misfit.message.contains("BIGINT")), (2, 6, true), "not those of a fault");
    assert_eq!(decoded.codes(), ["malformed"]);
}

#[test]
fn decoding_stops_at_the_first_fault_if_told_to() {
    let columns = column(DataType::Int64);
    let mut decoder = Decoder::new(&columns, &[0], Options { faults_max: 1, ..strict() }).unwrap();
    let text = b"{\"a\":1}\nx\n{\"a\":2}\n";
    let step = decoder.decode(text);
    assert_eq!((step.stop, step.taken, decoder.rows()), (Stop::Faults, 10, 1));
    assert_eq!(decoder.decode(&text[10..]).taken, 0, "faults are to be taken first");
    assert_eq!(decoder.take_faults().len(), 1);
    assert_eq!(decoder.decode(&text[10..]).stop, Stop::Taken);
    assert_eq!(decoder.rows(), 2);
}

#[test]
fn the_text_of_a_fault_is_in_its_column_and_place() {
    let columns = schema(&[("a", DataType::Int64), ("_corrupt_record", DataType::Utf8)]);
    let options = Options { corrupt_column: Some(1), ..Options::default() };
    let decoded = decode(&columns, options, b"{\"a\":1,\"_corrupt_record\":\"no field\"}\n{\"a\":\n\xff\n{\"a\":3}\n");
    assert_eq!(decoded.texts("a"), told(&["1", "NULL", "NULL", "3"]));
    assert_eq!(decoded.texts("_corrupt_record"), told(&["NULL", "{\"a\":", "\u{fffd}", "NULL"]));
    assert_eq!((decoded.faults.len(), decoded.report.rows, decoded.report.faults), (2, 2, 2));
}

#[test]
fn undeclared_fields_and_misfits_are_rescued_as_json() {
    let inner = DataType::Struct(vec![arrow::datatypes::Field::new("x", DataType::Int64, true)].into());
    let columns = schema(&[("a", DataType::Int64), ("s", inner), ("rescued", DataType::Utf8)]);
    let options = Options { rescued_column: Some(2), drift: true, ..Options::default() };
    let lines = "{\"a\":1}\n{\"a\" : \"x\", \"b\\u0062\" : [1, {\"c\":2}] }\n{\"s\":{\"x\":1,\"y\":true}}\n{\"s\":{\"x\":\"no\"}}\n{\"zz\":1,\n";
    let decoded = decode(&columns, options, lines);
    let expected = ["NULL", r#"{"a":"x","b\u0062":[1, {"c":2}]}"#, r#"{"s.y":true}"#, r#"{"s":{"x":"no"}}"#];
    assert_eq!(decoded.texts("rescued"), told(&expected));
    for text in decoded.texts("rescued").into_iter().flatten() {
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
    let undeclared: Vec<_> = decoded.report.undeclared.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(undeclared, [("bb", 1), ("s.y", 1)], "not those of a fault");
}

#[test]
fn undeclared_names_are_counted_up_to_a_limit() {
    let options = || Options { drift: true, ..Options::default() };
    let decoded = decode(&column(DataType::Int64), options(), "{\"b\":1}\n{\"b\":2,\"c\":{\"d\":1}}\n");
    assert_eq!(decoded.report.undeclared.into_iter().collect::<Vec<_>>(), [("b".to_owned(), 2), ("c".to_owned(), 1)]);
    let lines: String = (0..20_000).map(|number| format!("{{\"n{number}\":1}}\n")).collect();
    let undeclared = decode(&column(DataType::Int64), options(), lines).report.undeclared;
    assert_eq!((undeclared.len(), undeclared.values().sum::<u64>()), (10_001, 20_000));
}

#[test]
fn a_batch_ends_at_its_rows_or_its_bytes() {
    let columns = column(DataType::Utf8);
    let options = Options { batch_rows: 3, batch_bytes: 100, ..strict() };
    let mut decoder = Decoder::new(&columns, &[0], options).unwrap();
    let text = "{\"a\":1}\n".repeat(4);
    let step = decoder.decode(text.as_bytes());
    assert_eq!((step.stop, step.taken), (Stop::BatchFull, 24));
    assert_eq!(decoder.take_batch().unwrap().unwrap().num_rows(), 3);
    let long = format!("{{\"a\":\"{}\"}}\n{{}}\n", "x".repeat(200));
    assert_eq!(decoder.decode(long.as_bytes()).stop, Stop::BatchFull);
    assert_eq!(decoder.rows(), 1);
}
