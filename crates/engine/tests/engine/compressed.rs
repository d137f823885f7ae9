//! Compressed raw objects: read whole or refused whole, in bounded memory.

use std::{fmt::Write as _, io::Write as _};

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use lakewright_engine::{Compression, RawScan, Relation, register_relation};
use lakewright_error::{Error, ErrorKind};
use lakewright_lake::RawObject;

use crate::fixture::{Fixture, context, schema, told};

fn columns() -> SchemaRef {
    schema(&[("id", DataType::Int64), ("name", DataType::Utf8)])
}

fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// With a checksum, as the `zstd` program writes it.
fn zstd(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

type Pack = fn(&[u8]) -> Vec<u8>;

const PACKERS: [(&str, Pack); 2] = [("gz", |text| gzip(text)), ("zst", |text| zstd(text))];

fn lines(ids: std::ops::Range<u64>) -> String {
    let mut text = String::new();
    for id in ids {
        // Names that do not shrink to nothing, so that the objects span many pieces.
        let name = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        writeln!(text, "{{\"id\":{id},\"name\":\"{name:x}\"}}").unwrap();
    }
    text
}

async fn read(fixture: &Fixture, compression: Compression, objects: Vec<RawObject>) -> Result<String, Error> {
    let session = fixture.engine.session();
    let (reading, reports) = (crate::fixture::fail_fast(), None);
    let scan = RawScan { raw: fixture.raw.clone(), schema: columns(), compression, reading, reports, objects };
    register_relation(&session, "raw", "events", Relation::Raw(scan)).await?;
    let sql = "SELECT count(*) AS n, count(DISTINCT id) AS d, sum(id) AS s FROM raw.events";
    fixture.query(&session, sql).await
}

#[tokio::test]
async fn every_line_is_read_once_whatever_an_object_is_stored_as() {
    let text = lines(0..200_000);
    for partitions in [1, 2, 16] {
        let fixture = Fixture::new(partitions);
        let mut objects = vec![fixture.put_raw("0.json", &text)];
        for (suffix, pack) in PACKERS {
            objects.push(fixture.put_raw(&format!("large.json.{suffix}"), pack(lines(200_000..400_000).as_bytes())));
            objects.push(
                fixture.put_raw(
                    &format!("small.json.{suffix}"),
                    pack(b"\xEF\xBB\xBF{\"id\":400000}\r\n\r\n{\"id\":400001}"),
                ),
            );
            objects.push(fixture.put_raw(&format!("nothing.{suffix}"), pack(b"")));
        }
        let rows = read(&fixture, Compression::Auto, objects).await.unwrap();
        // 200,000 lines once, and as many with two more in both packings.
        assert!(rows.contains("| 600004 | 400002 | 140001300002 |"), "{partitions}: {rows}");
    }
}

#[tokio::test]
async fn all_members_of_an_object_are_read() {
    for (suffix, pack) in PACKERS {
        let fixture = Fixture::new(1);
        // The second member goes on in the line that the first one ends in.
        let members =
            [pack(b"{\"id\":1}\n{\"id\""), pack(b":2}\n"), pack(b""), pack(lines(3..30_000).as_bytes())].concat();
        let rows = read(&fixture, Compression::Auto, vec![fixture.put_raw(&format!("a.{suffix}"), members)]).await;
        assert!(rows.as_ref().unwrap().contains("| 29999 | 29999 |"), "{suffix}: {rows:?}");
    }
}

#[tokio::test]
async fn an_object_that_is_not_complete_is_refused_by_name() {
    for (suffix, pack) in PACKERS {
        let small = pack(b"{\"id\":1}\n");
        let large = pack(lines(0..100_000).as_bytes());
        assert!(large.len() > 600_000, "more than is fetched at once: {}", large.len());
        let mut cases = vec![
            ("an empty object", Vec::new()),
            ("plain text", b"{\"id\":1}\n".to_vec()),
            ("bytes behind the end", [small.as_slice(), b"more"].concat()),
            ("one byte behind the end", [small.as_slice(), b"\n"].concat()),
            ("zeros behind the end", [small.as_slice(), &[0; 512]].concat()),
            ("a second member that is cut", [&small[..], &small[..small.len() - 1]].concat()),
        ];
        for cut in [1, 2, 5, small.len() / 2, small.len() - 5, small.len() - 1] {
            cases.push(("a small object that is cut", small[..cut].to_vec()));
        }
        for cut in [large.len() / 2, large.len() - 4, large.len() - 1] {
            cases.push(("a large object that is cut", large[..cut].to_vec()));
        }
        for (name, object, from_end) in [("small", &small, 1), ("large", &large, 1), ("large", &large, 300_000)] {
            let mut damaged = object.clone();
            let index = damaged.len() - from_end;
            damaged[index] ^= 0x20;
            cases.push((
                if name == "small" { "a small object that is damaged" } else { "a large object that is damaged" },
                damaged,
            ));
        }
        for (case, bytes) in cases {
            let fixture = Fixture::new(2);
            let key = format!("log/some one.{suffix}");
            let objects = vec![fixture.put_raw("a.json", "{\"id\":1}"), fixture.put_raw(&key, &bytes)];
            let error = read(&fixture, Compression::Auto, objects).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{suffix}, {case}: {}", told(&error));
            assert_eq!(context(&error, "object"), Some(key.as_str()), "{suffix}, {case}: {}", told(&error));
        }
    }
}

#[tokio::test]
async fn a_bad_record_is_named_by_its_place_in_the_text() {
    for (suffix, pack) in PACKERS {
        let fixture = Fixture::new(2);
        let good = lines(0..150_000);
        let key = format!("log/a.json.{suffix}");
        let object = fixture.put_raw(&key, pack(format!("{good}{{\"id\":tru}}\n{{}}\n").as_bytes()));
        let error = read(&fixture, Compression::Auto, vec![object]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", told(&error));
        assert_eq!(context(&error, "object"), Some(key.as_str()), "{}", told(&error));
        assert_eq!(context(&error, "line"), Some("150001"), "{}", told(&error));
        assert_eq!(context(&error, "offset"), Some(good.len().to_string().as_str()), "{}", told(&error));
    }
}

#[tokio::test]
async fn the_option_is_stronger_than_the_suffix() {
    let fixture = Fixture::new(1);
    let text = "{\"id\":1}\n";
    for (compression, key, bytes) in [
        (Compression::None, "plain.json.gz", text.as_bytes().to_vec()),
        (Compression::Gzip, "packed.json", gzip(text)),
        (Compression::Zstd, "packed.json.gz", zstd(text)),
        (Compression::Auto, "PACKED.GZ", gzip(text)),
        (Compression::Auto, "packed.zstd", zstd(text)),
    ] {
        let rows = read(&fixture, compression, vec![fixture.put_raw(key, bytes)]).await;
        assert!(rows.as_ref().is_ok_and(|rows| rows.contains("| 1 | 1 | 1 |")), "{key}: {rows:?}");
    }
    let error = read(&fixture, Compression::Auto, vec![fixture.put_raw("packed.json", gzip(text))]).await.unwrap_err();
    assert_eq!((error.kind(), context(&error, "object")), (ErrorKind::Corrupt, Some("packed.json")));
}

#[tokio::test]
async fn a_compression_that_is_not_undone_is_refused_by_name() {
    let fixture = Fixture::new(1);
    let object = fixture.put_raw("log/a.json.bz2", "BZh");
    let error = read(&fixture, Compression::Auto, vec![object]).await.unwrap_err();
    assert_eq!((error.kind(), context(&error, "object")), (ErrorKind::Unsupported, Some("log/a.json.bz2")));
}

#[tokio::test]
async fn a_record_without_end_is_refused_in_bounded_memory() {
    let fixture = Fixture::new(1);
    let object = fixture.put_raw("bomb.gz", gzip(format!("{{\"name\":\"{}", "x".repeat(82 << 20))));
    assert!(object.size_bytes < 1 << 20);
    let error = read(&fixture, Compression::Auto, vec![object]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", told(&error));
    assert_eq!(context(&error, "object"), Some("bomb.gz"), "{}", told(&error));
    assert_eq!(context(&error, "line"), Some("1"), "{}", told(&error));
}
