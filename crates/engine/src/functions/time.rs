//! Dates and instants: Spark's functions, UTC, proleptic Gregorian.
//!
//! Invariant: an instant is microseconds UTC, a part of a date is INT, and what cannot be represented is an error.

use std::sync::Arc;

use chrono::{
    DateTime, Datelike, Days, MappedLocalTime, Months, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone,
};
use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, ArrowPrimitiveType, AsArray, Date32Array, Float64Array, Int32Array,
            TimestampMicrosecondArray, timezone::Tz,
        },
        compute::{DatePart, cast, date_part as arrow_date_part},
        datatypes::{
            DataType, Date32Type, Decimal128Type, Field, FieldRef, Float64Type, Int32Type, Int64Type,
            TimestampMicrosecondType,
        },
    },
    common::{ScalarValue, exec_datafusion_err, plan_err},
    error::Result,
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};

use super::native::{
    Native,
    Parameter::{self, Bigint, Date, Double, Int, Moment, Text, Timestamp},
    invoke_kernel, timestamp_type,
};

const MICROS_PER_SECOND: i64 = 1_000_000;
const EPOCH_DAY_FROM_CE: i32 = 719_163;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let int = DataType::Int32;
    let part = |name, parameters: &[Parameter], kernel| Native::new(name, parameters, DataType::Int32, kernel);
    vec![
        part("year", &[Moment], |a| extract(a, DatePart::Year)).udf(),
        part("quarter", &[Moment], |a| extract(a, DatePart::Quarter)).udf(),
        part("month", &[Moment], |a| extract(a, DatePart::Month)).udf(),
        part("day", &[Moment], |a| extract(a, DatePart::Day)).alias(&["dayofmonth"]).udf(),
        part("dayofyear", &[Moment], |a| extract(a, DatePart::DayOfYear)).udf(),
        part("dayofweek", &[Moment], |a| shifted(a, DatePart::DayOfWeekSunday0, 1)).udf(),
        part("weekday", &[Moment], |a| extract(a, DatePart::DayOfWeekMonday0)).udf(),
        part("weekofyear", &[Moment], |a| extract(a, DatePart::WeekISO)).alias(&["week"]).udf(),
        part("hour", &[Timestamp], |a| extract(a, DatePart::Hour)).udf(),
        part("minute", &[Timestamp], |a| extract(a, DatePart::Minute)).udf(),
        part("second", &[Timestamp], |a| extract(a, DatePart::Second)).udf(),
        Native::new("timestamp_micros", &[Bigint], timestamp_type(), |a| scale_to_micros(a, 1))
            .with_preimage(|instant| count_of(instant, 1))
            .udf(),
        Native::new("timestamp_millis", &[Bigint], timestamp_type(), |a| scale_to_micros(a, 1_000))
            .with_preimage(|instant| count_of(instant, 1_000))
            .udf(),
        Native::new("unix_micros", &[Timestamp], DataType::Int64, |a| micros_in(a, 1)).udf(),
        Native::new("unix_millis", &[Timestamp], DataType::Int64, |a| micros_in(a, 1_000)).udf(),
        unix_seconds(),
        Native::new("unix_date", &[Date], int, |a| {
            Ok(Arc::new(a[0].as_primitive::<Date32Type>().reinterpret_cast::<Int32Type>()))
        })
        .udf(),
        Native::new("date_from_unix_date", &[Int], DataType::Date32, |a| {
            Ok(Arc::new(a[0].as_primitive::<Int32Type>().reinterpret_cast::<Date32Type>()))
        })
        .udf(),
        date_add(),
        date_sub(),
        Native::new("date_diff", &[Date, Date], DataType::Int32, datediff).alias(&["datediff"]).udf(),
        Native::new("add_months", &[Date, Int], DataType::Date32, add_months).udf(),
        Native::new("months_between", &[Timestamp, Timestamp], DataType::Float64, months_between).udf(),
        Native::new("last_day", &[Date], DataType::Date32, last_day).udf(),
        Native::new("next_day", &[Date, Text], DataType::Date32, next_day).udf(),
        Native::new("trunc", &[Date, Text], DataType::Date32, truncate_date).udf(),
        Native::new("date_trunc", &[Text, Timestamp], timestamp_type(), truncate_timestamp).udf(),
        Native::new("make_date", &[Int, Int, Int], DataType::Date32, make_date).udf(),
        Native::new("make_timestamp", &[Int, Int, Int, Int, Int, Double], timestamp_type(), make_timestamp).udf(),
        Native::new("to_utc_timestamp", &[Timestamp, Text], timestamp_type(), to_utc).udf(),
        timestamp_seconds_udf(),
        date_part(),
    ]
}

/// The instants at which clocks of a zone show what the given ones show in UTC. Of an hour that they show twice the first
/// counts; one that they leave out is as if they had not been put forward yet.
fn to_utc(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (shown, zones) = (args[0].as_primitive::<TimestampMicrosecondType>(), args[1].as_string::<i32>());
    let mut known: Option<(&str, Tz)> = None;
    let found = shown.iter().zip(zones.iter()).map(|(micros, name)| {
        let Some((micros, name)) = micros.zip(name) else { return Ok(None) };
        let zone = match known {
            Some((last, zone)) if last == name => zone,
            _ => name.parse::<Tz>().map_err(|_| exec_datafusion_err!("there is no time zone '{name}'"))?,
        };
        known = Some((name, zone));
        let shown = DateTime::from_timestamp_micros(micros).map(|at| at.naive_utc());
        let instant = shown.and_then(|shown| instant_of(zone, shown));
        let instant = instant.ok_or_else(|| exec_datafusion_err!("no date is {micros} microseconds from 1970"))?;
        Ok(Some(instant))
    });
    Ok(instants(found.collect::<Result<TimestampMicrosecondArray>>()?))
}

fn instant_of(zone: Tz, shown: NaiveDateTime) -> Option<i64> {
    // No clock is put forward by more.
    const BEFORE: TimeDelta = TimeDelta::hours(24);
    let offset = match zone.offset_from_local_datetime(&shown) {
        MappedLocalTime::Single(offset) => offset.fix(),
        MappedLocalTime::Ambiguous(one, other) => {
            if one.fix().local_minus_utc() >= other.fix().local_minus_utc() {
                one.fix()
            } else {
                other.fix()
            }
        }
        MappedLocalTime::None => zone.offset_from_local_datetime(&shown.checked_sub_signed(BEFORE)?).earliest()?.fix(),
    };
    Some(shown.checked_sub_offset(offset)?.and_utc().timestamp_micros())
}

fn unary_micros<T: ArrowPrimitiveType>(input: &ArrayRef, operation: impl Fn(i64) -> T::Native) -> ArrayRef {
    Arc::new(input.as_primitive::<TimestampMicrosecondType>().unary::<_, T>(operation))
}

fn extract(args: &[ArrayRef], part: DatePart) -> Result<ArrayRef> {
    match args[0].as_primitive_opt::<TimestampMicrosecondType>() {
        // Instants are UTC inside: looking a zone up for each of them would cost more than taking them apart.
        Some(instants) => Ok(arrow_date_part(&instants.clone().with_timezone_opt(None::<&str>), part)?),
        None => Ok(arrow_date_part(args[0].as_ref(), part)?),
    }
}

fn shifted(args: &[ArrayRef], part: DatePart, by: i32) -> Result<ArrayRef> {
    let values = extract(args, part)?;
    Ok(Arc::new(values.as_primitive::<Int32Type>().unary::<_, Int32Type>(|value| value + by)))
}

pub(super) fn instants(values: TimestampMicrosecondArray) -> ArrayRef {
    Arc::new(values.with_timezone("UTC"))
}

fn scale_to_micros(args: &[ArrayRef], factor: i64) -> Result<ArrayRef> {
    let values = args[0].as_primitive::<Int64Type>().try_unary::<_, TimestampMicrosecondType, _>(|value| {
        value.checked_mul(factor).ok_or_else(|| exec_datafusion_err!("no timestamp is as far from 1970 as {value}"))
    })?;
    Ok(instants(values))
}

/// The count of units of `factor` microseconds that an instant is, and the next one; `None` between two of them.
fn count_of(instant: &ScalarValue, factor: i64) -> Option<(ScalarValue, ScalarValue)> {
    let ScalarValue::TimestampMicrosecond(Some(micros), _) = instant else { return None };
    let count = (micros % factor == 0).then_some(micros / factor)?;
    Some((ScalarValue::Int64(Some(count)), ScalarValue::Int64(Some(count.checked_add(1)?))))
}

fn micros_in(args: &[ArrayRef], unit: i64) -> Result<ArrayRef> {
    Ok(unary_micros::<Int64Type>(&args[0], |micros| micros.div_euclid(unit)))
}

/// Seconds since 1970, with a fraction if they are not integers.
pub(super) fn timestamp_seconds_udf() -> Arc<ScalarUDF> {
    Native::new("timestamp_seconds", &[Parameter::Any], timestamp_type(), timestamp_seconds).udf()
}

/// Whole seconds since 1970, rounded down.
pub(super) fn unix_seconds() -> Arc<ScalarUDF> {
    Native::new("unix_seconds", &[Timestamp], DataType::Int64, |a| micros_in(a, MICROS_PER_SECOND)).udf()
}

pub(super) fn timestamp_seconds(args: &[ArrayRef]) -> Result<ArrayRef> {
    let seconds = &args[0];
    if seconds.data_type().is_integer() {
        return scale_to_micros(&[cast(seconds, &DataType::Int64)?], MICROS_PER_SECOND);
    }
    let seconds = cast(seconds, &DataType::Float64)?;
    let values = seconds.as_primitive::<Float64Type>();
    let micros = values.iter().map(|value| value.map(seconds_to_micros).transpose().map(Option::flatten));
    Ok(instants(micros.collect::<Result<TimestampMicrosecondArray>>()?))
}

/// NULL for what is no number, as Spark has it.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn seconds_to_micros(seconds: f64) -> Result<Option<i64>> {
    const LIMIT: f64 = 9.0e18;
    let micros = seconds * 1e6;
    if !micros.is_finite() {
        return Ok(None);
    }
    if micros.abs() > LIMIT {
        return Err(exec_datafusion_err!("no timestamp is as far from 1970 as {seconds} seconds"));
    }
    Ok(Some(micros as i64))
}

/// The date `days` after 1970-01-01.
pub(super) fn date_of(days: i32) -> Result<NaiveDate> {
    days.checked_add(EPOCH_DAY_FROM_CE)
        .and_then(NaiveDate::from_num_days_from_ce_opt)
        .ok_or_else(|| exec_datafusion_err!("no date is {days} days from 1970-01-01"))
}

pub(super) fn days_of(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - EPOCH_DAY_FROM_CE
}

/// Applies `operation` to each date; its NULL is NULL.
fn map_dates<T: ArrowPrimitiveType>(
    dates: &ArrayRef,
    others: &ArrayRef,
    operation: impl Fn(i32, T::Native) -> Result<Option<i32>>,
) -> Result<ArrayRef> {
    let pairs = dates.as_primitive::<Date32Type>().iter().zip(others.as_primitive::<T>().iter());
    let values = pairs.map(|(date, other)| match (date, other) {
        (Some(date), Some(other)) => operation(date, other),
        _ => Ok(None),
    });
    Ok(Arc::new(values.collect::<Result<Date32Array>>()?))
}

/// The same with text in place of a number.
fn map_dates_and_text(
    dates: &ArrayRef,
    texts: &ArrayRef,
    operation: impl Fn(i32, &str) -> Result<Option<i32>>,
) -> Result<ArrayRef> {
    let pairs = dates.as_primitive::<Date32Type>().iter().zip(texts.as_string::<i32>().iter());
    let values = pairs.map(|(date, text)| match (date, text) {
        (Some(date), Some(text)) => operation(date, text),
        _ => Ok(None),
    });
    Ok(Arc::new(values.collect::<Result<Date32Array>>()?))
}

/// Days after a date; `date + n`.
pub(super) fn date_add() -> Arc<ScalarUDF> {
    Native::new("date_add", &[Date, Int], DataType::Date32, |a| move_days(a, i32::checked_add))
        .alias(&["dateadd"])
        .udf()
}

/// Days before a date; `date - n`.
pub(super) fn date_sub() -> Arc<ScalarUDF> {
    Native::new("date_sub", &[Date, Int], DataType::Date32, |a| move_days(a, i32::checked_sub)).udf()
}

fn move_days(args: &[ArrayRef], operation: fn(i32, i32) -> Option<i32>) -> Result<ArrayRef> {
    map_dates::<Int32Type>(&args[0], &args[1], |date, days| {
        let moved = operation(date, days);
        moved.map(Some).ok_or_else(|| exec_datafusion_err!("date overflow: {days} days from day {date} of 1970"))
    })
}

fn datediff(args: &[ArrayRef]) -> Result<ArrayRef> {
    let pairs = args[0].as_primitive::<Date32Type>().iter().zip(args[1].as_primitive::<Date32Type>().iter());
    let values = pairs.map(|(end, start)| match (end, start) {
        (Some(end), Some(start)) => end
            .checked_sub(start)
            .map(Some)
            .ok_or_else(|| exec_datafusion_err!("integer overflow: {end} - {start} days")),
        _ => Ok(None),
    });
    Ok(Arc::new(values.collect::<Result<Int32Array>>()?))
}

fn add_months(args: &[ArrayRef]) -> Result<ArrayRef> {
    map_dates::<Int32Type>(&args[0], &args[1], |days, months| {
        let date = date_of(days)?;
        let count = Months::new(months.unsigned_abs());
        let moved = if months < 0 { date.checked_sub_months(count) } else { date.checked_add_months(count) };
        moved
            .map(|date| Some(days_of(date)))
            .ok_or_else(|| exec_datafusion_err!("date overflow: {date} + {months} months"))
    })
}

/// Whole months if both are the same day of the month or both the last, else by 31 days a month; eight digits.
fn months_between(args: &[ArrayRef]) -> Result<ArrayRef> {
    const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
    let split = |micros: i64| -> Result<(NaiveDate, i64)> {
        let days = i32::try_from(micros.div_euclid(MICROS_PER_DAY))
            .map_err(|_| exec_datafusion_err!("no date is {micros} microseconds from 1970"))?;
        Ok((date_of(days)?, micros.rem_euclid(MICROS_PER_DAY)))
    };
    let operation = |end: i64, start: i64| -> Result<f64> {
        let ((end, end_time), (start, start_time)) = (split(end)?, split(start)?);
        let months = f64::from((end.year() - start.year()) * 12) + f64::from(end.month()) - f64::from(start.month());
        if end.day() == start.day() || (is_last_day(end) && is_last_day(start)) {
            return Ok(months);
        }
        let seconds = (f64::from(end.day()) - f64::from(start.day())) * 86_400.0 + seconds_of_day(end_time)
            - seconds_of_day(start_time);
        Ok(((months + seconds / (31.0 * 86_400.0)) * 1e8).round() / 1e8)
    };
    let ends = args[0].as_primitive::<TimestampMicrosecondType>();
    let starts = args[1].as_primitive::<TimestampMicrosecondType>();
    let values = ends.iter().zip(starts.iter()).map(|(end, start)| match (end, start) {
        (Some(end), Some(start)) => operation(end, start).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(values.collect::<Result<Float64Array>>()?))
}

#[expect(clippy::cast_precision_loss, reason = "the microseconds of a day are exact in a double")]
fn seconds_of_day(micros: i64) -> f64 {
    (micros / MICROS_PER_SECOND) as f64
}

fn is_last_day(date: NaiveDate) -> bool {
    date.succ_opt().is_none_or(|next| next.day() == 1)
}

fn last_day(args: &[ArrayRef]) -> Result<ArrayRef> {
    let dates = args[0].as_primitive::<Date32Type>();
    Ok(Arc::new(dates.try_unary::<_, Date32Type, _>(|days| {
        let date = date_of(days)?;
        let first = date.with_day(1).and_then(|first| first.checked_add_months(Months::new(1)));
        first
            .and_then(|first| first.pred_opt())
            .map(days_of)
            .ok_or_else(|| exec_datafusion_err!("date overflow: the last day of the month of {date}"))
    })?))
}

fn next_day(args: &[ArrayRef]) -> Result<ArrayRef> {
    map_dates_and_text(&args[0], &args[1], |days, name| {
        let wanted = match name.trim().to_ascii_uppercase().as_str() {
            "MO" | "MON" | "MONDAY" => 0,
            "TU" | "TUE" | "TUESDAY" => 1,
            "WE" | "WED" | "WEDNESDAY" => 2,
            "TH" | "THU" | "THURSDAY" => 3,
            "FR" | "FRI" | "FRIDAY" => 4,
            "SA" | "SAT" | "SATURDAY" => 5,
            "SU" | "SUN" | "SUNDAY" => 6,
            _ => return Err(exec_datafusion_err!("'{name}' is no day of the week")),
        };
        let date = date_of(days)?;
        let ahead = (wanted + 6 - date.weekday().num_days_from_monday()) % 7 + 1;
        let next = date.checked_add_days(Days::new(ahead.into()));
        next.map(|date| Some(days_of(date))).ok_or_else(|| exec_datafusion_err!("date overflow after {date}"))
    })
}

/// The first day of the period that holds `date`; `None` for a period that is none of dates.
fn start_of(date: NaiveDate, period: &str) -> Option<NaiveDate> {
    match period {
        "YEAR" | "YYYY" | "YY" => NaiveDate::from_ymd_opt(date.year(), 1, 1),
        "QUARTER" => NaiveDate::from_ymd_opt(date.year(), (date.month0() / 3) * 3 + 1, 1),
        "MONTH" | "MM" | "MON" => date.with_day(1),
        "WEEK" => date.checked_sub_days(Days::new(date.weekday().num_days_from_monday().into())),
        _ => None,
    }
}

fn truncate_date(args: &[ArrayRef]) -> Result<ArrayRef> {
    map_dates_and_text(&args[0], &args[1], |days, period| {
        Ok(start_of(date_of(days)?, &period.to_ascii_uppercase()).map(days_of))
    })
}

fn truncate_timestamp(args: &[ArrayRef]) -> Result<ArrayRef> {
    let pairs = args[0].as_string::<i32>().iter().zip(args[1].as_primitive::<TimestampMicrosecondType>().iter());
    let values = pairs.map(|(period, micros)| match (period, micros) {
        (Some(period), Some(micros)) => truncate_micros(micros, &period.to_ascii_uppercase()),
        _ => Ok(None),
    });
    Ok(instants(values.collect::<Result<TimestampMicrosecondArray>>()?))
}

fn truncate_micros(micros: i64, period: &str) -> Result<Option<i64>> {
    const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
    let unit = match period {
        "MICROSECOND" => 1,
        "MILLISECOND" => 1_000,
        "SECOND" => MICROS_PER_SECOND,
        "MINUTE" => 60 * MICROS_PER_SECOND,
        "HOUR" => 3_600 * MICROS_PER_SECOND,
        "DAY" | "DD" => MICROS_PER_DAY,
        _ => {
            let days = i32::try_from(micros.div_euclid(MICROS_PER_DAY))
                .map_err(|_| exec_datafusion_err!("no date is {micros} microseconds from 1970"))?;
            let start = start_of(date_of(days)?, period);
            return Ok(start.map(|start| i64::from(days_of(start)) * MICROS_PER_DAY));
        }
    };
    Ok(micros.div_euclid(unit).checked_mul(unit))
}

fn make_date(args: &[ArrayRef]) -> Result<ArrayRef> {
    let field = |index: usize| args[index].as_primitive::<Int32Type>();
    let (years, months, days) = (field(0), field(1), field(2));
    let values =
        years.iter().zip(months.iter()).zip(days.iter()).map(|((year, month), day)| match (year, month, day) {
            (Some(year), Some(month), Some(day)) => valid_date(year, month, day).map(|date| Some(days_of(date))),
            _ => Ok(None),
        });
    Ok(Arc::new(values.collect::<Result<Date32Array>>()?))
}

fn valid_date(year: i32, month: i32, day: i32) -> Result<NaiveDate> {
    let month_day = u32::try_from(month).ok().zip(u32::try_from(day).ok());
    month_day
        .and_then(|(month, day)| NaiveDate::from_ymd_opt(year, month, day))
        .ok_or_else(|| exec_datafusion_err!("there is no date with year {year}, month {month}, day {day}"))
}

/// Seconds may have a fraction; 60 is the next minute.
fn make_timestamp(args: &[ArrayRef]) -> Result<ArrayRef> {
    let field = |index: usize| args[index].as_primitive::<Int32Type>();
    let (years, months, days, hours, minutes) = (field(0), field(1), field(2), field(3), field(4));
    let seconds = args[5].as_primitive::<Float64Type>();
    let values = (0..years.len()).map(|row| {
        if args.iter().any(|argument| argument.is_null(row)) {
            return Ok(None);
        }
        let date = valid_date(years.value(row), months.value(row), days.value(row))?;
        let (hour, minute, second) = (hours.value(row), minutes.value(row), seconds.value(row));
        let valid = (0..24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second);
        let micros = seconds_to_micros(second)?.filter(|_| valid);
        let micros = micros.ok_or_else(|| exec_datafusion_err!("there is no time {hour}:{minute}:{second}"))?;
        let minutes = (i64::from(days_of(date)) * 24 + i64::from(hour)) * 60 + i64::from(minute);
        Ok((minutes * 60).checked_mul(MICROS_PER_SECOND).and_then(|start| start.checked_add(micros)))
    });
    Ok(instants(values.collect::<Result<TimestampMicrosecondArray>>()?))
}

/// `date_part`, and what `EXTRACT` becomes.
pub(super) fn date_part() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(DatePartFunction { aliases: vec!["datepart".to_owned()], signature }))
}

/// A named part of a date or instant: INT, or DECIMAL(8,6) for the seconds with their fraction.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePartFunction {
    aliases: Vec<String>,
    signature: Signature,
}

/// What a part is in Arrow, and what to add to it.
fn arrow_part(name: &str) -> Result<(DatePart, i32)> {
    Ok(match name.to_ascii_uppercase().as_str() {
        "YEAR" | "Y" | "YEARS" | "YR" | "YRS" => (DatePart::Year, 0),
        "YEAROFWEEK" => (DatePart::YearISO, 0),
        "QUARTER" | "QTR" => (DatePart::Quarter, 0),
        "MONTH" | "MON" | "MONS" | "MONTHS" => (DatePart::Month, 0),
        "WEEK" | "W" | "WEEKS" => (DatePart::WeekISO, 0),
        "DAY" | "D" | "DAYS" => (DatePart::Day, 0),
        "DAYOFWEEK" | "DOW" => (DatePart::DayOfWeekSunday0, 1),
        "DAYOFWEEK_ISO" | "DOW_ISO" | "ISODOW" => (DatePart::DayOfWeekMonday0, 1),
        "DOY" => (DatePart::DayOfYear, 0),
        "HOUR" | "H" | "HOURS" | "HR" | "HRS" => (DatePart::Hour, 0),
        "MINUTE" | "M" | "MIN" | "MINS" | "MINUTES" => (DatePart::Minute, 0),
        "SECOND" | "S" | "SEC" | "SECONDS" | "SECS" => (DatePart::Second, 0),
        other => return plan_err!("'{other}' is no part of a date: use year, month, day, hour …"),
    })
}

impl ScalarUDFImpl for DatePartFunction {
    fn name(&self) -> &str {
        "date_part"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [_, value] if !value.is_numeric() && !value.is_nested() => Ok(vec![DataType::Utf8, timestamp_type()]),
            [_, value] => plan_err!("date_part takes a date or a timestamp, not {value}"),
            _ => plan_err!("date_part takes 2 arguments, not {}", given.len()),
        }
    }

    fn return_type(&self, _given: &[DataType]) -> Result<DataType> {
        plan_err!("date_part's type depends on its first argument")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let Some(Some(ScalarValue::Utf8(Some(name)))) = args.scalar_arguments.first() else {
            return plan_err!("the part that date_part gives must be a constant text");
        };
        let (part, _) = arrow_part(name)?;
        let data_type = if part == DatePart::Second { DataType::Decimal128(8, 6) } else { DataType::Int32 };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))) = args.args.first() else {
            return Err(exec_datafusion_err!("the part that date_part gives must be a constant text"));
        };
        let (part, added) = arrow_part(name)?;
        invoke_kernel(&args, |arrays| match part {
            DatePart::Second => Ok(Arc::new(
                arrays[1]
                    .as_primitive::<TimestampMicrosecondType>()
                    .unary::<_, Decimal128Type>(|micros| i128::from(micros.rem_euclid(60 * MICROS_PER_SECOND)))
                    .with_data_type(DataType::Decimal128(8, 6)),
            )),
            part => shifted(&arrays[1..], part, added),
        })
    }
}
