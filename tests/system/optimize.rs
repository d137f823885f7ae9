//! Compaction of real tables: other engines see the same rows, and what comes after it is exact.

use std::{fs, path::Path};

use crate::{
    engines::run_script,
    project::{MUSIC_TABLES, Project, files_below, steps},
};

/// A music project that was run once for each of its logs.
fn grown() -> Project {
    let project = Project::music(600, 20, 6);
    let logs = project.path("data/raw/log_data");
    let away = project.path("later");
    let names = files_below(&logs);
    assert!(names.len() > 4, "{names:?}");
    fs::create_dir_all(&away).expect("a folder can be made");
    let aside = |name: &str| away.join(Path::new(name).file_name().expect("a log has a name"));
    for name in &names {
        fs::rename(logs.join(name), aside(name)).expect("the log can be put aside");
    }
    for name in &names {
        fs::rename(aside(name), logs.join(name)).expect("the log can be put back");
        project.succeed(&["run"]);
    }
    project
}

fn files(project: &Project, table: &str) -> u64 {
    let tables = project.json(&["tables"]);
    let found = tables["tables"].as_array().expect("tables").iter().find(|entry| entry["table"] == table);
    found.unwrap_or_else(|| panic!("{table} in {tables}"))["files"].as_u64().expect("a number")
}

#[test]
fn an_optimized_table_has_the_same_rows_for_every_engine_and_a_changed_log_replaces_its_own() {
    let project = grown();
    let (raw, lake) = (project.path("data/raw"), project.lake());
    let (rows, before) = (project.contents(&MUSIC_TABLES), files(&project, "staging.events"));
    assert!(before > 4, "{before} files");
    let optimized = project.json(&["optimize"]);
    let tables = optimized[0]["tables"].as_array().expect("tables");
    let events = tables.iter().find(|table| table["table"] == "staging.events").expect("the table of events");
    assert_eq!((&events["files_before"], &events["files"]), (&before.into(), &1.into()), "{optimized}");
    assert_eq!(project.contents(&MUSIC_TABLES), rows);
    run_script("an optimized lake", "music.py", &[&raw, &lake]);
    run_script("the log of an optimized table", "delta_log.py", &[&lake.join("staging/events")]);
    let run = project.json(&["run"]);
    assert!(run["release"].is_null(), "nothing is computed again: {run}");

    // The rows of one log are replaced, though they lie in one file with those of the others.
    let logs = raw.join("log_data");
    let name = &files_below(&logs)[2];
    let text = fs::read_to_string(logs.join(name)).expect("the log is text");
    let kept = text.lines().count() / 2;
    let half: Vec<&str> = text.lines().take(kept).collect();
    fs::write(logs.join(name), half.join("\n")).expect("the log can be written");
    let run = project.json(&["run"]);
    assert_eq!(steps(&run)["staging.events"]["action"]["work"], "update", "{run}");
    assert_eq!(steps(&run)["staging.events"]["rows_in"], kept, "{run}");
    assert_eq!(steps(&run)["curated.songplays"]["action"]["work"], "update", "{run}");
    run_script("an optimized lake with a changed log", "music.py", &[&raw, &lake]);
    project.succeed(&["optimize", "staging.events"]);
    project.succeed(&["vacuum", "--retain", "0d", "--force"]);
    run_script("an optimized and vacuumed lake", "music.py", &[&raw, &lake]);
    let text = project.succeed(&["optimize"]);
    assert!(text.contains("nothing to put together"), "{text}");
}

#[test]
fn partitions_are_put_together_each_for_itself() {
    let source = "CREATE EXTERNAL TABLE raw.plays (id BIGINT, song VARCHAR) STORED AS JSON LOCATION 'plays/';";
    let model = "MODEL (kind INCREMENTAL_BY_FILE, partitioned_by song); SELECT id, song FROM raw.plays";
    let project = Project::job(&[("raw/plays.sql", source), ("staging/plays.sql", model)]);
    for number in 0..5 {
        let lines: String = (0..20).map(|id| format!("{{\"id\": {id}, \"song\": \"a/{}\"}}\n", id % 3)).collect();
        project.write(&format!("data/raw/plays/{number}.json"), &lines);
        project.succeed(&["run"]);
    }
    let rows = project.contents(&["staging.plays"]);
    assert_eq!(files(&project, "staging.plays"), 15);
    project.succeed(&["optimize"]);
    assert_eq!(files(&project, "staging.plays"), 3);
    assert_eq!(project.contents(&["staging.plays"]), rows);
    let lake = project.lake();
    run_script("an optimized table with partitions", "rows.py", &[&lake, Path::new("staging.plays")]);
    project.lakewright(&["optimize", "staging.nothing"]).assert_refused(2, &["staging.nothing"]);
    project.lakewright(&["optimize", "--target-size", "1KB"]).assert_refused(2, &["1MB"]);
}
