//! Mathematics where Spark differs from DataFusion, or has what it has not.

use std::{str::FromStr, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, StringArray},
        compute::{cast, is_not_null, is_null},
        datatypes::{DataType, Float32Type, Float64Type, Int32Type},
    },
    common::{ScalarValue, exec_datafusion_err},
    error::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};

use super::native::{
    Native,
    Parameter::{Any, Bigint, Double, Int, Text},
};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let double = |name, parameters: &[_], kernel| Native::new(name, parameters, DataType::Float64, kernel);
    vec![
        double("sqrt", &[Double], |a| map(a, f64::sqrt)).udf(),
        double("ln", &[Double], |a| map_above(a, 0.0, f64::ln)).udf(),
        double("log10", &[Double], |a| map_above(a, 0.0, f64::log10)).udf(),
        double("log2", &[Double], |a| map_above(a, 0.0, f64::log2)).udf(),
        double("log1p", &[Double], |a| map_above(a, -1.0, f64::ln_1p)).udf(),
        double("log", &[Double, Double], log).optional(1).udf(),
        double("signum", &[Double], |a| map(a, sign)).alias(&["sign"]).udf(),
        double("e", &[], |_| Ok(Arc::new(Float64Array::from(vec![std::f64::consts::E])))).udf(),
        Native::new("isnan", &[Double], DataType::Boolean, is_nan).udf(),
        Native::new("isnull", &[Any], DataType::Boolean, |a| Ok(Arc::new(is_null(a[0].as_ref())?))).udf(),
        Native::new("isnotnull", &[Any], DataType::Boolean, |a| Ok(Arc::new(is_not_null(a[0].as_ref())?))).udf(),
        Native::new("conv", &[Text, Int, Int], DataType::Utf8, convert_base).udf(),
        Native::new("format_number", &[Double, Int], DataType::Utf8, format_number).udf(),
        Native::new("space", &[Bigint], DataType::Utf8, space).udf(),
    ]
    .into_iter()
    .chain(Round::over_spark().map(|round| Arc::new(ScalarUDF::new_from_impl(round))))
    .collect()
}

/// `round` of floats by their shortest decimal digits, as Spark does: 1.005 to two digits is 1.01, though the float is a
/// little less than that.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Round {
    /// What rounds all other types.
    native: Arc<ScalarUDF>,
}

impl Round {
    fn over_spark() -> Option<Self> {
        let native = datafusion_spark::all_default_scalar_functions().into_iter().find(|f| f.name() == "round")?;
        Some(Self { native })
    }
}

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        "round"
    }

    fn signature(&self) -> &Signature {
        self.native.signature()
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        self.native.return_type(given)
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        self.native.coerce_types(given)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let digits = match args.args.get(1) {
            None => Some(0),
            Some(ColumnarValue::Scalar(digits)) => match digits.cast_to(&DataType::Int32)? {
                ScalarValue::Int32(digits) => digits,
                _ => None,
            },
            Some(ColumnarValue::Array(_)) => None,
        };
        let (Some(digits), Some(values)) = (digits, args.args.first()) else {
            return self.native.invoke_with_args(args);
        };
        let rounded = |values: &ArrayRef| -> ArrayRef {
            match values.as_primitive_opt::<Float64Type>() {
                Some(values) => Arc::new(values.unary::<_, Float64Type>(|value| round(value, digits))),
                None => Arc::new(
                    values
                        .as_primitive::<Float32Type>()
                        .unary::<_, Float32Type>(|value| round_text(&format!("{value:e}"), digits).unwrap_or(value)),
                ),
            }
        };
        match (values.data_type(), values) {
            (DataType::Float32 | DataType::Float64, ColumnarValue::Array(values)) => {
                Ok(ColumnarValue::Array(rounded(values)))
            }
            (DataType::Float32 | DataType::Float64, ColumnarValue::Scalar(value)) => {
                let rounded = rounded(&value.to_array()?);
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&rounded, 0)?))
            }
            _ => self.native.invoke_with_args(args),
        }
    }
}

fn round(value: f64, digits: i32) -> f64 {
    /// Powers of ten that are exact, and products of which the last digit is one.
    const EXACT: (i32, f64) = (22, 4_503_599_627_370_496.0);
    if (0..=EXACT.0).contains(&digits) {
        let factor = 10_f64.powi(digits);
        let shifted = value * factor;
        let rest = (shifted - shifted.trunc()).abs();
        // Where the product is not nearly half way, its error does not matter.
        if shifted.abs() < EXACT.1 && (rest - 0.5).abs() > shifted.abs() * 1e-15 + f64::MIN_POSITIVE {
            return shifted.round() / factor + 0.0;
        }
    }
    round_text(&format!("{value:e}"), digits).unwrap_or(value)
}

/// Rounds a number in scientific form, halves away from zero; `None` if it has no more digits than asked for.
fn round_text<T: FromStr>(text: &str, digits: i32) -> Option<T> {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    let (mantissa, exponent) = text.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let all: String = mantissa.chars().filter(|c| *c != '.').collect();
    let kept = exponent.saturating_add(1).saturating_add(digits);
    let Ok(kept) = usize::try_from(kept) else { return "0".parse().ok() };
    let next = all.as_bytes().get(kept)?;
    let whole: u64 = if kept == 0 { 0 } else { all.get(..kept)?.parse().ok()? };
    let rounded = whole + u64::from(*next >= b'5');
    let sign = if rounded == 0 { "" } else { sign };
    format!("{sign}{rounded}e{}", digits.checked_neg()?).parse().ok()
}

fn map(args: &[ArrayRef], operation: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    Ok(Arc::new(args[0].as_primitive::<Float64Type>().unary::<_, Float64Type>(operation)))
}

/// NULL for what is not above `limit`.
fn map_above(args: &[ArrayRef], limit: f64, operation: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    let values = args[0].as_primitive::<Float64Type>();
    Ok(Arc::new(
        values.unary_opt::<_, Float64Type>(|value| (value.is_nan() || value > limit).then(|| operation(value))),
    ))
}

/// To a base, or natural.
fn log(args: &[ArrayRef]) -> Result<ArrayRef> {
    let Some(values) = args.get(1) else { return map_above(args, 0.0, f64::ln) };
    let pairs = args[0].as_primitive::<Float64Type>().iter().zip(values.as_primitive::<Float64Type>().iter());
    let logs = pairs.map(|(base, value)| {
        let (base, value) = base.zip(value)?;
        (base > 0.0 && value > 0.0).then(|| value.ln() / base.ln())
    });
    Ok(Arc::new(logs.collect::<Float64Array>()))
}

fn sign(value: f64) -> f64 {
    if value == 0.0 || value.is_nan() { value } else { value.signum() }
}

fn is_nan(args: &[ArrayRef]) -> Result<ArrayRef> {
    let values = args[0].as_primitive::<Float64Type>();
    Ok(Arc::new(values.iter().map(|value| Some(value.is_some_and(f64::is_nan))).collect::<BooleanArray>()))
}

/// A whole number from one base to another; a negative target base is signed. What is too large is an error.
fn convert_base(args: &[ArrayRef]) -> Result<ArrayRef> {
    let texts = args[0].as_string::<i32>();
    let (from, to) = (args[1].as_primitive::<Int32Type>(), args[2].as_primitive::<Int32Type>());
    let values = (0..texts.len()).map(|row| {
        if args.iter().any(|argument| argument.is_null(row)) {
            return Ok(None);
        }
        in_base(texts.value(row), from.value(row), to.value(row))
    });
    Ok(Arc::new(values.collect::<Result<StringArray>>()?))
}

fn in_base(text: &str, from: i32, to: i32) -> Result<Option<String>> {
    let bases = 2..=36;
    let (from, radix) = (from.unsigned_abs(), to.unsigned_abs());
    let text = text.trim();
    if !bases.contains(&from) || !bases.contains(&radix) || text.is_empty() {
        return Ok(None);
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let mut value = 0_u64;
    for digit in digits.chars().map_while(|c| c.to_digit(from)) {
        let next = value.checked_mul(from.into()).and_then(|value| value.checked_add(digit.into()));
        value = next.ok_or_else(|| exec_datafusion_err!("integer overflow: '{text}' in base {from}"))?;
    }
    let (negative, mut rest) = if to > 0 {
        (false, if negative { value.wrapping_neg() } else { value })
    } else {
        let signed = if negative { value.wrapping_neg() } else { value }.cast_signed();
        (signed < 0, signed.unsigned_abs())
    };
    let mut reversed = Vec::new();
    loop {
        let digit = u32::try_from(rest % u64::from(radix)).unwrap_or(0);
        reversed.extend(char::from_digit(digit, radix));
        rest /= u64::from(radix);
        if rest == 0 {
            break;
        }
    }
    let sign = if negative { "-" } else { "" };
    Ok(Some(format!("{sign}{}", reversed.iter().rev().collect::<String>().to_uppercase())))
}

/// Thousands separated by commas, rounded to so many digits, halves to even; NULL for a negative count.
fn format_number(args: &[ArrayRef]) -> Result<ArrayRef> {
    const DIGITS_MAX: usize = 340;
    let values = args[0].as_primitive::<Float64Type>();
    let digits = args[1].as_primitive::<Int32Type>();
    let texts = values.iter().zip(digits.iter()).map(|(value, digits)| {
        let (value, digits) = value.zip(digits)?;
        let digits = usize::try_from(digits).ok()?.min(DIGITS_MAX);
        Some(with_commas(&format!("{value:.digits$}")))
    });
    Ok(Arc::new(texts.collect::<StringArray>()))
}

fn with_commas(number: &str) -> String {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |number| ("-", number));
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut text = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

fn space(args: &[ArrayRef]) -> Result<ArrayRef> {
    let counts = cast(&args[0], &DataType::Int32)?;
    let texts = counts
        .as_primitive::<Int32Type>()
        .iter()
        .map(|count| count.map(|n| " ".repeat(usize::try_from(n).unwrap_or(0))));
    Ok(Arc::new(texts.collect::<StringArray>()))
}
