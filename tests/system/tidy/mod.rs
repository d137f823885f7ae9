//! The conventions that no compiler checks: manifests, file shapes, words, and documents that name code.
//!
//! Each check collects every finding of the repository before it fails, so that one run shows all of them.

mod documents;
mod manifests;
mod sources;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The repository's root.
pub(super) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests' package lies in the repository").to_owned()
}

/// A text file of the repository: its path from the root, with `/`, and its content.
#[derive(Debug)]
struct SourceFile {
    path: String,
    text: String,
}

impl SourceFile {
    fn is_rust(&self) -> bool {
        has_extension(&self.path, "rs")
    }

    fn is_markdown(&self) -> bool {
        has_extension(&self.path, "md")
    }
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

/// All text files that git tracks or would add.
fn files() -> Vec<SourceFile> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the repository's files");
    assert!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
    let paths = String::from_utf8(listing.stdout).expect("paths are UTF-8");
    // A file that was deleted but is still in the index, or that is not text, has nothing to check.
    let read = |path: &str| fs::read_to_string(root().join(path)).ok();
    let mut files: Vec<SourceFile> =
        paths.lines().filter_map(|path| read(path).map(|text| SourceFile { path: path.to_owned(), text })).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The paths of all shell scripts.
pub(super) fn shell_scripts() -> Vec<String> {
    let is_script = |file: &SourceFile| {
        let first = file.text.lines().next().unwrap_or_default();
        first.starts_with("#!") && (first.ends_with("/sh") || first.ends_with("bash"))
    };
    files().into_iter().filter(is_script).map(|file| file.path).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails with all of `findings`, if there are any.
fn assert_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
