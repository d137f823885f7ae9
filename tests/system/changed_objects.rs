//! Raw objects that change, come and go: exactly their rows are replaced, and other engines see the same.

use std::path::Path;

use crate::{
    engines::run_script,
    project::{Project, steps},
};

const SOURCE: &str = "CREATE EXTERNAL TABLE raw.plays (id BIGINT, song VARCHAR) STORED AS JSON LOCATION 'plays/'";

/// Three objects read in one run, one in a second.
fn project(options: &str) -> Project {
    let project = Project::job(&[
        ("raw/plays.sql", &format!("{SOURCE}{options};")),
        ("staging/plays.sql", "MODEL (kind INCREMENTAL_BY_FILE); SELECT id, song FROM raw.plays"),
        (
            "curated/loud.sql",
            "MODEL (kind INCREMENTAL_BY_FILE, partitioned_by song); SELECT id * 10 AS id, upper(song) AS song FROM staging.plays",
        ),
    ]);
    for number in 0..30 {
        put(&project, number, &[number]);
    }
    project.succeed(&["run"]);
    put(&project, 30, &[30, 31]);
    project.succeed(&["run"]);
    project
}

fn put(project: &Project, object: u32, ids: &[u32]) {
    let lines = ids.iter().map(|id| format!("{{\"id\": {id}, \"song\": \"s{}\"}}\n", id % 3));
    project.write(&format!("data/raw/plays/{object:03}.json"), &lines.collect::<String>());
}

fn remove(project: &Project, object: u32) {
    std::fs::remove_file(project.path(&format!("data/raw/plays/{object:03}.json"))).expect("it can be removed");
}

/// The ids of both tables, which must be of the same plays.
fn ids(project: &Project) -> Vec<u32> {
    let of = |query: &str| -> Vec<u32> {
        project.csv(query).lines().skip(1).map(|line| line.parse().expect("an id")).collect()
    };
    let (plays, loud) = (
        of("SELECT id FROM staging.plays ORDER BY id"),
        of("SELECT id FROM curated.loud ORDER BY id").into_iter().map(|id| id / 10).collect::<Vec<_>>(),
    );
    assert_eq!(plays, loud);
    plays
}

#[test]
fn an_object_that_has_changed_replaces_its_rows_and_reads_its_batch_alone() {
    let project = project("");
    put(&project, 30, &[100]);
    put(&project, 31, &[101]);
    let plan = project.json(&["plan"]);
    assert_eq!(steps(&plan)["staging.plays"]["action"]["work"], "update", "{plan}");
    assert_eq!(steps(&plan)["curated.loud"]["action"]["work"], "update", "{plan}");
    let run = project.json(&["run"]);
    assert_eq!(steps(&run)["staging.plays"]["rows_in"], 2, "{run}");
    assert_eq!(steps(&run)["curated.loud"]["rows_in"], 2, "{run}");
    assert_eq!(ids(&project), (0..30).chain([100, 101]).collect::<Vec<_>>());
    put(&project, 5, &[200, 201, 202]);
    project.succeed(&["run"]);
    let expected: Vec<u32> = (0..30).filter(|id| *id != 5).chain([100, 101, 200, 201, 202]).collect();
    assert_eq!(ids(&project), expected);
    let tables = ["staging.plays", "curated.loud"].map(Path::new);
    if let Some(rows) = run_script("changed objects", "rows.py", &[&project.lake(), tables[0], tables[1]]) {
        assert_eq!(rows, serde_json::json!({ "staging.plays": 34, "curated.loud": 34 }));
    }
    let idle = project.json(&["run"]);
    assert!(idle["release"].is_null(), "{idle}");
}

#[test]
fn rows_of_objects_that_have_gone_stay_go_or_fail_as_the_source_says() {
    let keep = project("");
    remove(&keep, 7);
    keep.succeed(&["run"]);
    assert_eq!(ids(&keep).len(), 32);
    put(&keep, 40, &[40]);
    keep.succeed(&["run"]);
    assert_eq!(ids(&keep).len(), 33);
    put(&keep, 8, &[80]);
    let refused = keep.lakewright(&["run"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("plays/007.json") && refused.stderr.contains("--full-refresh"), "{refused:?}");
    assert_eq!(ids(&keep).len(), 33, "nothing was published");

    let remove_rows = project(" OPTIONS (on_delete 'REMOVE')");
    remove(&remove_rows, 7);
    put(&remove_rows, 8, &[80]);
    remove_rows.succeed(&["run"]);
    let expected: Vec<u32> = (0..32).filter(|id| ![7, 8].contains(id)).chain([80]).collect();
    assert_eq!(ids(&remove_rows), expected);

    let fail = project(" OPTIONS (on_delete 'FAIL')");
    remove(&fail, 7);
    let refused = fail.lakewright(&["run"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("plays/007.json") && refused.stderr.contains("on_delete"), "{refused:?}");
    fail.succeed(&["run", "--accept-losses"]);
    assert_eq!(ids(&fail).len(), 32);
}
