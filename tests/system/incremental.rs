//! Running again: what has not changed is skipped, and what has come is read alone.

use std::collections::BTreeMap;

use crate::{
    engines::run_script,
    project::{MUSIC_TABLES, Project, files_below, steps},
};

/// The version of each table, by its log.
fn versions(project: &Project) -> BTreeMap<String, usize> {
    let count = |table: &&str| {
        let log = project.lake().join(table.replace('.', "/")).join("_delta_log");
        files_below(&log).iter().filter(|name| name.ends_with(".json")).count()
    };
    MUSIC_TABLES.iter().map(|table| ((*table).to_owned(), count(table))).collect()
}

#[test]
fn an_unchanged_job_is_skipped_and_makes_no_version() {
    let project = Project::music(500, 20, 3);
    project.succeed(&["run"]);
    let (before, contents) = (versions(&project), project.contents(&MUSIC_TABLES));
    let plan = project.json(&["plan"]);
    assert!(steps(&plan).values().all(|step| step["action"]["work"] == "skip"), "{plan}");
    let run = project.json(&["run"]);
    assert!(steps(&run).values().all(|step| step["action"]["work"] == "skip"), "{run}");
    assert!(run["release"].is_null(), "{run}");
    assert_eq!(versions(&project), before);
    assert_eq!(project.contents(&MUSIC_TABLES), contents);
}

#[test]
fn a_plan_writes_nothing() {
    let project = Project::music(50, 5, 1);
    project.succeed(&["plan"]);
    assert_eq!(project.lake_files(), Vec::<String>::new());
}

#[test]
fn a_new_log_adds_its_rows_and_is_the_only_object_read() {
    let project = Project::music(1000, 20, 5);
    let logs: Vec<String> = files_below(&project.path("data/raw/log_data"));
    let (last, earlier) = logs.split_last().expect("there are logs");
    assert!(!earlier.is_empty());
    let (home, away) = (project.path("data/raw/log_data").join(last), project.path("later.json"));
    std::fs::rename(&home, &away).expect("the log can be put aside");
    project.succeed(&["run"]);
    let rows_before: usize = project.contents(&["staging.events"])["staging.events"].len();

    std::fs::rename(&away, &home).expect("the log can be put back");
    let new_rows = std::fs::read_to_string(&home).expect("the log is text").lines().count();
    let plan = project.json(&["plan"]);
    assert_eq!(steps(&plan)["staging.events"]["action"]["work"], "append", "{plan}");
    assert_eq!(steps(&plan)["staging.events"]["objects"], 1, "{plan}");
    assert_eq!(steps(&plan)["staging.songs"]["action"]["work"], "skip", "{plan}");
    let run = project.json(&["run"]);
    let events = steps(&run)["staging.events"];
    assert_eq!(events["rows_in"], new_rows, "{run}");
    assert_eq!(events["rows_out"], new_rows, "{run}");
    assert_eq!(project.contents(&["staging.events"])["staging.events"].len(), rows_before + new_rows);
    run_script("a new log", "music.py", &[&project.path("data/raw"), &project.lake()]);
}

#[test]
fn a_changed_log_replaces_the_rows_that_it_gave() {
    let project = Project::music(1000, 20, 5);
    project.succeed(&["run"]);
    let log = project.path("data/raw/log_data").join(&files_below(&project.path("data/raw/log_data"))[1]);
    let text = std::fs::read_to_string(&log).expect("the log is text");
    let half: Vec<&str> = text.lines().take(text.lines().count() / 2).collect();
    std::fs::write(&log, half.join("\n")).expect("the log can be written");
    project.succeed(&["run"]);
    let expected = 1000 - text.lines().count() + half.len();
    assert_eq!(project.contents(&["staging.events"])["staging.events"].len(), expected);
    run_script("a changed log", "music.py", &[&project.path("data/raw"), &project.lake()]);
}

#[test]
fn a_changed_query_is_run_again_with_what_depends_on_it() {
    let project = Project::music(200, 10, 2);
    project.succeed(&["run"]);
    let path = "jobs/music/curated/time.sql";
    let text = std::fs::read_to_string(project.path(path)).expect("the model is text");
    project.write(path, &text.replace("hour(start_time) AS hour", "hour(start_time) + 0 AS hour"));
    let run = project.json(&["run"]);
    let replaced: Vec<&str> =
        steps(&run).into_iter().filter(|(_, step)| step["action"]["work"] != "skip").map(|(table, _)| table).collect();
    assert_eq!(replaced, ["curated.time"], "{run}");
}
