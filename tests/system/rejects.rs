//! Records that do not fit: kept aside with their place, accounted for, and published with the tables.

use std::fs;

use serde_json::Value;

use crate::project::Project;

const SOURCE: &str = "CREATE EXTERNAL TABLE raw.items (id INT, name VARCHAR) STORED AS JSON LOCATION 'items/';";
const ONE: &str = "{\"id\": 1, \"name\": \"one\"}\n\nno json\n{\"id\": \"x\", \"name\": \"misfit\"}\n{\"id\": 2,\n";
const TWO: &str = "{\"id\": 3, \"name\": \"three\"}\n[1]\n";

/// A project with two raw objects: 6 records, of which 3 are no JSON objects.
fn project(options: &str, model: &str) -> Project {
    let source = SOURCE.replace(';', &format!(" OPTIONS ({options});"));
    let project = Project::job(&[("raw/items.sql", &source), ("curated/items.sql", model)]);
    project.write("data/raw/items/one.json", ONE);
    project.write("data/raw/items/two.json", TWO);
    project
}

fn source_of(json: &Value) -> [u64; 5] {
    let source = &json["sources"][0];
    ["records", "rows", "rejects", "left_out", "blank_lines"].map(|name| source[name].as_u64().expect("a count"))
}

const REJECTS: &str = "SELECT object, line, byte_offset, reason, record FROM rejects.items ORDER BY object, line";

#[test]
fn rejects_are_a_table_of_the_same_release() {
    let project = project("", "SELECT id, name FROM raw.items;");
    let run = project.json(&["run"]);
    assert_eq!(source_of(&run), [6, 3, 3, 0, 1]);
    assert_eq!(run["steps"][0]["rejects"], 3);
    assert_eq!(run["sources"][0]["misfits"]["id"], 1);
    assert_eq!(project.csv("SELECT id, name FROM curated.items ORDER BY name"), "id,name\n,misfit\n1,one\n3,three\n");
    let rejects = "object,line,byte_offset,reason,record\n\
                   items/one.json,3,26,malformed,no json\n\
                   items/one.json,5,64,malformed,\"{\"\"id\"\": 2,\"\n\
                   items/two.json,2,27,not_an_object,[1]\n";
    assert_eq!(project.csv(REJECTS), rejects);

    let show = project.json(&["show"]);
    assert_eq!(source_of(&show), [6, 3, 3, 0, 1]);
    let listed = project.succeed(&["rejects", "raw.items"]);
    for word in ["items/one.json:3", "items/two.json:2", "not_an_object", "no json"] {
        assert!(listed.contains(word), "no {word} in {listed}");
    }
    let run_id = run["run_id"].as_str().expect("a run has an id");
    let json = project.json(&["rejects", "--run", run_id, "--limit", "2"]);
    assert_eq!(json["sources"][0]["total"], 3);
    assert_eq!(json["sources"][0]["rejects"].as_array().map(Vec::len), Some(2));
    assert!(project.lakewright(&["run"]).stderr.contains("raw.items") || project.json(&["run"])["release"].is_null());
}

#[test]
fn an_object_that_is_mended_takes_its_rejects_along() {
    let project = project("", "SELECT id, name FROM raw.items;");
    project.succeed(&["run"]);
    project.write("data/raw/items/one.json", "{\"id\": 1}\n{\"id\": 2}\n");
    project.succeed(&["run"]);
    assert_eq!(project.csv("SELECT object, line FROM rejects.items"), "object,line\nitems/two.json,2\n");
    project.write("data/raw/items/two.json", "{\"id\": 3}\n");
    project.succeed(&["run"]);
    assert_eq!(project.csv("SELECT count(*) AS n FROM rejects.items"), "n\n0\n");
    assert!(project.lakewright(&["rejects"]).stderr.contains("no rejects"));
}

#[test]
fn an_incremental_run_adds_the_rejects_of_new_objects() {
    let project = project("", "MODEL (kind INCREMENTAL_BY_FILE);\nSELECT id, name FROM raw.items;");
    project.succeed(&["run"]);
    project.write("data/raw/items/three.json", "{\"id\": 4}\n17\n");
    let run = project.json(&["run"]);
    assert_eq!(source_of(&run), [2, 1, 1, 0, 0], "only the new object is read");
    assert_eq!(project.csv("SELECT count(*) AS n, count(DISTINCT run_id) AS r FROM rejects.items"), "n,r\n4,2\n");
}

#[test]
fn too_many_rejects_fail_the_run_before_anything_is_published() {
    let project = project("max_rejects '2'", "SELECT id, name FROM raw.items;");
    project.lakewright(&["run"]).assert_refused(1, &["raw.items", "3 of 6", "max_rejects", "lakewright rejects"]);
    project.lakewright(&["sql", "SELECT * FROM curated.items"]).assert_refused(2, &["curated.items"]);
    let run_id = project.json(&["show"])["run_id"].as_str().expect("a run has an id").to_owned();
    let listed = project.succeed(&["rejects", "--run", &run_id]);
    assert!(listed.contains("items/one.json:5"), "{listed}");

    let relaxed = SOURCE.replace(';', " OPTIONS (max_rejects '3');");
    project.write("jobs/test/raw/items.sql", &relaxed);
    project.succeed(&["run"]);
    assert_eq!(project.csv("SELECT count(*) AS n FROM rejects.items"), "n\n3\n");
}

#[test]
fn a_ratio_of_rejects_above_a_hundred_fails_the_run() {
    let project = project("", "SELECT id, name FROM raw.items;");
    project.write("data/raw/items/one.json", &format!("{}{}", "{\"id\": 1}\n".repeat(9_000), "bad\n".repeat(101)));
    project.lakewright(&["run"]).assert_refused(1, &["raw.items", "max_reject_ratio is 0.01"]);
    let source = SOURCE.replace(';', " OPTIONS (max_reject_ratio 0.5);");
    project.write("jobs/test/raw/items.sql", &source);
    project.succeed(&["run"]);
}

#[test]
fn dropmalformed_leaves_out_and_counts() {
    let project = project("mode 'DROPMALFORMED'", "SELECT name FROM raw.items;");
    let run = project.json(&["run"]);
    assert_eq!(source_of(&run), [6, 2, 0, 4, 1]);
    assert_eq!(project.csv("SELECT name FROM curated.items ORDER BY name"), "name\none\nthree\n");
    assert!(project.lakewright(&["rejects"]).stderr.contains("no rejects"));
}

#[test]
fn what_no_query_reads_is_accounted_for_too() {
    let project = project("", "SELECT id FROM raw.items WHERE false LIMIT 1;");
    assert_eq!(source_of(&project.json(&["run"])), [6, 3, 3, 0, 1]);
    let joined = "SELECT a.id FROM raw.items AS a JOIN raw.items AS b ON a.id = b.id;";
    project.write("jobs/test/curated/items.sql", joined);
    project.write("jobs/test/curated/names.sql", "SELECT name FROM raw.items;");
    assert_eq!(source_of(&project.json(&["run"])), [6, 3, 3, 0, 1], "read several times, counted once");
    assert_eq!(project.csv("SELECT count(*) AS n FROM rejects.items"), "n\n3\n");
}

#[test]
fn rows_and_rejects_do_not_depend_on_the_number_of_partitions() {
    let mut text = String::new();
    for id in 0..40_000 {
        let line = match id % 500 {
            0 => format!("{{\"id\": {id}, \"name\": \"{}\"", "x".repeat(70)),
            1 => String::new(),
            _ => format!("{{\"id\": {id}, \"name\": \"{}\"}}", "x".repeat(70)),
        };
        text.push_str(&line);
        text.push('\n');
    }
    let is_record = |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|value| value.is_object());
    let expected = text.lines().filter(is_record).count();
    let mut seen = Vec::new();
    for threads in ["1", "2", "16"] {
        let project = project("", "SELECT id, name FROM raw.items;");
        fs::remove_file(project.path("data/raw/items/one.json")).expect("the file can be removed");
        project.write("data/raw/items/two.json", &text);
        let run = project.json(&["run", "--threads", threads]);
        let rows = project.csv("SELECT count(*) AS n, sum(id) AS s FROM curated.items");
        seen.push((source_of(&run), rows, project.csv(REJECTS)));
    }
    assert_eq!(seen[0].0, [39_920, expected as u64, 80, 0, 80]);
    assert!(seen.iter().all(|other| *other == seen[0]));
}

#[test]
fn objects_that_are_values_are_read_and_rows_know_where_they_come_from() {
    let model = "SELECT id, name, _rescued, _metadata.file_path AS path, _metadata.line AS line FROM raw.items;";
    let project = project("rescuedDataColumn '_rescued'", model);
    project.write(
        "data/raw/items/one.json",
        "[\n{\"id\": 1, \"name\": \"one\"},\n{\"id\": 2,},\n{\"id\": 3.5, \"more\": []}\n]\n",
    );
    project.write("data/raw/items/two.json", "{\n  \"id\": 4,\n  \"name\": \"four\"\n}\n");
    let run = project.json(&["run"]);
    assert_eq!(source_of(&run), [4, 3, 1, 0, 0]);
    let rows = "id,name,_rescued,path,line\n1,one,,items/one.json,2\n4,four,,items/two.json,1\n\
                ,,\"{\"\"id\"\":3.5,\"\"more\"\":[]}\",items/one.json,4\n";
    assert_eq!(project.csv("SELECT * FROM curated.items ORDER BY id"), rows);
    let rejects = "object,line,byte_offset,reason,record\nitems/one.json,3,28,malformed,\"{\"\"id\"\": 2,}\"\n";
    assert_eq!(project.csv(REJECTS), rejects);

    let lines = SOURCE.replace(';', " OPTIONS (multiLine 'false', max_reject_ratio 1);");
    project.write("jobs/test/raw/items.sql", &lines);
    project.write("jobs/test/curated/items.sql", "SELECT id, name FROM raw.items;");
    assert_eq!(source_of(&project.json(&["run"])), [9, 1, 8, 0, 0]);
}

/// A gzip member whose end is missing.
fn cut_gzip() -> &'static [u8] {
    // What `gzip` makes of `{"id": 7, "name": "seven"}`, without its checksum.
    &[
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 0x1a, 0, 0xe5, 0xff, b'{', b'"', b'i', b'd', b'"', b':', b' ', b'7',
        b',', b' ', b'"', b'n', b'a', b'm', b'e', b'"', b':', b' ', b'"', b's', b'e', b'v', b'e', b'n', b'"', b'}',
    ]
}

#[test]
fn an_object_that_is_found_broken_is_left_out_as_a_whole_and_named() {
    let project = project("", "SELECT id, name FROM raw.items;");
    fs::write(project.path("data/raw/items/cut.json.gz"), cut_gzip()).expect("a file can be written");
    let run = project.json(&["run"]);
    assert_eq!(source_of(&run), [7, 3, 4, 0, 1]);
    assert_eq!(project.csv("SELECT count(*) AS n FROM curated.items WHERE id = 7"), "n\n0\n");
    let broken = "SELECT object, line, reason FROM rejects.items WHERE reason = 'unreadable'";
    assert_eq!(project.csv(broken), "object,line,reason\nitems/cut.json.gz,1,unreadable\n");
    let files = project.lake_files();
    assert!(files.iter().any(|file| file.ends_with("curated.items/excluded-1.json")), "{files:?}");
    assert_eq!(project.json(&["run"])["release"], Value::Null, "it is not read again until it changes");

    let dropping = SOURCE.replace(';', " OPTIONS (mode 'DROPMALFORMED');");
    project.write("jobs/test/raw/items.sql", &dropping);
    assert_eq!(source_of(&project.json(&["run"])), [7, 2, 0, 5, 1]);
    project.write("jobs/test/raw/items.sql", &SOURCE.replace(';', " OPTIONS (mode 'FAILFAST');"));
    for name in ["one.json", "two.json"] {
        project.write(&format!("data/raw/items/{name}"), "{\"id\": 1}\n");
    }
    project.lakewright(&["run"]).assert_refused(1, &["items/cut.json.gz", "gzip"]);
}

#[test]
fn a_replay_reads_the_objects_with_rejects_again_and_no_table_changes_otherwise() {
    let by_file = "MODEL (kind INCREMENTAL_BY_FILE);\nSELECT id, name FROM raw.items;";
    let project = project("", by_file);
    project.write("jobs/test/curated/names.sql", "SELECT name FROM raw.items;");
    project.write("data/raw/items/good.json", "{\"id\": 9}\n");
    project.succeed(&["run"]);
    assert_eq!(project.json(&["run"])["release"], Value::Null);
    let rows = project.csv("SELECT id, name FROM curated.items ORDER BY id, name");

    let replayed = project.json(&["rejects", "--replay", "raw.items"]);
    let again = replayed["run_id"].as_str().expect("an id");
    assert!(replayed["release"].is_number(), "{replayed}");
    for (table, step) in crate::project::steps(&replayed) {
        assert_ne!(step["action"]["work"], "skip", "{table}: {step}");
    }
    assert_eq!(project.csv("SELECT id, name FROM curated.items ORDER BY id, name"), rows);
    let kept = format!("SELECT count(*) AS n FROM rejects.items WHERE run_id = '{again}'");
    assert_eq!(project.csv(&kept), "n\n3\n");
    assert_eq!(project.csv("SELECT count(*) AS n, count(DISTINCT run_id) AS r FROM rejects.items"), "n,r\n3,1\n");
    assert_eq!(project.json(&["run"])["release"], Value::Null, "what was read again is known");

    project.write("data/raw/items/one.json", "{\"id\": 1}\n");
    project.write("data/raw/items/two.json", "{\"id\": 2}\n");
    project.succeed(&["run"]);
    let answer = project.lakewright(&["rejects", "--replay"]);
    assert!(answer.stderr.contains("no rejects"), "{answer:?}");
}
