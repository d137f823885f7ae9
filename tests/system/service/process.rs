//! A scheduler process, and clients that are let in by it.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lakewright_client::{Client, Target};
use serde_json::Value;

use crate::project::{Answer, Project};

/// How long anything may take that is awaited.
const PATIENCE: Duration = Duration::from_secs(240);
/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A scheduler of a project's lake; killed when it is dropped.
#[derive(Debug)]
pub(super) struct Service<'a> {
    pub(super) project: &'a Project,
    pub(super) url: String,
    pub(super) token: String,
    child: Child,
}

/// Waits until `condition` gives something.
pub(crate) fn await_some<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        // The processes that are awaited need the cores: those of an executor's tasks give way to all others.
        std::thread::park_timeout(POLL_INTERVAL);
    }
}

impl<'a> Service<'a> {
    /// Makes certificates and a token, and starts a scheduler.
    pub(super) fn start(project: &'a Project) -> Self {
        project.succeed(&["certs"]);
        let token = project.succeed(&["token", "create", "tester"]).trim().to_owned();
        Self::start_again(project, token)
    }

    /// Starts a scheduler with the certificates and tokens that are there.
    pub(super) fn start_again(project: &'a Project, token: String) -> Self {
        let (child, url) = spawn(project, &[]);
        Self { project, url, token, child }
    }

    /// The scheduler's port.
    pub(super) fn port(&self) -> u16 {
        self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("the URL has a port")
    }

    /// The certificate of the authority.
    pub(super) fn ca(&self) -> PathBuf {
        self.project.path(".lakewright/certs/ca.pem")
    }

    /// The binary as a client of this scheduler.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.project.command(arguments);
        command
            .env("LAKEWRIGHT_SCHEDULER", &self.url)
            .env("LAKEWRIGHT_TOKEN", &self.token)
            .env("LAKEWRIGHT_CA", self.ca());
        command
    }

    /// Runs the binary as a client of this scheduler.
    pub(super) fn lakewright(&self, arguments: &[&str]) -> Answer {
        Answer::of(&mut self.command(arguments))
    }

    /// Runs a command that must succeed, to its JSON.
    pub(super) fn json(&self, arguments: &[&str]) -> Value {
        let answer = self.lakewright(&[arguments, &["--json"]].concat());
        assert_eq!(answer.code, Some(0), "{arguments:?}: {answer:?}");
        serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {answer:?}"))
    }

    /// A typed client of this scheduler.
    pub(super) async fn client(&self) -> Client {
        let ca_pem = Some(fs::read(self.ca()).expect("the authority's certificate is there"));
        let target = Target { address: self.url.clone(), token: Some(self.token.clone()), ca_pem };
        Client::connect(&target).await.expect("the scheduler answers")
    }

    /// Waits until the run is in one of these states.
    pub(super) fn await_state(&self, run_id: &str, states: &[&str]) -> String {
        await_some(&format!("{run_id} is {states:?}"), || {
            let state = self.json(&["show", run_id])["state"].as_str().unwrap_or_default().to_owned();
            states.contains(&state.as_str()).then_some(state)
        })
    }

    /// Kills the process at once, and gives its token.
    pub(super) fn kill(mut self) -> String {
        self.child.kill().expect("the scheduler can be killed");
        self.child.wait().expect("the scheduler can be awaited");
        self.token.clone()
    }

    /// Asks the process to stop, and gives its exit code.
    pub(super) fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        await_some("the scheduler stops", || self.child.try_wait().expect("the scheduler can be asked")).code()
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a scheduler on a free port, to its URL.
pub(crate) fn spawn(project: &Project, arguments: &[&str]) -> (Child, String) {
    spawn_with(project, arguments, &[])
}

/// The same, with settings of its own.
pub(crate) fn spawn_with(project: &Project, arguments: &[&str], variables: &[(&str, &str)]) -> (Child, String) {
    let file = project.path("address.txt");
    let _ = fs::remove_file(&file);
    let fixed = ["scheduler", "--listen", "127.0.0.1:0", "--address-file", "address.txt"];
    let mut command = project.command(&[&fixed, arguments].concat());
    command.envs(variables.iter().copied());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("the scheduler starts");
    let url = await_some("the scheduler listens", || {
        let ended = child.try_wait().expect("the scheduler can be asked");
        assert!(ended.is_none(), "the scheduler ended: {ended:?}");
        fs::read_to_string(&file).ok()
    });
    (child, url)
}
