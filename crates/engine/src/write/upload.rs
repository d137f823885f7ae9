//! Uploads a file as it grows: one request if it stays small, parts if not.

use std::sync::Arc;

use bytes::Bytes;
use lakewright_error::{Error, Result, ResultExt};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart, path::Path};
use tokio::runtime::Handle;

use crate::fault;

/// Size of a part; a smaller file is one request. S3 takes 10,000 parts, the first of at least 5 MiB.
const PART_BYTES: usize = 8 << 20;
const PARTS_IN_FLIGHT: usize = 2;

/// An object that appears under its name when it is complete, and only then.
#[derive(Debug)]
pub(super) struct Upload {
    store: Arc<dyn ObjectStore>,
    location: Path,
    /// What waits for the first part to be full.
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    parts: Option<WriteMultipart>,
}

impl Upload {
    /// Asks the store for nothing yet.
    pub(super) fn new(store: Arc<dyn ObjectStore>, location: Path) -> Self {
        Self { store, location, waiting: Vec::new(), waiting_bytes: 0, parts: None }
    }

    /// Adds bytes; waits while too many parts are on their way.
    pub(super) async fn put(&mut self, bytes: Bytes) -> Result<()> {
        self.try_put(bytes).await.map_err(cannot_write).context("file", || &self.location)
    }

    async fn try_put(&mut self, bytes: Bytes) -> object_store::Result<()> {
        if self.parts.is_none() {
            self.waiting_bytes += bytes.len();
            self.waiting.push(bytes);
            if self.waiting_bytes < PART_BYTES {
                return Ok(());
            }
            let upload = self.store.put_multipart(&self.location).await?;
            let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            self.waiting_bytes = 0;
            for bytes in std::mem::take(&mut self.waiting) {
                parts.put(bytes);
            }
            self.parts = Some(parts);
        } else if let Some(parts) = &mut self.parts {
            parts.wait_for_capacity(PARTS_IN_FLIGHT).await?;
            parts.put(bytes);
        }
        Ok(())
    }

    /// Completes the object.
    pub(super) async fn finish(&mut self) -> Result<()> {
        let finished = match self.parts.take() {
            None => {
                let payload: PutPayload = std::mem::take(&mut self.waiting).into_iter().collect();
                self.store.put(&self.location, payload).await.map(drop)
            }
            Some(mut parts) => match parts.wait_for_capacity(0).await {
                Ok(()) => parts.finish().await.map(drop),
                Err(error) => {
                    self.parts = Some(parts);
                    Err(error)
                }
            },
        };
        finished.map_err(cannot_write).context("file", || &self.location)
    }

    /// Gives the upload up. What cannot be cleaned up has no name that anything reads.
    pub(super) async fn abort(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        give_up(parts, &self.location).await;
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        if self.parts.is_some() { PART_BYTES * (1 + PARTS_IN_FLIGHT) } else { self.waiting_bytes }
    }
}

/// A step that is dropped in its middle leaves no parts that the store would keep for ever.
impl Drop for Upload {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        let location = self.location.clone();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { give_up(parts, &location).await });
        }
    }
}

async fn give_up(parts: WriteMultipart, location: &Path) {
    if let Err(error) = parts.abort().await {
        tracing::warn!(file = %location, error = %error, "unfinished upload left behind");
    }
}

fn cannot_write(error: object_store::Error) -> Error {
    fault::from_store(error, "cannot write a data file")
}
