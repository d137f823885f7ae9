//! The hidden columns that every source offers beside its declared ones: where a row comes from.
//!
//! Data flow: a query names `_metadata.file_path` -> the compiler makes it the hidden column of that name -> **here** its
//! values are made, once a batch, for as many rows as came from each object.
//!
//! Invariant: the columns stand behind the declared ones, in one order; a scan that does not ask for them pays nothing.

use std::{ops::Range, sync::Arc};

use datafusion::arrow::{
    array::{ArrayRef, Int64Array, StringBuilder, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};

/// The names of the hidden columns begin so; no declared column's does.
const PREFIX: &str = "_metadata.";

/// A hidden column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metadatum {
    FilePath,
    FileSize,
    FileModificationTime,
    Line,
}

impl Metadatum {
    const ALL: [Self; 4] = [Self::FilePath, Self::FileSize, Self::FileModificationTime, Self::Line];

    fn name(self) -> &'static str {
        match self {
            Self::FilePath => "file_path",
            Self::FileSize => "file_size",
            Self::FileModificationTime => "file_modification_time",
            Self::Line => "line",
        }
    }

    fn field(self) -> Field {
        let data_type = match self {
            Self::FilePath => DataType::Utf8,
            Self::FileSize | Self::Line => DataType::Int64,
            Self::FileModificationTime => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        };
        Field::new(format!("{PREFIX}{}", self.name()), data_type, true)
    }
}

/// The columns of a source: those that are declared, and the hidden ones behind them.
#[must_use]
pub fn source_schema(declared: &SchemaRef) -> SchemaRef {
    let fields = declared.fields().iter().cloned();
    let hidden = Metadatum::ALL.map(|metadatum| Arc::new(metadatum.field()));
    Arc::new(Schema::new(fields.chain(hidden).collect::<Vec<_>>()))
}

/// The declared columns of a source's columns.
pub(super) fn declared(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().filter(|field| !field.name().starts_with(PREFIX)).cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The hidden column at a place of a source's columns.
pub(super) fn at(schema: &SchemaRef, index: usize) -> Option<Metadatum> {
    let name = schema.fields().get(index)?.name().strip_prefix(PREFIX)?;
    Metadatum::ALL.into_iter().find(|metadatum| metadatum.name() == name)
}

/// Whether a scan of these columns needs the lines of rows, which only a task that reads objects from their beginning
/// knows.
pub(crate) fn needs_lines(schema: &SchemaRef, projection: Option<&Vec<usize>>) -> bool {
    let is_line = |index: usize| at(schema, index) == Some(Metadatum::Line);
    match projection {
        Some(projection) => projection.iter().any(|index| is_line(*index)),
        None => (0..schema.fields().len()).any(is_line),
    }
}

/// What is told of a raw object.
#[derive(Debug)]
pub(super) struct ObjectFacts {
    /// Relative to the raw prefix.
    pub(super) key: String,
    pub(super) size_bytes: u64,
    pub(super) modified_us: i64,
}

/// Where the rows of a batch come from.
#[derive(Debug, Default)]
pub(super) struct Origins {
    objects: Vec<(Range<usize>, Arc<ObjectFacts>)>,
    pub(super) lines: Vec<i64>,
}

impl Origins {
    /// Notes that the rows up to `end` that have no origin come from an object.
    pub(super) fn add(&mut self, end: usize, facts: &Arc<ObjectFacts>) {
        let start = self.objects.last().map_or(0, |(rows, _)| rows.end);
        if end > start {
            self.objects.push((start..end, Arc::clone(facts)));
        }
    }

    /// A hidden column of the batch's rows.
    pub(super) fn column(&self, metadatum: Metadatum) -> ArrayRef {
        match metadatum {
            Metadatum::FilePath => {
                let mut paths = StringBuilder::new();
                for (rows, facts) in &self.objects {
                    rows.clone().for_each(|_| paths.append_value(&facts.key));
                }
                Arc::new(paths.finish())
            }
            Metadatum::FileSize => {
                let size = |facts: &ObjectFacts| i64::try_from(facts.size_bytes).unwrap_or(i64::MAX);
                Arc::new(Int64Array::from(self.repeated(size)))
            }
            Metadatum::FileModificationTime => {
                let times = TimestampMicrosecondArray::from(self.repeated(|facts| facts.modified_us));
                Arc::new(times.with_timezone("UTC"))
            }
            Metadatum::Line => Arc::new(Int64Array::from(self.lines.clone())),
        }
    }

    fn repeated(&self, value: impl Fn(&ObjectFacts) -> i64) -> Vec<i64> {
        self.objects.iter().flat_map(|(rows, facts)| std::iter::repeat_n(value(facts), rows.len())).collect()
    }
}
