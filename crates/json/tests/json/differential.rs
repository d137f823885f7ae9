//! The decoder against other parsers on generated and damaged records: the same texts are JSON, and have the same values.
//!
//! LAKEWRIGHT_JSON_CASES sets how many cases are tried.

use arrow::{
    array::{Array, AsArray},
    datatypes::{DataType, Float64Type, Int64Type},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::Value;

use crate::fixture::{decode, decode_chunks, schema};
use lakewright_json::Options;

fn config() -> ProptestConfig {
    let cases = option_env!("LAKEWRIGHT_JSON_CASES").and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(2000),
        failure_persistence: None,
        max_global_rejects: 1 << 20,
        ..ProptestConfig::default()
    }
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>()
            .prop_filter("JSON has finite numbers", |value| value.is_finite())
            .prop_map(|value| format!("{value:e}")),
        any::<f64>()
            .prop_filter("JSON has finite numbers", |value| value.is_finite())
            .prop_map(|value| value.to_string()),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| Value::String(text).to_string()),
        "\"([a-zä€𝄞 ]|\\\\[\"\\\\/bfnrt]|\\\\u00[0-9a-fA-F]{2}|\\\\uD8[0-9A-F]{2}\\\\uDC[0-9a-f]{2}){0,40}\"",
    ]
}

fn value() -> impl Strategy<Value = String> {
    let leaf =
        prop_oneof![number(), text(), Just("null".to_owned()), Just("true".to_owned()), Just("false".to_owned())];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(" ,"))),
            vec((text(), inner), 0..4).prop_map(|fields| {
                let fields: Vec<String> = fields.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

fn record() -> impl Strategy<Value = String> {
    let key = prop_oneof![Just("\"i\"".to_owned()), Just("\"d\"".to_owned()), Just("\"t\"".to_owned()), text()];
    vec((key, value()), 0..5).prop_map(|fields| {
        let fields: Vec<String> = fields.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
        format!("{{{}}}", fields.join(", "))
    })
}

/// A record, and one with bytes replaced, put in or taken out.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![proptest::sample::select(b"\"\\{}[],:0123456789-+.eEuntf \t".to_vec()), any::<u8>()];
    (record(), vec((any::<Index>(), byte, 0..3), 0..3)).prop_map(|(record, damages)| {
        let mut bytes = record.into_bytes();
        for (index, byte, kind) in damages {
            let at = index.index(bytes.len() + 1);
            match kind {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        bytes
    })
}

/// What serde_json has for a line, if it is an object.
///
/// # Errors
/// A number is beyond a double. serde_json stops there, so it does not tell whether the rest is JSON.
fn by_serde(line: &[u8]) -> Result<Option<serde_json::Map<String, Value>>, TestCaseError> {
    match serde_json::from_slice::<Value>(line) {
        Ok(Value::Object(fields)) => Ok(Some(fields)),
        Err(error) if error.to_string().starts_with("number out of range") => Err(TestCaseError::reject("no judge")),
        _ => Ok(None),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_same_records_are_accepted(line in damaged()) {
        prop_assume!(!line.iter().any(|byte| matches!(byte, b'\n')) && !line.trim_ascii().is_empty());
        let is_record = by_serde(&line)?.is_some();
        for columns in [schema(&[("i", DataType::Int64), ("t", DataType::Utf8)]), schema(&[("none", DataType::Int64)])] {
            let decoded = decode(&columns, Options::default(), &line);
            prop_assert_eq!(decoded.faults.is_empty(), is_record, "{:?} {:?}", String::from_utf8_lossy(&line), decoded.codes());
            prop_assert_eq!(decoded.batch.num_rows(), usize::from(is_record));
        }
    }

    #[test]
    fn doubles_are_the_nearest(number in number()) {
        // serde_json rounds some numbers to a neighbour, so the standard library is the judge here.
        let decoded = decode(&schema(&[("d", DataType::Float64)]), Options::default(), format!("{{\"d\":{number}}}"));
        let doubles = decoded.batch.column(0).as_primitive::<Float64Type>();
        let expected = number.parse().ok().filter(|value: &f64| value.is_finite()).map(f64::to_bits);
        prop_assert_eq!(doubles.is_valid(0).then(|| doubles.value(0).to_bits()), expected, "{}", number);
    }

    #[test]
    fn the_same_values_are_decoded(line in record()) {
        let columns = schema(&[("i", DataType::Int64), ("d", DataType::Float64), ("t", DataType::Utf8)]);
        let decoded = decode(&columns, Options::default(), &line);
        let Some(fields) = by_serde(line.as_bytes())? else { return Err(TestCaseError::fail(line)) };
        prop_assert_eq!(decoded.batch.num_rows(), 1, "{}", line);
        // Where a key comes again in another case, serde_json is no judge.
        let upper = |name: &str| fields.keys().any(|key| key != name && key.to_lowercase() == name);
        if ["i", "d", "t"].into_iter().any(upper) {
            return Ok(());
        }
        let integers = decoded.batch.column(0).as_primitive::<Int64Type>();
        if let Some(integer) = fields.get("i").and_then(Value::as_i64) {
            prop_assert_eq!(integers.is_valid(0).then(|| integers.value(0)), Some(integer), "{}", line);
        }
        let texts = decoded.batch.column(2).as_string::<i32>();
        if let Some(text) = fields.get("t").and_then(Value::as_str) {
            prop_assert_eq!(texts.is_valid(0).then(|| texts.value(0)), Some(text), "{}", line);
        }
    }

    #[test]
    fn the_chunks_make_no_difference(lines in vec(damaged(), 1..6), sizes in vec(1_usize..50, 1..20)) {
        let text = lines.join(&b'\n');
        let columns = schema(&[("i", DataType::Int64), ("d", DataType::Float64), ("t", DataType::Utf8)]);
        let whole = decode(&columns, Options::default(), &text);
        let mut chunks = Vec::new();
        let mut rest = text.as_slice();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at(rest.len().min(*size));
            chunks.push(chunk);
            rest = after;
        }
        let cut = decode_chunks(&columns, Options::default(), &chunks);
        prop_assert_eq!(&cut.faults, &whole.faults);
        prop_assert_eq!(&cut.report, &whole.report);
        // NaN is not decoded, so columns are equal if they are the same.
        prop_assert_eq!(&cut.batch, &whole.batch);
        let report = &whole.report;
        prop_assert_eq!(report.rows + report.faults + report.blanks, report.newlines + u64::from(!text.ends_with(b"\n") && !text.is_empty()));
    }
}
