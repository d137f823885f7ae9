//! What went wrong, as text: what, where, why, and what to do.

use std::{error::Error as StdError, fmt};

use lakewright_compiler::{Diagnostic, Severity};
use lakewright_error::{Error, ErrorKind};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::{Output, Style, printable};
use crate::exit::{Failure, Findings};

/// Causes that are told of one error.
const CAUSES_MAX: usize = 8;

/// Renders a failure for stderr; empty if there is nothing to tell.
pub(crate) fn failure_text(failure: &Failure, output: &Output) -> String {
    match failure {
        Failure::Error(error, _) => error_text(error, output.stderr_style),
        Failure::Findings(findings) => findings_text(findings, output.stderr_style, output.width),
        Failure::Told(_) | Failure::ReaderGone => String::new(),
    }
}

/// Renders an error.
pub(crate) fn error_text(error: &Error, style: Style) -> String {
    let mut text = format!("{} {}\n", style.red("error:"), printable(error.message()));
    let width = error.context().iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in error.context() {
        text.push_str(&format!("  {}  {}\n", style.dim(&format!("{key:width$}")), printable(value)));
    }
    for cause in causes(error) {
        text.push_str(&format!("  {} {}\n", style.dim("why:"), printable(&cause)));
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("  {} {}\n", style.cyan("help:"), printable(hint)));
    }
    if error.kind() == ErrorKind::Internal {
        text.push_str(&format!("  {} this is a defect of lakewright: please report it\n", style.cyan("help:")));
    }
    text
}

/// The chain of causes, without those that only repeat.
pub(crate) fn causes(error: &Error) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut source = StdError::source(error);
    while let Some(cause) = source.filter(|_| causes.len() < CAUSES_MAX) {
        let text = cause.to_string();
        // Many libraries print their source and carry it too.
        if !text.is_empty() && !causes.iter().any(|told| told.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    causes
}

/// Renders findings with their snippets, and counts them at the end.
pub(crate) fn findings_text(findings: &Findings, style: Style, width: usize) -> String {
    let theme = if style.color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false).with_context_lines(1);
    let mut text = String::new();
    for diagnostic in &findings.diagnostics {
        let report = Report::new(diagnostic, findings);
        // Writing to a String does not fail; a handler that does leaves the plain form.
        let mut rendered = String::new();
        if handler.render_report(&mut rendered, &report).is_err() {
            rendered = format!("{diagnostic}\n");
        }
        text.push_str(rendered.trim_start_matches('\n'));
        text.push('\n');
    }
    let count = |severity| findings.diagnostics.iter().filter(|found| found.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let counted = |number: usize, noun| super::number::counted(number as u64, noun);
    match (errors, warnings) {
        (0, 0) => {}
        (0, _) => text.push_str(&format!("{}\n", style.yellow(&counted(warnings, "warning")))),
        (_, 0) => text.push_str(&format!("{}\n", style.red(&counted(errors, "error")))),
        _ => text.push_str(&style.red(&format!("{}, {}\n", counted(errors, "error"), counted(warnings, "warning")))),
    }
    text
}

/// A diagnostic in the shape that the handler takes.
struct Report<'a> {
    diagnostic: &'a Diagnostic,
    source: Option<NamedSource<String>>,
    shown_file: String,
}

impl<'a> Report<'a> {
    fn new(diagnostic: &'a Diagnostic, findings: &Findings) -> Self {
        let file = findings.files.get(&diagnostic.file);
        let shown_file = file.map_or_else(|| diagnostic.file.clone(), |(shown, _)| shown.clone());
        let source = file.filter(|(_, text)| !text.is_empty()).map(|(shown, text)| {
            // One column for each tab, so that the underlining stands where the editor says. Offsets stay as they are.
            let blank = |c: char| if c.is_ascii_control() && c != '\n' { ' ' } else { c };
            NamedSource::new(shown, text.chars().map(blank).collect())
        });
        Self { diagnostic, source, shown_file }
    }
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.diagnostic, f)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With a snippet the place stands above it.
        if self.source.is_none() {
            write!(f, "{}:{}:{}: ", self.shown_file, self.diagnostic.line, self.diagnostic.column)?;
        }
        f.write_str(&printable(&self.diagnostic.message))
    }
}

impl StdError for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        let span = &self.diagnostic.span;
        let label = self.diagnostic.label.clone().unwrap_or_else(|| "here".to_owned());
        Some(Box::new(std::iter::once(LabeledSpan::new(Some(label), span.start, span.len()))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const TEXT: &str = "-- Songs.\nSELECT\n\tsong_id,\n\tytle\nFROM staging.songs;\n";

    fn findings(severity: Severity) -> Findings {
        let start = TEXT.find("ytle").unwrap();
        let diagnostic = Diagnostic {
            severity,
            code: "unknown_column",
            message: "staging.songs has no column ytle".to_owned(),
            file: "curated/songs.sql".to_owned(),
            span: start..start + 4,
            line: 4,
            column: 2,
            label: Some("not found".to_owned()),
            help: Some("did you mean \"title\"?".to_owned()),
        };
        let file = ("jobs/music/curated/songs.sql".to_owned(), TEXT.to_owned());
        Findings { diagnostics: vec![diagnostic], files: BTreeMap::from([("curated/songs.sql".to_owned(), file)]) }
    }

    #[test]
    fn a_finding_shows_its_place_its_snippet_and_its_suggestion() {
        insta::assert_snapshot!(findings_text(&findings(Severity::Error), Style::default(), 80));
    }

    #[test]
    fn a_finding_about_a_file_that_is_not_there_still_names_it() {
        let mut findings = findings(Severity::Warning);
        findings.files.clear();
        insta::assert_snapshot!(findings_text(&findings, Style::default(), 80));
    }

    #[test]
    fn an_error_says_what_where_why_and_what_to_do() {
        let error = Error::new(ErrorKind::Corrupt, "cannot read the raw object")
            .with("object", "log_data/a\u{1b}[31m.json")
            .with("line", 3)
            .with_source(std::io::Error::other("expected a comma"))
            .with_hint("mend the object, or declare mode 'DROPMALFORMED'");
        insta::assert_snapshot!(error_text(&error, Style::default()), @r"
        error: cannot read the raw object
          object  log_data/a\u{1b}[31m.json
          line    3
          why: expected a comma
          help: mend the object, or declare mode 'DROPMALFORMED'
        ");
    }

    #[test]
    fn a_cause_that_repeats_its_source_is_told_once() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "outer: {}", self.0)
            }
        }
        impl StdError for Outer {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
        let error = Error::new(ErrorKind::Corrupt, "x").with_source(Outer(std::io::Error::other("inner")));
        assert_eq!(causes(&error), ["outer: inner"]);
    }
}
