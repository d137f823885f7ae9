//! Who is let in, and who is not.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use lakewright_client::{Client, Target, v1};
use lakewright_error::{Error, ErrorKind};

use super::process::{Service, spawn};
use crate::{
    project::{Answer, Project},
    tidy,
};

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

/// The answers of all methods of the service, by name.
async fn call_all(client: &Client) -> Vec<(&'static str, Result<(), Error>)> {
    vec![
        ("SubmitRun", client.submit_run(v1::SubmitRunRequest::default()).await.map(drop)),
        ("GetRun", client.get_run(v1::GetRunRequest::default()).await.map(drop)),
        ("ListRuns", client.list_runs(v1::ListRunsRequest::default()).await.map(drop)),
        ("WatchRun", client.watch("").next().await.map(drop)),
        ("CancelRun", client.cancel_run(v1::CancelRunRequest::default()).await.map(drop)),
        ("RetryRun", client.retry_run(v1::RetryRunRequest::default()).await.map(drop)),
        ("ListTables", client.list_tables(v1::ListTablesRequest::default()).await.map(drop)),
        ("GetTable", client.get_table(v1::GetTableRequest::default()).await.map(drop)),
        ("ListExecutors", client.list_executors(v1::ListExecutorsRequest::default()).await.map(drop)),
        ("ReadRunLogs", client.read_run_logs(v1::ReadRunLogsRequest::default()).await.map(drop)),
        ("GetHealth", client.get_health(v1::GetHealthRequest::default()).await.map(drop)),
    ]
}

#[tokio::test]
async fn no_method_answers_a_call_without_a_valid_token() {
    let project = Project::music(20, 2, 1);
    let service = Service::start(&project);
    let contract = fs::read_to_string(tidy::root().join("proto/proto/lakewright/v1/jobs.proto")).expect("the contract");
    let methods = contract.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next());
    let methods: BTreeSet<&str> = methods.collect();
    let (other, ca_pem) = (Project::empty(), fs::read(service.ca()).expect("the authority's certificate is there"));
    // A token that would be good elsewhere.
    let wrong = other.succeed(&["token", "create", "tester"]).trim().to_owned();
    for token in [None, Some(wrong)] {
        let told = if token.is_some() { "with another token" } else { "without a token" };
        let target = Target { address: service.url.clone(), token, ca_pem: Some(ca_pem.clone()) };
        let client = Client::connect(&target).await.expect("the port is open");
        let answers = call_all(&client).await;
        assert_eq!(answers.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), methods, "all methods are called");
        for (name, answer) in answers {
            let error = answer.expect_err(name);
            // No handler has seen it: none of them speaks of tokens.
            assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("token"), "{name} {told}: {error}");
        }
    }
    let client = service.client().await;
    let let_in = call_all(&client)
        .await
        .into_iter()
        .filter(|(_, answer)| answer.as_ref().err().is_none_or(|error| !error.to_string().contains("token")));
    assert_eq!(let_in.count(), methods.len(), "with the token the handlers answer");
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
fn a_member_of_a_fleet_that_strangers_could_reach_does_not_start() {
    let project = Project::music(20, 2, 1);
    for address in ["0.0.0.0", "203.0.113.7"] {
        project.lakewright(&["executor", "--listen", address]).assert_refused(2, &["private address", address]);
    }
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
