//! What a cluster's file may say.

use super::*;

fn refused(from: &str, to: &str) -> Error {
    let text = TEMPLATE.replacen(from, to, 1);
    assert_ne!(text, TEMPLATE, "the template has no {from}");
    match ClusterSpec::parse(&text) {
        Err(error) => error,
        Ok(_) => panic!("{to} is taken"),
    }
}

fn key(error: &Error) -> String {
    error.context().iter().find(|(name, _)| *name == "key").map(|(_, key)| key.clone()).unwrap_or_default()
}

#[test]
fn the_template_is_a_spec_with_safe_defaults() {
    let spec = ClusterSpec::parse(TEMPLATE).unwrap();
    assert!(spec.allowed_cidrs.is_empty() && spec.termination_protection);
    assert_eq!(spec.idle_timeout_minutes, Some(60));
    assert_eq!(spec.folder().to_string(), "s3://my-bucket/lakewright/music");
    assert!(!spec.has_fleets());
    assert_eq!((spec.core.count, spec.task.as_ref().unwrap().count), (2, 0));
}

#[test]
fn what_cannot_be_is_refused_with_its_key() {
    for (from, to, expected) in [
        ("name = \"music\"", "name = \"Music\"", "name"),
        ("region = \"eu-central-1\"", "region = \"europe\"", "region"),
        ("release = \"emr-7.13.0\"", "release = \"7.13\"", "release"),
        ("subnet-0123456789abcdef0", "my-subnet", "subnet"),
        ("allowed_cidrs = []", "allowed_cidrs = [\"0.0.0.0/0\"]", "allowed_cidrs"),
        ("idle_timeout_minutes = 60", "idle_timeout_minutes = 20000", "idle_timeout_minutes"),
        ("raw = [\"s3://my-bucket/raw\"]", "raw = []", "storage.raw"),
        ("raw = [\"s3://my-bucket/raw\"]", "raw = [\"s3://my-bucket\"]", "storage.raw"),
        ("raw = [\"s3://my-bucket/raw\"]", "raw = [\"s3://my-bucket/lake/raw\"]", "storage.lake"),
        ("artifacts = \"s3://my-bucket/lakewright\"", "artifacts = \"s3://my-bucket/lake\"", "storage.artifacts"),
        ("[\"m6i.xlarge\"]", "[]", "primary.instance_types"),
        ("[\"m6i.xlarge\"]", "[\"m6i.xlarge\"]\nmarket = \"spot\"", "primary.market"),
        ("[\"m6i.xlarge\"]", "[\"m6i.xlarge\"]\ncount = 3", "primary.count"),
        ("count = 2", "count = 0", "core.count"),
        ("count = 0", "count = 3\ncount_max = 2", "task.count_max"),
        ("count = 0", "count = 0\ncount_max = 0", "task.count_max"),
        ("count = 2", "count = 2\ncount_max = 4", "core.count_max"),
        ("log = \"info\"", "scale = \"0..9\"", "settings"),
        ("log = \"info\"", "lake = \"s3://x/y\"", "settings"),
        ("# team = \"data\"", "\"aws:x\" = \"y\"", "tags"),
    ] {
        let error = refused(from, to);
        assert_eq!((error.kind(), key(&error).as_str()), (ErrorKind::Invalid, expected), "{to}: {error}");
    }
}

#[test]
fn what_the_program_does_not_run_on_is_unsupported() {
    assert_eq!(refused("emr-7.13.0", "emr-6.15.0").kind(), ErrorKind::Unsupported);
    for graviton in ["m7g.xlarge", "r6gd.xlarge", "c7gn.large", "a1.large"] {
        let error = refused("[\"m6i.xlarge\"]", &format!("[\"{graviton}\"]"));
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{graviton}");
    }
    for x86 in ["g5.xlarge", "i4i.large", "m6id.metal", "u-6tb1.56xlarge", "x2iedn.xlarge"] {
        let text = TEMPLATE.replacen("[\"m6i.xlarge\"]", &format!("[\"{x86}\"]"), 1);
        assert!(ClusterSpec::parse(&text).is_ok(), "{x86}");
    }
}

#[test]
fn an_unknown_key_is_refused_and_named() {
    let error = refused("name = \"music\"", "name = \"music\"\nsize = 3");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("size"), "{source}");
}

#[test]
fn prefixes_overlap_by_folders_not_by_letters() {
    let at = |text: &str| Location::parse(text, "k").unwrap();
    assert!(at("s3://b/a").overlaps(&at("s3://b/a/c")) && at("s3://b/a/c/").overlaps(&at("s3://b/a")));
    assert!(!at("s3://b/a").overlaps(&at("s3://b/ab")) && !at("s3://b/a").overlaps(&at("s3://c/a")));
}
