//! Text: Spark's functions, counting characters, positions from 1.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringArray, StringBuilder},
        compute::cast,
        datatypes::{DataType, Float64Type, Int32Type},
    },
    common::exec_datafusion_err,
    error::Result,
    functions::{
        crypto::md5 as datafusion_md5,
        string::{lower, upper},
    },
    logical_expr::ScalarUDF,
};

use super::native::{
    Adapted, Native,
    Parameter::{Double, Int, Text},
};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text = |name, parameters: &[_], kernel| Native::new(name, parameters, DataType::Utf8, kernel);
    vec![
        locate(),
        Native::new("instr", &[Text, Text], DataType::Int32, |a| positions(&a[1], &a[0], None)).udf(),
        Native::new("find_in_set", &[Text, Text], DataType::Int32, find_in_set).udf(),
        Native::new("levenshtein", &[Text, Text], DataType::Int32, levenshtein).udf(),
        Native::new("contains", &[Text, Text], DataType::Boolean, |a| test(a, |text, part| text.contains(part))).udf(),
        Native::new("startswith", &[Text, Text], DataType::Boolean, |a| test(a, |text, part| text.starts_with(part)))
            .alias(&["starts_with"])
            .udf(),
        Native::new("endswith", &[Text, Text], DataType::Boolean, |a| test(a, |text, part| text.ends_with(part)))
            .alias(&["ends_with"])
            .udf(),
        Native::new("octet_length", &[Text], DataType::Int32, |a| lengths(a, |text| text.len())).udf(),
        Native::new("bit_length", &[Text], DataType::Int32, |a| lengths(a, |text| text.len() * 8)).udf(),
        text("initcap", &[Text], |a| map_text(&a[0], capitalize)).udf(),
        text("left", &[Text, Int], |a| take_characters(a, take_left)).udf(),
        text("right", &[Text, Int], |a| take_characters(a, take_right)).udf(),
        text("lpad", &[Text, Int, Text], |a| pad(a, Side::Left)).optional(1).udf(),
        text("rpad", &[Text, Int, Text], |a| pad(a, Side::Right)).optional(1).udf(),
        text("repeat", &[Text, Int], repeat).udf(),
        text("replace", &[Text, Text, Text], replace).optional(1).udf(),
        text("translate", &[Text, Text, Text], translate).udf(),
        text("split_part", &[Text, Text, Int], split_part).udf(),
        text("bar", &[Double, Double, Double, Double], bar).optional(1).udf(),
        text("mask", &[Text], |a| map_text(&a[0], mask)).udf(),
        text("reverse", &[Text], |a| map_text(&a[0], |text, buffer| buffer.extend(text.chars().rev()))).udf(),
        // Its result is a view there.
        Adapted::udf(datafusion_md5(), DataType::Utf8, |_, result| Ok(cast(&result, &DataType::Utf8)?)),
        Arc::new(upper().as_ref().clone().with_aliases(["ucase"])),
        Arc::new(lower().as_ref().clone().with_aliases(["lcase"])),
        Arc::new(datafusion_spark::function::string::char().as_ref().clone().with_aliases(["chr"])),
    ]
}

/// `locate(part, text [, from])`.
pub(super) fn locate() -> Arc<ScalarUDF> {
    Native::new("locate", &[Text, Text, Int], DataType::Int32, |a| positions(&a[0], &a[1], a.get(2)))
        .optional(1)
        .alias(&["position"])
        .udf()
}

fn positions(parts: &ArrayRef, texts: &ArrayRef, starts: Option<&ArrayRef>) -> Result<ArrayRef> {
    let (parts, texts) = (parts.as_string::<i32>(), texts.as_string::<i32>());
    let starts = starts.map(|starts| starts.as_primitive::<Int32Type>());
    let values = (0..texts.len()).map(|row| {
        if parts.is_null(row) || texts.is_null(row) {
            return Ok(None);
        }
        let start = match starts {
            // Spark has it that no start is no match, not unknown.
            Some(starts) if starts.is_null(row) => 0,
            Some(starts) => starts.value(row),
            None => 1,
        };
        position(parts.value(row), texts.value(row), start).map(Some)
    });
    Ok(Arc::new(values.collect::<Result<Int32Array>>()?))
}

/// The character at which `part` begins, from `start` on, counted from 1; 0 if there is none.
fn position(part: &str, text: &str, start: i32) -> Result<i32> {
    let Some(skipped) = usize::try_from(start).ok().and_then(|start| start.checked_sub(1)) else { return Ok(0) };
    let Some(offset) = byte_offset(text, skipped) else { return Ok(0) };
    let rest = text.get(offset..).unwrap_or_default();
    match rest.find(part) {
        Some(at) => count(skipped + rest.get(..at).unwrap_or_default().chars().count() + 1),
        None => Ok(0),
    }
}

/// Where the character after `skipped` characters begins; `None` if there are not as many.
fn byte_offset(text: &str, skipped: usize) -> Option<usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(skipped)
}

fn count(value: usize) -> Result<i32> {
    i32::try_from(value).map_err(|_| exec_datafusion_err!("integer overflow: a length of {value}"))
}

fn lengths(args: &[ArrayRef], length: impl Fn(&str) -> usize) -> Result<ArrayRef> {
    let values = args[0].as_string::<i32>().iter().map(|text| text.map(|text| count(length(text))).transpose());
    Ok(Arc::new(values.collect::<Result<Int32Array>>()?))
}

fn test(args: &[ArrayRef], holds: impl Fn(&str, &str) -> bool) -> Result<ArrayRef> {
    let pairs = args[0].as_string::<i32>().iter().zip(args[1].as_string::<i32>().iter());
    Ok(Arc::new(pairs.map(|(text, part)| Some(holds(text?, part?))).collect::<BooleanArray>()))
}

fn map_text(input: &ArrayRef, write: impl Fn(&str, &mut String)) -> Result<ArrayRef> {
    let texts = input.as_string::<i32>();
    let mut builder = StringBuilder::with_capacity(texts.len(), texts.values().len());
    let mut buffer = String::new();
    for text in texts {
        match text {
            Some(text) => {
                buffer.clear();
                write(text, &mut buffer);
                builder.append_value(&buffer);
            }
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// Words are separated by spaces only.
fn capitalize(text: &str, buffer: &mut String) {
    let mut at_start = true;
    for c in text.chars() {
        if at_start {
            buffer.extend(c.to_uppercase());
        } else {
            buffer.extend(c.to_lowercase());
        }
        at_start = c == ' ';
    }
}

/// Letters become x and X, digits n.
fn mask(text: &str, buffer: &mut String) {
    buffer.extend(text.chars().map(|c| match c {
        c if c.is_uppercase() => 'X',
        c if c.is_lowercase() => 'x',
        c if c.is_numeric() => 'n',
        c => c,
    }));
}

fn take_left(text: &str, length: usize) -> &str {
    byte_offset(text, length).and_then(|end| text.get(..end)).unwrap_or(text)
}

fn take_right(text: &str, length: usize) -> &str {
    let Some(last) = length.checked_sub(1) else { return "" };
    let start = text.char_indices().rev().nth(last).map_or(0, |(at, _)| at);
    text.get(start..).unwrap_or_default()
}

fn take_characters(args: &[ArrayRef], take: for<'a> fn(&'a str, usize) -> &'a str) -> Result<ArrayRef> {
    let pairs = args[0].as_string::<i32>().iter().zip(args[1].as_primitive::<Int32Type>().iter());
    Ok(Arc::new(
        pairs.map(|(text, length)| Some(take(text?, usize::try_from(length?).unwrap_or(0)))).collect::<StringArray>(),
    ))
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// A limit for what one value may grow to: Spark's own, of Java's arrays.
const TEXT_BYTES_MAX: usize = i32::MAX as usize;

fn check_size(bytes: usize) -> Result<()> {
    if bytes > TEXT_BYTES_MAX {
        return Err(exec_datafusion_err!("a text of {bytes} bytes is more than the {TEXT_BYTES_MAX} that fit"));
    }
    Ok(())
}

fn pad(args: &[ArrayRef], side: Side) -> Result<ArrayRef> {
    let texts = args[0].as_string::<i32>();
    let widths = args[1].as_primitive::<Int32Type>();
    let fills = args.get(2).map(|fills| fills.as_string::<i32>());
    let mut builder = StringBuilder::new();
    let mut buffer = String::new();
    for row in 0..texts.len() {
        if texts.is_null(row) || widths.is_null(row) || fills.is_some_and(|fills| fills.is_null(row)) {
            builder.append_null();
            continue;
        }
        let (text, width) = (texts.value(row), usize::try_from(widths.value(row)).unwrap_or(0));
        let fill = fills.map_or(" ", |fills| fills.value(row));
        let length = text.chars().count();
        let missing = width.saturating_sub(length);
        if missing == 0 || fill.is_empty() {
            builder.append_value(take_left(text, width.min(length)));
            continue;
        }
        check_size(missing.saturating_mul(4))?;
        buffer.clear();
        let padding = fill.chars().cycle().take(missing);
        match side {
            Side::Left => {
                buffer.extend(padding);
                buffer.push_str(text);
            }
            Side::Right => {
                buffer.push_str(text);
                buffer.extend(padding);
            }
        }
        builder.append_value(&buffer);
    }
    Ok(Arc::new(builder.finish()))
}

fn repeat(args: &[ArrayRef]) -> Result<ArrayRef> {
    let pairs = args[0].as_string::<i32>().iter().zip(args[1].as_primitive::<Int32Type>().iter());
    let values = pairs.map(|(text, times)| {
        let Some((text, times)) = text.zip(times) else { return Ok(None) };
        let times = usize::try_from(times).unwrap_or(0);
        check_size(text.len().saturating_mul(times))?;
        Ok(Some(text.repeat(times)))
    });
    Ok(Arc::new(values.collect::<Result<StringArray>>()?))
}

fn replace(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, parts) = (args[0].as_string::<i32>(), args[1].as_string::<i32>());
    let others = args.get(2).map(|others| others.as_string::<i32>());
    let values = (0..texts.len()).map(|row| {
        if texts.is_null(row) || parts.is_null(row) || others.is_some_and(|others| others.is_null(row)) {
            return None;
        }
        let (text, part) = (texts.value(row), parts.value(row));
        let other = others.map_or("", |others| others.value(row));
        Some(if part.is_empty() { text.to_owned() } else { text.replace(part, other) })
    });
    Ok(Arc::new(values.collect::<StringArray>()))
}

/// What has no counterpart is left out; of several counterparts the first counts.
fn translate(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, from, to) = (args[0].as_string::<i32>(), args[1].as_string::<i32>(), args[2].as_string::<i32>());
    let values = (0..texts.len()).map(|row| {
        if args.iter().any(|argument| argument.is_null(row)) {
            return None;
        }
        let (from, to) = (from.value(row), to.value(row));
        let translated = texts.value(row).chars().filter_map(|c| match from.chars().position(|f| f == c) {
            Some(index) => to.chars().nth(index),
            None => Some(c),
        });
        Some(translated.collect::<String>())
    });
    Ok(Arc::new(values.collect::<StringArray>()))
}

/// Counted from 1, from the end if negative; empty beyond the parts.
fn split_part(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, separators) = (args[0].as_string::<i32>(), args[1].as_string::<i32>());
    let indexes = args[2].as_primitive::<Int32Type>();
    let values = (0..texts.len()).map(|row| {
        if args.iter().any(|argument| argument.is_null(row)) {
            return Ok(None);
        }
        let (text, separator, index) = (texts.value(row), separators.value(row), indexes.value(row));
        let at = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX).checked_sub(1);
        let Some(at) = at else { return Err(exec_datafusion_err!("split_part counts from 1, not 0")) };
        let part = if separator.is_empty() {
            (at == 0).then_some(text)
        } else if index > 0 {
            text.split(separator).nth(at)
        } else {
            text.rsplit(separator).nth(at)
        };
        Ok(Some(part.unwrap_or_default()))
    });
    Ok(Arc::new(values.collect::<Result<StringArray>>()?))
}

fn find_in_set(args: &[ArrayRef]) -> Result<ArrayRef> {
    let pairs = args[0].as_string::<i32>().iter().zip(args[1].as_string::<i32>().iter());
    let values = pairs.map(|(item, list)| {
        let Some((item, list)) = item.zip(list) else { return Ok(None) };
        let found = if item.contains(',') { None } else { list.split(',').position(|part| part == item) };
        found.map_or(Ok(0), |index| count(index + 1)).map(Some)
    });
    Ok(Arc::new(values.collect::<Result<Int32Array>>()?))
}

fn levenshtein(args: &[ArrayRef]) -> Result<ArrayRef> {
    let pairs = args[0].as_string::<i32>().iter().zip(args[1].as_string::<i32>().iter());
    let values = pairs.map(|(left, right)| {
        let Some((left, right)) = left.zip(right) else { return Ok(None) };
        count(datafusion::common::utils::datafusion_strsim::levenshtein(left, right)).map(Some)
    });
    Ok(Arc::new(values.collect::<Result<Int32Array>>()?))
}

/// DuckDB's `bar(x, min, max [, width])`: a bar of eighths of a block, `width` characters (80) long at `max`.
fn bar(args: &[ArrayRef]) -> Result<ArrayRef> {
    const WIDTH: f64 = 80.0;
    const WIDTH_MAX: f64 = 1_000.0;
    let column = |index: usize| args[index].as_primitive::<Float64Type>();
    let (values, lows, highs) = (column(0), column(1), column(2));
    let widths = args.get(3).map(|widths| widths.as_primitive::<Float64Type>());
    let bars = (0..values.len()).map(|row| {
        if args.iter().any(|argument| argument.is_null(row)) {
            return Ok(None);
        }
        let (low, high) = (lows.value(row), highs.value(row));
        let width = widths.map_or(WIDTH, |widths| widths.value(row));
        if !low.is_finite() || !high.is_finite() {
            return Err(exec_datafusion_err!("bar needs a finite min and max, not {low} and {high}"));
        }
        if !(1.0..=WIDTH_MAX).contains(&width) {
            return Err(exec_datafusion_err!("the width of a bar is from 1 to {WIDTH_MAX}, not {width}"));
        }
        Ok(Some(draw_bar(values.value(row), low, high, width)))
    });
    Ok(Arc::new(bars.collect::<Result<StringArray>>()?))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to eight times the greatest width")]
fn draw_bar(value: f64, low: f64, high: f64, width: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let filled = if value.is_nan() || value <= low || high <= low {
        0.0
    } else if value >= high {
        width
    } else {
        (value - low) / (high - low) * width
    };
    let eighths = (filled * 8.0) as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.push_str(PARTS.get(eighths % 8).copied().unwrap_or_default());
    let length = bar.chars().count();
    bar.extend(std::iter::repeat_n(' ', (width as usize).saturating_sub(length)));
    bar
}
