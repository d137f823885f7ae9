//! Checks that documents name what is there: crates, commands, flags, files.

use std::{collections::BTreeSet, process::Command};

use super::{
    SourceFile, assert_none, files,
    manifests::{members, short_name},
    read, root,
};

fn documents() -> Vec<SourceFile> {
    files().into_iter().filter(SourceFile::is_markdown).collect()
}

/// The lines of a document's fenced code blocks.
fn code_lines(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            found.push(line.trim());
        }
    }
    found
}

/// The arguments of a `lakewright` command line, if `line` is one.
fn lakewright_arguments(line: &str) -> Option<Vec<&str>> {
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let line = line.split(" #").next().unwrap_or(line);
    let (_, arguments) = ["cargo run --release -- ", "cargo run -- ", "lakewright "]
        .iter()
        .find_map(|start| line.strip_prefix(start).map(|rest| (start, rest)))?;
    Some(arguments.split_whitespace().collect())
}

fn help(command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_lakewright-under-test"))
        .args([command, "--help"])
        .output()
        .expect("the binary starts");
    if output.status.success() { String::from_utf8_lossy(&output.stdout).into_owned() } else { String::new() }
}

#[test]
fn documented_commands_and_flags_exist() {
    let mut findings = Vec::new();
    for file in documents() {
        for line in code_lines(&file.text) {
            let Some(arguments) = lakewright_arguments(line) else { continue };
            let command = arguments.iter().find(|argument| !argument.starts_with('-')).copied().unwrap_or_default();
            let help = help(command);
            if help.is_empty() {
                findings.push(format!("{}: no command `{command}`: {line}", file.path));
                continue;
            }
            let flags = arguments.iter().filter(|argument| argument.starts_with("--") && argument.len() > 2);
            let unknown = flags.map(|flag| flag.split('=').next().unwrap_or(flag)).filter(|flag| !help.contains(flag));
            findings.extend(unknown.map(|flag| format!("{}: `{command}` has no {flag}: {line}", file.path)));
        }
    }
    assert_none("documents name what is not there", &findings);
}

#[test]
fn readme_opens_with_the_two_commands() {
    let readme = read("README.md");
    let first_screen: Vec<&str> = readme.lines().take(60).collect();
    for command in ["cargo run -- demo", "cargo test --workspace"] {
        assert!(first_screen.iter().any(|line| line.contains(command)), "README's first screen lacks `{command}`");
    }
}

#[test]
fn links_lead_to_files_that_are_there() {
    let mut findings = Vec::new();
    for file in documents() {
        let folder = root().join(&file.path).parent().expect("a file lies in a folder").to_owned();
        for target in file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or(target);
            let is_local = !path.is_empty() && !path.contains("://");
            if is_local && !folder.join(path).exists() {
                findings.push(format!("{}: {target}", file.path));
            }
        }
    }
    assert_none("a link to nowhere", &findings);
}

#[test]
fn architecture_lists_every_member_and_no_other() {
    let text = read("ARCHITECTURE.md");
    let section = text.split("## Code map").nth(1).expect("ARCHITECTURE.md has a code map");
    let section = section.split("\n## ").next().unwrap_or(section);
    let listed: BTreeSet<String> = section
        .lines()
        .filter_map(|line| line.strip_prefix("### `"))
        .filter_map(|line| line.split('`').next())
        .map(|folder| folder.trim_end_matches('/').to_owned())
        .filter(|folder| root().join(folder).join("Cargo.toml").exists() || members().contains(folder))
        .collect();
    assert_eq!(listed, members().into_iter().collect(), "headings of the code map and members of the workspace");
    assert!(listed.iter().all(|member| !short_name(member).is_empty()));
}

#[test]
fn changelog_has_a_place_for_what_is_not_released() {
    assert!(read("CHANGELOG.md").lines().any(|line| line == "## Unreleased"));
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let decisions: Vec<String> =
        files().into_iter().map(|file| file.path).filter(|path| path.starts_with("docs/decisions/")).collect();
    for (number, path) in (1..).zip(&decisions) {
        assert!(path.starts_with(&format!("docs/decisions/{number:04}-")), "{path} should be number {number}");
    }
}
