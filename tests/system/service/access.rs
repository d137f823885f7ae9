//! Who is let in, and who is not.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use lakewright_client::v1;
use lakewright_error::ErrorKind;

use super::process::{Service, spawn};
use crate::project::{Answer, Project};

#[test]
fn without_a_valid_token_or_in_plaintext_nobody_is_let_in() {
    let project = Project::music(20, 2, 1);
    let service = Service::start(&project);
    assert_eq!(service.lakewright(&["executors"]).code, Some(0));

    let wrong = format!("lw_{}", "0".repeat(64));
    for token in [None, Some(""), Some(wrong.as_str()), Some("lw_")] {
        let mut command = service.command(&["submit", "--detach"]);
        match token {
            Some(token) => command.env("LAKEWRIGHT_TOKEN", token),
            None => command.env_remove("LAKEWRIGHT_TOKEN"),
        };
        Answer::of(&mut command).assert_refused(3, &["token"]);
    }
    let plain = service.url.replace("https", "http");
    let answer = Answer::of(service.command(&["submit", "--detach"]).env("LAKEWRIGHT_SCHEDULER", plain));
    answer.assert_refused(3, &["scheduler"]);
    // An authority that has not signed the certificate.
    let other = Project::empty();
    other.succeed(&["certs"]);
    let answer =
        Answer::of(service.command(&["executors"]).env("LAKEWRIGHT_CA", other.path(".lakewright/certs/ca.pem")));
    answer.assert_refused(3, &["connect"]);
    assert!(!project.lake().join("_lakewright/runs").exists(), "something was run");
}

#[test]
fn a_token_that_expires_or_is_revoked_is_refused_from_then_on() {
    let project = Project::music(20, 2, 1);
    let service = Service::start(&project);
    let other = project.succeed(&["token", "create", "other", "--expires", "1h"]).trim().to_owned();
    let executors = || Answer::of(service.command(&["executors"]).env("LAKEWRIGHT_TOKEN", &other));
    assert_eq!(executors().code, Some(0));

    let file = project.path(".lakewright/tokens.json");
    let text = fs::read_to_string(&file).expect("the tokens are there");
    assert!(!text.contains(&other[3..]), "the token itself is kept");
    let mut document: serde_json::Value = serde_json::from_str(&text).expect("the tokens are JSON");
    document["tokens"][1]["expires_us"] = 1.into();
    fs::write(&file, document.to_string()).expect("the tokens can be written");
    executors().assert_refused(3, &["token"]);

    assert_eq!(service.lakewright(&["executors"]).code, Some(0));
    project.succeed(&["token", "revoke", "tester"]);
    service.lakewright(&["executors"]).assert_refused(3, &["token"]);
    let listed = project.json(&["token", "list"]);
    assert_eq!(listed["tokens"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_connection_that_shows_no_token_is_closed_in_seconds() {
    let project = Project::music(20, 2, 1);
    let service = Service::start(&project);
    let silent = TcpStream::connect(("127.0.0.1", service.port())).expect("the scheduler accepts");
    let mut plain = TcpStream::connect(("127.0.0.1", service.port())).expect("the scheduler accepts");
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("bytes can be sent");
    let (mut child, url) = spawn(&project, &["--insecure"]);
    let port: u16 = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let mut idle = TcpStream::connect(("127.0.0.1", port)).expect("the scheduler accepts");
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("bytes can be sent");
    for mut stream in [plain, silent, idle] {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        let mut rest = Vec::new();
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "still open: {error}");
        }
    }
    child.kill().expect("the scheduler can be killed");
    child.wait().expect("the scheduler can be awaited");
}

#[test]
fn a_scheduler_that_would_let_anybody_in_does_not_start() {
    let project = Project::music(20, 2, 1);
    let start = |arguments: &[&str]| project.lakewright(&[&["scheduler"], arguments].concat());
    start(&["--insecure", "--listen", "0.0.0.0:0"]).assert_refused(2, &["loopback"]);
    start(&["--listen", "127.0.0.1:0"]).assert_refused(2, &["lakewright certs"]);
    project.succeed(&["certs"]);
    start(&["--listen", "127.0.0.1:0"]).assert_refused(2, &["token create"]);
    assert_eq!(project.lakewright(&["certs"]).code, Some(1), "certificates are overwritten");
    project.succeed(&["certs", "--renew", "--host", "lake.example"]);
}

#[test]
fn an_insecure_scheduler_serves_its_own_machine_without_tokens() {
    let project = Project::music(20, 2, 1);
    let (mut child, url) = spawn(&project, &["--insecure"]);
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let answer = project.lakewright(&["submit", "--scheduler", &url]);
    child.kill().expect("the scheduler can be killed");
    child.wait().expect("the scheduler can be awaited");
    assert_eq!(answer.code, Some(0), "{answer:?}");
}

#[tokio::test]
async fn hostile_requests_are_refused_and_write_nothing() {
    let project = Project::music(20, 2, 1);
    let service = Service::start(&project);
    let client = service.client().await;
    let job = |path: &str, raw: &str| {
        let manifest = "name = \"x\"\nlake = \"elsewhere\"\n".to_owned();
        let files = [("job.toml".to_owned(), manifest), (path.to_owned(), "SELECT 1 AS x".to_owned())];
        v1::SubmitRunRequest { files: files.into_iter().collect(), raw: raw.to_owned(), ..Default::default() }
    };
    for path in ["../evil.sql", "/etc/evil.sql", "a/../../evil.sql", "a\\evil.sql"] {
        let error = client.submit(job(path, "data/raw")).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{path}: {error}");
    }
    for raw in ["/etc", "..", "data/../..", "file:///etc", "s3://somebody/else"] {
        let error = client.submit(job("curated/x.sql", raw)).await.expect_err("refused");
        assert!(matches!(error.kind(), ErrorKind::Denied | ErrorKind::Invalid), "{raw}: {error}");
    }
    let mut large = job("curated/x.sql", "data/raw");
    large.files.insert("curated/y.sql".to_owned(), "x".repeat(18 << 20));
    assert!(client.submit(large).await.is_err());
    let mut broken = job("curated/x.sql", "data/raw");
    broken.files.insert("curated/y.sql".to_owned(), "SELECT a FROM staging.nothing".to_owned());
    let error = client.submit(broken).await.expect_err("refused");
    let causes = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(causes.starts_with("curated/y.sql:1:15: "), "{causes}");
    assert!(!project.path("evil.sql").exists() && !project.path("elsewhere").exists());
    assert!(!project.lake().join("_lakewright/runs").exists(), "something was run");
}
