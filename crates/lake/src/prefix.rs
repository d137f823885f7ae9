//! A prefix on an object store: the lake's root, the raw prefix, a table's root.
//!
//! Invariant: [`Prefix::create`] never replaces an object, and tells its caller apart from every other creator.

use std::sync::Arc;

use bytes::Bytes;
use lakewright_error::{Error, ErrorKind, Result};
use object_store::{ObjectStore, path::Path};
use url::Url;

/// A store and a path in it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Prefix {
    store: Arc<dyn ObjectStore>,
    /// Scheme and authority only, as DataFusion's registry of stores wants it: `file:///`, `s3://bucket/`.
    store_url: Url,
    root: Path,
}

/// What came of [`Prefix::create`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// This call made the object.
    Now,
    /// Another creator was first; its bytes.
    Before(Bytes),
}

impl Prefix {
    /// Opens a location: a directory (relative to the process's directory, made on first write) or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: the location does not parse, or its scheme is not known.
    pub fn open(_location: &str) -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
    }

    /// Wraps a store, for tests and for stores made elsewhere. `store_url` has no path.
    pub fn new(store: Arc<dyn ObjectStore>, store_url: Url, root: Path) -> Self {
        Self { store, store_url, root }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Scheme and authority of the store.
    pub fn store_url(&self) -> &Url {
        &self.store_url
    }

    /// The path of the prefix in its store.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
