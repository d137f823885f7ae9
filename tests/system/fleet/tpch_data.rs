//! TPC-H's data as JSON lines, and the types of its columns.
//!
//! The tests of fleets and those of the engine share this file.

use std::{
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

/// Files of each table.
const PARTS: i32 = 2;

/// A table's columns with their types, in the order of the generator.
pub(crate) type Columns = &'static [(&'static str, &'static str)];

pub(crate) const TABLES: [(&str, Columns); 8] = [
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

/// Writes a part of a table below `folder`.
pub(crate) fn write_table(folder: &Path, table: &str, columns: Columns, scale: f64, part: i32) {
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

/// The numbers of a table's parts.
pub(crate) fn parts(table: &str) -> std::ops::RangeInclusive<i32> {
    // The two smallest tables are not cut: the generator gives all of their rows for each part.
    if matches!(table, "region" | "nation") { 1..=1 } else { 1..=PARTS }
}
