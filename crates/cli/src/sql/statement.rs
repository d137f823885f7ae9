//! Statements of a text: where each one is, and what it asks for.
//!
//! Data flow: what was typed -> **[`split`]** -> **[`classify`]** -> [`super::Reader`].
//!
//! Invariant: pure. A `;` in a text, an identifier or a comment ends nothing.

use std::ops::Range;

/// Where the statements of a text are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// Statements that a `;` ends, without it; those without any word are left out.
    pub(crate) complete: Vec<Range<usize>>,
    /// What stands after the last `;`; `None` if that is only space and comments.
    pub(crate) rest: Option<Range<usize>>,
    /// Whether the text ends inside of a text, an identifier or a block comment.
    pub(crate) open: bool,
}

/// Finds the statements of a text.
pub(crate) fn split(text: &str) -> Split {
    let mut complete = Vec::new();
    let mut start = 0;
    let mut wordy = false;
    let mut open = false;
    let mut at = 0;
    while let Some(piece) = next_piece(text, at) {
        match piece.kind {
            Kind::End if wordy => complete.push(start..at),
            Kind::Word | Kind::Quoted => wordy = true,
            Kind::End | Kind::Blank => {}
        }
        if piece.kind == Kind::End {
            (start, wordy) = (piece.end, false);
        }
        open = piece.open;
        at = piece.end;
    }
    Split { complete, rest: (wordy || open).then_some(start..text.len()), open }
}

/// The text with everything outside of `range` blanked, so that lines and columns stay.
pub(crate) fn isolate(text: &str, range: &Range<usize>) -> String {
    let before = text.get(..range.start).unwrap_or_default();
    let inside = text.get(range.clone()).unwrap_or_default();
    // As many bytes as before: a diagnostic's span must point into the whole text.
    let mut isolated: String = before.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
    isolated.push_str(inside);
    isolated
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Blank,
    Word,
    Quoted,
    End,
}

struct Piece {
    kind: Kind,
    end: usize,
    open: bool,
}

/// The piece that begins at `at`; `None` at the end of the text.
fn next_piece(text: &str, at: usize) -> Option<Piece> {
    let rest = text.get(at..)?;
    let first = rest.chars().next()?;
    let until = |closing: &str, skip: usize, kind: Kind| match rest.get(skip..).and_then(|inner| inner.find(closing)) {
        Some(found) => Piece { kind, end: at + skip + found + closing.len(), open: false },
        None => Piece { kind, end: text.len(), open: true },
    };
    Some(match first {
        '\'' => until("'", 1, Kind::Quoted),
        '"' => until("\"", 1, Kind::Quoted),
        '`' => until("`", 1, Kind::Quoted),
        '-' if rest.starts_with("--") => Piece { open: false, ..until("\n", 2, Kind::Blank) },
        '/' if rest.starts_with("/*") => block_comment(text, at),
        ';' => Piece { kind: Kind::End, end: at + 1, open: false },
        other => {
            let kind = if other.is_whitespace() { Kind::Blank } else { Kind::Word };
            Piece { kind, end: at + other.len_utf8(), open: false }
        }
    })
}

/// Block comments nest, as in the dialect.
fn block_comment(text: &str, at: usize) -> Piece {
    let mut depth = 0_usize;
    let mut end = at;
    while let Some(rest) = text.get(end..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            end += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            end += 2;
        } else {
            end += rest.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return Piece { kind: Kind::Blank, end, open: false };
        }
    }
    Piece { kind: Kind::Blank, end: text.len(), open: true }
}

/// What a statement asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Rows of a query.
    Query,
    /// The plan of the query at this place; `analyze` also runs it.
    Explain {
        /// `ANALYZE`, `VERBOSE` or nothing.
        how: &'static str,
        /// The query.
        query: Range<usize>,
    },
    /// The columns of a table.
    Describe(Range<usize>),
    /// The tables.
    ShowTables,
    /// Something that is not done here.
    Refused(String),
}

/// Tells what the statement at `range` asks for. What is no known statement is a query: the compiler says what is wrong.
pub(crate) fn classify(text: &str, range: &Range<usize>) -> Request {
    let mut words = Words { text, at: range.start, end: range.end };
    let first = words.next().unwrap_or_default();
    match first.as_str() {
        "EXPLAIN" => {
            let mut how = "";
            let mut query = words.at;
            while let Some(word) = words.next() {
                match word.as_str() {
                    "ANALYZE" | "ANALYSE" => how = "ANALYZE",
                    "VERBOSE" => how = "VERBOSE",
                    _ => break,
                }
                query = words.at;
            }
            Request::Explain { how, query: query..range.end }
        }
        "DESCRIBE" | "DESC" => {
            let at = words.at;
            if words.next().as_deref() != Some("TABLE") {
                words.at = at;
            }
            Request::Describe(words.at..range.end)
        }
        "SHOW" => match (words.next().as_deref(), words.next().as_deref()) {
            (Some("TABLES" | "VIEWS"), None) => Request::ShowTables,
            (Some("COLUMNS"), Some("FROM" | "IN")) => Request::Describe(words.at..range.end),
            _ => Request::Refused("SHOW knows TABLES and COLUMNS FROM".to_owned()),
        },
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE" | "COPY" | "CREATE" | "ALTER" | "DROP" | "REPLACE" => {
            Request::Refused(format!("{first} is not done here: tables are written by a job's models"))
        }
        "SET" | "RESET" | "USE" | "BEGIN" | "COMMIT" | "ROLLBACK" | "START" | "GRANT" | "REVOKE" | "CALL" => {
            Request::Refused(format!("{first} is not done here: only queries are answered"))
        }
        _ => Request::Query,
    }
}

/// The words of a statement in capitals; ends at anything that is no word.
struct Words<'a> {
    text: &'a str,
    at: usize,
    end: usize,
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut word = String::new();
        while self.at < self.end {
            let piece = next_piece(self.text, self.at)?;
            let part = self.text.get(self.at..piece.end)?;
            let is_letter = piece.kind == Kind::Word && part.chars().all(|c| c.is_alphanumeric() || c == '_');
            if is_letter {
                word.push_str(&part.to_uppercase());
            } else if !word.is_empty() {
                break;
            } else if piece.kind != Kind::Blank {
                return None;
            }
            self.at = piece.end;
        }
        (!word.is_empty()).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> (Vec<&str>, Option<&str>, bool) {
        let split = split(text);
        let complete = split.complete.iter().map(|range| text[range.clone()].trim()).collect();
        (complete, split.rest.map(|range| text[range].trim()), split.open)
    }

    #[test]
    fn a_semicolon_in_a_text_an_identifier_or_a_comment_ends_nothing() {
        let text = "SELECT ';', \";\", `;` -- ;\n, 'it''s;' /* ; /* ; */ ; */ FROM t; SELECT 2";
        let (complete, rest, open) = statements(text);
        assert_eq!(complete.len(), 1);
        assert!(complete[0].ends_with("FROM t"));
        assert_eq!((rest, open), (Some("SELECT 2"), false));
    }

    #[test]
    fn space_and_comments_are_no_statement() {
        assert_eq!(statements(" ; -- nothing\n ;/* */ ; "), (vec![], None, false));
        assert_eq!(statements(""), (vec![], None, false));
    }

    #[test]
    fn an_unfinished_text_waits_for_its_end() {
        for text in ["SELECT 'a;", "SELECT \"a;", "SELECT `a;", "SELECT /* a;", "/* a"] {
            let (complete, rest, open) = statements(text);
            assert_eq!((complete.len(), rest, open), (0, Some(text), true), "{text}");
        }
    }

    #[test]
    fn isolating_keeps_offsets_and_lines() {
        let text = "SELECT 'é';\nSELECT x";
        let range = split(text).rest.unwrap();
        let isolated = isolate(text, &range);
        assert_eq!(isolated.find("SELECT x"), text.find("SELECT x"));
        assert_eq!(isolated.matches('\n').count(), 1);
    }

    fn request(text: &str) -> Request {
        classify(text, &(0..text.len()))
    }

    #[test]
    fn statements_are_told_apart_by_their_words() {
        for query in ["SELECT 1", "-- c\n with x AS (SELECT 1) SELECT 1", "(SELECT 1)", "selec 1", "VALUES (1)", ""] {
            assert_eq!(request(query), Request::Query, "{query}");
        }
        assert_eq!(request("show  tables"), Request::ShowTables);
        assert_eq!(request("DESCRIBE a.b"), Request::Describe(8..12));
        assert_eq!(request("desc table a.b"), Request::Describe(10..14));
        assert_eq!(request("show columns from a.b"), Request::Describe(17..21));
        assert_eq!(request("EXPLAIN SELECT 1"), Request::Explain { how: "", query: 7..16 });
        assert_eq!(request("explain /**/ analyze SELECT 1"), Request::Explain { how: "ANALYZE", query: 20..29 });
    }

    #[test]
    fn what_would_write_is_refused_by_name() {
        for text in ["insert into a.b values (1)", "/* x */ DROP TABLE a.b", "create table x (y int)", "SHOW ALL"] {
            assert!(matches!(request(text), Request::Refused(_)), "{text}");
        }
        assert!(matches!(request("INSERTED"), Request::Query));
    }

    #[test]
    fn any_text_is_split_without_loss() {
        for text in ["'", "--", "/*/", "*/;", "a;b;c", "é;'🦀", "/* /* */", "-", "/"] {
            let split = split(text);
            for range in split.complete.iter().chain(&split.rest) {
                assert!(text.get(range.clone()).is_some(), "{text}");
                classify(text, range);
            }
        }
    }
}
