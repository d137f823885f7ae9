//! What a source's prefix holds.

use lakewright_error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::Prefix;

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

/// Lists the raw objects of `location` (a prefix or a glob) below `raw`, sorted by key.
///
/// Leaves out hidden objects: any part of the key below `raw` that begins with `_` or `.`, except `_column=value`.
///
/// # Errors
/// - [`ErrorKind::NotFound`]: the raw prefix itself does not exist (local disk), or is a dangling link.
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`]: the store did not answer, or refused.
pub async fn list_raw_objects(_raw: &Prefix, _location: &str) -> Result<Vec<RawObject>> {
    Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
}
