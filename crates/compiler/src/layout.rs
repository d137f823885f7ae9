//! What each file of a job folder is: decided by its path alone.
//!
//! Data flow: [`JobFolder`] -> **[`lay_out`]** -> manifest, sources, models, analyses, each read by its own module.
//!
//! Invariant: every file of the folder is in the layout, is a document or hidden, or has a diagnostic.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Diagnostic, JobFolder, TableName, suggest::closest, text::FileText};

const MANIFEST: &str = "job.toml";
const NAME_RULE: &str = "names of zones and tables begin with a-z or _ and hold only a-z, 0-9 and _";

/// The files of a job folder by what they are.
#[derive(Debug, Default)]
pub(crate) struct Layout<'a> {
    /// `job.toml`
    pub(crate) manifest: Option<FileText<'a>>,
    /// `raw/*.sql`
    pub(crate) sources: BTreeMap<TableName, FileText<'a>>,
    /// `<zone>/*.sql`
    pub(crate) models: BTreeMap<TableName, FileText<'a>>,
    /// `analyses/*.sql` with their stems.
    pub(crate) analyses: Vec<(&'a str, FileText<'a>)>,
    /// `tests/*.yaml`
    pub(crate) tests: Vec<FileText<'a>>,
    /// `audits/*.sql` by their stems.
    pub(crate) audits: BTreeMap<&'a str, FileText<'a>>,
}

/// Sorts the files of a folder by what they are.
pub(crate) fn lay_out(folder: &JobFolder) -> (Layout<'_>, Vec<Diagnostic>) {
    let mut sorter = Sorter::default();
    for (path, text) in &folder.files {
        sorter.sort(FileText::new(path, text));
    }
    sorter.finish()
}

#[derive(Default)]
struct Sorter<'a> {
    layout: Layout<'a>,
    findings: Vec<Diagnostic>,
    /// Folders that have their diagnostic: one for all of their files.
    reported: BTreeSet<&'a str>,
}

impl<'a> Sorter<'a> {
    fn sort(&mut self, file: FileText<'a>) {
        let parts: Vec<&str> = file.path.split('/').collect();
        let broken = |part: &&str| part.is_empty() || *part == "." || *part == ".." || part.contains(['\\', '\0']);
        if parts.iter().any(broken) {
            self.findings.push(file.error("path", 0..0, "this is no path inside of a job folder"));
            return;
        }
        let is_hidden = parts.iter().any(|part| part.starts_with(['.', '_']));
        if is_hidden || parts.last().is_some_and(|name| is_document(name)) {
            return;
        }
        match parts.as_slice() {
            [MANIFEST] => self.layout.manifest = Some(file),
            [name] => self.findings.push(unexpected_at_top(file, name)),
            ["tests", "fixtures", ..] => {}
            [folder, name] => self.sort_in(file, folder, name),
            [folder, sub_folder, ..] => {
                let end = folder.len() + 1 + sub_folder.len();
                let path = file.path.get(..end).unwrap_or(file.path);
                self.report_folder(file, path, "deep_folder", &format!("`{path}/` is a folder below a folder"), || {
                    format!("a job has one level of folders: move its files to `{folder}/`, or to a zone of their own")
                });
            }
            [] => {}
        }
    }

    fn sort_in(&mut self, file: FileText<'a>, folder: &'a str, name: &'a str) {
        match folder {
            "tests" => match name.rsplit_once('.') {
                Some((_, "yaml")) => self.layout.tests.push(file),
                _ => self.findings.push(wrong_kind(file, "tests/ holds unit tests, `.yaml` files", "yaml")),
            },
            "rejects" => {
                self.report_folder(
                    file,
                    folder,
                    "reserved_folder",
                    "`rejects/` is reserved for the rejects of runs",
                    || "name the zone otherwise".to_owned(),
                );
            }
            "audits" | "analyses" | "raw" => self.sort_sql(file, folder, name),
            _ if TableName::new(folder, "t").is_none() => {
                self.report_folder(file, folder, "invalid_name", &format!("`{folder}` cannot name a zone"), || {
                    name_help(folder)
                });
            }
            _ => self.sort_sql(file, folder, name),
        }
    }

    fn sort_sql(&mut self, file: FileText<'a>, folder: &'a str, name: &'a str) {
        let Some(stem) = name.strip_suffix(".sql") else {
            self.findings.push(match folder {
                "raw" => wrong_kind(file, "raw/ holds the declarations of sources, `.sql` files", "sql"),
                _ => wrong_kind(file, &format!("{folder}/ holds `.sql` files"), "sql"),
            });
            return;
        };
        if folder == "analyses" && !stem.is_empty() {
            self.layout.analyses.push((stem, file));
            return;
        }
        let Some(table) = TableName::new(folder, stem) else {
            let message = format!("`{stem}` cannot name a table");
            self.findings.push(file.error("invalid_name", 0..0, message).with_help(name_help(stem)));
            return;
        };
        match folder {
            "raw" => {
                self.layout.sources.insert(table, file);
            }
            "audits" => {
                self.layout.audits.insert(stem, file);
            }
            _ => {
                self.layout.models.insert(table, file);
            }
        }
    }

    fn report_folder(
        &mut self,
        file: FileText<'a>,
        path: &'a str,
        code: &'static str,
        message: &str,
        help: impl FnOnce() -> String,
    ) {
        if self.reported.insert(path) {
            self.findings.push(file.error(code, 0..0, message).with_help(help()));
        }
    }

    fn finish(mut self) -> (Layout<'a>, Vec<Diagnostic>) {
        let top = FileText::new(MANIFEST, self.layout.manifest.map_or("", |file| file.text));
        if self.layout.manifest.is_none() {
            let error = top.error("no_manifest", 0..0, "the job folder has no job.toml");
            self.findings.push(error.with_help("make one with at least: name = \"my_job\""));
        }
        // A folder whose files all have errors is not without models.
        if self.layout.models.is_empty() && self.findings.iter().all(|finding| finding.code == "no_manifest") {
            let error = top.error("no_models", 0..0, "the job has no models");
            self.findings.push(error.with_help("write a SELECT to a file such as staging/events.sql"));
        }
        if self.layout.sources.is_empty() && !self.reported_in("raw/") {
            let warning = top.warning("no_sources", 0..0, "the job has no sources: there is no .sql file in raw/");
            self.findings.push(warning.with_help("declare raw JSON as a table in a file such as raw/events.sql"));
        }
        (self.layout, self.findings)
    }

    fn reported_in(&self, folder: &str) -> bool {
        self.findings.iter().any(|finding| finding.file.starts_with(folder))
    }
}

fn is_document(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    upper.ends_with(".MD") || ["README", "LICENSE", "NOTICE"].iter().any(|known| upper.split('.').next() == Some(known))
}

fn unexpected_at_top(file: FileText<'_>, name: &str) -> Diagnostic {
    let error = file.error("unexpected_file", 0..0, format!("`{name}` is no file of a job"));
    if closest(name, [MANIFEST]).is_some() {
        return error.with_help("did you mean `job.toml`?");
    }
    if name.ends_with(".sql") {
        return error.with_help(format!("a table's file stands in the folder of its zone, for example staging/{name}"));
    }
    error.with_help("a job folder holds job.toml, folders with .sql files, and documents (.md)")
}

fn wrong_kind(file: FileText<'_>, message: &str, extension: &str) -> Diagnostic {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let (stem, found) = name.rsplit_once('.').unwrap_or((name, ""));
    let error = file.error("unexpected_file", 0..0, format!("{message}, not `{name}`"));
    match found.to_ascii_lowercase().as_str() {
        "json" | "jsonl" | "ndjson" | "csv" | "tsv" | "parquet" | "avro" | "gz" | "zst" => {
            error.with_help("data stays out of the job folder: it is read from below the raw prefix")
        }
        "sql" | "yml" | "yaml" | "" => error.with_help(format!("rename it to `{stem}.{extension}`")),
        _ => error.with_help("move it out of the job folder, or hide it: names with `.` or `_` in front are left out"),
    }
}

fn name_help(name: &str) -> String {
    let changed: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' })
        .collect();
    match TableName::new(&changed, "t") {
        Some(_) if changed != name && name.is_ascii() => format!("{NAME_RULE}: rename it to `{changed}`"),
        _ => NAME_RULE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::render;

    fn report(paths: &[&str]) -> String {
        let files = paths.iter().map(|path| ((*path).to_owned(), String::new()));
        let folder = JobFolder { files: files.collect() };
        render(&folder, &lay_out(&folder).1)
    }

    #[test]
    fn every_file_of_a_job_has_its_place() {
        let paths = [
            "job.toml",
            "README.md",
            "LICENSE",
            "raw/events.sql",
            "raw/README.md",
            "staging/events.sql",
            "z_1/_hidden.sql",
            ".git/config",
            "analyses/Top-10.sql",
            "curated/.songs.sql.swp",
            "tests/fixtures/songs.jsonl",
        ];
        assert_eq!(report(&paths), "");
        let files = paths.iter().map(|path| ((*path).to_owned(), String::new()));
        let folder = JobFolder { files: files.collect() };
        let layout = lay_out(&folder).0;
        assert_eq!(layout.sources.keys().map(ToString::to_string).collect::<Vec<_>>(), ["raw.events"]);
        assert_eq!(layout.models.keys().map(ToString::to_string).collect::<Vec<_>>(), ["staging.events"]);
        assert_eq!(layout.analyses.iter().map(|(stem, _)| *stem).collect::<Vec<_>>(), ["Top-10"]);
    }

    #[test]
    fn files_without_a_place_are_named() {
        insta::assert_snapshot!(report(&[
            "job.toml",
            "Job.toml",
            "songs.sql",
            "notes.txt",
            "raw/events.sql",
            "raw/data.csv",
            "raw/sub/events.sql",
            "raw/sub/songs.sql",
            "staging/Events.sql",
            "staging/1st.sql",
            "staging/events.SQL",
            "staging/a b.sql",
            "staging/.sql",
            "staging/x.yaml",
            "Curated/a.sql",
            "Curated/b.sql",
            "2020/a.sql",
            "rejects/a.sql",
            "rejects/b.sql",
            "tests/a.yml",
            "tests/a.sql",
            "tests/a.yaml",
            "tests/deep/a.yaml",
            "audits/a.sql",
            "audits/A.sql",
            "a/../b.sql",
            "/a.sql",
            "a//b.sql",
            "curated\\a.sql",
            "ünï/a.sql",
        ]));
    }

    #[test]
    fn a_folder_that_is_no_job_is_told_so() {
        insta::assert_snapshot!([report(&[]), report(&["job.toml"]), report(&["job.toml", "raw/a.sql"])].join("\n"));
    }
}
