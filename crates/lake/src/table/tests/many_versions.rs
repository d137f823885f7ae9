//! A table with a thousand versions opens with few requests, because of its checkpoints.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use super::*;

const VERSIONS: u64 = 1000;

/// Counts what is read.
#[derive(Debug, Default)]
struct Counting {
    inner: InMemory,
    gets: AtomicUsize,
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.inner.get_opts(location, options).await
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

#[tokio::test]
async fn a_table_of_a_thousand_versions_opens_from_its_last_checkpoint() {
    let store = Arc::new(Counting::default());
    let url = Url::parse("memory:///").unwrap();
    let root = Path::parse("lake/curated/plays").unwrap();
    let table = Prefix::new(Arc::clone(&store) as Arc<dyn ObjectStore>, url, root);
    commit_version(&table, &commit(None, "r", vec![], vec![])).await.unwrap();
    for version in 1..VERSIONS {
        let add = serde_json::json!({ "add": {
            "path": format!("city=x/{version}.parquet"), "partitionValues": { "city": "x" }, "size": 100,
            "modificationTime": 0, "dataChange": true, "stats": r#"{"numRecords":3}"#,
        }});
        table.create(&log::entry_key(version), Bytes::from(add.to_string())).await.unwrap();
        // Only the last checkpoints matter to a reader.
        if checkpoint_due(version) && version > VERSIONS - 30 {
            write_checkpoint(&table, version).await.unwrap();
        }
    }
    let reads = |from: usize| store.gets.load(Ordering::SeqCst) - from;
    let before = reads(0);
    let newest = read_snapshot(&table, None).await.unwrap().unwrap();
    assert_eq!((newest.version, newest.files.len()), (VERSIONS - 1, 999));
    let opening = reads(before);
    assert!(opening < 40, "{opening} reads open a table whose last checkpoint is 9 versions old");
    // An earlier version opens from the checkpoint before it, and a commit looks no further back.
    let before = reads(0);
    assert_eq!(read_snapshot(&table, Some(985)).await.unwrap().unwrap().files.len(), 985);
    assert!(reads(before) < 40, "{} reads", reads(before));
    let before = reads(0);
    let append = commit(Some(VERSIONS - 1), "r2", vec![file("city=x/new.parquet", Some("x"))], vec![]);
    assert_eq!(commit_version(&table, &append).await.unwrap(), CommitOutcome::Committed { version: VERSIONS });
    assert!(reads(before) < 40, "{} reads", reads(before));
    assert!(!checkpoint_overdue(&table, VERSIONS - 1).await.unwrap());
    assert!(checkpoint_overdue(&table, VERSIONS).await.unwrap());
}
