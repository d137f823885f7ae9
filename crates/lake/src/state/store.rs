//! Reads state objects from a lake.
//!
//! Invariant: writes nothing. What a reader sees is what the newest release names.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lakewright_error::{Error, ErrorKind, Result};
use object_store::{ObjectStoreExt, path::Path};
use serde::de::DeserializeOwned;

use super::{LakeMarker, Release, Unit, decode, decode_units};
use crate::{Prefix, layout};

/// Ledger segments read at once.
const SEGMENT_READS_MAX: usize = 16;

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
    match read_bytes(lake, key).await? {
        Some(bytes) => decode(key, &bytes).map(Some),
        None => Ok(None),
    }
}

/// Reads the newest release; `None` if nothing has been published.
///
/// # Errors
/// As [`open_lake`].
pub async fn newest_release(lake: &Prefix) -> Result<Option<Release>> {
    let numbers = list_numbers(lake, layout::RELEASES_DIR).await?;
    match numbers.last() {
        Some(number) => read_object(lake, &layout::release(*number)).await,
        None => Ok(None),
    }
}

/// Reads the units of a table's ledger segments, in the order of the segments.
///
/// # Errors
/// As [`open_lake`]; [`ErrorKind::Corrupt`] also if a segment is missing.
pub async fn read_ledger(lake: &Prefix, table: &str, segments: &[u64]) -> Result<Vec<Unit>> {
    let reads = segments.iter().map(|segment| {
        let key = layout::ledger_segment(table, *segment);
        async move {
            let bytes = read_bytes(lake, &key).await?.ok_or_else(|| {
                Error::new(ErrorKind::Corrupt, "a ledger segment that the release names is missing")
                    .with("object", &key)
                    .with_hint("restore this object from a backup of the lake, or run with --full-refresh")
            })?;
            decode_units(&key, bytes)
        }
    });
    let units: Vec<Vec<Unit>> = stream::iter(reads).buffered(SEGMENT_READS_MAX).try_collect().await?;
    Ok(units.into_iter().flatten().collect())
}

/// Lists the numbers of the slots or releases in a folder, ascending.
///
/// # Errors
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`]: the store did not answer, or refused.
pub async fn list_numbers(lake: &Prefix, dir: &str) -> Result<Vec<u64>> {
    let names = list_names(lake, dir).await?;
    Ok(names.iter().filter_map(|name| layout::number_of(name)).collect())
}

/// Lists the names of the objects directly in a folder, sorted.
///
/// # Errors
/// As [`list_numbers`].
pub async fn list_names(lake: &Prefix, dir: &str) -> Result<Vec<String>> {
    let prefix = path_of(lake, dir)?;
    let listed = lake.store().list_with_delimiter(Some(&prefix)).await.map_err(|source| store_error(dir, source))?;
    let names: BTreeSet<String> =
        listed.objects.iter().filter_map(|object| object.location.filename().map(str::to_owned)).collect();
    Ok(names.into_iter().collect())
}

/// Lists the names of the folders directly in a folder, sorted.
///
/// # Errors
/// As [`list_numbers`].
pub async fn list_folders(lake: &Prefix, dir: &str) -> Result<Vec<String>> {
    let prefix = path_of(lake, dir)?;
    let listed = lake.store().list_with_delimiter(Some(&prefix)).await.map_err(|source| store_error(dir, source))?;
    let names: BTreeSet<String> =
        listed.common_prefixes.iter().filter_map(|folder| folder.filename().map(str::to_owned)).collect();
    Ok(names.into_iter().collect())
}

/// Reads the bytes of an object; `None` if it does not exist.
///
/// # Errors
/// As [`list_numbers`].
pub async fn read_bytes(lake: &Prefix, key: &str) -> Result<Option<Bytes>> {
    let path = path_of(lake, key)?;
    let read = async { lake.store().get(&path).await?.bytes().await };
    match read.await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(source) => Err(store_error(key, source)),
    }
}

/// Size of an object in bytes; `None` if it does not exist.
///
/// # Errors
/// As [`list_numbers`].
pub async fn object_size(lake: &Prefix, key: &str) -> Result<Option<u64>> {
    match lake.store().head(&path_of(lake, key)?).await {
        Ok(meta) => Ok(Some(meta.size)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(source) => Err(store_error(key, source)),
    }
}

fn path_of(lake: &Prefix, key: &str) -> Result<Path> {
    let key = Path::parse(key).map_err(|source| {
        Error::new(ErrorKind::Internal, "an object's key is not one").with("object", key).with_source(source)
    })?;
    Ok(lake.root().parts().chain(key.parts()).collect())
}

fn store_error(key: &str, source: object_store::Error) -> Error {
    let kind = match &source {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => ErrorKind::Denied,
        object_store::Error::NotFound { .. } => ErrorKind::NotFound,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "the object store did not answer").with("object", key).with_source(source)
}
