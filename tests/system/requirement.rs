//! What a test needs of the machine beyond Rust: Python with other engines, the real sample, a small disk.
//!
//! Invariant: a test that lacks something says so in one line and passes, or fails if `LAKEWRIGHT_REQUIRE_ALL` is set, so
//! that nothing is skipped where nothing may be.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// The Python that has the other engines: `LAKEWRIGHT_PYTHON`.
pub(crate) fn python(test: &str) -> Option<PathBuf> {
    path_from(test, "LAKEWRIGHT_PYTHON", "a Python with duckdb, polars, deltalake and pyarrow")
}

/// The folder with the music app's real raw data: `LAKEWRIGHT_SAMPLE`.
pub(crate) fn sample(test: &str) -> Option<PathBuf> {
    path_from(test, "LAKEWRIGHT_SAMPLE", "the music app's raw data")
}

/// The program that is tested: `LAKEWRIGHT_PROGRAM`, else the one that cargo has built with the tests.
pub(crate) fn program() -> PathBuf {
    variable("LAKEWRIGHT_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_lakewright-under-test").into(), PathBuf::from)
}

/// A number that changes how large a test is.
pub(crate) fn number(name: &str) -> Option<f64> {
    variable(name).map(|text| text.parse().unwrap_or_else(|error| panic!("{name} is {text}: {error}")))
}

/// Where Terraform's providers are: `LAKEWRIGHT_TERRAFORM_PLUGINS`, else where machines for tests have them.
pub(crate) fn terraform_plugins() -> Option<PathBuf> {
    let set = variable("LAKEWRIGHT_TERRAFORM_PLUGINS").map(PathBuf::from);
    set.or_else(|| Some(PathBuf::from("/opt/tf-plugins"))).filter(|folder| folder.exists())
}

/// Says that `test` is skipped: for a right that the machine does not grant, and that nothing can install.
pub(crate) fn skip(test: &str, what: &str) {
    // Past the test harness, which would keep the line of a test that passes.
    let _ = writeln!(std::io::stderr(), "skipped: {test} needs {what}");
}

/// Skips `test`, or fails it where everything is required.
pub(crate) fn lacks(test: &str, what: &str) {
    assert!(variable("LAKEWRIGHT_REQUIRE_ALL").is_none(), "{test} needs {what}");
    skip(test, what);
}

fn path_from(test: &str, name: &str, what: &str) -> Option<PathBuf> {
    let Some(value) = variable(name) else {
        lacks(test, &format!("{what}: set {name}"));
        return None;
    };
    let path = Path::new(&value);
    assert!(path.exists(), "{name} is {value}, and nothing is there");
    // The binary is started in other folders. Links are kept: a virtual environment's Python is one.
    Some(std::path::absolute(path).expect("the path can be made absolute"))
}

#[expect(clippy::disallowed_methods, reason = "the tests' own settings enter here only")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
