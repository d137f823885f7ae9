//! The values of an audit's arguments.

use std::{collections::BTreeMap, ops::Range};

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{keys::column_list, rules::condition};
use crate::{
    Diagnostic, ParamValue, TableName,
    params::finite,
    query::ParsedCondition,
    tokens::{Cursor, Ident, Nesting},
};

/// What stands behind `:=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `x` or `(x, y)`
    Columns,
    /// `x`
    Column,
    /// `zone.table`
    Table,
    /// `('a', 'b')`
    List,
    /// `10`
    Count,
    /// `(a < 1, b > 2)`
    Conditions,
    /// `true`, `false`
    Flag,
    /// A number, a text, or a truth value.
    Literal,
}

/// One value.
#[derive(Clone, Debug)]
pub(super) enum Argument {
    Columns(Vec<Ident>),
    Table(TableName, Range<usize>),
    List(Range<usize>),
    Count(u64),
    Conditions(Vec<ParsedCondition>),
    Flag(bool),
    Literal(ParamValue),
}

/// Values by name, in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arguments(BTreeMap<String, Argument>);

impl Arguments {
    /// Adds a value; false if there is one of the name.
    pub(super) fn insert(&mut self, name: &str, value: Argument) -> bool {
        self.0.insert(name.to_lowercase(), value).is_none()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Argument> {
        self.0.remove(name)
    }

    pub(super) fn columns(&mut self, name: &str) -> Option<Vec<Ident>> {
        match self.take(name)? {
            Argument::Columns(columns) => Some(columns),
            _ => None,
        }
    }

    pub(super) fn column(&mut self, name: &str) -> Option<Ident> {
        self.columns(name)?.into_iter().next()
    }

    /// The values that are literals.
    pub(crate) fn literals(&self) -> BTreeMap<String, ParamValue> {
        let literal = |(name, value): (&String, &Argument)| match value {
            Argument::Literal(value) => Some((name.clone(), value.clone())),
            _ => None,
        };
        self.0.iter().filter_map(literal).collect()
    }
}

/// Takes the value of the argument `key`.
pub(super) fn take_argument(cursor: &mut Cursor<'_>, key: &str, kind: Kind) -> Result<Argument, Diagnostic> {
    let what = format!("the value of `{key}`");
    Ok(match kind {
        Kind::Columns if matches!(cursor.peek(), None | Some(Token::Comma | Token::RParen)) => {
            return Err(cursor.expected(&what));
        }
        Kind::Columns => Argument::Columns(column_list(cursor)?),
        Kind::Column => Argument::Columns(vec![cursor.ident(&what)?]),
        Kind::Table => take_table(cursor, &what)?,
        Kind::List => {
            let start = cursor.span().start;
            cursor.expect(&Token::LParen, &format!("and values after `{key} :=`"))?;
            cursor.rest_of_parentheses()?;
            Argument::List(start..cursor.end_of_previous())
        }
        Kind::Count => match cursor.peek() {
            Some(Token::Number(digits, false)) if digits.parse::<u64>().is_ok() => {
                let count = digits.parse().unwrap_or_default();
                cursor.advance();
                Argument::Count(count)
            }
            _ => return Err(cursor.expected("a number of rows")),
        },
        Kind::Conditions => Argument::Conditions(take_conditions(cursor, &what)?),
        Kind::Flag if cursor.eat_word("true") => Argument::Flag(true),
        Kind::Flag if cursor.eat_word("false") => Argument::Flag(false),
        Kind::Flag => return Err(cursor.expected("true or false")),
        Kind::Literal => Argument::Literal(take_literal(cursor)?),
    })
}

fn take_table(cursor: &mut Cursor<'_>, what: &str) -> Result<Argument, Diagnostic> {
    let zone = cursor.ident(what)?;
    cursor.expect(&Token::Period, "after the zone: a table is named zone.table")?;
    let table = cursor.ident("a table's name")?;
    let span = zone.span.start..table.span.end;
    match TableName::new(&zone.name.to_lowercase(), &table.name.to_lowercase()) {
        Some(name) => Ok(Argument::Table(name, span)),
        None => Err(cursor.file().error("unknown_table", span, "this cannot name a table")),
    }
}

/// `(a < 1, b > 2)`, or one condition without parentheses around it.
fn take_conditions(cursor: &mut Cursor<'_>, what: &str) -> Result<Vec<ParsedCondition>, Diagnostic> {
    let (start, from) = (cursor.span().start, cursor.position());
    let mut ranges = Vec::new();
    if cursor.eat(&Token::LParen) {
        loop {
            let item = cursor.span().start;
            cursor.skip_item(cursor.position(), Nesting::Expressions);
            ranges.push(item..cursor.end_of_previous().max(item));
            if !cursor.eat(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen, "after the conditions")?;
    }
    // What goes on behind the parenthesis is one condition that begins with it.
    if !matches!(cursor.peek(), Some(Token::Comma | Token::RParen)) || ranges.is_empty() {
        cursor.skip_item(from, Nesting::Expressions);
        ranges.clear();
        ranges.push(start..cursor.end_of_previous().max(start));
    }
    if cursor.position() == from {
        return Err(cursor.expected(what));
    }
    ranges.into_iter().map(|range| condition(cursor, range)).collect()
}

fn take_literal(cursor: &mut Cursor<'_>) -> Result<ParamValue, Diagnostic> {
    let start = cursor.span().start;
    if let Some(Token::SingleQuotedString(_)) = cursor.peek() {
        return Ok(ParamValue::Varchar(cursor.text("a value")?.0));
    }
    if cursor.eat_word("true") {
        return Ok(ParamValue::Boolean(true));
    }
    if cursor.eat_word("false") {
        return Ok(ParamValue::Boolean(false));
    }
    let sign = if cursor.eat(&Token::Minus) { "-" } else { "" };
    let Some(Token::Number(digits, false)) = cursor.peek() else {
        return Err(cursor.expected("a number, a text in single quotes, true or false"));
    };
    cursor.advance();
    let text = format!("{sign}{digits}");
    let whole = text.parse().ok().map(ParamValue::Bigint);
    let value = whole.or_else(|| text.parse().ok().and_then(finite));
    value.ok_or_else(|| {
        let span = start..cursor.end_of_previous();
        cursor.file().error("syntax", span, format!("`{text}` is no number that a parameter can have"))
    })
}
