//! Sizes as people write them: `256MB`, `1.5GB`, `70%`.
//!
//! Invariant: `1MB` is 2^20 bytes, here and in job files.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

/// How much memory queries may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryLimit {
    /// Share of the machine's memory, 1 to 100.
    Percent(u64),
    /// Bytes.
    Bytes(u64),
}

impl MemoryLimit {
    /// The limit in bytes on a machine that has `machine_bytes`.
    pub(super) fn bytes(self, machine_bytes: u64) -> u64 {
        match self {
            Self::Percent(percent) => machine_bytes / 100 * percent,
            Self::Bytes(bytes) => bytes,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        match text.strip_suffix('%') {
            Some(percent) => {
                percent.trim().parse().ok().filter(|percent| (1..=100).contains(percent)).map(Self::Percent)
            }
            None => parse_bytes(text).map(Self::Bytes),
        }
    }
}

impl<'de> Deserialize<'de> for MemoryLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = TextOrNumber::deserialize(deserializer)?.into_text();
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("{text} is no size such as 256MB, 2GB or 70%")))
    }
}

/// A value that a file may give as a number, and a variable or a flag gives as text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a number or a text")]
enum TextOrNumber {
    Number(u64),
    Text(String),
}

impl TextOrNumber {
    fn into_text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// Reads a size.
pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = TextOrNumber::deserialize(deserializer)?.into_text();
    parse_bytes(&text).map(Some).ok_or_else(|| D::Error::custom(format!("{text} is no size such as 256MB or 2GB")))
}

/// Reads a number of threads.
pub(super) fn threads<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let text = TextOrNumber::deserialize(deserializer)?.into_text();
    text.trim().parse().map(Some).map_err(|_| D::Error::custom(format!("{text} is no number of threads")))
}

/// Reads a number of requests.
pub(super) fn requests<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let text = TextOrNumber::deserialize(deserializer)?.into_text();
    text.trim().parse().map(Some).map_err(|_| D::Error::custom(format!("{text} is no number of requests")))
}

/// Reads a number of anything.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let text = TextOrNumber::deserialize(deserializer)?.into_text();
    text.trim().parse().map(Some).map_err(|_| D::Error::custom(format!("{text} is no number")))
}

/// Reads a time; a bare number is seconds.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = TextOrNumber::deserialize(deserializer)?.into_text();
    parse_time(&text).map(Some).ok_or_else(|| D::Error::custom(format!("{text} is no time such as 90s, 10m or 2h")))
}

fn parse_time(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_s = match unit.trim() {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit_s)?;
    (1..=7 * 86_400).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// Writes a time as a user would: the largest unit in which it is whole.
pub(super) fn time_text(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        seconds if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

/// Reads a switch, which a variable gives as text.
pub(super) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "true or false")]
    enum Switch {
        Bool(bool),
        Text(String),
    }
    let text = match Switch::deserialize(deserializer)? {
        Switch::Bool(switch) => return Ok(Some(switch)),
        Switch::Text(text) => text,
    };
    text.trim().parse().map(Some).map_err(|_| D::Error::custom(format!("{text} is neither true nor false")))
}

/// Bytes of a size with or without a unit; `None` if it is none or does not fit.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let fraction_bytes = match fraction.len() {
        0 if number.contains('.') => return None,
        0 => 0,
        digits @ 1..=6 => (fraction.parse::<u64>().ok()? << shift) / 10_u64.pow(u32::try_from(digits).ok()?),
        _ => return None,
    };
    whole.checked_mul(1 << shift)?.checked_add(fraction_bytes)
}

/// Writes a size as a user would: the largest unit in which it is whole, else MB rounded down.
pub(super) fn text(bytes: u64) -> String {
    for (shift, unit) in [(30, "GB"), (20, "MB"), (10, "KB")] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    if bytes >= 1 << 20 { format!("{}MB", bytes >> 20) } else { bytes.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_and_case_does_not_matter() {
        assert_eq!(parse_bytes("256MB"), Some(256 << 20));
        assert_eq!(parse_bytes("2gib"), Some(2 << 30));
        assert_eq!(parse_bytes("1.5 GB"), Some(3 << 29));
        assert_eq!(parse_bytes("1048576"), Some(1 << 20));
    }

    #[test]
    fn what_is_no_size_is_refused_and_never_overflows() {
        for text in ["", "MB", "-1", "1..5GB", "1.GB", "5 apples", "99999999999999TB", "18446744073709551616"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn a_percentage_is_a_share_of_the_machine() {
        assert_eq!(MemoryLimit::parse("70%").map(|limit| limit.bytes(1000)), Some(700));
        assert_eq!(MemoryLimit::parse("0%"), None);
        assert_eq!(MemoryLimit::parse("101%"), None);
    }

    #[test]
    fn a_time_has_a_unit_or_is_seconds_and_is_between_a_second_and_a_week() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7_200), ("45", 45), ("5 min", 300)] {
            assert_eq!(parse_time(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "m", "-1s", "8d", "99999999999999h", "1000h"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert_eq!(["10m", "90s", "2h"].map(|text| time_text(parse_time(text).unwrap())), ["10m", "90s", "2h"]);
    }

    #[test]
    fn a_size_is_written_in_the_largest_whole_unit() {
        assert_eq!(text(2 << 30), "2GB");
        assert_eq!(text(1536 << 20), "1536MB");
        assert_eq!(text((1 << 30) + 1), "1024MB");
        assert_eq!(text(100), "100");
    }
}
