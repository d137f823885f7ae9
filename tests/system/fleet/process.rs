//! A scheduler process with executors that have joined it.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    project::{Answer, Project, files_below},
    service::process::{await_some, spawn_with},
};

/// A fleet on the lake of a project; all of its processes are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Fleet<'a> {
    pub(crate) project: &'a Project,
    pub(crate) url: String,
    scheduler: Child,
    executors: Vec<Child>,
    /// Settings of its schedulers.
    settings: &'a [(&'a str, &'a str)],
}

/// All executors have a part in every step, however few its rows are.
pub(crate) const SHARES_ALL: [(&str, &str); 1] = [("LAKEWRIGHT_SINGLE_EXECUTOR_LIMIT", "0")];

impl<'a> Fleet<'a> {
    /// Starts a scheduler that shares all steps and as many executors of one slot each, and waits until all have joined.
    pub(crate) fn start(project: &'a Project, executors: usize) -> Self {
        Self::start_with(project, executors, &SHARES_ALL)
    }

    /// The same, with other settings of the scheduler.
    pub(crate) fn start_with(project: &'a Project, executors: usize, settings: &'a [(&'a str, &'a str)]) -> Self {
        let (scheduler, url) = start_scheduler(project, settings);
        let mut fleet = Self { project, url, scheduler, executors: Vec::new(), settings };
        for _ in 0..executors {
            fleet.add_executor();
        }
        fleet.await_executors(executors);
        fleet
    }

    /// Starts one more executor; does not wait until it has joined.
    pub(crate) fn add_executor(&mut self) {
        self.add_executor_with(&[]);
    }

    /// Starts one more executor with other settings than usual.
    pub(crate) fn add_executor_with(&mut self, variables: &[(&str, &str)]) {
        self.add_executor_of(&[], variables);
    }

    /// Starts one more executor with other arguments and settings than usual.
    pub(crate) fn add_executor_of(&mut self, arguments: &[&str], variables: &[(&str, &str)]) {
        let usual = [("--memory", "256MB"), ("--spill-dir", ".lakewright/executors")];
        let usual = usual.iter().filter(|(name, _)| !arguments.contains(name));
        let usual: Vec<&str> = usual.flat_map(|(name, value)| [*name, *value]).collect();
        let mut command = self.project.command(&[&["executor"], &usual[..], arguments].concat());
        command.env("LAKEWRIGHT_THREADS", "1").envs(variables.iter().copied());
        let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
        self.executors.push(child.expect("the executor starts"));
    }

    /// Starts one more executor, at an address and with a directory of its own.
    pub(crate) fn add_executor_at(&mut self, address: &str, spill_dir: &str) {
        self.executors.push(executor_at(self.project, address, spill_dir));
    }

    /// The state of a run.
    pub(crate) fn state_of(&self, run_id: &str) -> String {
        let answer = self.lakewright(&["show", run_id, "--json"]);
        let shown: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        let state = shown["state"].as_str().unwrap_or_default().to_owned();
        assert!(!["failed", "cancelled", "broken"].contains(&state.as_str()), "{answer:?}");
        state
    }

    /// Waits until exactly so many executors are members.
    pub(crate) fn await_executors(&self, count: usize) {
        await_some(&format!("{count} executors"), || (self.members().len() == count).then_some(()));
    }

    /// Where executors join.
    pub(crate) fn fleet_address(&self) -> SocketAddr {
        await_some("the fleet is told of", || {
            let drivers = self.project.lake().join("_lakewright/drivers");
            let beats =
                files_below(&drivers).into_iter().filter_map(|name| fs::read_to_string(drivers.join(name)).ok());
            let beats = beats.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
            // Of the process that runs, and of no other that was killed before. It has another heart, which tells of runs.
            let own =
                |beat: &Value| (beat["pid"] == self.scheduler.id()).then(|| beat["fleet"].as_str()?.parse().ok())?;
            beats.into_iter().find_map(|beat| own(&beat))
        })
    }

    /// The process of an executor.
    pub(crate) fn executor_pid(&self, index: usize) -> u32 {
        self.executors[index].id()
    }

    /// The ids of the executors that have joined.
    pub(crate) fn members(&self) -> Vec<String> {
        let answer = self.lakewright(&["executors", "--json"]);
        // One that stands by does not know its executors yet.
        if answer.code == Some(3) {
            return Vec::new();
        }
        let listed: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        let executors = listed["executors"].as_array().cloned().unwrap_or_default();
        executors.iter().filter_map(|executor| executor["id"].as_str().map(str::to_owned)).collect()
    }

    /// The binary as a client of the scheduler.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.project.command(&[arguments, &["--scheduler", &self.url]].concat())
    }

    /// Runs the binary as a client of the scheduler.
    pub(crate) fn lakewright(&self, arguments: &[&str]) -> Answer {
        Answer::of(&mut self.command(arguments))
    }

    /// Submits the project's job and waits for its end, which must be good.
    pub(crate) fn submit(&self) {
        let answer = self.lakewright(&["submit"]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
    }

    /// Kills an executor at once.
    pub(crate) fn kill_executor(&mut self, index: usize) {
        let mut child = self.executors.remove(index);
        child.kill().expect("the executor can be killed");
        child.wait().expect("the executor can be awaited");
    }

    /// Asks an executor to stop, and gives its exit code.
    pub(crate) fn terminate_executor(&mut self, index: usize) -> Option<i32> {
        let mut child = self.executors.remove(index);
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        await_some("the executor stops", || child.try_wait().expect("the executor can be asked")).code()
    }

    /// Starts a scheduler that stands by, without executors.
    pub(crate) fn stand_by(project: &'a Project) -> Self {
        let (scheduler, url) = start_scheduler(project, &SHARES_ALL);
        Self { project, url, scheduler, executors: Vec::new(), settings: &SHARES_ALL }
    }

    /// Stops an executor in whatever it does, until it is thawed.
    pub(crate) fn freeze_executor(&self, index: usize) {
        signal(&self.executors[index], "STOP");
    }

    pub(crate) fn thaw_executor(&self, index: usize) {
        signal(&self.executors[index], "CONT");
    }

    /// Stops the scheduler in whatever it does, until it is thawed.
    pub(crate) fn freeze_scheduler(&self) {
        signal(&self.scheduler, "STOP");
    }

    pub(crate) fn thaw_scheduler(&self) {
        signal(&self.scheduler, "CONT");
    }

    /// Kills the scheduler at once.
    pub(crate) fn kill_scheduler(&mut self) {
        self.scheduler.kill().expect("the scheduler can be killed");
        self.scheduler.wait().expect("the scheduler can be awaited");
    }

    /// Waits until the scheduler has ended by itself, and gives its exit code.
    pub(crate) fn scheduler_code(&mut self) -> Option<i32> {
        await_some("the scheduler ends", || self.scheduler.try_wait().expect("the scheduler can be asked")).code()
    }

    /// Kills the scheduler at once, and starts another one elsewhere.
    pub(crate) fn replace_scheduler(&mut self) {
        self.kill_scheduler();
        self.start_scheduler();
    }

    /// Starts a scheduler elsewhere, in the place of one that has ended.
    pub(crate) fn start_scheduler(&mut self) {
        (self.scheduler, self.url) = start_scheduler(self.project, self.settings);
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        for child in self.executors.iter_mut().chain([&mut self.scheduler]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts an executor of one slot at an address of loopback, with a directory of its own.
pub(crate) fn executor_at(project: &Project, address: &str, spill_dir: &str) -> Child {
    let arguments = ["executor", "--listen", address, "--threads", "1", "--memory", "256MB", "--spill-dir", spill_dir];
    let mut command = project.command(&arguments);
    command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("the executor starts")
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
}

fn start_scheduler(project: &Project, settings: &[(&str, &str)]) -> (Child, String) {
    let _ = fs::remove_file(project.path("address.txt"));
    spawn_with(project, &["--insecure", "--fleet", "127.0.0.1:0"], settings)
}
