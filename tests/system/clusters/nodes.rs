//! The files of `deploy/emr` on fake nodes, and all scripts of the repository through shellcheck.
//!
//! Data flow: a project's job and raw data -> `tests/emr/nodes.py` makes nodes and tells what happened -> **here** it is
//! held against what must happen, and the lake against an embedded run.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    project::{MUSIC_TABLES, Project},
    requirement, tidy,
};

/// Namespaces of their own: what the nodes mount, listen at and start is seen by nobody else and ends with them.
const NAMESPACES: [&str; 7] =
    ["--mount", "--net", "--pid", "--mount-proc", "--fork", "--kill-child", "--propagation=private"];

fn copy_folder(source: &Path, target: &Path) {
    let copied = Command::new("cp").arg("-R").arg(source).arg(target).status().expect("cp starts");
    assert!(copied.success(), "{} to {}", source.display(), target.display());
}

/// Runs the nodes to their end, and gives what they told; none where the machine grants no namespaces.
fn nodes(test: &str, work: &Path) -> Option<Value> {
    let granted = Command::new("unshare").args(NAMESPACES).arg("true").stderr(Stdio::null()).status();
    if !granted.is_ok_and(|status| status.success()) {
        requirement::skip(test, "root, and namespaces of its own (unshare)");
        return None;
    }
    let output = Command::new("unshare")
        .args(NAMESPACES)
        // The nodes' own programs, which they find at the same place.
        .arg("/usr/bin/python3")
        .arg(tidy::root().join("tests/emr/nodes.py"))
        .arg(env!("CARGO_BIN_EXE_lakewright-under-test"))
        .arg(tidy::root().join("deploy/emr"))
        .arg(work)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .expect("unshare starts");
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    if !output.status.success() {
        let logs = ["primary/mnt/var/log/lakewright/scheduler.log", "core/mnt/var/log/lakewright/executor.log"];
        let text = |log: &&str| fs::read_to_string(work.join("nodes").join(log)).unwrap_or_default();
        panic!("{stderr}\n{}", logs.iter().map(text).collect::<Vec<_>>().join("\n"));
    }
    Some(serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}")))
}

fn assert_ended(told: &Value, what: &str, code: i64, words: &str) {
    let ended = &told[what];
    assert_eq!(ended["code"], code, "{what}: {ended}");
    assert!(ended["output"].as_str().is_some_and(|output| output.contains(words)), "no `{words}` in {what}: {ended}");
}

/// The value of a variable of `node.env`, a number with or without `MB`.
fn number(settings: &str, name: &str) -> u64 {
    let line = settings.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = line.unwrap_or_else(|| panic!("no {name} in {settings}"));
    value.trim_end_matches("MB").parse().unwrap_or_else(|error| panic!("{name} is {value}: {error}"))
}

#[test]
fn bootstrapped_nodes_form_a_fleet_that_runs_steps_and_survives_reboots() {
    let project = Project::music(400, 40, 3);
    let work = project.path("work");
    fs::create_dir_all(work.join("s3/bucket/jobs")).expect("the folder can be made");
    copy_folder(&project.path("jobs/music"), &work.join("s3/bucket/jobs/music"));
    copy_folder(&project.path("jobs/music"), &work.join("s3/bucket/jobs/broken"));
    fs::write(work.join("s3/bucket/jobs/broken/curated/songs.sql"), "SELEC 1").expect("the file can be written");
    copy_folder(&project.path("data/raw"), &work.join("raw"));
    let Some(told) = nodes("bootstrap on fake EMR nodes", &work) else { return };

    assert_ended(&told, "wrong_sum", 1, "is not the file that this cluster was made with");
    assert_eq!(told["wrong_sum_left"], false, "nothing is installed before its checksum is right");
    assert_ended(&told, "primary", 0, "role primary");
    assert_ended(&told, "primary", 0, "scheduler listens on https://127.0.0.1:50040");
    assert_ended(&told, "core", 0, "role core");
    assert_ended(&told, "task", 0, "role task");
    assert_eq!(told["authority"], "-----BEGIN CERTIFICATE-----");

    let settings = told["core_settings"].as_str().expect("a text");
    assert!(settings.contains("NODE_ADDRESS=127.0.0.2\n"), "{settings}");
    assert!(settings.contains("LAKEWRIGHT_FLEET=primary.test:50050\n"), "{settings}");
    assert!(settings.contains("LAKEWRIGHT_SPILL_DIR=/mnt/lakewright/scratch\n"), "{settings}");
    let cores = std::thread::available_parallelism().expect("the machine has cores").get() as u64;
    assert_eq!(number(settings, "LAKEWRIGHT_THREADS"), cores);
    assert!((64..1 << 24).contains(&number(settings, "LAKEWRIGHT_MEMORY")), "{settings}");
    assert!(number(settings, "LAKEWRIGHT_SPILL_LIMIT") > 0, "{settings}");

    assert_ended(&told, "step", 0, "");
    assert_ended(&told, "step_of_broken_job", 2, "songs.sql");
    assert_ended(&told, "step_of_nothing", 3, "cannot fetch s3://bucket/jobs/none");
    assert_ended(&told, "again", 0, "role primary, unchanged");
    assert_eq!(told["again_restarts"], 0, "a second bootstrap leaves a running scheduler alone");
    assert_ended(&told, "step_after_reboots", 0, "");
    assert_eq!(told["drained_exit_code"], 0, "the executor of a spot instance is asked to stop, not killed");
    assert_ended(&told, "shutdown_action", 0, "");
    assert_eq!(told["decommissioned"], 0, "EMR's shutdown actions drain the executor");
    assert_ended(&told, "detached", 0, "");

    let lake = work.join("lake").display().to_string();
    let mut of_nodes = Project::empty();
    of_nodes.set_variables(vec![("LAKEWRIGHT_LAKE", lake)]);
    project.succeed(&["run"]);
    assert_eq!(of_nodes.contents(&MUSIC_TABLES), project.contents(&MUSIC_TABLES));
}

#[test]
fn every_shell_script_passes_shellcheck() {
    let test = "shellcheck of all scripts";
    let Some(python) = requirement::python(test) else { return };
    let shellcheck = python.parent().expect("Python lies in a folder").join("shellcheck");
    if !shellcheck.exists() {
        requirement::lacks(test, "shellcheck of tests/oracle/requirements.txt");
        return;
    }
    let scripts = tidy::shell_scripts();
    assert!(scripts.iter().any(|path| path == "deploy/emr/bootstrap.sh"), "{scripts:?}");
    let checked = Command::new(shellcheck)
        .args(["--severity=warning", "--"])
        .args(&scripts)
        .current_dir(tidy::root())
        .output()
        .expect("shellcheck starts");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
