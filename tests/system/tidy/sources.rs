//! Checks the shape and the words of source files.

use super::{SourceFile, assert_none, files};

/// Lines of a source file without its tests.
const LINES_MAX: usize = 600;
/// Lines of a file of tests.
const TEST_LINES_MAX: usize = 1000;
/// Names that say nothing about what is inside.
const DRAWERS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "stuff"];
/// Words of history: a comment is about the code as it stands.
const HISTORY: &[&str] = &["previously", "for now", "used to be", "legacy"];

fn rust_files() -> Vec<SourceFile> {
    files().into_iter().filter(SourceFile::is_rust).collect()
}

/// The file's lines up to its inline tests.
fn production_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let is_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ");
    lines.windows(2).position(is_tests).unwrap_or(lines.len())
}

fn is_tests(path: &str) -> bool {
    path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The text of each comment with its line number.
fn comments(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines());
    lines.filter_map(|(number, line)| {
        let comment = line.trim_start().strip_prefix("//").or_else(|| line.split_once(" // ").map(|(_, after)| after));
        comment.map(|comment| (number, comment))
    })
}

#[test]
fn every_file_says_what_it_is() {
    let silent = |file: &SourceFile| !file.text.starts_with("//!");
    let findings: Vec<String> = rust_files().into_iter().filter(silent).map(|file| file.path).collect();
    assert_none("does not open with `//!`", &findings);
}

#[test]
fn files_stay_readable_in_one_go() {
    let mut findings = Vec::new();
    for file in rust_files() {
        let max = if is_tests(&file.path) { TEST_LINES_MAX } else { LINES_MAX };
        let lines = if is_tests(&file.path) { file.text.lines().count() } else { production_lines(&file.text) };
        if lines > max {
            findings.push(format!("{}: {lines} of at most {max} lines", file.path));
        }
    }
    assert_none("too long", &findings);
}

#[test]
fn nothing_is_named_like_a_drawer() {
    let is_drawer = |part: &str| DRAWERS.contains(&part.split('.').next().unwrap_or(part));
    let findings: Vec<String> =
        rust_files().into_iter().map(|file| file.path).filter(|path| path.split('/').any(is_drawer)).collect();
    assert_none("a drawer", &findings);
}

#[test]
fn reminders_name_their_issue() {
    let mut findings = Vec::new();
    for file in rust_files() {
        for (number, comment) in comments(&file.text) {
            let words = ["FIXME", "XXX", "HACK"];
            let named = comment.matches("TODO").count() == comment.matches("TODO(#").count();
            if !named || words.iter().any(|word| comment.contains(word)) {
                findings.push(format!("{}:{number}:{comment}", file.path));
            }
        }
    }
    assert_none("a reminder that is not `TODO(#issue)`", &findings);
}

#[test]
fn comments_tell_no_history() {
    let mut findings = Vec::new();
    for file in rust_files() {
        for (number, comment) in comments(&file.text) {
            let lower = comment.to_lowercase();
            if HISTORY.iter().any(|word| lower.contains(word)) {
                findings.push(format!("{}:{number}:{comment}", file.path));
            }
        }
    }
    assert_none("history in a comment", &findings);
}

#[test]
fn unsafe_code_has_one_place_at_most() {
    let marker = concat!("expect(", "unsafe_code");
    let places: Vec<String> =
        rust_files().into_iter().filter(|file| file.text.contains(marker)).map(|file| file.path).collect();
    let fine = places.len() <= 1 && places.iter().all(|path| path == "crates/json/src/trusted/mod.rs");
    assert!(fine, "unsafe code is for one module of json: {places:?}");
}

#[test]
fn files_name_no_machine() {
    let needles = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("index.", "crates.io"),
        concat!("static.", "crates.io"),
        concat!("files.", "pythonhosted.org"),
        concat!("--index", "-url"),
        concat!("../", "shared"),
    ];
    let mut findings = Vec::new();
    for file in files() {
        // The check of the whole repository names the folder in which the sample may lie beside a clone.
        let allowed = |needle: &str| file.path == ".ci/run" && needle == needles[8];
        let found = needles.iter().filter(|needle| file.text.contains(**needle) && !allowed(needle));
        findings.extend(found.map(|needle| format!("{}: {needle}", file.path)));
    }
    assert_none("a path or host of one machine", &findings);
}

#[test]
fn production_lines_end_where_inline_tests_begin() {
    assert_eq!(production_lines("a\nb\n#[cfg(test)]\nmod tests {\n}\n"), 2);
    assert_eq!(production_lines("a\n#[cfg(test)]\nuse x;\nb\n"), 4);
}
