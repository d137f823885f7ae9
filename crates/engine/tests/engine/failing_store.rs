//! A store on a disk without free space.

use std::{fmt, io, sync::Arc};

use async_trait::async_trait;
use futures::{FutureExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};

/// Reads as another store, and refuses every write as the operating system does when a disk is full.
#[derive(Debug)]
pub(crate) struct FullStore(Arc<dyn ObjectStore>);

impl FullStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self(inner)
    }
}

fn full() -> Error {
    Error::Generic { store: "FullStore", source: Box::new(io::Error::from(io::ErrorKind::StorageFull)) }
}

impl fmt::Display for FullStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FullStore")
    }
}

#[async_trait]
impl ObjectStore for FullStore {
    async fn put_opts(&self, _location: &Path, _payload: PutPayload, _options: PutOptions) -> Result<PutResult> {
        Err(full())
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(FullUpload))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(full())
    }
}

#[derive(Debug)]
struct FullUpload;

#[async_trait]
impl MultipartUpload for FullUpload {
    fn put_part(&mut self, _payload: PutPayload) -> UploadPart {
        futures::future::ready(Err(full())).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        Err(full())
    }

    async fn abort(&mut self) -> Result<()> {
        Ok(())
    }
}
