//! Tests of how state objects are encoded and refused.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use lakewright_error::ErrorKind;

use super::*;
use crate::{ColumnBounds, DataFile, RawObject, Scalar};

fn raw(key: &str, size_bytes: u64, etag: Option<&str>, modified_us: i64) -> RawObject {
    RawObject { key: key.to_owned(), size_bytes, etag: etag.map(str::to_owned), modified_us }
}

fn outcome() -> Outcome {
    let schema = Schema::new(vec![
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("price", DataType::Decimal128(38, 2), true),
        Field::new("tags", DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), true),
    ]);
    let file = DataFile {
        path: "year=2018/r-1.parquet".to_owned(),
        size_bytes: 10,
        row_count: 3,
        partition_values: BTreeMap::from([("year".to_owned(), None)]),
        bounds: vec![ColumnBounds {
            path: vec!["price".to_owned()],
            null_count: Some(0),
            min: Some(Scalar::Decimal(i128::MIN + 1, 2)),
            max: Some(Scalar::Decimal(i128::MAX, 2)),
        }],
    };
    let table = PublishedTable {
        table: "curated.plays".to_owned(),
        kind: "FULL".to_owned(),
        work: StepWork::Replace,
        base_version: Some(3),
        fingerprint: "f".to_owned(),
        schema: Arc::new(schema),
        partition_columns: vec!["year".to_owned()],
        description: None,
        files: vec![file],
        removes: vec![],
        covered: Vec::new(),
        view: None,
        inputs: BTreeMap::from([("staging.events".to_owned(), InputState::Table { version: 7 })]),
        own_inputs: vec![],
        ledger: vec![],
        new_segment: false,
        checks: None,
        checked_against: BTreeMap::new(),
        origins: None,
    };
    Outcome {
        format: Format,
        nonce: "n".to_owned(),
        decided_us: 1,
        verdict: Verdict::Publish(Publication { tables: vec![table], ..Publication::default() }),
    }
}

#[test]
fn an_outcome_reads_back_as_it_was_written_with_wide_decimals_and_its_schema() {
    let outcome = outcome();
    let bytes = encode(&outcome).unwrap();
    assert!(bytes.starts_with(br#"{"format":1,"#));
    assert_eq!(decode::<Outcome>("runs/r/outcome.json", &bytes).unwrap(), outcome);
}

#[test]
fn an_object_of_a_newer_format_is_refused_with_advice_to_upgrade() {
    let bytes = br#"{"format":2,"verdict":{"MERGE":[]}}"#;
    let error = decode::<Outcome>("runs/r/outcome.json", bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("written by a newer version"), "{error}");
    assert!(error.hint().unwrap().contains("upgrade"));
}

#[test]
fn a_garbled_object_is_corrupt_and_named() {
    for bytes in [&b"{\"format\":1,\"nonce\":"[..], b"", b"[]", b"{\"format\":1}"] {
        let error = decode::<Outcome>("runs/r/outcome.json", bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("runs/r/outcome.json"), "{error}");
    }
}

#[test]
fn units_read_back_in_their_order_and_garbled_ones_are_corrupt() {
    let units: Vec<Unit> = (0..20_000)
        .map(|n| Unit::raw("raw.songs", &raw(&format!("{n}.json"), n, (n % 2 == 0).then_some("e"), -1)).in_batch(n))
        .collect();
    let bytes = encode_units(&units).unwrap();
    assert_eq!(decode_units("ledger/x", bytes.clone()).unwrap(), units);
    assert_eq!(decode_units("ledger/x", encode_units(&[]).unwrap()).unwrap(), vec![]);
    let error = decode_units("ledger/x", bytes.slice(..bytes.len() / 2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(decode_units("ledger/x", Bytes::new()).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_digest_differs_when_any_identity_differs_and_ignores_mtime_beside_an_etag() {
    let base = listing_digest(&[raw("a", 1, None, 5), raw("b", 2, None, 5)]);
    assert_ne!(base, listing_digest(&[raw("a", 1, None, 5)]));
    assert_ne!(base, listing_digest(&[raw("a", 1, None, 5), raw("b", 2, None, 6)]));
    assert_ne!(base, listing_digest(&[raw("a", 1, None, 5), raw("b", 3, None, 5)]));
    assert_ne!(base, listing_digest(&[raw("a", 1, None, 5), raw("b", 2, Some("x"), 5)]));
    assert_eq!(listing_digest(&[raw("a", 1, Some("x"), 5)]), listing_digest(&[raw("a", 1, Some("x"), 6)]));
}

#[tokio::test]
async fn the_last_of_many_numbers_is_found_whatever_is_missing_between() {
    let folder = tempfile::tempdir().unwrap();
    let local = crate::Prefix::open(folder.path().to_str().unwrap()).unwrap();
    let store = Arc::new(object_store::memory::InMemory::new());
    let memory = crate::Prefix::new(store, url::Url::parse("memory:///").unwrap(), object_store::path::Path::default());
    for lake in [local, memory] {
        for (dir, numbers) in [
            ("none", 0..0),
            ("few", 1..4),
            ("a page", 1..1001),
            ("more", 1..1002),
            ("many", 1..4_101),
            ("late", 5_000..6_500),
        ] {
            // A listing of others beside them.
            lake.create(&format!("{dir}/readme.txt"), Bytes::from_static(b"x")).await.unwrap();
            let missing = |number: &u64| [2_000, 4_000].contains(number) && dir == "many";
            for number in numbers.clone().filter(|number| !missing(number)) {
                lake.create(&crate::layout::numbered(dir, number), Bytes::from_static(b"x")).await.unwrap();
            }
            assert_eq!(last_number(&lake, dir).await.unwrap(), numbers.max(), "{dir} of {}", lake.url());
        }
    }
}
