//! Bounds hold for what the Parquet writer of this workspace puts into a footer.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
        ListArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
    },
    datatypes::Int32Type,
};
use parquet::{
    arrow::ArrowWriter,
    file::{metadata::ParquetMetaDataReader, properties::WriterProperties},
};
use proptest::prelude::*;

use super::*;

/// Bounds of a file with these columns, in row groups of at most `rows` rows.
fn bounds_of(columns: Vec<(&str, ArrayRef)>, rows: usize, nan_free: &[&str]) -> Vec<ColumnBounds> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows)).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(bytes)).unwrap();
    let nan_free = nan_free.iter().map(|name| vec![(*name).to_owned()]).collect();
    from_footer(&metadata, &batch.schema(), &nan_free)
}

fn one(name: &str, column: ArrayRef, rows: usize) -> ColumnBounds {
    bounds_of(vec![(name, column)], rows, &[name]).pop().unwrap()
}

#[test]
fn bounds_span_all_row_groups_and_nulls_are_counted() {
    let column = Arc::new(Int32Array::from(vec![Some(5), None, Some(-3), Some(9), None, None]));
    let bounds = one("n", column, 2);
    assert_eq!((bounds.min, bounds.max), (Some(Scalar::Integer(-3)), Some(Scalar::Integer(9))));
    assert_eq!(bounds.null_count, Some(3));
}

#[test]
fn a_column_of_nulls_has_a_count_and_no_bounds() {
    let bounds = one("n", Arc::new(Int64Array::from(vec![None, None])), 1);
    assert_eq!((bounds.min, bounds.max, bounds.null_count), (None, None, Some(2)));
}

#[test]
fn every_simple_type_keeps_its_meaning() {
    let found = bounds_of(
        vec![
            ("b", Arc::new(BooleanArray::from(vec![true, false])) as ArrayRef),
            ("d", Arc::new(Date32Array::from(vec![17_836, -1]))),
            ("t", Arc::new(TimestampMicrosecondArray::from(vec![1, -1]).with_timezone("UTC"))),
            ("m", Arc::new(Decimal128Array::from(vec![-5, 700]).with_precision_and_scale(30, 2).unwrap())),
            ("s", Arc::new(Decimal128Array::from(vec![-5, 7]).with_precision_and_scale(9, 3).unwrap())),
            ("v", Arc::new(StringArray::from(vec!["é", "a"]))),
        ],
        10,
        &[],
    );
    let pairs: Vec<_> = found.into_iter().map(|column| (column.min.unwrap(), column.max.unwrap())).collect();
    assert_eq!(pairs[0], (Scalar::Boolean(false), Scalar::Boolean(true)));
    assert_eq!(pairs[1], (Scalar::Date(-1), Scalar::Date(17_836)));
    assert_eq!(pairs[2], (Scalar::Timestamp(-1), Scalar::Timestamp(1)));
    assert_eq!(pairs[3], (Scalar::Decimal(-5, 2), Scalar::Decimal(700, 2)));
    assert_eq!(pairs[4], (Scalar::Decimal(-5, 3), Scalar::Decimal(7, 3)));
    assert_eq!(pairs[5], (Scalar::Text("a".to_owned()), Scalar::Text("é".to_owned())));
}

#[test]
fn floats_have_bounds_only_where_the_writer_saw_no_nan() {
    let column = || Arc::new(Float64Array::from(vec![1.0, f64::NAN, 2.0])) as ArrayRef;
    let unknown = bounds_of(vec![("f", column())], 10, &[]).pop().unwrap();
    assert_eq!((unknown.min, unknown.max, unknown.null_count), (None, None, Some(0)));
    let known = bounds_of(vec![("f", Arc::new(Float64Array::from(vec![1.0, 2.0])))], 10, &["f"]).pop().unwrap();
    assert_eq!((known.min, known.max), (Some(Scalar::Double(1.0)), Some(Scalar::Double(2.0))));
}

#[test]
fn zero_bounds_take_in_both_zeros() {
    let bounds = one("f", Arc::new(Float64Array::from(vec![0.0, 0.0])), 10);
    let signs = |scalar| matches!(scalar, Some(Scalar::Double(value)) if f64::is_sign_negative(value));
    assert!(signs(bounds.min) && !signs(bounds.max));
}

#[test]
fn fields_of_structs_have_bounds_and_fields_of_lists_and_bytes_have_none() {
    let inner: ArrayRef = Arc::new(Int32Array::from(vec![4, 2]));
    let outer = StructArray::try_from(vec![("x", inner)]).unwrap();
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1)]), None]);
    let found = bounds_of(
        vec![
            ("s", Arc::new(outer) as ArrayRef),
            ("l", Arc::new(list)),
            ("y", Arc::new(BinaryArray::from(vec![b"a".as_slice(), b"b"]))),
        ],
        10,
        &[],
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path, ["s", "x"]);
    assert_eq!(found[0].min, Some(Scalar::Integer(2)));
}

#[test]
fn long_text_is_cut_outwards_at_characters() {
    let long = "é".repeat(500);
    let bounds = one("v", Arc::new(StringArray::from(vec![long.as_str()])), 10);
    let (Some(Scalar::Text(min)), Some(Scalar::Text(max))) = (bounds.min, bounds.max) else { panic!("no bounds") };
    assert!(min.as_str() <= long.as_str() && long.as_str() <= max.as_str());
    assert!(min.chars().count() <= TEXT_CHARS_MAX && max.chars().count() <= TEXT_CHARS_MAX);
}

#[test]
fn text_that_nothing_short_sorts_after_has_no_upper_bound() {
    let highest: String = std::iter::repeat_n(char::MAX, TEXT_CHARS_MAX + 1).collect();
    assert_eq!(cut_up(&highest), None);
    let almost: String = format!("a{highest}");
    assert_eq!(cut_up(&almost).as_deref(), Some("b"));
    assert_eq!(next_char('\u{D7FF}'), Some('\u{E000}'));
}

#[test]
fn only_the_first_columns_have_bounds() {
    let names: Vec<String> = (0..40).map(|number| format!("c{number}")).collect();
    let column: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let found = bounds_of(names.iter().map(|name| (name.as_str(), Arc::clone(&column))).collect(), 10, &[]);
    assert_eq!(found.len(), BOUND_COLUMNS_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_text_lies_within_its_bounds(texts in prop::collection::vec("\\PC{0,80}", 1..8)) {
        let bounds = one("v", Arc::new(StringArray::from(texts.clone())), 3);
        for text in &texts {
            if let Some(Scalar::Text(min)) = &bounds.min { prop_assert!(min <= text); }
            if let Some(Scalar::Text(max)) = &bounds.max { prop_assert!(max >= text); }
        }
        prop_assert!(bounds.min.is_some());
    }
}
