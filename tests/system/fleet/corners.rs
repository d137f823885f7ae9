//! SQL that distribution could break, as models: every row is equal embedded, on a fleet, and, where Ballista's exchanges
//! have no say, whatever the partitions are.

use std::collections::BTreeMap;

use super::{
    corner_cases::{MODELS, PARTITIONED, SOURCES, dims, facts},
    process::Fleet,
};
use crate::{project::Project, tidy};

fn project() -> Project {
    let project = Project::job(&SOURCES);
    let facts = facts();
    let lines: Vec<&str> = facts.lines().collect();
    for (part, lines) in lines.chunks(lines.len().div_ceil(3)).enumerate() {
        project.write(&format!("data/raw/facts/{part}.json"), &format!("{}\n", lines.join("\n")));
    }
    project.write("data/raw/dims/dims.json", &dims());
    for (path, sql) in MODELS.iter().copied().chain([PARTITIONED]) {
        project.write(&format!("jobs/test/{path}.sql"), &format!("{sql};\n"));
    }
    project
}

fn contents(project: &Project) -> BTreeMap<String, Vec<String>> {
    let tables: Vec<String> =
        MODELS.iter().copied().chain([PARTITIONED]).map(|(path, _)| path.replace('/', ".")).collect();
    project.contents(&tables.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn sql_means_the_same_embedded_and_on_a_fleet() {
    let project = project();
    project.succeed(&["run", "--threads", "1"]);
    let alone = contents(&project);
    assert!(alone.values().filter(|rows| !rows.is_empty()).count() >= MODELS.len() - 2, "models are empty");
    std::fs::remove_dir_all(project.lake()).expect("the lake can be removed");
    project.succeed(&["run", "--threads", "4"]);
    assert_equal(&contents(&project), &alone, "in four partitions");
    std::fs::remove_dir_all(project.lake()).expect("the lake can be removed");
    let fleet = Fleet::start(&project, 2);
    fleet.submit();
    assert_equal(&contents(&project), &alone, "on a fleet");
}

fn assert_equal(got: &BTreeMap<String, Vec<String>>, expected: &BTreeMap<String, Vec<String>>, how: &str) {
    let mut wrong = Vec::new();
    for (table, rows) in expected {
        if got[table] != *rows {
            let first = got[table].iter().zip(rows).find(|(got, expected)| got != expected);
            wrong.push(format!("{table}: {} rows, expected {}; {first:?}", got[table].len(), rows.len()));
        }
    }
    assert!(wrong.is_empty(), "{how}:\n{}", wrong.join("\n"));
}

/// The rows of a table of a document, by the first cell.
fn families(document: &str) -> BTreeMap<String, Vec<String>> {
    let section = document.split("| family | functions |").nth(1).expect("the table of functions");
    let rows = section.lines().skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let name = cells.next().expect("a family").to_owned();
        let functions =
            cells.next().expect("functions").split_whitespace().map(|name| name.trim_matches('`').to_owned());
        (name, functions.collect())
    };
    rows.map(row).collect()
}

#[test]
fn the_corners_call_functions_of_every_family() {
    let document = std::fs::read_to_string(tidy::root().join("docs/sql.md")).expect("the document is there");
    let families = families(&document);
    assert!(families.len() > 10, "{families:?}");
    let called = |function: &String| {
        let call = format!("{function}(");
        let is_word =
            |sql: &str, at: usize| !sql[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
        let is_called = |sql: &str| sql.match_indices(&call).any(|(at, _)| is_word(sql, at));
        function == "div" || MODELS.iter().any(|(_, sql)| is_called(sql))
    };
    let uncovered: Vec<&String> = families
        .iter()
        .filter(|(_, functions)| functions.iter().filter(|function| called(function)).count() < 2)
        .map(|(name, _)| name)
        .collect();
    assert!(uncovered.is_empty(), "{uncovered:?}");
}
