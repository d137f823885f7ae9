//! What executors log of a run is shown with what its driver logs.

use super::process::Fleet;
use crate::{project::Project, service::process::await_some};

#[test]
fn the_log_of_a_run_has_what_its_executors_say_with_run_and_step_in_each_line() {
    let source =
        "CREATE EXTERNAL TABLE raw.items (id BIGINT) STORED AS JSON LOCATION 'items/' OPTIONS (mode 'FAILFAST');";
    let model = "SELECT id % 2 AS odd, count(*) AS n FROM raw.items GROUP BY id % 2;";
    let project = Project::job(&[("raw/items.sql", source), ("curated/items.sql", model)]);
    project.write("data/raw/items/a.json", "{\"id\": 1}\n{\"id\": 2}\n");
    project.write("data/raw/items/b.json", "{\"id\": 3}\n");
    let fleet = Fleet::start(&project, 2);
    let submitted = fleet.lakewright(&["submit", "--json"]);
    let good = serde_json::from_str::<serde_json::Value>(&submitted.stdout).expect("a document")["run_id"].clone();
    let good = good.as_str().expect("a run").to_owned();

    let lines = |run_id: &str, message: &str| -> Vec<serde_json::Value> {
        let answer = fleet.lakewright(&["logs", run_id, "--json"]);
        let document: serde_json::Value = serde_json::from_str(&answer.stdout).expect("a document");
        let lines = document["lines"].as_array().expect("lines").iter();
        assert!(lines.clone().all(|line| line["run_id"] == run_id), "{answer:?}");
        lines.filter(|line| line["message"] == message).cloned().collect()
    };
    // Executors store their lines by themselves, and a run does not wait for it.
    let ended = await_some("executors tell of their tasks", || {
        let ended = lines(&good, "task ended");
        (ended.iter().filter_map(|line| line["rows_read"].as_u64()).sum::<u64>() == 3).then_some(ended)
    });
    for line in &ended {
        assert_eq!(line["step"], "curated.items", "{line}");
        assert!(line["executor"].as_str().is_some_and(|place| place.starts_with("127.0.0.1:")), "{line}");
        assert!(line["stage"].is_u64() && line["task"].is_u64() && line["took_s"].is_f64(), "{line}");
    }
    let stages: std::collections::BTreeSet<u64> = ended.iter().filter_map(|line| line["stage"].as_u64()).collect();
    assert!(stages.len() > 1, "tasks that write nothing are of the step too: {ended:?}");

    project.write("data/raw/items/b.json", "{\"id\": \"poison\"}\n");
    assert_eq!(fleet.lakewright(&["submit"]).code, Some(1));
    let bad = project.json(&["runs"])["runs"][0]["run_id"].as_str().expect("a run").to_owned();
    let failed = await_some("an executor tells why its task failed", || lines(&bad, "task failed").pop());
    let error = failed["error"].as_str().unwrap_or_default();
    assert!(error.contains("b.json") && !error.contains("lakewright-error["), "{failed}");
    let followed = fleet.lakewright(&["logs", &bad, "--step", "curated.items", "--follow"]);
    assert!(followed.stdout.contains("task failed"), "{followed:?}");
}
