//! Several processes on one lake at once: every one of them publishes, and nothing is lost or there twice.

use std::process::Stdio;

use crate::{
    engines::run_script,
    project::{Answer, Project},
};

const JOBS: usize = 8;

/// A project with several jobs that share a lake; each reads raw data of its own.
fn jobs() -> Project {
    let project = Project::empty();
    for number in 0..JOBS {
        let folder = format!("jobs/job{number}");
        let manifest = format!("name = \"job{number}\"\nraw = \"data/raw\"\nlake = \"data/lake\"\n");
        project.write(&format!("{folder}/job.toml"), &manifest);
        let source = format!("CREATE EXTERNAL TABLE raw.r{number} (id BIGINT) STORED AS JSON LOCATION 'r{number}/';");
        project.write(&format!("{folder}/raw/r{number}.sql"), &source);
        let staging = format!("MODEL (kind INCREMENTAL_BY_FILE); SELECT id FROM raw.r{number}");
        project.write(&format!("{folder}/staging/s{number}.sql"), &staging);
        project.write(&format!("{folder}/curated/c{number}.sql"), &format!("SELECT id FROM staging.s{number};"));
        put(&project, number, 0);
    }
    project
}

fn put(project: &Project, job: usize, object: usize) {
    let lines: String = (0..10).map(|id| format!("{{\"id\": {}}}\n", object * 10 + id)).collect();
    project.write(&format!("data/raw/r{job}/{object}.json"), &lines);
}

/// Runs command lines at once, to their answers.
fn at_once(project: &Project, lines: &[Vec<String>]) -> Vec<Answer> {
    let children: Vec<_> = lines
        .iter()
        .map(|line| {
            let arguments: Vec<&str> = line.iter().map(String::as_str).collect();
            let mut command = project.command(&arguments);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
        })
        .collect();
    let answer = |child: std::process::Child| {
        let output = child.wait_with_output().expect("the child can be awaited");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Answer { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    };
    children.into_iter().map(answer).collect()
}

fn assert_all_well(answers: &[Answer]) {
    for answer in answers {
        assert_eq!(answer.code, Some(0), "{answer:?}");
    }
}

#[test]
fn eight_processes_publish_to_one_lake_at_once() {
    let project = jobs();
    for round in 0..2 {
        let lines: Vec<Vec<String>> = (0..JOBS).map(|n| vec!["run".to_owned(), format!("job{n}")]).collect();
        assert_all_well(&at_once(&project, &lines));
        let history = project.json(&["tables", "--history", "--job", "job0"]);
        let releases = history["releases"].as_array().expect("releases");
        assert_eq!(releases.len(), JOBS * (round + 1), "one release for each run: {history}");
        for number in 0..JOBS {
            let query = format!("SELECT count(*) AS n, sum(id) AS s FROM curated.c{number}");
            let (rows, sum) = if round == 0 { (10, 45) } else { (20, 190) };
            let csv = project.succeed(&["sql", &query, "--job", &format!("job{number}"), "--format", "csv"]);
            assert_eq!(csv, format!("n,s\n{rows},{sum}\n"), "job{number}");
            put(&project, number, round + 1);
        }
    }
    let lake = project.lake();
    let tables: Vec<String> = (0..JOBS).map(|number| format!("staging.s{number}")).collect();
    let mut arguments = vec![lake.as_path()];
    arguments.extend(tables.iter().map(std::path::Path::new));
    run_script("a lake of several jobs", "rows.py", &arguments);
}

#[test]
fn eight_runs_of_one_job_at_once_read_every_object_once() {
    let project = jobs();
    let lines: Vec<Vec<String>> = (0..JOBS).map(|_| vec!["run".to_owned(), "job0".to_owned()]).collect();
    assert_all_well(&at_once(&project, &lines));
    let csv = project.succeed(&["sql", "SELECT count(*) AS n FROM curated.c0", "--job", "job0", "--format", "csv"]);
    assert_eq!(csv, "n\n10\n");
    let runs = project.json(&["runs", "job0"]);
    let runs = runs["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), JOBS);
    let released = runs.iter().filter(|run| !run["release"].is_null()).count();
    assert_eq!(released, 1, "one of the runs had something to do: {runs:?}");
}

#[test]
fn sources_of_two_jobs_whose_rejects_would_be_mixed_are_refused_by_plan_and_run() {
    let project = jobs();
    project.write("data/raw/r0/bad.json", "no json\n");
    project.succeed(&["run", "job0"]);
    project.write("jobs/job1/raw/r0.sql", "CREATE EXTERNAL TABLE raw.r0 (id BIGINT) STORED AS JSON LOCATION 'r1/';");
    project.write("jobs/job1/staging/s1.sql", "SELECT id FROM raw.r0;");
    for command in ["plan", "run"] {
        let answer = project.lakewright(&[command, "job1"]);
        assert!(matches!(answer.code, Some(1 | 2)), "{answer:?}");
        answer.assert_refused(answer.code.unwrap_or_default(), &["raw.r0", "rejects.r0", "job0", "rename"]);
    }
}
