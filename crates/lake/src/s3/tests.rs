//! Settings, and what answers mean.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use lakewright_error::ErrorKind;

use super::*;
use crate::{Stores, s3::fault::Answer};

fn error_document(code: &str) -> Vec<u8> {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>").into_bytes()
}

fn fault(status: u16, code: &str) -> Option<S3Fault> {
    S3Fault::of(&Answer::read(status, None, &error_document(code)), "songs", "us-east-1")
}

#[test]
fn every_refusal_has_its_kind_and_says_what_to_do() {
    let cases = [
        (403, "SignatureDoesNotMatch", ErrorKind::Denied, "AWS_SECRET_ACCESS_KEY"),
        (403, "InvalidAccessKeyId", ErrorKind::Denied, "AWS_ACCESS_KEY_ID"),
        (403, "AccessDenied", ErrorKind::Denied, "s3:ListBucket"),
        (400, "ExpiredToken", ErrorKind::Denied, "new credentials"),
        (403, "RequestTimeTooSkewed", ErrorKind::Denied, "clock"),
        (404, "NoSuchBucket", ErrorKind::NotFound, "create the bucket"),
        (301, "PermanentRedirect", ErrorKind::Invalid, "s3_region"),
        (501, "NotImplemented", ErrorKind::Unsupported, "conditional requests"),
    ];
    for (status, code, kind, hint) in cases {
        let fault = fault(status, code).unwrap_or_else(|| panic!("{code} is no fault"));
        assert_eq!(fault.kind(), kind, "{code}");
        assert!(fault.hint().contains(hint), "{code}: {}", fault.hint());
    }
}

#[test]
fn answers_that_the_client_judges_are_no_faults() {
    for (status, code) in
        [(404, "NoSuchKey"), (404, "NoSuchUpload"), (412, "PreconditionFailed"), (400, "EntityTooSmall")]
    {
        assert_eq!(fault(status, code), None, "{code}");
    }
    assert_eq!(S3Fault::of(&Answer::read(404, None, b""), "songs", "us-east-1"), None, "a HEAD has no body");
}

#[test]
fn the_region_of_a_bucket_elsewhere_is_told() {
    let body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>";
    for answer in [Answer::read(400, None, body), Answer::read(301, Some("eu-west-1".into()), b"")] {
        let fault = S3Fault::of(&answer, "songs", "us-east-1").unwrap();
        assert_eq!(fault.to_string(), "the bucket songs is not in the region us-east-1 but in eu-west-1");
        assert!(fault.hint().contains("eu-west-1"));
    }
}

fn url(endpoint: &str, path_style: bool) -> Result<String> {
    let settings =
        S3Settings { endpoint: Some(endpoint.into()), path_style: Some(path_style), ..S3Settings::default() };
    open_bucket(&settings, None, "songs").map(|bucket| bucket.about.url.to_string())
}

#[test]
fn the_bucket_stands_in_the_path_or_in_the_host() {
    assert_eq!(url("http://127.0.0.1:9000", true).unwrap(), "http://127.0.0.1:9000/songs");
    assert_eq!(url("http://127.0.0.1:9000/base/", true).unwrap(), "http://127.0.0.1:9000/base/songs");
    assert_eq!(url("https://store.example", false).unwrap(), "https://songs.store.example/");
    for wrong in ["store.example", "ftp://store.example", "http://", ""] {
        assert_eq!(url(wrong, true).unwrap_err().kind(), ErrorKind::Invalid, "{wrong}");
    }
}

#[test]
fn prefixes_of_a_bucket_share_its_client() {
    let stores = Stores::new(S3Settings::default());
    let [one, other, elsewhere] = ["s3://songs/raw", "s3a://songs/lake", "s3://others/lake"]
        .map(|location| Arc::clone(stores.open(location).unwrap().store()));
    assert!(Arc::ptr_eq(&one, &other));
    assert!(!Arc::ptr_eq(&one, &elsewhere));
}

/// A server that gives each connection the next of `answers` and counts the requests.
fn server(answers: Vec<String>) -> (String, thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let mut served = 0;
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                match stream.read(&mut buffer).unwrap() {
                    0 => break,
                    read => request.extend_from_slice(&buffer[..read]),
                }
            }
            stream.write_all(answer.as_bytes()).unwrap();
            served += 1;
        }
        served
    });
    (endpoint, serving)
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"x\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn prefix(endpoint: &str) -> crate::Prefix {
    let settings = S3Settings { endpoint: Some(endpoint.into()), ..S3Settings::default() };
    let bucket = open_with_key(&settings);
    crate::Prefix::of_bucket(bucket, Url::parse("s3://songs/").unwrap(), object_store::path::Path::default())
}

/// A client that signs nothing, so that the environment's keys do not matter.
fn open_with_key(settings: &S3Settings) -> Bucket {
    let endpoint = settings.endpoint.clone().unwrap();
    let about = Arc::new(About {
        bucket: "songs".into(),
        url: bucket_url(&Url::parse(&endpoint).unwrap(), "songs", true).unwrap(),
        region: "us-east-1".into(),
        server: OnceLock::new(),
    });
    let gate = Arc::new(Gate::new(settings.requests_max));
    let store = AmazonS3Builder::new()
        .with_bucket_name("songs")
        .with_endpoint(endpoint)
        .with_skip_signature(true)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retries())
        .with_client_options(client_options(&about, 4))
        .with_http_connector(Connector::new(Arc::clone(&about), gate))
        .build()
        .unwrap();
    Bucket { store: Arc::new(store), about }
}

#[tokio::test]
async fn a_throttled_request_is_tried_again_and_a_refused_one_is_not() {
    let slow = answer("503 Slow Down", "<Error><Code>SlowDown</Code></Error>");
    let (endpoint, serving) = server(vec![slow.clone(), slow, answer("200 OK", "rows")]);
    let read = prefix(&endpoint).read("a.json").await.unwrap();
    assert_eq!(read.as_deref(), Some(b"rows".as_slice()));
    assert_eq!(serving.join().unwrap(), 3);

    let refusal = answer("403 Forbidden", "<Error><Code>SignatureDoesNotMatch</Code></Error>");
    let (endpoint, serving) = server(vec![refusal]);
    let error = prefix(&endpoint).read("a.json").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(S3Fault::in_chain(&error), Some(&S3Fault::WrongKey { code: "SignatureDoesNotMatch".into() }));
    assert_eq!(serving.join().unwrap(), 1);
}

#[tokio::test]
async fn a_request_that_came_too_slowly_is_tried_again() {
    let late = answer("400 Bad Request", "<Error><Code>RequestTimeout</Code></Error>");
    let (endpoint, serving) = server(vec![late.clone(), answer("200 OK", ""), late, answer("200 OK", "rows")]);
    let lake = prefix(&endpoint);
    assert!(matches!(lake.create("a.json", "rows".into()).await.unwrap(), crate::Created::Now));
    assert_eq!(lake.read("a.json").await.unwrap().as_deref(), Some(b"rows".as_slice()));
    assert_eq!(serving.join().unwrap(), 4);

    let other = answer("400 Bad Request", "<Error><Code>InvalidRequest</Code></Error>");
    let (endpoint, serving) = server(vec![other]);
    prefix(&endpoint).read("a.json").await.unwrap_err();
    assert_eq!(serving.join().unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_never_answered_is_given_up_soon() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = prefix(&endpoint).read("a.json").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(matches!(S3Fault::in_chain(&error), Some(S3Fault::Unreachable { .. })), "{error:?}");
}

#[tokio::test]
async fn a_store_that_overwrites_is_refused_by_name() {
    let ok = |body: &str| answer("200 OK", body).replace("\r\nETag", "\r\nServer: Overwriter/1\r\nETag");
    // Both creates succeed; two deletes take away what there may be.
    let gone = "<DeleteResult></DeleteResult>";
    let (endpoint, serving) = server(vec![ok(""), ok(""), ok(gone), ok(gone)]);
    let error = crate::check_store(&prefix(&endpoint)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("Overwriter/1") && error.to_string().contains(&endpoint), "{error}");
    assert_eq!(serving.join().unwrap(), 4);
}
