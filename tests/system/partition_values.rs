//! Odd partition values from raw JSON to other engines' readers.

use serde_json::json;

use crate::{engines::run_script, project::Project};

const SOURCE: &str = "CREATE EXTERNAL TABLE raw.items (id INT, place VARCHAR) STORED AS JSON LOCATION 'items/';";
const MODEL: &str = "MODEL (partitioned_by (place)); SELECT id, place FROM raw.items;";
/// What paths, URLs, SQL and Hive's naming could trip over.
const VALUES: [&str; 14] = [
    "a/b",
    "100%",
    "%2F",
    "two words",
    " edges ",
    "🎵 песня",
    "a=b",
    "a:b",
    "quote'\"",
    "back\\slash",
    "..",
    ".hidden",
    "_under",
    "__HIVE_DEFAULT_PARTITION__x",
];

fn project() -> Project {
    Project::job(&[("raw/items.sql", SOURCE), ("curated/items.sql", MODEL)])
}

#[test]
fn odd_partition_values_come_back_as_they_were() {
    let project = project();
    let values = VALUES.iter().map(|value| json!(value)).chain([json!(null)]);
    let lines: Vec<String> =
        (0..).zip(values).map(|(id, place)| json!({"id": id, "place": place}).to_string()).collect();
    project.write("data/raw/items/all.json", &lines.join("\n"));
    project.succeed(&["run"]);
    let rows = project.succeed(&["sql", "SELECT id, place FROM curated.items ORDER BY id", "--format", "ndjson"]);
    let rows: Vec<serde_json::Value> =
        rows.lines().map(|row| serde_json::from_str(row).expect("a row is JSON")).collect();
    for (id, value) in VALUES.iter().enumerate() {
        assert_eq!(rows[id]["place"], *value);
    }
    assert!(rows[VALUES.len()]["place"].is_null(), "{rows:?}");
    let raw = project.path("data/raw/items/all.json");
    run_script("odd partition values", "partition_values.py", &[&raw, &project.lake()]);
}

#[test]
fn empty_text_in_a_partition_column_is_refused() {
    let project = project();
    project.write("data/raw/items/all.json", r#"{"id": 1, "place": ""}"#);
    project.lakewright(&["run"]).assert_refused(1, &["place", "empty"]);
    project.lakewright(&["sql", "SELECT * FROM curated.items"]).assert_refused(2, &["curated.items"]);
}

#[test]
fn an_instant_in_a_partition_column_has_its_zone_for_readers_in_other_zones() {
    let source = "CREATE EXTERNAL TABLE raw.items (id INT, at TIMESTAMP) STORED AS JSON LOCATION 'items/';";
    let model = "MODEL (partitioned_by (hour)); SELECT id, date_trunc('hour', at) AS hour FROM raw.items;";
    let project = Project::job(&[("raw/items.sql", source), ("curated/items.sql", model)]);
    project.write("data/raw/items/all.json", r#"{"id": 1, "at": "2018-11-01T05:20:00Z"}"#);
    project.succeed(&["run"]);
    let log = "curated/items/_delta_log/00000000000000000000.json";
    let text = std::fs::read_to_string(project.lake().join(log)).expect("the table has a log");
    assert!(text.contains(r#""partitionValues":{"hour":"2018-11-01T05:00:00.000000Z"}"#), "{text}");
    let query = "SELECT id FROM curated.items WHERE hour = TIMESTAMP '2018-11-01 05:00:00'";
    assert_eq!(project.csv(query), "id\n1\n");
}
