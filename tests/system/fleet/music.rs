//! The music job on a fleet: the same tables as in one process, and as other engines compute.

use std::collections::BTreeSet;

use serde_json::Value;

use super::process::Fleet;
use crate::{
    engines::run_script,
    project::{MUSIC_TABLES, Project, files_below},
};

#[test]
fn the_music_jobs_tables_are_equal_embedded_and_on_a_fleet() {
    let embedded = Project::music(3000, 120, 10);
    embedded.succeed(&["run"]);
    let project = Project::music(3000, 120, 10);
    let fleet = Fleet::start(&project, 2);
    fleet.submit();
    assert_eq!(project.contents(&MUSIC_TABLES), embedded.contents(&MUSIC_TABLES));
    run_script("music on a fleet", "music.py", &[&project.path("data/raw"), &project.lake()]);

    let reads = |project: &Project| {
        let mut reads = project.json(&["show"])["reads"].clone();
        for read in reads.as_array_mut().into_iter().flatten() {
            read.as_object_mut().map(|read| read.remove("report"));
        }
        reads
    };
    assert_eq!(reads(&project), reads(&embedded), "the account of the raw data");
    let scanned: Vec<String> = files_below(&project.path("data/lake/_lakewright/runs"));
    assert!(scanned.iter().any(|file| file.contains("/scans/")), "executors have reported nothing: {scanned:?}");

    fleet.submit();
    assert_eq!(project.contents(&MUSIC_TABLES), embedded.contents(&MUSIC_TABLES), "after a run without news");
}

#[test]
fn steps_that_one_executor_executes_alone_give_the_same_tables() {
    let embedded = Project::music(40_000, 120, 4);
    embedded.succeed(&["run"]);
    let project = Project::music(40_000, 120, 4);
    let mut fleet = Fleet::start_with(&project, 0, &[]);
    for _ in 0..2 {
        fleet.add_executor_with(&[("LAKEWRIGHT_THREADS", "2")]);
    }
    fleet.await_executors(2);
    fleet.submit();
    assert_eq!(project.contents(&MUSIC_TABLES), embedded.contents(&MUSIC_TABLES));
    // Tasks do not share files, and these rows are too few for two of one task.
    let files_of = |table: &str| {
        let files = files_below(&project.lake().join(table));
        files.iter().filter(|file| file.ends_with(".parquet")).count()
    };
    for table in ["curated/users", "curated/time", "curated/artists"] {
        assert_eq!(files_of(table), 1, "{table}");
    }
    assert!(files_of("staging/events") > 1, "raw objects are read by all executors");
}

#[test]
fn every_executor_writes_files_of_a_table_that_has_a_task_for_each() {
    let source = "CREATE EXTERNAL TABLE raw.items (id BIGINT) STORED AS JSON LOCATION 'items/';";
    let project = Project::job(&[("raw/items.sql", source), ("curated/items.sql", "SELECT id FROM raw.items;")]);
    // A task is for a megabyte at least.
    for part in 0..6 {
        let line = |line| format!("{{\"id\": {}, \"pad\": \"{:0>2500}\"}}\n", part * 500 + line, line);
        let lines: String = (0..500).map(line).collect();
        project.write(&format!("data/raw/items/{part}.json"), &lines);
    }
    let fleet = Fleet::start(&project, 3);
    let members: BTreeSet<String> = fleet.members().into_iter().collect();
    fleet.submit();

    // As the scheduler tells it, and as the lake has it.
    let told: Value = serde_json::from_str(&fleet.lakewright(&["show", "--json"]).stdout).expect("a document");
    assert_eq!(told["steps"], project.json(&["show"])["steps"]);
    let step = &told["steps"][0];
    let shares = step["written_by"].as_array().expect("a list");
    let writers: BTreeSet<String> = shares.iter().map(|share| text(&share["executor"])).collect();
    assert_eq!(writers, members, "{step}");
    let sum = |name: &str| shares.iter().map(|share| share[name].as_u64().expect("a number")).sum::<u64>();
    assert_eq!(
        (sum("rows"), Some(sum("files")), Some(sum("bytes"))),
        (3000, step["files"].as_u64(), step["bytes"].as_u64())
    );
    assert!(
        shares.iter().all(|share| text(&share["host"]).starts_with("127.0.0.1:") && share["rows"].as_u64() > Some(0)),
        "{step}"
    );
    let files = files_below(&project.path("data/lake/curated/items"));
    let files = files.iter().filter(|file| !file.starts_with('_')).count() as u64;
    assert_eq!((files, sum("files")), (3, 3), "a file of each executor");
}

#[test]
fn a_run_in_one_process_names_no_executors() {
    let project = Project::music(50, 5, 1);
    project.succeed(&["run"]);
    let shown = project.json(&["show"]);
    let steps = shown["steps"].as_array().expect("steps");
    assert!(steps.iter().all(|step| step["written_by"] == Value::Array(Vec::new())), "{shown}");
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
