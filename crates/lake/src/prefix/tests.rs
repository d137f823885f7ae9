//! What every store must do, on every store that tests can reach; and the names that the local disk must keep.

use std::{
    fmt, fs,
    path::Path as FilePath,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, PutMultipartOptions, PutResult,
    Result as StoreResult, memory::InMemory,
};
use tempfile::TempDir;

use super::*;

/// Every kind of store, each with an empty prefix. The directory lives as long as the prefix is used.
fn stores() -> Vec<(Prefix, Option<TempDir>)> {
    let directory = tempfile::tempdir().unwrap();
    let local = Prefix::open(directory.path().join("lake").to_str().unwrap()).unwrap();
    vec![(memory(), None), (local, Some(directory))]
}

fn memory() -> Prefix {
    let url = Url::parse("memory:///").unwrap();
    Prefix::new(Arc::new(InMemory::new()), url, Path::parse("some/lake").unwrap())
}

#[tokio::test]
async fn the_first_creator_wins_and_the_second_gets_its_bytes() {
    for (prefix, _directory) in stores() {
        assert_eq!(prefix.create("a/b.json", "one".into()).await.unwrap(), Created::Now);
        assert_eq!(prefix.create("a/b.json", "two".into()).await.unwrap(), Created::Before("one".into()));
        assert_eq!(prefix.read("a/b.json").await.unwrap(), Some("one".into()));
        assert_eq!(prefix.read("a/c.json").await.unwrap(), None);
    }
}

#[tokio::test]
async fn of_many_creators_at_once_exactly_one_wins() {
    for (prefix, _directory) in stores() {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..32 {
            let prefix = prefix.clone();
            tasks.spawn(async move { prefix.create("x", format!("{number}").into()).await.unwrap() });
        }
        let outcomes = tasks.join_all().await;
        assert_eq!(outcomes.iter().filter(|created| **created == Created::Now).count(), 1);
        let winner = prefix.read("x").await.unwrap().unwrap();
        let losers = outcomes.iter().filter(|created| **created == Created::Before(winner.clone()));
        assert_eq!(losers.count(), 31);
    }
}

#[tokio::test]
async fn listings_are_sorted_relative_and_empty_where_nothing_is() {
    for (prefix, _directory) in stores() {
        for key in ["r/2.json", "r/10.json", "r/sub/1.json", "other/1.json"] {
            prefix.create(key, "12345".into()).await.unwrap();
        }
        let keys = |objects: Vec<ListedObject>| objects.into_iter().map(|object| object.key).collect::<Vec<_>>();
        assert_eq!(keys(prefix.list("r").await.unwrap()), ["r/10.json", "r/2.json", "r/sub/1.json"]);
        assert_eq!(keys(prefix.list_after("r", "r/10.json").await.unwrap()), ["r/2.json", "r/sub/1.json"]);
        assert_eq!(keys(prefix.child("r").unwrap().list("sub").await.unwrap()), ["sub/1.json"]);
        assert_eq!(prefix.list("r").await.unwrap()[0].size_bytes, 5);
        assert_eq!(prefix.list_dirs("").await.unwrap(), ["other", "r"]);
        assert_eq!(prefix.list("none").await.unwrap(), []);
        assert!(prefix.list_dirs("none").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn overwrite_and_delete_do_as_they_say_whether_the_object_exists_or_not() {
    for (prefix, _directory) in stores() {
        prefix.overwrite("d/1", "a".into()).await.unwrap();
        prefix.overwrite("d/1", "bc".into()).await.unwrap();
        assert_eq!(prefix.read("d/1").await.unwrap(), Some("bc".into()));
        assert_eq!(prefix.head("d/1").await.unwrap().unwrap().size_bytes, 2);
        assert!(prefix.exists().await.unwrap());
        prefix.delete("d/1").await.unwrap();
        prefix.delete("d/1").await.unwrap();
        assert_eq!(prefix.head("d/1").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_key_is_the_name_of_the_file_on_disk_whatever_characters_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let odd = "my lake #1 100% what? ~x [a]{b} é 🎵 %2F +&=:'\"";
    let root = directory.path().join(odd);
    let prefix = Prefix::open(root.to_str().unwrap()).unwrap();
    let key = "zone/c=a%2Fb %25 #x é🎵/part?.parquet";
    prefix.create(key, "x".into()).await.unwrap();
    assert_eq!(fs::read(root.join(key)).unwrap(), b"x");
    assert_eq!(prefix.list("").await.unwrap()[0].key, key);
    assert_eq!(prefix.list_dirs("").await.unwrap(), ["zone"]);
    assert_eq!(prefix.display_location(), root.to_str().unwrap());
    assert_eq!(prefix.display(key), root.join(key).to_str().unwrap());
    assert_eq!(prefix.url().to_file_path().unwrap(), root);
    let again = Prefix::open(prefix.url().as_str()).unwrap();
    assert_eq!(again.read(key).await.unwrap(), Some("x".into()));
    assert_eq!(again.root(), prefix.root());
}

#[tokio::test]
async fn a_prefix_that_is_missing_dangling_or_a_file_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let open = |name: &str| Prefix::open(directory.path().join(name).to_str().unwrap()).unwrap();
    assert!(!open("missing/deep").exists().await.unwrap());
    fs::create_dir(directory.path().join("there")).unwrap();
    assert!(open("there").exists().await.unwrap());
    std::os::unix::fs::symlink("/nowhere/at/all", directory.path().join("link")).unwrap();
    let dangling = open("link/below").exists().await.unwrap_err();
    assert_eq!(dangling.kind(), ErrorKind::NotFound);
    assert!(dangling.to_string().contains("link") && dangling.to_string().contains("/nowhere/at/all"), "{dangling}");
    fs::write(directory.path().join("file"), "x").unwrap();
    assert_eq!(open("file").exists().await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(open("file/below").exists().await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(open("file").create("x", "y".into()).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(open("link").create("x", "y".into()).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn locations_are_taken_as_typed() {
    let working = std::env::current_dir().unwrap();
    let root = |location: &str| format!("/{}", Prefix::open(location).unwrap().root());
    let below = |relative: &str| working.join(relative).to_str().unwrap().to_owned();
    assert_eq!(root("data/lake///"), below("data/lake"));
    assert_eq!(root("./data//lake"), below("data/lake"));
    assert_eq!(root("data/../other"), below("other"));
    assert_eq!(root("~/x"), below("~/x"));
    assert_eq!(root("file:///a%20b/c"), "/a b/c");
    assert_eq!(root("/"), "/");
    assert_eq!(Prefix::open("/").unwrap().display("tmp"), "/tmp");
    assert!(FilePath::new(&root("x")).is_absolute());
}

#[test]
fn locations_that_mean_nothing_are_refused() {
    for location in ["", "gs://bucket/x", "s3://", "s3:///x", "s3://b/a//b", "file://host/x?y#z", "a\nb"] {
        let error = Prefix::open(location).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{location:?} {error:?}");
    }
}

#[test]
fn an_s3_location_is_a_bucket_and_a_plain_key() {
    let prefix = Prefix::open("s3://my-bucket/some/pre fix%20/").unwrap();
    assert_eq!(prefix.store_url().as_str(), "s3://my-bucket/");
    assert_eq!(prefix.root().as_ref(), "some/pre fix%20");
    assert_eq!(prefix.display_location(), "s3://my-bucket/some/pre fix%20");
    assert_eq!(prefix.url().as_str(), "s3://my-bucket/some/pre%20fix%2520/");
    assert!(!prefix.is_local());
}

#[test]
fn a_key_cannot_leave_its_prefix() {
    for relative in ["..", "a/../b", ".", "a//b", "a\u{0}b"] {
        assert_eq!(memory().path(relative).unwrap_err().kind(), ErrorKind::Invalid, "{relative:?}");
    }
    assert_eq!(memory().child("a").unwrap().key(&Path::parse("some/lake/ab/c").unwrap()), None);
}

/// Answers to the first creates of a name that the object exists, while nothing has it: S3's 409 to one of two
/// creators at once.
#[derive(Debug)]
struct ConflictingStore {
    inner: InMemory,
    conflicts: AtomicU32,
}

impl fmt::Display for ConflictingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConflictingStore")
    }
}

#[async_trait]
impl ObjectStore for ConflictingStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        let left = self.conflicts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            return Err(StoreError::AlreadyExists { path: location.to_string(), source: "409 Conflict".into() });
        }
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn conflicting(conflicts: u32) -> Prefix {
    let store = ConflictingStore { inner: InMemory::new(), conflicts: AtomicU32::new(conflicts) };
    Prefix::new(Arc::new(store), Url::parse("memory:///").unwrap(), Path::default())
}

#[tokio::test]
async fn a_conflict_over_a_name_that_nothing_has_is_tried_again() {
    let prefix = conflicting(2);
    assert_eq!(prefix.create("x", "mine".into()).await.unwrap(), Created::Now);
    assert_eq!(prefix.read("x").await.unwrap(), Some("mine".into()));
}

#[tokio::test]
async fn a_store_that_never_stops_to_conflict_is_unavailable() {
    let error = conflicting(u32::MAX).create("x", "mine".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn many_objects_are_listed_each_once_however_their_folders_are() {
    let few = |index: usize| format!("deep/er/{}/{index}.json", index % 9);
    let many = |index: usize| format!("{}/{index}.json", index % 700);
    let beside =
        |index: usize| if index.is_multiple_of(2) { format!("{index}.json") } else { format!("a/{index}.json") };
    let mixed = |index: usize| format!("{}{index}.json", ["", "b/", "c/"][index % 3]);
    for (key, count) in [
        (&few as &dyn Fn(usize) -> String, 2500),
        (&many, 1500),
        (&beside, 1500),
        (&mixed, 1500),
        (&few, 10),
        (&few, 1000),
    ] {
        let prefix = memory();
        for index in 0..count {
            prefix.create(&format!("raw/{}", key(index)), "x".into()).await.unwrap();
        }
        let listed = prefix.list_large("raw").await.unwrap();
        assert_eq!(listed, prefix.list("raw").await.unwrap(), "{}", key(1));
        assert_eq!(listed.len(), count);
    }
}
