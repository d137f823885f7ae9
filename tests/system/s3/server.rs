//! The S3 server of the tests: a process of the tests' Python, with a user whose signatures are checked.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{requirement, tidy};

/// A server with the bucket `music`, ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    python: PathBuf,
    endpoint: String,
    key: String,
    secret: String,
}

impl Server {
    /// Starts one; none if the machine's Python has no such server. Without `checks`, it takes any key.
    pub(crate) fn start(test: &str, checks: bool) -> Option<Self> {
        Self::start_with(test, checks, None)
    }

    /// The same, with a user who may do what a policy of IAM says, and no more.
    pub(crate) fn start_with_policy(test: &str, policy: &str) -> Option<Self> {
        Self::start_with(test, true, Some(policy))
    }

    fn start_with(test: &str, checks: bool, policy: Option<&str>) -> Option<Self> {
        let python = requirement::python(test)?;
        let has_server = Command::new(&python).args(["-c", "import ministack"]).output().expect("Python starts");
        if !has_server.status.success() {
            requirement::lacks(test, "the S3 server of tests/oracle/requirements.txt");
            return None;
        }
        let mut child = script(&python, &["serve"])
            .env("AUTH", if checks { "true" } else { "false" })
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Python starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("the output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the server says where it is");
        let said: Value = serde_json::from_str(&line).expect("the server says where it is");
        let endpoint = said["endpoint"].as_str().expect("an endpoint").to_owned();
        let mut server = Self { child, python, endpoint, key: "test".into(), secret: "test".into() };
        let arguments = ["account", &server.endpoint];
        let account = server.script(&[&arguments[..], policy.as_slice()].concat());
        // As its root: the user need not be allowed to.
        server.script(&["bucket", &server.endpoint, "music"]);
        let text = |name: &str| account[name].as_str().expect("a key").to_owned();
        (server.key, server.secret) = (text("key"), text("secret"));
        Some(server)
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Runs a command of `tests/oracle/s3.py` as the server's user.
    pub(crate) fn script(&self, arguments: &[&str]) -> Value {
        self.script_as(&self.key, &self.secret, arguments)
    }

    /// Runs a command as the server's root, who may do everything.
    pub(crate) fn script_as_root(&self, arguments: &[&str]) -> Value {
        self.script_as("test", "test", arguments)
    }

    fn script_as(&self, key: &str, secret: &str, arguments: &[&str]) -> Value {
        let output = script(&self.python, arguments)
            .env("AWS_ACCESS_KEY_ID", key)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .output()
            .expect("Python starts");
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {stdout}"))
    }

    /// Variables for a project with its lake and raw data in the bucket, reached at `endpoint`.
    pub(crate) fn variables(&self, endpoint: &str) -> Vec<(&'static str, String)> {
        vec![
            ("LAKEWRIGHT_LAKE", "s3://music/lake".to_owned()),
            ("LAKEWRIGHT_RAW", "s3://music/raw".to_owned()),
            ("LAKEWRIGHT_S3_ENDPOINT", endpoint.to_owned()),
            ("AWS_ACCESS_KEY_ID", self.key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret.clone()),
        ]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing but memory.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(python: &PathBuf, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.arg(tidy::root().join("tests/oracle/s3.py")).args(arguments);
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    command
}
