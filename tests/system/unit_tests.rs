//! `test`: unit tests of models, with readable differences, their places, and exit codes.

use crate::project::Project;

const SOURCE: &str =
    "CREATE EXTERNAL TABLE raw.items (id INT, price DOUBLE, at TIMESTAMP) STORED AS JSON LOCATION 'items/';";
const MODEL: &str = "MODEL (expect (priced (price > 0) ON VIOLATION DROP));\n\
                     SELECT id, price * 2 AS price, at < now() AS past FROM raw.items;";

fn project(test: &str) -> Project {
    Project::job(&[("raw/items.sql", SOURCE), ("curated/items.sql", MODEL), ("tests/items.yaml", test)])
}

const GOOD: &str = "name: prices are doubled, and rows without one are dropped\nmodel: curated.items\n\
                    params: { execution_ts: 2020-01-01T00:00:00Z }\ninputs:\n  raw.items:\n    rows:\n      \
                    - { id: 1, price: 0.1, at: \"2019-06-01T00:00:00Z\" }\n      - { id: 2 }\n      - { id: x, price: 3 }\n\
                    expect:\n  rows:\n    - { id: ~, price: 6 }\n    - { id: 1, price: 0.2, past: true }\n";

#[test]
fn the_tests_of_the_music_job_pass() {
    let project = Project::music(1, 1, 1);
    let answer = project.lakewright(&["test"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.stdout.lines().count() >= 9 && answer.stderr.contains("tests passed"), "{answer:?}");
    let json = project.json(&["test", "--select", "curated.users"]);
    assert_eq!((&json["passed"], &json["failed"]), (&1.into(), &0.into()));
    assert!(json["tests"][0]["duration_s"].as_f64() < Some(5.0), "{json}");
    assert!(!project.path("data/lake").exists(), "a test touches no lake");
}

#[test]
fn a_test_goes_through_the_reader_the_engine_and_the_rules_that_take_rows_out() {
    let project = project(GOOD);
    project.succeed(&["test"]);
}

#[test]
fn a_test_that_fails_says_which_row_and_which_column() {
    let project = project(&GOOD.replace("price: 0.2", "price: 0.3").replace("- { id: ~, price: 6 }", "- { id: 9 }"));
    let answer = project.lakewright(&["test"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    for words in [
        "jobs/test/tests/items.yaml:13): price: expected 0.3, got 0.2",
        "no such row: { id: 9",
        "not expected: { id: NULL, price: 6.0",
    ] {
        assert!(answer.stdout.contains(words), "no {words} in {answer:?}");
    }
    let json = project.lakewright(&["test", "--json"]);
    assert_eq!(json.code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("one document");
    let differences = json["tests"][0]["differences"].as_array().expect("a list");
    let kinds: Vec<_> = differences.iter().map(|difference| difference["kind"].as_str()).collect();
    assert_eq!(kinds, [Some("missing"), Some("value"), Some("unexpected")]);
    assert_eq!(differences[1]["column_name"], "price");
}

#[test]
fn a_test_that_is_wrong_is_told_with_its_place() {
    let without_input = GOOD.replace("raw.items:", "raw.item:");
    let refused = project(&without_input).lakewright(&["test"]);
    refused.assert_refused(2, &["tests/items.yaml:5:", "does not read `raw.item`", "did you mean `raw.items`"]);
    let missing =
        "name: x\nmodel: curated.items\nparams: { execution_ts: 2020-01-01T00:00:00Z }\nexpect: { rows: [] }\n";
    project(missing).lakewright(&["check"]).assert_refused(2, &["no input for it", "raw.items: { rows:"]);
    let misfit = GOOD.replace("- { id: ~, price: 6 }", "- { id: one, price: 6 }");
    let answer = project(&misfit).lakewright(&["test"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.stdout.contains("tests/items.yaml:12") && answer.stdout.contains("does not fit"), "{answer:?}");
    let no_file = GOOD
        .replace("    rows:\n      - { id: 1", "    file: fixtures/none.jsonl\n    #  - { id: 1")
        .replace("      - { id: 2 }\n      - { id: x, price: 3 }\n", "");
    let answer = project(&no_file).lakewright(&["test"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.stdout.contains("cannot be read") && answer.stdout.contains("none.jsonl"), "{answer:?}");
}
