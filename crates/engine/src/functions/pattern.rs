//! Java's date patterns (`yyyy-MM-dd HH:mm:ss.SSS`), as far as they are independent of locale and time zone.
//!
//! Data flow: the functions of [`super::pattern_time`] parse a pattern once per batch and format or read each value.
//!
//! Invariant: what a pattern writes, it reads again, except for text that says less than a second.

use std::fmt::Write;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use datafusion::{common::exec_datafusion_err, error::Result};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const SHORT_NAME: usize = 3;

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Item>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Literal(String),
    /// A letter, and how often it stands there.
    Field(char, usize),
}

impl Pattern {
    /// Reads a pattern.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut items = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                if chars.next_if_eq(&'\'').is_some() {
                    literal.push('\'');
                    continue;
                }
                loop {
                    match chars.next() {
                        Some('\'') if chars.next_if_eq(&'\'').is_some() => literal.push('\''),
                        Some('\'') => break,
                        Some(c) => literal.push(c),
                        None => return Err(exec_datafusion_err!("the date pattern '{text}' has an open quote")),
                    }
                }
            } else if c.is_ascii_alphabetic() {
                let mut count = 1;
                while chars.next_if_eq(&c).is_some() {
                    count += 1;
                }
                if !is_known(c, count) {
                    let field = c.to_string().repeat(count);
                    return Err(exec_datafusion_err!("'{field}' in the date pattern '{text}' is not supported"));
                }
                if !literal.is_empty() {
                    items.push(Item::Literal(std::mem::take(&mut literal)));
                }
                items.push(Item::Field(c, count));
            } else {
                literal.push(c);
            }
        }
        if !literal.is_empty() {
            items.push(Item::Literal(literal));
        }
        Ok(Self(items))
    }

    /// Writes an instant, in UTC.
    pub(super) fn format(&self, at: &DateTime<Utc>, out: &mut String) {
        for item in &self.0 {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Field(letter, count) => write_field(*letter, *count, at, out),
            }
        }
    }

    /// Reads an instant; `None` if the text is not of this form or names no instant.
    pub(super) fn read(&self, text: &str) -> Option<NaiveDateTime> {
        let mut reader = Reader { rest: text, fields: Fields::default() };
        for (index, item) in self.0.iter().enumerate() {
            match item {
                Item::Literal(literal) => reader.rest = reader.rest.strip_prefix(literal.as_str())?,
                Item::Field(letter, count) => {
                    let next_is_number = matches!(self.0.get(index + 1), Some(Item::Field(c, n)) if is_number(*c, *n));
                    reader.read_field(*letter, *count, next_is_number)?;
                }
            }
        }
        if reader.rest.is_empty() { reader.fields.instant() } else { None }
    }
}

fn is_known(letter: char, count: usize) -> bool {
    match letter {
        'y' | 'u' => count <= 9,
        'M' | 'L' | 'E' | 'Q' | 'q' => count <= 4,
        'd' | 'H' | 'h' | 'K' | 'k' | 'm' | 's' => count <= 2,
        'D' => count <= 3,
        'S' => count <= 9,
        'a' => count == 1,
        'X' | 'x' | 'Z' => count <= 3,
        _ => false,
    }
}

fn is_number(letter: char, count: usize) -> bool {
    match letter {
        'M' | 'L' | 'Q' | 'q' => count <= 2,
        'E' | 'a' | 'X' | 'x' | 'Z' => false,
        _ => true,
    }
}

/// Hours from 1 to `cycle`.
fn from_one(hour: u32, cycle: u32) -> u32 {
    if hour.is_multiple_of(cycle) { cycle } else { hour % cycle }
}

fn write_field(letter: char, count: usize, at: &DateTime<Utc>, out: &mut String) {
    let number = match letter {
        'y' | 'u' if count == 2 => i64::from(at.year().rem_euclid(100)),
        'y' | 'u' => i64::from(at.year()),
        'M' | 'L' if count >= 3 => return write_name(&MONTHS, at.month0(), count, out),
        'M' | 'L' => at.month().into(),
        'E' => return write_name(&WEEKDAYS, at.weekday().num_days_from_monday(), count, out),
        'Q' | 'q' => {
            let quarter = at.month0() / 3 + 1;
            match count {
                3 => out.push('Q'),
                4 => {
                    let ordinal = ["1st", "2nd", "3rd", "4th"].get(quarter as usize - 1).copied().unwrap_or_default();
                    out.push_str(ordinal);
                    out.push_str(" quarter");
                    return;
                }
                _ => {}
            }
            return write_number(quarter.into(), if count == 2 { 2 } else { 1 }, out);
        }
        'd' => at.day().into(),
        'D' => at.ordinal().into(),
        'H' => at.hour().into(),
        'h' => from_one(at.hour(), 12).into(),
        'k' => from_one(at.hour(), 24).into(),
        'K' => (at.hour() % 12).into(),
        'm' => at.minute().into(),
        's' => at.second().into(),
        'S' => {
            let nanos = format!("{:09}", at.nanosecond() % 1_000_000_000);
            out.push_str(nanos.get(..count).unwrap_or(&nanos));
            return;
        }
        'a' => return out.push_str(if at.hour() < 12 { "AM" } else { "PM" }),
        'X' => return out.push('Z'),
        'x' | 'Z' => {
            let zero = if letter == 'x' && count == 1 {
                "+00"
            } else if letter == 'x' && count == 3 {
                "+00:00"
            } else {
                "+0000"
            };
            return out.push_str(zero);
        }
        _ => return,
    };
    write_number(number, count, out);
}

fn write_number(number: i64, width: usize, out: &mut String) {
    // Writing into a string cannot fail.
    let _ = write!(out, "{number:0width$}");
}

fn write_name(names: &[&str], index: u32, count: usize, out: &mut String) {
    let name = names.get(index as usize).copied().unwrap_or_default();
    out.push_str(if count == 4 { name } else { name.get(..SHORT_NAME).unwrap_or(name) });
}

/// What has been read; what a pattern does not name is its first value.
#[derive(Debug, Default)]
struct Fields {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: Option<u32>,
    hour_of_half: Option<u32>,
    afternoon: bool,
    minute: Option<u32>,
    second: Option<u32>,
    nanos: Option<u32>,
    offset_minutes: i64,
}

impl Fields {
    fn instant(&self) -> Option<NaiveDateTime> {
        let year = self.year.unwrap_or(1970);
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day)?,
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let hour = match self.hour_of_half {
            Some(hour) if hour < 12 => hour + if self.afternoon { 12 } else { 0 },
            Some(_) => return None,
            None => self.hour.unwrap_or(0),
        };
        let (minute, second) = (self.minute.unwrap_or(0), self.second.unwrap_or(0));
        let time = NaiveTime::from_hms_nano_opt(hour, minute, second, self.nanos.unwrap_or(0))?;
        date.and_time(time).checked_sub_signed(chrono::TimeDelta::try_minutes(self.offset_minutes)?)
    }
}

struct Reader<'a> {
    rest: &'a str,
    fields: Fields,
}

impl Reader<'_> {
    fn read_field(&mut self, letter: char, count: usize, next_is_number: bool) -> Option<()> {
        match letter {
            'y' | 'u' => {
                let max = if next_is_number || count == 2 { count } else { 9 };
                let year = i32::try_from(self.digits(count, max)?).ok()?;
                self.fields.year = Some(if count == 2 { year + 2000 } else { year });
            }
            'M' | 'L' if count >= 3 => self.fields.month = Some(self.name(&MONTHS, count)? + 1),
            'E' => {
                self.name(&WEEKDAYS, count)?;
            }
            'Q' | 'q' => return None,
            'S' => {
                let digits = self.rest.get(..count)?;
                let value = self.digits(count, count)?;
                let scale = 10_u32.checked_pow(u32::try_from(9 - digits.len()).ok()?)?;
                self.fields.nanos = Some(value.checked_mul(scale)?);
            }
            'a' => {
                let half = self.rest.get(..2)?;
                self.fields.afternoon = half.eq_ignore_ascii_case("PM");
                if !self.fields.afternoon && !half.eq_ignore_ascii_case("AM") {
                    return None;
                }
                self.rest = self.rest.get(2..)?;
            }
            'X' | 'x' | 'Z' => self.offset()?,
            _ => {
                let widest = if letter == 'D' { 3 } else { 2 };
                let max = if count == 1 && !next_is_number { widest } else { count };
                let value = self.digits(count, max)?;
                self.set_number(letter, value)?;
            }
        }
        Some(())
    }

    fn set_number(&mut self, letter: char, value: u32) -> Option<()> {
        let fields = &mut self.fields;
        let field = match letter {
            'M' | 'L' => &mut fields.month,
            'd' => &mut fields.day,
            'D' => &mut fields.day_of_year,
            'H' => &mut fields.hour,
            'k' | 'h' if value == 0 => return None,
            'k' => {
                fields.hour = Some(value % 24).filter(|_| value <= 24);
                return fields.hour.map(|_| ());
            }
            'h' => {
                fields.hour_of_half = Some(value % 12).filter(|_| value <= 12);
                return fields.hour_of_half.map(|_| ());
            }
            'K' => &mut fields.hour_of_half,
            'm' => &mut fields.minute,
            's' => &mut fields.second,
            _ => return None,
        };
        *field = Some(value);
        Some(())
    }

    fn digits(&mut self, min: usize, max: usize) -> Option<u32> {
        let length = self.rest.bytes().take(max).take_while(u8::is_ascii_digit).count();
        if length < min {
            return None;
        }
        let (digits, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        digits.parse().ok()
    }

    fn name(&mut self, names: &[&str], count: usize) -> Option<u32> {
        for (index, name) in names.iter().enumerate() {
            let name = if count == 4 { name } else { name.get(..SHORT_NAME)? };
            if self.rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
                self.rest = self.rest.get(name.len()..)?;
                return u32::try_from(index).ok();
            }
        }
        None
    }

    /// `Z`, `+02`, `+0200` or `+02:00`.
    fn offset(&mut self) -> Option<()> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Some(());
        }
        let sign = match self.rest.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        self.rest = self.rest.get(1..)?;
        let hours = self.digits(2, 2)?;
        self.rest = self.rest.strip_prefix(':').unwrap_or(self.rest);
        let minutes = self.digits(2, 2).unwrap_or(0);
        if hours > 18 || minutes > 59 {
            return None;
        }
        self.fields.offset_minutes = sign * i64::from(hours * 60 + minutes);
        Some(())
    }
}
