//! Between which values the keys of changed rows lie: what files, row groups and pages need not be read for them.
//!
//! Data flow: the keys of an update -> one row of their least and greatest values -> conditions beside the joins that find
//! the rows of the keys.
//!
//! Invariant: a row that has one of the keys meets the condition. Of types whose values cannot be written exactly, or do
//! not order files, nothing is said.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type, TimeUnit},
};
use lakewright_compiler::ParamValue;
use lakewright_error::{Error, ErrorKind, Result};

use super::affected_query::{KEYS, ZONE, key_column, quoted};
use crate::literal::literal;

/// What is known of one column of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bounds {
    /// The least and the greatest value, as SQL; `None` if every key is NULL there.
    values: Option<(String, String)>,
    has_null: bool,
}

/// What is known of the keys, by column; nothing if there is no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyBounds(Vec<Option<Bounds>>);

impl KeyBounds {
    /// The question for the bounds of keys of these types, if any of them has some.
    pub(super) fn question(types: &[DataType]) -> Option<String> {
        let columns = types.iter().enumerate().filter(|(_, data_type)| is_bounded(data_type)).flat_map(|(index, _)| {
            let key = format!("{}.{}", quoted(KEYS), quoted(&key_column(index)));
            [
                format!("min({key}) AS \"least {index}\""),
                format!("max({key}) AS \"greatest {index}\""),
                format!("count(*) FILTER (WHERE {key} IS NULL) AS \"nulls {index}\""),
            ]
        });
        let columns: Vec<String> = columns.collect();
        let from = format!("{}.{keys} AS {keys}", quoted(ZONE), keys = quoted(KEYS));
        (!columns.is_empty()).then(|| format!("SELECT {} FROM {from}", columns.join(", ")))
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// - [`ErrorKind::Internal`]: it is none.
    pub(super) fn of(types: &[DataType], answer: &[RecordBatch]) -> Result<Self> {
        let Some(row) = answer.iter().find(|batch| batch.num_rows() > 0) else { return Ok(Self::default()) };
        let mut columns = row.columns().iter();
        let mut next = || {
            let column =
                columns.next().ok_or_else(|| Error::new(ErrorKind::Internal, "the bounds of keys are missing"))?;
            number(column)
        };
        let mut bounds = Vec::with_capacity(types.len());
        for data_type in types {
            if !is_bounded(data_type) {
                bounds.push(None);
                continue;
            }
            let (least, greatest, nulls) = (next()?, next()?, next()?);
            let values = least.zip(greatest).map(|(least, greatest)| {
                // An instant that is too far away to be written bounds nothing.
                Some((literal(&value(data_type, least)?).ok()?, literal(&value(data_type, greatest)?).ok()?))
            });
            bounds.push(match values {
                Some(None) => None,
                values => Some(Bounds { values: values.flatten(), has_null: nulls.unwrap_or(0) > 0 }),
            });
        }
        Ok(Self(bounds))
    }

    /// What rows meet whose keys are these expressions; `None` if nothing is known.
    pub(super) fn condition(&self, exprs: &[String]) -> Option<String> {
        let of_column = |(expr, bounds): (&String, &Option<Bounds>)| {
            let Bounds { values, has_null } = bounds.as_ref()?;
            let range =
                values.as_ref().map(|(least, greatest)| format!("({expr} >= {least} AND {expr} <= {greatest})"));
            Some(match (range, has_null) {
                (Some(range), true) => format!("({range} OR {expr} IS NULL)"),
                (Some(range), false) => range,
                (None, true) => format!("({expr} IS NULL)"),
                (None, false) => "FALSE".to_owned(),
            })
        };
        let conditions: Vec<String> = exprs.iter().zip(&self.0).filter_map(of_column).collect();
        (!conditions.is_empty()).then(|| conditions.join(" AND "))
    }
}

/// Numbers and times: files hold neighbouring ones together where anything does.
fn is_bounded(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, Some(_))
    )
}

fn value(data_type: &DataType, number: i64) -> Option<ParamValue> {
    Some(match data_type {
        DataType::Date32 => ParamValue::Date(i32::try_from(number).ok()?),
        DataType::Timestamp(..) => ParamValue::Timestamp(number),
        _ => ParamValue::Bigint(number),
    })
}

/// The first value of a column of numbers or times as a number.
fn number(column: &ArrayRef) -> Result<Option<i64>> {
    let failed = |error| Error::new(ErrorKind::Internal, "the bounds of keys cannot be read").with_source(error);
    // Dates are days in 32 bits.
    let is_date = column.data_type() == &DataType::Date32;
    let narrow = if is_date { cast(column, &DataType::Int32).map_err(failed)? } else { Arc::clone(column) };
    let numbers = cast(&narrow, &DataType::Int64).map_err(failed)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    Ok(numbers.is_valid(0).then(|| numbers.value(0)))
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Date32Array, Int64Array, TimestampMicrosecondArray},
        datatypes::{Field, Schema},
    };

    use super::*;

    fn answer(columns: Vec<ArrayRef>) -> Vec<RecordBatch> {
        let fields = columns.iter().enumerate();
        let fields = fields.map(|(index, column)| Field::new(index.to_string(), column.data_type().clone(), true));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        vec![RecordBatch::try_new(Arc::new(schema), columns).unwrap()]
    }

    fn instants(us: Option<i64>) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(vec![us]).with_timezone("UTC"))
    }

    fn counts(count: Option<i64>) -> ArrayRef {
        Arc::new(Int64Array::from(vec![count]))
    }

    fn instant() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }

    fn condition(types: &[DataType], columns: Vec<ArrayRef>) -> Option<String> {
        let names: Vec<String> = (0..types.len()).map(|index| format!("k{index}")).collect();
        KeyBounds::of(types, &answer(columns)).unwrap().condition(&names)
    }

    #[test]
    fn rows_of_the_keys_lie_between_the_least_and_the_greatest_of_each_column() {
        let types = [DataType::Utf8, DataType::Date32, DataType::Int32];
        let question = KeyBounds::question(&types).unwrap();
        assert!(!question.contains("key 0") && question.contains("max(\"keys\".\"key 2\")"), "{question}");
        let day = |day| Arc::new(Date32Array::from(vec![Some(day)])) as ArrayRef;
        let columns = vec![day(0), day(1), counts(Some(0)), counts(Some(-5)), counts(Some(7)), counts(Some(2))];
        let expected = "(k1 >= CAST('1970-01-01' AS DATE) AND k1 <= CAST('1970-01-02' AS DATE)) AND \
                        ((k2 >= CAST('-5' AS BIGINT) AND k2 <= CAST('7' AS BIGINT)) OR k2 IS NULL)";
        assert_eq!(condition(&types, columns).unwrap(), expected);
    }

    #[test]
    fn keys_that_are_all_null_or_not_there_are_looked_for_as_such() {
        let none = |nulls| vec![instants(None), instants(None), counts(Some(nulls))];
        assert_eq!(condition(&[instant()], none(3)).unwrap(), "(k0 IS NULL)");
        assert_eq!(condition(&[instant()], none(0)).unwrap(), "FALSE");
    }

    #[test]
    fn nothing_is_said_of_text_floats_and_instants_that_cannot_be_written() {
        assert_eq!(KeyBounds::question(&[DataType::Utf8, DataType::Float64]), None);
        let far = vec![instants(Some(i64::MIN)), instants(Some(5)), counts(Some(0))];
        assert_eq!(condition(&[instant()], far), None);
    }
}
