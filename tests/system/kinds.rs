//! Kinds that compute rows by key, by partition and by time: whatever comes, changes and goes, and in whatever order, their
//! tables hold what computing everything gives.

mod late;
mod nested;
mod plans;
mod random;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::project::{Project, steps};

const SOURCES: [(&str, &str); 4] = [
    (
        "raw/plays.sql",
        "CREATE EXTERNAL TABLE raw.plays (id BIGINT, who VARCHAR, song VARCHAR, at BIGINT, cents BIGINT)\n\
         STORED AS JSON LOCATION 'plays/' OPTIONS (on_delete 'REMOVE', allow_empty 'true');",
    ),
    (
        "raw/people.sql",
        "CREATE EXTERNAL TABLE raw.people (who VARCHAR, city VARCHAR)\n\
         STORED AS JSON LOCATION 'people/' OPTIONS (on_delete 'REMOVE');",
    ),
    (
        "staging/plays.sql",
        "MODEL (kind INCREMENTAL_BY_FILE);\n\
         SELECT id, who, song, timestamp_millis(at) AS at, cents FROM raw.plays",
    ),
    ("staging/people.sql", "MODEL (kind INCREMENTAL_BY_FILE);\nSELECT who, city FROM raw.people"),
];

/// The work that each step of a run or a plan does.
pub(crate) fn works(document: &Value) -> BTreeMap<String, String> {
    let work = |step: &Value| step["action"]["work"].as_str().expect("a step has its work").to_owned();
    steps(document).into_iter().map(|(table, step)| (table.to_owned(), work(step))).collect()
}

fn reason(document: &Value, table: &str) -> String {
    steps(document)[table]["action"]["reason"].as_str().expect("a step has its reason").to_owned()
}

/// A project with the sources, their copies and some models.
pub(crate) fn project(models: &[(&str, &str)]) -> Project {
    let project = Project::job(&[&SOURCES[..], models].concat());
    people(&project, 0, &[("ann", "Rome"), ("bob", "Oslo")]);
    project
}

pub(crate) fn people(project: &Project, object: u32, people: &[(&str, &str)]) {
    let lines = people.iter().map(|(who, city)| format!("{{\"who\": \"{who}\", \"city\": \"{city}\"}}\n"));
    project.write(&format!("data/raw/people/{object:03}.json"), &lines.collect::<String>());
}

/// One play: its id, who, and the hour of November 2018 in which it was.
pub(crate) type Play<'a> = (u32, &'a str, u32);

pub(crate) fn plays(project: &Project, object: u32, plays: &[Play<'_>]) {
    let lines = plays.iter().map(|(id, who, hour)| {
        let at = 1_541_030_400_000_u64 + u64::from(*hour) * 3_600_000;
        format!("{{\"id\": {id}, \"who\": \"{who}\", \"song\": \"s{}\", \"at\": {at}, \"cents\": {id}}}\n", id % 7)
    });
    project.write(&format!("data/raw/plays/{object:03}.json"), &lines.collect::<String>());
}
