//! TPC-H's 22 queries as models: equal embedded and on a fleet, and to what DuckDB answers over the same raw files.
//!
//! `LAKEWRIGHT_TPCH_SCALE` takes another scale factor than the small one.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use serde_json::Value;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

use super::process::Fleet;
use crate::{engines::run_script, project::Project, requirement, tidy};

/// Scale factor where none is asked for: 60,000 line items.
const SCALE: f64 = 0.01;

/// Files of each table.
const PARTS: i32 = 2;

/// A table's columns with their types, in the order of the generator.
type Columns = &'static [(&'static str, &'static str)];

const TABLES: [(&str, Columns); 8] = [
    ("region", &[("r_regionkey", "BIGINT"), ("r_name", "VARCHAR"), ("r_comment", "VARCHAR")]),
    (
        "nation",
        &[("n_nationkey", "BIGINT"), ("n_name", "VARCHAR"), ("n_regionkey", "BIGINT"), ("n_comment", "VARCHAR")],
    ),
    (
        "part",
        &[
            ("p_partkey", "BIGINT"),
            ("p_name", "VARCHAR"),
            ("p_mfgr", "VARCHAR"),
            ("p_brand", "VARCHAR"),
            ("p_type", "VARCHAR"),
            ("p_size", "INT"),
            ("p_container", "VARCHAR"),
            ("p_retailprice", "DECIMAL(15, 2)"),
            ("p_comment", "VARCHAR"),
        ],
    ),
    (
        "supplier",
        &[
            ("s_suppkey", "BIGINT"),
            ("s_name", "VARCHAR"),
            ("s_address", "VARCHAR"),
            ("s_nationkey", "BIGINT"),
            ("s_phone", "VARCHAR"),
            ("s_acctbal", "DECIMAL(15, 2)"),
            ("s_comment", "VARCHAR"),
        ],
    ),
    (
        "customer",
        &[
            ("c_custkey", "BIGINT"),
            ("c_name", "VARCHAR"),
            ("c_address", "VARCHAR"),
            ("c_nationkey", "BIGINT"),
            ("c_phone", "VARCHAR"),
            ("c_acctbal", "DECIMAL(15, 2)"),
            ("c_mktsegment", "VARCHAR"),
            ("c_comment", "VARCHAR"),
        ],
    ),
    (
        "partsupp",
        &[
            ("ps_partkey", "BIGINT"),
            ("ps_suppkey", "BIGINT"),
            ("ps_availqty", "INT"),
            ("ps_supplycost", "DECIMAL(15, 2)"),
            ("ps_comment", "VARCHAR"),
        ],
    ),
    (
        "orders",
        &[
            ("o_orderkey", "BIGINT"),
            ("o_custkey", "BIGINT"),
            ("o_orderstatus", "VARCHAR"),
            ("o_totalprice", "DECIMAL(15, 2)"),
            ("o_orderdate", "DATE"),
            ("o_orderpriority", "VARCHAR"),
            ("o_clerk", "VARCHAR"),
            ("o_shippriority", "INT"),
            ("o_comment", "VARCHAR"),
        ],
    ),
    (
        "lineitem",
        &[
            ("l_orderkey", "BIGINT"),
            ("l_partkey", "BIGINT"),
            ("l_suppkey", "BIGINT"),
            ("l_linenumber", "INT"),
            ("l_quantity", "DECIMAL(15, 2)"),
            ("l_extendedprice", "DECIMAL(15, 2)"),
            ("l_discount", "DECIMAL(15, 2)"),
            ("l_tax", "DECIMAL(15, 2)"),
            ("l_returnflag", "VARCHAR"),
            ("l_linestatus", "VARCHAR"),
            ("l_shipdate", "DATE"),
            ("l_commitdate", "DATE"),
            ("l_receiptdate", "DATE"),
            ("l_shipinstruct", "VARCHAR"),
            ("l_shipmode", "VARCHAR"),
            ("l_comment", "VARCHAR"),
        ],
    ),
];

/// Writes rows, which the generator spells as fields with `|` between them, as JSON lines.
fn write_rows(path: &Path, columns: Columns, rows: impl Iterator<Item = impl Display>) {
    let mut file = BufWriter::new(File::create(path).expect("the file can be made"));
    for row in rows {
        let row = row.to_string();
        let fields = columns.iter().zip(row.split('|')).map(|((name, data_type), text)| {
            let is_text = matches!(*data_type, "VARCHAR" | "DATE");
            let value = if is_text { Value::from(text).to_string() } else { text.to_owned() };
            format!("\"{name}\": {value}")
        });
        writeln!(file, "{{{}}}", fields.collect::<Vec<_>>().join(", ")).expect("the file can be written");
    }
    file.flush().expect("the file can be written");
}

fn write_table(folder: &Path, table: &str, columns: Columns, scale: f64, part: i32) {
    let path = folder.join(table).join(format!("{part}.json"));
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder can be made");
    match table {
        "region" => write_rows(&path, columns, RegionGenerator::new(scale, part, PARTS).iter()),
        "nation" => write_rows(&path, columns, NationGenerator::new(scale, part, PARTS).iter()),
        "part" => write_rows(&path, columns, PartGenerator::new(scale, part, PARTS).iter()),
        "supplier" => write_rows(&path, columns, SupplierGenerator::new(scale, part, PARTS).iter()),
        "customer" => write_rows(&path, columns, CustomerGenerator::new(scale, part, PARTS).iter()),
        "partsupp" => write_rows(&path, columns, PartSuppGenerator::new(scale, part, PARTS).iter()),
        "orders" => write_rows(&path, columns, OrderGenerator::new(scale, part, PARTS).iter()),
        _ => write_rows(&path, columns, LineItemGenerator::new(scale, part, PARTS).iter()),
    }
}

/// A project whose job has a source and a staging table for each table, and a model for each query.
fn project(scale: f64) -> Project {
    let project = Project::job(&[]);
    for (table, columns) in TABLES {
        // The two smallest tables are not cut: the generator gives all of their rows for each part.
        let parts = if matches!(table, "region" | "nation") { 1..=1 } else { 1..=PARTS };
        parts.for_each(|part| write_table(&project.path("data/raw"), table, columns, scale, part));
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
