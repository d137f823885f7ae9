//! The keys of a MODEL header and their values.
//!
//! Invariant: a key takes effect, or there is a finding at its place.

use std::{collections::BTreeMap, ops::Range};

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{
    kind::parse_kind,
    rules::{AuditUse, Expectation, parse_audits, parse_expect},
};
use crate::{
    Diagnostic, IntervalUnit,
    sql_type::{Names, SqlType, parse_type},
    suggest::did_you_mean,
    text::FINDINGS_MAX,
    tokens::{Cursor, Ident, Nesting},
};

const KEYS: [&str; 11] = [
    "kind",
    "partitioned_by",
    "clustered_by",
    "grain",
    "columns",
    "expect",
    "audits",
    "target_file_size",
    "tags",
    "owner",
    "description",
];

const MIB: u64 = 1 << 20;
/// Size at which a file is closed unless the header tells.
const TARGET_FILE_SIZE_BYTES: u64 = 128 * MIB;
/// Smaller files than this cost more to open than to read.
const TARGET_FILE_SIZE_BYTES_MIN: u64 = 1 << 10;
/// S3 takes no larger object in one multipart upload than 5 TiB; a file is written by one task.
const TARGET_FILE_SIZE_BYTES_MAX: u64 = 64 << 30;

/// A kind with its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum KindName {
    #[default]
    Full,
    View,
    IncrementalByFile,
    IncrementalByUniqueKey(Vec<Ident>),
    IncrementalByPartition,
    IncrementalByTimeRange(TimeSettings),
}

/// The settings of a kind that computes by time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeSettings {
    pub(crate) time_column: Ident,
    pub(crate) start_us: Option<i64>,
    pub(crate) unit: IntervalUnit,
    pub(crate) lookback: Option<u32>,
}

/// The declared columns of a model.
#[derive(Clone, Debug)]
pub(crate) struct Contract {
    /// Place of the key.
    pub(crate) span: Range<usize>,
    pub(crate) columns: Vec<ContractColumn>,
}

/// One declared column.
#[derive(Clone, Debug)]
pub(crate) struct ContractColumn {
    pub(crate) name: Ident,
    pub(crate) sql_type: SqlType,
    pub(crate) not_null: bool,
}

/// What a MODEL header says, with defaults filled in.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) kind: KindName,
    pub(crate) partitioned_by: Vec<Ident>,
    pub(crate) clustered_by: Vec<Ident>,
    pub(crate) grain: Vec<Ident>,
    pub(crate) columns: Option<Contract>,
    pub(crate) expect: Vec<Expectation>,
    pub(crate) audits: Vec<AuditUse>,
    pub(crate) target_file_size_bytes: u64,
    pub(crate) tags: Vec<String>,
    pub(crate) owner: Option<String>,
    pub(crate) description: Option<String>,
    /// Places of the keys that are there.
    pub(crate) places: BTreeMap<&'static str, Range<usize>>,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            kind: KindName::default(),
            partitioned_by: Vec::new(),
            clustered_by: Vec::new(),
            grain: Vec::new(),
            columns: None,
            expect: Vec::new(),
            audits: Vec::new(),
            target_file_size_bytes: TARGET_FILE_SIZE_BYTES,
            tags: Vec::new(),
            owner: None,
            description: None,
            places: BTreeMap::new(),
        }
    }
}

/// Takes `MODEL (..)`; gives `None` if it is not known where it ends.
pub(super) fn parse_header(cursor: &mut Cursor<'_>, audits: &[&str]) -> (Option<Header>, Vec<Diagnostic>) {
    let mut parser = Parser { cursor, audits, header: Header::default(), findings: Vec::new() };
    match parser.header() {
        Ok(()) => (Some(parser.header), parser.findings),
        Err(finding) => {
            // An entry that has its finding is why the end was not found.
            if parser.findings.is_empty() {
                parser.findings.push(finding);
            }
            (None, parser.findings)
        }
    }
}

struct Parser<'p, 't> {
    cursor: &'p mut Cursor<'t>,
    audits: &'p [&'p str],
    header: Header,
    findings: Vec<Diagnostic>,
}

impl Parser<'_, '_> {
    fn header(&mut self) -> Result<(), Diagnostic> {
        self.cursor.expect_word("MODEL", "at the beginning of the header")?;
        self.cursor.expect(&Token::LParen, "after MODEL")?;
        loop {
            if self.cursor.eat(&Token::RParen) {
                return Ok(());
            }
            let from = self.cursor.position();
            if let Err(finding) = self.entry() {
                self.report(finding)?;
                self.cursor.skip_item(from, Nesting::Expressions);
            }
            if !self.cursor.eat(&Token::Comma) {
                return self.cursor.expect(&Token::RParen, "after the keys of the MODEL header");
            }
        }
    }

    /// Adds a finding; the one too many ends the header.
    fn report(&mut self, finding: Diagnostic) -> Result<(), Diagnostic> {
        if self.findings.len() >= FINDINGS_MAX {
            return Err(finding);
        }
        self.findings.push(finding);
        Ok(())
    }

    fn entry(&mut self) -> Result<(), Diagnostic> {
        let key = self.cursor.ident("a key")?;
        let Some(name) = KEYS.into_iter().find(|known| known.eq_ignore_ascii_case(&key.name)) else {
            let error = self.cursor.file().error("unknown_key", key.span, format!("MODEL has no key `{}`", key.name));
            return Err(error.with_help_if(match key.name.to_ascii_lowercase().as_str() {
                "name" => Some("a model is named by the path of its file: leave the key out".to_owned()),
                "cron" | "start" | "schedule" => Some("runs are started from outside: leave the key out".to_owned()),
                "materialized" => Some("write kind".to_owned()),
                "unique_key" => Some("write grain, or kind INCREMENTAL_BY_UNIQUE_KEY (unique_key ..)".to_owned()),
                "primary_key" => Some("write grain".to_owned()),
                _ => did_you_mean(&key.name, KEYS),
            }));
        };
        if self.header.places.insert(name, key.span.clone()).is_some() {
            return Err(self.cursor.file().error("duplicate_key", key.span, format!("key `{name}` is given twice")));
        }
        self.value(name, &key.span)?;
        match self.cursor.peek() {
            Some(Token::Comma | Token::RParen) => Ok(()),
            _ => Err(self.cursor.expected(&format!("`,` or `)` after the value of `{name}`"))),
        }
    }

    fn value(&mut self, name: &'static str, span: &Range<usize>) -> Result<(), Diagnostic> {
        match name {
            "kind" => {
                self.header.kind = parse_kind(self.cursor, &mut self.findings)?.unwrap_or_default();
            }
            "partitioned_by" => self.header.partitioned_by = self.distinct_columns()?,
            "clustered_by" => self.header.clustered_by = self.distinct_columns()?,
            "grain" => self.header.grain = self.distinct_columns()?,
            "expect" => self.header.expect = parse_expect(self.cursor, &mut self.findings)?,
            "audits" => self.header.audits = parse_audits(self.cursor, self.audits, &mut self.findings)?,
            "columns" => {
                let columns = self.contract()?;
                self.header.columns = Some(Contract { span: span.clone(), columns });
            }
            "target_file_size" => self.header.target_file_size_bytes = file_size(self.cursor)?,
            "tags" => self.header.tags = words(self.cursor, "a tag")?,
            "owner" => self.header.owner = Some(word(self.cursor, "an owner")?),
            _ => self.header.description = Some(self.cursor.text("a description")?.0),
        }
        Ok(())
    }

    fn distinct_columns(&mut self) -> Result<Vec<Ident>, Diagnostic> {
        let columns = column_list(self.cursor)?;
        let mut names = Names::default();
        for column in &columns {
            if names.insert(column).is_some() {
                let message = format!("column `{}` is named twice", column.name);
                self.report(self.cursor.file().error("duplicate_column", column.span.clone(), message))?;
            }
        }
        Ok(columns)
    }

    fn contract(&mut self) -> Result<Vec<ContractColumn>, Diagnostic> {
        self.cursor.expect(&Token::LParen, "after `columns`")?;
        let mut columns: Vec<ContractColumn> = Vec::new();
        let mut names = Names::default();
        loop {
            let from = self.cursor.position();
            match self.contract_column() {
                Ok(column) if names.insert(&column.name).is_some() => {
                    let message = format!("column `{}` is named twice", column.name.name);
                    self.report(self.cursor.file().error("duplicate_column", column.name.span, message))?;
                }
                Ok(column) => columns.push(column),
                Err(finding) => {
                    self.report(finding)?;
                    self.cursor.skip_item(from, Nesting::Angles);
                }
            }
            if !self.cursor.eat(&Token::Comma) {
                break;
            }
        }
        self.cursor.expect(&Token::RParen, "after the columns")?;
        Ok(columns)
    }

    fn contract_column(&mut self) -> Result<ContractColumn, Diagnostic> {
        let name = self.cursor.ident("a column's name")?;
        let sql_type = parse_type(self.cursor)?;
        let not_null = self.cursor.eat_word("NOT");
        if not_null {
            self.cursor.expect_word("NULL", "after NOT")?;
        }
        match self.cursor.peek() {
            Some(Token::Comma | Token::RParen) => Ok(ContractColumn { name, sql_type, not_null }),
            _ => Err(self.cursor.expected("`,` or `)` after the column's type")),
        }
    }
}

/// Takes `x` or `(x, y)`.
pub(super) fn column_list(cursor: &mut Cursor<'_>) -> Result<Vec<Ident>, Diagnostic> {
    if !cursor.eat(&Token::LParen) {
        return Ok(vec![cursor.ident("a column, or columns in parentheses")?]);
    }
    let mut columns = Vec::new();
    loop {
        columns.push(cursor.ident("a column")?);
        if cursor.peek() == Some(&Token::LParen) {
            let error = cursor.file().error("syntax", cursor.span(), "expected a column, found an expression");
            return Err(error.with_help("give the expression a name in the query, and write that name"));
        }
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen, "after the columns")?;
    Ok(columns)
}

fn word(cursor: &mut Cursor<'_>, what: &str) -> Result<String, Diagnostic> {
    if let Some(Token::SingleQuotedString(_)) = cursor.peek() {
        return Ok(cursor.text(what)?.0);
    }
    cursor.ident(what).map(|ident| ident.name)
}

fn words(cursor: &mut Cursor<'_>, what: &str) -> Result<Vec<String>, Diagnostic> {
    if !cursor.eat(&Token::LParen) {
        return Ok(vec![word(cursor, what)?]);
    }
    let mut words = vec![word(cursor, what)?];
    while cursor.eat(&Token::Comma) {
        words.push(word(cursor, what)?);
    }
    cursor.expect(&Token::RParen, &format!("after {what}"))?;
    Ok(words)
}

fn file_size(cursor: &mut Cursor<'_>) -> Result<u64, Diagnostic> {
    let start = cursor.span().start;
    let text = match cursor.peek() {
        Some(Token::SingleQuotedString(text)) => {
            cursor.advance();
            text.clone()
        }
        Some(Token::Number(digits, false)) => {
            cursor.advance();
            let unit = if matches!(cursor.peek(), Some(Token::Word(_))) {
                cursor.ident("a unit")?.name
            } else {
                String::new()
            };
            format!("{digits}{unit}")
        }
        _ => return Err(cursor.expected("a size such as 128MB")),
    };
    let bytes = size_bytes(&text);
    let span = start..cursor.end_of_previous();
    match bytes {
        Some(bytes) if (TARGET_FILE_SIZE_BYTES_MIN..=TARGET_FILE_SIZE_BYTES_MAX).contains(&bytes) => Ok(bytes),
        Some(_) => Err(cursor.file().error("file_size", span, "a target file size is 1KB to 64GB")),
        None => {
            let error = cursor.file().error("file_size", span, format!("`{text}` is no size"));
            Err(error.with_help("write a whole number and KB, MB or GB, for example 128MB"))
        }
    }
}

fn size_bytes(text: &str) -> Option<u64> {
    let unit_start = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = (text.get(..unit_start)?, text.get(unit_start..)?);
    let shift = match unit.trim().to_ascii_uppercase().as_str() {
        "KB" | "KIB" => 10,
        "MB" | "MIB" => 20,
        "GB" | "GIB" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}
