//! Raw objects and tables as a query sees them.

use std::fmt::Write;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use lakewright_engine::{Relation, register_relation};
use lakewright_error::ErrorKind;

use crate::fixture::{Fixture, context, schema, told};

fn events() -> SchemaRef {
    schema(&[("id", DataType::Int64), ("name", DataType::Utf8), ("score", DataType::Float64)])
}

#[tokio::test]
async fn objects_with_odd_keys_are_read() {
    let fixture = Fixture::new(2);
    let keys = ["a b/c#d.json", "x%20y.json", "ünï/日本.json", "q?=&+.json", "plain.json"];
    let objects = keys
        .iter()
        .enumerate()
        .map(|(id, key)| fixture.put_raw(key, format!("{{\"id\":{id},\"name\":\"n\",\"extra\":[1]}}")))
        .collect();
    let session = fixture.raw_session(&events(), objects).await.unwrap();
    let rows = fixture.query(&session, "SELECT count(*) AS n, sum(id) AS s FROM raw.events").await.unwrap();
    assert!(rows.contains("| 5 | 10 |"), "{rows}");
}

#[tokio::test]
async fn every_line_is_read_once_however_objects_are_cut() {
    for partitions in [1, 2, 7] {
        let fixture = Fixture::new(partitions);
        let mut large = String::new();
        for id in 0..60_000 {
            writeln!(large, "{{\"id\":{id},\"name\":\"{}\",\"score\":1.5}}", "x".repeat(id % 90)).unwrap();
        }
        large.pop();
        let objects = vec![
            fixture.put_raw("empty.json", ""),
            fixture.put_raw("large.json", &large),
            fixture.put_raw("small.json", "\u{feff}{\"id\":60000}\r\n\r\n{\"id\":60001}\r\n"),
        ];
        let session = fixture.raw_session(&events(), objects).await.unwrap();
        let sql = "SELECT count(*) AS n, count(DISTINCT id) AS d, sum(id) AS s FROM raw.events";
        let rows = fixture.query(&session, sql).await.unwrap();
        assert!(rows.contains("| 60002 | 60002 | 1800090001 |"), "{partitions}: {rows}");
    }
}

#[tokio::test]
async fn a_bad_record_is_named_by_object_line_and_offset() {
    let cases: [(&str, &[u8], &str); 6] = [
        ("cut short", b"{\"id\":3,\"na", "2"),
        ("no object", b"17\n{\"id\":1}\n", "2"),
        ("another type", b"{\"id\":{\"a\":1}}\n{\"id\":1}\n", "2"),
        ("no number", b"{\"id\":\"x\"}\n", "2"),
        ("invalid UTF-8", b"{\"name\":\"\xff\xfe\"}\n", "2"),
        ("no JSON", b"hello\n", "2"),
    ];
    for (case, bad, line) in cases {
        let fixture = Fixture::new(2);
        let good = fixture.put_raw("a/good.json", "{\"id\":1}\n");
        let bad = fixture.put_raw("b/bad one.json", [b"{\"id\":2}\n", bad].concat());
        let more = fixture.put_raw("c/good.json", "{\"id\":1}\n");
        let session = fixture.raw_session(&events(), vec![good, bad, more]).await.unwrap();
        let error = fixture.query(&session, "SELECT count(id), max(name) FROM raw.events").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{case}: {}", told(&error));
        assert_eq!(context(&error, "object"), Some("b/bad one.json"), "{case}: {}", told(&error));
        assert_eq!(context(&error, "line"), Some(line), "{case}: {}", told(&error));
        assert_eq!(context(&error, "offset"), Some("9"), "{case}: {}", told(&error));
        assert!(std::error::Error::source(&error).is_some(), "{case}");
    }
}

#[tokio::test]
async fn a_bad_record_deep_in_a_large_object_is_named() {
    let fixture = Fixture::new(2);
    let mut text = String::new();
    for id in 0..120_000 {
        writeln!(text, "{{\"id\":{},\"name\":\"some name\"}}", if id == 100_000 { "tru" } else { "77" }).unwrap();
    }
    let offset = text.find("tru").unwrap() - "{\"id\":".len();
    let object = fixture.put_raw("large.json", &text);
    let session = fixture.raw_session(&events(), vec![object]).await.unwrap();
    let error = fixture.query(&session, "SELECT sum(id) FROM raw.events").await.unwrap_err();
    assert_eq!(context(&error, "line"), Some("100001"), "{}", told(&error));
    assert_eq!(context(&error, "offset"), Some(offset.to_string().as_str()));
}

#[tokio::test]
async fn a_field_that_does_not_fit_is_named_by_its_column_and_place() {
    let fixture = Fixture::new(1);
    let object = fixture.put_raw("a.json", "\u{feff}{\"id\":1}\n{\"ID\":1.5}\n");
    let session = fixture.raw_session(&events(), vec![object]).await.unwrap();
    let error = fixture.query(&session, "SELECT id FROM raw.events").await.unwrap_err();
    let places = ["object", "line", "offset", "reason", "column"].map(|key| context(&error, key).unwrap_or_default());
    assert_eq!(places, ["a.json", "2", "12", "does_not_fit", "id"], "{}", told(&error));
    assert!(told(&error).contains("BIGINT at offset 18") && error.hint().is_some(), "{}", told(&error));
}

#[tokio::test]
async fn what_is_no_json_is_refused_also_where_no_column_reads_it() {
    let fixture = Fixture::new(1);
    let object = fixture.put_raw("a.json", "{\"id\":1,\"other\":[01]}\n");
    let session = fixture.raw_session(&events(), vec![object]).await.unwrap();
    let error = fixture.query(&session, "SELECT count(*) AS n FROM raw.events").await.unwrap_err();
    assert_eq!((context(&error, "reason"), context(&error, "column")), (Some("malformed"), None), "{}", told(&error));
}

#[tokio::test]
async fn an_object_that_changed_after_it_was_listed_fails_the_query() {
    let fixture = Fixture::new(1);
    let listed = fixture.put_raw("a.json", "{\"id\":1}\n");
    let other_time = lakewright_lake::RawObject { modified_us: listed.modified_us - 5, ..listed.clone() };
    let other_size = lakewright_lake::RawObject { size_bytes: 5, ..listed.clone() };
    let gone = lakewright_lake::RawObject { key: "gone.json".to_owned(), ..listed };
    for (object, key) in [(other_time, "a.json"), (other_size, "a.json"), (gone, "gone.json")] {
        let session = fixture.raw_session(&events(), vec![object]).await.unwrap();
        let error = fixture.query(&session, "SELECT id FROM raw.events").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{}", told(&error));
        assert_eq!(context(&error, "object"), Some(key), "{}", told(&error));
    }
}

#[tokio::test]
async fn numbers_and_truths_are_their_own_text_in_a_text_column() {
    let fixture = Fixture::new(1);
    let object = fixture.put_raw("a.json", "{\"name\":12.50}\n{\"name\":true}\n{\"name\":null}\n{}\n");
    let session = fixture.raw_session(&events(), vec![object]).await.unwrap();
    let rows = fixture.query(&session, "SELECT name, id FROM raw.events").await.unwrap();
    assert!(rows.contains("| 12.50 |") && rows.contains("| true  |"), "{rows}");
    let rows = fixture.query(&session, "SELECT count(*) AS n FROM raw.events").await.unwrap();
    assert!(rows.contains("| 4 |"), "{rows}");
}

#[tokio::test]
async fn a_source_without_objects_is_empty() {
    let fixture = Fixture::new(2);
    let session = fixture.raw_session(&events(), Vec::new()).await.unwrap();
    let rows = fixture.query(&session, "SELECT count(*) AS n FROM raw.events").await.unwrap();
    assert!(rows.contains("| 0 |"), "{rows}");
}

#[tokio::test]
async fn a_view_has_its_stored_types() {
    let fixture = Fixture::new(1);
    let object = fixture.put_raw("a.json", "{\"id\":7}\n");
    let session = fixture.raw_session(&events(), vec![object]).await.unwrap();
    let view = Relation::View {
        sql: "SELECT \"id\" + 1 AS \"next\" FROM \"raw\".\"events\"".to_owned(),
        schema: schema(&[("next", DataType::Int32)]),
    };
    register_relation(&session, "curated", "next_ids", view).await.unwrap();
    let rows = fixture.query(&session, "SELECT next, arrow_typeof(next) AS t FROM curated.next_ids").await.unwrap();
    assert!(rows.contains("| 8    | Int32 |"), "{rows}");
}

#[tokio::test]
async fn only_queries_are_run() {
    let fixture = Fixture::new(1);
    let object = fixture.put_raw("a.json", "{\"id\":7}\n");
    let session = fixture.raw_session(&events(), vec![object]).await.unwrap();
    for sql in [
        "INSERT INTO raw.events VALUES (1, 'a', 2.0)",
        "CREATE TABLE raw.x AS SELECT 1",
        "DROP TABLE raw.events",
        "SET datafusion.execution.batch_size = 1",
        "COPY (SELECT 1) TO '/tmp/never.parquet'",
        "SELEC 1",
        "SELECT nothing FROM raw.events",
    ] {
        let error = fixture.query(&session, sql).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{sql}: {}", told(&error));
    }
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_query_shows_the_value() {
    let fixture = Fixture::new(1);
    let object = fixture.put_raw("a.json", "{\"name\":\"1\"}\n{\"name\":\"x7\"}\n");
    let session = fixture.raw_session(&events(), vec![object]).await.unwrap();
    let error = fixture.query(&session, "SELECT CAST(name AS INT) AS n FROM raw.events").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(told(&error).contains("x7"), "{}", told(&error));
}

#[tokio::test]
async fn rows_are_numbered_in_their_order_also_where_groups_are_longer_than_batches() {
    let fixture = Fixture::new(2);
    let mut lines = String::new();
    for id in 0..50_000 {
        // Each row has the number that it should get.
        writeln!(lines, "{{\"id\":{id},\"name\":\"n{}\",\"score\":{}}}", id % 3, id / 3 + 1).unwrap();
    }
    let nameless = "{\"id\":7,\"score\":2}\n{\"id\":3,\"score\":1}\n{\"id\":9,\"score\":3}\n";
    let objects = vec![fixture.put_raw("a.json", lines), fixture.put_raw("b.json", nameless)];
    let session = fixture.raw_session(&events(), objects).await.unwrap();
    let sql = "SELECT count(*) AS n, count(*) FILTER (WHERE number = score) AS as_told FROM \
               (SELECT score, row_number() OVER (PARTITION BY name ORDER BY id) AS number FROM raw.events) AS numbered";
    let rows = fixture.query(&session, sql).await.unwrap();
    assert!(rows.contains("| 50003 | 50003   |"), "{rows}");
}
