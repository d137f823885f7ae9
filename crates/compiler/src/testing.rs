//! What the tests of this crate share: job folders from literals, and findings as text.

use std::{collections::BTreeMap, fmt::Write};

use datafusion::prelude::SessionContext;

use crate::{Diagnostic, Diagnostics, Job, JobFolder, Severity, compile_job};

/// A folder with a valid `job.toml` (unless given) and these files.
pub(crate) fn folder(files: &[(&str, &str)]) -> JobFolder {
    let mut folder = JobFolder::default();
    folder.files.insert("job.toml".to_owned(), "name = \"test\"\n".to_owned());
    folder.files.extend(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
    folder
}

/// Compiles with DataFusion's own functions.
pub(crate) fn compile(folder: &JobFolder) -> Result<Job, Diagnostics> {
    compile_job(folder, &SessionContext::new().state(), &BTreeMap::new())
}

/// Every finding with the line that it points at.
pub(crate) fn render(folder: &JobFolder, findings: &[Diagnostic]) -> String {
    let mut out = String::new();
    for finding in findings {
        let Diagnostic { severity, code, message, file, span, line, column, label, help } = finding;
        let severity = if *severity == Severity::Error { "error" } else { "warning" };
        writeln!(out, "{severity}[{code}] {file}:{line}:{column}: {message}").unwrap();
        let text = folder.files.get(file).map_or("", String::as_str);
        if !span.is_empty() {
            let shown = text.lines().nth(line - 1).unwrap_or_default().trim_start_matches('\u{feff}');
            let width = text.get(span.clone()).unwrap_or_default().lines().next().unwrap_or_default().chars().count();
            let label = label.as_ref().map(|label| format!(" {label}")).unwrap_or_default();
            writeln!(out, "  | {shown}\n  | {}{}{label}", " ".repeat(column - 1), "^".repeat(width)).unwrap();
        }
        if let Some(help) = help {
            writeln!(out, "  = {help}").unwrap();
        }
    }
    out
}

/// The findings of a folder that does not compile, or the warnings of one that does.
pub(crate) fn findings(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    match compile(&folder) {
        Ok(job) => render(&folder, &job.warnings),
        Err(failed) => render(&folder, &failed.0),
    }
}
