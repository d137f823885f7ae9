//! The planner's messages in our words.
//!
//! Invariant: only the wording depends on the planner's text. Where a message is worded otherwise than expected here it
//! is shown as it is, less its prefixes.

use super::parse::lowercase_first;

const PREFIXES: [&str; 6] = [
    "Error during planning: ",
    "Internal error: ",
    "Schema error: ",
    "Execution error: ",
    "This feature is not implemented: ",
    "Invalid input plan passed to Analyzer: ",
];

/// What Arrow calls a type, and what SQL calls it; longer names first.
const TYPES: [(&str, &str); 17] = [
    ("Timestamp(µs, \"UTC\")", "TIMESTAMP"),
    ("Timestamp(µs, UTC)", "TIMESTAMP"),
    ("LargeUtf8", "VARCHAR"),
    ("Utf8View", "VARCHAR"),
    ("Utf8", "VARCHAR"),
    ("UInt64", "UNSIGNED BIGINT"),
    ("Int64", "BIGINT"),
    ("Int32", "INT"),
    ("Int16", "SMALLINT"),
    ("Int8", "TINYINT"),
    ("Float64", "DOUBLE"),
    ("Float32", "FLOAT"),
    ("Boolean", "BOOLEAN"),
    ("Date32", "DATE"),
    ("Decimal128", "DECIMAL"),
    ("Struct(", "STRUCT("),
    ("List(", "ARRAY("),
];

/// Gives one sentence, and what may help.
pub(super) fn in_our_words(message: &str) -> (String, Option<String>) {
    let mut text = message.split("\n\nbacktrace").next().unwrap_or(message).trim();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    if let Some(worded) = no_such_call(text) {
        return worded;
    }
    let first = text.lines().next().unwrap_or_default();
    let (first, hint) = first.split_once(" Did you mean ").map_or((first, None), |(text, hint)| (text, Some(hint)));
    let message = lowercase_first(first.trim_end_matches(['.', ' ', ':']));
    (sql_types(&message), hint.map(|hint| format!("did you mean {hint}")))
}

/// A function that exists, but not for these arguments.
fn no_such_call(text: &str) -> Option<(String, Option<String>)> {
    let (_, rest) = text.split_once("No function matches the given name and argument types '")?;
    let (call, rest) = rest.split_once("'.")?;
    let (_, candidates) = rest.split_once("Candidate functions:").unwrap_or_default();
    let candidates: Vec<String> =
        candidates.lines().map(str::trim).filter(|line| !line.is_empty()).take(6).map(sql_types).collect();
    let help = (!candidates.is_empty()).then(|| format!("there is {}", candidates.join(", ")));
    Some((format!("there is no `{}`", sql_types(call)), help))
}

fn sql_types(text: &str) -> String {
    TYPES.iter().fold(text.to_owned(), |text, (arrow, sql)| text.replace(arrow, sql))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_fit_is_told_with_those_that_would() {
        let text = "Error during planning: Internal error: Function 'f' failed to match any signature. No function matches \
                    the given name and argument types 'f(Utf8)'. You might need to add explicit type casts.\n\t\
                    Candidate functions:\n\tf(Int64)\n\tf(Float64)";
        let (message, help) = in_our_words(text);
        assert_eq!(message, "there is no `f(VARCHAR)`");
        assert_eq!(help.as_deref(), Some("there is f(BIGINT), f(DOUBLE)"));
    }

    #[test]
    fn other_messages_lose_their_prefix() {
        let (message, help) = in_our_words("Error during planning: Cannot compare Int64 and List(Utf8).");
        assert_eq!(message, "cannot compare BIGINT and ARRAY(VARCHAR)");
        assert_eq!(help, None);
    }
}
