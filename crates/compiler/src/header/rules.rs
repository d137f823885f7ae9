//! `expect` and `audits` of a MODEL header: the grammar of rules about rows and tables.
//!
//! Invariant: what is given back is complete, its columns and tables are names only: [`crate::checks`] looks them up.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::arguments::{Argument, Arguments, Kind, take_argument};
use crate::{
    Diagnostic, TableName, Violation,
    query::{ParsedCondition, parse_condition},
    sql_type::Names,
    suggest::did_you_mean,
    text::FINDINGS_MAX,
    tokens::{Cursor, Ident, Nesting},
};

/// One entry of `expect`.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    pub(crate) name: Ident,
    pub(crate) condition: ParsedCondition,
    pub(crate) on_violation: Violation,
}

/// One entry of `audits`.
#[derive(Clone, Debug)]
pub(crate) struct AuditUse {
    pub(crate) name: Ident,
    pub(crate) audit: Audit,
    pub(crate) blocking: bool,
}

/// What an entry of `audits` demands.
#[derive(Clone, Debug)]
pub(crate) enum Audit {
    UniqueValues(Vec<Ident>),
    NotNull(Vec<Ident>),
    AcceptedValues {
        column: Ident,
        values: Range<usize>,
    },
    Relationships {
        column: Ident,
        to: TableName,
        to_span: Range<usize>,
        field: Ident,
    },
    NumberOfRows(u64),
    Forall(Vec<ParsedCondition>),
    /// A file of `audits/`.
    Own(Arguments),
}

/// Audits that need no file, with their arguments; all of them are required.
const BUILT_IN_AUDITS: [(&str, &[(&str, Kind)]); 6] = [
    ("unique_values", &[("columns", Kind::Columns)]),
    ("not_null", &[("columns", Kind::Columns)]),
    ("accepted_values", &[("column", Kind::Column), ("is_in", Kind::List)]),
    ("relationships", &[("column", Kind::Column), ("to", Kind::Table), ("field", Kind::Column)]),
    ("number_of_rows", &[("threshold", Kind::Count)]),
    ("forall", &[("criteria", Kind::Conditions)]),
];

/// The argument of every audit.
const BLOCKING: &str = "blocking";

/// The names of the audits that need no file.
pub(crate) fn built_in_audits<'a>() -> impl Iterator<Item = &'a str> + Clone {
    BUILT_IN_AUDITS.iter().map(|(name, _)| *name)
}

/// Takes `(name (expr) [ON VIOLATION ..], ..)`.
pub(super) fn parse_expect(
    cursor: &mut Cursor<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Result<Vec<Expectation>, Diagnostic> {
    let mut names = Names::default();
    parse_list(cursor, findings, "expect", |cursor| {
        let name = cursor.ident("the name of a rule")?;
        cursor.expect(&Token::LParen, "and the rule after its name")?;
        let range = cursor.rest_of_parentheses()?;
        let mut on_violation = Violation::Warn;
        if cursor.eat_word("ON") {
            cursor.expect_word("VIOLATION", "after ON")?;
            let action = cursor.ident("what to do ON VIOLATION")?;
            on_violation = Violation::from_name(&action.name).ok_or_else(|| {
                let message = format!("there is no ON VIOLATION `{}`", action.name);
                let error = cursor.file().error("syntax", action.span.clone(), message);
                error.with_help_if(did_you_mean(&action.name, Violation::NAMES))
            })?;
        }
        if names.insert(&name).is_some() {
            let message = format!("two rules are named `{}`", name.name);
            return Err(cursor.file().error("duplicate_name", name.span, message));
        }
        let condition = condition(cursor, range)?;
        Ok(Expectation { name, condition, on_violation })
    })
}

/// Reads the condition that stands in a range.
pub(super) fn condition(cursor: &Cursor<'_>, range: Range<usize>) -> Result<ParsedCondition, Diagnostic> {
    let file = cursor.file();
    parse_condition(file.path, file.text, range.clone()).map_err(|failed| {
        let first = failed.0.into_iter().next();
        let finding = first.unwrap_or_else(|| file.error("syntax", range, "this is no condition"));
        if finding.help.is_some() {
            return finding;
        }
        finding.with_help("write a condition over the columns of the table, for example (level IN ('free', 'paid'))")
    })
}

/// Takes `(name [(key := value, ..)], ..)`; `audits` are the names of the job's own audits.
pub(super) fn parse_audits(
    cursor: &mut Cursor<'_>,
    audits: &[&str],
    findings: &mut Vec<Diagnostic>,
) -> Result<Vec<AuditUse>, Diagnostic> {
    parse_list(cursor, findings, "audits", |cursor| {
        let name = cursor.ident("the name of an audit")?;
        let built_in = BUILT_IN_AUDITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name.name));
        if built_in.is_none() && !audits.iter().any(|audit| audit.eq_ignore_ascii_case(&name.name)) {
            let known = built_in_audits().chain(audits.iter().copied());
            let error = cursor.file().error("unknown_audit", name.span, format!("there is no audit `{}`", name.name));
            return Err(error.with_help_if(did_you_mean(&name.name, known)));
        }
        let mut arguments = take_arguments(cursor, &name, built_in.map(|(_, known)| *known))?;
        let blocking = !matches!(arguments.take(BLOCKING), Some(Argument::Flag(false)));
        let Some((known_name, known)) = built_in else {
            return Ok(AuditUse { name, audit: Audit::Own(arguments), blocking });
        };
        if let Some((missing, _)) = known.iter().find(|(known, _)| !arguments.has(known)) {
            let message = format!("audit `{}` needs the argument `{missing}`", name.name);
            let error = cursor.file().error("missing_key", name.span, message);
            return Err(error.with_help(format!("write {missing} := ..")));
        }
        let audit = built_in_audit(known_name, arguments);
        let unknown = || cursor.file().error("unknown_audit", name.span.clone(), "this audit cannot be read");
        Ok(AuditUse { audit: audit.ok_or_else(unknown)?, name, blocking })
    })
}

/// The audit of complete arguments.
fn built_in_audit(name: &str, mut arguments: Arguments) -> Option<Audit> {
    Some(match name {
        "unique_values" => Audit::UniqueValues(arguments.columns("columns")?),
        "not_null" => Audit::NotNull(arguments.columns("columns")?),
        "accepted_values" => match (arguments.column("column")?, arguments.take("is_in")?) {
            (column, Argument::List(values)) => Audit::AcceptedValues { column, values },
            _ => return None,
        },
        "relationships" => match (arguments.column("column")?, arguments.take("to")?, arguments.column("field")?) {
            (column, Argument::Table(to, to_span), field) => Audit::Relationships { column, to, to_span, field },
            _ => return None,
        },
        "number_of_rows" => match arguments.take("threshold")? {
            Argument::Count(threshold) => Audit::NumberOfRows(threshold),
            _ => return None,
        },
        _ => match arguments.take("criteria")? {
            Argument::Conditions(conditions) => Audit::Forall(conditions),
            _ => return None,
        },
    })
}

/// Takes the arguments of an audit; those of a file are literals of any name.
fn take_arguments(
    cursor: &mut Cursor<'_>,
    audit: &Ident,
    known: Option<&[(&'static str, Kind)]>,
) -> Result<Arguments, Diagnostic> {
    let mut arguments = Arguments::default();
    if !cursor.eat(&Token::LParen) || cursor.eat(&Token::RParen) {
        return Ok(arguments);
    }
    loop {
        let key = cursor.ident("an argument's name")?;
        let is_key = |name: &str| name.eq_ignore_ascii_case(&key.name);
        let kind = match known {
            _ if is_key(BLOCKING) => Kind::Flag,
            None => Kind::Literal,
            Some(known) => {
                let found = known.iter().find(|(name, _)| is_key(name)).map(|(_, kind)| *kind);
                found.ok_or_else(|| {
                    let message = format!("audit `{}` has no argument `{}`", audit.name, key.name);
                    let names = known.iter().map(|(name, _)| *name).chain([BLOCKING]);
                    let error = cursor.file().error("unknown_key", key.span.clone(), message);
                    error.with_help_if(did_you_mean(&key.name, names))
                })?
            }
        };
        cursor.expect(&Token::Assignment, "after an argument's name")?;
        let value = take_argument(cursor, &key.name, kind)?;
        if !arguments.insert(&key.name, value) {
            let message = format!("argument `{}` is given twice", key.name);
            return Err(cursor.file().error("duplicate_key", key.span, message));
        }
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen, "after the arguments")?;
    Ok(arguments)
}

fn parse_list<'t, T>(
    cursor: &mut Cursor<'t>,
    findings: &mut Vec<Diagnostic>,
    key: &str,
    mut entry: impl FnMut(&mut Cursor<'t>) -> Result<T, Diagnostic>,
) -> Result<Vec<T>, Diagnostic> {
    let mut entries = Vec::new();
    cursor.expect(&Token::LParen, &format!("after `{key}`"))?;
    loop {
        if cursor.eat(&Token::RParen) {
            return Ok(entries);
        }
        let from = cursor.position();
        match entry(cursor) {
            Ok(found) => entries.push(found),
            Err(finding) if findings.len() >= FINDINGS_MAX => return Err(finding),
            Err(finding) => {
                findings.push(finding);
                cursor.skip_item(from, Nesting::Expressions);
            }
        }
        if !cursor.eat(&Token::Comma) {
            cursor.expect(&Token::RParen, &format!("after the entries of `{key}`"))?;
            return Ok(entries);
        }
    }
}
