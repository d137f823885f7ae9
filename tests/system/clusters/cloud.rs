//! A cloud for clusters: `tests/emr/cloud.py`, with faults on demand.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use lakewright_cluster::{Artifacts, Aws, AwsSettings, Cluster, ClusterSpec, Pauses, TEMPLATE};
use serde_json::Value;

use crate::{requirement, tidy};

/// A server of EMR, EC2, IAM, STS and S3, ended when it is dropped.
#[derive(Debug)]
pub(super) struct Cloud {
    child: Child,
    address: String,
    is_gone: AtomicBool,
}

/// A call that is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not done.
    Refuse,
    /// It is done, and the answer is lost.
    Lose,
}

impl Cloud {
    /// Starts one; none if the machine's Python has no such server.
    pub(super) fn start(test: &str) -> Option<Self> {
        let python = requirement::python(test)?;
        let has_server = Command::new(&python).args(["-c", "import moto, flask"]).output().expect("Python starts");
        if !has_server.status.success() {
            requirement::lacks(test, "the AWS server of tests/oracle/requirements.txt");
            return None;
        }
        let mut child = Command::new(&python)
            .arg(tidy::root().join("tests/emr/cloud.py"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("the output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the server says where it is");
        let said: Value = serde_json::from_str(&line).expect("the server says where it is");
        let endpoint = said["endpoint"].as_str().expect("an endpoint");
        let address = endpoint.trim_start_matches("http://").to_owned();
        Some(Self { child, address, is_gone: AtomicBool::new(false) })
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Forgets everything; gives a subnet of the empty account.
    pub(super) fn fresh(&self) -> String {
        self.control("fresh")["subnet"].as_str().expect("a subnet").to_owned()
    }

    /// The `at`th change from now on fails; 0 is none. Gives the changes that came since the last call.
    pub(super) fn fault(&self, fault: Fault, at: usize) -> Vec<String> {
        let kind = if fault == Fault::Refuse { "refuse" } else { "lose" };
        let said = self.control(&format!("fault?{kind}={at}"));
        let names = said["changes"].as_array().expect("a list").iter();
        names.map(|name| name.as_str().expect("a name").to_owned()).collect()
    }

    /// Everything of the account that somebody made.
    pub(super) fn listing(&self) -> Value {
        self.control("listing")
    }

    /// From now on task nodes have addresses of loopback, so that processes of this machine can be them.
    pub(super) fn loopback(&self) {
        self.control("loopback");
    }

    /// The task nodes of the newest cluster, and how their number was changed; none once the server was killed.
    pub(super) fn task_nodes(&self) -> Option<Value> {
        let answer = self.asked("task-nodes");
        if self.is_gone.load(Ordering::Relaxed) {
            return None;
        }
        let answer = answer.expect("the server answers");
        Some(serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}")))
    }

    /// Ends the server: nobody answers any more.
    pub(super) fn kill(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
        let status = Command::new("kill").args(["-KILL", &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    fn control(&self, what: &str) -> Value {
        let answer = self.asked(what).expect("the server answers");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{what}: {error}: {answer}"))
    }

    fn asked(&self, what: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        let head =
            format!("POST /control/{what} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
    }

    /// The template's cluster in this cloud, with changes to its text.
    pub(super) async fn cluster(&self, subnet: &str, change: impl Fn(String) -> String) -> Cluster {
        let spec = ClusterSpec::parse(&change(file(subnet))).expect("the file is right");
        let keys = [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", "AKIA".into()),
            ("AWS_SECRET_ACCESS_KEY", "s".into()),
        ];
        let settings = AwsSettings {
            variables: keys.map(|(name, value)| (name.to_owned(), value)).into(),
            home: None,
            region: spec.region.clone(),
            pauses: Pauses { retry: Duration::from_millis(1), poll: Duration::from_millis(1) },
        };
        Cluster::new(spec, Aws::open(settings).await.expect("there are credentials"))
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        // It holds nothing but memory.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The template's file in the cloud's bucket, open to a network, with task nodes.
pub(super) fn file(subnet: &str) -> String {
    TEMPLATE
        .replace("my-bucket", "clusters")
        .replace("subnet-0123456789abcdef0", subnet)
        .replace("allowed_cidrs = []", "allowed_cidrs = [\"10.20.0.0/16\", \"2001:db8::/48\"]")
        .replace("count = 0", "count = 1")
}

/// A program for nodes, as far as anybody looks before it is there.
pub(super) fn program() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(18, 0);
    bytes.extend([0x3e, 0]);
    bytes
}

pub(super) fn artifacts(cluster: &Cluster) -> Artifacts {
    Artifacts::new(cluster.spec(), program().into(), None).expect("the program is right")
}

/// Runs a test's future.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made").block_on(future)
}
