//! The files as other Parquet readers see them.

use std::{process::Command, sync::Arc};

use datafusion::arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch,
        StringArray, StructArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Int64Type},
};
use lakewright_engine::TableWrite;

use crate::fixture::Fixture;

/// Reads the files named on the command line by three readers, and prints what each found.
const SCRIPT: &str = r#"
import sys, duckdb, polars, pyarrow.parquet
files = sys.argv[1:]
duck = duckdb.sql(f"""
    SELECT count(*), sum(id), count(name), max(name), sum(price)::VARCHAR, max(epoch_us(seen)), max(day)::VARCHAR,
           count(*) FILTER (WHERE flag), sum(ratio), sum(place.x), sum(len(items))
    FROM read_parquet({files!r}, hive_partitioning = false)""").fetchall()[0]
print("duckdb", *duck)
frame = polars.read_parquet(files, hive_partitioning=False)
one = frame.select(
    polars.len(), polars.col("id").sum(), polars.col("name").count().alias("c"), polars.col("name").max().alias("m"),
    polars.col("price").sum().cast(polars.String), polars.col("seen").max().dt.epoch("us"), polars.col("day").max().cast(polars.String),
    polars.col("flag").sum(), polars.col("ratio").sum(), polars.col("place").struct.field("x").sum(), polars.col("items").list.len().sum())
print("polars", *one.row(0))
tables = [pyarrow.parquet.ParquetFile(file).read() for file in files]
rows = [row for table in tables for row in table.to_pylist()]
names = [row["name"] for row in rows if row["name"] is not None]
print("pyarrow", len(rows), sum(row["id"] for row in rows), len(names), max(names), sum(row["price"] for row in rows),
      max(round(row["seen"].timestamp() * 1_000_000) for row in rows), max(row["day"] for row in rows), sum(row["flag"] for row in rows),
      sum(row["ratio"] for row in rows), sum(row["place"]["x"] for row in rows), sum(len(row["items"]) for row in rows))
"#;

const COUNT: i64 = 500;

fn rows() -> RecordBatch {
    let ids = || 0..COUNT;
    let place: ArrayRef = Arc::new(Int64Array::from_iter_values(ids()));
    let place = StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int64, true)), place)]);
    let items =
        ListArray::from_iter_primitive::<Int64Type, _, _>(ids().map(|id| Some(vec![Some(id); (id % 3) as usize])));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(ids()))),
        ("name", Arc::new(StringArray::from_iter(ids().map(|id| (id % 5 != 0).then(|| format!("näme {id:03} 🎵")))))),
        (
            "price",
            Arc::new(Decimal128Array::from_iter_values(ids().map(i128::from)).with_precision_and_scale(12, 2).unwrap()),
        ),
        (
            "seen",
            Arc::new(TimestampMicrosecondArray::from_iter_values(ids().map(|id| id * 1_000_001)).with_timezone("UTC")),
        ),
        ("day", Arc::new(Date32Array::from_iter_values(0..500))),
        ("flag", Arc::new(BooleanArray::from_iter(ids().map(|id| Some(id % 2 == 0))))),
        ("ratio", Arc::new(Float64Array::from_iter_values(ids().map(|id| id as f64 / 4.0)))),
        ("place", Arc::new(place)),
        ("items", Arc::new(items)),
        ("part", Arc::new(StringArray::from_iter_values(ids().map(|id| format!("p/{}", id % 3))))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

#[tokio::test]
async fn other_readers_see_the_same_rows() {
    let Some(python) = python() else { return };
    let fixture = Fixture::new(2);
    let rows = rows();
    let write = TableWrite { partition_columns: vec!["part".to_owned()], ..fixture.write(rows.schema()) };
    let session = fixture.memory_session(vec![vec![rows]]);
    let files = fixture.run(&session, "SELECT * FROM input", write).await.unwrap();
    assert_eq!(files.len(), 3);
    let root = fixture.directory.path().join("lake/zone/table");
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .args(files.iter().map(|file| root.join(&file.path)))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = "500 124750 400 näme 499 🎵 1247.50 499000499 1971-05-15 250 31187.5 124750 499";
    assert_eq!(printed, format!("duckdb {found}\npolars {found}\npyarrow {found}\n"));
}

#[expect(clippy::disallowed_methods, reason = "a test has no settings file: what it needs comes from the environment")]
fn python() -> Option<String> {
    let python = std::env::var("LAKEWRIGHT_PYTHON").ok();
    if python.is_none() {
        assert!(std::env::var("LAKEWRIGHT_REQUIRE_ALL").is_err(), "LAKEWRIGHT_PYTHON must name a Python");
        println!("skipped: LAKEWRIGHT_PYTHON names no Python with duckdb, polars and pyarrow");
    }
    python
}
