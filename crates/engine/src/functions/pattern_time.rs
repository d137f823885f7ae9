//! Text to dates and instants and back, with or without a pattern.
//!
//! Invariant: text that is no date is an error that shows it, or NULL in the `try_` forms.

use std::sync::Arc;

use chrono::DateTime;
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Date32Array, StringArray, StringBuilder, TimestampMicrosecondArray},
        compute::cast,
        datatypes::{DataType, Int64Type, TimestampMicrosecondType},
    },
    common::exec_datafusion_err,
    error::Result,
    logical_expr::ScalarUDF,
};

use super::{
    cast::text_to,
    native::{
        Native,
        Parameter::{Any, Bigint, Text, Timestamp},
        is_text, timestamp_type,
    },
    pattern::Pattern,
    time::{days_of, instants},
};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// What text that is no date gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misfit {
    Error,
    Null,
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let text = |name, parameters: &[_], kernel| Native::new(name, parameters, DataType::Utf8, kernel);
    vec![
        text("dayname", &[Timestamp], |a| format_all(&a[0], "EEE")).udf(),
        text("monthname", &[Timestamp], |a| format_all(&a[0], "MMM")).udf(),
        text("date_format", &[Timestamp, Text], date_format).udf(),
        text("from_unixtime", &[Bigint, Text], from_unixtime).optional(1).udf(),
        Native::new("to_date", &[Any, Text], DataType::Date32, |a| to_date(a, Misfit::Error)).optional(1).udf(),
        Native::new("try_to_date", &[Any, Text], DataType::Date32, |a| to_date(a, Misfit::Null)).optional(1).udf(),
        Native::new("to_timestamp", &[Any, Text], timestamp_type(), |a| to_timestamp(a, Misfit::Error))
            .optional(1)
            .udf(),
        Native::new("try_to_timestamp", &[Any, Text], timestamp_type(), |a| to_timestamp(a, Misfit::Null))
            .optional(1)
            .udf(),
        Native::new("unix_timestamp", &[Any, Text], DataType::Int64, unix_timestamp).optional(1).udf(),
        Native::new("to_unix_timestamp", &[Any, Text], DataType::Int64, unix_timestamp).optional(1).udf(),
    ]
}

/// Remembers the last pattern: nearly always it is a constant.
#[derive(Default)]
struct LastPattern(Option<(String, Pattern)>);

impl LastPattern {
    fn get(&mut self, text: &str) -> Result<&Pattern> {
        if self.0.as_ref().is_none_or(|(last, _)| last != text) {
            self.0 = Some((text.to_owned(), Pattern::parse(text)?));
        }
        self.0.as_ref().map(|(_, pattern)| pattern).ok_or_else(|| exec_datafusion_err!("no date pattern"))
    }
}

fn write_instant(micros: i64, pattern: &Pattern, buffer: &mut String) -> Result<()> {
    let at = DateTime::from_timestamp_micros(micros)
        .ok_or_else(|| exec_datafusion_err!("no date is {micros} microseconds from 1970"))?;
    buffer.clear();
    pattern.format(&at, buffer);
    Ok(())
}

fn format_with<'a>(
    instants: impl Iterator<Item = Option<i64>>,
    mut patterns: impl FnMut(usize) -> Option<&'a str>,
) -> Result<ArrayRef> {
    let mut last = LastPattern::default();
    let mut builder = StringBuilder::new();
    let mut buffer = String::new();
    for (row, micros) in instants.enumerate() {
        match micros.zip(patterns(row)) {
            Some((micros, pattern)) => {
                write_instant(micros, last.get(pattern)?, &mut buffer)?;
                builder.append_value(&buffer);
            }
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn format_all(values: &ArrayRef, pattern: &str) -> Result<ArrayRef> {
    format_with(values.as_primitive::<TimestampMicrosecondType>().iter(), |_| Some(pattern))
}

fn pattern_at(patterns: &StringArray, row: usize) -> Option<&str> {
    patterns.is_valid(row).then(|| patterns.value(row))
}

fn date_format(args: &[ArrayRef]) -> Result<ArrayRef> {
    let patterns = args[1].as_string::<i32>();
    format_with(args[0].as_primitive::<TimestampMicrosecondType>().iter(), |row| pattern_at(patterns, row))
}

fn from_unixtime(args: &[ArrayRef]) -> Result<ArrayRef> {
    let seconds = args[0].as_primitive::<Int64Type>();
    let micros = seconds.try_unary::<_, Int64Type, _>(|seconds| {
        let micros = seconds.checked_mul(MICROS_PER_SECOND);
        micros.ok_or_else(|| exec_datafusion_err!("no timestamp is as far from 1970 as {seconds} seconds"))
    })?;
    match args.get(1) {
        Some(patterns) => {
            let patterns = patterns.as_string::<i32>();
            format_with(micros.iter(), |row| pattern_at(patterns, row))
        }
        None => format_with(micros.iter(), |_| Some("yyyy-MM-dd HH:mm:ss")),
    }
}

/// Reads each text by the pattern in its row.
fn read_with(texts: &ArrayRef, patterns: &ArrayRef, misfit: Misfit) -> Result<Vec<Option<chrono::NaiveDateTime>>> {
    let texts = cast(texts, &DataType::Utf8)?;
    let mut last = LastPattern::default();
    let pairs = texts.as_string::<i32>().iter().zip(patterns.as_string::<i32>().iter());
    let values = pairs.map(|(text, form)| {
        let Some((text, form)) = text.zip(form) else { return Ok(None) };
        match (last.get(form)?.read(text), misfit) {
            (Some(at), _) => Ok(Some(at)),
            (None, Misfit::Null) => Ok(None),
            (None, Misfit::Error) => Err(exec_datafusion_err!("cannot read '{text}' as '{form}'")),
        }
    });
    values.collect()
}

fn to_date(args: &[ArrayRef], misfit: Misfit) -> Result<ArrayRef> {
    match args.get(1) {
        Some(patterns) if is_text(args[0].data_type()) => {
            let dates = read_with(&args[0], patterns, misfit)?.into_iter().map(|at| at.map(|at| days_of(at.date())));
            Ok(Arc::new(dates.collect::<Date32Array>()))
        }
        _ => convert(&args[0], &DataType::Date32, misfit),
    }
}

fn to_timestamp(args: &[ArrayRef], misfit: Misfit) -> Result<ArrayRef> {
    match args.get(1) {
        Some(patterns) if is_text(args[0].data_type()) => {
            let values = read_with(&args[0], patterns, misfit)?;
            let micros = values.into_iter().map(|at| at.map(|at| at.and_utc().timestamp_micros()));
            Ok(instants(micros.collect::<TimestampMicrosecondArray>()))
        }
        _ => convert(&args[0], &timestamp_type(), misfit),
    }
}

fn convert(values: &ArrayRef, target: &DataType, misfit: Misfit) -> Result<ArrayRef> {
    if is_text(values.data_type()) {
        return text_to(values, target, misfit == Misfit::Null);
    }
    if values.data_type().is_numeric() {
        if target != &timestamp_type() {
            return Err(exec_datafusion_err!("a {} is no date", values.data_type()));
        }
        return super::time::timestamp_seconds(std::slice::from_ref(values));
    }
    Ok(cast(values, target)?)
}

/// Seconds since 1970, rounded down.
fn unix_timestamp(args: &[ArrayRef]) -> Result<ArrayRef> {
    let instants = to_timestamp(args, Misfit::Error)?;
    let micros = instants.as_primitive::<TimestampMicrosecondType>();
    Ok(Arc::new(micros.unary::<_, Int64Type>(|micros| micros.div_euclid(MICROS_PER_SECOND))))
}
