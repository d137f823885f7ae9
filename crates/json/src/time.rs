//! Dates and times as text: ISO 8601, exactly, or they do not fit.

/// Days from 0000-03-01, where a year of the calculation begins, to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;
/// Days in 400 years.
const DAYS_OF_ERA: i64 = 146_097;
const MICROS_OF_SECOND: i64 = 1_000_000;
const MICROS_OF_DAY: i64 = 86_400 * MICROS_OF_SECOND;

/// Days since 1970-01-01 of a date `2018-11-13`.
pub(crate) fn date(text: &str) -> Option<i32> {
    let (days, rest) = days(text.as_bytes())?;
    i32::try_from(days).ok().filter(|_| rest.is_empty())
}

/// Microseconds since 1970-01-01 UTC of a time such as `2018-11-13T12:30:05.25+01:00`. Seconds, their fraction and the
/// zone may be missing, a space may stand for the `T`, and a date is its midnight; without a zone it is UTC.
pub(crate) fn timestamp_us(text: &str) -> Option<i64> {
    let (days, rest) = days(text.as_bytes())?;
    let midnight = days.checked_mul(MICROS_OF_DAY)?;
    let Some((b'T' | b't' | b' ', rest)) = rest.split_first() else { return rest.is_empty().then_some(midnight) };
    let (hour, rest) = number(rest, 2, 23)?;
    let (minute, rest) = number(after(rest, b':')?, 2, 59)?;
    let (second, rest) = match after(rest, b':') {
        Some(rest) => number(rest, 2, 59)?,
        None => (0, rest),
    };
    let (fraction_us, rest) = match after(rest, b'.') {
        Some(rest) => fraction_us(rest)?,
        None => (0, rest),
    };
    let offset_minutes = zone_minutes(rest)?;
    let seconds = hour * 3600 + (minute - offset_minutes) * 60 + second;
    midnight.checked_add(seconds * MICROS_OF_SECOND + fraction_us)
}

fn days(text: &[u8]) -> Option<(i64, &[u8])> {
    let (year, rest) = number(text, 4, 9999)?;
    let (month, rest) = number(after(rest, b'-')?, 2, 12)?;
    let (day, rest) = number(after(rest, b'-')?, 2, 31)?;
    if month == 0 || day == 0 || day > days_of_month(year, month) {
        return None;
    }
    // A year begins in March here, so that a leap day is its last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some((era * DAYS_OF_ERA + day_of_era - DAYS_TO_1970, rest))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A fraction of a second behind its point. What is below a microsecond must be zero.
fn fraction_us(text: &[u8]) -> Option<(i64, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(count).filter(|_| count > 0)?;
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + digits.get(place).map_or(0, |digit| i64::from(digit - b'0'));
    }
    digits.iter().skip(6).all(|digit| *digit == b'0').then_some((micros, rest))
}

/// Minutes that a zone is ahead of UTC: nothing, `Z`, `+01:00`, `+0100` or `+01`.
fn zone_minutes(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text.split_first() {
        None => return Some(0),
        Some((b'Z' | b'z', rest)) => return rest.is_empty().then_some(0),
        Some((b'+', rest)) => (1, rest),
        Some((b'-', rest)) => (-1, rest),
        Some(_) => return None,
    };
    let (hours, rest) = number(rest, 2, 18)?;
    let minutes = match rest.strip_prefix(b":").unwrap_or(rest) {
        [] if rest.is_empty() => 0,
        digits => number(digits, 2, 59).filter(|(_, rest)| rest.is_empty())?.0,
    };
    Some(sign * (hours * 60 + minutes))
}

fn after(text: &[u8], byte: u8) -> Option<&[u8]> {
    text.split_first().filter(|(first, _)| **first == byte).map(|(_, rest)| rest)
}

/// A number of exactly `width` digits, up to `max`.
fn number(text: &[u8], width: usize, max: i64) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(width)?;
    let value = digits
        .iter()
        .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))?;
    (value <= max).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_since_1970() {
        let cases = [
            ("1970-01-01", Some(0)),
            ("1969-12-31", Some(-1)),
            ("2000-02-29", Some(11_016)),
            ("2018-11-13", Some(17_848)),
            ("0001-01-01", Some(-719_162)),
            ("9999-12-31", Some(2_932_896)),
            ("1900-02-29", None),
            ("2018-13-01", None),
            ("2018-00-01", None),
            ("2018-04-31", None),
            ("2018-4-1", None),
            ("2018-11-13T00:00", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(date(text), expected, "{text}");
        }
    }

    #[test]
    fn times_are_exact_or_none() {
        let day = 17_848 * MICROS_OF_DAY;
        let cases = [
            ("2018-11-13", Some(day)),
            ("2018-11-13T00:00:00Z", Some(day)),
            ("2018-11-13 01:02", Some(day + 3_720_000_000)),
            ("2018-11-13T01:02:03.5", Some(day + 3_723_500_000)),
            ("2018-11-13T01:02:03.123456000Z", Some(day + 3_723_123_456)),
            ("2018-11-13T01:02:03.1234567Z", None),
            ("2018-11-13T01:00:00+01:00", Some(day)),
            ("2018-11-12T23:00:00-0100", Some(day)),
            ("2018-11-13T05:30:00+05:30", Some(day)),
            ("2018-11-13T01:00:00+01", Some(day)),
            ("2018-11-13T24:00:00", None),
            ("2018-11-13T23:59:60", None),
            ("2018-11-13T01:00:00+", None),
            ("2018-11-13T01:00:00+01:", None),
            ("2018-11-13T01:00:00 UTC", None),
            ("2018-11-13T", None),
            ("2018-11-13T01", None),
            ("1542069637796", None),
        ];
        for (text, expected) in cases {
            assert_eq!(timestamp_us(text), expected, "{text}");
        }
    }
}
