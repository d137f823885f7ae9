//! What is data and what is not, on every store; and the links of a local disk.

use std::{fs, os::unix::fs::symlink, path::Path as FilePath, sync::Arc};

use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
use tempfile::TempDir;
use url::Url;

use super::*;

const KEYS: [&str; 11] = [
    "events/2018/11/a.json",
    "events/2018/11/b.json.gz",
    "events/2018/12/c d.json",
    "events/_day=1/e.json",
    "events/_SUCCESS",
    "events/.hidden/f.json",
    "events/2018/_tmp/g.json",
    "events2/h.json",
    "events/x[1].json",
    "_inbox/i.json",
    "top.json",
];

/// The same objects on every kind of store.
async fn stores() -> Vec<(Prefix, Option<TempDir>)> {
    let directory = tempfile::tempdir().unwrap();
    for key in KEYS {
        let file = directory.path().join(key);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "{}\n").unwrap();
    }
    let local = Prefix::open(directory.path().to_str().unwrap()).unwrap();
    let store = InMemory::new();
    for key in KEYS {
        store.put(&Path::parse(format!("raw/{key}")).unwrap(), "{}\n".into()).await.unwrap();
    }
    vec![(memory(store), None), (local, Some(directory))]
}

fn memory(store: InMemory) -> Prefix {
    Prefix::new(Arc::new(store), Url::parse("memory:///").unwrap(), Path::from("raw"))
}

async fn keys(raw: &Prefix, location: &str) -> Vec<String> {
    list_raw_objects(raw, location).await.unwrap().into_iter().map(|object| object.key).collect()
}

#[tokio::test]
async fn a_location_means_the_same_objects_on_every_store() {
    let all = ["events/2018/11/a.json", "events/2018/11/b.json.gz", "events/2018/12/c d.json", "events/_day=1/e.json"];
    let all = [all.as_slice(), &["events/x[1].json"]].concat();
    let cases: Vec<(&str, Vec<&str>)> = vec![
        ("events/", all.clone()),
        ("events", all.clone()),
        ("./events//", all.clone()),
        ("events/*", all.clone()),
        ("event?", all.clone()),
        ("events/2018/11/a.json", vec!["events/2018/11/a.json"]),
        ("events/2018/*/*.json", vec!["events/2018/11/a.json", "events/2018/12/c d.json"]),
        ("events/**/*.json", vec![all[0], all[2], all[3], all[4]]),
        ("events/2018/{11,12}/", vec![all[0], all[1], all[2]]),
        ("events/*.json", vec!["events/x[1].json"]),
        ("events/x[1].json", vec!["events/x[1].json"]),
        ("events/x[?].json", vec!["events/x[1].json"]),
        ("_inbox", vec!["_inbox/i.json"]),
        ("*", [all.as_slice(), &["events2/h.json", "top.json"]].concat()),
        ("", [all.as_slice(), &["events2/h.json", "top.json"]].concat()),
        ("nothing/here", vec![]),
        ("top.json/below", vec![]),
        ("event", vec![]),
    ];
    for (raw, _directory) in stores().await {
        for (location, expected) in &cases {
            assert_eq!(keys(&raw, location).await, *expected, "{location:?}");
        }
    }
}

#[tokio::test]
async fn an_object_has_the_identity_that_its_store_can_vouch_for() {
    for (raw, directory) in stores().await {
        let object = list_raw_objects(&raw, "top.json").await.unwrap().remove(0);
        assert_eq!(object.size_bytes, 3);
        assert_eq!(object.etag.is_some(), directory.is_none());
        let head = raw.head("top.json").await.unwrap().unwrap();
        assert_eq!(object.modified_us, head.modified_us);
    }
}

#[tokio::test]
async fn locations_that_leave_the_raw_prefix_are_refused() {
    for (raw, _directory) in stores().await {
        for location in ["../x", "events/../..", "/etc", "s3://b/x", "events/{a", "a\u{1}"] {
            let error = list_raw_objects(&raw, location).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{location:?}");
        }
    }
}

#[tokio::test]
async fn folder_markers_are_no_data_and_empty_objects_are() {
    let store = InMemory::new();
    for (key, text) in [("d", ""), ("d-e.json", "{}"), ("d/x.json", "{}"), ("d/y_$folder$", ""), ("d/empty", "")] {
        store.put(&Path::parse(format!("raw/{key}")).unwrap(), text.into()).await.unwrap();
    }
    assert_eq!(keys(&memory(store), "").await, ["d-e.json", "d/empty", "d/x.json"]);
}

fn local(directory: &FilePath) -> Prefix {
    Prefix::open(directory.to_str().unwrap()).unwrap()
}

#[tokio::test]
async fn links_are_followed_and_one_that_leads_nowhere_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let raw = directory.path().join("raw");
    fs::create_dir_all(raw.join("in")).unwrap();
    fs::create_dir(directory.path().join("far")).unwrap();
    fs::write(directory.path().join("far/a.json"), "{}").unwrap();
    symlink(directory.path().join("far"), raw.join("in/linked")).unwrap();
    symlink("linked/a.json", raw.join("in/b.json")).unwrap();
    assert_eq!(keys(&local(&raw), "in").await, ["in/b.json", "in/linked/a.json"]);
    symlink("nowhere.json", raw.join("in/c.json")).unwrap();
    for location in ["in", "in/c.json", "", "**/*.json"] {
        let error = list_raw_objects(&local(&raw), location).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("in/c.json"), "{error}");
    }
}

#[tokio::test]
async fn a_link_to_a_folder_around_it_is_refused_and_not_followed_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("in")).unwrap();
    symlink("..", directory.path().join("in/up")).unwrap();
    let error = list_raw_objects(&local(directory.path()), "").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("in/up"));
}

#[tokio::test]
async fn a_missing_raw_prefix_is_told_apart_from_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let missing = list_raw_objects(&local(&directory.path().join("raw")), "").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.hint().is_some());
    assert_eq!(list_raw_objects(&local(directory.path()), "").await.unwrap(), []);
    symlink("nowhere", directory.path().join("raw")).unwrap();
    let dangling = list_raw_objects(&local(&directory.path().join("raw")), "").await.unwrap_err();
    assert!(dangling.to_string().contains("nowhere"), "{dangling}");
    fs::write(directory.path().join("file"), "").unwrap();
    let file = list_raw_objects(&local(&directory.path().join("file")), "").await.unwrap_err();
    assert_eq!(file.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn unfinished_uploads_are_no_data() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.json", "a.json#1", "a#b.json"] {
        fs::write(directory.path().join(name), "{}").unwrap();
    }
    assert_eq!(keys(&local(directory.path()), "").await, ["a#b.json", "a.json"]);
}
