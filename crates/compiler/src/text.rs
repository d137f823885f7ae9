//! One file's text, and the diagnostics that point into it.
//!
//! Every step of the compiler speaks in byte ranges of a file; **here** they become lines and columns.
//!
//! Invariant: any range gives a diagnostic, even one beyond the text or inside of a character: it is moved to the nearest
//! character boundary before it.

use std::ops::Range;

use crate::{Diagnostic, Severity};

/// Findings of one list in one file beyond which the rest of the list is not looked at: nobody reads more, and a place
/// takes time in the size of the file.
pub(crate) const FINDINGS_MAX: usize = 100;

/// A file of the job folder, or an ad-hoc query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileText<'a> {
    /// Path relative to the job folder; for an ad-hoc query, a name in angle brackets.
    pub(crate) path: &'a str,
    /// The whole text.
    pub(crate) text: &'a str,
}

impl<'a> FileText<'a> {
    pub(crate) fn new(path: &'a str, text: &'a str) -> Self {
        Self { path, text }
    }

    /// An error at `span`.
    pub(crate) fn error(&self, code: &'static str, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        self.finding(Severity::Error, code, span, message.into())
    }

    /// A warning at `span`.
    pub(crate) fn warning(&self, code: &'static str, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        self.finding(Severity::Warning, code, span, message.into())
    }

    fn finding(&self, severity: Severity, code: &'static str, span: Range<usize>, message: String) -> Diagnostic {
        let start = boundary_before(self.text, span.start);
        let end = boundary_before(self.text, span.end).max(start);
        let (line, column) = line_and_column(self.text, start);
        let file = self.path.to_owned();
        Diagnostic { severity, code, message, file, span: start..end, line, column, label: None, help: None }
    }
}

impl Diagnostic {
    /// Adds a few words to stand under the underlined span.
    #[must_use]
    pub(crate) fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what to do next, if there is something to say.
    #[must_use]
    pub(crate) fn with_help_if(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

/// Line and column of a byte offset, both from 1, the column in characters; a byte order mark is no column.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..boundary_before(text, offset)).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let on_line = before.get(line_start..).unwrap_or_default();
    (line, on_line.trim_start_matches('\u{feff}').chars().count() + 1)
}

fn boundary_before(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_newlines() {
        let text = "\u{feff}é = 1\r\nsecond 🦀 x";
        let at = |needle: &str| line_and_column(text, text.find(needle).unwrap());
        assert_eq!(at("é"), (1, 1));
        assert_eq!(at("="), (1, 3));
        assert_eq!(at("second"), (2, 1));
        assert_eq!(at("x"), (2, 10));
    }

    #[test]
    fn a_range_beyond_the_text_or_inside_a_character_is_moved_to_a_boundary() {
        let file = FileText::new("a.sql", "é");
        assert_eq!(file.error("x", 1..99, "m").span, 0..2);
        assert_eq!(file.error("x", 50..60, "m").span, 2..2);
        assert_eq!(file.warning("x", 2..2, "m").column, 2);
    }
}
