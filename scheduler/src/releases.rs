//! The releases of a lake as people name them: by number or by time, and what each has changed.
//!
//! Invariant: reads only. A release is the state of all tables; a time means the release that was the newest then.

use futures::{StreamExt, TryStreamExt, stream};
use lakewright_compiler::TableName;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    Prefix, layout,
    state::{Release, ReleasedTable, list_numbers, read_object},
};
use serde::{Deserialize, Serialize};

use crate::{lineage::parse_name, run::retrying};

/// Releases read at once.
const RELEASE_READS_MAX: usize = 16;

/// Which release is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// The release with this number.
    Release(u64),
    /// The newest release at this time, in microseconds since 1970-01-01T00:00:00Z.
    Time(i64),
}

/// What became of one table in a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The release before has no such table.
    Created,
    /// Its version or its definition is another one.
    Changed,
    /// The release has no such table any more.
    Dropped,
}

/// One table that a release has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableChange {
    /// `zone.table`.
    pub table: TableName,
    /// What became of it.
    pub change: Change,
    /// Delta version; `None` for a view and for a table that is gone.
    pub version: Option<u64>,
    /// Rows before.
    pub rows_before: u64,
    /// Rows, files and bytes in this release; 0 for a view and for a table that is gone.
    pub rows: u64,
    /// Files in this release.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
}

/// One release as `tables --history` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRecord {
    /// Its number.
    pub number: u64,
    /// When it was made, in microseconds since 1970-01-01T00:00:00Z.
    pub created_us: i64,
    /// The run that made it.
    pub run_id: String,
    /// The job of that run.
    pub job: String,
    /// Tables that it has changed, sorted by name.
    pub changes: Vec<TableChange>,
}

/// Finds the release that is meant.
///
/// # Errors
/// - [`ErrorKind::NotFound`]: there is no such release, or none was made until then.
/// - [`ErrorKind::Corrupt`]: a release does not parse.
/// - [`ErrorKind::Unavailable`]: the store did not answer.
pub async fn find_release(lake: &Prefix, as_of: AsOf) -> Result<Release> {
    let numbers = retrying(|| list_numbers(lake, layout::RELEASES_DIR)).await?;
    let known = || match (numbers.first(), numbers.last()) {
        (Some(first), Some(last)) => format!("the lake has the releases {first} to {last}: see `tables --history`"),
        _ => "nothing has been published: `lakewright run` makes the first release".to_owned(),
    };
    match as_of {
        AsOf::Release(number) => read_release(lake, number).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, missing_release(&numbers, number))
                .with("release", number)
                .with("lake", lake.display_location())
                .with_hint(known())
        }),
        AsOf::Time(time_us) => {
            let reads = numbers.iter().rev().map(|number| read_release(lake, *number));
            let mut releases = stream::iter(reads).buffered(RELEASE_READS_MAX);
            while let Some(release) = releases.try_next().await? {
                if let Some(release) = release.filter(|release| release.created_us <= time_us) {
                    return Ok(release);
                }
            }
            let message = match numbers.first() {
                Some(first) if *first > 1 => "the releases from that time and before have been vacuumed",
                _ => "the lake has no release from that time or before",
            };
            Err(Error::new(ErrorKind::NotFound, message).with("lake", lake.display_location()).with_hint(known()))
        }
    }
}

/// Why there is no release of a number, where these are there.
pub(crate) fn missing_release(numbers: &[u64], number: u64) -> &'static str {
    match numbers.first() {
        Some(first) if (1..*first).contains(&number) => "the release has been vacuumed: its files may be gone",
        _ => "the lake has no such release",
    }
}

/// Lists the newest releases, newest first, at most `limit`; with `table` only those that have changed it.
///
/// The oldest release that is left shows all of its tables as created.
///
/// # Errors
/// As [`find_release`].
pub async fn list_releases(lake: &Prefix, table: Option<&TableName>, limit: usize) -> Result<Vec<ReleaseRecord>> {
    let numbers = retrying(|| list_numbers(lake, layout::RELEASES_DIR)).await?;
    let reads = numbers.iter().rev().map(|number| read_release(lake, *number));
    // A release may go while it is read: a vacuum takes the oldest.
    let mut releases =
        stream::iter(reads).buffered(RELEASE_READS_MAX).try_filter_map(|read| async move { Ok(read) }).boxed();
    let mut records = Vec::new();
    let mut after = releases.try_next().await?;
    while let Some(release) = after {
        let before = releases.try_next().await?;
        let mut changes = changes_between(before.as_ref(), &release)?;
        if let Some(table) = table {
            changes.retain(|change| change.table == *table);
        }
        if table.is_none() || !changes.is_empty() {
            let Release { number, created_us, run_id, job, .. } = release;
            records.push(ReleaseRecord { number, created_us, run_id, job, changes });
        }
        if records.len() >= limit {
            break;
        }
        after = before;
    }
    Ok(records)
}

/// What going from one release to another changes in the tables of a job, sorted by table.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: a release names a table that cannot be one.
pub fn changes_of_job(before: &Release, after: &Release, job: &str) -> Result<Vec<TableChange>> {
    let own = |release: &Release| {
        let mut own = release.clone();
        own.tables.retain(|_, entry| entry.job == job);
        own
    };
    changes_between(Some(&own(before)), &own(after))
}

async fn read_release(lake: &Prefix, number: u64) -> Result<Option<Release>> {
    let key = layout::release(number);
    retrying(|| read_object(lake, &key)).await
}

/// What `after` has changed, sorted by table.
fn changes_between(before: Option<&Release>, after: &Release) -> Result<Vec<TableChange>> {
    let mut changes = Vec::new();
    let earlier = |name: &String| before.and_then(|release| release.tables.get(name));
    for (name, entry) in &after.tables {
        let change = match earlier(name) {
            None => Change::Created,
            Some(earlier) if differs(earlier, entry) => Change::Changed,
            Some(_) => continue,
        };
        changes.push(TableChange {
            table: parse_name(name)?,
            change,
            version: entry.version,
            rows_before: earlier(name).map_or(0, |earlier| earlier.rows),
            rows: entry.rows,
            files: entry.files,
            bytes: entry.bytes,
        });
    }
    for (name, entry) in before.iter().flat_map(|before| &before.tables) {
        if !after.tables.contains_key(name) {
            let (table, change) = (parse_name(name)?, Change::Dropped);
            let rows_before = entry.rows;
            changes.push(TableChange { table, change, version: None, rows_before, rows: 0, files: 0, bytes: 0 });
        }
    }
    changes.sort_by(|left, right| left.table.cmp(&right.table));
    Ok(changes)
}

/// Whether a reader can tell the two apart.
pub(crate) fn differs(before: &ReleasedTable, after: &ReleasedTable) -> bool {
    before.version != after.version || before.view != after.view || before.schema != after.schema
}
