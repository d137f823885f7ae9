//! The `kind` of a MODEL header, with the settings of its own.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::keys::{KindName, column_list};
use crate::{
    Diagnostic,
    suggest::did_you_mean,
    text::FINDINGS_MAX,
    tokens::{Cursor, Nesting},
};

const KINDS: [&str; 6] = [
    "FULL",
    "VIEW",
    "INCREMENTAL_BY_FILE",
    "INCREMENTAL_BY_TIME_RANGE",
    "INCREMENTAL_BY_UNIQUE_KEY",
    "INCREMENTAL_BY_PARTITION",
];

const INTERVAL_UNITS: [&str; 5] = ["minute", "hour", "day", "month", "year"];

/// Takes a kind; one that is known but not built is a finding.
pub(super) fn parse_kind(cursor: &mut Cursor<'_>, findings: &mut Vec<Diagnostic>) -> Result<KindName, Diagnostic> {
    let name = cursor.ident("a kind")?;
    let upper = name.name.to_ascii_uppercase();
    let Some(kind) = KINDS.into_iter().find(|kind| *kind == upper) else {
        let error = cursor.file().error("unknown_kind", name.span, format!("there is no kind `{}`", name.name));
        return Err(error.with_help_if(did_you_mean(&name.name, KINDS)));
    };
    let built = match kind {
        "FULL" => Some(KindName::Full),
        "VIEW" => Some(KindName::View),
        "INCREMENTAL_BY_FILE" => Some(KindName::IncrementalByFile),
        _ => None,
    };
    let (known, required): (&[&str], Option<&str>) = match kind {
        "INCREMENTAL_BY_TIME_RANGE" => (&["time_column", "start", "interval_unit", "lookback"], Some("time_column")),
        "INCREMENTAL_BY_UNIQUE_KEY" => (&["unique_key"], Some("unique_key")),
        _ => (&[], None),
    };
    let given = parse_settings(cursor, kind, known, findings)?;
    if let Some(required) = required.filter(|required| !given.contains(required)) {
        let error = cursor.file().error("missing_key", name.span.clone(), format!("kind {kind} needs `{required}`"));
        findings.push(error.with_help(format!("write {kind} ({required} ..)")));
    }
    built.ok_or_else(|| not_built(cursor, kind, name.span))
}

fn not_built(cursor: &Cursor<'_>, kind: &str, span: Range<usize>) -> Diagnostic {
    let error = cursor.file().error("unsupported", span, format!("kind {kind} is not supported yet"));
    error.with_help("use FULL, or INCREMENTAL_BY_FILE")
}

fn parse_settings(
    cursor: &mut Cursor<'_>,
    kind: &str,
    known: &[&'static str],
    findings: &mut Vec<Diagnostic>,
) -> Result<Vec<&'static str>, Diagnostic> {
    let mut given = Vec::new();
    if cursor.peek() != Some(&Token::LParen) {
        return Ok(given);
    }
    if known.is_empty() {
        return Err(cursor.file().error("syntax", cursor.span(), format!("kind {kind} has no settings")));
    }
    cursor.advance();
    loop {
        let from = cursor.position();
        match parse_setting(cursor, kind, known) {
            Ok((name, span)) if given.contains(&name) => {
                return Err(cursor.file().error("duplicate_key", span, format!("`{name}` is given twice")));
            }
            Ok((name, _)) => given.push(name),
            Err(finding) => {
                if findings.len() >= FINDINGS_MAX {
                    return Err(finding);
                }
                findings.push(finding);
                cursor.skip_item(from, Nesting::Expressions);
            }
        }
        if !cursor.eat(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen, &format!("after the settings of {kind}"))?;
    Ok(given)
}

fn parse_setting(
    cursor: &mut Cursor<'_>,
    kind: &str,
    known: &[&'static str],
) -> Result<(&'static str, Range<usize>), Diagnostic> {
    let key = cursor.ident("a setting of the kind")?;
    let Some(name) = known.iter().copied().find(|name| name.eq_ignore_ascii_case(&key.name)) else {
        let error = cursor.file().error("unknown_key", key.span, format!("kind {kind} has no setting `{}`", key.name));
        return Err(error.with_help_if(did_you_mean(&key.name, known.iter().copied())));
    };
    match name {
        "start" => {
            cursor.text("a date or an instant")?;
        }
        "interval_unit" => {
            let unit = cursor.ident("a unit of time")?;
            if !INTERVAL_UNITS.iter().any(|known| known.eq_ignore_ascii_case(&unit.name)) {
                let error =
                    cursor.file().error("syntax", unit.span, format!("there is no interval unit `{}`", unit.name));
                return Err(error.with_help_if(did_you_mean(&unit.name, INTERVAL_UNITS)));
            }
        }
        "lookback" => match cursor.peek() {
            Some(Token::Number(digits, false)) if digits.parse::<u32>().is_ok() => cursor.advance(),
            _ => return Err(cursor.expected("a count of intervals")),
        },
        _ => {
            column_list(cursor)?;
        }
    }
    Ok((name, key.span))
}
