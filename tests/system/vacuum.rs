//! Vacuuming a lake on disk: what goes, what stays readable, and what a user is told.

use std::fs;

use crate::{
    engines::run_script,
    project::{MUSIC_TABLES, Project, files_below},
};

/// Files of tables, without their logs.
fn data_files(project: &Project) -> Vec<String> {
    project.lake_files().into_iter().filter(|file| !file.starts_with('_') && !file.contains("_delta_log")).collect()
}

#[test]
fn a_vacuum_deletes_what_only_earlier_releases_hold_and_every_reader_sees_the_newest() {
    let project = Project::music(400, 20, 3);
    project.succeed(&["run"]);
    let logs = project.path("data/raw/log_data");
    let log = logs.join(&files_below(&logs)[0]);
    let text = fs::read_to_string(&log).expect("the log is text");
    let half: Vec<&str> = text.lines().take(text.lines().count() / 2).collect();
    fs::write(&log, half.join("\n")).expect("the log can be written");
    project.succeed(&["run"]);
    let (rows, files) = (project.contents(&MUSIC_TABLES), data_files(&project));

    // A week has not passed.
    let young = project.json(&["vacuum", "--force"]);
    assert_eq!((&young["files"], &young["releases"]), (&0.into(), &0.into()), "{young}");
    let told = project.json(&["vacuum", "--retain", "0d"]);
    assert_eq!((&told["dry_run"], &told["oldest_release"]), (&true.into(), &2.into()), "{told}");
    assert_eq!(data_files(&project), files, "a dry run deletes nothing");
    let text = project.succeed(&["vacuum", "--retain", "0d"]);
    assert!(text.contains("staging.events") && text.contains("would delete"), "{text}");
    assert!(project.lake_files().iter().any(|file| file.contains("/logs/")), "the runs have logged nothing");
    let done = project.json(&["vacuum", "--retain", "0d", "--force"]);
    assert_eq!((&done["files"], &done["bytes"]), (&told["files"], &told["bytes"]), "{done}");
    let logged: Vec<String> = project.lake_files().into_iter().filter(|file| file.contains("/logs/")).collect();
    assert_eq!(logged, Vec::<String>::new(), "what ended runs have logged");
    let left = data_files(&project);
    assert_eq!(files.len() - left.len(), usize::try_from(done["files"].as_u64().expect("a number")).expect("few"));
    assert!(left.len() < files.len(), "{done}");

    assert_eq!(project.contents(&MUSIC_TABLES), rows);
    run_script("a vacuumed lake", "music.py", &[&project.path("data/raw"), &project.lake()]);
    project.lakewright(&["sql", "SELECT 1 AS x", "--as-of", "1"]).assert_refused(2, &["release", "vacuumed"]);
    project.lakewright(&["rewind", "--to", "1", "--yes"]).assert_refused(2, &["release", "vacuumed"]);
    project.lakewright(&["vacuum", "--retain", "soon"]).assert_refused(2, &["7d"]);
    let again = project.json(&["vacuum", "--retain", "0d", "--force"]);
    assert_eq!((&again["files"], &again["releases"]), (&0.into(), &0.into()), "{again}");
    let run = project.json(&["run"]);
    assert_eq!(run["release"], serde_json::Value::Null, "nothing is read again: {run}");
}

#[test]
fn a_lake_that_is_not_there_cannot_be_vacuumed() {
    let project = Project::music(10, 2, 1);
    project.lakewright(&["vacuum", "--force"]).assert_refused(1, &["no lake"]);
    assert_eq!(project.lake_files(), Vec::<String>::new());
}
