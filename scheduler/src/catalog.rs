//! What a lake shows to readers: the tables and views of its newest release, or of an earlier one.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::SchemaRef;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt, stream};
use lakewright_compiler::TableName;
use lakewright_engine::{Relation, TableScan, register_relation};
use lakewright_error::{Error, ErrorKind, Result, ResultExt};
use lakewright_lake::{
    Prefix, layout, read_snapshot,
    state::{self, Release, ReleasedTable},
};

use crate::{AsOf, find_release};

/// Tables whose logs are read at once.
const SNAPSHOT_READS_MAX: usize = 8;

/// One table or view of the newest release.
#[derive(Clone, Debug)]
pub struct LakeTable {
    /// `zone.table`.
    pub name: TableName,
    /// Stored columns.
    pub schema: SchemaRef,
    /// The job that owns it.
    pub job: String,
    /// Canonical SQL, if it is a view; views have no version, rows, files, bytes.
    pub view: Option<String>,
    /// Delta version.
    pub version: Option<u64>,
    /// Rows.
    pub rows: u64,
    /// Files.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Partition columns.
    pub partition_columns: Vec<String>,
    /// Where other engines find it: a directory, or an `s3://` URL; empty for a view, which they do not see.
    pub location: String,
}

/// One release of a lake, pinned: what it names stays the same however many runs end.
#[derive(Clone, Debug)]
pub struct LakeCatalog {
    /// Number of the release; `None` if nothing has been published.
    pub release: Option<u64>,
    /// Tables and views by name.
    pub tables: Vec<LakeTable>,
    lake: Prefix,
    released: BTreeMap<String, ReleasedTable>,
}

impl LakeCatalog {
    /// A lake without a release, whether there is one at the prefix or not.
    pub fn empty(lake: &Prefix) -> Self {
        Self { release: None, tables: Vec::new(), lake: lake.clone(), released: BTreeMap::new() }
    }

    /// Reads the newest release. A lake without a release has no tables.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: there is no lake at the prefix.
    /// - [`ErrorKind::Unsupported`]: the lake was written by a newer version of this program.
    /// - [`ErrorKind::Corrupt`]: a state object does not parse.
    pub async fn open(lake: &Prefix) -> Result<Self> {
        Self::require_lake(lake).await?;
        let newest = state::newest_release(lake).await.context("lake", || lake.display_location())?;
        match newest {
            Some(release) => Self::of_release(lake, release),
            None => Ok(Self::empty(lake)),
        }
    }

    /// Reads an earlier release.
    ///
    /// # Errors
    /// As [`LakeCatalog::open`]; [`ErrorKind::NotFound`] also if there is no such release.
    pub async fn open_at(lake: &Prefix, as_of: AsOf) -> Result<Self> {
        Self::require_lake(lake).await?;
        Self::of_release(lake, find_release(lake, as_of).await?)
    }

    fn of_release(lake: &Prefix, release: Release) -> Result<Self> {
        let Release { number, tables: released, .. } = release;
        let tables = released.iter().map(|(name, table)| lake_table(lake, name, table)).collect::<Result<_>>()?;
        Ok(Self { release: Some(number), tables, lake: lake.clone(), released })
    }

    async fn require_lake(lake: &Prefix) -> Result<()> {
        let location = || lake.display_location();
        // A directory that is missing, or a link that leads nowhere, says more than a missing marker.
        let exists = lake.exists().await?;
        if !exists || state::open_lake(lake).await.context("lake", location)?.is_none() {
            return Err(Error::new(ErrorKind::NotFound, "there is no lake here")
                .with("lake", location())
                .with_hint("`lakewright run` makes it; --lake names another"));
        }
        Ok(())
    }

    /// Registers the named tables, and what the views among them read, in a session. The session's engine must know
    /// the store of the lake.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: the release has no such table.
    /// - [`ErrorKind::Corrupt`]: a table's log does not parse, or a version that the release names has gone.
    /// - [`ErrorKind::Unsupported`]: another program changed a table beyond what this one reads.
    /// - [`ErrorKind::Unavailable`]: the store did not answer.
    pub async fn register(&self, session: &SessionContext, names: &[TableName]) -> Result<()> {
        let ordered = self.with_inputs(names)?;
        let stored = ordered.iter().filter(|(_, table)| table.view.is_none());
        let scans = stored.map(|(name, table)| async move { Ok((name.clone(), self.scan(name, table).await?)) });
        let mut scans: BTreeMap<TableName, TableScan> =
            stream::iter(scans).buffered(SNAPSHOT_READS_MAX).try_collect().await?;
        for (name, table) in ordered {
            let relation = match (&table.view, scans.remove(&name)) {
                (None, Some(scan)) => Relation::Table(scan),
                (Some(view), _) => Relation::View { sql: view.sql.clone(), schema: SchemaRef::clone(&table.schema) },
                (None, None) => continue,
            };
            register_relation(session, name.zone(), name.table(), relation).await.context("table", || &name)?;
        }
        Ok(())
    }

    /// The tables and all that the views among them read, each after what it reads.
    fn with_inputs(&self, names: &[TableName]) -> Result<Vec<(TableName, &ReleasedTable)>> {
        let mut ordered = Vec::new();
        let mut seen = BTreeSet::new();
        // `true` marks a table whose inputs have been pushed before it.
        let mut pending: Vec<(TableName, bool)> = names.iter().rev().map(|name| (name.clone(), false)).collect();
        while let Some((name, inputs_done)) = pending.pop() {
            let table = self.released.get(&name.to_string()).ok_or_else(|| self.no_such_table(&name))?;
            if inputs_done {
                ordered.push((name, table));
                continue;
            }
            if !seen.insert(name.clone()) {
                continue;
            }
            let reads = table.view.iter().flat_map(|view| &view.reads);
            let reads: Vec<TableName> = reads.map(|read| parse_name(read)).collect::<Result<_>>()?;
            pending.push((name, true));
            pending.extend(reads.into_iter().rev().map(|read| (read, false)));
        }
        Ok(ordered)
    }

    async fn scan(&self, name: &TableName, table: &ReleasedTable) -> Result<TableScan> {
        let root = self.lake.child(&layout::table_root(name.zone(), name.table()))?;
        let snapshot = read_snapshot(&root, table.version).await.context("table", || name)?;
        let snapshot = snapshot.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "a table that the release names has gone")
                .with("table", name)
                .with("object", root.display_location())
                .with_hint("restore it, or rebuild it with --full-refresh")
        })?;
        Ok(TableScan {
            root,
            schema: SchemaRef::clone(&table.schema),
            partition_columns: snapshot.partition_columns,
            files: snapshot.files,
        })
    }

    fn no_such_table(&self, name: &TableName) -> Error {
        let hint = match self.release {
            Some(_) => "`lakewright tables` lists what the lake has",
            None => "nothing has been published: `lakewright run` fills the lake",
        };
        Error::new(ErrorKind::NotFound, "the lake has no such table")
            .with("table", name)
            .with("lake", self.lake.display_location())
            .with_hint(hint)
    }
}

fn lake_table(lake: &Prefix, name: &str, table: &ReleasedTable) -> Result<LakeTable> {
    let name = parse_name(name)?;
    let location = match table.view {
        Some(_) => String::new(),
        None => lake.display(&layout::table_root(name.zone(), name.table())),
    };
    Ok(LakeTable {
        name,
        schema: SchemaRef::clone(&table.schema),
        job: table.job.clone(),
        view: table.view.as_ref().map(|view| view.sql.clone()),
        version: table.version,
        rows: table.rows,
        files: table.files,
        bytes: table.bytes,
        partition_columns: table.partition_columns.clone(),
        location,
    })
}

fn parse_name(text: &str) -> Result<TableName> {
    TableName::parse(text)
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the release names a table that cannot be").with("table", text))
}

#[cfg(test)]
mod tests;
