//! What else goes wrong on a fleet: full disks, records that no task can read.

use super::{kills::rounds, process::Fleet};
use crate::project::{MUSIC_TABLES, Project};

#[test]
fn executors_without_room_fail_the_run_by_name_and_others_go_on_with_it() {
    let embedded = Project::music(3_000, 60, 4);
    embedded.succeed(&["run"]);
    let project = Project::music(3_000, 60, 4);
    let mut fleet = Fleet::start(&project, 0);
    for _ in 0..2 {
        fleet.add_executor_with(&[("LAKEWRIGHT_SPILL_LIMIT", "1KB")]);
    }
    fleet.await_executors(2);
    let answer = fleet.lakewright(&["submit"]);
    answer.assert_refused(1, &["no more room", "directory", "spill_limit"]);
    assert_eq!(project.json(&["tables"])["release"], serde_json::Value::Null, "a failed run has published something");

    let run_id = project.json(&["runs"])["runs"][0]["run_id"].as_str().expect("a run").to_owned();
    fleet.kill_executor(0);
    fleet.kill_executor(0);
    fleet.add_executor();
    let again = fleet.lakewright(&["retry", &run_id]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(project.contents(&MUSIC_TABLES), embedded.contents(&MUSIC_TABLES));
}

#[test]
fn a_record_that_fails_a_run_is_named_and_the_fleet_goes_on_with_others() {
    let source =
        "CREATE EXTERNAL TABLE raw.items (id BIGINT) STORED AS JSON LOCATION 'items/' OPTIONS (mode 'FAILFAST');";
    let project = Project::job(&[("raw/items.sql", source), ("curated/items.sql", "SELECT id FROM raw.items;")]);
    project.write("data/raw/items/a.json", "{\"id\": 1}\n{\"id\": 2}\n");
    let fleet = Fleet::start(&project, 2);
    for seed in rounds() {
        project.write("data/raw/items/b.json", "{\"id\": 3}\n{\"id\": \"poison\"}\n");
        fleet.lakewright(&["submit", "--full-refresh"]).assert_refused(1, &["b.json", "line    2", "id"]);
        assert_eq!(fleet.members().len(), 2, "a record has cost an executor");
        project.write("data/raw/items/b.json", &format!("{{\"id\": 3}}\n{{\"id\": {}}}\n", seed + 4));
        fleet.submit();
        let sum = project.csv("SELECT sum(id) AS s FROM curated.items");
        assert_eq!(sum, format!("s\n{}\n", seed + 10));
    }
}
