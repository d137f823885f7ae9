//! The one Arrow-to-Delta type table.
//!
//! Data flow: the output schema of a query -> **here** -> the stored schema of a model's table.
//!
//! Invariant: what maps, maps without loss (`UInt64` is checked value by value when it is written); what does not is
//! refused with what to cast to. Every stored field is nullable and plain: no metadata, no dictionary.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

/// The greatest precision of a decimal that Delta readers take.
const DECIMAL_PRECISION_MAX: u8 = 38;

/// Why a type cannot be stored in a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a column of type {data_type} cannot be stored: {reason}")]
pub struct DeltaTypeError {
    /// The type as Arrow prints it.
    pub data_type: String,
    /// Why, and what to cast to.
    pub reason: &'static str,
}

/// Gives the stored type of a query's column type.
///
/// # Errors
/// The type does not map without loss.
pub fn table_type(data_type: &DataType) -> Result<DataType, DeltaTypeError> {
    use DataType as T;
    Ok(match data_type {
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 | T::Date32 => {
            data_type.clone()
        }
        T::Utf8 | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 | T::UInt64 => T::Int64,
        T::Float16 => T::Float32,
        T::Date64 => T::Date32,
        T::Timestamp(_, _) => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale)
        | T::Decimal256(precision, scale) => decimal(data_type, *precision, *scale)?,
        T::Dictionary(_, value) => table_type(value)?,
        T::RunEndEncoded(_, values) => table_type(values.data_type())?,
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) | T::FixedSizeList(item, _) => {
            T::List(stored_field("element", item)?)
        }
        T::Struct(fields) => T::Struct(stored_fields(fields)?),
        T::Map(entries, _) => map(data_type, entries)?,
        T::Null => return Err(refused(data_type, "it is always NULL: cast it to the type it should have")),
        T::Time32(_) | T::Time64(_) => {
            return Err(refused(data_type, "Delta has no time of day: cast it to VARCHAR or to BIGINT"));
        }
        T::Duration(_) | T::Interval(_) => {
            return Err(refused(
                data_type,
                "Delta has no duration: store a number of a named unit as BIGINT or DOUBLE",
            ));
        }
        T::Union(_, _) => return Err(refused(data_type, "Delta has no union: take one of its members")),
    })
}

/// Gives the stored schema of a query's output; every field nullable.
///
/// # Errors
/// The first column, by name, whose type does not map.
pub fn table_schema(schema: &SchemaRef) -> Result<SchemaRef, (String, DeltaTypeError)> {
    let fields = schema
        .fields()
        .iter()
        .map(|field| match table_type(field.data_type()) {
            Ok(data_type) => Ok(Field::new(field.name(), data_type, true)),
            Err(error) => Err((field.name().clone(), error)),
        })
        .collect::<Result<Fields, _>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn refused(data_type: &DataType, reason: &'static str) -> DeltaTypeError {
    DeltaTypeError { data_type: data_type.to_string(), reason }
}

fn decimal(data_type: &DataType, precision: u8, scale: i8) -> Result<DataType, DeltaTypeError> {
    // Delta knows no negative scale; DECIMAL(5,-2) has seven digits before the point.
    if scale < 0 {
        return Err(refused(data_type, "Delta has no negative scale: cast it to DECIMAL(38, 0)"));
    }
    if precision > DECIMAL_PRECISION_MAX {
        return Err(refused(data_type, "Delta has at most 38 digits: cast it to DECIMAL(38, s) or to DOUBLE"));
    }
    Ok(DataType::Decimal128(precision, scale))
}

fn map(data_type: &DataType, entries: &FieldRef) -> Result<DataType, DeltaTypeError> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(refused(data_type, "its entries are no key and value"));
    };
    let [key, value] = fields.as_ref() else {
        return Err(refused(data_type, "its entries are no key and value"));
    };
    // Arrow does not allow a NULL key; the names are those that Parquet prescribes.
    let key = Arc::new(Field::new("key", table_type(key.data_type())?, false));
    let entries =
        Field::new("key_value", DataType::Struct(Fields::from(vec![key, stored_field("value", value)?])), false);
    Ok(DataType::Map(Arc::new(entries), false))
}

fn stored_fields(fields: &Fields) -> Result<Fields, DeltaTypeError> {
    fields.iter().map(|field| stored_field(field.name(), field)).collect()
}

fn stored_field(name: &str, field: &FieldRef) -> Result<FieldRef, DeltaTypeError> {
    Ok(Arc::new(Field::new(name, table_type(field.data_type())?, true)))
}

#[cfg(test)]
mod tests;
