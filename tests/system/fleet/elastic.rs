//! Executors join and leave while a run goes on: who comes gets tasks, who drains costs nothing.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use serde_json::Value;

use super::process::Fleet;
use crate::{
    project::{Project, files_below},
    service::process::await_some,
};

/// Models that nothing keeps from being computed at once.
const MODELS: usize = 8;

/// A project whose models have a lot to compute from few rows: each pairs all rows of a group with one another.
pub(crate) fn busy_project(rows: u64) -> Project {
    let source = "CREATE EXTERNAL TABLE raw.t (id BIGINT, g BIGINT, v BIGINT) STORED AS JSON LOCATION 't/';";
    let model = "SELECT a.v % 10 AS k, count(*) AS n, sum(a.v * b.v) AS s \
                 FROM staging.t a JOIN staging.t b ON a.g = b.g AND a.id <> b.id GROUP BY a.v % 10;";
    let names: Vec<String> = (0..MODELS).map(|number| format!("curated/m{number}.sql")).collect();
    let mut files = vec![("raw/t.sql", source), ("staging/t.sql", "SELECT * FROM raw.t;")];
    files.extend(names.iter().map(|name| (name.as_str(), model)));
    let project = Project::job(&files);
    let mut lines = String::new();
    for id in 0..rows {
        writeln!(lines, "{{\"id\": {id}, \"g\": {}, \"v\": {}}}", id % 5, id * 31 % 1009).expect("text can be written");
    }
    project.write("data/raw/t/rows.json", &lines);
    project
}

/// The rows of all models.
pub(crate) fn busy_contents(project: &Project) -> BTreeMap<String, Vec<String>> {
    let tables: Vec<String> = (0..MODELS).map(|number| format!("curated.m{number}")).collect();
    project.contents(&tables.iter().map(String::as_str).collect::<Vec<_>>())
}

/// How often each step of a run of a lake was executed.
pub(crate) fn executions(lake: &Path, run_id: &str) -> Vec<u64> {
    let steps = lake.join("_lakewright/runs").join(run_id).join("steps");
    let read = |path: String| {
        let text = fs::read_to_string(steps.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let step: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"));
        step["times"]["executions"].as_u64().unwrap_or(1)
    };
    files_below(&steps).into_iter().map(read).collect()
}

/// Tasks that the executors of a spill directory run, as they have last said.
pub(crate) fn tasks_of(project: &Project, spill_dir: &str) -> u64 {
    let answer = project.lakewright(&["health", "--executor", "--spill-dir", spill_dir, "--json"]);
    let health: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    let executors = health["executors"].as_array().cloned().unwrap_or_default();
    executors.iter().filter_map(|executor| executor["tasks"].as_u64()).sum()
}

#[test]
fn who_joins_in_the_middle_of_a_run_gets_tasks_and_who_drains_costs_none() {
    let embedded = busy_project(3_000);
    embedded.succeed(&["run"]);
    let project = busy_project(3_000);
    let mut fleet = Fleet::start(&project, 1);
    let run_id = fleet.lakewright(&["submit", "--detach"]).stdout.trim().to_owned();
    await_some("the first executor works", || (tasks_of(&project, ".lakewright/executors") > 0).then_some(()));
    fleet.add_executor_at("127.0.0.2", ".lakewright/newcomer");
    await_some("the newcomer works", || {
        assert_ne!(fleet.state_of(&run_id), "succeeded", "the run is over and the newcomer had nothing to do");
        (tasks_of(&project, ".lakewright/newcomer") > 0).then_some(())
    });
    assert_eq!(fleet.terminate_executor(0), Some(0), "an executor drains");
    await_some("the run ends", || (fleet.state_of(&run_id) == "succeeded").then_some(()));
    assert_eq!(busy_contents(&project), busy_contents(&embedded));
    let executions = executions(&project.lake(), &run_id);
    assert!(executions.iter().all(|times| *times == 1), "nothing was lost: {executions:?}");
    // The word that it has stopped is taken in after it has ended.
    fleet.await_executors(1);
}
