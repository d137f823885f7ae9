//! Little memory: the job spills and gives the same rows.

use std::path::PathBuf;

use crate::{
    project::{MUSIC_TABLES, Project, files_below, steps},
    service::process::await_some,
};

/// A record of some hundred bytes.
fn line(id: u64) -> String {
    let text = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{{\"id\": {id}, \"text\": \"{text:0>600}\"}}\n")
}

/// A project whose one model sorts some megabytes, and where its process spills.
fn project_that_sorts() -> (Project, PathBuf) {
    let source = "CREATE EXTERNAL TABLE raw.t (id BIGINT, text VARCHAR) STORED AS JSON LOCATION 't/';";
    let model = "MODEL (clustered_by (text)); SELECT id, text FROM raw.t;";
    let project = Project::job(&[("raw/t.sql", source), ("curated/t.sql", model)]);
    project.write("data/raw/t/rows.json", &(0..60_000).map(line).collect::<String>());
    let spill = project.path("spill");
    (project, spill)
}

/// A project whose one model joins some megabytes with themselves.
pub(crate) fn project_that_joins() -> Project {
    let source = "CREATE EXTERNAL TABLE raw.t (id BIGINT, text VARCHAR) STORED AS JSON LOCATION 't/';";
    let join = "SELECT a.id, a.text AS one, b.text AS other FROM staging.t a JOIN staging.t b ON a.id = b.id;";
    let project =
        Project::job(&[("raw/t.sql", source), ("staging/t.sql", "SELECT * FROM raw.t;"), ("curated/j.sql", join)]);
    project.write("data/raw/t/rows.json", &(0..60_000).map(line).collect::<String>());
    project
}

/// Looks whether each row has found itself.
pub(crate) fn assert_joined(project: &Project) {
    let rows = project.csv(
        "SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(CASE WHEN one = other THEN 1 END) AS same FROM curated.j",
    );
    assert_eq!(rows, "n,ids,same\n60000,60000,60000\n");
}

#[test]
fn a_run_with_little_memory_gives_the_same_rows() {
    let (small, large) = (Project::music(5000, 50, 5), Project::music(5000, 50, 5));
    small.succeed(&["run", "--memory", "256MB"]);
    large.succeed(&["run"]);
    assert_eq!(small.contents(&MUSIC_TABLES), large.contents(&MUSIC_TABLES));
}

#[test]
fn a_join_that_memory_cannot_hold_is_made_by_sorting() {
    let project = project_that_joins();
    project.succeed(&["run", "--memory", "24MB"]);
    assert_joined(&project);
    let shown = project.json(&["show"]);
    let step = &steps(&shown)["curated.j"];
    assert!(step["bytes_spilled"].as_u64() > Some(0), "the join fits after all: {step}");
    let explained = project.succeed(&["explain"]);
    assert!(explained.contains("executed 2 times: there was too little memory at first"), "{explained}");
}

#[test]
fn memory_that_cannot_be_is_refused() {
    let project = Project::music(10, 2, 1);
    project.lakewright(&["run", "--memory", "lots"]).assert_refused(2, &["memory"]);
    assert_eq!(project.lake_files(), Vec::<String>::new());
}

#[test]
fn what_a_process_has_spilled_is_gone_when_it_has_ended_or_when_the_next_one_begins() {
    let (mut project, spill) = project_that_sorts();
    let arguments = ["run", "--memory", "32MB", "--threads", "1", "--spill-dir", "spill"];
    let mut child = project.start(&arguments);
    await_some("it spills", || {
        assert!(child.try_wait().expect("the child can be asked").is_none(), "it has ended without spilling");
        // A lock is there too.
        (files_below(&spill).len() > 1).then_some(())
    });
    child.kill().expect("the child can be killed");
    child.wait().expect("the child can be awaited");
    assert!(files_below(&spill).len() > 1, "nothing was left behind");
    project.succeed(&arguments);
    assert_eq!(files_below(&spill), Vec::<String>::new());
    project.set_variables(vec![("LAKEWRIGHT_SPILL_LIMIT", "1MB".to_owned())]);
    let refused = project.lakewright(&[&arguments[..], &["--full-refresh"]].concat());
    refused.assert_refused(1, &["spills more than it may", "spill_limit"]);
    assert_eq!(files_below(&spill), Vec::<String>::new(), "a run that fails");
}
