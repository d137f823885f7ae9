//! JSON in text: `get_json_object` and what one asks about a JSON value.
//!
//! Invariant: text that is no JSON is NULL, never an error.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Int32Array, ListBuilder, StringArray, StringBuilder},
        datatypes::{DataType, Field},
    },
    error::Result,
    logical_expr::ScalarUDF,
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess},
    ser::SerializeMap,
};
use serde_json::Number;

use super::native::{Native, Parameter::Text};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let texts = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    vec![
        Native::new("get_json_object", &[Text, Text], DataType::Utf8, get_object).udf(),
        Native::new("json_array_length", &[Text], DataType::Int32, array_length).udf(),
        Native::new("json_object_keys", &[Text], texts, object_keys).udf(),
    ]
}

/// A JSON value whose objects keep their fields in order.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> de::Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(field) = fields.next_entry()? {
            values.push(field);
        }
        Ok(Value::Object(values))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Array(values) => values.serialize(serializer),
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    All,
}

/// Reads `$.a['b'][0][*]`; `None` if it is no path.
fn parse_path(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (key, tail) = after.split_at_checked(end)?;
            if key.is_empty() {
                return None;
            }
            steps.push(if key == "*" { Step::All } else { Step::Key(key.to_owned()) });
            rest = tail;
        } else {
            let after = rest.strip_prefix('[')?;
            let (inside, tail) = after.split_once(']')?;
            let quoted = inside.strip_prefix('\'').and_then(|inside| inside.strip_suffix('\''));
            steps.push(match (inside, quoted) {
                ("*", _) => Step::All,
                (_, Some(key)) => Step::Key(key.to_owned()),
                (index, None) => Step::Index(index.parse().ok()?),
            });
            rest = tail;
        }
    }
    Some(steps)
}

fn collect<'a>(value: &'a Value, steps: &[Step], found: &mut Vec<&'a Value>) {
    let Some((step, rest)) = steps.split_first() else { return found.push(value) };
    match (step, value) {
        (Step::Key(key), Value::Object(fields)) => {
            if let Some((_, value)) = fields.iter().find(|(name, _)| name == key) {
                collect(value, rest, found);
            }
        }
        // A key of an array is that key of each element.
        (Step::Key(_), Value::Array(items)) => items.iter().for_each(|item| collect(item, steps, found)),
        (Step::Index(index), Value::Array(items)) => {
            if let Some(value) = items.get(*index) {
                collect(value, rest, found);
            }
        }
        (Step::All, Value::Array(items)) => items.iter().for_each(|item| collect(item, rest, found)),
        _ => {}
    }
}

/// Text without quotes, anything else as JSON.
fn write_value(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(text.clone()),
        other => serde_json::to_string(other).ok(),
    }
}

fn get_object(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, paths) = (args[0].as_string::<i32>(), args[1].as_string::<i32>());
    let mut last: Option<(&str, Option<Vec<Step>>)> = None;
    let values = (0..texts.len()).map(|row| {
        if texts.is_null(row) || paths.is_null(row) {
            return None;
        }
        let path = paths.value(row);
        if last.as_ref().is_none_or(|(previous, _)| *previous != path) {
            last = Some((path, parse_path(path)));
        }
        let steps = last.as_ref().and_then(|(_, steps)| steps.as_deref())?;
        let value: Value = serde_json::from_str(texts.value(row)).ok()?;
        let mut found = Vec::new();
        collect(&value, steps, &mut found);
        match found.as_slice() {
            [] => None,
            [one] if !steps.contains(&Step::All) => write_value(one),
            many => serde_json::to_string(many).ok(),
        }
    });
    Ok(Arc::new(values.collect::<StringArray>()))
}

fn array_length(args: &[ArrayRef]) -> Result<ArrayRef> {
    let lengths = args[0].as_string::<i32>().iter().map(|text| {
        let items: Vec<IgnoredAny> = serde_json::from_str(text?).ok()?;
        i32::try_from(items.len()).ok()
    });
    Ok(Arc::new(lengths.collect::<Int32Array>()))
}

fn object_keys(args: &[ArrayRef]) -> Result<ArrayRef> {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for text in args[0].as_string::<i32>() {
        match text.and_then(|text| serde_json::from_str(text).ok()) {
            Some(Value::Object(fields)) => {
                fields.iter().for_each(|(key, _)| builder.values().append_value(key));
                builder.append(true);
            }
            _ => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}
