//! Tables as the write node leaves them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{
            ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
            RecordBatch, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
        },
        datatypes::{DataType, Int64Type, SchemaRef, TimeUnit},
    },
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
};
use lakewright_engine::{TableWrite, execute_table_write, plan_table_write};
use lakewright_error::ErrorKind;
use lakewright_lake::{DataFile, Prefix};
use proptest::{collection::vec, option, prelude::*};

use crate::{
    failing_store::FullStore,
    fixture::{Fixture, context, schema, told},
};

fn two_columns() -> SchemaRef {
    schema(&[("id", DataType::Int64), ("name", DataType::Utf8)])
}

fn numbers(from: i64, count: i64) -> RecordBatch {
    let ids = Int64Array::from_iter_values(from..from + count);
    let names = StringArray::from_iter_values((from..from + count).map(|id| format!("name {id}")));
    RecordBatch::try_new(two_columns(), vec![Arc::new(ids), Arc::new(names)]).unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn ids(fixture: &Fixture, files: &[DataFile]) -> Vec<i64> {
    let rows = files.iter().flat_map(|file| fixture.read_file(file));
    rows.flat_map(|rows| rows["id"].as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

#[tokio::test]
async fn rows_in_are_rows_out_in_one_file_when_they_are_few() {
    for partitions in [1, 2, 7] {
        let fixture = Fixture::new(partitions);
        let count = i64::try_from(partitions).unwrap();
        let session = fixture.memory_session((0..count).map(|index| vec![numbers(index * 100, 100)]).collect());
        let write = fixture.write(two_columns());
        let files = fixture.run(&session, "SELECT id, name FROM input", write.clone()).await.unwrap();
        assert_eq!(files.len(), 1);
        assert!(files[0].path.starts_with("run1-") && files[0].path.ends_with(".parquet"), "{}", files[0].path);
        assert_eq!(ids(&fixture, &files).into_iter().collect::<BTreeSet<_>>(), (0..count * 100).collect());
        let back = fixture.query_table(&write, &files, "SELECT count(*) AS n, min(name) AS m FROM zone.table").await;
        let back = back.unwrap();
        assert!(back.contains(&format!("| {} ", partitions * 100)) && back.contains("| name 0 |"), "{back}");
        assert_eq!(fixture.progress.lock().unwrap().rows_written, partitions as u64 * 100);
    }
}

#[tokio::test]
async fn progress_counts_what_scans_read() {
    let fixture = Fixture::new(2);
    let text = "{\"id\":1,\"name\":\"a\"}\n".repeat(1000);
    let object = fixture.put_raw("a.json", &text);
    let session = fixture.raw_session(&two_columns(), vec![object]).await.unwrap();
    let sql = "SELECT id, name FROM raw.events WHERE id > 5";
    let files = fixture.run(&session, sql, fixture.write(two_columns())).await.unwrap();
    assert_eq!(files, []);
    let progress = *fixture.progress.lock().unwrap();
    assert_eq!((progress.rows_read, progress.bytes_read, progress.rows_written), (1000, text.len() as u64, 0));
}

#[tokio::test]
async fn an_empty_result_makes_no_file() {
    let fixture = Fixture::new(2);
    let session = fixture.memory_session(vec![vec![numbers(0, 10)]]);
    let sql = "SELECT id, name FROM input WHERE id < 0";
    assert_eq!(fixture.run(&session, sql, fixture.write(two_columns())).await.unwrap(), []);
    assert_eq!(fixture.objects(), Vec::<String>::new());
}

#[tokio::test]
async fn odd_partition_values_are_written_and_read_back() {
    let fixture = Fixture::new(2);
    let texts = ["a/b", "100%", "with space", "🎵", "x=y", "..", "日本", "a\\b", "tab\there", "'quoted\""];
    let mut values: Vec<Option<&str>> = texts.iter().copied().map(Some).collect();
    values.push(None);
    let count = i64::try_from(values.len()).unwrap();
    let rows = batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..count))),
        ("text", Arc::new(StringArray::from(values.clone()))),
    ]);
    let session = fixture.memory_session(vec![vec![rows]]);
    let write = TableWrite {
        partition_columns: vec!["text".to_owned()],
        ..fixture.write(schema(&[("id", DataType::Int64), ("text", DataType::Utf8)]))
    };
    let files = fixture.run(&session, "SELECT id, text FROM input", write.clone()).await.unwrap();
    assert_eq!(files.len(), values.len());
    assert_eq!(fixture.objects(), files.iter().map(|file| file.path.clone()).collect::<Vec<_>>());
    for file in &files {
        let id = usize::try_from(ids(&fixture, std::slice::from_ref(file))[0]).unwrap();
        assert_eq!(file.partition_values["text"].as_deref(), values[id]);
    }
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    for directory in ["text=a%2Fb/", "text=100%25/", "text=with space/", "text=🎵/", "text=__HIVE_DEFAULT_PARTITION__/"]
    {
        assert!(paths.iter().any(|path| path.starts_with(directory)), "{directory}: {paths:?}");
    }
    for (id, value) in values.iter().enumerate() {
        let filter = value.map_or("text IS NULL".to_owned(), |value| format!("text = '{}'", value.replace('\'', "''")));
        let sql = format!("SELECT id, text IS NULL AS n FROM zone.table WHERE {filter}");
        let back = fixture.query_table(&write, &files, &sql).await.unwrap();
        assert!(back.contains(&format!("| {id:<2} | {} |", value.is_none())), "{sql}\n{back}");
    }
}

#[tokio::test]
async fn typed_partition_values_are_written_as_delta_reads_them() {
    let fixture = Fixture::new(2);
    let columns: Vec<(&str, ArrayRef, [Option<&str>; 3])> = vec![
        (
            "d",
            Arc::new(Date32Array::from(vec![Some(17_836), Some(-1), None])),
            [Some("2018-11-01"), Some("1969-12-31"), None],
        ),
        (
            "t",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_541_106_000_123_000), Some(-1), None]).with_timezone("UTC"),
            ),
            [Some("2018-11-01T21:00:00.123000Z"), Some("1969-12-31T23:59:59.999999Z"), None],
        ),
        (
            "c",
            Arc::new(
                Decimal128Array::from(vec![Some(-5), Some(123_450), None]).with_precision_and_scale(10, 2).unwrap(),
            ),
            [Some("-0.05"), Some("1234.50"), None],
        ),
        ("i", Arc::new(Int32Array::from(vec![Some(-7), Some(0), None])), [Some("-7"), Some("0"), None]),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])), [Some("true"), Some("false"), None]),
        ("f", Arc::new(Float64Array::from(vec![Some(1.5), Some(-0.25), None])), [Some("1.5"), Some("-0.25"), None]),
    ];
    for (name, array, texts) in columns {
        let rows = batch(vec![("id", Arc::new(Int64Array::from(vec![0, 1, 2]))), (name, Arc::clone(&array))]);
        let schema = rows.schema();
        let session = fixture.memory_session(vec![vec![rows]]);
        let write = TableWrite { partition_columns: vec![name.to_owned()], ..fixture.write(schema) };
        let sql = format!("SELECT id, {name} FROM input");
        let files = fixture.run(&session, &sql, write.clone()).await.unwrap();
        let mut found = BTreeMap::new();
        for file in &files {
            found.insert(ids(&fixture, std::slice::from_ref(file))[0], file.partition_values[name].clone());
        }
        let wanted = texts.iter().map(|text| text.map(str::to_owned)).enumerate();
        assert_eq!(found, wanted.map(|(id, text)| (i64::try_from(id).unwrap(), text)).collect(), "{name}");
        let same = fixture.memory_session(vec![vec![batch(vec![("v", array)])]]);
        let wanted = fixture.query(&same, "SELECT v FROM input").await.unwrap();
        let back =
            fixture.query_table(&write, &files, &format!("SELECT {name} AS v FROM zone.table ORDER BY id")).await;
        assert_eq!(back.unwrap(), wanted, "{name}");
    }
}

#[tokio::test]
async fn empty_text_in_a_partition_column_is_refused_by_name() {
    let fixture = Fixture::new(1);
    let session = fixture.memory_session(vec![vec![numbers(0, 3)]]);
    let write = TableWrite { partition_columns: vec!["name".to_owned()], ..fixture.write(two_columns()) };
    let sql = "SELECT id, replace(name, 'name 1', '') AS name FROM input";
    let error = fixture.run(&session, sql, write).await.unwrap_err();
    assert_eq!((error.kind(), context(&error, "column")), (ErrorKind::Invalid, Some("name")), "{}", told(&error));
}

#[tokio::test]
async fn files_are_split_near_the_target_size() {
    let fixture = Fixture::new(2);
    let noise: Vec<i64> = (0..60_000_i64).map(|id| id.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed())).collect();
    let rows = batch(vec![("id", Arc::new(Int64Array::from(noise.clone())))]);
    let session = fixture.memory_session(vec![vec![rows.slice(0, 30_000)], vec![rows.slice(30_000, 30_000)]]);
    let target = 64 << 10;
    let write = TableWrite { target_file_size_bytes: target, ..fixture.write(schema(&[("id", DataType::Int64)])) };
    let files = fixture.run(&session, "SELECT id FROM input", write).await.unwrap();
    let sizes: Vec<u64> = files.iter().map(|file| file.size_bytes).collect();
    assert!((6..=12).contains(&files.len()), "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= target * 12 / 10), "{sizes:?}");
    assert_eq!(ids(&fixture, &files).into_iter().collect::<BTreeSet<_>>(), noise.into_iter().collect());
}

#[tokio::test]
async fn many_partition_values_are_written_in_little_memory() {
    const VALUES: i64 = 2000;
    for clustered in [false, true] {
        let fixture = Fixture::with_memory(2, 48 << 20);
        let batches = |shift: i64| {
            let ids = (0..40)
                .map(move |index| Int64Array::from_iter_values((0..1000).map(|row| (index * 1000 + row) * 2 + shift)));
            ids.map(|ids| {
                let keys = Int64Array::from_iter_values(ids.values().iter().map(|id| id * 7919 % VALUES));
                let texts = StringArray::from_iter_values(ids.values().iter().map(|id| format!("{id:0>60}")));
                batch(vec![("id", Arc::new(ids)), ("key", Arc::new(keys)), ("text", Arc::new(texts))])
            })
            .collect::<Vec<_>>()
        };
        let session = fixture.memory_session(vec![batches(0), batches(1)]);
        let table = schema(&[("id", DataType::Int64), ("key", DataType::Int64), ("text", DataType::Utf8)]);
        let write = TableWrite {
            partition_columns: vec!["key".to_owned()],
            clustered_by: if clustered { vec!["id".to_owned()] } else { Vec::new() },
            ..fixture.write(table)
        };
        let files = fixture.run(&session, "SELECT id, key, text FROM input", write.clone()).await.unwrap();
        assert_eq!(files.len(), 2000, "one file a value");
        assert_eq!(files.iter().map(|file| file.row_count).sum::<u64>(), 80_000);
        for file in files.iter().step_by(191) {
            let found = ids(&fixture, std::slice::from_ref(file));
            let key: i64 = file.partition_values["key"].as_deref().unwrap().parse().unwrap();
            assert!(found.iter().all(|id| id * 7919 % VALUES == key));
            assert!(!clustered || found.is_sorted());
        }
        let sql = "SELECT count(*) AS n, count(DISTINCT id) AS d FROM zone.table WHERE key = CAST(text AS BIGINT) * 7919 % 2000";
        let back = fixture.query_table(&write, &files, sql).await.unwrap();
        assert!(back.contains("| 80000 | 80000 |"), "{back}");
    }
}

#[tokio::test]
async fn rows_are_in_clustered_order_inside_files() {
    let fixture = Fixture::new(2);
    let shuffled = |from: i64| {
        let ids = Int64Array::from_iter_values((0..5000).map(|row| (row * 7919 + from) % 10_007));
        let names = StringArray::from_iter_values(ids.values().iter().map(|id| format!("{}", id % 3)));
        RecordBatch::try_new(two_columns(), vec![Arc::new(ids), Arc::new(names)]).unwrap()
    };
    let session = fixture.memory_session(vec![vec![shuffled(0)], vec![shuffled(1)]]);
    for partitioned in [false, true] {
        let write = TableWrite {
            clustered_by: vec!["id".to_owned()],
            partition_columns: if partitioned { vec!["name".to_owned()] } else { Vec::new() },
            ..fixture.write(two_columns())
        };
        let files = fixture.run(&session, "SELECT id, name FROM input", write).await.unwrap();
        assert_eq!(files.len(), if partitioned { 3 } else { 1 });
        assert_eq!(files.iter().map(|file| file.row_count).sum::<u64>(), 10_000);
        for file in &files {
            assert!(ids(&fixture, std::slice::from_ref(file)).is_sorted());
        }
    }
}

#[tokio::test]
async fn values_are_cast_to_the_stored_types() {
    let fixture = Fixture::new(1);
    let rows = batch(vec![
        ("u", Arc::new(UInt64Array::from(vec![5, 6]))),
        ("t", Arc::new(TimestampNanosecondArray::from(vec![1_541_106_000_123_456_789, 0]))),
    ]);
    let session = fixture.memory_session(vec![vec![rows]]);
    let write = fixture.write(schema(&[("n", DataType::Int64), ("at", utc())]));
    let files = fixture.run(&session, "SELECT u, t FROM input", write.clone()).await.unwrap();
    let rows = fixture.read_file(&files[0]);
    assert_eq!(rows[0].schema().fields(), write.schema.fields());
    let back = fixture.query_table(&write, &files, "SELECT n, at FROM zone.table ORDER BY n").await.unwrap();
    assert!(back.contains("| 5 | 2018-11-01T21:00:00.123456Z |"), "{back}");
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_stored_type_is_shown() {
    let fixture = Fixture::new(1);
    let rows = batch(vec![("u", Arc::new(UInt64Array::from(vec![1, u64::MAX - 4])))]);
    let session = fixture.memory_session(vec![vec![rows]]);
    let write = fixture.write(schema(&[("n", DataType::Int64)]));
    let error = fixture.run(&session, "SELECT u FROM input", write).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(told(&error).contains("18446744073709551611"), "{}", told(&error));
    assert_eq!(fixture.objects(), Vec::<String>::new());
}

#[tokio::test]
async fn a_full_disk_is_exhausted_and_leaves_nothing() {
    let fixture = Fixture::new(2);
    let store = Arc::new(FullStore::new(Arc::clone(fixture.lake.store())));
    let lake = Prefix::new(store, fixture.lake.store_url().clone(), fixture.lake.root().clone());
    for rows in [10, 2_000_000] {
        let session = fixture.memory_session(vec![vec![numbers(0, rows)]]);
        let write = TableWrite { root: lake.child("zone/table").unwrap(), ..fixture.write(two_columns()) };
        let error = fixture.run(&session, "SELECT id, name FROM input", write).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{}", told(&error));
        assert!(error.hint().is_some_and(|hint| hint.contains("disk")));
        assert_eq!(fixture.objects(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_bad_record_fails_the_write_by_name() {
    let fixture = Fixture::new(2);
    let object = fixture.put_raw("a.json", "{\"id\":1}\n{\"id\":}\n");
    let session = fixture.raw_session(&two_columns(), vec![object]).await.unwrap();
    let write = fixture.write(two_columns());
    let error = fixture.run(&session, "SELECT id, name FROM raw.events", write).await.unwrap_err();
    assert_eq!((error.kind(), context(&error, "line")), (ErrorKind::Corrupt, Some("2")), "{}", told(&error));
}

#[tokio::test]
async fn a_dropped_write_leaves_only_complete_files() {
    let fixture = Fixture::new(2);
    let session = fixture.memory_session(vec![vec![numbers(0, 300_000)], vec![numbers(300_000, 300_000)]]);
    let write = TableWrite { target_file_size_bytes: 256 << 10, ..fixture.write(two_columns()) };
    let plan = plan_table_write(&session, "SELECT id, name FROM input", &BTreeMap::new(), write).await.unwrap();
    let (started, mut start) = tokio::sync::mpsc::unbounded_channel();
    {
        let report = move |_| started.send(()).unwrap_or_default();
        let running = execute_table_write(&session, plan, &report);
        tokio::select! {
            biased;
            _ = start.recv() => {}
            _ = running => {}
        }
    }
    // What was under way is taken away behind the drop, and has no table file's name until it is complete.
    let clean = async {
        while fixture.objects().iter().any(|path| !path.ends_with(".parquet")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), clean).await.expect("unfinished uploads are taken away");
    for path in fixture.objects() {
        let file = std::fs::File::open(fixture.directory.path().join("lake/zone/table").join(&path)).unwrap();
        let complete = ParquetRecordBatchReaderBuilder::try_new(file);
        assert!(path.ends_with(".parquet") && complete.is_ok(), "{path}");
    }
}

#[tokio::test]
async fn a_missing_data_file_is_named() {
    let fixture = Fixture::new(1);
    let session = fixture.memory_session(vec![vec![numbers(0, 3)]]);
    let write = fixture.write(two_columns());
    let files = fixture.run(&session, "SELECT id, name FROM input", write.clone()).await.unwrap();
    std::fs::remove_file(fixture.directory.path().join("lake/zone/table").join(&files[0].path)).unwrap();
    let error = fixture.query_table(&write, &files, "SELECT sum(id) FROM zone.table").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", told(&error));
    assert!(context(&error, "file").is_some_and(|file| file.ends_with(&files[0].path)), "{}", told(&error));
}

#[tokio::test]
async fn a_column_that_an_older_file_lacks_is_null() {
    let fixture = Fixture::new(1);
    let session = fixture.memory_session(vec![vec![numbers(0, 3)]]);
    let old = fixture.write(schema(&[("id", DataType::Int64)]));
    let mut files = fixture.run(&session, "SELECT id FROM input", old).await.unwrap();
    let new = fixture.write(two_columns());
    files.extend(fixture.run(&session, "SELECT id, name FROM input", new.clone()).await.unwrap());
    let sql = "SELECT count(*) AS n, count(name) AS m, count(*) FILTER (WHERE name IS NULL) AS z FROM zone.table";
    let back = fixture.query_table(&new, &files, sql).await.unwrap();
    assert!(back.contains("| 6 | 3 | 3 |"), "{back}");
}

#[tokio::test]
async fn a_time_that_is_computed_leaves_out_the_files_that_its_number_leaves_out() {
    let fixture = Fixture::new(1);
    let write = fixture.write(schema(&[("ts", DataType::Int64)]));
    let mut files = Vec::new();
    for from in [0, 1000] {
        let session = fixture.memory_session(vec![vec![numbers(from, 1000)]]);
        files.extend(fixture.run(&session, "SELECT id AS ts FROM input", write.clone()).await.unwrap());
    }
    for (condition, rows, scanned) in [
        ("timestamp_millis(ts) >= TIMESTAMP '1970-01-01T00:00:01.500Z'", 500, 1),
        ("timestamp_millis(ts) < TIMESTAMP '1970-01-01T00:00:00.003Z'", 3, 1),
        ("timestamp_millis(ts) = TIMESTAMP '1970-01-01T00:00:01.999Z'", 1, 1),
        ("timestamp_millis(ts) <= TIMESTAMP '1970-01-01T00:00:01Z'", 1001, 2),
        ("timestamp_millis(ts) > TIMESTAMP '1970-01-01T00:00:00.998500Z'", 1001, 2),
        ("timestamp_millis(ts) <> TIMESTAMP '1970-01-01T00:00:00.000001Z'", 2000, 2),
        ("timestamp_micros(ts) > TIMESTAMP '1970-01-01T00:00:00.001Z'", 999, 1),
        ("timestamp_millis(ts) > TIMESTAMP '1980-01-01T00:00:00Z'", 0, 0),
    ] {
        let count = format!("SELECT count(*) AS n FROM zone.table WHERE {condition}");
        let found = fixture.query_table(&write, &files, &count).await.unwrap();
        assert!(found.contains(&format!("| {rows} ")), "{condition}: {found}");
        let plan = format!("EXPLAIN SELECT ts FROM zone.table WHERE {condition}");
        let plan = fixture.query_table(&write, &files, &plan).await.unwrap();
        let named = files.iter().filter(|file| plan.contains(&file.path)).count();
        assert_eq!(named, scanned, "{condition}: {plan}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the values and the filter, a table of many small files answers as the rows in memory do.
    #[test]
    fn bounds_never_hide_a_row_that_a_filter_meets(
        ints in vec(option::weighted(0.9, prop_oneof![any::<i32>(), -3..3_i32]), 1..40),
        float in prop_oneof![Just(f64::NAN), Just(-0.0), Just(0.0), -2.0..2.0_f64],
        text in "[a-c\u{e9}\u{1F3B5}]{0,70}",
        pivot in -3..3_i32,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new(1);
            let count = ints.len();
            let floats = Float64Array::from_iter((0..count).map(|row| (row % 4 != 1).then_some(if row % 3 == 0 { float } else { 1.0 })));
            let texts = StringArray::from_iter((0..count).map(|row| (row % 5 != 2).then(|| text.chars().skip(row % 3).collect::<String>())));
            let times = TimestampMicrosecondArray::from_iter(ints.iter().map(|int| int.map(|int| i64::from(int) * 999_983))).with_timezone("UTC");
            let rows = batch(vec![
                ("i", Arc::new(Int32Array::from(ints.clone()))),
                ("f", Arc::new(floats)),
                ("s", Arc::new(texts)),
                ("t", Arc::new(times)),
            ]);
            let write = fixture.write(rows.schema());
            let mut files = Vec::new();
            for start in (0..count).step_by(3) {
                let session = fixture.memory_session(vec![vec![rows.slice(start, 3.min(count - start))]]);
                files.extend(fixture.run(&session, "SELECT i, f, s, t FROM input", write.clone()).await.unwrap());
            }
            let session = fixture.memory_session(vec![vec![rows]]);
            for filter in [
                format!("i > {pivot}"), format!("i <= {pivot}"), format!("i = {pivot}"), format!("i <> {pivot}"),
                "i IS NULL".to_owned(), "f > 1.0".to_owned(), "f < 0.0".to_owned(), "f = 0.0".to_owned(), "NOT (f <= 1.0)".to_owned(),
                format!("s = '{text}'"), format!("s >= '{text}'"), format!("s > '{text}'"), format!("s LIKE '{}%'", text.chars().take(1).collect::<String>()),
                "s <> ''".to_owned(), "s IS NULL".to_owned(), "t < TIMESTAMP '1970-01-01T00:00:01.5Z'".to_owned(), "t >= TIMESTAMP '1970-01-01T00:00:00.999983Z'".to_owned(),
                format!("i IN ({pivot}, {})", pivot + 1), format!("i BETWEEN {pivot} AND 7 OR f > 5.0"),
            ] {
                let wanted = fixture.query(&session, &format!("SELECT count(*) AS n FROM input WHERE {filter}")).await.unwrap();
                let found = fixture.query_table(&write, &files, &format!("SELECT count(*) AS n FROM zone.table WHERE {filter}")).await.unwrap();
                assert_eq!(found, wanted, "{filter}");
            }
        });
    }
}
