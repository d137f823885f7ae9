//! Numbers, sizes and times as people read them.

use std::time::Duration;

/// `1,234,567`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `0 B`, `512 B`, `12.3 MB`; a step is 1000, as on a disk's label.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if number < 1000 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1000.0;
    let mut unit = 0;
    // From 999.95 on the text would be `1000.0`.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS.get(unit).copied().unwrap_or("PB"))
}

/// `7 ms`, `1.2 s`, `3 min 05 s`, `2 h 03 min`
pub(crate) fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let seconds = duration.as_secs();
    match seconds {
        _ if milliseconds < 995 => format!("{milliseconds} ms"),
        _ if milliseconds < 59_950 => format!("{:.1} s", duration.as_secs_f64()),
        0..3600 => {
            let rounded = (milliseconds + 500) / 1000;
            format!("{} min {:02} s", rounded / 60, rounded % 60)
        }
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `1 file`, `2 files`
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// `number` per second of `elapsed`; `None` before there is something to tell.
pub(crate) fn per_second(number: u64, elapsed: Duration) -> Option<u64> {
    let milliseconds = elapsed.as_millis();
    let rate = (u128::from(number) * 1000).checked_div(milliseconds)?;
    (rate > 0).then(|| u64::try_from(rate).unwrap_or(u64::MAX))
}

/// A time in microseconds since 1970 as `2018-11-13 20:07:17 UTC`.
pub(crate) fn instant(microseconds: i64) -> String {
    chrono::DateTime::from_timestamp_micros(microseconds)
        .map_or_else(String::new, |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn sizes_have_one_digit_and_never_four_before_it() {
        let sizes = [0, 999, 1000, 12_345_678, 999_950, 999_949, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "12.3 MB", "1.0 MB", "999.9 kB", "18446.7 PB"]);
    }

    #[test]
    fn times_get_coarser_as_they_get_longer() {
        let times =
            [0, 994, 995, 1_234, 59_949, 59_950, 185_000, 7_380_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(times, ["0 ms", "994 ms", "1.0 s", "1.2 s", "59.9 s", "1 min 00 s", "3 min 05 s", "2 h 03 min"]);
    }

    #[test]
    fn a_rate_needs_time_and_something_done() {
        assert_eq!(per_second(10, Duration::ZERO), None);
        assert_eq!(per_second(0, Duration::from_secs(1)), None);
        assert_eq!(per_second(10, Duration::from_millis(500)), Some(20));
    }
}
