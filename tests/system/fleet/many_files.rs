//! A plan that names very many files reaches an executor.
//!
//! `LAKEWRIGHT_FILES` takes another number of files than the small one.

use std::fs;

use super::process::Fleet;
use crate::{project::Project, requirement};

/// Files where no other number is asked for.
const FILES: f64 = 20_000.0;

/// A file system takes only so many names of one file.
const NAMES_MAX: u32 = 10_000;

/// As long as keys of real buckets: a date, an application, an instance and a checksum.
fn name(file: u32) -> String {
    format!(
        "items/2018/11/{:02}/{:02}/music-app-events-production-eu-central-1-instance-{:04}-part-{file:08}-\
         4f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0.json",
        file / 24 % 28 + 1,
        file % 24,
        file % 977,
    )
}

#[test]
fn a_step_over_very_many_files_is_sent_to_an_executor() {
    let files = requirement::number("LAKEWRIGHT_FILES").unwrap_or(FILES);
    let source = "CREATE EXTERNAL TABLE raw.items (id BIGINT) STORED AS JSON LOCATION 'items/';";
    let project = Project::job(&[("raw/items.sql", source), ("curated/items.sql", "SELECT id FROM raw.items;")]);
    let mut file = 0;
    let mut first = project.path("data/raw");
    while f64::from(file) < files {
        let path = project.path("data/raw").join(name(file));
        if file < 28 * 24 {
            fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        }
        // Names of one file: its content is written once.
        if file.is_multiple_of(NAMES_MAX) {
            fs::write(&path, "{\"id\": 1}\n").expect("the file can be written");
            first = path;
        } else {
            fs::hard_link(&first, &path).expect("the file can get another name");
        }
        file += 1;
    }
    // One executor of one slot: its one task gets all of them in one message.
    let fleet = Fleet::start(&project, 1);
    fleet.submit();
    assert_eq!(project.csv("SELECT count(*) AS n, sum(id) AS s FROM curated.items"), format!("n,s\n{file},{file}\n"));
    let shown = project.json(&["show"]);
    let read = &shown["sources"][0];
    assert_eq!([&read["objects"], &read["records"], &read["rejects"]], [file, file, 0], "{read}");
}
