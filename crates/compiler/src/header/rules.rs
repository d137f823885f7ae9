//! `expect` and `audits` of a MODEL header: the grammar of rules about rows and tables.

use std::ops::Range;

use datafusion::sql::sqlparser::{dialect::GenericDialect, parser::Parser, tokenizer::Token};

use crate::{
    Diagnostic,
    sql_type::Names,
    suggest::did_you_mean,
    text::FINDINGS_MAX,
    tokens::{Cursor, Nesting},
};

/// Audits that need no file, with their arguments; all of them are required.
const BUILT_IN_AUDITS: [(&str, &[&str]); 6] = [
    ("unique_values", &["columns"]),
    ("not_null", &["columns"]),
    ("accepted_values", &["column", "is_in"]),
    ("relationships", &["column", "to", "field"]),
    ("number_of_rows", &["threshold"]),
    ("forall", &["criteria"]),
];

const ON_VIOLATION: [&str; 4] = ["WARN", "DROP", "QUARANTINE", "FAIL"];

/// Checks `(name (expr) [ON VIOLATION ..], ..)`.
pub(super) fn check_expect(cursor: &mut Cursor<'_>, findings: &mut Vec<Diagnostic>) -> Result<(), Diagnostic> {
    let mut names = Names::default();
    check_list(cursor, findings, "expect", |cursor| {
        let name = cursor.ident("the name of a rule")?;
        cursor.expect(&Token::LParen, "and the rule after its name")?;
        let range = cursor.rest_of_parentheses()?;
        if cursor.eat_word("ON") {
            cursor.expect_word("VIOLATION", "after ON")?;
            let action = cursor.ident("what to do ON VIOLATION")?;
            if !ON_VIOLATION.iter().any(|known| known.eq_ignore_ascii_case(&action.name)) {
                let message = format!("there is no ON VIOLATION `{}`", action.name);
                let error = cursor.file().error("syntax", action.span, message);
                return Err(error.with_help_if(did_you_mean(&action.name, ON_VIOLATION)));
            }
        }
        if names.insert(&name).is_some() {
            let message = format!("two rules are named `{}`", name.name);
            return Err(cursor.file().error("duplicate_name", name.span, message));
        }
        check_expression(cursor, &name.name, range)
    })
}

fn check_expression(cursor: &Cursor<'_>, name: &str, range: Range<usize>) -> Result<(), Diagnostic> {
    let text = cursor.file().text.get(range.clone()).unwrap_or_default();
    let dialect = GenericDialect {};
    let parsed = Parser::new(&dialect).try_with_sql(text).and_then(|mut parser| {
        parser.parse_expr()?;
        Ok(parser.peek_token().token == Token::EOF)
    });
    if matches!(parsed, Ok(true)) {
        return Ok(());
    }
    let error = cursor.file().error("syntax", range, format!("rule `{name}` is no SQL expression"));
    Err(error.with_help("write a condition in parentheses, for example (level IN ('free', 'paid'))"))
}

/// Checks `(name [(key := value, ..)], ..)`; `audits` are the names of the job's own audits.
pub(super) fn check_audits(
    cursor: &mut Cursor<'_>,
    audits: &[&str],
    findings: &mut Vec<Diagnostic>,
) -> Result<(), Diagnostic> {
    check_list(cursor, findings, "audits", |cursor| {
        let name = cursor.ident("the name of an audit")?;
        let built_in = BUILT_IN_AUDITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name.name));
        if built_in.is_none() && !audits.iter().any(|audit| audit.eq_ignore_ascii_case(&name.name)) {
            let known = BUILT_IN_AUDITS.iter().map(|(known, _)| *known).chain(audits.iter().copied());
            let error = cursor.file().error("unknown_audit", name.span, format!("there is no audit `{}`", name.name));
            return Err(error.with_help_if(did_you_mean(&name.name, known)));
        }
        let arguments = arguments(cursor)?;
        let Some((_, known)) = built_in else {
            return Ok(());
        };
        for (argument, span) in &arguments {
            if !known.iter().chain(&["blocking"]).any(|known| known.eq_ignore_ascii_case(argument)) {
                let message = format!("audit `{}` has no argument `{argument}`", name.name);
                let error = cursor.file().error("unknown_key", span.clone(), message);
                let known = known.iter().copied().chain(["blocking"]);
                return Err(error.with_help_if(did_you_mean(argument, known)));
            }
        }
        match known.iter().find(|known| !arguments.iter().any(|(given, _)| known.eq_ignore_ascii_case(given))) {
            Some(missing) => {
                let message = format!("audit `{}` needs the argument `{missing}`", name.name);
                Err(cursor.file().error("missing_key", name.span, message).with_help(format!("write {missing} := ..")))
            }
            None => Ok(()),
        }
    })
}

fn arguments(cursor: &mut Cursor<'_>) -> Result<Vec<(String, Range<usize>)>, Diagnostic> {
    let mut arguments = Vec::new();
    if !cursor.eat(&Token::LParen) || cursor.eat(&Token::RParen) {
        return Ok(arguments);
    }
    loop {
        let key = cursor.ident("an argument's name")?;
        cursor.expect(&Token::Assignment, "after an argument's name")?;
        let from = cursor.position();
        cursor.skip_item(from, Nesting::Expressions);
        if cursor.position() == from {
            return Err(cursor.expected(&format!("the value of `{}`", key.name)));
        }
        arguments.push((key.name, key.span));
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen, "after the arguments")?;
    Ok(arguments)
}

fn check_list<'t>(
    cursor: &mut Cursor<'t>,
    findings: &mut Vec<Diagnostic>,
    key: &str,
    mut check: impl FnMut(&mut Cursor<'t>) -> Result<(), Diagnostic>,
) -> Result<(), Diagnostic> {
    cursor.expect(&Token::LParen, &format!("after `{key}`"))?;
    loop {
        if cursor.eat(&Token::RParen) {
            return Ok(());
        }
        let from = cursor.position();
        if let Err(finding) = check(cursor) {
            if findings.len() >= FINDINGS_MAX {
                return Err(finding);
            }
            findings.push(finding);
            cursor.skip_item(from, Nesting::Expressions);
        }
        if !cursor.eat(&Token::Comma) {
            return cursor.expect(&Token::RParen, &format!("after the entries of `{key}`"));
        }
    }
}
