//! Where things stand in the text: sqlparser's lines and columns become byte ranges of the whole file.
//!
//! Invariant: any span, even an empty or a foreign one, gives a range inside of the query's range.

use std::ops::Range;

use datafusion::sql::sqlparser::{
    ast::{Ident, Spanned},
    tokenizer::{Location, Span},
};

use crate::{Diagnostic, text::FileText};

/// One query's text inside of its file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    file: String,
    text: String,
    range: Range<usize>,
    /// Byte offsets in the file of the starts of the lines of the range.
    lines: Vec<usize>,
}

impl Source {
    /// `range` is moved to what it covers of `text`, whole characters only.
    pub(super) fn new(file: &str, text: &str, range: Range<usize>) -> Self {
        let end = floor_boundary(text, range.end);
        let start = floor_boundary(text, range.start).min(end);
        let newlines = text.get(start..end).unwrap_or_default().match_indices('\n');
        let lines = std::iter::once(start).chain(newlines.map(|(at, _)| start + at + 1)).collect();
        Self { file: file.to_owned(), text: text.to_owned(), range: start..end, lines }
    }

    /// The query's own text.
    pub(super) fn query_text(&self) -> &str {
        self.slice(&self.range)
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    pub(super) fn slice(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// The byte offset in the file of a location that counts lines and characters of the query from 1.
    pub(super) fn offset(&self, location: Location) -> usize {
        let line = usize::try_from(location.line).unwrap_or(usize::MAX).saturating_sub(1);
        let column = usize::try_from(location.column).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(start) = self.lines.get(line).copied() else { return self.range.end };
        let rest = self.slice(&(start..self.range.end));
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }

    /// The byte range of a span; `None` for an empty one.
    pub(super) fn range_of_span(&self, span: Span) -> Option<Range<usize>> {
        if span.start.line == 0 {
            return None;
        }
        let start = self.offset(span.start);
        Some(start..self.offset(span.end).max(start))
    }

    /// The byte range of an identifier; the whole query if it was not written.
    pub(super) fn range_of_ident(&self, ident: &Ident) -> Range<usize> {
        self.range_of_span(ident.span).unwrap_or_else(|| self.range())
    }

    /// The byte range of a piece of syntax; the whole query if the piece does not know where it stands.
    pub(super) fn range_of(&self, node: &impl Spanned) -> Range<usize> {
        self.range_of_node(node.span()).unwrap_or_else(|| self.range())
    }

    /// The byte range of the span of a piece of syntax; `None` for an empty one.
    pub(super) fn range_of_node(&self, span: Span) -> Option<Range<usize>> {
        self.range_of_span(span).map(|range| range.start..self.closed(&range))
    }

    /// Where a range ends if the parentheses that it opens are closed: the spans of calls leave the last one out.
    fn closed(&self, range: &Range<usize>) -> usize {
        let mut open = 0_usize;
        let mut quote = None;
        for (at, c) in self.slice(&(range.start..self.range.end)).char_indices() {
            let end = range.start + at;
            // A call whose arguments have no place, such as `count(*)`, ends before its parenthesis.
            let is_call = end == range.end && c == '(';
            if end >= range.end && open == 0 && !is_call {
                break;
            }
            match (quote, c) {
                (Some(own), _) if own == c => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"' | '`') => quote = Some(c),
                (None, '(') => open += 1,
                (None, ')') if open > 0 => {
                    open -= 1;
                    if open == 0 && end >= range.end {
                        return end + 1;
                    }
                }
                (None, _) => {}
            }
        }
        range.end
    }

    /// Where `text` stands behind or in a range, in any case; the range itself if it does not.
    pub(super) fn find_after(&self, range: &Range<usize>, text: &str) -> Range<usize> {
        let rest = self.slice(&(range.start..self.range.end));
        let found = rest.to_ascii_lowercase().find(&text.to_ascii_lowercase()).map(|at| range.start + at);
        found.map_or_else(|| range.clone(), |start| start..start + text.len())
    }

    pub(super) fn error(&self, code: &'static str, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        FileText::new(&self.file, &self.text).error(code, span, message)
    }

    pub(super) fn warning(&self, code: &'static str, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        FileText::new(&self.file, &self.text).warning(code, span, message)
    }
}

fn floor_boundary(text: &str, offset: usize) -> usize {
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
    fn locations_count_from_the_range_and_ranges_from_the_file() {
        let text = "é;\nSELECT ü,\r\n  x";
        let source = Source::new("f.sql", text, text.find("SELECT").unwrap()..text.len());
        let at = |line, column| &text[source.offset(Location { line, column })..];
        assert!(at(1, 8).starts_with('ü'));
        assert!(at(1, 9).starts_with(','));
        assert!(at(2, 3).starts_with('x'));
        assert_eq!(source.offset(Location { line: 9, column: 1 }), text.len());
    }

    #[test]
    fn a_range_that_the_text_does_not_have_is_cut() {
        let source = Source::new("f.sql", "é", 1..99);
        assert_eq!(source.range(), 0..2);
        assert_eq!(source.query_text(), "é");
    }
}
