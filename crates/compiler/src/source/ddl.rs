//! The grammar of a source's DDL: DataFusion's CREATE EXTERNAL TABLE and Spark's CREATE TABLE .. USING json.
//!
//! Parsed on sqlparser's tokens, because DataFusion's own parser drops several clauses silently, cannot parse MAP, and
//! refuses columns that are named like keywords.
//!
//! Invariant: every token belongs to what is returned, or there is a finding.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::options::RawOption;
use crate::{
    Diagnostic, TableName,
    sql_type::{SqlType, parse_type},
    text::FINDINGS_MAX,
    tokens::{Cursor, Ident, Nesting},
};

const EXAMPLE: &str = "CREATE EXTERNAL TABLE raw.events (ts BIGINT, page VARCHAR) STORED AS JSON LOCATION 'log_data/';";

/// A source's declaration as written.
#[derive(Debug, Default)]
pub(super) struct Ddl {
    pub(super) columns: Vec<(Ident, SqlType)>,
    pub(super) location: Option<(String, Range<usize>)>,
    pub(super) options: Vec<RawOption>,
    /// The table's name in the statement.
    pub(super) name_span: Range<usize>,
}

/// Parses the one statement of a source's file.
pub(super) fn parse_ddl(cursor: &mut Cursor<'_>, name: &TableName) -> (Ddl, Vec<Diagnostic>) {
    let mut parser = Parser { cursor, ddl: Ddl::default(), findings: Vec::new(), is_external: false, format: None };
    if let Err(finding) = parser.statement(name) {
        // What stands in the way is often the first thing that is wrong, and has its finding.
        if parser.findings.is_empty() || !parser.cursor.is_at_end() {
            parser.findings.push(finding);
        }
    }
    (parser.ddl, parser.findings)
}

struct Parser<'p, 't> {
    cursor: &'p mut Cursor<'t>,
    ddl: Ddl,
    findings: Vec<Diagnostic>,
    is_external: bool,
    /// Place of STORED AS or USING.
    format: Option<Range<usize>>,
}

impl Parser<'_, '_> {
    /// Parses all of the statement; an error is one behind which nothing can be understood.
    fn statement(&mut self, name: &TableName) -> Result<(), Diagnostic> {
        self.beginning()?;
        self.name(name)?;
        if !self.cursor.eat(&Token::LParen) {
            let error = self.cursor.expected("`(` and the columns of the source");
            return Err(error.with_help("columns are declared, never inferred: write (name TYPE, ..)"));
        }
        self.columns()?;
        while !self.cursor.is_at_end() && self.cursor.peek() != Some(&Token::SemiColon) {
            self.clause()?;
        }
        if self.cursor.eat(&Token::SemiColon) && !self.cursor.is_at_end() {
            let error = self.cursor.expected("the end of the file after `;`");
            return Err(error.with_help("one file declares one source"));
        }
        if self.format.is_none() {
            let span = self.ddl.name_span.clone();
            let (clause, kind) = if self.is_external { ("STORED AS JSON", "EXTERNAL ") } else { ("USING json", "") };
            let message = format!("the source does not say its format: CREATE {kind}TABLE needs {clause}");
            self.findings.push(self.cursor.file().error("missing_clause", span, message));
        }
        if self.ddl.location.is_none() {
            let span = self.ddl.name_span.clone();
            let error = self.cursor.file().error("missing_clause", span, "the source has no LOCATION");
            self.findings.push(error.with_help("add LOCATION 'folder/', relative to the raw prefix"));
        }
        Ok(())
    }

    fn beginning(&mut self) -> Result<(), Diagnostic> {
        let cursor = &mut *self.cursor;
        if cursor.is_at_end() {
            let error = cursor.file().error("empty", cursor.span(), "the file declares no source");
            return Err(error.with_help(format!("for example: {EXAMPLE}")));
        }
        if ["SELECT", "WITH", "MODEL"].iter().any(|word| cursor.is_word(word)) {
            let error =
                cursor.file().error("syntax", cursor.span(), "a file in raw/ declares a source, it holds no query");
            return Err(error.with_help("move the query to the folder of another zone, for example staging/"));
        }
        cursor
            .expect_word("CREATE", "of a source's declaration")
            .map_err(|error| error.with_help(format!("for example: {EXAMPLE}")))?;
        while !cursor.is_word("TABLE") && !cursor.is_word("EXTERNAL") {
            let phrase =
                ["OR REPLACE", "TEMPORARY", "TEMP", "UNBOUNDED"].iter().find(|phrase| is_phrase(cursor, phrase));
            let Some(phrase) = phrase else {
                return Err(cursor
                    .expected("EXTERNAL TABLE or TABLE after CREATE")
                    .with_help(format!("for example: {EXAMPLE}")));
            };
            self.findings.push(take_unknown_phrase(cursor, phrase));
        }
        self.is_external = cursor.eat_word("EXTERNAL");
        cursor.expect_word("TABLE", "after CREATE EXTERNAL")?;
        if is_phrase(cursor, "IF NOT EXISTS") {
            self.findings.push(take_unknown_phrase(cursor, "IF NOT EXISTS"));
        }
        Ok(())
    }

    fn name(&mut self, name: &TableName) -> Result<(), Diagnostic> {
        let cursor = &mut *self.cursor;
        let first = cursor.ident("the name of the source")?;
        let mut written = first.name.clone();
        while cursor.eat(&Token::Period) {
            written = format!("{written}.{}", cursor.ident("a name after `.`")?.name);
        }
        let span = first.span.start..cursor.end_of_previous();
        if !written.eq_ignore_ascii_case(&name.to_string()) {
            let message = format!("the file of `{name}` declares `{written}`");
            let error = cursor.file().error("name_mismatch", span.clone(), message);
            self.findings.push(error.with_help(format!("the name equals the path: write {name}, or rename the file")));
        }
        self.ddl.name_span = span;
        Ok(())
    }

    fn columns(&mut self) -> Result<(), Diagnostic> {
        loop {
            let from = self.cursor.position();
            match self.column() {
                Ok(column) => self.ddl.columns.push(column),
                Err(finding) => {
                    self.report(finding)?;
                    self.cursor.skip_item(from, Nesting::Angles);
                }
            }
            if !self.cursor.eat(&Token::Comma) {
                break;
            }
        }
        self.cursor.expect(&Token::RParen, "after the columns")
    }

    fn column(&mut self) -> Result<(Ident, SqlType), Diagnostic> {
        let cursor = &mut *self.cursor;
        if matches!(cursor.peek(), Some(Token::RParen)) {
            let error = cursor.expected("a column");
            return Err(error.with_help("write name TYPE, without a comma behind the last column"));
        }
        for phrase in ["PRIMARY KEY", "FOREIGN KEY", "UNIQUE (", "CHECK (", "KEY (", "INDEX ("] {
            if is_phrase(cursor, phrase) {
                return Err(unknown_clause(cursor, phrase.trim_end_matches(" (")).with_help(NO_CONSTRAINTS));
            }
        }
        let name = cursor.ident("a column's name")?;
        let column_type = parse_type(cursor)?;
        if !matches!(cursor.peek(), None | Some(Token::Comma | Token::RParen | Token::SemiColon)) {
            let phrase = COLUMN_CLAUSES.iter().find(|phrase| is_phrase(cursor, phrase));
            return Err(match phrase {
                Some(phrase) => unknown_clause(cursor, phrase).with_help(match *phrase {
                    "COMMENT" => "write a comment behind the column: -- ..",
                    "DEFAULT" => "use coalesce(..) in a model",
                    _ => NO_CONSTRAINTS,
                }),
                None => cursor.expected("`,` or `)` after the column's type"),
            });
        }
        Ok((name, column_type))
    }

    /// Adds a finding; the one too many ends the statement.
    fn report(&mut self, finding: Diagnostic) -> Result<(), Diagnostic> {
        if self.findings.len() >= FINDINGS_MAX {
            return Err(finding);
        }
        self.findings.push(finding);
        Ok(())
    }

    fn clause(&mut self) -> Result<(), Diagnostic> {
        let cursor = &mut *self.cursor;
        let start = cursor.span().start;
        if is_phrase(cursor, "STORED AS") {
            cursor.advance();
            cursor.advance();
            return self.format_clause(start, "STORED AS");
        }
        if cursor.eat_word("USING") {
            return self.format_clause(start, "USING");
        }
        if cursor.eat_word("LOCATION") {
            let (location, span) = cursor.text("the LOCATION, a text")?;
            return self.set_location(location, span);
        }
        if cursor.is_word("OPTIONS") && cursor.peek_at(1) == Some(&Token::LParen) {
            cursor.advance();
            cursor.advance();
            return self.options();
        }
        self.unknown_clause()
    }

    fn format_clause(&mut self, start: usize, clause: &str) -> Result<(), Diagnostic> {
        let format = self.cursor.ident("the format")?;
        let file = self.cursor.file();
        let span = start..format.span.end;
        if self.format.is_some() {
            self.report(file.error("duplicate_clause", span.clone(), "the format is given twice"))?;
        }
        self.format = Some(span.clone());
        if !format.name.eq_ignore_ascii_case("json") {
            let known = ["CSV", "PARQUET", "AVRO", "ARROW", "ORC", "DELTA", "TEXT", "NDJSON", "JSONL"];
            let help = match known.iter().find(|known| format.name.eq_ignore_ascii_case(known)) {
                Some(&("NDJSON" | "JSONL")) => format!("write {clause} JSON: it reads one object a line"),
                _ => "only JSON sources are supported: convert the data to one JSON object a line".to_owned(),
            };
            let message = format!("a source cannot be read as {}", format.name.to_ascii_uppercase());
            self.report(file.error("unsupported_format", format.span, message).with_help(help))?;
        }
        if self.is_external != (clause == "STORED AS") {
            let (right, wrong) =
                if self.is_external { ("STORED AS JSON", "USING") } else { ("USING json", "STORED AS") };
            let table = if self.is_external { "CREATE EXTERNAL TABLE" } else { "CREATE TABLE" };
            let error = file.error("unknown_clause", span, format!("{table} has no clause {wrong}"));
            self.findings.push(error.with_help(format!(
                "write {right}, or CREATE {}TABLE",
                if self.is_external { "" } else { "EXTERNAL " }
            )));
        }
        Ok(())
    }

    fn set_location(&mut self, location: String, span: Range<usize>) -> Result<(), Diagnostic> {
        if self.ddl.location.is_some() {
            return self.report(self.cursor.file().error("duplicate_clause", span, "the location is given twice"));
        }
        self.ddl.location = Some((location, span));
        Ok(())
    }

    fn options(&mut self) -> Result<(), Diagnostic> {
        if self.cursor.eat(&Token::RParen) {
            return Ok(());
        }
        loop {
            let from = self.cursor.position();
            match option(self.cursor) {
                // Spark writes the location as an option.
                Ok(option) if !self.is_external && option.key.eq_ignore_ascii_case("path") => {
                    self.set_location(option.value, option.value_span)?;
                }
                Ok(option) => self.ddl.options.push(option),
                Err(finding) => {
                    self.report(finding)?;
                    self.cursor.skip_item(from, Nesting::Expressions);
                }
            }
            if !self.cursor.eat(&Token::Comma) {
                break;
            }
        }
        self.cursor.expect(&Token::RParen, "after the options")
    }

    /// Reports a clause that a source does not have, and goes on to the next one that it may have.
    fn unknown_clause(&mut self) -> Result<(), Diagnostic> {
        let cursor = &mut *self.cursor;
        let phrase = TABLE_CLAUSES.iter().find(|(phrase, _)| is_phrase(cursor, phrase));
        let finding = match phrase {
            Some((phrase, help)) => unknown_clause(cursor, phrase).with_help(*help),
            None => cursor.expected("STORED AS, USING, LOCATION, OPTIONS or `;`"),
        };
        self.report(finding)?;
        let cursor = &mut *self.cursor;
        let mut depth = 0_usize;
        cursor.advance();
        while let Some(token) = cursor.peek() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                Token::SemiColon => break,
                Token::Word(_) if depth == 0 && CLAUSES.iter().any(|phrase| is_phrase(cursor, phrase)) => break,
                _ => {}
            }
            cursor.advance();
        }
        Ok(())
    }
}

const CLAUSES: [&str; 4] = ["STORED AS", "USING", "LOCATION", "OPTIONS ("];

const NO_CONSTRAINTS: &str = "columns of a source have a name and a type, and any of them may be NULL";

/// What other systems write behind a column.
const COLUMN_CLAUSES: [&str; 12] = [
    "NOT NULL",
    "NULL",
    "COMMENT",
    "DEFAULT",
    "PRIMARY KEY",
    "UNIQUE",
    "CHECK",
    "GENERATED",
    "COLLATE",
    "REFERENCES",
    "CONSTRAINT",
    "AS",
];

/// What other systems write behind the columns, and what to do instead.
const TABLE_CLAUSES: [(&str, &str); 15] = [
    ("PARTITIONED BY", "a source has no partition columns; a model has: partitioned_by (..)"),
    ("CLUSTERED BY", "sort in a model: clustered_by (..)"),
    ("CLUSTER BY", "sort in a model: clustered_by (..)"),
    ("SORTED BY", "sort in a model: clustered_by (..)"),
    ("WITH ORDER", "sort in a model: clustered_by (..)"),
    ("WITH HEADER ROW", "only JSON sources are supported"),
    ("ROW FORMAT", "only JSON sources are supported"),
    ("DELIMITER", "only JSON sources are supported"),
    ("COMPRESSION TYPE", "write OPTIONS (compression '..')"),
    ("TBLPROPERTIES", "write OPTIONS (..)"),
    ("WITH", "write OPTIONS (..)"),
    ("COMMENT", "write a comment above the statement: -- .."),
    ("AS", "a source has no query: write that in a model"),
    ("STORED BY", "write STORED AS JSON"),
    ("LIKE", "declare the columns"),
];

/// Whether the next words (or `(`) are these.
fn is_phrase(cursor: &Cursor<'_>, phrase: &str) -> bool {
    phrase.split(' ').enumerate().all(|(distance, word)| match word {
        "(" => cursor.peek_at(distance) == Some(&Token::LParen),
        word => cursor.is_word_at(distance, word),
    })
}

fn unknown_clause(cursor: &Cursor<'_>, phrase: &str) -> Diagnostic {
    let words = phrase.split(' ').count();
    let span = cursor.span().start..cursor.span_at(words.saturating_sub(1)).end;
    cursor.file().error("unknown_clause", span, format!("a source has no clause {phrase}"))
}

fn take_unknown_phrase(cursor: &mut Cursor<'_>, phrase: &str) -> Diagnostic {
    let finding = unknown_clause(cursor, phrase).with_help("leave it out");
    for _ in phrase.split(' ') {
        cursor.advance();
    }
    finding
}

fn option(cursor: &mut Cursor<'_>) -> Result<RawOption, Diagnostic> {
    let key_span = cursor.span();
    let mut key = match cursor.peek() {
        Some(Token::SingleQuotedString(key)) => {
            cursor.advance();
            key.clone()
        }
        _ => cursor.ident("an option's name")?.name,
    };
    while cursor.eat(&Token::Period) {
        key = format!("{key}.{}", cursor.ident("a name after `.`")?.name);
    }
    let key_span = key_span.start..cursor.end_of_previous();
    cursor.eat(&Token::Eq);
    let value_span = cursor.span();
    let value = match cursor.peek() {
        Some(Token::SingleQuotedString(value)) => value.clone(),
        Some(Token::Number(digits, false)) => digits.clone(),
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.clone(),
        _ => return Err(cursor.expected(&format!("the value of option `{key}` in single quotes"))),
    };
    cursor.advance();
    Ok(RawOption { key, key_span, value, value_span })
}
