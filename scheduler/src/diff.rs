//! What differs between two releases of a table: its columns, and its rows as multisets or by a key.
//!
//! Data flow: two entries of releases -> the files that only one of them has -> one aggregation in the engine ->
//! [`TableDiff`].
//!
//! Invariant: files that both versions have hold the same rows, so they are never read.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{array::Int64Array, array::RecordBatch, datatypes::SchemaRef};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use lakewright_compiler::TableName;
use lakewright_engine::{Engine, Relation, TableScan, register_relation};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    Prefix, layout, read_snapshot,
    state::{Release, ReleasedTable},
};

use crate::{lineage::parse_name, releases::differs, run::retrying};

/// Column of a sample that says on which side its row is.
const CHANGE_COLUMN: &str = "_change";

/// How two releases are compared.
#[derive(Clone, Debug, Default)]
pub struct DiffOptions {
    /// Only this table.
    pub table: Option<TableName>,
    /// Columns by which rows are matched; empty compares whole rows.
    pub key: Vec<String>,
    /// Rows of each table's sample.
    pub sample_rows: usize,
}

/// What became of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnChange {
    /// Its name.
    pub column: String,
    /// Its type before; `None` if it was not there.
    pub before: Option<arrow::datatypes::DataType>,
    /// Its type after; `None` if it is gone.
    pub after: Option<arrow::datatypes::DataType>,
}

/// What differs in one table.
#[derive(Clone, Debug)]
pub struct TableDiff {
    /// `zone.table`.
    pub table: TableName,
    /// Version before; `None` if it was not there, or was a view.
    pub version_before: Option<u64>,
    /// Version after; `None` if it is gone, or is a view.
    pub version_after: Option<u64>,
    /// Whether it is, or was, a view: definitions are compared, and no rows.
    pub is_view: bool,
    /// Rows before.
    pub rows_before: u64,
    /// Rows after.
    pub rows_after: u64,
    /// Rows that are there after and not before.
    pub added: u64,
    /// Rows that were there before and are not after.
    pub removed: u64,
    /// Rows whose key is on both sides, with other values; 0 without a key.
    pub changed: u64,
    /// Columns that differ; rows are compared by the others.
    pub columns: Vec<ColumnChange>,
    /// Rows that differ, with the column `_change` (`added`, `removed`) before the others.
    pub sample: Vec<RecordBatch>,
}

/// Compares two releases, table by table, sorted by name; tables that are the same in both are left out.
///
/// # Errors
/// - [`ErrorKind::NotFound`]: neither release has the table that was named.
/// - [`ErrorKind::Invalid`]: the table has no such column as the key names, or has it on one side only.
/// - [`ErrorKind::Corrupt`]: a version that a release names is gone.
pub async fn diff_releases(
    engine: &Engine,
    lake: &Prefix,
    before: &Release,
    after: &Release,
    options: &DiffOptions,
) -> Result<Vec<TableDiff>> {
    engine.register_store(lake);
    let names: BTreeSet<&String> = before.tables.keys().chain(after.tables.keys()).collect();
    let mut diffs = Vec::new();
    let mut found = false;
    for name in names {
        let table = parse_name(name)?;
        if options.table.as_ref().is_some_and(|only| *only != table) {
            continue;
        }
        found = true;
        let (old, new) = (before.tables.get(name), after.tables.get(name));
        if let (Some(old), Some(new)) = (old, new)
            && !differs(old, new)
        {
            continue;
        }
        let pair = Pair { lake, table: &table, before: old, after: new };
        diffs.push(pair.diff(engine, options).await.map_err(|error| error.with("table", name))?);
    }
    match &options.table {
        Some(table) if !found => Err(Error::new(ErrorKind::NotFound, "neither release has such a table")
            .with("table", table)
            .with_hint("`lakewright tables --as-of RELEASE` lists the tables of a release")),
        _ => Ok(diffs),
    }
}

/// One table on both sides.
struct Pair<'a> {
    lake: &'a Prefix,
    table: &'a TableName,
    before: Option<&'a ReleasedTable>,
    after: Option<&'a ReleasedTable>,
}

impl Pair<'_> {
    async fn diff(&self, engine: &Engine, options: &DiffOptions) -> Result<TableDiff> {
        let rows = |entry: Option<&ReleasedTable>| entry.map_or(0, |entry| entry.rows);
        let version = |entry: Option<&ReleasedTable>| entry.and_then(|entry| entry.version);
        let is_view = |entry: Option<&ReleasedTable>| entry.is_some_and(|entry| entry.view.is_some());
        let mut diff = TableDiff {
            table: self.table.clone(),
            version_before: version(self.before),
            version_after: version(self.after),
            is_view: is_view(self.before) || is_view(self.after),
            rows_before: rows(self.before),
            rows_after: rows(self.after),
            added: 0,
            removed: 0,
            changed: 0,
            columns: self.column_changes(),
            sample: Vec::new(),
        };
        if diff.is_view {
            return Ok(diff);
        }
        let columns = self.common_columns();
        if columns.is_empty() {
            (diff.added, diff.removed) = (diff.rows_after, diff.rows_before);
            return Ok(diff);
        }
        if let Some(unknown) = options.key.iter().find(|key| !columns.contains(key)) {
            return Err(Error::new(ErrorKind::Invalid, "the key names a column that the table does not have in both")
                .with("column", unknown)
                .with_hint(format!("its columns are {}", columns.join(", "))));
        }
        let session = engine.session();
        self.register(&session).await?;
        let rows = different_rows(&columns);
        let counts = self::rows(engine, &session, &count_query(&rows, &options.key)).await?;
        [diff.added, diff.removed, diff.changed] = [0, 1, 2].map(|column| number(&counts, column));
        if options.sample_rows > 0 && diff.added + diff.removed + diff.changed > 0 {
            let query = self.sample_query(&rows, &columns, options);
            diff.sample = self::rows(engine, &session, &query).await?;
        }
        Ok(diff)
    }

    fn schemas(&self) -> [Option<&SchemaRef>; 2] {
        [self.before.map(|entry| &entry.schema), self.after.map(|entry| &entry.schema)]
    }

    fn column_changes(&self) -> Vec<ColumnChange> {
        // A table that is new or gone has no columns that changed.
        let [Some(before), Some(after)] = self.schemas() else { return Vec::new() };
        let types = |schema: &SchemaRef| -> BTreeMap<String, arrow::datatypes::DataType> {
            schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
        };
        let (before, after) = (types(before), types(after));
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let change = |name: &String| ColumnChange {
            column: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        };
        names.into_iter().map(change).filter(|change| change.before != change.after).collect()
    }

    /// Columns that both sides have with the same type, in table order; all columns of a table that only one side has.
    fn common_columns(&self) -> Vec<String> {
        let changed: BTreeSet<String> = self.column_changes().into_iter().map(|change| change.column).collect();
        let schema = self.schemas().into_iter().flatten().next_back();
        let names = schema.iter().flat_map(|schema| schema.fields()).map(|field| field.name().clone());
        names.filter(|name| !changed.contains(name)).collect()
    }

    /// Registers the files that only one side has as `before.rows` and `after.rows`.
    async fn register(&self, session: &SessionContext) -> Result<()> {
        let (before, after) = (self.scan(self.before).await?, self.scan(self.after).await?);
        let paths = |scan: &Option<TableScan>| -> BTreeSet<String> {
            scan.iter().flat_map(|scan| &scan.files).map(|file| file.path.clone()).collect()
        };
        let (old, new) = (paths(&before), paths(&after));
        // A side without the table has none of its rows, and its columns.
        let missing = |other: &Option<TableScan>| other.clone().map(|scan| TableScan { files: Vec::new(), ..scan });
        let sides = [
            ("before", before.clone().or_else(|| missing(&after)), &new),
            ("after", after.or_else(|| missing(&before)), &old),
        ];
        for (side, scan, other) in sides {
            let Some(mut scan) = scan else { continue };
            scan.files.retain(|file| !other.contains(&file.path));
            register_relation(session, side, "rows", Relation::Table(scan)).await?;
        }
        Ok(())
    }

    async fn scan(&self, entry: Option<&ReleasedTable>) -> Result<Option<TableScan>> {
        let Some(entry) = entry else { return Ok(None) };
        let root = self.lake.child(&layout::table_root(self.table.zone(), self.table.table()))?;
        let snapshot = retrying(|| read_snapshot(&root, entry.version)).await?.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "a table that the release names has gone")
                .with("object", root.display_location())
        })?;
        Ok(Some(TableScan {
            root,
            schema: SchemaRef::clone(&entry.schema),
            partition_columns: snapshot.partition_columns,
            files: snapshot.files,
        }))
    }

    fn sample_query(&self, rows: &str, columns: &[String], options: &DiffOptions) -> String {
        let nested = |name: &&String| {
            let schema = self.schemas().into_iter().flatten().next_back();
            let field = schema.and_then(|schema| schema.field_with_name(name).ok());
            field.is_none_or(|field| field.data_type().is_nested())
        };
        let order = options.key.iter().chain(columns.iter().filter(|name| !nested(name))).map(|name| quoted(name));
        // Of two rows with one key the old one comes first.
        let order: Vec<String> = order.chain([format!("{} DESC", quoted(CHANGE_COLUMN))]).collect();
        let order = match options.key.as_slice() {
            [] => order.join(", "),
            key => format!("{}, {} DESC", quoted_list(key), quoted(CHANGE_COLUMN)),
        };
        format!(
            "SELECT CASE WHEN n_after > n_before THEN 'added' ELSE 'removed' END AS {}, {} FROM ({rows}) \
             WHERE n_after <> n_before ORDER BY {order} LIMIT {}",
            quoted(CHANGE_COLUMN),
            quoted_list(columns),
            options.sample_rows
        )
    }
}

/// A query of the distinct rows of both sides, with how often each side has them.
fn different_rows(columns: &[String]) -> String {
    let list = quoted_list(columns);
    format!(
        "SELECT {list}, sum(n_before) AS n_before, sum(n_after) AS n_after FROM (\
         SELECT {list}, CAST(1 AS BIGINT) AS n_before, CAST(0 AS BIGINT) AS n_after FROM \"before\".\"rows\" \
         UNION ALL \
         SELECT {list}, CAST(0 AS BIGINT) AS n_before, CAST(1 AS BIGINT) AS n_after FROM \"after\".\"rows\") \
         GROUP BY {list}"
    )
}

/// A query of one row: added, removed, changed.
fn count_query(rows: &str, key: &[String]) -> String {
    let gained = "greatest(n_after - n_before, CAST(0 AS BIGINT))";
    let lost = "greatest(n_before - n_after, CAST(0 AS BIGINT))";
    if key.is_empty() {
        return format!("SELECT sum({gained}) AS a, sum({lost}) AS r, CAST(0 AS BIGINT) AS c FROM ({rows})");
    }
    let list = quoted_list(key);
    format!(
        "SELECT sum(a - least(a, r)) AS a, sum(r - least(a, r)) AS r, sum(least(a, r)) AS c FROM (\
         SELECT {list}, sum({gained}) AS a, sum({lost}) AS r FROM ({rows}) GROUP BY {list})"
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quoted_list(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

async fn rows(engine: &Engine, session: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    let rows = engine.query(session, sql, &BTreeMap::new()).await?;
    rows.batches.try_collect().await
}

/// A count of a query's only row; a sum over nothing is NULL.
fn number(batches: &[RecordBatch], column: usize) -> u64 {
    let row = batches.iter().find(|batch| batch.num_rows() > 0);
    let values = row.and_then(|batch| batch.columns().get(column)?.as_any().downcast_ref::<Int64Array>());
    let value = values.and_then(|values| values.iter().next().flatten()).unwrap_or(0);
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests;
