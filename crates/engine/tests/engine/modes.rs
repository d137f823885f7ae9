//! What becomes of records that do not fit, in each mode, and that every line is accounted for.

use std::{fmt::Write, sync::Arc};

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use lakewright_engine::{Compression, RawScan, ReadMode, Reading, Relation, ScanReports, register_relation};
use lakewright_error::{ErrorKind, Result};
use lakewright_lake::state::{RangeReport, Tally};

use crate::fixture::{Fixture, context, schema, told};

fn events() -> SchemaRef {
    schema(&[("id", DataType::Int64), ("name", DataType::Utf8)])
}

/// The rows of a query over one object, and what its scan saw.
async fn read(
    fixture: &Fixture,
    columns: &SchemaRef,
    text: impl AsRef<[u8]>,
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
        objects: vec![fixture.put_raw("events.json", text)],
    };
    register_relation(&session, "raw", "events", Relation::Raw(scan)).await?;
    let rows = fixture.query(&session, sql).await?;
    Ok((rows, reports.take()))
}

fn mode(mode: ReadMode) -> Reading {
    Reading { mode, ..Reading::default() }
}

fn total(reports: &[RangeReport]) -> Tally {
    let mut tally = Tally::default();
    reports.iter().for_each(|report| tally.add(&report.tally));
    tally
}

/// Lines that are no JSON objects, with the code of the reason.
const NO_RECORDS: [(&[u8], &str); 14] = [
    (b"no json at all", "malformed"),
    (b"{\"id\":1", "malformed"),
    (b"{\"id\":1,\"name\":\"x\"", "malformed"),
    (b"{\"id\":1}}", "malformed"),
    (b"{\"id\":1} {\"id\":2}", "malformed"),
    (b"{\"id\":1},", "malformed"),
    (b"{'id':1}", "malformed"),
    (b"{\"id\":1,\"other\":[01]}", "malformed"),
    (b"\"name\":\"x\"}", "malformed"),
    (b"17", "not_an_object"),
    (b"[{\"id\":1}]", "not_an_object"),
    (b"null", "not_an_object"),
    (b"{\"name\":\"\xff\xfe\"}", "invalid_utf8"),
    (b"\x00", "malformed"),
];

#[tokio::test]
async fn a_line_that_is_no_record_is_set_aside_and_its_neighbours_are_rows() {
    let fixture = Fixture::new(1);
    for (line, reason) in NO_RECORDS {
        let text = [b"{\"id\":1}\n\n", line, b"\r\n{\"id\":2}"].concat();
        let sql = "SELECT count(*) AS n, sum(id) AS s FROM raw.events";
        let (rows, reports) = read(&fixture, &events(), &text, mode(ReadMode::Permissive), sql).await.unwrap();
        assert!(rows.contains("| 2 | 3 |"), "{line:?}: {rows}");
        let expected = Tally { lines: 4, rows: 2, rejects: 1, left_out: 0, blanks: 1 };
        assert_eq!(total(&reports), expected, "{line:?}");
        let reject = &reports[0].rejects[0];
        assert_eq!((reject.line, reject.byte_offset, reject.reason.as_str()), (3, 10, reason), "{line:?}: {reject:?}");
        assert_eq!(reject.object, "events.json");
        assert_eq!(reject.record.as_deref(), Some(String::from_utf8_lossy(line).as_ref()));
    }
}

#[tokio::test]
async fn the_text_of_a_long_reject_is_cut() {
    let fixture = Fixture::new(1);
    let text = format!("{{\"id\":1,\"x\":\"{}\"\n{{\"id\":2}}\n", "é".repeat(100_000));
    let (_, reports) =
        read(&fixture, &events(), text, mode(ReadMode::Permissive), "SELECT id FROM raw.events").await.unwrap();
    let record = reports[0].rejects[0].record.as_deref().unwrap_or_default();
    assert!(record.starts_with("{\"id\":1,") && record.len() <= 4100, "{} bytes", record.len());
}

#[tokio::test]
async fn a_field_that_does_not_fit_is_null_and_counted() {
    let fixture = Fixture::new(1);
    let text =
        "{\"id\":1,\"name\":\"a\"}\n{\"id\":\"x\",\"name\":\"b\"}\n{\"id\":3,\"name\":{}}\n{\"id\":[],\"name\":null}\n";
    let sql = "SELECT id, name FROM raw.events ORDER BY name, id";
    let (rows, reports) = read(&fixture, &events(), text, mode(ReadMode::Permissive), sql).await.unwrap();
    for row in ["| 1  | a    |", "|    | b    |", "| 3  | {}   |", "|    |      |"] {
        assert!(rows.contains(row), "no {row} in {rows}");
    }
    assert_eq!(total(&reports), Tally { lines: 4, rows: 4, rejects: 0, left_out: 0, blanks: 0 });
    let misfits = &reports[0].drift.misfits;
    assert_eq!((misfits.get("id"), misfits.get("name")), (Some(&2), None));
}

#[tokio::test]
async fn fields_that_are_not_declared_and_keys_that_come_again_are_counted() {
    let fixture = Fixture::new(1);
    let text = "{\"id\":1,\"city\":\"a\"}\n{\"id\":2,\"id\":3,\"city\":{}}\n{\"id\":4}\nno json\n";
    let sql = "SELECT sum(id) AS s FROM raw.events";
    let (rows, reports) = read(&fixture, &events(), text, mode(ReadMode::Permissive), sql).await.unwrap();
    assert!(rows.contains("| 8 |"), "the last of equal keys counts: {rows}");
    let drift = &reports[0].drift;
    assert_eq!((drift.undeclared.get("city"), drift.undeclared.len(), drift.duplicate_keys), (Some(&2), 1, 1));
}

#[tokio::test]
async fn dropmalformed_leaves_out_the_same_records_whatever_columns_are_read() {
    let fixture = Fixture::new(1);
    let text = "{\"id\":1,\"name\":\"a\"}\n{\"id\":\"x\",\"name\":\"b\"}\nno json\n{\"id\":4}\n";
    for sql in ["SELECT count(*) AS n FROM raw.events", "SELECT count(name) + 1 AS n FROM raw.events"] {
        let (rows, reports) = read(&fixture, &events(), text, mode(ReadMode::DropMalformed), sql).await.unwrap();
        assert!(rows.contains("| 2 |"), "{rows}");
        assert_eq!(total(&reports), Tally { lines: 4, rows: 2, rejects: 0, left_out: 2, blanks: 0 });
        assert_eq!(reports[0].rejects, []);
    }
}

#[tokio::test]
async fn a_declared_column_takes_the_text_of_records_that_do_not_fit() {
    let fixture = Fixture::new(1);
    let columns = schema(&[("id", DataType::Int64), ("bad", DataType::Utf8), ("name", DataType::Utf8)]);
    let reading = Reading { corrupt_record: Some("bad".to_owned()), ..Reading::default() };
    let text = "{\"id\":1,\"name\":\"a\",\"bad\":\"own\"}\n{\"id\":\"x\",\"name\":\"b\"}\nno json\n";
    let sql = "SELECT id, name, bad FROM raw.events ORDER BY bad, id";
    let (rows, reports) = read(&fixture, &columns, text, reading.clone(), sql).await.unwrap();
    assert!(rows.contains("| 1  | a    |  "), "its own key is no text of a record: {rows}");
    assert!(rows.contains("|    | b    | {\"id\":\"x\",\"name\":\"b\"} |"), "{rows}");
    assert!(rows.contains("|    |      | no json "), "{rows}");
    assert_eq!(total(&reports), Tally { lines: 3, rows: 3, rejects: 0, left_out: 0, blanks: 0 });

    let (rows, _) = read(&fixture, &columns, text, reading, "SELECT count(*) AS n FROM raw.events").await.unwrap();
    assert!(rows.contains("| 3 |"), "a malformed record is a row, whether its text is read or not: {rows}");
}

/// Lines of which some are bad, with the offsets and lines of those that are no records.
fn mixed(count: u64) -> (String, Vec<(u64, u64)>) {
    let (mut text, mut bad) = (String::new(), Vec::new());
    for id in 0..count {
        match id % 1000 {
            17 => {
                bad.push((id + 1, text.len() as u64));
                writeln!(text, "{{\"id\":{id},").unwrap();
            }
            500 => text.push('\n'),
            700 => writeln!(text, "{{\"id\":\"x\",\"name\":\"{}\"}}", "y".repeat(60)).unwrap(),
            _ => writeln!(text, "{{\"id\":{id},\"name\":\"{}\"}}", "x".repeat(60)).unwrap(),
        }
    }
    text.pop();
    (text, bad)
}

#[tokio::test]
async fn the_account_is_the_same_however_objects_are_cut() {
    let count = 60_000;
    let (text, bad) = mixed(count);
    for partitions in [1, 2, 16] {
        let fixture = Fixture::new(partitions);
        let sql = "SELECT count(*) AS n, count(id) AS fit FROM raw.events";
        let (rows, reports) = read(&fixture, &events(), &text, mode(ReadMode::Permissive), sql).await.unwrap();
        assert!(rows.contains("| 59880 | 59820 |"), "{partitions}: {rows}");
        assert!(partitions == 1 || reports.len() > 1, "the object is cut");
        let expected = Tally { lines: count, rows: 59_880, rejects: 60, left_out: 0, blanks: 60 };
        assert_eq!(total(&reports), expected, "{partitions}");

        let mut ranges = reports;
        ranges.sort_by_key(|range| range.start);
        let (mut lines, mut found) = (0, Vec::new());
        for range in &ranges {
            assert!(range.tally.is_balanced());
            found.extend(range.rejects.iter().map(|reject| (lines + reject.line, reject.byte_offset)));
            lines += range.tally.lines;
        }
        assert_eq!(found, bad, "{partitions}");
        assert_eq!(ranges.iter().map(|range| range.drift.misfits["id"]).sum::<u64>(), 60);
    }
}

#[tokio::test]
async fn failfast_names_the_line_of_the_object_in_any_range() {
    let (text, _) = mixed(60_000);
    let text = text.replace("\"x\",\"name\"", "5,\"name\"");
    let good: String = text.lines().filter(|line| !line.ends_with(',')).map(|line| format!("{line}\n")).collect();
    let number = good.lines().count() + 1;
    for partitions in [1, 16] {
        let fixture = Fixture::new(partitions);
        let bad = format!("{good}{{\"id\":true,\"name\":\"\"}}\n");
        let sql = "SELECT count(id) AS n FROM raw.events";
        let error = read(&fixture, &events(), &bad, mode(ReadMode::FailFast), sql).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", told(&error));
        assert_eq!(context(&error, "line"), Some(number.to_string().as_str()), "{}", told(&error));
        assert_eq!(context(&error, "offset"), Some(good.len().to_string().as_str()));
        assert_eq!(context(&error, "column"), Some("id"));
    }
}

#[tokio::test]
async fn a_query_that_stops_early_reports_no_range_that_it_has_not_read() {
    let fixture = Fixture::new(1);
    let (text, _) = mixed(60_000);
    let sql = "SELECT id FROM raw.events LIMIT 1";
    let (_, reports) = read(&fixture, &events(), &text, mode(ReadMode::Permissive), sql).await.unwrap();
    assert_eq!(reports, []);
}
