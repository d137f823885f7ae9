//! The types that a CAST may name, and how canonical SQL spells them.
//!
//! Invariant: a type means the same whatever the session's settings are: `TIMESTAMP` is an instant in µs and UTC, text is
//! `Utf8`, and what plain SQL cannot say is said with `arrow_cast`.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Fields, IntervalUnit, TimeUnit},
    sql::sqlparser::ast::{ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo},
};

use crate::suggest::did_you_mean;

/// An instant: what `TIMESTAMP` means.
pub(super) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Why a type cannot be cast to, and what to write instead.
#[derive(Debug)]
pub(super) struct TypeProblem {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// The names that are worth suggesting.
const NAMES: [&str; 16] = [
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "VARCHAR",
    "STRING",
    "DATE",
    "TIMESTAMP",
    "BINARY",
    "STRUCT",
    "ARRAY",
    "MAP",
];

/// The Arrow type that a SQL type names.
pub(super) fn arrow_type(sql: &SqlType) -> Result<DataType, TypeProblem> {
    Ok(match sql {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::TinyInt(_) => DataType::Int8,
        SqlType::SmallInt(_) | SqlType::Int2(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => DataType::Int32,
        SqlType::BigInt(_) | SqlType::Int8(_) => DataType::Int64,
        SqlType::Float(_) | SqlType::Real | SqlType::Float4 => DataType::Float32,
        SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 => DataType::Float64,
        SqlType::Decimal(info) | SqlType::Numeric(info) | SqlType::Dec(info) => decimal(info)?,
        SqlType::Varchar(_) | SqlType::String(_) | SqlType::Text | SqlType::Char(_) | SqlType::Character(_) => {
            DataType::Utf8
        }
        SqlType::Date => DataType::Date32,
        SqlType::Timestamp(_, _) => instant(),
        SqlType::Time(_, _) => DataType::Time64(TimeUnit::Nanosecond),
        SqlType::Interval { .. } => DataType::Interval(IntervalUnit::MonthDayNano),
        SqlType::Binary(_) | SqlType::Varbinary(_) | SqlType::Bytea | SqlType::Blob(_) => DataType::Binary,
        SqlType::Array(ArrayElemTypeDef::AngleBracket(item) | ArrayElemTypeDef::SquareBracket(item, None)) => {
            DataType::List(Arc::new(Field::new_list_field(arrow_type(item)?, true)))
        }
        SqlType::Struct(fields, _) => {
            let field = |(index, field): (usize, &datafusion::sql::sqlparser::ast::StructField)| {
                let name = field.field_name.as_ref().map_or_else(|| format!("c{index}"), |name| name.value.clone());
                Ok(Field::new(name, arrow_type(&field.field_type)?, true))
            };
            DataType::Struct(fields.iter().enumerate().map(field).collect::<Result<Fields, _>>()?)
        }
        other => return Err(unknown(other)),
    })
}

/// How plain SQL spells an Arrow type with exactly that meaning; `None` if only `arrow_cast` can say it.
pub(super) fn plain_sql(data_type: &DataType) -> Option<SqlType> {
    Some(match data_type {
        DataType::Boolean => SqlType::Boolean,
        DataType::Int8 => SqlType::TinyInt(None),
        DataType::Int16 => SqlType::SmallInt(None),
        DataType::Int32 => SqlType::Int(None),
        DataType::Int64 => SqlType::BigInt(None),
        DataType::Float32 => SqlType::Float(ExactNumberInfo::None),
        DataType::Float64 => SqlType::Double(ExactNumberInfo::None),
        DataType::Decimal128(precision, scale) => {
            SqlType::Decimal(ExactNumberInfo::PrecisionAndScale(u64::from(*precision), i64::from(*scale)))
        }
        DataType::Utf8 => SqlType::Varchar(None),
        DataType::Date32 => SqlType::Date,
        DataType::Binary => SqlType::Bytea,
        DataType::Interval(IntervalUnit::MonthDayNano) => SqlType::Interval { fields: None, precision: None },
        _ => return None,
    })
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType, TypeProblem> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let valid = (1..=u64::from(DECIMAL128_MAX_PRECISION)).contains(&precision);
    match (u8::try_from(precision), i8::try_from(scale), u64::try_from(scale)) {
        (Ok(digits), Ok(small), Ok(places)) if valid && places <= precision => Ok(DataType::Decimal128(digits, small)),
        _ => Err(TypeProblem {
            message: format!("DECIMAL({precision}, {scale}) does not exist"),
            help: Some("a DECIMAL has 1 to 38 digits, and no more of them after the point".to_owned()),
        }),
    }
}

fn unknown(sql: &SqlType) -> TypeProblem {
    let text = sql.to_string();
    let name = text.split(['(', '<', ' ']).next().unwrap_or_default().to_owned();
    let known = match sql {
        SqlType::Map(..) => Some("a CAST to MAP is not supported yet: make it with map(keys, values)"),
        SqlType::TimestampNtz { .. } | SqlType::Datetime(_) => Some("use TIMESTAMP: an instant, µs, UTC"),
        SqlType::Int64 | SqlType::UBigInt => Some("use BIGINT"),
        SqlType::Int32 | SqlType::MediumInt(_) => Some("use INT"),
        SqlType::Float64 => Some("use DOUBLE"),
        SqlType::JSON | SqlType::JSONB | SqlType::Uuid => Some("use VARCHAR"),
        SqlType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("long") => Some("use BIGINT"),
        _ => None,
    };
    let help = known.map(str::to_owned).or_else(|| did_you_mean(&name, NAMES));
    TypeProblem { message: format!("there is no type `{text}`"), help }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::query::dialect::JobDialect;

    fn parsed(text: &str) -> SqlType {
        Parser::new(&JobDialect).try_with_sql(text).unwrap().parse_data_type().unwrap()
    }

    #[test]
    fn types_have_their_spark_meaning() {
        for (sql, arrow) in [
            ("STRING", DataType::Utf8),
            ("varchar(20)", DataType::Utf8),
            ("TIMESTAMP", instant()),
            ("TIMESTAMP WITH TIME ZONE", instant()),
            ("DECIMAL", DataType::Decimal128(10, 0)),
            ("DECIMAL(38, 6)", DataType::Decimal128(38, 6)),
            ("BINARY", DataType::Binary),
            ("FLOAT", DataType::Float32),
        ] {
            assert_eq!(arrow_type(&parsed(sql)).unwrap(), arrow, "{sql}");
        }
    }

    #[test]
    fn a_nested_timestamp_is_an_instant_too() {
        let DataType::List(item) = arrow_type(&parsed("ARRAY<STRUCT<at TIMESTAMP>>")).unwrap() else { panic!() };
        let DataType::Struct(fields) = item.data_type() else { panic!() };
        assert_eq!(fields[0].data_type(), &instant());
    }

    #[test]
    fn what_does_not_exist_is_refused_with_what_to_write() {
        for (sql, help) in [("JSON", "VARCHAR"), ("DECIMAL(39,2)", "38"), ("STRNIG", "STRING"), ("LONG", "BIGINT")] {
            let problem = arrow_type(&parsed(sql)).unwrap_err();
            assert!(problem.help.unwrap_or_default().contains(help), "{sql}");
        }
    }
}
