//! Values of parameters: from `job.toml` and from `--param name=value`.
//!
//! Invariant: a value fits its declared type exactly, or is refused; nothing is rounded, and there is no NaN.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

use crate::{ParamType, ParamValue};

impl ParamType {
    /// Every type's name, as `job.toml` writes it.
    pub(crate) const NAMES: [&str; 6] = ["boolean", "bigint", "double", "varchar", "date", "timestamp"];

    /// The type of this name, without regard to case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "boolean" => Some(Self::Boolean),
            "bigint" => Some(Self::Bigint),
            "double" => Some(Self::Double),
            "varchar" | "string" => Some(Self::Varchar),
            "date" => Some(Self::Date),
            "timestamp" => Some(Self::Timestamp),
            _ => None,
        }
    }

    /// The type's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Bigint => "bigint",
            Self::Double => "double",
            Self::Varchar => "varchar",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
        }
    }

    /// What a value of the type looks like, for a message.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Bigint => "a whole number from -2^63 to 2^63 - 1",
            Self::Double => "a finite number such as 0.5 or 1e6",
            Self::Varchar => "text",
            Self::Date => "a date such as 2018-11-01",
            Self::Timestamp => {
                "an instant such as 2018-11-01T12:30:00Z, with at most 6 digits of a second (no zone: UTC)"
            }
        }
    }
}

/// Reads a value of a type; `None` if the text does not fit.
pub(crate) fn parse_value(param_type: ParamType, text: &str) -> Option<ParamValue> {
    match param_type {
        ParamType::Boolean if text.eq_ignore_ascii_case("true") => Some(ParamValue::Boolean(true)),
        ParamType::Boolean if text.eq_ignore_ascii_case("false") => Some(ParamValue::Boolean(false)),
        ParamType::Boolean => None,
        ParamType::Bigint => text.parse().ok().map(ParamValue::Bigint),
        ParamType::Double => text.parse().ok().and_then(finite),
        ParamType::Varchar => Some(ParamValue::Varchar(text.to_owned())),
        ParamType::Date => parse_date(text).map(ParamValue::Date),
        ParamType::Timestamp => parse_timestamp(text).map(ParamValue::Timestamp),
    }
}

/// A double, unless it is NaN or infinite.
pub(crate) fn finite(value: f64) -> Option<ParamValue> {
    value.is_finite().then_some(ParamValue::Double(value))
}

fn parse_date(text: &str) -> Option<i32> {
    let date = strict_date(text)?;
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    i32::try_from(date.signed_duration_since(epoch).num_days()).ok()
}

fn strict_date(text: &str) -> Option<NaiveDate> {
    has_shape(text, "0000-00-00").then_some(())?;
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

fn parse_timestamp(text: &str) -> Option<i64> {
    const SECONDS_LEN: usize = "0000-00-00T00:00:00".len();
    const FRACTION_DIGITS_MAX: usize = 6;
    let (seconds, rest) = (text.get(..SECONDS_LEN)?, text.get(SECONDS_LEN..)?);
    if !has_shape(seconds, "0000-00-00T00:00:00") && !has_shape(seconds, "0000-00-00 00:00:00") {
        return None;
    }
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())),
        None => ("0", rest),
    };
    if fraction.is_empty() || fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let zone = match zone {
        "" | "Z" | "z" => "+00:00",
        zone if has_shape(zone, "+00:00") || has_shape(zone, "-00:00") => zone,
        _ => return None,
    };
    let local = format!("{}.{fraction}", seconds.replace(' ', "T"));
    // A leap second is refused by the first, wrong days and hours by both.
    NaiveDateTime::parse_from_str(&local, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    if seconds.ends_with(":60") {
        return None;
    }
    let instant = DateTime::parse_from_rfc3339(&format!("{local}{zone}")).ok()?;
    Some(instant.timestamp_micros())
}

/// Whether a text has digits where the shape has 0, and else the same characters.
fn has_shape(text: &str, shape: &str) -> bool {
    let fits = |(found, wanted): (u8, u8)| if wanted == b'0' { found.is_ascii_digit() } else { found == wanted };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_their_declared_type() {
        for (param_type, text, value) in [
            (ParamType::Boolean, "TRUE", ParamValue::Boolean(true)),
            (ParamType::Bigint, "-9223372036854775808", ParamValue::Bigint(i64::MIN)),
            (ParamType::Double, "1e3", ParamValue::Double(1000.0)),
            (ParamType::Varchar, "", ParamValue::Varchar(String::new())),
            (ParamType::Date, "1969-12-31", ParamValue::Date(-1)),
            (ParamType::Timestamp, "1970-01-01T00:00:00.000001Z", ParamValue::Timestamp(1)),
            (ParamType::Timestamp, "1970-01-01 01:00:00+01:00", ParamValue::Timestamp(0)),
            (ParamType::Timestamp, "1970-01-02 00:00:00", ParamValue::Timestamp(86_400_000_000)),
        ] {
            assert_eq!(parse_value(param_type, text), Some(value), "{text}");
        }
    }

    #[test]
    fn values_that_do_not_fit_exactly_are_refused() {
        for (param_type, text) in [
            (ParamType::Boolean, "1"),
            (ParamType::Boolean, ""),
            (ParamType::Bigint, "1.0"),
            (ParamType::Bigint, "9223372036854775808"),
            (ParamType::Double, "NaN"),
            (ParamType::Double, "inf"),
            (ParamType::Double, "1e999"),
            (ParamType::Date, "2018-11-1"),
            (ParamType::Date, "2018-02-30"),
            (ParamType::Date, "+018-11-01"),
            (ParamType::Timestamp, "2018-11-01"),
            (ParamType::Timestamp, "2018-11-01T24:00:00Z"),
            (ParamType::Timestamp, "2018-11-01T12:00:60Z"),
            (ParamType::Timestamp, "2018-11-01T12:00:00.1234567Z"),
            (ParamType::Timestamp, "2018-11-01T12:00:00.Z"),
            (ParamType::Timestamp, "2018-11-01T12:00:00 Europe/Rome"),
            (ParamType::Timestamp, "2018-11-01é12:00:00"),
        ] {
            assert_eq!(parse_value(param_type, text), None, "{text}");
        }
    }
}
