//! The Arrow-to-Delta type table: what maps without loss, and what is refused.

use datafusion::arrow::datatypes::{IntervalUnit, UnionFields, UnionMode};

use super::*;

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("item", data_type, false))
}

#[test]
fn what_maps_without_loss_is_mapped() {
    use DataType as T;
    let table = [
        (T::Boolean, T::Boolean),
        (T::Int8, T::Int8),
        (T::Int64, T::Int64),
        (T::UInt8, T::Int16),
        (T::UInt16, T::Int32),
        (T::UInt32, T::Int64),
        (T::UInt64, T::Int64),
        (T::Float16, T::Float32),
        (T::Utf8View, T::Utf8),
        (T::LargeUtf8, T::Utf8),
        (T::BinaryView, T::Binary),
        (T::FixedSizeBinary(4), T::Binary),
        (T::Date64, T::Date32),
        (T::Timestamp(TimeUnit::Nanosecond, None), instant()),
        (T::Timestamp(TimeUnit::Second, Some("+02:00".into())), instant()),
        (T::Decimal32(5, 2), T::Decimal128(5, 2)),
        (T::Decimal256(38, 10), T::Decimal128(38, 10)),
        (T::Dictionary(Box::new(T::Int32), Box::new(T::Utf8View)), T::Utf8),
    ];
    for (from, to) in table {
        assert_eq!(table_type(&from), Ok(to), "{from}");
    }
}

#[test]
fn nested_types_are_mapped_all_the_way_down_and_become_nullable() {
    use DataType as T;
    let element = |data_type| Arc::new(Field::new("element", data_type, true));
    assert_eq!(table_type(&T::LargeList(item(T::Utf8View))), Ok(T::List(element(T::Utf8))));
    assert_eq!(table_type(&T::FixedSizeList(item(T::UInt8), 3)), Ok(T::List(element(T::Int16))));
    let fields = Fields::from(vec![Field::new("a", T::Date64, false)]);
    assert_eq!(table_type(&T::Struct(fields)), Ok(T::Struct(Fields::from(vec![Field::new("a", T::Date32, true)]))));
    let entries = Field::new(
        "entries",
        T::Struct(Fields::from(vec![Field::new("keys", T::Utf8View, false), Field::new("values", T::UInt8, false)])),
        false,
    );
    let Ok(T::Map(entries, false)) = table_type(&T::Map(Arc::new(entries), false)) else { panic!("no map") };
    let T::Struct(fields) = entries.data_type() else { panic!("no entries") };
    assert_eq!((fields[0].data_type(), fields[0].is_nullable()), (&T::Utf8, false));
    assert_eq!((fields[1].data_type(), fields[1].is_nullable()), (&T::Int16, true));
}

#[test]
fn what_cannot_be_stored_is_refused_with_what_to_do() {
    use DataType as T;
    let refused = [
        (T::Null, "cast it to the type it should have"),
        (T::Time64(TimeUnit::Nanosecond), "cast it to VARCHAR"),
        (T::Duration(TimeUnit::Second), "BIGINT"),
        (T::Interval(IntervalUnit::MonthDayNano), "BIGINT"),
        (T::Decimal256(40, 2), "38 digits"),
        (T::Decimal128(5, -2), "negative scale"),
        (T::List(item(T::Null)), "cast it"),
        (T::Union(UnionFields::empty(), UnionMode::Sparse), "union"),
    ];
    for (data_type, hint) in refused {
        let error = table_type(&data_type).unwrap_err();
        assert!(error.reason.contains(hint), "{data_type}: {error}");
    }
}

#[test]
fn a_schema_keeps_names_and_order_and_drops_metadata() {
    let metadata = [("k".to_owned(), "v".to_owned())].into();
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("userId", DataType::Utf8View, false).with_metadata(metadata),
        Field::new("n", DataType::UInt64, false),
    ]));
    let stored = table_schema(&schema).unwrap();
    let expected =
        Schema::new(vec![Field::new("userId", DataType::Utf8, true), Field::new("n", DataType::Int64, true)]);
    assert_eq!(stored.as_ref(), &expected);
}

#[test]
fn the_first_column_that_cannot_be_stored_is_named() {
    let schema: SchemaRef =
        Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Null, true)]));
    assert_eq!(table_schema(&schema).unwrap_err().0, "b");
}
