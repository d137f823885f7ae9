//! Stores that fail: after the put was applied, or without any answer.

use std::{
    fmt,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use super::*;

/// What goes wrong with the next put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It is applied, and the answer is lost.
    AnswerLost,
    /// It is not applied.
    NotApplied,
}

#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    fault: Fault,
    armed: AtomicBool,
    reads_fail: AtomicBool,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

fn silence() -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: "no answer".into() }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if !self.armed.swap(false, Ordering::SeqCst) {
            return self.inner.put_opts(location, payload, opts).await;
        }
        if self.fault == Fault::AnswerLost {
            self.inner.put_opts(location, payload, opts).await?;
        }
        Err(silence())
    }

    async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.reads_fail.load(Ordering::SeqCst) {
            return Err(silence());
        }
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn faulty(fault: Fault) -> (Prefix, Arc<Faulty>) {
    let store = Arc::new(Faulty {
        inner: InMemory::new(),
        fault,
        armed: AtomicBool::new(false),
        reads_fail: AtomicBool::new(false),
    });
    let url = Url::parse("memory:///").unwrap();
    let shared: Arc<dyn ObjectStore> = Arc::<Faulty>::clone(&store);
    let table = Prefix::new(shared, url, Path::parse("lake/z/t").unwrap());
    create(&table).await;
    store.armed.store(true, Ordering::SeqCst);
    (table, store)
}

#[tokio::test]
async fn a_lost_answer_is_found_to_be_a_commit() {
    let (table, _store) = faulty(Fault::AnswerLost).await;
    let mine = commit(Some(0), "r2", vec![file("2", None)], vec![]);
    assert_eq!(commit_version(&table, &mine).await.unwrap(), CommitOutcome::Committed { version: 1 });
    assert_eq!(commit_version(&table, &mine).await.unwrap(), CommitOutcome::Committed { version: 1 });
    assert_eq!(newest_version(&table, None).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_put_that_was_not_applied_is_unavailable_and_the_next_call_commits() {
    let (table, _store) = faulty(Fault::NotApplied).await;
    let mine = commit(Some(0), "r2", vec![file("2", None)], vec![]);
    assert_eq!(commit_version(&table, &mine).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(commit_version(&table, &mine).await.unwrap(), CommitOutcome::Committed { version: 1 });
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_unavailable_and_never_corrupt() {
    let (table, store) = faulty(Fault::NotApplied).await;
    store.reads_fail.store(true, Ordering::SeqCst);
    let error = read_snapshot(&table, Some(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}
