//! A job that is proposed for raw data: it compiles, runs, and has every record.

use std::fs;

use crate::project::Project;

#[test]
fn a_proposed_job_is_checked_and_runs_and_has_every_record() {
    let project = Project::empty();
    let events = "{\"userId\": \"7\", \"ts\": 1541106106796, \"length\": null, \"a b\": true, \"tags\": [\"x\"]}\n\
                  {\"userId\": 8, \"ts\": 5, \"length\": 1.5, \"geo\": {\"lat\": 1, \"lon\": 2.5}}\nno json\n";
    project.write("data/incoming/log data/2018/11/a.json", events);
    project.write("data/incoming/log data/b.json", "[\n{\"userId\": \"9\", \"at\": \"2018-11-13T12:00:00Z\"}\n]\n");
    project.write("data/incoming/Songs/x.json", "{\n  \"title\": \"One\",\n  \"day\": \"2018-11-13\"\n}\n");
    project.write("data/incoming/empty/x.json", "\n");
    let told = project.succeed(&["init", ".", "--from", "data/incoming"]);
    for word in ["incoming", "raw.log_data", "3 records", "raw.songs"] {
        assert!(told.contains(word), "no {word} in {told}");
    }
    let source = fs::read_to_string(project.path("jobs/incoming/raw/log_data.sql")).expect("a source");
    for line in [
        "-- 3 records of 2 raw objects.",
        "-- 1 records are no JSON objects",
        "  userId VARCHAR,  -- mostly VARCHAR; 1 of other type",
        "  length DOUBLE,  -- in 66 % of records",
        "  \"a b\" BOOLEAN,  -- in 33 % of records",
        "  geo STRUCT<\"lat\": BIGINT, \"lon\": DOUBLE>,",
        "  at TIMESTAMP  -- in 33 % of records",
        "LOCATION 'log data/'",
    ] {
        assert!(source.contains(line), "no {line} in {source}");
    }
    project.succeed(&["check"]);
    project.succeed(&["run"]);
    let rows = "userId,ts,a_b\n7,1541106106796,true\n8,5,\n9,,\n";
    assert_eq!(project.csv("SELECT userId, ts, a_b FROM staging.log_data ORDER BY userId"), rows);
    assert_eq!(project.csv("SELECT title, day FROM staging.songs"), "title,day\nOne,2018-11-13\n");
    assert_eq!(project.csv("SELECT count(*) AS n FROM rejects.log_data"), "n\n1\n");

    project.lakewright(&["init", ".", "--from", "data/incoming"]).assert_refused(2, &["jobs/incoming", "overwritten"]);
    project.lakewright(&["init", ".", "--from", "data/nothing"]).assert_refused(2, &["data/nothing"]);
}

#[test]
fn objects_of_one_folder_are_one_source_whatever_their_size() {
    let project = Project::empty();
    let mut lines = String::new();
    for id in 0..60_000 {
        lines.push_str(&format!("{{\"id\": {id}, \"name\": \"{}\"}}\n", "x".repeat(id % 50)));
    }
    project.write("raw/large.json", &lines);
    project.write("raw/late.json", "{\"id\": 1.5, \"late\": {\"k\": []}}\n");
    project.succeed(&["init", "here", "--from", "raw"]);
    let source = fs::read_to_string(project.path("here/jobs/raw/raw/records.sql")).expect("a source");
    let columns = "  id DOUBLE,\n  name VARCHAR,  -- in 99 % of records\n  \
                   late STRUCT<\"k\": ARRAY<VARCHAR>>  -- in under 1 % of records\n";
    assert!(source.contains(columns), "{source}");
    project.succeed(&["run", "here/jobs/raw"]);
}
