//! The columns that values are decoded into: one for each declared field, at any depth.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, ArrowPrimitiveType, BooleanArray, Decimal128Array, NullBufferBuilder, PrimitiveArray},
    buffer::{BooleanBuffer, ScalarBuffer},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, TimeUnit, TimestampMicrosecondType,
    },
    error::ArrowError,
};
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    cursor::Cursor,
    fault::Parsed,
    nested::{ListColumn, MapColumn, StructColumn},
    number::Number,
    text::Sink,
    time,
    trusted::text_buffer::{BinaryBuffer, TextBuffer},
};

/// A field has a type that no JSON is decoded into.
#[derive(Clone, Debug)]
pub struct UnsupportedType {
    /// The field.
    pub field: String,
    /// Its type.
    pub data_type: DataType,
}

impl fmt::Display for UnsupportedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {} has the type {}, which JSON is not decoded into", self.field, self.data_type)
    }
}

impl std::error::Error for UnsupportedType {}

/// A column that grows by one row at a time.
#[derive(Debug)]
pub(crate) enum Column {
    Boolean(Booleans),
    Int8(Primitive<Int8Type>),
    Int16(Primitive<Int16Type>),
    Int32(Primitive<Int32Type>),
    Int64(Primitive<Int64Type>),
    Float(Primitive<Float32Type>),
    Double(Primitive<Float64Type>),
    Decimal { values: Primitive<Decimal128Type>, precision: u8, scale: i8 },
    Date(Primitive<Date32Type>),
    Timestamp { values: Primitive<TimestampMicrosecondType>, zone: Option<Arc<str>> },
    Text(TextBuffer),
    Binary(BinaryBuffer),
    Struct(Box<StructColumn>),
    List(Box<ListColumn>),
    Map(Box<MapColumn>),
}

impl Column {
    /// A column for a field; `path` is the name of the structures around it.
    pub(crate) fn new(field: &Field, path: &str, rows: usize) -> Result<Self, UnsupportedType> {
        let unsupported =
            || UnsupportedType { field: format!("{path}{}", field.name()), data_type: field.data_type().clone() };
        Ok(match field.data_type() {
            DataType::Boolean => Self::Boolean(Booleans::default()),
            DataType::Int8 => Self::Int8(Primitive::new(rows)),
            DataType::Int16 => Self::Int16(Primitive::new(rows)),
            DataType::Int32 => Self::Int32(Primitive::new(rows)),
            DataType::Int64 => Self::Int64(Primitive::new(rows)),
            DataType::Float32 => Self::Float(Primitive::new(rows)),
            DataType::Float64 => Self::Double(Primitive::new(rows)),
            DataType::Decimal128(precision, scale) => {
                Self::Decimal { values: Primitive::new(rows), precision: *precision, scale: *scale }
            }
            DataType::Date32 => Self::Date(Primitive::new(rows)),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Self::Timestamp { values: Primitive::new(rows), zone: zone.clone() }
            }
            DataType::Utf8 => Self::Text(TextBuffer::new(rows)),
            DataType::Binary => Self::Binary(BinaryBuffer::new(rows)),
            DataType::Struct(fields) => {
                Self::Struct(Box::new(StructColumn::new(fields, &format!("{path}{}.", field.name()), rows)?))
            }
            DataType::List(element) => Self::List(Box::new(ListColumn::new(element, path, rows)?)),
            DataType::Map(entries, _) => {
                Self::Map(Box::new(MapColumn::new(entries, path, rows)?.ok_or_else(unsupported)?))
            }
            _ => return Err(unsupported()),
        })
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Boolean(column) => column.nulls.len(),
            Self::Int8(column) => column.values.len(),
            Self::Int16(column) => column.values.len(),
            Self::Int32(column) => column.values.len(),
            Self::Int64(column) => column.values.len(),
            Self::Float(column) => column.values.len(),
            Self::Double(column) => column.values.len(),
            Self::Decimal { values, .. } => values.values.len(),
            Self::Date(column) => column.values.len(),
            Self::Timestamp { values, .. } => values.values.len(),
            Self::Text(column) => column.len(),
            Self::Binary(column) => column.len(),
            Self::Struct(column) => column.len(),
            Self::List(column) => column.len(),
            Self::Map(column) => column.len(),
        }
    }

    /// Passes the value here and adds it as a row; NULL if it is null or does not fit.
    ///
    /// After an error the column may have more rows, or half of one, until it is truncated.
    #[inline(always)]
    pub(crate) fn decode(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        match self {
            Self::Int32(column) => column.decode(cursor, "the value is no INT", |number| {
                number.integer().and_then(|value| i32::try_from(value).ok())
            }),
            Self::Int64(column) => column.decode(cursor, "the value is no BIGINT", |number| number.integer()),
            Self::Double(column) => column.decode(cursor, "the value is no finite DOUBLE", |number| number.double()),
            Self::Text(column) => {
                if cursor.peek() == b'"' {
                    cursor.string(column)?;
                    column.close();
                    return Ok(());
                }
                decode_other_text(column, cursor)
            }
            _ => self.decode_rarer(cursor),
        }
    }

    #[inline(never)]
    fn decode_rarer(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        match self {
            Self::Boolean(column) => column.decode(cursor),
            Self::Int8(column) => column.decode(cursor, "the value is no TINYINT", |number| {
                number.integer().and_then(|value| i8::try_from(value).ok())
            }),
            Self::Int16(column) => column.decode(cursor, "the value is no SMALLINT", |number| {
                number.integer().and_then(|value| i16::try_from(value).ok())
            }),
            Self::Float(column) => column.decode(cursor, "the value is no finite FLOAT", |number| number.float()),
            Self::Decimal { values, precision, scale } => {
                let (scale, limit) = (i64::from(*scale), 10_i128.pow(u32::from(*precision)));
                values.decode(cursor, "the value is no DECIMAL of this precision and scale", |number| {
                    number.scaled(scale).filter(|value| value.abs() < limit)
                })
            }
            Self::Date(column) => column.decode_text(cursor, "the value is no date like 2018-11-13", time::date),
            Self::Timestamp { values, .. } => {
                let message = "the value is no time like 2018-11-13T12:30:05.25Z, exact to a microsecond";
                values.decode_text(cursor, message, time::timestamp_us)
            }
            Self::Binary(column) => decode_binary(column, cursor),
            Self::Struct(column) => column.decode(cursor),
            Self::List(column) => column.decode(cursor),
            Self::Map(column) => column.decode(cursor),
            Self::Int32(_) | Self::Int64(_) | Self::Double(_) | Self::Text(_) => self.decode(cursor),
        }
    }

    pub(crate) fn push_null(&mut self) {
        match self {
            Self::Boolean(column) => column.push(None),
            Self::Int8(column) => column.push_null(),
            Self::Int16(column) => column.push_null(),
            Self::Int32(column) => column.push_null(),
            Self::Int64(column) => column.push_null(),
            Self::Float(column) => column.push_null(),
            Self::Double(column) => column.push_null(),
            Self::Decimal { values, .. } => values.push_null(),
            Self::Date(column) => column.push_null(),
            Self::Timestamp { values, .. } => values.push_null(),
            Self::Text(column) => column.close_null(),
            Self::Binary(column) => column.push(None),
            Self::Struct(column) => column.push_null(),
            Self::List(column) => column.push_null(),
            Self::Map(column) => column.push_null(),
        }
    }

    /// Keeps the first `rows` rows, whole.
    pub(crate) fn truncate(&mut self, rows: usize) {
        match self {
            Self::Boolean(column) => column.truncate(rows),
            Self::Int8(column) => column.truncate(rows),
            Self::Int16(column) => column.truncate(rows),
            Self::Int32(column) => column.truncate(rows),
            Self::Int64(column) => column.truncate(rows),
            Self::Float(column) => column.truncate(rows),
            Self::Double(column) => column.truncate(rows),
            Self::Decimal { values, .. } => values.truncate(rows),
            Self::Date(column) => column.truncate(rows),
            Self::Timestamp { values, .. } => values.truncate(rows),
            Self::Text(column) => column.truncate(rows),
            Self::Binary(column) => column.truncate(rows),
            Self::Struct(column) => column.truncate(rows),
            Self::List(column) => column.truncate(rows),
            Self::Map(column) => column.truncate(rows),
        }
    }

    /// Takes all rows.
    ///
    /// # Errors
    /// There is more text than Arrow's offsets can count.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Boolean(column) => Arc::new(column.finish()),
            Self::Int8(column) => Arc::new(column.finish()),
            Self::Int16(column) => Arc::new(column.finish()),
            Self::Int32(column) => Arc::new(column.finish()),
            Self::Int64(column) => Arc::new(column.finish()),
            Self::Float(column) => Arc::new(column.finish()),
            Self::Double(column) => Arc::new(column.finish()),
            Self::Decimal { values, precision, scale } => {
                let decimals: Decimal128Array = values.finish();
                Arc::new(decimals.with_precision_and_scale(*precision, *scale)?)
            }
            Self::Date(column) => Arc::new(column.finish()),
            Self::Timestamp { values, zone } => Arc::new(values.finish().with_timezone_opt(zone.clone())),
            Self::Text(column) => Arc::new(column.finish()?),
            Self::Binary(column) => Arc::new(column.finish()?),
            Self::Struct(column) => Arc::new(column.finish()?),
            Self::List(column) => Arc::new(column.finish()?),
            Self::Map(column) => Arc::new(column.finish()?),
        })
    }
}

/// Passes a value that does not fit, which is noted.
#[cold]
#[inline(never)]
pub(crate) fn skip_misfit(cursor: &mut Cursor<'_>, message: &'static str) -> Parsed<()> {
    let at = cursor.at;
    cursor.skip_value()?;
    cursor.state.misfit(at, message);
    Ok(())
}

/// Passes a null, or a value that does not fit.
#[inline(never)]
pub(crate) fn skip_null(cursor: &mut Cursor<'_>, message: &'static str) -> Parsed<()> {
    match cursor.peek() {
        b'n' => cursor.literal("null"),
        _ => skip_misfit(cursor, message),
    }
}

/// What is no string has its own text as it is written; null is NULL.
#[inline(never)]
fn decode_other_text(column: &mut TextBuffer, cursor: &mut Cursor<'_>) -> Parsed<()> {
    if cursor.peek() == b'n' {
        cursor.literal("null")?;
        column.close_null();
        return Ok(());
    }
    let start = cursor.at;
    cursor.skip_value()?;
    column.text_at(cursor.text, start, cursor.at);
    column.close();
    Ok(())
}

fn decode_binary(column: &mut BinaryBuffer, cursor: &mut Cursor<'_>) -> Parsed<()> {
    let message = "the value is no text in Base64";
    if cursor.peek() != b'"' {
        column.push(None);
        return skip_null(cursor, message);
    }
    let at = cursor.at;
    let decoded = cursor.with_string(|text| BASE64_STANDARD.decode(text).ok())?;
    if decoded.is_none() {
        cursor.state.misfit(at, message);
    }
    column.push(decoded.as_deref());
    Ok(())
}

/// Values of a fixed width.
#[derive(Debug)]
pub(crate) struct Primitive<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

impl<T: ArrowPrimitiveType> Primitive<T> {
    fn new(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows) }
    }

    #[inline(always)]
    fn push(&mut self, value: T::Native) {
        self.values.push(value);
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.values.push(T::Native::default());
        self.nulls.append_null();
    }

    fn truncate(&mut self, rows: usize) {
        if self.values.len() > rows {
            self.values.truncate(rows);
            self.nulls.truncate(rows);
        }
    }

    #[inline(always)]
    fn decode(
        &mut self,
        cursor: &mut Cursor<'_>,
        message: &'static str,
        convert: impl FnOnce(&Number<'_>) -> Option<T::Native>,
    ) -> Parsed<()> {
        if !matches!(cursor.peek(), b'-' | b'0'..=b'9') {
            self.push_null();
            return skip_null(cursor, message);
        }
        let at = cursor.at;
        let number = cursor.number()?;
        match convert(&number) {
            Some(value) => self.push(value),
            None => {
                cursor.state.misfit(at, message);
                self.push_null();
            }
        }
        Ok(())
    }

    fn decode_text(
        &mut self,
        cursor: &mut Cursor<'_>,
        message: &'static str,
        convert: impl FnOnce(&str) -> Option<T::Native>,
    ) -> Parsed<()> {
        if cursor.peek() != b'"' {
            self.push_null();
            return skip_null(cursor, message);
        }
        let at = cursor.at;
        match cursor.with_string(convert)? {
            Some(value) => self.push(value),
            None => {
                cursor.state.misfit(at, message);
                self.push_null();
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> PrimitiveArray<T> {
        let taken = std::mem::replace(self, Self::new(self.values.len()));
        PrimitiveArray::new(ScalarBuffer::from(taken.values), taken.nulls.build())
    }
}

/// Truth values.
#[derive(Debug)]
pub(crate) struct Booleans {
    values: Vec<bool>,
    nulls: NullBufferBuilder,
}

impl Default for Booleans {
    fn default() -> Self {
        Self { values: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }
}

impl Booleans {
    fn decode(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        match cursor.peek() {
            b't' => {
                self.push(Some(true));
                cursor.literal("true")
            }
            b'f' => {
                self.push(Some(false));
                cursor.literal("false")
            }
            _ => {
                self.push(None);
                skip_null(cursor, "the value is no BOOLEAN")
            }
        }
    }

    fn push(&mut self, value: Option<bool>) {
        self.values.push(value.unwrap_or_default());
        self.nulls.append(value.is_some());
    }

    fn truncate(&mut self, rows: usize) {
        if self.values.len() > rows {
            self.values.truncate(rows);
            self.nulls.truncate(rows);
        }
    }

    fn finish(&mut self) -> BooleanArray {
        let taken = std::mem::take(self);
        BooleanArray::new(BooleanBuffer::from(taken.values), taken.nulls.build())
    }
}
