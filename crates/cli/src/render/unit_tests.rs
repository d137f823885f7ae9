//! What came of unit tests, as text and as the document of `--json`. Pure.

use std::time::Duration;

use lakewright_compiler::UnitTest;
use lakewright_error::Error;
use serde::Serialize;

use super::{
    Style,
    failure::causes,
    number::{counted, duration},
    printable,
};
use crate::unit_test::{Outcome, Verdict, compare::Difference};

/// Differences of one test that are shown.
const DIFFERENCES_SHOWN_MAX: usize = 20;

/// Renders one test: a line, and below it what differs.
pub(crate) fn outcome_text(test: &UnitTest, file: &str, outcome: &Outcome, style: Style) -> String {
    let word = match outcome.verdict {
        Verdict::Passed => style.green("ok   "),
        Verdict::Differs(_) | Verdict::Failed(_) => style.red("FAIL "),
        Verdict::Wrong(_) => style.red("wrong"),
    };
    let place = style.dim(&format!("({file}:{}, {})", test.line, duration(outcome.duration)));
    let mut text = format!("{word} {}: {} {place}\n", test.model, printable(&test.name));
    match &outcome.verdict {
        Verdict::Passed => {}
        Verdict::Differs(differences) => {
            for difference in differences.iter().take(DIFFERENCES_SHOWN_MAX) {
                text.push_str(&format!("      {}\n", difference_text(difference, file)));
            }
            if let Some(more) = differences.len().checked_sub(DIFFERENCES_SHOWN_MAX).filter(|more| *more > 0) {
                text.push_str(&format!("      and {}\n", counted(more as u64, "difference")));
            }
        }
        Verdict::Failed(error) | Verdict::Wrong(error) => {
            for line in error_lines(error) {
                text.push_str(&format!("      {}\n", printable(&line)));
            }
        }
    }
    text
}

fn difference_text(difference: &Difference, file: &str) -> String {
    match difference {
        Difference::Value { row, line, column, expected, actual } => {
            let (expected, actual) = (printable(expected), printable(actual));
            format!("row {row} ({file}:{line}): {column}: expected {expected}, got {actual}")
        }
        Difference::Missing { row, line, values } => {
            format!("row {row} ({file}:{line}): no such row: {}", printable(values))
        }
        Difference::Unexpected { values } => format!("a row that is not expected: {}", printable(values)),
    }
}

fn error_lines(error: &Error) -> Vec<String> {
    let mut lines = vec![error.to_string()];
    lines.extend(causes(error).into_iter().map(|cause| format!("because {cause}")));
    lines.extend(error.hint().map(|hint| format!("help: {hint}")));
    lines
}

/// Renders how many tests there were, and how they ended.
pub(crate) fn closing_text(outcomes: &[(&UnitTest, Outcome)], style: Style) -> String {
    if outcomes.is_empty() {
        return "there are no tests: a test is a file such as tests/songplays.yaml in the job's folder".to_owned();
    }
    let passed = outcomes.iter().filter(|(_, outcome)| matches!(outcome.verdict, Verdict::Passed)).count();
    let failed = outcomes.len() - passed;
    let took: Duration = outcomes.iter().map(|(_, outcome)| outcome.duration).sum();
    let tests = counted(outcomes.len() as u64, "test");
    match failed {
        0 => format!("{} in {}", style.green(&format!("{tests} passed")), duration(took)),
        _ => format!("{}, {passed} passed, in {}", style.red(&format!("{failed} of {tests} failed")), duration(took)),
    }
}

/// `test`
#[derive(Debug, Serialize)]
pub(crate) struct TestsDocument {
    job: String,
    passed: usize,
    failed: usize,
    tests: Vec<TestDocument>,
}

#[derive(Debug, Serialize)]
struct TestDocument {
    name: String,
    model: String,
    file: String,
    line: usize,
    status: &'static str,
    duration_s: f64,
    differences: Vec<DifferenceDocument>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct DifferenceDocument {
    kind: &'static str,
    row: Option<usize>,
    line: Option<usize>,
    column_name: Option<String>,
    expected: Option<String>,
    actual: Option<String>,
}

impl TestsDocument {
    /// The document of a job's tests.
    pub(crate) fn new(job: &str, outcomes: &[(&UnitTest, Outcome)]) -> Self {
        let tests: Vec<TestDocument> =
            outcomes.iter().map(|(test, outcome)| TestDocument::new(test, outcome)).collect();
        let passed = tests.iter().filter(|test| test.status == "passed").count();
        Self { job: job.to_owned(), passed, failed: tests.len() - passed, tests }
    }
}

impl TestDocument {
    fn new(test: &UnitTest, outcome: &Outcome) -> Self {
        let (status, differences, error) = match &outcome.verdict {
            Verdict::Passed => ("passed", &[][..], None),
            Verdict::Differs(differences) => ("failed", differences.as_slice(), None),
            Verdict::Failed(error) => ("failed", &[][..], Some(error_lines(error).join("; "))),
            Verdict::Wrong(error) => ("wrong", &[][..], Some(error_lines(error).join("; "))),
        };
        Self {
            name: test.name.clone(),
            model: test.model.to_string(),
            file: test.file.clone(),
            line: test.line,
            status,
            duration_s: outcome.duration.as_secs_f64(),
            differences: differences.iter().map(DifferenceDocument::new).collect(),
            error,
        }
    }
}

impl DifferenceDocument {
    fn new(difference: &Difference) -> Self {
        let none = Self { kind: "", row: None, line: None, column_name: None, expected: None, actual: None };
        match difference.clone() {
            Difference::Value { row, line, column, expected, actual } => Self {
                kind: "value",
                row: Some(row),
                line: Some(line),
                column_name: Some(column),
                expected: Some(expected),
                actual: Some(actual),
            },
            Difference::Missing { row, line, values } => {
                Self { kind: "missing", row: Some(row), line: Some(line), expected: Some(values), ..none }
            }
            Difference::Unexpected { values } => Self { kind: "unexpected", actual: Some(values), ..none },
        }
    }
}
