//! Many small objects: how many requests they cost, and how many are in flight.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{project::Project, raw_classes::gzip};

/// A stand-in for S3 over a folder, ended when it is dropped.
pub(super) struct Double {
    child: Child,
    pub(super) endpoint: String,
    objects: u64,
    bytes: u64,
}

impl Double {
    pub(super) fn over(folder: &std::path::Path, latency_ms: u64) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_s3-double"))
            .arg(folder)
            .arg(latency_ms.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the stand-in starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("the output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it is");
        let said: Value = serde_json::from_str(&line).expect("it says where it is");
        let number = |name: &str| said[name].as_u64().expect("a number");
        let endpoint = said["endpoint"].as_str().expect("an endpoint").to_owned();
        Self { child, endpoint, objects: number("objects"), bytes: number("bytes") }
    }

    /// What a project with its raw data there is told.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LAKEWRIGHT_RAW", "s3://bucket/raw".to_owned()),
            ("LAKEWRIGHT_S3_ENDPOINT", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }

    fn counts(&self) -> Value {
        let address = self.endpoint.strip_prefix("http://").expect("an endpoint without TLS");
        let mut stream = TcpStream::connect(address).expect("the stand-in listens");
        stream.write_all(b"GET /counts HTTP/1.1\r\n\r\n").expect("it reads");
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while !answer.ends_with(b"}") {
            let count = stream.read(&mut buffer).expect("it answers");
            assert!(count > 0, "an answer without end");
            answer.extend_from_slice(&buffer[..count]);
        }
        let text = String::from_utf8(answer).expect("text");
        let body = text.split("\r\n\r\n").nth(1).expect("a body");
        serde_json::from_str(body).expect("counts")
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        // It holds nothing but memory.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn many_small_objects_are_fetched_at_once_each_by_one_request() {
    let source = "CREATE EXTERNAL TABLE raw.items (id BIGINT) STORED AS JSON LOCATION 'items/';";
    let mut project = Project::job(&[("raw/items.sql", source), ("curated/items.sql", "SELECT id FROM raw.items;")]);
    for id in 0..2500 {
        project.write(
            &format!("objects/raw/items/{}/{id}.json", id % 7),
            &format!("{{\"id\": {id}, \"x\": \"{id:0>200}\"}}"),
        );
    }
    let double = Double::over(&project.path("objects"), 20);
    project.set_variables(double.variables());
    project.succeed(&["run", "--threads", "1"]);
    assert_eq!(project.csv("SELECT count(*) AS n, sum(id) AS s FROM curated.items"), "n,s\n2500,3123750\n");
    let counts = double.counts();
    let count = |name: &str| counts[name].as_u64().expect("a count");
    assert_eq!((count("gets"), count("heads"), count("bytes")), (double.objects, 0, double.bytes), "{counts}");
    assert!(count("gets") + count("listings") <= double.objects * 105 / 100, "{counts}");
    let most = count("in_flight_most");
    assert!((48..=64).contains(&most), "as many requests as the setting allows: {counts}");
}

#[test]
fn a_job_is_proposed_for_compressed_objects_on_s3() {
    let mut project = Project::empty();
    for day in 1..=20 {
        let text = format!("{{\"id\": {day}, \"at\": \"2018-11-{day:02}\"}}\n{{\"id\": {}}}\n", day + 100);
        let path = project.path(&format!("objects/raw/clicks/{day}.json.gz"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        fs::write(path, gzip(text.as_bytes())).expect("a file can be written");
    }
    let double = Double::over(&project.path("objects"), 0);
    project.set_variables(double.variables());
    let told = project.succeed(&["init", ".", "--from", "s3://bucket/raw"]);
    assert!(told.contains("raw.clicks") && told.contains("40 records"), "{told}");
    let source = fs::read_to_string(project.path("jobs/raw/raw/clicks.sql")).expect("a source");
    assert!(source.contains("  id BIGINT,\n  at DATE  -- in 50 % of records\n"), "{source}");
    project.succeed(&["run"]);
    assert_eq!(
        project.csv("SELECT count(*) AS n, sum(id) AS s, count(at) AS a FROM staging.clicks"),
        "n,s,a\n40,2420,20\n"
    );
}
