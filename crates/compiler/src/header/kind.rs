//! The `kind` of a MODEL header, with the settings of its own.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::keys::{KindName, TimeSettings, column_list};
use crate::{
    Diagnostic, IntervalUnit, ParamType, ParamValue,
    params::parse_value,
    sql_type::Names,
    suggest::did_you_mean,
    text::FINDINGS_MAX,
    tokens::{Cursor, Ident, Nesting},
};

const KINDS: [&str; 6] = [
    "FULL",
    "VIEW",
    "INCREMENTAL_BY_FILE",
    "INCREMENTAL_BY_TIME_RANGE",
    "INCREMENTAL_BY_UNIQUE_KEY",
    "INCREMENTAL_BY_PARTITION",
];

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// What stands in parentheses behind a kind.
#[derive(Debug, Default)]
struct Settings {
    given: Vec<&'static str>,
    unique_key: Vec<Ident>,
    time_column: Option<Ident>,
    start_us: Option<i64>,
    unit: IntervalUnit,
    lookback: Option<u32>,
}

/// Takes a kind; `None` if a setting that it needs is not there, or wrong, which is a finding then.
pub(super) fn parse_kind(
    cursor: &mut Cursor<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Result<Option<KindName>, Diagnostic> {
    let name = cursor.ident("a kind")?;
    let upper = name.name.to_ascii_uppercase();
    let Some(kind) = KINDS.into_iter().find(|kind| *kind == upper) else {
        let error = cursor.file().error("unknown_kind", name.span, format!("there is no kind `{}`", name.name));
        return Err(error.with_help_if(did_you_mean(&name.name, KINDS)));
    };
    let (known, required): (&[&str], Option<&str>) = match kind {
        "INCREMENTAL_BY_TIME_RANGE" => (&["time_column", "start", "interval_unit", "lookback"], Some("time_column")),
        "INCREMENTAL_BY_UNIQUE_KEY" => (&["unique_key"], Some("unique_key")),
        _ => (&[], None),
    };
    let settings = parse_settings(cursor, kind, known, findings)?;
    if let Some(required) = required.filter(|required| !settings.given.contains(required)) {
        let error = cursor.file().error("missing_key", name.span.clone(), format!("kind {kind} needs `{required}`"));
        findings.push(error.with_help(format!("write {kind} ({required} ..)")));
        return Ok(None);
    }
    Ok(match kind {
        "FULL" => Some(KindName::Full),
        "VIEW" => Some(KindName::View),
        "INCREMENTAL_BY_FILE" => Some(KindName::IncrementalByFile),
        "INCREMENTAL_BY_PARTITION" => Some(KindName::IncrementalByPartition),
        "INCREMENTAL_BY_UNIQUE_KEY" => Some(KindName::IncrementalByUniqueKey(settings.unique_key)),
        _ => {
            let Settings { time_column, start_us, unit, lookback, .. } = settings;
            let start_us = start_us.map(|start_us| unit.floor(start_us));
            time_column.map(|time_column| {
                KindName::IncrementalByTimeRange(TimeSettings { time_column, start_us, unit, lookback })
            })
        }
    })
}

fn parse_settings(
    cursor: &mut Cursor<'_>,
    kind: &str,
    known: &[&'static str],
    findings: &mut Vec<Diagnostic>,
) -> Result<Settings, Diagnostic> {
    let mut settings = Settings::default();
    if cursor.peek() != Some(&Token::LParen) {
        return Ok(settings);
    }
    if known.is_empty() {
        return Err(cursor.file().error("syntax", cursor.span(), format!("kind {kind} has no settings")));
    }
    cursor.advance();
    loop {
        let from = cursor.position();
        match parse_setting(cursor, kind, known, &mut settings) {
            Ok((name, span)) if settings.given.contains(&name) => {
                return Err(cursor.file().error("duplicate_key", span, format!("`{name}` is given twice")));
            }
            Ok((name, _)) => settings.given.push(name),
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
    Ok(settings)
}

fn parse_setting(
    cursor: &mut Cursor<'_>,
    kind: &str,
    known: &[&'static str],
    settings: &mut Settings,
) -> Result<(&'static str, Range<usize>), Diagnostic> {
    let key = cursor.ident("a setting of the kind")?;
    let Some(name) = known.iter().copied().find(|name| name.eq_ignore_ascii_case(&key.name)) else {
        let error = cursor.file().error("unknown_key", key.span, format!("kind {kind} has no setting `{}`", key.name));
        return Err(error.with_help_if(did_you_mean(&key.name, known.iter().copied())));
    };
    match name {
        "start" => settings.start_us = Some(parse_start(cursor)?),
        "interval_unit" => {
            let unit = cursor.ident("a unit of time")?;
            settings.unit = IntervalUnit::from_name(&unit.name).ok_or_else(|| {
                let message = format!("there is no interval unit `{}`", unit.name);
                let error = cursor.file().error("syntax", unit.span.clone(), message);
                error.with_help_if(did_you_mean(&unit.name, IntervalUnit::NAMES))
            })?;
        }
        "lookback" => match cursor.peek() {
            Some(Token::Number(digits, false)) if digits.parse::<i32>().is_ok() => {
                settings.lookback = digits.parse().ok();
                cursor.advance();
            }
            _ => return Err(cursor.expected("a count of intervals")),
        },
        "time_column" => settings.time_column = Some(cursor.ident("the column that has the time of a row")?),
        _ => {
            settings.unique_key = column_list(cursor)?;
            let mut names = Names::default();
            for column in &settings.unique_key {
                if names.insert(column).is_some() {
                    let message = format!("column `{}` is named twice", column.name);
                    return Err(cursor.file().error("duplicate_column", column.span.clone(), message));
                }
            }
        }
    }
    Ok((name, key.span))
}

/// A date or an instant, in microseconds since 1970-01-01T00:00:00Z.
fn parse_start(cursor: &mut Cursor<'_>) -> Result<i64, Diagnostic> {
    let (text, span) = cursor.text("a date or an instant")?;
    match (parse_value(ParamType::Date, &text), parse_value(ParamType::Timestamp, &text)) {
        (Some(ParamValue::Date(days)), _) => Ok(i64::from(days) * DAY_US),
        (_, Some(ParamValue::Timestamp(us))) => Ok(us),
        _ => {
            let error = cursor.file().error("syntax", span, format!("`{text}` is neither a date nor an instant"));
            Err(error.with_help("write '2018-11-01' or '2018-11-01T12:00:00Z'"))
        }
    }
}
