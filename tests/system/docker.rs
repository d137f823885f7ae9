//! The compose file: a fleet in containers gives the rows of an embedded run.
//!
//! Building images takes a minute, and bringing them up another one: it is done where `LAKEWRIGHT_DOCKER` is set and Docker
//! answers. `LAKEWRIGHT_DOCKER_FAULTS` takes a number of rounds of killed, frozen and cut off containers.

use std::process::{Command, Stdio};

use crate::{requirement, tidy};

fn answers(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The command for compose files, old or new.
fn compose() -> Option<(&'static str, &'static [&'static str])> {
    if answers("docker", &["compose", "version"]) {
        return Some(("docker", &["compose"]));
    }
    answers("docker-compose", &["version"]).then_some(("docker-compose", &[]))
}

#[test]
fn the_compose_file_is_one() {
    let machines = compose();
    let other = requirement::variable("LAKEWRIGHT_COMPOSE");
    let programs: Vec<(&str, &[&str])> =
        machines.into_iter().chain(other.as_deref().map(|program| (program, &[][..]))).collect();
    if programs.is_empty() {
        requirement::skip("reading the compose file", "docker-compose");
    }
    for (program, first) in programs {
        let file = tidy::root().join("deploy/docker/compose.yaml");
        let output = Command::new(program)
            .args(first)
            .arg("--file")
            .arg(file)
            .args(["config", "--services"])
            .output()
            .expect("compose starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{program}: {output:?}");
        for service in ["s3", "sample", "prepare", "scheduler", "standby", "executor"] {
            assert!(said.lines().any(|line| line == service), "{program}: no service {service}: {said}");
        }
    }
}

#[test]
fn a_fleet_in_containers_gives_the_rows_of_an_embedded_run() {
    let test = "a fleet in containers";
    if requirement::number("LAKEWRIGHT_DOCKER").is_none() {
        requirement::skip(test, "to be asked for: set LAKEWRIGHT_DOCKER=1");
        return;
    }
    if !answers("docker", &["info"]) || compose().is_none() {
        requirement::skip(test, "Docker and docker-compose");
        return;
    }
    let mut command = Command::new(tidy::root().join("deploy/docker/check"));
    // What is distributed, where it was built; else what the other tests run.
    let distributed = requirement::variable("LAKEWRIGHT_EMR");
    command.arg(distributed.unwrap_or_else(|| env!("CARGO_BIN_EXE_lakewright-under-test").to_owned()));
    command.args(requirement::python(test)).stdin(Stdio::null());
    let output = command.output().expect("the check starts");
    let [said, told] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{said}\n{told}");
    assert!(said.contains("curated.songplays: "), "{said}");
}
