//! Releases by name: what was published stays readable, and what has changed since can be asked for.

use std::fs;

use crate::{
    engines::run_script,
    project::{MUSIC_TABLES, Project, files_below, steps},
};

/// A project with two releases: the first without the last log. Gives the number of rows of that log.
fn two_releases() -> (Project, usize) {
    let project = Project::music(500, 20, 4);
    let logs = project.path("data/raw/log_data");
    let home = logs.join(files_below(&logs).last().expect("there are logs"));
    let away = project.path("later.json");
    fs::rename(&home, &away).expect("the log can be put aside");
    project.succeed(&["run"]);
    fs::rename(&away, &home).expect("the log can be put back");
    let rows = fs::read_to_string(&home).expect("the log is text").lines().count();
    project.succeed(&["run"]);
    (project, rows)
}

#[test]
fn an_earlier_release_answers_as_it_did_when_it_was_the_newest() {
    let project = Project::music(300, 20, 3);
    project.succeed(&["run"]);
    let before = project.contents(&MUSIC_TABLES);
    let made = project.json(&["tables", "--history"])["releases"][0]["created"].as_str().expect("a time").to_owned();
    let logs = project.path("data/raw/log_data");
    let log = logs.join(&files_below(&logs)[0]);
    let text = fs::read_to_string(&log).expect("the log is text");
    fs::write(logs.join("zz-copy.json"), text).expect("a log can be written");
    project.succeed(&["run"]);
    assert_ne!(project.contents(&MUSIC_TABLES), before);
    for as_of in ["1", &made] {
        for table in MUSIC_TABLES {
            let csv = project.succeed(&["sql", &format!("SELECT * FROM {table}"), "--as-of", as_of, "--format", "csv"]);
            let mut rows: Vec<&str> = csv.lines().skip(1).collect();
            rows.sort_unstable();
            assert_eq!(rows, before[table], "{table} as of {as_of}");
        }
        assert_eq!(project.json(&["tables", "--as-of", as_of])["release"], 1);
    }
    project.lakewright(&["sql", "SELECT 1 AS x", "--as-of", "7"]).assert_refused(2, &["release", "1 to 2"]);
    project.lakewright(&["tables", "--as-of", "1999-01-01"]).assert_refused(2, &["no release", "1 to 2"]);
    project.lakewright(&["tables", "--as-of", "soon"]).assert_refused(2, &["2018-11-13T12:30:00Z"]);
}

#[test]
fn the_history_names_what_each_release_changed() {
    let (project, rows) = two_releases();
    let history = project.json(&["tables", "--history"]);
    let numbers: Vec<u64> =
        history["releases"].as_array().expect("releases").iter().map(|r| r["release"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 1]);
    let events = &project.json(&["tables", "--history", "staging.events"])["releases"];
    let change = &events[0]["changes"][0];
    assert_eq!(change["change"], "changed", "{change}");
    assert_eq!(change["rows"].as_u64().unwrap() - change["rows_before"].as_u64().unwrap(), rows as u64);
    let songs = &project.json(&["tables", "--history", "staging.songs"])["releases"];
    assert_eq!(songs.as_array().expect("releases").len(), 1, "{songs}");
    assert_eq!(songs[0]["changes"][0]["change"], "created");
    project.lakewright(&["tables", "--history", "staging.nothing"]).assert_refused(2, &["staging.nothing"]);
}

#[test]
fn a_diff_counts_rows_that_came_and_those_that_changed() {
    let (project, rows) = two_releases();
    let diff = project.json(&["diff", "1", "2", "staging.events"]);
    let events = &diff["tables"][0];
    assert_eq!((&events["added"], &events["removed"]), (&rows.into(), &0.into()), "{diff}");
    assert_eq!(events["sample"].as_array().expect("rows").len(), 5, "{diff}");
    assert_eq!(events["sample"][0]["_change"], "added", "{diff}");
    // A user who comes back may have another level: his row is the same by its key.
    let users = project.json(&["diff", "1", "2", "curated.users", "--key", "user_id"]);
    let (old, new) = (project.json(&["tables", "--as-of", "1"]), project.json(&["tables"]));
    let count = |tables: &serde_json::Value| {
        let tables = tables["tables"].as_array().expect("tables");
        let users = tables.iter().find(|table| table["table"] == "curated.users").expect("there are users");
        users["rows"].as_u64().expect("a number")
    };
    let users = users["tables"].get(0).cloned().unwrap_or_else(|| serde_json::json!({"added": 0, "removed": 0}));
    assert_eq!(users["removed"], 0, "{users}");
    assert_eq!(users["added"].as_u64(), Some(count(&new) - count(&old)), "{users}");
    assert_eq!(project.json(&["diff", "2", "2"])["tables"], serde_json::json!([]));
    let text = project.succeed(&["diff", "1", "2"]);
    assert!(text.contains("staging.events") && !text.contains("staging.songs"), "{text}");
    project.lakewright(&["diff", "1", "2", "curated.users", "--key", "id"]).assert_refused(2, &["user_id"]);
}

#[test]
fn a_rewind_shows_every_reader_the_earlier_rows_and_the_next_run_reads_the_new_log_again() {
    let (project, rows) = two_releases();
    let (new, raw, lake) = (project.contents(&MUSIC_TABLES), project.path("data/raw"), project.lake());
    project.lakewright(&["rewind", "--to", "1"]).assert_refused(2, &["--yes"]);
    assert_eq!(project.contents(&MUSIC_TABLES), new);
    let rewound = project.json(&["rewind", "--to", "1", "--yes"]);
    assert_eq!(rewound["release"], 3, "{rewound}");
    assert_ne!(project.contents(&MUSIC_TABLES), new);
    assert_eq!(
        project.json(&["diff", "1", "3"])["tables"].as_array().map(Vec::len),
        Some(rewound["changes"].as_array().unwrap().len())
    );
    for table in project.json(&["diff", "1", "3"])["tables"].as_array().expect("tables") {
        assert_eq!((&table["added"], &table["removed"]), (&0.into(), &0.into()), "{table}");
    }
    // Other engines see the rows of the first release, too: those of the raw data without the last log.
    let logs = raw.join("log_data");
    let (home, away) = (logs.join(files_below(&logs).last().expect("there are logs")), project.path("later.json"));
    fs::rename(&home, &away).expect("the log can be put aside");
    run_script("a rewound lake", "music.py", &[&raw, &lake]);
    fs::rename(&away, &home).expect("the log can be put back");
    let run = project.json(&["run"]);
    assert_eq!(steps(&run)["staging.events"]["rows_in"], rows, "{run}");
    assert_eq!(project.contents(&MUSIC_TABLES), new);
    run_script("a lake that was rewound and run", "music.py", &[&raw, &lake]);
    assert_eq!(project.json(&["runs"])["runs"][1]["operation"], "rewind to release 1");
    project.lakewright(&["rewind", "--to", "9", "--yes"]).assert_refused(2, &["no such release"]);
}

#[test]
fn an_orphan_is_dropped_and_what_a_model_makes_is_not() {
    let project = Project::music(100, 10, 2);
    project.succeed(&["run"]);
    project.lakewright(&["drop", "curated.time", "--yes"]).assert_refused(1, &["a model still makes", "time.sql"]);
    for file in ["curated/time.sql", "analyses/hours_of_day.sql", "tests/dimensions.yaml"] {
        fs::remove_file(project.path("jobs/music").join(file)).expect("the file can be removed");
    }
    // A check that names the table would need it.
    let plays = project.path("jobs/music/curated/songplays.sql");
    let text = fs::read_to_string(&plays).expect("the model's file");
    let check = ",\n    relationships (column := start_time, to := curated.time, field := start_time)";
    assert!(text.contains(check), "the model has a check that reads curated.time");
    fs::write(&plays, text.replace(check, "")).expect("the file can be written");
    project.lakewright(&["drop", "curated.time"]).assert_refused(2, &["--yes"]);
    let answer = project.succeed(&["drop", "curated.time", "--yes"]);
    assert!(answer.contains("dropped curated.time"), "{answer}");
    project.lakewright(&["sql", "SELECT * FROM curated.time"]).assert_refused(2, &["curated.time"]);
    project.lakewright(&["drop", "curated.time", "--yes"]).assert_refused(2, &["no such table"]);
    project.lakewright(&["drop", "staging.events", "--yes", "--force"]).assert_refused(0, &[]);
    assert!(project.succeed(&["sql", "SELECT count(*) AS n FROM curated.time", "--as-of", "1"]).contains('n'));
    project.lakewright(&["repair", "0"]).assert_refused(2, &["run"]);
}
