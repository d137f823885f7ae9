//! Objects that are one value, the hidden columns, and the fields that no column takes.

use std::{fmt::Write, sync::Arc};

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use lakewright_engine::{Compression, MultiLine, RawScan, ReadMode, Reading, Relation, ScanReports, register_relation};
use lakewright_error::{ErrorKind, Result};
use lakewright_lake::{
    RawObject,
    state::{RangeReport, Tally},
};

use crate::fixture::{Fixture, context, schema, told};

fn events() -> SchemaRef {
    schema(&[("id", DataType::Int64), ("name", DataType::Utf8)])
}

async fn read(
    fixture: &Fixture,
    columns: &SchemaRef,
    objects: Vec<RawObject>,
    reading: Reading,
    sql: &str,
) -> Result<(String, Vec<RangeReport>)> {
    let session = fixture.engine.session();
    let reports = ScanReports::default();
    let scan = RawScan {
        raw: fixture.raw.clone(),
        schema: Arc::clone(columns),
        compression: Compression::Auto,
        reading,
        reports: Some(reports.clone()),
        objects,
    };
    register_relation(&session, "raw", "events", Relation::Raw(scan)).await?;
    let rows = fixture.query(&session, sql).await?;
    Ok((rows, reports.take()))
}

fn total(reports: &[RangeReport]) -> Tally {
    let mut tally = Tally::default();
    reports.iter().for_each(|report| tally.add(&report.tally));
    tally
}

fn multi_line(multi_line: MultiLine) -> Reading {
    Reading { multi_line, ..Reading::default() }
}

const COUNTS: &str = "SELECT count(*) AS n, sum(id) AS s FROM raw.events";

/// Rows, the sum of their ids, and rejects.
type Counts = (u64, &'static str, u64);

/// Texts, and what comes of them by `auto`, `true` and `false`.
const LAYOUTS: &[(&str, [Counts; 3])] = &[
    ("{\"id\":1}", [(1, "1", 0), (1, "1", 0), (1, "1", 0)]),
    ("{\"id\":1}\n{\"id\":2}\n", [(2, "3", 0), (0, "", 1), (2, "3", 0)]),
    ("{\n \"id\": 7,\n \"name\": \"x\"\n}\n", [(1, "7", 0), (1, "7", 0), (0, "", 4)]),
    ("\u{feff}[{\"id\":1},\n {\"id\":2},\n 3]\n", [(2, "3", 1), (2, "3", 1), (0, "", 3)]),
    ("[{\"id\":1},{\"id\":2}]", [(2, "3", 0), (2, "3", 0), (0, "", 1)]),
    ("bad\n{\"id\":2}\n{\"id\":3}\n", [(2, "5", 1), (0, "", 1), (2, "5", 1)]),
    ("{\n \"id\": 7,\n", [(0, "", 2), (0, "", 1), (0, "", 2)]),
    ("\n\n", [(0, "", 0), (0, "", 0), (0, "", 0)]),
];

#[tokio::test]
async fn an_object_is_lines_or_one_value_by_the_option_or_by_its_beginning() {
    for suffix in ["json", "json.gz"] {
        for (text, expected) in LAYOUTS {
            for (rule, (rows, sum, rejects)) in
                [MultiLine::Auto, MultiLine::True, MultiLine::False].into_iter().zip(expected)
            {
                let fixture = Fixture::new(1);
                let bytes = if suffix == "json" { text.as_bytes().to_vec() } else { gzip(text) };
                let object = fixture.put_raw(&format!("a.{suffix}"), bytes);
                let (found, reports) = read(&fixture, &events(), vec![object], multi_line(rule), COUNTS).await.unwrap();
                assert!(found.contains(&format!("| {rows} | {sum:<1} |")), "{text:?} {rule:?} {suffix}: {found}");
                let tally = total(&reports);
                assert_eq!((tally.rows, tally.rejects), (*rows, *rejects), "{text:?} {rule:?} {suffix}");
                assert!(reports.iter().all(|report| report.tally.is_balanced()));
            }
        }
    }
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Large objects of each layout, with the rows, rejects and misfits of each.
fn large_objects() -> Vec<(&'static str, String, u64, u64)> {
    let record = |id: u64| format!("{{\"id\":{id},\"name\":\"{}\"}}", "x".repeat(90));
    let mut array = "[\n".to_owned();
    let mut lines = String::new();
    for id in 0..40_000 {
        writeln!(array, "{},", if id % 1000 == 17 { "{\"id\":tru}".to_owned() } else { record(id) }).unwrap();
        writeln!(lines, "{}", record(id)).unwrap();
    }
    array.push_str("{\"id\":0}\n]\n");
    let elements = "\"some text that is an element of an array\",\n".repeat(1 << 16);
    let pretty = format!("{{\n\"id\": 1,\n\"other\": [\n{elements}1\n]\n}}\n");
    let broken = format!("{{\n\"id\": 1,\n\"other\": [\n{elements}1\n]\n");
    let broken_lines = broken.lines().count() as u64;
    let long_first = format!("{{\"id\":1,\"name\":\"{}\"}}\n{lines}", "y".repeat(3 << 20));
    vec![
        ("an array", array, 39_961, 40),
        ("lines", lines, 40_000, 0),
        ("one value", pretty, 1, 0),
        ("neither", broken, 0, broken_lines),
        ("lines of which the first is long", long_first, 40_001, 0),
    ]
}

#[tokio::test]
async fn a_large_object_has_the_same_rows_however_many_tasks_have_ranges_of_it() {
    for (name, text, rows, rejects) in large_objects() {
        let mut seen = Vec::new();
        for partitions in [1, 2, 16] {
            let fixture = Fixture::new(partitions);
            let objects = vec![fixture.put_raw("a.json", &text), fixture.put_raw("b.json", "{\"id\":5}")];
            let size = objects[0].size_bytes;
            let (found, mut reports) = read(&fixture, &events(), objects, Reading::default(), COUNTS).await.unwrap();
            reports.retain(|report| report.object == "a.json");
            let tally = total(&reports);
            let records = reports.iter().flat_map(|report| &report.rejects).count() as u64;
            assert_eq!((tally.rows, tally.rejects, records), (rows, rejects, rejects), "{name} by {partitions}");
            let mut ranges: Vec<_> = reports.iter().map(|report| report.start..report.end).collect();
            ranges.sort_by_key(|range| range.start);
            let end = ranges.iter().try_fold(0, |end, range| (range.start == end).then_some(range.end));
            assert_eq!(end, Some(size), "{name} by {partitions}: the reports tile the object: {ranges:?}");
            let is_cut = partitions > 1 && name.starts_with("lines");
            assert_eq!(ranges.len() > 1, is_cut, "{name} by {partitions}: {ranges:?}");
            seen.push((found, tally));
        }
        assert!(seen.iter().all(|other| *other == seen[0]), "{name}");
    }
}

#[tokio::test]
async fn a_fault_in_a_value_is_told_by_its_own_line() {
    let fixture = Fixture::new(1);
    let object = fixture.put_raw("a.json", "[\n{\"id\":1},\n\n{\"id\":tru}]");
    let (_, reports) = read(&fixture, &events(), vec![object.clone()], Reading::default(), COUNTS).await.unwrap();
    let reject = &reports[0].rejects[0];
    assert_eq!((reject.line, reject.byte_offset, reject.record.as_deref()), (4, 13, Some("{\"id\":tru}")));
    let reading = Reading { mode: ReadMode::FailFast, ..Reading::default() };
    let error = read(&fixture, &events(), vec![object], reading, COUNTS).await.unwrap_err();
    assert_eq!((error.kind(), context(&error, "line")), (ErrorKind::Corrupt, Some("4")), "{}", told(&error));
}

#[tokio::test]
async fn failfast_fails_by_a_field_that_no_query_reads() {
    let fixture = Fixture::new(1);
    let object = fixture.put_raw("a.json", "{\"id\":1}\n{\"id\":1.5}\n");
    let reading = Reading { mode: ReadMode::FailFast, ..Reading::default() };
    let sql = "SELECT count(name) AS n FROM raw.events";
    let error = read(&fixture, &events(), vec![object], reading, sql).await.unwrap_err();
    assert_eq!((context(&error, "line"), context(&error, "column")), (Some("2"), Some("id")), "{}", told(&error));
}

#[tokio::test]
async fn hidden_columns_tell_where_each_row_comes_from() {
    let mut lines = String::new();
    for id in 0..30_000 {
        writeln!(lines, "{{\"id\":{},\"name\":\"{}\"}}\n", id * 2 + 1, "x".repeat(90)).unwrap();
    }
    for partitions in [1, 16] {
        let fixture = Fixture::new(partitions);
        let objects = vec![
            fixture.put_raw("a b/1.json", "{\"id\":1}\nno json\n{\"id\":3}"),
            fixture.put_raw("array.json", "[\n{\"id\":2},\n{\"id\":3}]"),
            fixture.put_raw("large.json", &lines),
        ];
        let modified = objects[0].modified_us;
        let sql = r#"SELECT "_metadata.file_path" AS p, count(*) AS n, min("_metadata.file_size") AS s,
            sum(CASE WHEN id = "_metadata.line" THEN 1 ELSE 0 END) AS same FROM raw.events GROUP BY 1 ORDER BY 1"#;
        let (rows, reports) = read(&fixture, &events(), objects.clone(), Reading::default(), sql).await.unwrap();
        assert!(rows.contains("| a b/1.json | 2     | 25      | 2     |"), "{rows}");
        assert!(rows.contains("| array.json | 2     | 21      | 2     |"), "{rows}");
        assert!(rows.contains(&format!("| large.json | 30000 | {} | 30000 |", lines.len())), "{rows}");
        assert_eq!(reports.len(), 3, "lines are counted from the beginning of an object");

        let sql = r#"SELECT count(*) AS n, CAST(min("_metadata.file_modification_time") AS BIGINT) AS t
            FROM raw.events WHERE "_metadata.file_path" = 'a b/1.json'"#;
        let (rows, reports) = read(&fixture, &events(), objects, Reading::default(), sql).await.unwrap();
        assert!(rows.contains(&format!("| 2 | {} |", modified.div_euclid(1_000_000))), "{rows}");
        assert_eq!(reports.len() > 3, partitions > 1, "without lines a large object has ranges");
    }
}

#[tokio::test]
async fn fields_that_no_column_takes_are_rescued_in_every_mode() {
    let columns = schema(&[("id", DataType::Int64), ("rest", DataType::Utf8)]);
    for mode in [ReadMode::Permissive, ReadMode::DropMalformed, ReadMode::FailFast] {
        let fixture = Fixture::new(1);
        let text = "{\"id\":1}\n{\"id\":\"x\",\"city\":{\"a\": [1]}}\n{\"rest\":\"own\",\"id\":3}\n";
        let reading = Reading { mode, rescued: Some("rest".to_owned()), ..Reading::default() };
        let object = vec![fixture.put_raw("a.json", text)];
        let sql = "SELECT id, rest FROM raw.events ORDER BY id";
        let (rows, reports) = read(&fixture, &columns, object.clone(), reading.clone(), sql).await.unwrap();
        for row in ["| 1  |", "|    | {\"id\":\"x\",\"city\":{\"a\": [1]}} |", "| 3  | {\"rest\":\"own\"} "] {
            assert!(rows.contains(row), "{mode:?}: no {row} in {rows}");
        }
        assert_eq!(total(&reports), Tally { lines: 3, rows: 3, ..Tally::default() });
        let (rows, _) = read(&fixture, &columns, object, reading, "SELECT rest FROM raw.events").await.unwrap();
        assert!(rows.contains("{\"id\":\"x\""), "also if only this column is read: {rows}");
    }
}
