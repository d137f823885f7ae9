//! What source DDL must be: columns, clauses, options, and what is refused.

use datafusion::arrow::datatypes::DataType;

use super::compile_source;
use crate::{
    JsonMode, Source, SourceMultiLine, TableName,
    testing::{folder, render},
    text::FileText,
};

fn compile(ddl: &str) -> (Option<Source>, String) {
    let name = TableName::new("raw", "events").unwrap();
    let (source, findings) = compile_source(&name, FileText::new("raw/events.sql", ddl));
    (source, render(&folder(&[("raw/events.sql", ddl)]), &findings))
}

fn valid(ddl: &str) -> Source {
    let (source, findings) = compile(ddl);
    source.unwrap_or_else(|| panic!("{findings}"))
}

fn columns(columns: &str) -> String {
    format!("CREATE EXTERNAL TABLE raw.events (\n{columns}\n) STORED AS JSON LOCATION 'logs/'")
}

fn options(options: &str) -> String {
    format!("CREATE EXTERNAL TABLE raw.events (a INT) STORED AS JSON LOCATION 'logs/' OPTIONS ({options})")
}

fn report(ddls: &[String]) -> String {
    ddls.iter()
        .map(|ddl| {
            let (source, findings) = compile(ddl);
            assert!(source.is_none() && !findings.is_empty(), "accepted: {ddl}");
            findings + "\n"
        })
        .collect()
}

#[test]
fn both_forms_of_the_ddl_are_one_source() {
    let external = valid(
        "-- User activity,\n-- one object a line.\nCREATE EXTERNAL TABLE raw.events (userId VARCHAR, ts BIGINT)\n\
         STORED AS JSON LOCATION 'logs/' OPTIONS (mode 'FAILFAST', allow_empty 'true');",
    );
    assert_eq!(external.description.as_deref(), Some("User activity, one object a line."));
    assert_eq!(external.options.mode, JsonMode::FailFast);
    assert!(external.options.allow_empty);
    assert_eq!(external.location, "logs/");
    for spark in [
        "CREATE TABLE raw.events (userId STRING, ts LONG) USING json OPTIONS (path 'logs/', mode 'FAILFAST')",
        "create table RAW.Events(userId text,ts bigint)using JSON options('mode'='failfast',\"path\" = 'logs/');",
        "CREATE TABLE raw.events (`userId` VARCHAR, \"ts\" BIGINT) LOCATION 'logs/' USING json OPTIONS (mode = FAILFAST) -- x",
        "CREATE EXTERNAL TABLE raw.events (userId VARCHAR, ts BIGINT) LOCATION 'logs/' OPTIONS (MODE 'FAILFAST') STORED AS json",
        "\u{feff}CREATE EXTERNAL TABLE raw.events (\r\n userId VARCHAR,\r\n ts BIGINT) STORED AS JSON\r\nLOCATION 'logs/' OPTIONS (multiline auto, mode FAILFAST)\r\n",
    ] {
        let source = valid(spark);
        assert_eq!(source.canonical, external.canonical, "{spark}");
        assert_eq!(source.schema, external.schema, "{spark}");
    }
}

#[test]
fn what_changes_rows_changes_the_canonical_text() {
    let base = valid(&options("")).canonical;
    for changed in [
        options("mode 'FAILFAST'"),
        options("multiLine 'false'"),
        options("compression 'none'"),
        columns("a BIGINT"),
        columns("A INT"),
        columns("a INT, b INT"),
        columns("a INT").replace("logs/", "log/"),
    ] {
        assert_ne!(valid(&changed).canonical, base, "{changed}");
    }
    assert_eq!(valid(&options("allow_empty true, on_delete keep, max_reject_ratio 0.01")).canonical, base);
}

#[test]
fn modes_and_limits_of_rejects_are_options() {
    let source = valid(&options("mode 'dropmalformed', max_rejects '1000', max_reject_ratio 0.5"));
    assert_eq!(source.options.mode, JsonMode::DropMalformed);
    assert_eq!((source.options.max_rejects, source.options.max_reject_ratio), (Some(1000), 0.5));
    let default = valid(&options(""));
    assert_eq!(default.options.mode, JsonMode::Permissive);
    assert_eq!((default.options.max_rejects, default.options.max_reject_ratio), (None, 0.01));
    assert_ne!(source.canonical, default.canonical, "the mode changes rows");
    assert_eq!(valid(&options("max_rejects 5")).canonical, default.canonical, "a limit does not");
}

#[test]
fn the_column_for_records_that_do_not_fit_is_a_declared_one() {
    let declared = |columns: &str, options: &str| {
        valid(&format!(
            "CREATE EXTERNAL TABLE raw.events ({columns}) STORED AS JSON LOCATION 'logs/' OPTIONS ({options})"
        ))
    };
    assert_eq!(declared("a INT", "").options.corrupt_record, None);
    let corrupt = declared("a INT, _Corrupt_Record VARCHAR", "");
    assert_eq!(corrupt.options.corrupt_record.as_deref(), Some("_Corrupt_Record"));
    let named = declared("a INT, bad VARCHAR, _corrupt_record VARCHAR", "columnNameOfCorruptRecord 'BAD'");
    assert_eq!(named.options.corrupt_record.as_deref(), Some("bad"));
    assert!(named.canonical.contains("columnNameOfCorruptRecord 'bad'"));
}

#[test]
fn the_column_for_rescued_fields_is_declared_or_the_last_one() {
    let source = valid(&options("rescuedDataColumn '_rescued'"));
    assert_eq!(source.options.rescued.as_deref(), Some("_rescued"));
    let last = source.columns.last().unwrap();
    assert_eq!((last.name.as_str(), last.sql_type.as_str()), ("_rescued", "VARCHAR"));
    assert!(source.canonical.contains("rescuedDataColumn '_rescued'"));
    let ddl = |column: &str| {
        format!(
            "CREATE EXTERNAL TABLE raw.events (a INT, {column}) STORED AS JSON LOCATION 'x' \
             OPTIONS (rescuedDataColumn 'REST', columnNameOfCorruptRecord 'bad')"
        )
    };
    let declared = valid(&ddl("Rest VARCHAR, bad VARCHAR"));
    assert_eq!((declared.options.rescued.as_deref(), declared.columns.len()), (Some("Rest"), 3));
    assert!(compile(&ddl("Rest INT, bad VARCHAR")).1.contains("column_type"));
    let same = options("rescuedDataColumn '_corrupt_record'");
    assert!(compile(&same).1.contains("option_value"));
}

#[test]
fn multi_line_changes_the_canonical_text() {
    let multi_line = |value: &str| valid(&options(&format!("multiLine '{value}'")));
    assert_eq!(multi_line("TRUE").options.multi_line, SourceMultiLine::True);
    assert_eq!(multi_line("false").options.multi_line, SourceMultiLine::False);
    assert_eq!(multi_line("auto").canonical, valid(&options("")).canonical);
    assert_ne!(multi_line("true").canonical, multi_line("false").canonical);
}

#[test]
fn any_name_is_taken_as_a_column() {
    let source = valid(&columns(
        "key INT, index INT, check INT, primary INT, unique INT, constraint INT, select INT, from INT, \"a b\" INT,\n\
         `q\"q` INT, ünï INT, struct STRUCT<array: ARRAY<INT>, map INT>, not INT, null INT, options INT, location INT",
    ));
    let names: Vec<&str> = source.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(
        names,
        [
            "key",
            "index",
            "check",
            "primary",
            "unique",
            "constraint",
            "select",
            "from",
            "a b",
            "q\"q",
            "ünï",
            "struct",
            "not",
            "null",
            "options",
            "location",
        ]
    );
}

#[test]
fn every_type_has_a_canonical_text_and_a_stored_type() {
    let types = [
        "boolean",
        "INT",
        "integer",
        "BIGINT",
        "Long",
        "FLOAT",
        "real",
        "DOUBLE",
        "double precision",
        "DECIMAL(38, 10)",
        "NUMERIC(5)",
        "VARCHAR",
        "string",
        "TEXT",
        "DATE",
        "TIMESTAMP",
        "BINARY",
        "ARRAY<INT>",
        "ARRAY<ARRAY<ARRAY<INT>>>",
        "STRUCT<a: INT, \"B c\" STRUCT<d: ARRAY<STRING>>>",
        "MAP<STRING, MAP<STRING, DECIMAL(4,2)>>",
    ];
    let list: Vec<String> = types.iter().enumerate().map(|(index, sql)| format!("c{index} {sql}")).collect();
    let source = valid(&columns(&list.join(", ")));
    let shown: Vec<String> = source
        .columns
        .iter()
        .zip(source.schema.fields())
        .zip(types)
        .map(|((column, field), sql)| {
            assert!(field.is_nullable());
            assert_eq!(crate::sql_type::type_text(field.data_type()), column.sql_type);
            format!("{sql:50} {:50} {}", column.sql_type, field.data_type())
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn types_that_no_table_stores_are_refused_with_what_to_write() {
    let types = [
        "TINYINT",
        "UUID",
        "JSON",
        "DATETIME",
        "DUBLE",
        "\"INT\"",
        "",
        "VARCHAR(20)",
        "TIMESTAMP(3)",
        "INT(4)",
        "INT[]",
        "TIMESTAMP WITH TIME ZONE",
        "DECIMAL",
        "DECIMAL(39,1)",
        "DECIMAL(0)",
        "DECIMAL(3,4)",
        "DECIMAL(a)",
        "DECIMAL(300)",
        "STRUCT",
        "STRUCT<>",
        "STRUCT<a INT, A INT>",
        "STRUCT<a INT NOT NULL>",
        "STRUCT<a>",
        "ARRAY<INT",
        "ARRAY<>",
        "MAP<INT, INT>",
        "MAP<STRING>",
        "ARRAY<INT>>",
    ];
    insta::assert_snapshot!(report(&types.map(|sql| columns(&format!("  a {sql}, ok INT")))));
}

#[test]
fn types_nested_too_deep_are_refused() {
    for depth in [33, 5_000] {
        let sql = format!("a {}INT{}", "ARRAY<".repeat(depth), ">".repeat(depth));
        assert!(compile(&columns(&sql)).1.contains("nested deeper than 32 levels"));
    }
    assert!(matches!(
        valid(&columns(&format!("a {}INT{}", "ARRAY<".repeat(32), ">".repeat(32)))).schema.field(0).data_type(),
        DataType::List(_)
    ));
}

#[test]
fn clauses_that_a_source_does_not_have_are_named() {
    let with = |clause: &str| format!("CREATE EXTERNAL TABLE raw.events (a INT) STORED AS JSON LOCATION 'x' {clause}");
    let mut ddls: Vec<String> = [
        "PARTITIONED BY (a, b)",
        "WITH ORDER (a)",
        "COMMENT 'x'",
        "TBLPROPERTIES ('a' = 'b') OPTIONS (mode 'FAILFST')",
        "WITH (format 'json')",
        "AS SELECT 1",
        "FOO bar",
        "LOCATION 'y'",
        "STORED AS CSV",
        "; SELECT 1",
        "OPTIONS mode 'x'",
    ]
    .map(with)
    .to_vec();
    ddls.extend(
        [
            "CREATE OR REPLACE EXTERNAL TABLE IF NOT EXISTS raw.events (a INT) STORED AS JSON LOCATION 'x'",
            "CREATE UNBOUNDED EXTERNAL TABLE raw.events (a INT) STORED AS JSON LOCATION 'x'",
            "CREATE EXTERNAL TABLE raw.events (a INT) USING json LOCATION 'x'",
            "CREATE TABLE raw.events (a INT) STORED AS JSON LOCATION 'x'",
            "CREATE EXTERNAL TABLE raw.events (a INT) STORED AS PARQUET LOCATION 'x'",
            "CREATE EXTERNAL TABLE raw.events (a INT) STORED AS JSON OPTIONS (path 'x')",
            "CREATE TABLE raw.events (a INT) USING csv LOCATION 'x' OPTIONS (path 'x')",
            "CREATE TABLE raw.events (a INT)",
            "CREATE EXTERNAL TABLE raw.events STORED AS JSON LOCATION 'x'",
            "CREATE EXTERNAL TABLE raw.events () STORED AS JSON LOCATION 'x'",
            "CREATE EXTERNAL TABLE raw.event (a INT) STORED AS JSON LOCATION 'x'",
            "CREATE EXTERNAL TABLE events (a INT) STORED AS JSON LOCATION 'x'",
            "CREATE EXTERNAL VIEW raw.events (a INT) STORED AS JSON LOCATION 'x'",
            "CREATE VIEW raw.events AS SELECT 1",
            "SELECT 1 AS a",
            "-- nothing",
            "INSERT INTO raw.events VALUES (1)",
            "CREATE EXTERNAL TABLE raw.events (a INT",
            "CREATE EXTERNAL TABLE raw.events (a INT) STORED AS JSON LOCATION 'x",
            "CREATE EXTERNAL TABLE raw.events (a INT) /* open",
            "CREATE EXTERNAL TABLE raw.events (a INT) STORED AS JSON LOCATION \"x\"",
            "CREATE EXTERNAL TABLE raw.events (a INT) STORED AS JSON LOCATION '../x'",
        ]
        .map(str::to_owned),
    );
    insta::assert_snapshot!(report(&ddls));
}

#[test]
fn all_wrong_columns_are_reported_at_once() {
    insta::assert_snapshot!(report(&[columns(
        "  userId VARCHAR NOT NULL,\n  userid INT,\n  USERID INT COMMENT 'x',\n  b STRUCT<x: INTT, y: INT>,\n  c,\n  2fa INT,\n\
         \x20 d INT DEFAULT 0,\n  PRIMARY KEY (b),\n  _METADATA INT,\n  _corrupt_record INT,\n  \"\" INT,\n  é INT UNSIGNED,\n  é INT,\n  É INT,"
    )]));
}

#[test]
fn options_are_built_or_refused() {
    insta::assert_snapshot!(report(
        &[
            "max_rejects 'many', max_reject_ratio '-0.5', multiLine true, compression 'bz2'",
            "on_delete 'REMOVE', rescuedDataColumn '_corrupt_record', columnNameOfCorruptRecord 'bad'",
            "mode 'STRICT', max_rejects '-1', max_reject_ratio '2', multiLine 'yes', compression gzip, on_delete x, allow_empty 1",
            "multline 'true', dateFormat 'x', 'a.b' 'c', a.b 'c', mode 'FAILFAST', Mode 'FAILFAST'",
            "mode, allow_empty 'true'",
            "mode 'FAILFAST' allow_empty 'true'",
            "max_rejects 99999999999999999999, rescuedDataColumn ''",
        ]
        .map(options)
    ));
}
