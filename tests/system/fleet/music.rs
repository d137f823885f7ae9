//! The music job on a fleet: the same tables as in one process, and as other engines compute.

use std::collections::BTreeSet;

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
fn a_table_is_written_by_as_many_tasks_as_there_are_executors() {
    let project = Project::music(40_000, 50, 3);
    let fleet = Fleet::start(&project, 3);
    fleet.submit();
    let files = files_below(&project.path("data/lake/staging/events"));
    let files: BTreeSet<&String> = files.iter().filter(|file| !file.starts_with('_')).collect();
    assert!(files.len() >= 3, "{files:?}");
}
