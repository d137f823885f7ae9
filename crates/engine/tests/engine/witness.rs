//! Ballista's own context as a third witness: over the same files it gives the rows that our sessions give, which are those
//! of a process alone and of a fleet.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use ballista::prelude::SessionContextExt;
use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType, Field, SchemaRef},
        util::pretty::pretty_format_batches,
    },
    catalog::MemorySchemaProvider,
    prelude::{ParquetReadOptions, SessionContext},
};
use futures::{StreamExt, TryStreamExt, stream};
use lakewright_engine::{Compression, RawScan, Relation, TableScan, TableWrite, fleet::TaskOrigin, register_relation};
use lakewright_lake::{DataFile, RawObject};

use crate::fixture::{Fixture, fail_fast, schema};

#[cfg(test)]
#[expect(dead_code, reason = "the tests of fleets need more of it")]
#[path = "../../../../tests/system/fleet/corner_cases.rs"]
mod corner_cases;
#[cfg(test)]
#[path = "../../../../tests/system/fleet/tpch_data.rs"]
mod tpch_data;

/// Queries at once: Ballista asks for work a few times a second, and each query has several stages.
const QUERIES_AT_ONCE: usize = 4;

/// Queries that cannot be asked: the compiler makes SQL that DataFusion knows of `div`, RLIKE and VARBINARY, and Ballista's
/// standalone executor never ends a union; its plans know no FILTER nor IGNORE NULLS of windows, no recursion, and count no
/// rows of set operations. Nor does it have the raw tables.
const NOT_ASKED: [&str; 12] = [
    "curated/mathematics",
    "curated/hashes",
    "curated/unions",
    "curated/filtered_windows",
    "curated/nulls_ignored",
    "curated/both_ways",
    "curated/recursive",
    "curated/recursive_distinct",
    "curated/counted_sets",
    "curated/not_in_raw",
    "curated/not_in_larger",
    "curated/patterns",
];

/// A query that Ballista takes longer for never ends.
const QUERY_TIME_MAX: Duration = Duration::from_mins(1);

/// The same tables in a session of ours and in one of Ballista's own.
struct Witness {
    fixture: Fixture,
    ours: SessionContext,
    ballista: SessionContext,
}

impl Witness {
    async fn new() -> Self {
        let fixture = Fixture::new(2);
        let ours = fixture.engine.session();
        let state = fixture.engine.fleet_session(2, TaskOrigin::default()).state();
        let ballista = SessionContext::standalone_with_state(state).await.unwrap();
        // It forgets the functions of the state that it is given.
        let template = fixture.engine.template();
        let functions = || template.scalar_functions().values();
        functions().for_each(|function| ballista.register_udf(function.as_ref().clone()));
        // The other names of one function take the place of another that has such a name as its own.
        let is_covered = |name: &str| functions().any(|other| other.aliases().iter().any(|alias| alias == name));
        functions()
            .filter(|function| is_covered(function.name()))
            .for_each(|function| ballista.register_udf(function.as_ref().clone()));
        template.aggregate_functions().values().for_each(|function| ballista.register_udaf(function.as_ref().clone()));
        template.window_functions().values().for_each(|function| ballista.register_udwf(function.as_ref().clone()));
        let catalog = ballista.catalog("datafusion").unwrap();
        catalog.register_schema("staging", Arc::new(MemorySchemaProvider::new())).unwrap();
        Self { fixture, ours, ballista }
    }

    /// Makes raw objects of these columns, with `more` behind them, a table of both sessions.
    async fn add(&self, table: &str, columns: &SchemaRef, objects: Vec<RawObject>, more: &str) {
        let scan = RawScan {
            raw: self.fixture.raw.clone(),
            schema: Arc::clone(columns),
            compression: Compression::Auto,
            reading: fail_fast(),
            reports: None,
            objects,
        };
        let session = self.fixture.engine.session();
        register_relation(&session, "raw", "t", Relation::Raw(scan)).await.unwrap();
        let names: Vec<String> = columns.fields().iter().map(|field| format!("\"{}\"", field.name())).collect();
        let sql = format!("SELECT {}{more} FROM \"raw\".\"t\"", names.join(", "));
        let stored = Arc::new(session.sql(&sql).await.unwrap().schema().as_arrow().clone());
        let root = self.fixture.lake.child(&format!("staging/{table}")).unwrap();
        let write = TableWrite { root: root.clone(), ..self.fixture.write(Arc::clone(&stored)) };
        let files: Vec<DataFile> = self.fixture.run(&session, &sql, write).await.unwrap();
        let scan = TableScan { root, schema: stored, partition_columns: Vec::new(), files };
        register_relation(&self.ours, "staging", table, Relation::Table(scan)).await.unwrap();
        let folder = self.fixture.directory.path().join("lake/staging").join(table);
        let folder = format!("{}/", folder.to_str().unwrap());
        let name = format!("staging.{table}");
        self.ballista.register_parquet(name, &folder, ParquetReadOptions::default()).await.unwrap();
    }

    /// How the rows of both sessions differ, if they do.
    async fn difference(&self, name: &str, sql: &str) -> Option<String> {
        let rows = self.fixture.engine.query(&self.ours, sql, &BTreeMap::new()).await;
        let ours: Vec<RecordBatch> = match rows {
            Ok(rows) => rows.batches.try_collect().await.unwrap(),
            Err(error) => return Some(format!("{name}: ours: {}", crate::fixture::told(&error))),
        };
        let theirs = async { self.ballista.sql(sql).await?.collect().await };
        let theirs = match tokio::time::timeout(QUERY_TIME_MAX, theirs).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => return Some(format!("{name}: Ballista: {error}")),
            Err(_) => return Some(format!("{name}: Ballista gives no answer")),
        };
        let (ours, theirs) = (lines(&ours), lines(&theirs));
        let first = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
        (ours != theirs).then(|| format!("{name}: {} rows, Ballista {}: {first:?}", ours.len(), theirs.len()))
    }

    async fn assert_equal(&self, queries: Vec<(String, String)>) {
        let differences = queries.iter().map(|(name, sql)| self.difference(name, sql));
        let found: Vec<Option<String>> =
            stream::iter(differences.collect::<Vec<_>>()).buffered(QUERIES_AT_ONCE).collect().await;
        let found: Vec<String> = found.into_iter().flatten().collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// The rows in an order of their own; floats to nine digits, for their sums depend on the order of rows.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let cell = |text: &str| match text.trim().parse::<f64>() {
        Ok(number) if text.contains('.') => format!("{number:.9e}"),
        _ => text.trim().to_owned(),
    };
    let text = pretty_format_batches(batches).unwrap().to_string();
    let rows = text.lines().filter(|line| line.starts_with('|')).skip(1);
    let mut rows: Vec<String> = rows.map(|row| row.split('|').map(cell).collect::<Vec<_>>().join("|")).collect();
    rows.sort();
    rows
}

fn described(fixture: &Fixture, keys: &[String]) -> Vec<RawObject> {
    let object = |key: &String| fixture.put_raw(key, fs::read(fixture.raw_path(key)).unwrap());
    keys.iter().map(object).collect()
}

fn map_type() -> DataType {
    let entries = schema(&[("value", DataType::Int64)]);
    let key = Arc::new(Field::new("key", DataType::Utf8, false));
    let entries = DataType::Struct(vec![key, Arc::clone(&entries.fields()[0])].into());
    DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
}

fn arrow_type(declared: &str) -> DataType {
    match declared {
        "BIGINT" => DataType::Int64,
        "INT" => DataType::Int32,
        "DATE" => DataType::Date32,
        "DECIMAL(15, 2)" => DataType::Decimal128(15, 2),
        _ => DataType::Utf8,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ballistas_own_context_gives_the_rows_of_sql_that_distribution_could_break() {
    let witness = Witness::new().await;
    let text = DataType::Utf8;
    let tags = DataType::new_list(DataType::Utf8, true);
    let fields = |columns: &[(&str, DataType)]| schema(columns).fields().clone();
    let addr = DataType::Struct(fields(&[("city", DataType::Utf8), ("zip", DataType::Int32)]));
    let columns = [
        ("id", DataType::Int64),
        ("grp", text.clone()),
        ("dim", DataType::Int32),
        ("amount", DataType::Decimal128(18, 4)),
        ("num", DataType::Float64),
        ("name", text.clone()),
        ("tags", tags),
        ("addr", addr),
        ("ts", DataType::Int64),
        ("ok", DataType::Boolean),
        ("props", map_type()),
        ("day", DataType::Date32),
    ];
    let facts = corner_cases::facts();
    let half = facts[..facts.len() / 2].rfind('\n').unwrap() + 1;
    let objects = vec![
        witness.fixture.put_raw("facts/1.json", &facts[..half]),
        witness.fixture.put_raw("facts/2.json", &facts[half..]),
    ];
    witness.add("facts", &schema(&columns), objects, ", timestamp_millis(ts) AS at").await;
    let columns = [("dim", DataType::Int32), ("label", text), ("rate", DataType::Float64)];
    let objects = vec![witness.fixture.put_raw("dims/1.json", corner_cases::dims())];
    witness.add("dims", &schema(&columns), objects, "").await;
    let is_asked = |name: &str| name.starts_with("curated/") && !NOT_ASKED.contains(&name);
    let models = corner_cases::MODELS.iter().filter(|(name, _)| is_asked(name));
    witness.assert_equal(models.map(|(name, sql)| ((*name).to_owned(), (*sql).to_owned())).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ballistas_own_context_gives_our_answers_to_the_queries_of_tpc_h() {
    let witness = Witness::new().await;
    for (table, columns) in tpch_data::TABLES {
        let raw = witness.fixture.directory.path().join("raw");
        let keys: Vec<String> = tpch_data::parts(table).map(|part| format!("{table}/{part}.json")).collect();
        tpch_data::parts(table).for_each(|part| tpch_data::write_table(&raw, table, columns, 0.01, part));
        let columns: Vec<_> = columns.iter().map(|(name, declared)| (*name, arrow_type(declared))).collect();
        let objects = described(&witness.fixture, &keys);
        witness.add(table, &schema(&columns), objects, "").await;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/tpch");
    let mut queries: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    queries.sort();
    assert_eq!(queries.len(), 22);
    witness.assert_equal(queries).await;
}
