//! Checks the members' manifests: lints, and who may depend on whom.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::{assert_none, files, read};

/// The members' folders, in the order of the root manifest.
pub(super) fn members() -> Vec<String> {
    let root: Table = read("Cargo.toml").parse().expect("the root manifest is TOML");
    let members = root["workspace"]["members"].as_array().expect("members are a list");
    members.iter().map(|member| member.as_str().expect("a member is a folder").to_owned()).collect()
}

fn manifest(member: &str) -> Table {
    read(&format!("{member}/Cargo.toml")).parse().unwrap_or_else(|error| panic!("{member}: {error}"))
}

/// A member's name as the documents give it: that of its folder.
pub(super) fn short_name(member: &str) -> &str {
    member.rsplit('/').next().unwrap_or(member)
}

/// The names of all dependencies of a manifest, of all kinds and platforms.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut tables = vec![manifest];
    while let Some(table) = tables.pop() {
        for (key, value) in table {
            let Value::Table(inner) = value else { continue };
            if key.ends_with("dependencies") {
                found.extend(inner.keys().cloned());
            } else if key == "target" {
                tables.extend(inner.values().filter_map(Value::as_table));
            }
        }
    }
    found
}

/// What ARCHITECTURE.md allows one member.
#[derive(Debug)]
struct Allowance {
    members: BTreeSet<String>,
    forbidden: Vec<String>,
}

/// Reads the table under "Which crate may name which": crate, members it may name, crates it must never name.
fn allowances() -> BTreeMap<String, Allowance> {
    let text = read("ARCHITECTURE.md");
    let section = text.split("## Which crate may name which").nth(1).expect("ARCHITECTURE.md has the table");
    let rows = section.lines().skip_while(|line| !line.starts_with("|--")).skip(1);
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').collect();
            let name = names(cells[1]).into_iter().next().expect("a row names its crate");
            let members = names(cells[2]).into_iter().collect();
            (name, Allowance { members, forbidden: names(cells[3]) })
        })
        .collect()
}

#[test]
fn every_member_takes_the_workspaces_lints() {
    let lints_taken = |member: &String| {
        let manifest = manifest(member);
        manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool) == Some(true)
    };
    let findings: Vec<String> = members().into_iter().filter(|member| !lints_taken(member)).collect();
    assert_none("without `[lints] workspace = true`", &findings);
}

#[test]
fn every_manifest_belongs_to_a_member() {
    let members: BTreeSet<String> = members().iter().map(|member| format!("{member}/Cargo.toml")).collect();
    // Fuzz targets are a workspace of their own: another compiler builds them.
    let is_member = |path: &String| path.ends_with("/Cargo.toml") && !path.ends_with("/fuzz/Cargo.toml");
    let manifests: BTreeSet<String> = files().into_iter().map(|file| file.path).filter(is_member).collect();
    assert_eq!(manifests, members);
}

#[test]
fn dependencies_keep_to_the_table_of_the_architecture() {
    let allowances = allowances();
    let mut findings = Vec::new();
    for member in members() {
        let name = short_name(&member);
        let Some(allowance) = allowances.get(name) else {
            findings.push(format!("{name} has no row"));
            continue;
        };
        for dependency in dependencies(&manifest(&member)) {
            let allowed = dependency.strip_prefix("lakewright-").map_or_else(
                || !allowance.forbidden.iter().any(|crate_name| is_part_of(&dependency, crate_name)),
                |other| allowance.members.contains(other),
            );
            if !allowed {
                findings.push(format!("{name} must not depend on {dependency}"));
            }
        }
    }
    assert_none("against ARCHITECTURE.md, \"Which crate may name which\"", &findings);
}

/// Whether `dependency` is `crate_name` or one of its parts, as `datafusion-sql` is of `datafusion`.
fn is_part_of(dependency: &str, crate_name: &str) -> bool {
    dependency.strip_prefix(crate_name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[test]
fn the_table_of_the_architecture_is_about_members_only() {
    let members = members();
    let names: BTreeSet<&str> = members.iter().map(|member| short_name(member)).collect();
    let mut findings = Vec::new();
    for (name, allowance) in &allowances() {
        let unknown = std::iter::once(name).chain(&allowance.members).filter(|name| !names.contains(name.as_str()));
        findings.extend(unknown.map(|unknown| format!("{unknown}, in the row of {name}")));
    }
    assert_none("not a member", &findings);
}

#[test]
fn members_take_versions_from_the_workspace() {
    let mut findings = Vec::new();
    for member in members() {
        let manifest = manifest(&member);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(Value::as_table) else { continue };
            let own = dependencies.iter().filter(|(_, value)| value.is_str() || value.get("version").is_some());
            findings.extend(own.map(|(name, _)| format!("{member}: {name}")));
        }
    }
    assert_none("a version outside [workspace.dependencies]", &findings);
}

#[test]
fn the_lock_file_names_the_public_registry_only() {
    let lock: Table = read("Cargo.lock").parse().expect("the lock file is TOML");
    let packages = lock["package"].as_array().expect("packages are a list");
    let sources: BTreeSet<&str> =
        packages.iter().filter_map(|package| package.get("source")).filter_map(Value::as_str).collect();
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), ["registry+https://github.com/rust-lang/crates.io-index"]);
}
