//! Processes die and stand still at random moments while an independent reader looks on: it sees whole versions only.
//!
//! `LAKEWRIGHT_CRASHES` takes another number of processes than the few of every test run.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    crash::draw,
    project::{Project, files_below},
    requirement, tidy,
};

/// Processes that are killed or stopped, where no other number is asked for.
const CRASHES: f64 = 20.0;
/// Rows of each raw object.
const ROWS: u64 = 40;

/// A reader that runs until it is told to end.
struct Witness {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Witness {
    fn of(project: &Project, test: &str) -> Option<Self> {
        let python = requirement::python(test)?;
        let mut child = Command::new(python)
            .arg(tidy::root().join("tests/oracle/run.py"))
            .arg(tidy::root().join("tests/oracle/witness.py"))
            .arg(project.lake().join("curated/plays"))
            .arg(ROWS.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut output = BufReader::new(child.stdout.take().expect("the output is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the reader says that it reads");
        Some(Self { child, output })
    }

    /// Ends the reader, to what it has seen.
    fn end(mut self) -> Value {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("the reader prints text");
        let mut said = String::new();
        let stderr = self.child.stderr.take();
        stderr.expect("the output is piped").read_to_string(&mut said).expect("the reader prints text");
        let status = self.child.wait().expect("the reader can be awaited");
        assert!(status.success(), "{said}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

fn project() -> Project {
    let source = "CREATE EXTERNAL TABLE raw.plays (object BIGINT, id BIGINT) STORED AS JSON LOCATION 'plays/';";
    let staging = "MODEL (kind INCREMENTAL_BY_FILE); SELECT object, id FROM raw.plays";
    Project::job(&[
        ("raw/plays.sql", source),
        ("staging/plays.sql", staging),
        ("curated/plays.sql", "SELECT object, id FROM staging.plays;"),
    ])
}

fn put(project: &Project, object: u64) {
    let lines = (0..ROWS).map(|id| format!("{{\"object\": {object}, \"id\": {id}}}\n"));
    project.write(&format!("data/raw/plays/{object:05}.json"), &lines.collect::<String>());
}

/// Waits until the lake has so many files or the process has ended. Whether it is still there.
fn wait_for(project: &Project, child: &mut Child, files: u64) -> bool {
    loop {
        if child.try_wait().expect("the child can be asked").is_some() {
            return false;
        }
        if files_below(&project.lake()).len() as u64 >= files {
            return true;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
}

fn signal(name: &str, child: &Child) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill starts");
    assert!(sent.success(), "{name}");
}

#[test]
#[cfg(unix)]
fn an_independent_reader_sees_whole_versions_only_while_processes_die_and_stand_still() {
    let project = project();
    put(&project, 0);
    project.succeed(&["run"]);
    let before = files_below(&project.lake()).len() as u64;
    put(&project, 1);
    project.succeed(&["run"]);
    // A run makes about so many files.
    let of_a_run = files_below(&project.lake()).len() as u64 - before;
    let Some(witness) = Witness::of(&project, "an independent reader") else { return };
    let crashes = requirement::number("LAKEWRIGHT_CRASHES").unwrap_or(CRASHES);
    let (mut killed, mut stopped, mut object) = (0, 0, 1);
    for seed in (0_u32..).take_while(|seed| f64::from(*seed) < crashes).map(u64::from) {
        object += 1;
        put(&project, object);
        let files = files_below(&project.lake()).len() as u64;
        let mut child = project.start(&["run"]);
        let is_there = wait_for(&project, &mut child, files + draw(seed, of_a_run));
        if is_there && seed % 4 == 3 {
            signal("-STOP", &child);
            stopped += 1;
            // A second process takes over from one that stands still only after a while; not every test run has it.
            if crashes > CRASHES && seed % 40 == 3 {
                project.succeed(&["run"]);
            }
            signal("-CONT", &child);
            let status = child.wait().expect("the child can be awaited");
            assert!(status.success() || crashes > CRASHES, "a process that stood still fails: {status:?}");
        } else {
            killed += u32::from(is_there);
            let _ = child.kill();
            child.wait().expect("the child can be awaited");
        }
    }
    project.succeed(&["run"]);
    project.succeed(&["optimize"]);
    let seen = witness.end();
    let rows = project.csv("SELECT count(*) AS n, count(DISTINCT object) AS o FROM curated.plays");
    assert_eq!(rows, format!("n,o\n{},{}\n", (object + 1) * ROWS, object + 1));
    assert!(killed > 0 && stopped > 0, "{killed} killed, {stopped} stopped");
    assert!(seen["versions"].as_array().is_some_and(|versions| versions.len() > 1), "{seen}");
    println!("{killed} killed, {stopped} stopped: {seen}");
}
