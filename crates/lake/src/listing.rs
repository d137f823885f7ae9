//! What a source's prefix holds.
//!
//! Data flow: **here**, once a run, at the freeze -> every scan of the run reads exactly these objects.
//!
//! Invariant: what is not data by the rules of [`list_raw_objects`] is left out; what cannot be read is an error that
//! names it, never left out.

mod local;
mod selection;

use lakewright_error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use self::selection::Selection;
use crate::{ListedObject, Prefix};

/// One raw object with its identity: key + size + ETag on S3, key + size + mtime on local disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RawObject {
    /// Key relative to the raw prefix, separated by `/`.
    pub key: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// ETag where the store has real ones (S3).
    pub etag: Option<String>,
    /// Modification time in microseconds since 1970-01-01T00:00:00Z.
    pub modified_us: i64,
}

/// Lists the raw objects of `location` (a prefix, one object, or a glob) below `raw`, sorted by key.
///
/// In a glob `*` and `?` stay within one part of the key, `**` does not, `{a,b}` is either; a prefix that the glob
/// matches gives everything below it. Left out are, as in Spark, objects of which any part of the key below what
/// `location` spells out begins with `_` or `.`, except `_column=value`. Left out, too, are the markers of folders on
/// S3, and unfinished uploads on local disk (`<name>#<number>`). Links are followed on local disk.
///
/// # Errors
/// - [`ErrorKind::NotFound`]: the raw prefix itself does not exist (local disk), or a link leads nowhere; names it.
/// - [`ErrorKind::Invalid`]: the location is no glob or leaves the raw prefix, or a name below it cannot be a key.
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`]: the store did not answer, or refused.
pub async fn list_raw_objects(raw: &Prefix, location: &str) -> Result<Vec<RawObject>> {
    let selection = Selection::parse(location).map_err(|error| error.with("location", location))?;
    // The location's own parts are checked once; a part such as `..` is refused here.
    raw.path(selection.base())?;
    let objects = if raw.is_local() {
        let root = std::path::PathBuf::from(raw.display_location());
        tokio::task::spawn_blocking(move || local::list(&root, &selection))
            .await
            .map_err(|source| Error::new(ErrorKind::Internal, "listing the directory stopped").with_source(source))??
    } else {
        list_store(raw, &selection).await?
    };
    if let Some(object) = objects.iter().find(|object| object.key.contains(|letter: char| letter.is_ascii_control())) {
        return Err(Error::new(ErrorKind::Invalid, "the name has a control character")
            .with("object", format!("{:?}", raw.display(&object.key)))
            .with_hint("rename the object"));
    }
    Ok(objects)
}

async fn list_store(raw: &Prefix, selection: &Selection) -> Result<Vec<RawObject>> {
    let mut listing = raw.list_large(selection.base()).await?;
    if listing.is_empty() && !selection.base().is_empty() {
        listing.extend(raw.head(selection.base()).await?);
    }
    let is_data = |index: usize, object: &ListedObject| {
        selection.selects(&object.key) && !is_folder_marker(object, listing.get(index + 1..).unwrap_or_default())
    };
    let objects = listing.iter().enumerate().filter(|(index, object)| is_data(*index, object));
    Ok(objects.map(|(_, object)| raw_object(object.clone())).collect())
}

fn raw_object(object: ListedObject) -> RawObject {
    let ListedObject { key, size_bytes, modified_us, etag } = object;
    RawObject { key, size_bytes, etag, modified_us }
}

/// Whether an empty object only says that there is a folder of its name. `after` are the objects that sort after it.
fn is_folder_marker(object: &ListedObject, after: &[ListedObject]) -> bool {
    if object.size_bytes > 0 {
        return false;
    }
    let below = format!("{}/", object.key);
    // Between `a` and `a/b` others may sort: `a-b`, `a.json`.
    let index = after.partition_point(|other| other.key < below);
    object.key.ends_with("_$folder$") || after.get(index).is_some_and(|other| other.key.starts_with(&below))
}

#[cfg(test)]
mod tests;
