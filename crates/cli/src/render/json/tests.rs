//! Documents: what each of them says, and that every field is in the documentation.

use lakewright_error::Error;
use lakewright_scheduler::StepWork;
use serde_json::Value;

use super::*;

fn keys(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.push(key.clone());
                keys(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn a_failure_has_the_documented_fields() {
    let error = Error::new(ErrorKind::Corrupt, "cannot read the raw object")
        .with("object", "a.json")
        .with_source(std::io::Error::other("no comma"))
        .with_hint("mend it");
    let document = FailureDocument::new(&Failure::job(error));
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
}

#[test]
fn every_field_of_the_fixed_documents_is_documented() {
    let page = include_str!("../../../../../docs/json.md");
    let step = FinishedStep {
        table: String::new(),
        action: StepAction { work: StepWork::Skip, reason: String::new() },
        rows_in: 0,
        rows_out: 0,
        rejects: 0,
        files: 0,
        bytes: 0,
        bytes_spilled: 0,
        duration_s: 0.0,
        version: None,
        checks: Vec::new(),
        written_by: Vec::new(),
    };
    let checked = CheckedDocument { name: "", status: "ok", detail: String::new(), help: None };
    let documents = [
        serde_json::to_value(step).unwrap(),
        serde_json::to_value(checked).unwrap(),
        serde_json::to_value(InitDocument { project: String::new(), files: 0, raw_objects: 0, raw_bytes: 0 }).unwrap(),
        serde_json::to_value(FailureDocument::new(&Failure::from(Error::new(ErrorKind::Invalid, "x")))).unwrap(),
    ];
    let mut found = Vec::new();
    documents.iter().for_each(|document| keys(document, &mut found));
    for key in found {
        assert!(page.contains(&format!("{key}`")), "docs/json.md does not describe {key}");
    }
}
