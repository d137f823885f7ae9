//! Unit tests of models: small inputs, and the rows that a model must make of them.
//!
//! Data flow: `tests/*.yaml` -> [`yaml`] -> names looked up in the compiled job -> [`UnitTest`] -> `lakewright test` runs
//! it through the real engine.
//!
//! Invariant: every key takes effect or has a finding at its place; every table that the model reads has an input.

mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use datafusion::arrow::datatypes::SchemaRef;

use self::yaml::{Node, Value, parse_yaml};
use crate::{
    Diagnostic, Model, Param, ParamType, ParamValue, Source, TableName,
    params::parse_value,
    sql_type::same_name,
    suggest::did_you_mean,
    text::{FINDINGS_MAX, FileText},
};

/// One unit test.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitTest {
    /// What it shows, for people.
    pub name: String,
    /// The model.
    pub model: TableName,
    /// Values of parameters; of the job's own those that differ from their defaults.
    pub params: BTreeMap<String, ParamValue>,
    /// The rows of every table that the model reads.
    pub inputs: BTreeMap<TableName, TestRows>,
    /// What the model must make of them.
    pub expect: Expected,
    /// Path of the file in the job folder.
    pub file: String,
    /// Line of its beginning, from 1.
    pub line: usize,
}

/// Rows of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum TestRows {
    /// Written in the test.
    Rows(Vec<TestRow>),
    /// JSON lines of a file below `tests/`.
    File {
        /// Path in the job folder, for example `tests/fixtures/songs.jsonl`.
        path: String,
        /// Line of the test's file that names it, from 1.
        line: usize,
    },
}

/// One row that is written in a test.
#[derive(Clone, Debug, PartialEq)]
pub struct TestRow {
    /// The row as one JSON object on one line, its keys spelt as the columns.
    pub json: String,
    /// The columns that it gives, spelt as in the schema.
    pub columns: BTreeSet<String>,
    /// Its line, from 1.
    pub line: usize,
}

/// The rows that a model must make.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The rows.
    pub rows: Vec<TestRow>,
    /// Whether only the columns that a row gives are compared; else a column that is left out must be NULL.
    pub partial: bool,
    /// Whether the order of rows counts.
    pub ordered: bool,
}

/// What tests are looked up in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TestScope<'s> {
    pub(crate) sources: &'s BTreeMap<TableName, Source>,
    pub(crate) models: &'s [Model],
    pub(crate) params: &'s BTreeMap<String, Param>,
}

const KEYS: [&str; 5] = ["name", "model", "params", "inputs", "expect"];
const EXPECT_KEYS: [&str; 3] = ["partial", "ordered", "rows"];
const INPUT_KEYS: [&str; 2] = ["rows", "file"];
/// Parameters of a run: a test says what they are, so that it gives the same tomorrow.
const BUILT_IN_PARAMS: [(&str, ParamType); 4] = [
    ("run_id", ParamType::Varchar),
    ("execution_ts", ParamType::Timestamp),
    ("start_ts", ParamType::Timestamp),
    ("end_ts", ParamType::Timestamp),
];

/// Reads the tests of a file: one test, a list of them, or several documents.
pub(crate) fn read_tests(file: FileText<'_>, scope: TestScope<'_>) -> (Vec<UnitTest>, Vec<Diagnostic>) {
    let documents = match parse_yaml(file) {
        Ok(documents) => documents,
        Err(finding) => return (Vec::new(), vec![finding]),
    };
    let nodes: Vec<&Node> = documents
        .iter()
        .flat_map(|document| match &document.value {
            Value::List(tests) => tests.iter().collect(),
            _ => vec![document],
        })
        .collect();
    let (mut tests, mut findings) = (Vec::new(), Vec::new());
    if nodes.is_empty() {
        findings.push(file.warning("no_tests", 0..0, "this file has no test"));
    }
    for node in nodes {
        let mut reader = Reader { file, scope, findings: Vec::new() };
        let test = reader.test(node);
        findings.extend(reader.findings);
        tests.extend(test);
        if findings.len() >= FINDINGS_MAX {
            break;
        }
    }
    (tests, findings)
}

struct Reader<'s> {
    file: FileText<'s>,
    scope: TestScope<'s>,
    findings: Vec<Diagnostic>,
}

type Entries<'n> = BTreeMap<&'static str, (&'n Node, &'n Node)>;

impl Reader<'_> {
    fn report(&mut self, code: &'static str, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(self.file.error(code, span, message).with_help_if(help));
        }
    }

    /// The entries of a map by their known keys; others are findings.
    fn entries<'n>(&mut self, node: &'n Node, what: &str, keys: &[&'static str]) -> Option<Entries<'n>> {
        let Value::Map(entries) = &node.value else {
            let help = format!("write {}", keys.iter().map(|key| format!("{key}: ..")).collect::<Vec<_>>().join(", "));
            self.report("syntax", node.span.clone(), format!("{what} is a mapping"), Some(help));
            return None;
        };
        let mut found = Entries::new();
        for (key, value) in entries {
            let name = key.text().unwrap_or_default();
            let Some(known) = keys.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
                let help = did_you_mean(name, keys.iter().copied());
                self.report("unknown_key", key.span.clone(), format!("{what} has no key `{name}`"), help);
                continue;
            };
            if found.insert(known, (key, value)).is_some() {
                self.report("duplicate_key", key.span.clone(), format!("key `{known}` is given twice"), None);
            }
        }
        Some(found)
    }

    fn test(&mut self, node: &Node) -> Option<UnitTest> {
        let entries = self.entries(node, "a test", &KEYS)?;
        let model = self.model(node, &entries)?;
        let name = match entries.get("name").and_then(|(_, value)| value.text()) {
            Some(name) if !name.trim().is_empty() => name.to_owned(),
            _ => {
                self.report("missing_key", node.span.clone(), "a test needs a name", Some("write name: ..".to_owned()));
                return None;
            }
        };
        let params = entries.get("params").map(|(_, value)| self.params(value)).unwrap_or_default();
        self.check_run_params(node, model, &params);
        let inputs = entries.get("inputs").map(|(_, value)| self.inputs(value, model)).unwrap_or_default();
        self.check_inputs(node, model, &inputs);
        let expect = match entries.get("expect") {
            Some((_, value)) => self.expect(value, model),
            None => {
                let help = Some("write expect: { rows: [ .. ] }".to_owned());
                self.report("missing_key", node.span.clone(), "a test needs the rows that it expects", help);
                None
            }
        }?;
        let (model, file, line) = (model.name.clone(), self.file.path.to_owned(), node.line);
        self.findings.is_empty().then_some(UnitTest { name, model, params, inputs, expect, file, line })
    }

    fn model<'s>(&mut self, node: &Node, entries: &Entries<'_>) -> Option<&'s Model>
    where
        Self: 's,
    {
        let Some((_, value)) = entries.get("model") else {
            let help = Some("write model: zone.table".to_owned());
            self.report("missing_key", node.span.clone(), "a test needs the model that it tests", help);
            return None;
        };
        let text = value.text().unwrap_or_default();
        let models = self.scope.models;
        let found = models.iter().find(|model| model.name.to_string().eq_ignore_ascii_case(text.trim()));
        if found.is_none() {
            let names: Vec<String> = models.iter().map(|model| model.name.to_string()).collect();
            let help = did_you_mean(text, names.iter().map(String::as_str));
            self.report("unknown_table", value.span.clone(), format!("there is no model `{text}`"), help);
        }
        found
    }

    fn params(&mut self, node: &Node) -> BTreeMap<String, ParamValue> {
        let Value::Map(entries) = &node.value else {
            self.report("syntax", node.span.clone(), "params is a mapping", Some("write name: value".to_owned()));
            return BTreeMap::new();
        };
        let mut params = BTreeMap::new();
        for (key, value) in entries {
            let name = key.text().unwrap_or_default();
            let declared = self.scope.params.iter().find(|(known, _)| same_name(known, name));
            let declared = declared.map(|(known, param)| (known.as_str(), param.param_type));
            let built_in = || BUILT_IN_PARAMS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            let Some((known, param_type)) = declared.or_else(built_in) else {
                let known = self.scope.params.keys().map(String::as_str);
                let known: Vec<&str> = known.chain(BUILT_IN_PARAMS.map(|(known, _)| known)).collect();
                let help = did_you_mean(name, known);
                self.report("unknown_parameter", key.span.clone(), format!("there is no parameter `{name}`"), help);
                continue;
            };
            match value.text().and_then(|text| parse_value(param_type, text)) {
                Some(value) => {
                    params.insert(known.to_owned(), value);
                }
                None => {
                    let message = format!("parameter `{known}` is {}", param_type.expected());
                    self.report("parameter", value.span.clone(), message, None);
                }
            }
        }
        params
    }

    fn check_run_params(&mut self, node: &Node, model: &Model, params: &BTreeMap<String, ParamValue>) {
        for name in model.row_params().iter().filter(|name| BUILT_IN_PARAMS.iter().any(|(known, _)| known == name)) {
            if !params.contains_key(name) {
                let message = format!("`{}` uses `:{name}`, and the test does not say what it is", model.name);
                let help = match name.as_str() {
                    "run_id" => "write params: { run_id: r1 }".to_owned(),
                    _ => format!("write params: {{ {name}: 2018-11-13T12:00:00Z }}"),
                };
                self.report("missing_key", node.span.clone(), message, Some(help));
            }
        }
    }

    fn inputs(&mut self, node: &Node, model: &Model) -> BTreeMap<TableName, TestRows> {
        let Value::Map(entries) = &node.value else {
            let help = Some("write inputs: { zone.table: { rows: [ .. ] } }".to_owned());
            self.report("syntax", node.span.clone(), "inputs is a mapping of tables", help);
            return BTreeMap::new();
        };
        let mut inputs = BTreeMap::new();
        for (key, value) in entries {
            let text = key.text().unwrap_or_default();
            let Some(table) = TableName::parse(text).filter(|table| model.query.reads.contains(table)) else {
                let reads: Vec<String> = model.query.reads.iter().map(ToString::to_string).collect();
                let help = did_you_mean(text, reads.iter().map(String::as_str));
                let message = format!("`{}` does not read `{text}`", model.name);
                self.report("unknown_table", key.span.clone(), message, help);
                continue;
            };
            let Some(schema) = self.schema(&table) else { continue };
            if let Some(rows) = self.input(value, &table, &schema) {
                inputs.insert(table, rows);
            } else {
                // It has its finding: that it is missing need not be told.
                inputs.insert(table, TestRows::Rows(Vec::new()));
            }
        }
        inputs
    }

    fn schema(&self, table: &TableName) -> Option<SchemaRef> {
        let source = self.scope.sources.get(table).map(|source| &source.schema);
        let model = || self.scope.models.iter().find(|model| model.name == *table).map(|model| &model.schema);
        source.or_else(model).cloned()
    }

    fn input(&mut self, node: &Node, table: &TableName, schema: &SchemaRef) -> Option<TestRows> {
        let entries = self.entries(node, &format!("input {table}"), &INPUT_KEYS)?;
        match (entries.get("rows"), entries.get("file")) {
            (Some((_, rows)), None) => Some(TestRows::Rows(self.rows(rows, &table.to_string(), schema)?)),
            (None, Some((_, file))) => {
                let name = file.text().unwrap_or_default();
                let leads_out = name.split('/').any(|part| matches!(part, "" | "." | "..")) || name.contains('\\');
                if leads_out {
                    let help = Some("write a path below tests/, for example fixtures/songs.jsonl".to_owned());
                    self.report("path", file.span.clone(), format!("`{name}` is no path below tests/"), help);
                    return None;
                }
                Some(TestRows::File { path: format!("tests/{name}"), line: file.line })
            }
            (Some(_), Some((key, _))) => {
                self.report("syntax", key.span.clone(), "an input has rows or a file, not both", None);
                None
            }
            (None, None) => {
                let help = Some("write { rows: [ .. ] } or { file: fixtures/rows.jsonl }".to_owned());
                self.report(
                    "missing_key",
                    node.span.clone(),
                    format!("input {table} has neither rows nor a file"),
                    help,
                );
                None
            }
        }
    }

    fn rows(&mut self, node: &Node, table: &str, schema: &SchemaRef) -> Option<Vec<TestRow>> {
        let Value::List(items) = &node.value else {
            let help = Some("write rows: [ { column: value } ]".to_owned());
            self.report("syntax", node.span.clone(), "rows is a list", help);
            return None;
        };
        items.iter().map(|item| self.row(item, table, schema)).collect()
    }

    fn row(&mut self, node: &Node, table: &str, schema: &SchemaRef) -> Option<TestRow> {
        let Value::Map(entries) = &node.value else {
            let help = Some("write { column: value, .. }".to_owned());
            self.report("syntax", node.span.clone(), "a row is a mapping of columns", help);
            return None;
        };
        let mut columns = BTreeSet::new();
        let mut parts = Vec::new();
        for (key, value) in entries {
            let name = key.text().unwrap_or_default();
            let Some(field) = schema.fields().iter().find(|field| same_name(field.name(), name)) else {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let message = format!("`{name}` is no column of `{table}`");
                self.report("unknown_column", key.span.clone(), message, did_you_mean(name, names));
                continue;
            };
            if !columns.insert(field.name().clone()) {
                self.report("duplicate_column", key.span.clone(), format!("column `{name}` is given twice"), None);
            }
            let name = serde_json::Value::String(field.name().clone());
            parts.push(format!("{name}:{}", value.to_json()));
        }
        Some(TestRow { json: format!("{{{}}}", parts.join(",")), columns, line: node.line })
    }

    /// Tables that the model reads and the test does not give.
    fn check_inputs(&mut self, node: &Node, model: &Model, inputs: &BTreeMap<TableName, TestRows>) {
        for table in model.query.reads.iter().filter(|table| !inputs.contains_key(*table)) {
            let columns = self.schema(table);
            let names = columns.iter().flat_map(|schema| schema.fields()).take(3);
            let row: Vec<String> = names.map(|field| format!("{}: ..", field.name())).collect();
            let message = format!("`{}` reads `{table}`, and the test has no input for it", model.name);
            let help = format!("add under inputs: `{table}: {{ rows: [ {{ {} }} ] }}`, or rows: []", row.join(", "));
            self.report("missing_input", node.span.clone(), message, Some(help));
        }
    }

    fn expect(&mut self, node: &Node, model: &Model) -> Option<Expected> {
        let entries = self.entries(node, "expect", &EXPECT_KEYS)?;
        let mut flag = |name: &str| match entries.get(name) {
            None => false,
            Some((_, value)) => value.truth().unwrap_or_else(|| {
                self.report("syntax", value.span.clone(), format!("{name} is true or false"), None);
                false
            }),
        };
        let (partial, ordered) = (flag("partial"), flag("ordered"));
        let Some((_, rows)) = entries.get("rows") else {
            let help = Some("write rows: [ .. ], or rows: [] for none".to_owned());
            self.report("missing_key", node.span.clone(), "expect has no rows", help);
            return None;
        };
        let rows = self.rows(rows, &model.name.to_string(), &model.schema)?;
        Some(Expected { rows, partial, ordered })
    }
}

#[cfg(test)]
mod tests;
