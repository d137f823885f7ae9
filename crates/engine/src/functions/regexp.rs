//! Regular expressions: Spark's functions over Rust's expressions.
//!
//! What Java's expressions can and Rust's cannot (looking around, referring back) is an error that names it; in return,
//! no expression takes more than linear time.
//!
//! Invariant: a pattern is compiled once per batch as long as it does not change from row to row.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BooleanArray, ListBuilder, StringArray, StringBuilder},
        datatypes::{DataType, Field, Int32Type},
    },
    common::exec_datafusion_err,
    error::Result,
    logical_expr::ScalarUDF,
};
use regex::Regex;

use super::native::{
    Native,
    Parameter::{Int, Text},
};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let texts = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    vec![
        Native::new("rlike", &[Text, Text], DataType::Boolean, matches).alias(&["regexp"]).udf(),
        Native::new("regexp_extract", &[Text, Text, Int], DataType::Utf8, extract).optional(1).udf(),
        Native::new("regexp_extract_all", &[Text, Text, Int], texts.clone(), extract_all).optional(1).udf(),
        Native::new("regexp_substr", &[Text, Text], DataType::Utf8, substring).udf(),
        Native::new("regexp_replace", &[Text, Text, Text, Int], DataType::Utf8, replace).optional(1).udf(),
        Native::new("split", &[Text, Text, Int], texts, split).optional(1).udf(),
    ]
}

/// Remembers the last pattern: nearly always it is a constant.
#[derive(Default)]
struct LastRegex(Option<(String, Regex)>);

impl LastRegex {
    fn get(&mut self, pattern: &str) -> Result<&Regex> {
        if self.0.as_ref().is_none_or(|(last, _)| last != pattern) {
            let regex = Regex::new(pattern)
                .map_err(|error| exec_datafusion_err!("the regular expression '{pattern}' cannot be used: {error}"))?;
            self.0 = Some((pattern.to_owned(), regex));
        }
        self.0.as_ref().map(|(_, regex)| regex).ok_or_else(|| exec_datafusion_err!("no regular expression"))
    }
}

/// The texts of one row; `None` if one of the arguments is NULL.
fn row_of(args: &[ArrayRef], row: usize) -> Option<(&str, &str)> {
    if args.iter().any(|argument| argument.is_null(row)) {
        return None;
    }
    Some((args[0].as_string::<i32>().value(row), args[1].as_string::<i32>().value(row)))
}

fn integer_at(args: &[ArrayRef], index: usize, row: usize, default: i32) -> i32 {
    args.get(index).map_or(default, |values| values.as_primitive::<Int32Type>().value(row))
}

fn matches(args: &[ArrayRef]) -> Result<ArrayRef> {
    let mut last = LastRegex::default();
    let values = (0..args[0].len()).map(|row| match row_of(args, row) {
        Some((text, pattern)) => Ok(Some(last.get(pattern)?.is_match(text))),
        None => Ok(None),
    });
    Ok(Arc::new(values.collect::<Result<BooleanArray>>()?))
}

fn group_of(regex: &Regex, group: i32) -> Result<usize> {
    let count = regex.captures_len() - 1;
    usize::try_from(group)
        .ok()
        .filter(|group| *group <= count)
        .ok_or_else(|| exec_datafusion_err!("the regular expression '{regex}' has {count} groups, not a group {group}"))
}

/// A group (the first) of the first match; empty if there is none.
fn extract(args: &[ArrayRef]) -> Result<ArrayRef> {
    let mut last = LastRegex::default();
    let values = (0..args[0].len()).map(|row| {
        let Some((text, pattern)) = row_of(args, row) else { return Ok(None) };
        let regex = last.get(pattern)?;
        let Some(captures) = regex.captures(text) else { return Ok(Some("")) };
        let group = group_of(regex, integer_at(args, 2, row, 1))?;
        Ok(Some(captures.get(group).map_or("", |found| found.as_str())))
    });
    Ok(Arc::new(values.collect::<Result<StringArray>>()?))
}

/// A group (the first) of every match.
fn extract_all(args: &[ArrayRef]) -> Result<ArrayRef> {
    let mut last = LastRegex::default();
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..args[0].len() {
        let Some((text, pattern)) = row_of(args, row) else {
            builder.append_null();
            continue;
        };
        let regex = last.get(pattern)?;
        for captures in regex.captures_iter(text) {
            let group = group_of(regex, integer_at(args, 2, row, 1))?;
            builder.values().append_value(captures.get(group).map_or("", |found| found.as_str()));
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

/// The first match; NULL if there is none.
fn substring(args: &[ArrayRef]) -> Result<ArrayRef> {
    let mut last = LastRegex::default();
    let values = (0..args[0].len()).map(|row| match row_of(args, row) {
        Some((text, pattern)) => Ok(last.get(pattern)?.find(text).map(|found| found.as_str())),
        None => Ok(None),
    });
    Ok(Arc::new(values.collect::<Result<StringArray>>()?))
}

/// Every match, from a character on that is counted from 1; `$1` in the replacement is a group.
fn replace(args: &[ArrayRef]) -> Result<ArrayRef> {
    let mut last = LastRegex::default();
    let replacements = args[2].as_string::<i32>();
    let values = (0..args[0].len()).map(|row| {
        let Some((text, pattern)) = row_of(args, row) else { return Ok(None) };
        let start = integer_at(args, 3, row, 1);
        let skipped = usize::try_from(start).ok().and_then(|start| start.checked_sub(1));
        let Some(skipped) = skipped else {
            return Err(exec_datafusion_err!("regexp_replace counts characters from 1, not {start}"));
        };
        let offset = text.char_indices().map(|(at, _)| at).nth(skipped).unwrap_or(text.len());
        let (kept, rest) = text.split_at_checked(offset).unwrap_or((text, ""));
        let replacement = rust_replacement(replacements.value(row));
        let replaced = last.get(pattern)?.replace_all(rest, replacement.as_str());
        Ok(Some(format!("{kept}{replaced}")))
    });
    Ok(Arc::new(values.collect::<Result<StringArray>>()?))
}

/// Java writes a group `$1` and a plain character `\$`, Rust `${1}` and `$$`.
fn rust_replacement(java: &str) -> String {
    let mut rust = String::with_capacity(java.len() + 2);
    let mut chars = java.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('$') => rust.push_str("$$"),
                Some(c) => rust.push(c),
                None => {}
            },
            '$' => {
                if chars.peek().is_some_and(char::is_ascii_digit) {
                    rust.push_str("${");
                    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                        rust.push(digit);
                    }
                    rust.push('}');
                } else {
                    rust.push('$');
                }
            }
            c => rust.push(c),
        }
    }
    rust
}

/// At most `limit` parts if it is positive, else all of them.
fn split(args: &[ArrayRef]) -> Result<ArrayRef> {
    let mut last = LastRegex::default();
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in 0..args[0].len() {
        let Some((text, pattern)) = row_of(args, row) else {
            builder.append_null();
            continue;
        };
        let limit = usize::try_from(integer_at(args, 2, row, -1)).ok().filter(|limit| *limit > 0);
        let regex = last.get(pattern)?;
        split_into(builder.values(), regex, text, limit.unwrap_or(usize::MAX));
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}

/// A match without characters splits between characters, but not before the first or after the last.
fn split_into(parts: &mut StringBuilder, regex: &Regex, text: &str, limit: usize) {
    let mut start = 0;
    let mut count = 1;
    for found in regex.find_iter(text) {
        if count == limit {
            break;
        }
        if found.is_empty() && (found.start() == 0 || found.start() == text.len()) {
            continue;
        }
        parts.append_value(text.get(start..found.start()).unwrap_or_default());
        start = found.end();
        count += 1;
    }
    parts.append_value(text.get(start..).unwrap_or_default());
}
