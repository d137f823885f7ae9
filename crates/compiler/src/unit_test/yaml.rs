//! The YAML of unit tests: text becomes a tree of values that know where they stand.
//!
//! Invariant: depth and size of the tree are bounded by named limits; aliases, which multiply, are refused.

use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use crate::{Diagnostic, text::FileText};

/// How deep values may be nested.
const DEPTH_MAX: usize = 32;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    /// Byte range in the file.
    pub(crate) span: Range<usize>,
    /// Line of its beginning, from 1.
    pub(crate) line: usize,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Text as written, without its quotes; plain if it had none.
    Scalar {
        /// The text.
        text: String,
        /// Whether it stood without quotes, so that it may be a number, a truth value, or nothing.
        plain: bool,
    },
    /// `[..]`, or lines with `-`.
    List(Vec<Node>),
    /// `{..}`, or lines with `key:`.
    Map(Vec<(Node, Node)>),
}

/// Reads the documents of a file.
pub(crate) fn parse_yaml(file: FileText<'_>) -> Result<Vec<Node>, Diagnostic> {
    let mut reader = Reader { file, parser: Parser::new_from_str(file.text) };
    let mut documents = Vec::new();
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => documents.push(reader.node(event, span, 0)?),
        }
    }
    Ok(documents)
}

struct Reader<'t> {
    file: FileText<'t>,
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Diagnostic> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok(next)) => Ok(Some(next)),
            Some(Err(error)) => {
                let at = self.offset(error.marker());
                Err(self.file.error("syntax", at..at, format!("this is no YAML: {}", error.info())))
            }
        }
    }

    /// The value that begins with this event.
    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Diagnostic> {
        if depth > DEPTH_MAX {
            let at = self.offset(&span.start);
            return Err(self.file.error("too_deep", at..at, format!("values are nested more than {DEPTH_MAX} deep")));
        }
        let mut end = span.end;
        let value = match event {
            Event::Scalar(text, style, ..) => {
                Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.inner()? {
                        (Event::SequenceEnd, span) => {
                            end = span.end;
                            break;
                        }
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
                Value::List(items)
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                loop {
                    let key = match self.inner()? {
                        (Event::MappingEnd, span) => {
                            end = span.end;
                            break;
                        }
                        (event, span) => self.node(event, span, depth + 1)?,
                    };
                    let (event, span) = self.inner()?;
                    entries.push((key, self.node(event, span, depth + 1)?));
                }
                Value::Map(entries)
            }
            _ => {
                let range = self.range(&span);
                return Err(self.file.error("unsupported", range, "anchors and aliases are not read: write it out"));
            }
        };
        let start = self.offset(&span.start);
        // A block ends where the next thing begins: what is shown of it is its first line.
        let line_end = self.file.text.get(start..).and_then(|rest| rest.find('\n')).map_or(usize::MAX, |at| start + at);
        Ok(Node { value, span: start..self.offset(&end).clamp(start, line_end.max(start)), line: span.start.line() })
    }

    fn inner(&mut self) -> Result<(Event<'t>, Span), Diagnostic> {
        let end = self.file.text.len();
        self.next()?.ok_or_else(|| self.file.error("syntax", end..end, "the YAML ends inside of a value"))
    }

    fn range(&self, span: &Span) -> Range<usize> {
        let start = self.offset(&span.start);
        start..self.offset(&span.end).max(start)
    }

    /// Markers count characters.
    fn offset(&self, marker: &Marker) -> usize {
        let text = self.file.text;
        text.char_indices().nth(marker.index()).map_or(text.len(), |(offset, _)| offset)
    }
}

impl Node {
    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The truth value that it is.
    pub(crate) fn truth(&self) -> Option<bool> {
        match &self.value {
            Value::Scalar { text, plain: true } if text.eq_ignore_ascii_case("true") => Some(true),
            Value::Scalar { text, plain: true } if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// The value as JSON: what stands without quotes and looks like a number, a truth value or nothing is one.
    pub(crate) fn to_json(&self) -> String {
        let quoted = |text: &str| serde_json::Value::String(text.to_owned()).to_string();
        match &self.value {
            Value::Scalar { text, plain: true } => match text.as_str() {
                "" | "~" | "null" | "Null" | "NULL" => "null".to_owned(),
                "true" | "True" | "TRUE" => "true".to_owned(),
                "false" | "False" | "FALSE" => "false".to_owned(),
                number if serde_json::from_str::<serde_json::Number>(number).is_ok() => number.to_owned(),
                text => quoted(text),
            },
            Value::Scalar { text, plain: false } => quoted(text),
            Value::List(items) => {
                format!("[{}]", items.iter().map(Self::to_json).collect::<Vec<_>>().join(","))
            }
            Value::Map(entries) => {
                let entry = |(key, value): &(Self, Self)| {
                    format!("{}:{}", quoted(key.text().unwrap_or_default()), value.to_json())
                };
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Node>, String> {
        parse_yaml(FileText::new("tests/a.yaml", text)).map_err(|finding| finding.to_string())
    }

    fn json(text: &str) -> String {
        parse(text).unwrap().iter().map(Node::to_json).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn what_stands_without_quotes_is_read_as_json_has_it() {
        let text = "a: 1\nb: '1'\nc: ~\nd:\ne: true\nf: [x, -1.5e3, \"\"]\ng: { h: 2018-11-13, i: 0x1f }\nü: |\n  two\n  lines\n";
        let expected = r#"{"a":1,"b":"1","c":null,"d":null,"e":true,"f":["x",-1.5e3,""],"g":{"h":"2018-11-13","i":"0x1f"},"ü":"two\nlines\n"}"#;
        assert_eq!(json(text), expected);
        assert_eq!(json("--- 1\n--- [2]\n"), "1|[2]");
        assert_eq!(json("# nothing\n"), "");
    }

    #[test]
    fn values_know_where_they_stand() {
        let documents = parse("é: 1\nrows:\n  - { a: 2 }\n  - a: 3\n    b: 4\n").unwrap();
        let Value::Map(entries) = &documents[0].value else { panic!() };
        let Value::List(rows) = &entries[1].1.value else { panic!() };
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 4]);
        let text = "é: 1\nrows:\n  - { a: 2 }\n  - a: 3\n    b: 4\n";
        assert_eq!(&text[rows[0].span.clone()], "{ a: 2 }");
        assert_eq!(&text[entries[1].0.span.clone()], "rows");
    }

    #[test]
    fn what_is_no_yaml_multiplies_or_is_too_deep_is_refused_at_its_place() {
        assert!(parse("a: [1, 2\nb: 3").unwrap_err().starts_with("tests/a.yaml:2:"));
        assert!(parse("a: &x 1\nb: *x").unwrap_err().contains("tests/a.yaml:2:4: anchors"));
        assert!(parse(&"[".repeat(50)).is_err());
        for text in ["\0", "{", "- - - :", "%", "a: \"", "? ", "!!x y", "\t"] {
            let _ = parse(text);
        }
    }
}
