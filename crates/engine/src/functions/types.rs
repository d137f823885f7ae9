//! The SQL types that DataFusion reads otherwise: a TIMESTAMP is an instant, microseconds UTC.

use datafusion::{
    arrow::datatypes::{DataType, FieldRef},
    common::datatype::DataTypeExt,
    error::Result,
    logical_expr::planner::TypePlanner,
    sql::sqlparser::ast::{DataType as SqlType, TimezoneInfo},
};

use super::native::timestamp_type;

/// The types of the dialect.
#[derive(Debug)]
pub(super) struct DialectTypes;

impl TypePlanner for DialectTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let data_type = match sql_type {
            SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
                timestamp_type()
            }
            SqlType::Binary(None) => DataType::Binary,
            _ => return Ok(None),
        };
        Ok(Some(data_type.into_nullable_field_ref()))
    }
}
