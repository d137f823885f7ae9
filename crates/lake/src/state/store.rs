//! Reads state objects from a lake.
//!
//! Invariant: writes nothing. What a reader sees is what the newest release names.

use futures::{StreamExt, TryStreamExt, stream};
use lakewright_error::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;

use super::{LakeMarker, Origins, Release, Unit, decode, decode_origins, decode_units};
use crate::{ListedObject, Prefix, layout};

/// Ledger segments read at once.
const SEGMENT_READS_MAX: usize = 16;

/// Objects that a store gives in one answer to a listing.
const PAGE: usize = 1000;

/// Reads the marker of a lake; `None` if there is no lake at the prefix.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: the lake was written by a newer version of this program.
/// - [`ErrorKind::Corrupt`]: the marker does not parse.
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`]: the store did not answer, or refused.
pub async fn open_lake(lake: &Prefix) -> Result<Option<LakeMarker>> {
    read_object(lake, layout::LAKE_MARKER).await
}

/// Reads a state object; `None` if it does not exist.
///
/// # Errors
/// As [`open_lake`].
pub async fn read_object<T: DeserializeOwned>(lake: &Prefix, key: &str) -> Result<Option<T>> {
    match lake.read(key).await? {
        Some(bytes) => decode(key, &bytes).map(Some),
        None => Ok(None),
    }
}

/// Reads the newest release; `None` if nothing has been published.
///
/// # Errors
/// As [`open_lake`].
pub async fn newest_release(lake: &Prefix) -> Result<Option<Release>> {
    match last_number(lake, layout::RELEASES_DIR).await? {
        Some(number) => read_object(lake, &layout::release(number)).await,
        None => Ok(None),
    }
}

/// Reads the units of a table's ledger segments, in the order of the segments.
///
/// # Errors
/// As [`open_lake`]; [`ErrorKind::Corrupt`] also if a segment is missing.
pub async fn read_ledger(lake: &Prefix, table: &str, segments: &[u64]) -> Result<Vec<Unit>> {
    let keys: Vec<String> = segments.iter().map(|segment| layout::ledger_segment(table, *segment)).collect();
    let reads = keys.into_iter().map(|key| async move {
        let bytes = lake.read(&key).await?.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "a ledger segment that the release names is missing")
                .with("object", &key)
                .with_hint("restore this object from a backup of the lake, or run with --full-refresh")
        })?;
        decode_units(&key, bytes)
    });
    let units: Vec<Vec<Unit>> = stream::iter(reads).buffered(SEGMENT_READS_MAX).try_collect().await?;
    Ok(units.into_iter().flatten().collect())
}

/// Reads what the files of a table hold that were made by compaction; nothing if the table has no such segment.
///
/// # Errors
/// As [`read_ledger`].
pub async fn read_origins(lake: &Prefix, table: &str, segment: Option<u64>) -> Result<Origins> {
    let Some(segment) = segment else { return Ok(Origins::default()) };
    let key = layout::origins_segment(table, segment);
    let bytes = lake.read(&key).await?.ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, "an object that the release names is missing")
            .with("object", &key)
            .with_hint("restore this object from a backup of the lake, or run with --full-refresh")
    })?;
    decode_origins(&key, bytes)
}

/// Lists the numbers of the slots or releases in a folder, ascending.
///
/// # Errors
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`]: the store did not answer, or refused.
pub async fn list_numbers(lake: &Prefix, dir: &str) -> Result<Vec<u64>> {
    let names = list_names(lake, dir).await?;
    Ok(names.iter().filter_map(|name| layout::number_of(name)).collect())
}

/// Gives the greatest number of the slots or releases in a folder; `None` if it has none.
///
/// Costs one request where there are few, and some more where there are very many: beyond the first answer of a listing,
/// numbers are looked for in growing steps, and only what comes after the last one found is listed.
///
/// # Errors
/// As [`list_numbers`].
pub async fn last_number(lake: &Prefix, dir: &str) -> Result<Option<u64>> {
    let first = lake.list_first(dir, PAGE).await?;
    let numbers = |objects: &[ListedObject]| {
        let names = objects.iter().filter_map(|object| object.key.rsplit('/').next());
        names.filter_map(layout::number_of).max()
    };
    let Some(mut last) = numbers(&first).filter(|_| first.len() >= PAGE) else { return Ok(numbers(&first)) };
    let page = PAGE as u64;
    let (mut step, mut grows) = (page, true);
    while step >= page {
        let is_there = match last.checked_add(step) {
            Some(number) => lake.head(&layout::numbered(dir, number)).await?.is_some(),
            None => false,
        };
        if is_there {
            last += step;
        }
        grows &= is_there;
        step = if grows { step.saturating_mul(2) } else { step / 2 };
    }
    // A number that is missing in between only makes this listing longer.
    let rest = lake.list_after(dir, &layout::numbered(dir, last)).await?;
    Ok(numbers(&rest).max(Some(last)))
}

/// Lists the names of the objects below a folder, relative to it, sorted.
///
/// # Errors
/// As [`list_numbers`].
pub async fn list_names(lake: &Prefix, dir: &str) -> Result<Vec<String>> {
    let objects = lake.list(dir).await?;
    Ok(objects.iter().filter_map(|object| object.key.strip_prefix(dir)?.strip_prefix('/').map(str::to_owned)).collect())
}
