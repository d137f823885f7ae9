//! State objects that are truncated, garbled or missing: the run that they belong to fails, says which object it is and
//! what to do, and nobody else is touched.

use std::{fs, path::PathBuf};

use crate::{
    crash::draw,
    project::{Project, files_below},
};

const SOURCE: &str = "CREATE EXTERNAL TABLE raw.plays (id BIGINT) STORED AS JSON LOCATION 'plays/';";

/// Two jobs on one lake. The run of the first was killed when its outcome was decided.
fn killed_after(object: &str) -> (Project, PathBuf) {
    let project = Project::empty();
    for (job, number) in [("one", 1), ("two", 2)] {
        let manifest = format!("name = \"{job}\"\nraw = \"data/raw\"\nlake = \"data/lake\"\n");
        project.write(&format!("jobs/{job}/job.toml"), &manifest);
        project
            .write(&format!("jobs/{job}/raw/plays{number}.sql"), &SOURCE.replace("plays", &format!("plays{number}")));
        let model = format!("MODEL (kind INCREMENTAL_BY_FILE); SELECT id FROM raw.plays{number}");
        project.write(&format!("jobs/{job}/staging/t{number}.sql"), &model);
        project.write(&format!("jobs/{job}/curated/u{number}.sql"), &format!("SELECT id FROM staging.t{number};"));
        project.write(&format!("data/raw/plays{number}/1.json"), "{\"id\": 1}\n{\"id\": 2}\n");
    }
    for seed in 0.. {
        assert!(seed < 200, "no run was killed at the right moment");
        let mut child = project.start(&["run", "one"]);
        let found = loop {
            let files = files_below(&project.lake().join("_lakewright/runs"));
            // Before its inputs are frozen a run may have no number yet, and then nobody takes it up.
            let is_frozen = |file: &str| files.iter().any(|other| *other == format!("{}/frozen.json", run_of(file)));
            if let Some(file) = files.iter().find(|file| file.ends_with(object) && is_frozen(file)) {
                break Some(file.clone());
            }
            if child.try_wait().expect("the child can be asked").is_some() {
                break None;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        };
        child.kill().expect("the child can be killed");
        child.wait().expect("the child can be awaited");
        let folder = project.lake().join("_lakewright/runs");
        let unfinished = |file: &String| !folder.join(run_of(file)).join("done.json").exists();
        if let Some(file) = found.filter(unfinished) {
            return (project, folder.join(file));
        }
        // Another object for the next try to read, so that it has something to do.
        project.write(&format!("data/raw/plays1/more{seed}.json"), "{\"id\": 3}\n");
    }
    unreachable!("the loop ends with an assertion")
}

/// The run that a state object belongs to.
fn run_of(file: &str) -> &str {
    file.split('/').next().expect("a run")
}

fn assert_others_run(project: &Project) {
    project.succeed(&["run", "two"]);
    let csv = project.succeed(&["sql", "SELECT count(*) AS n FROM curated.u2", "--job", "two", "--format", "csv"]);
    assert_eq!(csv, "n\n2\n");
}

#[test]
fn a_damaged_object_of_an_unfinished_run_is_named_and_the_other_job_goes_on() {
    for (seed, object) in (0_u64..).zip(["frozen.json", "written.json", "spec.json"]) {
        let (project, path) = killed_after(object);
        let whole = fs::read(&path).expect("the object can be read");
        let cut = usize::try_from(draw(seed, whole.len() as u64 - 1)).expect("a small number");
        let mut garbled = whole.clone();
        garbled[0] = b'#';
        for damaged in [&whole[..cut], &garbled[..], b""] {
            fs::write(&path, damaged).expect("the object can be damaged");
            let answer = project.lakewright(&["run", "one"]);
            answer.assert_refused(1, &[object, "backup"]);
            assert_others_run(&project);
        }
        fs::write(&path, &whole).expect("the object can be restored");
        project.succeed(&["run", "one"]);
        let rows = "SELECT count(*) - count(DISTINCT id) AS twice FROM curated.u1 WHERE id < 3";
        assert_eq!(project.succeed(&["sql", rows, "--job", "one", "--format", "csv"]), "twice\n0\n");
    }
}

#[test]
fn a_missing_object_of_an_unfinished_run_loses_no_rows_and_doubles_none() {
    for object in ["frozen.json", "written.json"] {
        let (project, path) = killed_after(object);
        fs::remove_file(&path).expect("the object can be removed");
        assert_others_run(&project);
        project.succeed(&["run", "one"]);
        let rows = "SELECT count(*) - count(DISTINCT id) AS twice FROM curated.u1 WHERE id < 3";
        assert_eq!(project.succeed(&["sql", rows, "--job", "one", "--format", "csv"]), "twice\n0\n");
    }
}

#[test]
fn a_damaged_release_is_named_and_nothing_is_written() {
    let (project, _) = killed_after("spec.json");
    project.succeed(&["run", "one"]);
    let releases = project.lake().join("_lakewright/releases");
    let newest = releases.join(files_below(&releases).last().expect("a run makes a release"));
    let whole = fs::read(&newest).expect("the release can be read");
    fs::write(&newest, &whole[..whole.len() / 2]).expect("the release can be damaged");
    for arguments in [&["run", "one"][..], &["tables", "--job", "one"], &["vacuum", "--force", "--job", "one"]] {
        let answer = project.lakewright(arguments);
        answer.assert_refused(1, &["releases/", "backup"]);
    }
    fs::write(&newest, &whole).expect("the release can be restored");
    project.succeed(&["run", "one"]);
}
