//! TPC-H's 22 queries as models: equal embedded and on a fleet, and to what DuckDB answers over the same raw files.
//!
//! `LAKEWRIGHT_TPCH_SCALE` takes another scale factor than the small one.

use std::{collections::BTreeMap, fs};

use super::{
    process::Fleet,
    tpch_data::{TABLES, parts, write_table},
};
use crate::{engines::run_script, project::Project, requirement, tidy};

/// Scale factor where none is asked for: 60,000 line items.
const SCALE: f64 = 0.01;

/// A project whose job has a source and a staging table for each table, and a model for each query.
fn project(scale: f64) -> Project {
    let project = Project::job(&[]);
    for (table, columns) in TABLES {
        parts(table).for_each(|part| write_table(&project.path("data/raw"), table, columns, scale, part));
        let declared: Vec<String> = columns.iter().map(|(name, data_type)| format!("{name} {data_type}")).collect();
        let source = format!(
            "CREATE EXTERNAL TABLE raw.{table} ({}) STORED AS JSON LOCATION '{table}/' OPTIONS (mode 'FAILFAST');",
            declared.join(", ")
        );
        project.write(&format!("jobs/test/raw/{table}.sql"), &source);
        project.write(&format!("jobs/test/staging/{table}.sql"), &format!("SELECT * FROM raw.{table};"));
    }
    for (name, query) in queries() {
        project.write(&format!("jobs/test/curated/{name}.sql"), &format!("{query};"));
    }
    let columns: BTreeMap<&str, BTreeMap<&str, &str>> =
        TABLES.iter().map(|(table, columns)| (*table, columns.iter().copied().collect())).collect();
    project.write("columns.json", &serde_json::to_string(&columns).expect("names are JSON"));
    project
}

fn queries() -> BTreeMap<String, String> {
    let folder = tidy::root().join("tests/oracle/tpch");
    let files = fs::read_dir(folder).expect("the queries are there").flatten();
    let query = |file: fs::DirEntry| {
        let name = file.path().file_stem()?.to_str()?.to_owned();
        Some((name, fs::read_to_string(file.path()).ok()?))
    };
    files.filter_map(query).collect()
}

/// Rows with their floats to nine digits: sums of floats depend on the order of rows.
fn rounded(rows: &[String]) -> Vec<String> {
    let cell = |text: &str| match text.parse::<f64>() {
        Ok(number) if text.contains('.') => format!("{number:.9e}"),
        _ => text.to_owned(),
    };
    rows.iter().map(|row| row.split(',').map(cell).collect::<Vec<_>>().join(",")).collect()
}

#[test]
fn the_queries_of_tpc_h_give_duckdbs_answers_embedded_and_on_a_fleet() {
    let scale = requirement::number("LAKEWRIGHT_TPCH_SCALE").unwrap_or(SCALE);
    let project = project(scale);
    let names = queries();
    assert_eq!(names.len(), 22);
    let tables: Vec<String> = names.keys().map(|name| format!("curated.{name}")).collect();
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    project.succeed(&["run"]);
    let embedded = project.contents(&tables);
    fs::remove_dir_all(project.lake()).expect("the lake can be removed");

    let fleet = Fleet::start(&project, 2);
    fleet.submit();
    let on_fleet = project.contents(&tables);
    for table in &tables {
        assert_eq!(rounded(&on_fleet[*table]), rounded(&embedded[*table]), "{table}");
    }
    let queries = tidy::root().join("tests/oracle/tpch");
    let (raw, lake, columns) = (project.path("data/raw"), project.lake(), project.path("columns.json"));
    run_script("TPC-H on a fleet", "tpch.py", &[&raw, &lake, &columns, &queries]);
}
