//! Records that are no rows: each is told with its place, and leaves its neighbours as they are.

use arrow::datatypes::DataType;

use crate::fixture::{decode, decode_chunks, decode_layout, decode_whole, list, map, schema, strict, told};
use lakewright_json::{Decoder, Layout, Limits, Options};

fn columns() -> arrow::datatypes::SchemaRef {
    schema(&[
        ("id", DataType::Int64),
        ("name", DataType::Utf8),
        ("tags", list(DataType::Utf8)),
        ("more", map(DataType::Int64)),
    ])
}

/// Each a line that is no record, and its reason.
const BROKEN: &[(&[u8], &str)] = &[
    (br#"{"id":9,"name":"cut"#, "malformed"),
    (br#"{"id":9,"#, "malformed"),
    (br#"{"id":9,"name":"x","tags":["a","#, "malformed"),
    (br#"{"id":9} {"id":10}"#, "malformed"),
    (br#"{"id":9},"#, "malformed"),
    (br#"{"id":9"name":"x"}"#, "malformed"),
    (br#"{"id":9,,"name":"x"}"#, "malformed"),
    (br#"{"id":9,}"#, "malformed"),
    (br#"{id:9}"#, "malformed"),
    (br#"{'id':9}"#, "malformed"),
    (br#"{"id":09}"#, "malformed"),
    (br#"{"id":+9}"#, "malformed"),
    (br#"{"id":9.}"#, "malformed"),
    (br#"{"id":NaN}"#, "malformed"),
    (br#"{"id":Infinity}"#, "malformed"),
    (br#"{"id":True}"#, "malformed"),
    (br#"{"other":01}"#, "malformed"),
    (br#"{"other":[1 2]}"#, "malformed"),
    (br#"{"other":{"a":"\x"}}"#, "malformed"),
    (br#"{"other":"\ud800"}"#, "malformed"),
    (br#"{"name":"\udc00\ud800"}"#, "malformed"),
    (b"{\"other\":\"a\tb\"}", "malformed"),
    (b"{\"name\":\"a\x00b\"}", "malformed"),
    (b"{\"id\":1}\x00", "malformed"),
    (b"{\"name\":\"\xff\xfe\"}", "invalid_utf8"),
    (b"{\"other\":\"\xed\xa0\x80\"}", "invalid_utf8"),
    (b"\xef\xbb\xbf{\"id\":9}", "malformed"),
    (b"hello", "malformed"),
    (b"]", "malformed"),
    (b"[{\"id\":9}]", "not_an_object"),
    (b"17", "not_an_object"),
    (b"\"text\"", "not_an_object"),
    (b"null", "not_an_object"),
    (br#"{"id":1.5}"#, "does_not_fit"),
    (br#"{"id":"9"}"#, "does_not_fit"),
    (br#"{"tags":"x"}"#, "does_not_fit"),
    (br#"{"more":{"a":1,"b":"x"}}"#, "does_not_fit"),
];

#[test]
fn a_broken_line_leaves_its_neighbours_as_they_are() {
    for (line, code) in BROKEN {
        let before = br#"{"id":1,"name":"before","tags":["p"],"more":{"k":1}}"#;
        let after = br#"{"id":2,"name":"after","tags":["q","r"],"more":{"l":2}}"#;
        let text = [before.as_slice(), b"\n", line, b"\n", after, b"\n"].concat();
        let decoded = decode(&columns(), strict(), &text);
        let what = String::from_utf8_lossy(line);
        assert_eq!(decoded.codes(), [*code], "{what}");
        let fault = &decoded.faults[0];
        assert_eq!((fault.record_start, fault.record_bytes), (before.len() as u64 + 1, line.len() as u64), "{what}");
        assert_eq!(fault.text, *line, "{what}");
        assert!(
            fault.at >= fault.record_start && fault.at <= fault.record_start + fault.record_bytes,
            "{what}: {fault:?}"
        );
        assert_eq!(decoded.texts("id"), told(&["1", "2"]), "{what}");
        assert_eq!(decoded.texts("name"), told(&["before", "after"]), "{what}");
        assert_eq!(decoded.texts("tags"), told(&["[p]", "[q, r]"]), "{what}");
        assert_eq!(decoded.texts("more"), told(&["{k: 1}", "{l: 2}"]), "{what}");
        assert_eq!((decoded.report.rows, decoded.report.faults, decoded.report.newlines), (2, 1, 3), "{what}");
    }
}

#[test]
fn a_fault_is_told_with_its_place_and_column() {
    let inner = DataType::Struct(vec![arrow::datatypes::Field::new("zip", DataType::Int64, true)].into());
    let columns = schema(&[("id", DataType::Int64), ("address", inner)]);
    let decoded = decode(&columns, strict(), "{\"id\":1}\n{\"id\":2,\"address\":{\"zip\":\"x\"}}\n{\"id\":01}");
    let places: Vec<_> =
        decoded.faults.iter().map(|fault| (fault.record_start, fault.at, fault.column.as_deref())).collect();
    assert_eq!(places, [(9, 34, Some("address.zip")), (40, 46, None)]);
    assert!(decoded.faults[0].to_string().contains("BIGINT"), "{}", decoded.faults[0]);
}

#[test]
fn whatever_the_chunks_are_the_result_is_the_same() {
    let mut text = b"\xef\xbb\xbf{\"id\":0,\"name\":\"a\xc3\xa4\"}\r\n\r\n  \n".to_vec();
    for (number, (line, _)) in BROKEN.iter().enumerate() {
        text.extend_from_slice(format!("{{\"id\":{number},\"tags\":[\"{}\"]}}\n", "ü".repeat(number)).as_bytes());
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.extend_from_slice(b"{\"id\":99}");
    let options =
        || Options { batch_rows: 5, limits: Limits { record_bytes_max: 60, ..Limits::default() }, ..strict() };
    let whole = decode(&columns(), options(), &text);
    assert_eq!(whole.faults.first().map(|fault| fault.record_start), Some(52));
    assert_eq!(whole.report.blanks, 2);
    assert!(whole.codes().contains(&"too_long"));
    for size in (1..40).chain([100, 1000]) {
        let chunks: Vec<&[u8]> = text.chunks(size).collect();
        assert_eq!(decode_chunks(&columns(), options(), &chunks), whole, "chunks of {size} bytes");
    }
}

#[test]
fn a_first_line_of_a_byte_order_mark_alone_is_blank_in_any_chunks() {
    let text = "\u{FEFF}\n{\"id\": 1}\n".as_bytes();
    let whole = decode(&columns(), strict(), text);
    assert_eq!((whole.report.rows, whole.report.blanks), (1, 1));
    for size in 1..text.len() {
        let chunks: Vec<&[u8]> = text.chunks(size).collect();
        assert_eq!(decode_chunks(&columns(), strict(), &chunks), whole, "chunks of {size} bytes");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over_at_the_start_only() {
    let decoded = decode(&columns(), strict(), "\u{feff}{\"id\":1}\n\u{feff}{\"id\":2}\n{\"id\":\"x\"}\n");
    assert_eq!(decoded.texts("id"), told(&["1"]));
    assert_eq!(decoded.faults.iter().map(|fault| fault.record_start).collect::<Vec<_>>(), [12, 24]);
    let decoded = decode(&columns(), strict(), "\u{feff}{\"id\":\"x\"}");
    assert_eq!((decoded.faults[0].record_start, decoded.faults[0].at), (3, 9));
    assert_eq!(decode(&columns(), strict(), "\u{feff}").report.blanks, 0);
}

#[test]
fn empty_texts_blank_lines_and_missing_newlines_are_fine() {
    for (text, rows, blanks, newlines) in [
        ("", 0, 0, 0),
        ("\n", 0, 1, 1),
        ("\r\n \t\r\n", 0, 2, 2),
        ("{}", 1, 0, 0),
        ("{}\n\n{}\r\n", 2, 1, 3),
        (" {} ", 1, 0, 0),
    ] {
        let decoded = decode(&columns(), strict(), text);
        let report = &decoded.report;
        assert_eq!((report.rows, report.blanks, report.newlines), (rows, blanks, newlines), "{text:?}");
        assert_eq!(decoded.faults, []);
    }
}

#[test]
fn bombs_are_refused_by_limits_that_have_names() {
    let deep =
        |depth: usize| [b"{\"x\":".to_vec(), vec![b'['; depth - 1], vec![b']'; depth - 1], b"}".to_vec()].concat();
    let keys = |count: usize| format!("{{{}}}", vec!["\"k\":1"; count].join(","));
    let long = |bytes: usize| format!("{{\"name\":\"{}\"}}", "x".repeat(bytes - 11));
    let code = |text: &[u8]| decode(&columns(), strict(), text).codes().first().copied();
    assert_eq!((code(&deep(128)), code(&deep(129))), (None, Some("too_deep")));
    assert_eq!(code(&[b'['; 1 << 20]), Some("too_deep"));
    assert_eq!(code(&b"{\"a\":".repeat(1 << 20)), Some("too_deep"));
    assert_eq!((code(keys(100_000).as_bytes()), code(keys(100_001).as_bytes())), (None, Some("too_many_keys")));
    assert_eq!((code(long(64 << 20).as_bytes()), code(long((64 << 20) + 1).as_bytes())), (None, Some("too_long")));
}

#[test]
fn a_line_that_is_too_long_takes_no_memory_and_ends_at_its_newline() {
    let limits = Limits { record_bytes_max: 100, ..Limits::default() };
    let text = [vec![b'x'; 1 << 20], b"\n{\"id\":1}\n".to_vec()].concat();
    let chunks: Vec<&[u8]> = text.chunks(1000).collect();
    let decoded = decode_chunks(&columns(), Options { limits, ..strict() }, &chunks);
    assert_eq!(decoded.codes(), ["too_long"]);
    assert_eq!((decoded.faults[0].record_bytes, decoded.faults[0].text.len()), (1 << 20, 4096));
    assert_eq!(decoded.texts("id"), told(&["1"]));
}

#[test]
fn a_value_over_many_lines_is_an_object_or_an_array_of_them() {
    let decoded = decode_whole(&columns(), strict(), "\u{feff}\n{\n  \"id\": 1,\r\n  \"name\": \"x\"\n}\n");
    assert_eq!((decoded.texts("id"), decoded.report.newlines), (told(&["1"]), 5));
    let text = "[\n {\"id\": 1},\n 17, {\"id\": \"x\"} ,{\"id\": 3}]";
    let decoded = decode_whole(&columns(), strict(), text);
    assert_eq!(decoded.texts("id"), told(&["1", "3"]));
    assert_eq!(decoded.codes(), ["not_an_object", "does_not_fit"]);
    assert_eq!(decoded.faults[1].text, b"{\"id\": \"x\"}");
    let lines = decoded.faults.iter().map(|fault| (fault.line, fault.record_start));
    assert_eq!(lines.collect::<Vec<_>>(), [(3, 15), (3, 19)]);
    for text in ["{\"id\": 1} {\"id\": 2}", "{\"id\": 1}\n{\"id\": 2}\n", "{\"id\": 1,\n}"] {
        let decoded = decode_whole(&columns(), strict(), text);
        assert_eq!((decoded.codes(), decoded.batch.num_rows()), (vec!["malformed"], 0), "{text}");
    }
}

/// An array, the ids that are rows, and the lines and texts of its faults.
type ArrayCase = (&'static str, &'static [&'static str], &'static [(u64, &'static str)]);

const ARRAYS: &[ArrayCase] = &[
    ("[]", &[], &[]),
    (" [ ] \n", &[], &[]),
    ("[{\"id\":1}]", &["1"], &[]),
    ("[{\"id\":1},\n{\"id\":tru},\n{\"id\":3}]", &["1", "3"], &[(2, "{\"id\":tru}")]),
    ("[{\"id\":1}\n, {\"id\":2,\"name\":\"]}\\\"\"}]", &["1", "2"], &[]),
    ("[{\"id\":1},\n{\"id\":2", &["1"], &[(2, "{\"id\":2")]),
    ("[{\"id\":1},\n{\"id\":2]", &["1"], &[(2, "{\"id\":2]"), (2, "")]),
    ("[{\"id\":1}", &["1"], &[(1, "")]),
    ("[{\"id\":1},", &["1"], &[(1, "")]),
    ("[{\"id\":1},\n]\n", &["1"], &[(2, "]\n")]),
    ("[{\"id\":1}{\"id\":2}]", &["1"], &[(1, "{\"id\":2}]")]),
    ("[{\"id\":1}]\n[{\"id\":2}]", &["1"], &[(2, "[{\"id\":2}]")]),
    ("[{\"id\":{\"x\":1}}},{\"id\":2}]", &[], &[(1, "{\"id\":{\"x\":1}}"), (1, "},{\"id\":2}]")]),
    ("[{\"id\":1},\"x},{\"id\":2}]", &["1"], &[(1, "\"x},{\""), (1, "id\":2}]")]),
    ("[1", &[], &[(1, "1"), (1, "")]),
    ("[1 2]", &[], &[(1, "1"), (1, "2]")]),
];

#[test]
fn an_element_that_is_broken_leaves_its_neighbours_alone_however_the_array_is_cut() {
    for (text, ids, faults) in ARRAYS {
        for size in [1, 2, 3, 7, 1000] {
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let decoded = decode_layout(&columns(), strict(), Layout::Array, &chunks);
            assert_eq!(decoded.texts("id"), told(ids), "{text} by {size}");
            let found = decoded.faults.iter().map(|fault| (fault.line, str::from_utf8(&fault.text).unwrap()));
            assert_eq!(found.collect::<Vec<_>>(), *faults, "{text} by {size}");
            assert_eq!(decoded.report.newlines, text.matches('\n').count() as u64, "{text} by {size}");
            let records = decoded.report.rows + decoded.report.faults + decoded.report.blanks;
            assert_eq!(records, (ids.len() + faults.len()) as u64, "{text} by {size}");
        }
    }
}

#[test]
fn an_array_of_any_length_takes_the_memory_of_one_element() {
    let limits = Limits { record_bytes_max: 100, ..Limits::default() };
    let long = format!("{{\"id\":0,\"name\":\"{}\"}}", "x".repeat(1 << 20));
    let text = format!("[{long},{}{{\"id\":2}}]", "{\"id\":1},".repeat(10_000));
    let chunks: Vec<&[u8]> = text.as_bytes().chunks(1000).collect();
    let options = Options { limits, batch_rows: 100, ..strict() };
    let decoded = decode_layout(&columns(), options, Layout::Array, &chunks);
    assert_eq!((decoded.codes(), decoded.report.rows), (vec!["too_long"], 10_001));
    assert_eq!((decoded.faults[0].record_bytes, decoded.faults[0].text.len()), (long.len() as u64, 4096));
}

#[test]
fn a_value_without_end_takes_the_memory_of_one_record() {
    let limits = Limits { record_bytes_max: 100, ..Limits::default() };
    let text = format!("{{\n\"name\":\"{}", "x".repeat(1 << 20));
    let chunks: Vec<&[u8]> = text.as_bytes().chunks(1000).collect();
    let decoded = decode_layout(&columns(), Options { limits, ..strict() }, Layout::Value, &chunks);
    assert_eq!(decoded.codes(), ["too_long"]);
    assert_eq!((decoded.faults[0].record_bytes, decoded.faults[0].text.len()), (text.len() as u64, 4096));
}

#[test]
fn the_line_of_each_row_is_kept_if_asked_for() {
    let options = Options { lines: true, corrupt_column: Some(1), ..Options::default() };
    let columns = schema(&[("id", DataType::Int64), ("bad", DataType::Utf8)]);
    for (layout, text, lines) in [
        (Layout::Lines, "{\"id\":1}\n\nbad\r\n{\"id\":2}", vec![1, 3, 4]),
        (Layout::Array, "[\n{\"id\":1},{\n\"id\":tru},\n\n{\"id\":2}\n]", vec![2, 2, 5]),
        (Layout::Value, "\n\n{\n\"id\":1}", vec![3]),
    ] {
        let mut decoder = Decoder::new(&columns, &[0, 1], options.clone()).unwrap();
        decoder.begin_whole(layout);
        assert_eq!(decoder.decode(text.as_bytes()).taken, text.len());
        decoder.end();
        assert_eq!(decoder.take_batch().unwrap().unwrap().num_rows(), lines.len());
        assert_eq!(decoder.take_lines(), lines, "{text}");
    }
}
