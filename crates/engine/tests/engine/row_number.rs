//! Rows numbered in groups: whatever way the engine takes, each row is there once, with the number that SQL gives it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray},
        datatypes::{Int64Type, UInt64Type},
    },
    prelude::SessionContext,
};
use futures::TryStreamExt;
use lakewright_engine::Engine;

use crate::fixture::Fixture;

/// A row: its key, what its group is ordered by, and what tells it from all others.
type Row = (Option<String>, Option<i64>, i64);

/// A number from 0 to 2^31 - 1 of a sequence without visible order.
fn scatter(seed: i64) -> i64 {
    let mixed = (seed + 1).wrapping_mul(0x5851_F42D_4C95_7F2D);
    (mixed ^ (mixed >> 29)).wrapping_mul(0x14_057B_7EF7_678F).rotate_left(17) & 0x7FFF_FFFF
}

/// `count` rows of about `groups` keys, NULL among them.
fn rows(count: i64, groups: i64) -> Vec<Row> {
    let key = |id: i64| match scatter(id) % (groups + 1) {
        0 => None,
        group => Some(format!("key {group:08} that is longer than a few bytes")),
    };
    let at = |id: i64| (scatter(id + count) % 50 != 0).then(|| scatter(id + 2 * count) % (count / 2 + 1));
    (0..count).map(|id| (key(id), at(id), id)).collect()
}

fn batch(rows: &[Row]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.0.as_deref()).collect::<StringArray>());
    let at: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>());
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("key", keys, true), ("at", at, true), ("id", ids, false)]).unwrap()
}

/// A session with the rows as the table `input`, in as many partitions as the engine has.
fn session(folder: &Fixture, rows: &[Row]) -> SessionContext {
    let parts = folder.engine.settings().target_partitions;
    let share = rows.len().div_ceil(parts).max(1);
    let batches: Vec<Vec<RecordBatch>> =
        rows.chunks(share).map(|part| part.chunks(1000).map(batch).collect()).collect();
    folder.memory_session(if batches.is_empty() { vec![vec![batch(&[])]] } else { batches })
}

async fn query(engine: &Engine, session: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    let rows = engine.query(session, sql, &BTreeMap::new()).await.unwrap();
    rows.batches.try_collect().await.unwrap()
}

async fn explain(engine: &Engine, session: &SessionContext, sql: &str) -> String {
    let plan = query(engine, session, &format!("EXPLAIN {sql}")).await;
    let texts = plan.iter().flat_map(|batch| batch.column(1).as_string::<i32>().iter().flatten().map(str::to_owned));
    texts.collect::<Vec<_>>().join("\n")
}

/// The ids that a query gives in its first column.
fn ids(batches: &[RecordBatch]) -> BTreeSet<i64> {
    let ids = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().iter().copied());
    ids.collect()
}

const LATEST: &str = r#"SELECT "id" FROM (SELECT "id", row_number() OVER (PARTITION BY "key" ORDER BY "at" DESC, "id") AS "n"
    FROM input) AS "numbered" WHERE "n" = 1"#;

/// The id of each key's row with the greatest `at`, NULL last, of equal ones the least id.
fn latest(rows: &[Row]) -> BTreeSet<i64> {
    let mut latest: BTreeMap<&Option<String>, (Option<i64>, i64)> = BTreeMap::new();
    for (key, at, id) in rows {
        let best = latest.entry(key).or_insert((*at, *id));
        // `None` is less than every `Some`.
        if *at > best.0 || (*at == best.0 && *id < best.1) {
            *best = (*at, *id);
        }
    }
    latest.into_values().map(|(_, id)| id).collect()
}

#[tokio::test]
async fn the_latest_row_of_each_key_is_found_however_many_keys_there_are() {
    for partitions in [1, 3] {
        let folder = Fixture::new(partitions);
        for (count, groups) in [(0, 1), (1, 1), (5000, 1), (70_000, 9000), (70_000, 10_000_000)] {
            let rows = rows(count, groups);
            let session = session(&folder, &rows);
            let found = query(&folder.engine, &session, LATEST).await;
            assert_eq!(ids(&found), latest(&rows), "{count} rows of {groups} keys in {partitions} partitions");
        }
    }
}

#[tokio::test]
async fn rows_that_are_not_the_latest_are_dropped_before_they_are_sorted() {
    let folder = Fixture::new(2);
    let session = session(&folder, &rows(10_000, 10));
    for filter in [r#""n" = 1"#, r#""n" <= 1"#, r#""n" < 2 AND "id" > 5"#] {
        let sql = LATEST.replace(r#""n" = 1"#, filter);
        let plan = explain(&folder.engine, &session, &sql).await;
        let first = plan.find("FirstOfGroupsExec");
        let shuffle = plan.find("RepartitionExec: partitioning=Hash");
        assert!(shuffle.is_some() && shuffle < first, "{filter}: {plan}");
    }
}

#[tokio::test]
async fn rows_are_dropped_only_where_the_first_alone_is_asked_for() {
    let folder = Fixture::new(2);
    let session = session(&folder, &rows(10_000, 10));
    for sql in [
        LATEST.replace(r#""n" = 1"#, r#""n" = 2"#),
        LATEST.replace(r#""n" = 1"#, r#""n" <= 2"#),
        LATEST.replace(r#""n" = 1"#, r#""n" = 1 OR "id" = 3"#),
        LATEST.replace("row_number()", "rank()"),
        LATEST
            .replace(
                r#""id", row_number()"#,
                r#""id", sum("id") OVER (PARTITION BY "key" ORDER BY "at" DESC, "id") AS "s", row_number()"#,
            )
            .replace(r#"SELECT "id" FROM"#, r#"SELECT "id", "s" FROM"#),
    ] {
        let plan = explain(&folder.engine, &session, &sql).await;
        assert!(!plan.contains("FirstOfGroupsExec"), "{sql}: {plan}");
    }
}

const NUMBERED: &str = r#"SELECT "id", "key", row_number() OVER (PARTITION BY "key" ORDER BY "key") AS "n" FROM input"#;

/// Checks that all rows are there once, and that those of each key have the numbers from 1 on.
fn check_numbers(rows: &[Row], found: &[RecordBatch]) {
    let mut numbers: BTreeMap<Option<String>, BTreeSet<u64>> = BTreeMap::new();
    let mut counts: BTreeMap<Option<String>, usize> = BTreeMap::new();
    let keys: BTreeMap<i64, &Option<String>> = rows.iter().map(|row| (row.2, &row.0)).collect();
    for batch in found {
        let (ids, texts) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
        for ((id, key), number) in
            ids.values().iter().zip(texts.iter()).zip(batch.column(2).as_primitive::<UInt64Type>().values())
        {
            let key = key.map(str::to_owned);
            assert_eq!(keys.get(id).copied(), Some(&key), "row {id}");
            numbers.entry(key.clone()).or_default().insert(*number);
            *counts.entry(key).or_default() += 1;
        }
    }
    assert_eq!(ids(found).len(), rows.len());
    for (key, count) in counts {
        let expected: BTreeSet<u64> = (1..=count as u64).collect();
        assert_eq!(numbers[&key], expected, "{key:?}");
    }
}

#[tokio::test]
async fn numbers_without_an_order_need_no_sort() {
    for partitions in [1, 3] {
        let folder = Fixture::new(partitions);
        for (count, groups) in [(0, 1), (5000, 1), (20_000, 100), (20_000, 10_000_000)] {
            let rows = rows(count, groups);
            let session = session(&folder, &rows);
            // Without another order, the rows of a query come in that of the sort, and it stays.
            let sql = format!(r#"SELECT * FROM ({NUMBERED}) AS "numbered" ORDER BY "id""#);
            let plan = explain(&folder.engine, &session, &sql).await;
            assert!(plan.contains("UnsortedRowNumberExec") && !plan.contains("SortExec: expr=[key"), "{plan}");
            check_numbers(&rows, &query(&folder.engine, &session, &sql).await);
        }
    }
}

#[tokio::test]
async fn numbers_go_on_through_a_sort_when_there_is_no_memory_for_the_groups() {
    // The keys of all groups alone are larger than this.
    let folder = Fixture::with_memory(2, 16 << 20);
    let mut rows = rows(80_000, 70_000);
    // The same keys again, so that groups go on behind the point where memory ends.
    rows.extend_from_within(..40_000);
    for (id, row) in rows.iter_mut().enumerate() {
        row.2 = i64::try_from(id).unwrap();
    }
    let session = session(&folder, &rows);
    let sql = format!(r#"SELECT "id", "key", max("n") AS "n" FROM ({NUMBERED}) AS "numbered" GROUP BY "id", "key""#);
    check_numbers(&rows, &query(&folder.engine, &session, &sql).await);
    assert_eq!(ids(&query(&folder.engine, &session, LATEST).await), latest(&rows));
}

#[tokio::test]
async fn an_order_that_is_asked_for_is_kept() {
    for partitions in [1, 3] {
        let folder = Fixture::new(partitions);
        let rows = rows(20_000, 500);
        let session = session(&folder, &rows);
        for (order, key) in [(r#""key", "n""#, 1), (r#""key""#, 1)] {
            let found =
                query(&folder.engine, &session, &format!("SELECT * FROM ({NUMBERED}) AS s ORDER BY {order}")).await;
            check_numbers(&rows, &found);
            let keys = found
                .iter()
                .flat_map(|batch| batch.column(key).as_string::<i32>().iter().map(|key| key.map(str::to_owned)));
            // NULLs are last.
            let keys: Vec<_> = keys.map(|key| (key.is_none(), key)).collect();
            assert!(keys.is_sorted(), "ORDER BY {order} in {partitions} partitions");
        }
    }
}
