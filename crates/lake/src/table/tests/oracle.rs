//! Tables as other engines read them: Delta readers of other makers are asked for every value.

use std::{path::Path as FilePath, process::Command};

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;

use super::*;

/// Partition values that trip writers and readers.
const CITIES: [Option<&str>; 12] = [
    Some("plain"),
    Some("a/b"),
    Some("100% sure"),
    Some("%2F"),
    Some("k=v:w"),
    Some("é🎵"),
    Some("it's \"quoted\""),
    Some("a+b&c#d?e"),
    Some("back\\slash {x} [y] ^~"),
    Some("new\nline\ttab"),
    Some("."),
    None,
];

/// Reads the table with every engine, and says what each found as `engine<TAB>row` with the row as JSON.
const READ: &str = r#"
import datetime, json, sys
import deltalake, duckdb, polars

root = sys.argv[1]

def show(engine, rows):
    for row in rows:
        at = row["at"].astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
        text = json.dumps([row["city"], row["id"], at, str(row["price"]), row["score"]], ensure_ascii=True)
        print(engine + "\t" + text)

table = deltalake.DeltaTable(root)
show("deltalake", table.to_pyarrow_table().to_pylist())
show("polars", polars.read_delta(root).to_dicts())
data = table.to_pyarrow_dataset()
show("duckdb", duckdb.sql("select * from data where id >= 0").to_arrow_table().to_pylist())
# Every file as a plain reader opens it: by the name that the log gives.
for path in table.file_uris():
    polars.read_parquet(path, hive_partitioning=False, glob=False)
# Bounds must not hide rows.
for number in range(int(sys.argv[2])):
    kept = polars.scan_delta(root).filter(polars.col("id") == number).collect()
    print("pruned\t" + str(kept.height))
"#;

/// The Python that has the engines; `None`, said in one line, where tests run without it.
#[expect(clippy::disallowed_methods, reason = "a test's own switch; settings of the program enter elsewhere")]
fn python() -> Option<String> {
    let python = std::env::var("LAKEWRIGHT_PYTHON").ok();
    let must = std::env::var("LAKEWRIGHT_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(python.is_some() || !must, "LAKEWRIGHT_REQUIRE_ALL=1 needs LAKEWRIGHT_PYTHON");
    if python.is_none() {
        println!("skipped: set LAKEWRIGHT_PYTHON to a Python with duckdb, polars, deltalake and pyarrow");
    }
    python
}

fn table_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64),
        field("at", utc()),
        field("price", DataType::Decimal128(10, 2)),
        field("score", DataType::Float64),
        field("city", DataType::Utf8),
    ]))
}

/// Writes one row as a file of its partition, as the engine does.
async fn write_row(table: &Prefix, number: i64, city: Option<&str>) -> DataFile {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![number]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_542_069_637_796_001 + number]).with_timezone("UTC"))),
        (
            "price",
            Arc::new(Decimal128Array::from(vec![i128::from(number) - 5]).with_precision_and_scale(10, 2).unwrap()),
        ),
        ("score", Arc::new(Float64Array::from(vec![0.5]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let metadata = writer.close().unwrap();
    let path = format!("{}/r-{number}.parquet", hive_partition_path(&[("city", city)]).unwrap());
    let size = bytes.len() as u64;
    table.create(&path, bytes.into()).await.unwrap();
    let values = BTreeMap::from([("city".to_owned(), city.map(str::to_owned))]);
    DataFile::from_parquet(path, size, values, &metadata, &batch.schema(), &std::collections::BTreeSet::new())
}

fn expected_row(number: i64, city: Option<&str>) -> Value {
    let cents = number - 5;
    let price = format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
    serde_json::json!([city, number, format!("2018-11-13T00:40:37.{:06}", 796_001 + number), price, 0.5])
}

fn run(python: &str, root: &FilePath, rows: usize) -> BTreeMap<String, Vec<Value>> {
    let arguments = ["-c".to_owned(), READ.to_owned(), root.to_str().unwrap().to_owned(), rows.to_string()];
    let output = Command::new(python).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (engine, row) = line.split_once('\t').unwrap();
        found.entry(engine.to_owned()).or_default().push(serde_json::from_str(row).unwrap());
    }
    for rows in found.values_mut() {
        rows.sort_by_key(|row| row[1].as_i64());
    }
    found
}

#[tokio::test]
async fn other_engines_read_every_odd_partition_value_as_it_was_written() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    // No odd characters above the table: Polars encodes a table's own path, and does not find its files then.
    let root = directory.path().join("lake/curated/plays");
    let table = Prefix::open(root.to_str().unwrap()).unwrap();
    let mut files = Vec::new();
    for (number, city) in (0..).zip(CITIES) {
        files.push(write_row(&table, number, city).await);
    }
    let first = files.split_off(CITIES.len() / 2);
    let replaced = write_row(&table, 99, Some("gone")).await;
    let commits = [
        commit(None, "r1", [first, vec![replaced.clone()]].concat(), vec![]),
        commit(Some(0), "r2", files, vec![replaced]),
    ];
    for (version, made) in (0..).zip(commits) {
        let made = TableCommit { schema: table_schema(), ..made };
        assert_eq!(commit_version(&table, &made).await.unwrap(), CommitOutcome::Committed { version });
    }
    let found = run(&python, &root, CITIES.len());
    let expected: Vec<Value> = (0..).zip(CITIES).map(|(number, city)| expected_row(number, city)).collect();
    for engine in ["deltalake", "polars", "duckdb"] {
        assert_eq!(found[engine], expected, "{engine}");
    }
    assert_eq!(found["pruned"], vec![Value::from(1); CITIES.len()]);
}
