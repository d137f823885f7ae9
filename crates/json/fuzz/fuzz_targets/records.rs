//! Any bytes as an object of one record a line: what serde_json takes as an object is a row, all else is not, whatever
//! chunks the bytes come in; and every line is accounted for.
#![no_main]

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use lakewright_json::{Decoder, Options, Report, Stop};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|input: (u8, &[u8])| {
    let (chunk, text) = input;
    let schema = schema();
    let (rows, report) = decode(&schema, text, text.len().max(1));
    let (rows_in_chunks, report_in_chunks) = decode(&schema, text, usize::from(chunk).max(1));
    assert_eq!(rows, rows_in_chunks);
    assert_eq!(
        (report.rows, report.blanks, report.faults),
        (report_in_chunks.rows, report_in_chunks.blanks, report_in_chunks.faults)
    );
    // A byte order mark alone is no line.
    let told = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let lines = told.split(|byte| *byte == b'\n').count() - usize::from(told.is_empty() || told.ends_with(b"\n"));
    assert_eq!(report.rows + report.blanks + report.faults, lines as u64);
    // One line is compared value by value: which row is of which line is not told here.
    if lines == 1 && !text.starts_with(b"\xEF\xBB\xBF") {
        compare(&rows, text.strip_suffix(b"\n").unwrap_or(text));
    }
});

fn schema() -> SchemaRef {
    let list = DataType::List(Arc::new(Field::new("element", DataType::Int64, true)));
    let fields = [("i", DataType::Int64), ("t", DataType::Utf8), ("d", DataType::Float64), ("l", list)];
    Arc::new(Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()))
}

fn decode(schema: &SchemaRef, text: &[u8], chunk: usize) -> (Vec<RecordBatch>, Report) {
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let mut decoder = Decoder::new(schema, &all, Options::default()).unwrap();
    let mut rows = Vec::new();
    decoder.begin(0);
    for mut chunk in text.chunks(chunk) {
        loop {
            let step = decoder.decode(chunk);
            chunk = &chunk[step.taken..];
            match step.stop {
                Stop::Taken => break,
                Stop::BatchFull => rows.extend(decoder.take_batch().unwrap()),
                Stop::Faults => drop(decoder.take_faults()),
            }
        }
    }
    decoder.end();
    decoder.take_faults();
    rows.extend(decoder.take_batch().unwrap());
    (rows, decoder.take_report())
}

fn compare(rows: &[RecordBatch], line: &[u8]) {
    let expected: Option<Map<String, Value>> = match serde_json::from_slice(line) {
        Ok(Value::Object(fields)) => Some(fields),
        // It stops there, and does not tell whether the rest is JSON.
        Err(error) if error.to_string().starts_with("number out of range") => return,
        Err(error) if error.to_string().starts_with("recursion limit") => return,
        _ => None,
    };
    let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(count, usize::from(expected.is_some()), "{}", String::from_utf8_lossy(line));
    let (Some(fields), Some(row)) = (expected, rows.first()) else { return };
    // Where a key comes again in another case, serde_json is no judge.
    let again = |name: &str| fields.keys().any(|key| key != name && key.to_lowercase() == name);
    if ["i", "t", "d", "l"].into_iter().any(again) {
        return;
    }
    let integers = row.column(0).as_primitive::<Int64Type>();
    if let Some(integer) = fields.get("i").and_then(Value::as_i64) {
        assert_eq!(integers.is_valid(0).then(|| integers.value(0)), Some(integer));
    }
    let texts = row.column(1).as_string::<i32>();
    if let Some(text) = fields.get("t").and_then(Value::as_str) {
        assert_eq!(texts.is_valid(0).then(|| texts.value(0)), Some(text));
    }
}
