//! A prefix on an object store: the lake's root, the raw prefix, a table's root.
//!
//! Data flow: every byte that this program reads from or writes to a lake goes through the store of a [`Prefix`].
//!
//! Names: a key is what a user sees in `ls`, never URL-encoded. Keys become [`Path`]s by [`Prefix::path`], because
//! `Path::from` and `Path::join` would percent-encode `#`, `%`, `~` and others, and name another file on disk.
//!
//! Durability: on S3 an object that was created is durable. The local store never calls fsync: what was created
//! survives the death of a process, not the loss of power.
//!
//! Invariant: [`Prefix::create`] never replaces an object, and tells its caller apart from every other creator.

mod fan_out;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lakewright_error::{Error, ErrorKind, Result};
use object_store::{
    Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path,
};
use url::Url;

use crate::{
    Stores, location,
    s3::{About, Bucket},
    store_error,
};

/// Tries of one create while the store says that the object exists and does not.
const CREATE_ATTEMPTS_MAX: u32 = 8;
/// Pause after the first such answer; doubled after each.
const CREATE_PAUSE: Duration = Duration::from_millis(10);

/// A store and a path in it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Prefix {
    store: Arc<dyn ObjectStore>,
    /// Scheme and authority only, as DataFusion's registry of stores wants it: `file:///`, `s3://bucket/`.
    store_url: Url,
    root: Path,
    /// The server, if the store is a bucket of S3.
    about: Option<Arc<About>>,
}

/// What came of [`Prefix::create`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// This call made the object.
    Now,
    /// Another creator was first; its bytes.
    Before(Bytes),
}

/// One object below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Key relative to the prefix that was asked, separated by `/`.
    pub key: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Modification time in microseconds since 1970-01-01T00:00:00Z, by the store's clock.
    pub modified_us: i64,
    /// ETag, where the store gives one.
    pub etag: Option<String>,
}

impl Prefix {
    /// Opens a location: a directory (relative to the process's directory, made on first write), a `file://` URL, or
    /// `s3://bucket/prefix`.
    ///
    /// A path is taken as it is: `~` and `$NAME` are the shell's, `%20` is three characters. S3 is reached as
    /// [`Stores::of_process`] says.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: the location does not parse, or its scheme is not known.
    /// - [`ErrorKind::Denied`]: one half of a key for S3 is set without the other.
    pub fn open(location: &str) -> Result<Self> {
        Stores::of_process().open(location)
    }

    /// Wraps a store, for tests and for stores made elsewhere. `store_url` has no path.
    pub fn new(store: Arc<dyn ObjectStore>, store_url: Url, root: Path) -> Self {
        Self { store, store_url, root, about: None }
    }

    /// A path in a bucket.
    pub(crate) fn of_bucket(bucket: Bucket, store_url: Url, root: Path) -> Self {
        Self { store: bucket.store, store_url, root, about: Some(bucket.about) }
    }

    /// The server, if the store is a bucket of S3.
    pub(crate) fn about(&self) -> Option<&About> {
        self.about.as_deref()
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

    /// Whether the store is the local disk.
    pub fn is_local(&self) -> bool {
        self.store_url.scheme() == "file"
    }

    /// The prefix `relative` below this one.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: as [`Prefix::path`].
    pub fn child(&self, relative: &str) -> Result<Self> {
        Ok(Self { root: self.path(relative)?, ..self.clone() })
    }

    /// The prefix that has this one at `relative` below it; `None` if this one does not end so.
    pub fn above(&self, relative: &str) -> Option<Self> {
        let rest = self.root.as_ref().strip_suffix(relative)?;
        let root = if rest.is_empty() { rest } else { rest.strip_suffix('/')? };
        Some(Self { root: Path::parse(root).ok()?, ..self.clone() })
    }

    /// The path in the store of the object or prefix `relative`; this prefix itself if `relative` is empty.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: a part is empty, `.` or `..`, or has a control character.
    pub fn path(&self, relative: &str) -> Result<Path> {
        let key = if self.root.as_ref().is_empty() || relative.is_empty() {
            format!("{}{relative}", self.root)
        } else {
            format!("{}/{relative}", self.root)
        };
        Path::parse(&key).map_err(|source| {
            Error::new(ErrorKind::Invalid, "the name cannot be an object's")
                .with("object", relative)
                .with_source(source)
        })
    }

    /// The key of a path of this store relative to this prefix; `None` if it is not below it.
    pub fn key(&self, path: &Path) -> Option<String> {
        let (root, path) = (self.root.as_ref(), path.as_ref());
        if root.is_empty() {
            return Some(path.to_owned());
        }
        path.strip_prefix(root)?.strip_prefix('/').map(str::to_owned)
    }

    /// The prefix as a user types it: an absolute path, or an `s3://` URL that is not encoded.
    pub fn display_location(&self) -> String {
        location::display(&self.store_url, &self.root)
    }

    /// The object or prefix `relative` as a user types it.
    pub fn display(&self, relative: &str) -> String {
        let root = self.display_location();
        if relative.is_empty() { root } else { format!("{}/{relative}", root.trim_end_matches('/')) }
    }

    /// The prefix as a URL that ends in `/`, percent-encoded.
    pub fn url(&self) -> Url {
        location::directory_url(&self.store_url, &self.root)
    }

    /// Creates the object `relative` if nothing has that name.
    ///
    /// An error may come after the object was made. A caller that must know puts something into its bytes that no
    /// other creator has, calls again, and compares the bytes of [`Created::Before`] with its own.
    ///
    /// # Errors
    /// - [`ErrorKind::Denied`], [`ErrorKind::Exhausted`]: the store refuses the caller, or is full.
    /// - [`ErrorKind::Unavailable`]: no answer that decides; the object may exist.
    ///
    /// # Cancel safety
    /// Dropping the future after the first poll leaves it open whether the object exists.
    pub async fn create(&self, relative: &str, bytes: Bytes) -> Result<Created> {
        let path = self.path(relative)?;
        let mut pause = CREATE_PAUSE;
        for attempt in 1..=CREATE_ATTEMPTS_MAX {
            let options = PutOptions::from(PutMode::Create);
            match self.store.put_opts(&path, PutPayload::from_bytes(bytes.clone()), options).await {
                Ok(_) => return Ok(Created::Now),
                Err(StoreError::AlreadyExists { .. }) => {}
                Err(error) => return Err(self.error(error, "cannot create the object", relative)),
            }
            if let Some(before) = self.read(relative).await? {
                return Ok(Created::Before(before));
            }
            // S3 answers 409 to the loser of two creators at once, and the winner may fail after that.
            if attempt < CREATE_ATTEMPTS_MAX {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the store says that the object exists, and does not find it")
            .with("object", self.display(relative)))
    }

    /// Reads the object `relative`; `None` if there is none.
    ///
    /// # Errors
    /// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`]: the store did not answer, or refused.
    pub async fn read(&self, relative: &str) -> Result<Option<Bytes>> {
        let path = self.path(relative)?;
        let answer = match self.store.get(&path).await {
            Ok(answer) => answer.bytes().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error(error, "cannot read the object", relative)),
        }
    }

    /// Size and times of the object `relative`; `None` if there is none.
    ///
    /// # Errors
    /// As [`Prefix::read`].
    pub async fn head(&self, relative: &str) -> Result<Option<ListedObject>> {
        let path = self.path(relative)?;
        match self.store.head(&path).await {
            Ok(meta) => Ok(Some(listed(meta, relative.to_owned()))),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error(error, "cannot read the object's size", relative)),
        }
    }

    /// Writes the object `relative`, whether it exists or not. For objects that are hints only (heartbeats).
    ///
    /// # Errors
    /// As [`Prefix::create`].
    pub async fn overwrite(&self, relative: &str, bytes: Bytes) -> Result<()> {
        let path = self.path(relative)?;
        let put = self.store.put(&path, PutPayload::from_bytes(bytes)).await;
        put.map(|_| ()).map_err(|error| self.error(error, "cannot write the object", relative))
    }

    /// Deletes the object `relative`; it is no error if there is none.
    ///
    /// # Errors
    /// As [`Prefix::read`].
    pub async fn delete(&self, relative: &str) -> Result<()> {
        let path = self.path(relative)?;
        match self.store.delete(&path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(error, "cannot delete the object", relative)),
        }
    }

    /// Deletes objects, as many at once as the store takes; it is no error if one is not there.
    ///
    /// # Errors
    /// As [`Prefix::read`], for the first object that is not deleted; some of the others are deleted then.
    pub async fn delete_all(&self, relatives: &[String]) -> Result<()> {
        let paths: Vec<Path> = relatives.iter().map(|relative| self.path(relative)).collect::<Result<_>>()?;
        let paths = stream::iter(paths.into_iter().map(Ok)).boxed();
        let mut deleted = self.store.delete_stream(paths);
        while let Some(answer) = deleted.next().await {
            match answer {
                Ok(_) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(self.error(error, "cannot delete the objects", "")),
            }
        }
        Ok(())
    }

    /// Lists all objects below the prefix `relative` at any depth, sorted by key; none if there is no such prefix.
    /// Keys are relative to this prefix.
    ///
    /// # Errors
    /// As [`Prefix::read`].
    pub async fn list(&self, relative: &str) -> Result<Vec<ListedObject>> {
        let path = self.path(relative)?;
        let stream = self.store.list((!path.is_root()).then_some(&path));
        self.listed_objects(stream.try_collect().await, relative)
    }

    /// As [`Prefix::list`], at most so many of the objects: where the store lists in order, the first ones.
    ///
    /// # Errors
    /// As [`Prefix::read`].
    pub async fn list_first(&self, relative: &str, count: usize) -> Result<Vec<ListedObject>> {
        let path = self.path(relative)?;
        let stream = self.store.list((!path.is_root()).then_some(&path)).take(count);
        self.listed_objects(stream.try_collect().await, relative)
    }

    /// As [`Prefix::list`], with several requests at once where there are many objects in a few folders.
    ///
    /// # Errors
    /// As [`Prefix::read`].
    pub async fn list_large(&self, relative: &str) -> Result<Vec<ListedObject>> {
        let path = self.path(relative)?;
        let listing = fan_out::list_all(self.store.as_ref(), (!path.is_root()).then_some(&path)).await;
        self.listed_objects(listing, relative)
    }

    /// As [`Prefix::list`], only the keys that sort after `after`, which is relative to this prefix too.
    ///
    /// # Errors
    /// As [`Prefix::read`].
    pub async fn list_after(&self, relative: &str, after: &str) -> Result<Vec<ListedObject>> {
        let (path, after) = (self.path(relative)?, self.path(after)?);
        let stream = self.store.list_with_offset((!path.is_root()).then_some(&path), &after);
        self.listed_objects(stream.try_collect().await, relative)
    }

    /// Names of the prefixes directly below `relative`, sorted. The local disk also gives directories without objects.
    ///
    /// # Errors
    /// As [`Prefix::read`].
    pub async fn list_dirs(&self, relative: &str) -> Result<Vec<String>> {
        let path = self.path(relative)?;
        match self.store.list_with_delimiter((!path.is_root()).then_some(&path)).await {
            Ok(listing) => {
                let names = listing.common_prefixes.iter().filter_map(Path::filename);
                let mut names: Vec<String> = names.map(str::to_owned).collect();
                names.sort_unstable();
                Ok(names)
            }
            Err(error) => Err(self.error(error, "cannot list the prefix", relative)),
        }
    }

    /// Whether something is there: on local disk a directory, elsewhere at least one object below the prefix.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: a link on the way leads nowhere; names the link and where it points.
    /// - [`ErrorKind::Invalid`]: a file stands where a directory must be.
    /// - [`ErrorKind::Denied`], [`ErrorKind::Unavailable`]: the store refused, or did not answer.
    pub async fn exists(&self) -> Result<bool> {
        if self.is_local() {
            let directory = self.display_location();
            return tokio::task::spawn_blocking(move || location::is_directory(directory.as_ref())).await.map_err(
                |source| Error::new(ErrorKind::Internal, "looking at the directory stopped").with_source(source),
            )?;
        }
        let mut stream = self.store.list((!self.root.is_root()).then_some(&self.root));
        let first = stream.try_next().await;
        first.map(|found| found.is_some()).map_err(|error| self.error(error, "cannot list the prefix", ""))
    }

    /// Makes an error that names the object `relative`.
    pub(crate) fn error(&self, source: StoreError, message: &'static str, relative: &str) -> Error {
        store_error(source, message, &self.display(relative))
    }

    fn listed_objects(
        &self,
        listing: Result<Vec<ObjectMeta>, StoreError>,
        relative: &str,
    ) -> Result<Vec<ListedObject>> {
        match listing {
            Ok(metas) => {
                let below = |meta: ObjectMeta| self.key(&meta.location).map(|key| listed(meta, key));
                let mut objects: Vec<ListedObject> = metas.into_iter().filter_map(below).collect();
                objects.sort_unstable_by(|left, right| left.key.cmp(&right.key));
                Ok(objects)
            }
            // A prefix without objects is an empty listing on every store: what is not found is the bucket.
            Err(error) => Err(self.error(error, "cannot list the prefix", relative)),
        }
    }
}

fn listed(meta: ObjectMeta, key: String) -> ListedObject {
    let modified_us = meta.last_modified.timestamp_micros();
    ListedObject { key, size_bytes: meta.size, modified_us, etag: meta.e_tag }
}

#[cfg(test)]
mod tests;
