//! A simulated cluster of EMR: containers that boot as nodes do, the program of `deploy/build`, a job as a step, nodes that
//! are taken away in the middle, and the rows of an embedded run.
//!
//! It takes some minutes and Docker: it is done where `LAKEWRIGHT_EMR` names the program for nodes.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    fleet::elastic::executions,
    project::{MUSIC_TABLES, Project},
    requirement, tidy,
};

fn docker_answers() -> bool {
    let info =
        Command::new("docker").arg("info").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    info.is_ok_and(|status| status.success())
}

/// Runs the simulation to its end, and gives what it told.
fn simulate(test: &str, program: &str, project: &Project) -> Option<Value> {
    let python = requirement::python(test)?;
    let output = Command::new(python)
        .arg(tidy::root().join("tests/emr/simulate.py"))
        .arg(program)
        .arg(env!("CARGO_BIN_EXE_lakewright-under-test"))
        .arg(project.path(""))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .expect("Python starts");
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{stderr}");
    Some(serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}")))
}

#[test]
fn a_cluster_in_containers_runs_a_step_and_loses_nodes_in_the_middle() {
    let test = "a simulated cluster of EMR";
    let Some(program) = requirement::variable("LAKEWRIGHT_EMR") else {
        requirement::skip(test, "to be asked for: set LAKEWRIGHT_EMR to the program of deploy/build");
        return;
    };
    if !docker_answers() {
        requirement::skip(test, "Docker");
        return;
    }
    let base = Command::new(tidy::root().join("deploy/docker/base-image")).stdin(Stdio::null()).output();
    let base = base.expect("the script starts");
    assert!(base.status.success(), "{}", String::from_utf8_lossy(&base.stderr));
    let program = std::path::absolute(Path::new(&program)).expect("the path can be made absolute");
    let project = Project::music(40_000, 200, 10);
    let Some(told) = simulate(test, &program.display().to_string(), &project) else { return };

    assert_eq!(told["create"]["code"], 0, "{told}");
    for (node, ended) in told["bootstrap"].as_object().expect("an object") {
        let role = if node.starts_with("master") { "primary" } else { node.split('-').next().unwrap_or_default() };
        assert_eq!(ended["code"], 0, "{node}: {ended}");
        assert!(ended["output"].as_str().is_some_and(|said| said.contains(&format!("role {role}"))), "{node}: {ended}");
    }
    assert_eq!(told["client_config"]["code"], 0, "the primary has written its authority's certificate: {told}");
    for denied in told["denied"].as_array().expect("a list") {
        assert_eq!(denied["code"], 1, "{denied}");
        assert!(denied["output"].as_str().is_some_and(|said| said.contains("AccessDenied")), "{denied}");
    }
    for step in ["step", "step_again"] {
        assert_eq!(told[step]["code"], 0, "{}", told[step]);
    }
    assert_eq!(told["status"]["code"], 0, "{told}");
    assert_eq!(told["delete"]["code"], 0, "{told}");
    assert_eq!(told["left"], json!({ "roles": [], "groups": [], "objects": 0 }), "{told}");

    let lake = project.path("nodes/lake");
    let runs = fs::read_dir(lake.join("_lakewright/runs")).expect("there were runs").flatten();
    let mut runs: Vec<String> = runs.filter_map(|run| run.file_name().into_string().ok()).collect();
    // Ids are in the order of time: the last of the first steps is the one whose node had notice.
    runs.sort();
    let noticed = told["steps"].as_u64().expect("a number of steps");
    for run in runs.iter().take(usize::try_from(noticed).expect("a few steps")) {
        let executions = executions(&lake, run);
        assert!(executions.iter().all(|times| *times == 1), "a node that has notice costs nothing: {executions:?}");
    }

    let mut of_nodes = Project::empty();
    of_nodes.set_variables(vec![("LAKEWRIGHT_LAKE", lake.display().to_string())]);
    project.succeed(&["run"]);
    assert_eq!(of_nodes.contents(&MUSIC_TABLES), project.contents(&MUSIC_TABLES));
}
