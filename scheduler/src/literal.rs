//! Values of parameters, as scalars for plans and as text for views.
//!
//! Invariant: a view's SQL with its literals in it means, to any reader, what it meant in the run that defined it.

use std::{collections::BTreeMap, fmt::Write};

use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::common::ScalarValue;
use lakewright_compiler::ParamValue;
use lakewright_error::{Error, ErrorKind, Result};

/// The built-in parameter that names the run.
pub(crate) const RUN_ID: &str = "run_id";

/// The built-in parameter that is the run's one time.
pub(crate) const EXECUTION_TS: &str = "execution_ts";

/// Gives a parameter as a plan takes it.
pub(crate) fn scalar(value: &ParamValue) -> ScalarValue {
    match value {
        ParamValue::Boolean(value) => ScalarValue::Boolean(Some(*value)),
        ParamValue::Bigint(value) => ScalarValue::Int64(Some(*value)),
        ParamValue::Double(value) => ScalarValue::Float64(Some(*value)),
        ParamValue::Varchar(value) => ScalarValue::Utf8(Some(value.clone())),
        ParamValue::Date(days) => ScalarValue::Date32(Some(*days)),
        ParamValue::Timestamp(us) => ScalarValue::TimestampMicrosecond(Some(*us), Some("UTC".into())),
    }
}

/// Gives a parameter as SQL text with its type.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: a date or an instant is too far away to be written.
pub(crate) fn literal(value: &ParamValue) -> Result<String> {
    let out_of_range = || Error::new(ErrorKind::Invalid, "a parameter's time is out of range");
    Ok(match value {
        ParamValue::Boolean(value) => value.to_string().to_uppercase(),
        ParamValue::Bigint(value) => format!("CAST('{value}' AS BIGINT)"),
        ParamValue::Double(value) => format!("CAST('{value:?}' AS DOUBLE)"),
        ParamValue::Varchar(value) => format!("'{}'", value.replace('\'', "''")),
        ParamValue::Date(days) => {
            let epoch = NaiveDate::default().num_days_from_ce();
            let date = days.checked_add(epoch).and_then(NaiveDate::from_num_days_from_ce_opt);
            format!("CAST('{}' AS DATE)", date.ok_or_else(out_of_range)?)
        }
        ParamValue::Timestamp(us) => {
            let time = DateTime::from_timestamp_micros(*us).ok_or_else(out_of_range)?;
            let text = time.format("%Y-%m-%dT%H:%M:%S%.6fZ");
            format!("arrow_cast('{text}', 'Timestamp(Microsecond, Some(\"UTC\"))')")
        }
    })
}

/// Puts the values of `params` in place of `$name` in canonical SQL; a name without a value stays.
///
/// Canonical SQL has quoted identifiers, quoted text and no comments, so that `$` elsewhere begins a parameter.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: a date or an instant is too far away to be written.
pub(crate) fn bind(sql: &str, params: &BTreeMap<String, ParamValue>) -> Result<String> {
    let mut bound = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find(['\'', '"', '$']) {
        let (before, token) = rest.split_at(at);
        bound.push_str(before);
        let quote = &token[..1];
        if quote == "$" {
            let end = token[1..].find(|c: char| !c.is_alphanumeric() && c != '_').map_or(token.len(), |end| end + 1);
            match params.get(&token[1..end]) {
                Some(value) => bound.push_str(&literal(value)?),
                None => bound.push_str(&token[..end]),
            }
            rest = &token[end..];
        } else {
            // A doubled quote closes and opens again: the text between is empty, and the result is the same.
            let end = token[1..].find(quote).map_or(token.len(), |end| end + 2);
            bound.push_str(&token[..end]);
            rest = &token[end..];
        }
    }
    bound.push_str(rest);
    Ok(bound)
}

/// Gives a parameter as text that is equal only for equal values of equal types, for fingerprints.
pub(crate) fn canonical(value: &ParamValue) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = match value {
        ParamValue::Boolean(value) => write!(text, "boolean:{value}"),
        ParamValue::Bigint(value) => write!(text, "bigint:{value}"),
        ParamValue::Double(value) => write!(text, "double:{:016x}", value.to_bits()),
        ParamValue::Varchar(value) => write!(text, "varchar:{value}"),
        ParamValue::Date(days) => write!(text, "date:{days}"),
        ParamValue::Timestamp(us) => write!(text, "timestamp:{us}"),
    };
    text
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    fn params() -> BTreeMap<String, ParamValue> {
        BTreeMap::from([
            ("flag".to_owned(), ParamValue::Boolean(true)),
            ("least".to_owned(), ParamValue::Bigint(i64::MIN)),
            ("length".to_owned(), ParamValue::Double(0.1)),
            ("name".to_owned(), ParamValue::Varchar("it's $least \"x\"".to_owned())),
            ("day".to_owned(), ParamValue::Date(-1)),
            ("at".to_owned(), ParamValue::Timestamp(1_542_069_637_796_001)),
        ])
    }

    #[test]
    fn only_parameters_outside_quotes_are_bound() {
        let sql = r#"SELECT "a$least", '$least''$least' AS "x", $least, $other_1 FROM "z"."t""#;
        let bound = bind(sql, &params()).unwrap();
        let least = "CAST('-9223372036854775808' AS BIGINT)";
        assert_eq!(bound, format!(r#"SELECT "a$least", '$least''$least' AS "x", {least}, $other_1 FROM "z"."t""#));
    }

    #[tokio::test]
    async fn a_bound_view_gives_the_values_and_types_that_parameters_give() {
        let params = params();
        let names: Vec<&str> = params.keys().map(String::as_str).collect();
        let columns: Vec<String> = names.iter().map(|name| format!("${name} AS \"{name}\"")).collect();
        let sql = bind(&format!("SELECT {}", columns.join(", ")), &params).unwrap();
        let batches = SessionContext::new().sql(&sql).await.unwrap().collect().await.unwrap();
        for (index, name) in names.iter().enumerate() {
            let value = ScalarValue::try_from_array(batches[0].column(index), 0).unwrap();
            assert_eq!(value, scalar(&params[*name]), "{name}");
        }
    }

    #[test]
    fn canonical_text_tells_types_and_signed_zeros_apart() {
        let texts = [
            canonical(&ParamValue::Bigint(1)),
            canonical(&ParamValue::Varchar("1".to_owned())),
            canonical(&ParamValue::Double(1.0)),
            canonical(&ParamValue::Double(0.0)),
            canonical(&ParamValue::Double(-0.0)),
        ];
        for (index, text) in texts.iter().enumerate() {
            assert!(!texts[index + 1..].contains(text), "{text}");
        }
    }
}
