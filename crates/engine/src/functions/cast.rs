//! Casts that Spark does otherwise than Arrow: from and to text, and between numbers and instants.
//!
//! Data flow: the analyzer hands each cast that was written in SQL to [`CastRewrite`] before types are coerced -> a
//! function of the same type. Casts between numbers stay native: they fail on overflow and cut fractions off already.
//!
//! Invariant: a rewrite keeps the expression's type and name, so that the compiler, which has no analyzer rule of ours,
//! finds the same schema.

use std::{fmt::Write, sync::Arc};

use chrono::{DateTime, Datelike, Timelike};
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray, StringBuilder},
        compute::{CastOptions, cast, cast_with_options},
        datatypes::{DataType, Field, Float32Type, Float64Type, TimestampMicrosecondType},
        util::display::FormatOptions,
    },
    common::{DFSchema, ScalarValue, config::ConfigOptions, exec_datafusion_err, plan_err, tree_node::Transformed},
    error::Result,
    logical_expr::{
        Cast, ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TryCast,
        Volatility, expr::ScalarFunction, expr_rewriter::FunctionRewrite,
    },
};

use super::native::{Native, Parameter, invoke_kernel, is_text, timestamp_type};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![timestamp_to_text(), timestamp_to_double(), float_to_text(), FromText::udf(false), FromText::udf(true)]
}

fn timestamp_to_text() -> Arc<ScalarUDF> {
    Native::new("timestamp_to_text", &[Parameter::Timestamp], DataType::Utf8, write_timestamps).udf()
}

fn timestamp_to_double() -> Arc<ScalarUDF> {
    Native::new("timestamp_to_double", &[Parameter::Timestamp], DataType::Float64, |args| {
        let instants = args[0].as_primitive::<TimestampMicrosecondType>();
        #[expect(clippy::cast_precision_loss, reason = "a double has no more digits")]
        let seconds = instants.unary::<_, Float64Type>(|micros| micros as f64 / 1e6);
        Ok(Arc::new(seconds))
    })
    .udf()
}

fn float_to_text() -> Arc<ScalarUDF> {
    Native::new("float_to_text", &[Parameter::Any], DataType::Utf8, write_floats).udf()
}

/// Puts functions in place of casts.
#[derive(Debug)]
pub(super) struct CastRewrite;

impl FunctionRewrite for CastRewrite {
    fn name(&self) -> &str {
        "spark_casts"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _config: &ConfigOptions) -> Result<Transformed<Expr>> {
        let (input, target, tolerant) = match &expr {
            Expr::Cast(Cast { expr: input, field }) => (input.as_ref(), field.data_type(), false),
            Expr::TryCast(TryCast { expr: input, field }) => (input.as_ref(), field.data_type(), true),
            // How canonical SQL says a cast that plain SQL has no type for: to an instant.
            Expr::ScalarFunction(function) => match to_instant(function) {
                Some((input, tolerant)) => (input, &timestamp_type(), tolerant),
                None => return Ok(Transformed::no(expr)),
            },
            _ => return Ok(Transformed::no(expr)),
        };
        // An input without a type yet (a parameter) is left as it is.
        let Ok(given) = input.get_type(schema) else { return Ok(Transformed::no(expr)) };
        match replacement(input, &given, target, tolerant) {
            Some(replacement) => Ok(Transformed::yes(replacement)),
            None => Ok(Transformed::no(expr)),
        }
    }
}

/// What a call casts to an instant, and whether what does not fit is NULL.
fn to_instant(function: &ScalarFunction) -> Option<(&Expr, bool)> {
    let tolerant = match function.name() {
        "arrow_cast" => false,
        "arrow_try_cast" => true,
        _ => return None,
    };
    let [input, Expr::Literal(target, _)] = function.args.as_slice() else { return None };
    let target: DataType = target.try_as_str().flatten()?.parse().ok()?;
    (target == timestamp_type()).then_some((input, tolerant))
}

fn replacement(input: &Expr, given: &DataType, target: &DataType, tolerant: bool) -> Option<Expr> {
    let call = |function: Arc<ScalarUDF>| function.call(vec![input.clone()]);
    let is_instant = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..));
    if target == &DataType::Utf8 {
        return match given {
            DataType::Timestamp(_, Some(_)) => Some(call(timestamp_to_text())),
            DataType::Float32 | DataType::Float64 => Some(call(float_to_text())),
            _ => None,
        };
    }
    if target == &DataType::Boolean && given.is_decimal() {
        let zero = ScalarValue::new_zero(given).ok()?;
        return Some(input.clone().not_eq(Expr::Literal(zero, None)));
    }
    if target == &timestamp_type() && given.is_numeric() {
        return Some(call(super::time::timestamp_seconds_udf()));
    }
    if is_instant(given) && target.is_integer() {
        let seconds = call(super::time::unix_seconds());
        let field = Arc::new(Field::new("", target.clone(), true));
        return Some(if tolerant {
            Expr::TryCast(TryCast::new_from_field(Box::new(seconds), field))
        } else {
            Expr::Cast(Cast::new_from_field(Box::new(seconds), field))
        });
    }
    if is_instant(given) && target == &DataType::Float64 {
        return Some(call(timestamp_to_double()));
    }
    let reads =
        target.is_numeric() || matches!(target, DataType::Boolean | DataType::Date32) || target == &timestamp_type();
    if is_text(given) && reads {
        let example = ScalarValue::try_from(target).ok()?;
        return Some(FromText::udf(tolerant).call(vec![input.clone(), Expr::Literal(example, None)]));
    }
    None
}

/// Text to the type of the second argument, which is a NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FromText {
    tolerant: bool,
    signature: Signature,
}

impl FromText {
    fn udf(tolerant: bool) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(Self { tolerant, signature: Signature::any(2, Volatility::Immutable) }))
    }
}

impl ScalarUDFImpl for FromText {
    fn name(&self) -> &str {
        if self.tolerant { "try_text_to" } else { "text_to" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        match given {
            [text, target] if is_text(text) => Ok(target.clone()),
            _ => plan_err!("{} takes a text and a NULL of a type", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let target = args.return_type().clone();
        let args = ScalarFunctionArgs { args: args.args.into_iter().take(1).collect(), ..args };
        invoke_kernel(&args, |arrays| text_to(&arrays[0], &target, self.tolerant))
    }
}

/// Casts text as Spark reads it: spaces around it do not count, and a date may lack its day or its month.
pub(super) fn text_to(texts: &ArrayRef, target: &DataType, tolerant: bool) -> Result<ArrayRef> {
    let given = cast(texts, &DataType::Utf8)?;
    let texts = match target {
        DataType::Timestamp(..) => without_leap_seconds(Arc::clone(&given)),
        _ => Arc::clone(&given),
    };
    // Arrow reads what is well formed, in bulk; only what is left over is looked at one by one.
    let options = CastOptions { safe: true, format_options: FormatOptions::default() };
    let read = cast_with_options(&texts, target, &options)?;
    if read.null_count() == texts.null_count() {
        return Ok(read);
    }
    let given = given.as_string::<i32>();
    let mended: StringArray = texts
        .as_string::<i32>()
        .iter()
        .enumerate()
        .map(|(row, text)| text.map(|text| if read.is_null(row) { mend(text, target) } else { text.to_owned() }))
        .collect();
    let read = cast_with_options(&mended, target, &options)?;
    if !tolerant && let Some(row) = (0..given.len()).find(|&row| given.is_valid(row) && read.is_null(row)) {
        return Err(exec_datafusion_err!("cannot cast '{}' to {}", given.value(row), sql_name(target)));
    }
    Ok(read)
}

/// Makes texts with a 60th second unreadable: Arrow takes it for the next minute's first.
fn without_leap_seconds(texts: ArrayRef) -> ArrayRef {
    let given = texts.as_string::<i32>();
    if !given.iter().flatten().any(has_leap_second) {
        return texts;
    }
    let marked = given
        .iter()
        .map(|text| text.map(|text| if has_leap_second(text) { format!("{text}?") } else { text.to_owned() }));
    Arc::new(marked.collect::<StringArray>())
}

fn has_leap_second(text: &str) -> bool {
    text.contains(":60")
}

fn mend(text: &str, target: &DataType) -> String {
    let text = text.trim();
    match target {
        DataType::Date32 | DataType::Timestamp(..) => mend_moment(text, target).unwrap_or_else(|| text.to_owned()),
        DataType::Decimal128(..) => without_exponent(text).unwrap_or_else(|| text.to_owned()),
        _ => text.to_owned(),
    }
}

/// `1.5e3` as `1500`; `None` if that is not what the text is.
fn without_exponent(text: &str) -> Option<String> {
    // Beyond what any decimal holds, and few enough to write down.
    const EXPONENT_MAX: i32 = 100;
    let (mantissa, exponent) = text.split_once(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok().filter(|exponent: &i32| exponent.abs() <= EXPONENT_MAX)?;
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let mut point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    while point <= 0 {
        digits.insert(0, '0');
        point += 1;
    }
    let point = usize::try_from(point).ok()?;
    while digits.len() < point {
        digits.push('0');
    }
    let (whole, fraction) = digits.split_at(point);
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// A date with all of its parts, and a time with all of its; `None` if the text is of another form.
fn mend_moment(text: &str, target: &DataType) -> Option<String> {
    let (date, time) = match text.find(['T', ' ']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut parts = date.splitn(3, '-').map(|part| format!("{part:0>2}"));
    let (year, month, day) = (parts.next()?, parts.next(), parts.next());
    if year.len() != 4 {
        return None;
    }
    let date = format!("{year}-{}-{}", month.as_deref().unwrap_or("01"), day.as_deref().unwrap_or("01"));
    if !matches!(target, DataType::Timestamp(..)) {
        return Some(date);
    }
    let clock = time.get(1..).unwrap_or_default();
    if clock.is_empty() {
        return Some(format!("{date}T00:00:00"));
    }
    // A zone begins at its sign or its letter.
    let end = clock.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(end);
    let mut units = clock.splitn(3, ':').map(|unit| match unit.find('.').unwrap_or(unit.len()) {
        1 => format!("0{unit}"),
        _ => unit.to_owned(),
    });
    let (hour, minute, second) = (units.next()?, units.next()?, units.next().unwrap_or_else(|| "00".to_owned()));
    Some(format!("{date}T{hour}:{minute}:{second}{}", zone.trim_start()))
}

/// How SQL calls a type.
fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        other => other.to_string(),
    }
}

/// `2018-11-13 00:40:37.796`: a fraction only if there is one.
fn write_timestamps(args: &[ArrayRef]) -> Result<ArrayRef> {
    let instants = args[0].as_primitive::<TimestampMicrosecondType>();
    let mut builder = StringBuilder::with_capacity(instants.len(), instants.len() * 24);
    let mut buffer = String::new();
    for micros in instants {
        let Some(micros) = micros else {
            builder.append_null();
            continue;
        };
        let at = DateTime::from_timestamp_micros(micros)
            .ok_or_else(|| exec_datafusion_err!("no date is {micros} microseconds from 1970"))?;
        buffer.clear();
        let (year, month, day) = (at.year(), at.month(), at.day());
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        // Writing into a string cannot fail.
        let _ = write!(buffer, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
        let fraction = at.timestamp_subsec_micros();
        if fraction != 0 {
            let _ = write!(buffer, ".{fraction:06}");
            buffer.truncate(buffer.trim_end_matches('0').len());
        }
        builder.append_value(&buffer);
    }
    Ok(Arc::new(builder.finish()))
}

fn write_floats(args: &[ArrayRef]) -> Result<ArrayRef> {
    Ok(match args[0].data_type() {
        DataType::Float32 => Arc::new(write_each(args[0].as_primitive::<Float32Type>(), f64::from)),
        DataType::Float64 => Arc::new(write_each(args[0].as_primitive::<Float64Type>(), |value| value)),
        other => return Err(exec_datafusion_err!("float_to_text takes a float, not {other}")),
    })
}

/// Texts of floats. `widen` tells how large a value is; its digits are the fewest that tell it from others of its type.
fn write_each<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>, widen: impl Fn(T::Native) -> f64) -> StringArray
where
    T::Native: zmij::Float,
{
    let mut builder = StringBuilder::with_capacity(values.len(), values.len() * 8);
    let (mut shortest, mut text) = (zmij::Buffer::new(), String::new());
    for value in values {
        match value {
            Some(value) => {
                text.clear();
                push_java_float(&mut text, widen(value), shortest.format(value));
                builder.append_value(&text);
            }
            None => builder.append_null(),
        }
    }
    builder.finish()
}

/// Appends a float as Java prints it: plain from 0.001 to 10 million, else `1.0E20`. `shortest` holds its digits, plain or
/// as `1.5e20`.
fn push_java_float(text: &mut String, value: f64, shortest: &str) {
    if value.is_nan() {
        return text.push_str("NaN");
    }
    if value.is_infinite() {
        return text.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let magnitude = value.abs();
    let is_plain = magnitude == 0.0 || (1e-3..1e7).contains(&magnitude);
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    if is_plain && exponent == "0" {
        return text.push_str(shortest);
    }
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    // Where the point is, counted from behind the first digit that is not zero.
    let shown = exponent.parse::<i64>().unwrap_or(0);
    let length = |digits: &str| i64::try_from(digits.len()).unwrap_or(i64::MAX);
    let whole_digits = whole.trim_start_matches('0');
    let (digits, exponent) = match whole_digits.is_empty() {
        true => {
            let digits = fraction.trim_start_matches('0');
            (digits.to_owned(), shown - (length(fraction) - length(digits)) - 1)
        }
        false => (format!("{whole_digits}{fraction}"), shown + length(whole_digits) - 1),
    };
    let digits = digits.trim_end_matches('0');
    let (first, rest) = digits.split_at(digits.len().min(1));
    let rest = if rest.is_empty() { "0" } else { rest };
    // Writing into a string cannot fail.
    let _ = write!(text, "{sign}{first}.{rest}E{exponent}");
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Float32Array, Float64Array};
    use proptest::prelude::*;

    use super::*;

    /// The sign, the digits without zeros around them, and the exponent of the first digit.
    fn taken_apart(text: &str) -> (bool, String, i64) {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (is_negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |mantissa| (true, mantissa));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let leading = digits.len() - digits.trim_start_matches('0').len();
        let place = i64::try_from(whole.len()).unwrap() - 1 - i64::try_from(leading).unwrap();
        (is_negative, digits.trim_matches('0').to_owned(), exponent.parse::<i64>().unwrap() + place)
    }

    /// Holds a text against the standard library's shortest digits. Of two that are equally near either may be taken, so
    /// whoever calls looks whether the text is the value.
    fn check(text: &str, magnitude: f64, shortest: &str) {
        if magnitude == 0.0 {
            assert_eq!(text.trim_start_matches('-'), "0.0");
            return;
        }
        let (is_negative, digits, exponent) = taken_apart(text);
        let expected = taken_apart(shortest);
        assert_eq!(
            (is_negative, digits.len(), exponent),
            (expected.0, expected.1.len(), expected.2),
            "{text} and {shortest}"
        );
        assert_eq!(text.contains('E'), !(1e-3..1e7).contains(&magnitude), "{text}");
        let (mantissa, _) = text.split_once('E').unwrap_or((text, ""));
        let (whole, fraction) = mantissa.split_once('.').unwrap();
        assert!(!fraction.is_empty() && (fraction == "0" || !fraction.ends_with('0')), "{text}");
        assert!(!text.contains('E') || whole.trim_start_matches('-').len() == 1, "{text}");
    }

    #[test]
    fn floats_at_the_edges_are_written_as_java_does() {
        let values =
            [0.0, -0.0, 1e-3, 9.99e-4, 9_999_999.0, 1e7, 1.5e300, -2.5e-310, 1e16, f64::NAN, f64::NEG_INFINITY];
        let written = write_floats(&[Arc::new(Float64Array::from(values.to_vec()))]).unwrap();
        let written: Vec<&str> = written.as_string::<i32>().iter().flatten().collect();
        let expected = [
            "0.0",
            "-0.0",
            "0.001",
            "9.99E-4",
            "9999999.0",
            "1.0E7",
            "1.5E300",
            "-2.5E-310",
            "1.0E16",
            "NaN",
            "-Infinity",
        ];
        assert_eq!(written, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_float_has_its_shortest_digits_in_javas_form(bits in any::<u64>(), near in -1e8..1e8) {
            for value in [f64::from_bits(bits), near].into_iter().filter(|value| value.is_finite()) {
                let written = write_floats(&[Arc::new(Float64Array::from(vec![value]))]).unwrap();
                let text = written.as_string::<i32>().value(0);
                check(text, value.abs(), &format!("{value:e}"));
                prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
            }
            let value = f32::from_bits(u32::try_from(bits >> 32).unwrap());
            if value.is_finite() {
                let written = write_floats(&[Arc::new(Float32Array::from(vec![value]))]).unwrap();
                let text = written.as_string::<i32>().value(0);
                check(text, f64::from(value).abs(), &format!("{value:e}"));
                prop_assert_eq!(text.parse::<f32>().unwrap().to_bits(), value.to_bits());
            }
        }
    }
}
