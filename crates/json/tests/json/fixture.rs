//! Decoding in one call, and looking at what came of it.

use std::sync::Arc;

use arrow::{
    array::{Array, RecordBatch},
    compute::concat_batches,
    datatypes::{DataType, Field, Schema, SchemaRef},
    util::display::array_value_to_string,
};
use lakewright_json::{Decoder, Fault, Layout, OnMisfit, Options, Report, Stop};

/// What came of a text.
#[derive(Debug, PartialEq)]
pub(crate) struct Decoded {
    pub(crate) batch: RecordBatch,
    pub(crate) faults: Vec<Fault>,
    pub(crate) report: Report,
}

pub(crate) fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A schema of one column `a`.
pub(crate) fn column(data_type: DataType) -> SchemaRef {
    schema(&[("a", data_type)])
}

pub(crate) fn list(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", element, true)))
}

pub(crate) fn map(value: DataType) -> DataType {
    let entries = vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)), false)
}

pub(crate) fn strict() -> Options {
    Options { misfit: OnMisfit::Fault, ..Options::default() }
}

pub(crate) fn all(schema: &SchemaRef) -> Vec<usize> {
    (0..schema.fields().len()).collect()
}

/// Decodes a text whole, with all columns.
pub(crate) fn decode(schema: &SchemaRef, options: Options, text: impl AsRef<[u8]>) -> Decoded {
    decode_chunks(schema, options, &[text.as_ref()])
}

/// Decodes an object that comes in chunks.
pub(crate) fn decode_chunks(schema: &SchemaRef, options: Options, chunks: &[&[u8]]) -> Decoded {
    decode_layout(schema, options, Layout::Lines, chunks)
}

/// Decodes an object of a layout that comes in chunks.
pub(crate) fn decode_layout(schema: &SchemaRef, options: Options, layout: Layout, chunks: &[&[u8]]) -> Decoded {
    let mut decoder = Decoder::new(schema, &all(schema), options).unwrap();
    let (mut batches, mut faults) = (Vec::new(), Vec::new());
    decoder.begin_whole(layout);
    for chunk in chunks {
        let mut rest = *chunk;
        loop {
            let step = decoder.decode(rest);
            rest = &rest[step.taken..];
            match step.stop {
                Stop::Taken => break,
                Stop::BatchFull => batches.extend(decoder.take_batch().unwrap()),
                Stop::Faults => faults.extend(decoder.take_faults()),
            }
        }
        assert!(rest.is_empty());
    }
    decoder.end();
    finish(decoder, batches, faults)
}

/// Decodes a text that is one value.
pub(crate) fn decode_whole(schema: &SchemaRef, options: Options, text: impl AsRef<[u8]>) -> Decoded {
    let layout = Layout::of_value(text.as_ref(), true).unwrap();
    decode_layout(schema, options, layout, &[text.as_ref()])
}

fn finish(mut decoder: Decoder, mut batches: Vec<RecordBatch>, mut faults: Vec<Fault>) -> Decoded {
    faults.extend(decoder.take_faults());
    batches.extend(decoder.take_batch().unwrap());
    for batch in &batches {
        for array in batch.columns() {
            array.to_data().validate_full().unwrap();
        }
    }
    let batch = concat_batches(decoder.schema(), &batches).unwrap();
    Decoded { batch, faults, report: decoder.take_report() }
}

impl Decoded {
    /// The values of a column as text; NULL is `None`.
    pub(crate) fn texts(&self, column: &str) -> Vec<Option<String>> {
        let array = self.batch.column_by_name(column).unwrap();
        (0..array.len()).map(|row| array.is_valid(row).then(|| array_value_to_string(array, row).unwrap())).collect()
    }

    pub(crate) fn codes(&self) -> Vec<&'static str> {
        self.faults.iter().map(|fault| fault.reason.code()).collect()
    }
}

/// A column's expected texts.
pub(crate) fn told(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| (*value != "NULL").then(|| (*value).to_owned())).collect()
}
