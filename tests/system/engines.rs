//! Other engines as readers: the Python scripts in `tests/oracle`.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::{requirement, tidy};

/// Runs a script of `tests/oracle`, to the JSON that it printed; none if the machine has no such Python.
///
/// The script fails with one line for each difference that it found.
pub(crate) fn run_script(test: &str, script: &str, arguments: &[&Path]) -> Option<Value> {
    let python = requirement::python(test)?;
    let output = Command::new(python)
        .arg(tidy::root().join("tests/oracle/run.py"))
        .arg(tidy::root().join("tests/oracle").join(script))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("Python starts");
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{script}: {stderr}");
    Some(serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{script}: {error}: {stdout}")))
}
