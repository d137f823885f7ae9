//! Numbers: their grammar, and their exact values.

use crate::{cursor::Cursor, fault::Parsed};

/// Powers of ten that doubles hold exactly.
const DOUBLE_TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// Integers up to this one are doubles.
const DOUBLE_INTEGER_MAX: u64 = 1 << 53;
/// Any number of so many digits is a u64.
const U64_DIGITS: usize = 19;
/// The most digits of a decimal of 128 bits.
const DECIMAL_DIGITS_MAX: usize = 38;

/// A number as it is written: `digits * 10^exponent`, negative or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    pub(crate) text: &'a str,
    negative: bool,
    /// All digits as an integer; meaningless if `is_long`.
    digits: u64,
    exponent: i64,
    /// Whether there are more digits than a u64 holds for sure.
    is_long: bool,
}

impl<'a> Cursor<'a> {
    /// Passes a number.
    #[inline(always)]
    pub(crate) fn number(&mut self) -> Parsed<Number<'a>> {
        let start = self.at;
        let negative = self.eat(b'-');
        let first = self.at;
        let mut digits = self.digits(0);
        let mut count = self.at - first;
        if count == 0 {
            return self.malformed("a number needs a digit here");
        }
        if count > 1 && self.bytes().get(first) == Some(&b'0') {
            self.at = first;
            return self.malformed("a number must not begin with 0");
        }
        let mut exponent = 0;
        if self.eat(b'.') {
            let fraction = self.at;
            digits = self.digits(digits);
            if self.at == fraction {
                return self.malformed("a number needs a digit here");
            }
            let places = self.at - fraction;
            count += places;
            exponent = -i64::try_from(places).unwrap_or(i64::MAX);
        }
        if matches!(self.peek(), b'e' | b'E') {
            exponent = exponent.saturating_add(self.exponent()?);
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        Ok(Number { text, negative, digits, exponent, is_long: count > U64_DIGITS })
    }

    #[inline(always)]
    fn digits(&mut self, before: u64) -> u64 {
        let mut value = before;
        while let Some(byte) = self.bytes().get(self.at) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        value
    }

    #[inline(never)]
    fn exponent(&mut self) -> Parsed<i64> {
        self.at += 1;
        let negative = self.eat(b'-');
        if !negative {
            self.eat(b'+');
        }
        let start = self.at;
        let mut value = 0_i64;
        while let Some(digit @ b'0'..=b'9') = self.bytes().get(self.at) {
            // So large that no record has as many digits.
            value = (value * 10 + i64::from(digit - b'0')).min(1 << 40);
            self.at += 1;
        }
        if self.at == start {
            return self.malformed("a number needs a digit here");
        }
        Ok(if negative { -value } else { value })
    }
}

impl Number<'_> {
    /// The number, if it is an integer of 64 bits, however it is written: 5, 5.0, 50e-1.
    #[inline(always)]
    pub(crate) fn integer(&self) -> Option<i64> {
        if self.exponent == 0 && !self.is_long {
            return if self.negative {
                0_i64.checked_sub_unsigned(self.digits)
            } else {
                i64::try_from(self.digits).ok()
            };
        }
        i64::try_from(self.scaled(0)?).ok()
    }

    /// The number times `10^scale`, if that is an integer of up to 38 digits.
    pub(crate) fn scaled(&self, scale: i64) -> Option<i128> {
        let (digits, exponent) =
            if self.is_long { self.long_digits()? } else { (u128::from(self.digits), self.exponent) };
        if digits == 0 {
            return Some(0);
        }
        let shift = exponent.saturating_add(scale);
        let tens = |count: i64| 10_u128.checked_pow(u32::try_from(count).ok()?);
        let scaled = if shift >= 0 {
            digits.checked_mul(tens(shift)?)?
        } else {
            let divisor = tens(-shift)?;
            digits.is_multiple_of(divisor).then(|| digits / divisor)?
        };
        let scaled = i128::try_from(scaled).ok()?;
        Some(if self.negative { -scaled } else { scaled })
    }

    /// The digits without zeros at either end, if they are few enough, and the exponent that belongs to them.
    #[inline(never)]
    fn long_digits(&self) -> Option<(u128, i64)> {
        let (mantissa, _) = self.text.split_once(['e', 'E']).unwrap_or((self.text, ""));
        let significant = mantissa.trim_start_matches(['-', '0', '.']);
        let cut = significant.trim_end_matches(['0', '.']);
        // The zeros of an integer that were cut count; so do those of a fraction, where each is one place less.
        let zeros = significant[cut.len()..].bytes().filter(u8::is_ascii_digit).count();
        let mut digits = 0_u128;
        let count = cut.bytes().filter(u8::is_ascii_digit).count();
        if count > DECIMAL_DIGITS_MAX {
            return None;
        }
        for digit in cut.bytes().filter(u8::is_ascii_digit) {
            digits = digits * 10 + u128::from(digit - b'0');
        }
        Some((digits, self.exponent.saturating_add(i64::try_from(zeros).ok()?)))
    }

    /// The nearest double, if it is finite.
    #[inline(always)]
    pub(crate) fn double(&self) -> Option<f64> {
        if !self.is_long && self.digits <= DOUBLE_INTEGER_MAX && (-22..=22).contains(&self.exponent) {
            // Both operands are exact, so the one rounding gives the nearest double.
            #[expect(clippy::cast_precision_loss, reason = "checked above")]
            let digits = self.digits as f64;
            let ten = DOUBLE_TENS[usize::try_from(self.exponent.unsigned_abs()).unwrap_or_default().min(22)];
            let value = if self.exponent < 0 { digits / ten } else { digits * ten };
            return Some(if self.negative { -value } else { value });
        }
        self.text.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// The nearest float, if it is finite.
    pub(crate) fn float(&self) -> Option<f32> {
        self.text.parse().ok().filter(|value: &f32| value.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        options::{Limits, OnMisfit},
        state::State,
    };

    fn with_number<T>(text: &str, look: impl FnOnce(Option<Number<'_>>) -> T) -> T {
        let mut state = State::new(Limits::default(), OnMisfit::Null, false, false);
        let mut cursor = Cursor { text, at: 0, state: &mut state, spans_lines: false };
        let number = cursor.number().ok().filter(|_| cursor.at == text.len());
        look(number)
    }

    #[test]
    fn numbers_of_other_grammars_are_refused() {
        for text in
            ["", "-", "+1", "01", "-01", "00", "1.", ".5", "1.e1", "1e", "1e+", "1e+-1", "0x1", "1_0", "NaN", "1.2.3"]
        {
            assert!(with_number(text, |number| number.is_none()), "{text}");
        }
        for text in ["0", "-0", "0.0", "10", "1e5", "1E-05", "-1.25e+10", "0e0"] {
            assert!(with_number(text, |number| number.is_some()), "{text}");
        }
    }

    #[test]
    fn integers_are_exact_or_none() {
        let cases = [
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("18446744073709551616", None),
            ("99999999999999999999999999999999999999999999", None),
            ("5.0", Some(5)),
            ("50e-1", Some(5)),
            ("5e3", Some(5000)),
            ("-0", Some(0)),
            ("0.0e99999999999999999999", Some(0)),
            ("1.5", None),
            ("1e-1", None),
            ("1e19", None),
            ("1e99999999999999999999", None),
            ("1.00000000000000000000000000000000000000000000", Some(1)),
            ("1.00000000000000000000000000000000000000000001", None),
            ("100000000000000000000000e-22", Some(10)),
            ("0.000000000000000000000000000000000000000000000000005e51", Some(5)),
        ];
        for (text, expected) in cases {
            assert_eq!(with_number(text, |number| number.unwrap().integer()), expected, "{text}");
        }
    }

    #[test]
    fn decimals_are_exact_or_none() {
        let cases = [
            ("1.50", 1, Some(15)),
            ("1.55", 1, None),
            ("-12.345", 3, Some(-12_345)),
            ("12345678901234567890123456789012345678", 0, Some(12_345_678_901_234_567_890_123_456_789_012_345_678)),
            ("0.12345678901234567890123456789012345678", 38, Some(12_345_678_901_234_567_890_123_456_789_012_345_678)),
            ("1e37", 1, Some(100_000_000_000_000_000_000_000_000_000_000_000_000)),
            ("120e-2", 1, Some(12)),
        ];
        for (text, scale, expected) in cases {
            assert_eq!(with_number(text, |number| number.unwrap().scaled(scale)), expected, "{text}");
        }
    }
}
