//! What a unit test must be, and what is told of one that is wrong.

use crate::{
    ParamValue, TestRows,
    testing::{compile, findings, folder},
};

const MANIFEST: (&str, &str) = ("job.toml", "name = \"t\"\n[params]\nleast = { type = \"double\", default = 1.0 }\n");
const RAW: (&str, &str) =
    ("raw/events.sql", "CREATE EXTERNAL TABLE raw.events (userId VARCHAR, ts BIGINT) STORED AS JSON LOCATION 'logs/'");
const EVENTS: (&str, &str) = ("staging/events.sql", "SELECT userId, ts FROM raw.events WHERE ts >= :least");

#[test]
fn a_test_has_its_rows_as_json_with_the_columns_of_the_table() {
    let text = "- name: first\n  model: staging.Events\n  params: { least: 2 }\n  inputs:\n    raw.events: { rows: [ \
                { USERID: 66, ts: 1 }, { ts: ~ } ] }\n  expect:\n    partial: true\n    rows:\n      - ts: 1\n\
                - name: second\n  model: staging.events\n  inputs: { raw.events: { file: fixtures/a.jsonl } }\n  \
                expect: { ordered: true, rows: [] }\n";
    let job = compile(&folder(&[MANIFEST, RAW, EVENTS, ("tests/a.yaml", text)])).unwrap();
    let [first, second] = job.tests.as_slice() else { panic!("{:?}", job.tests) };
    assert_eq!((first.name.as_str(), first.line, first.params["least"].clone()), ("first", 1, ParamValue::Double(2.0)));
    let TestRows::Rows(rows) = &first.inputs[&crate::TableName::new("raw", "events").unwrap()] else { panic!() };
    assert_eq!(
        rows.iter().map(|row| row.json.as_str()).collect::<Vec<_>>(),
        ["{\"userId\":66,\"ts\":1}", "{\"ts\":null}"]
    );
    assert_eq!((first.expect.partial, first.expect.ordered, first.expect.rows[0].line), (true, false, 9));
    let file = TestRows::File { path: "tests/fixtures/a.jsonl".to_owned(), line: 12 };
    assert_eq!(second.inputs.values().next(), Some(&file));
    assert!(second.expect.ordered && second.expect.rows.is_empty());
}

#[test]
fn what_is_wrong_in_a_test_is_told_at_its_place() {
    let now = ("staging/now.sql", "SELECT userId, now() AS at FROM staging.events");
    let tests = [
        ("tests/a.yaml", "name: x\nmodl: staging.events\n"),
        ("tests/b.yaml", "name: x\nmodel: staging.event\nexpect: { rows: [] }\n"),
        ("tests/c.yaml", "name: x\nmodel: staging.events\nexpect: { rows: [ { user: a } ], partial: maybe }\n"),
        (
            "tests/d.yaml",
            "name: x\nmodel: staging.events\nparams: { most: 1, least: many }\ninputs:\n  raw.event: { rows: [] }\n  \
             raw.events: { rows: [ { userid: a, USERID: b, tss: 1 } ], file: x }\nexpect: { rows: [] }\n",
        ),
        ("tests/e.yaml", "name: x\nmodel: staging.now\ninputs: { staging.events: { file: ../../a } }\nexpect: []\n"),
        ("tests/f.yaml", "a: [1, 2\n"),
        ("tests/g.yaml", "# nothing\n"),
        ("tests/h.yaml", "- just text\n"),
    ];
    let files: Vec<(&str, &str)> = [MANIFEST, RAW, EVENTS, now].into_iter().chain(tests).collect();
    insta::assert_snapshot!(findings(&files));
}
