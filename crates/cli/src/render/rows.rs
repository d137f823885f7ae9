//! The rows of a query as a table, CSV, JSON or NDJSON.
//!
//! Data flow: batches of a query -> **[`RowWriter`]** -> stdout. CSV, JSON and NDJSON are written as batches come; a
//! table holds the rows that it shows.
//!
//! Invariant: CSV, JSON and NDJSON give every value exactly; a table is for reading, and escapes control characters.

use std::io::{self, Write};

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    datatypes::{DataType, FieldRef, SchemaRef},
    error::ArrowError,
    json::{
        EncoderOptions, WriterBuilder,
        writer::{JsonArray, LineDelimited, NullableEncoder, make_encoder},
    },
    util::display::{ArrayFormatter, FormatOptions},
};
use futures::StreamExt;
use lakewright_engine::Rows;
use lakewright_error::{Error, ErrorKind, Result};

use super::{
    Output, Style,
    failure::failure_text,
    grid::{Align, Grid},
    number::counted,
    printable,
};
use crate::{
    args::RowFormat,
    exit::{Failure, Outcome},
};

/// How the rows of a table are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableLayout {
    /// Columns of the terminal.
    pub(crate) width: usize,
    /// Rows that are shown at most.
    pub(crate) rows_max: u64,
    /// Style of the header.
    pub(crate) style: Style,
}

/// Prints the rows of a query; gives how many came. With `rows_max` 0 a table shows all.
///
/// # Errors
/// Those of the query. Once something is printed, an error is told here: stdout can no longer hold one document.
pub(crate) async fn print_rows(mut rows: Rows, format: RowFormat, rows_max: u64, output: &Output) -> Outcome<u64> {
    let rows_max = if rows_max == 0 { u64::MAX } else { rows_max };
    let layout = TableLayout { width: output.width, rows_max, style: output.style };
    let mut batch = rows.batches.next().await.transpose().map_err(Failure::job)?;
    if format == RowFormat::Table && is_plan(&rows.schema) {
        return print_plan(batch.as_ref(), output);
    }
    let mut writer = RowWriter::begin(format, &rows.schema, layout, output.stdout())?;
    while let Some(current) = batch {
        if !writer.write(&current)? {
            break;
        }
        batch = match rows.batches.next().await.transpose() {
            Ok(next) => next,
            Err(error) => {
                let failure = Failure::job(error);
                output.complain(&failure_text(&failure, output));
                return Err(Failure::Told(failure.code()));
            }
        };
    }
    writer.end()
}

/// Whether these are the rows of EXPLAIN.
fn is_plan(schema: &SchemaRef) -> bool {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names == ["plan_type", "plan"]
}

/// A plan has lines of its own, which a table would escape.
fn print_plan(batch: Option<&RecordBatch>, output: &Output) -> Outcome<u64> {
    let Some(batch) = batch else { return Ok(0) };
    let cells = Cells::of(batch).map_err(unprintable)?;
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        let mut cells = cells.row(row)?.into_iter().map(Option::unwrap_or_default);
        let (name, plan) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        text.push_str(&format!("{}\n", output.style.bold(&name)));
        for line in plan.lines() {
            text.push_str(&format!("  {}\n", printable(line)));
        }
    }
    output.result(&text)?;
    Ok(batch.num_rows() as u64)
}

/// Writes the rows of one query.
pub(crate) struct RowWriter<W: Write> {
    form: Form<W>,
    rows: u64,
}

enum Form<W: Write> {
    Table { writer: W, layout: TableLayout, grid: Grid, more: bool },
    Csv { writer: W },
    Json(arrow::json::Writer<W, JsonArray>),
    Ndjson(arrow::json::Writer<W, LineDelimited>),
}

impl<W: Write> RowWriter<W> {
    /// Begins with what comes before the first row.
    pub(crate) fn begin(format: RowFormat, schema: &SchemaRef, layout: TableLayout, mut writer: W) -> Outcome<Self> {
        let json = || WriterBuilder::new().with_explicit_nulls(true);
        let form = match format {
            RowFormat::Table => {
                let header = |field: &FieldRef| (printable(field.name()), align(field.data_type()));
                let grid = Grid::new(schema.fields().iter().map(header));
                Form::Table { writer, layout, grid, more: false }
            }
            RowFormat::Csv => {
                let names: Vec<String> = schema.fields().iter().map(|field| csv_cell(Some(field.name()))).collect();
                writeln!(writer, "{}", names.join(","))?;
                Form::Csv { writer }
            }
            RowFormat::Json => Form::Json(json().build(writer)),
            RowFormat::Ndjson => Form::Ndjson(json().build(writer)),
        };
        Ok(Self { form, rows: 0 })
    }

    /// Writes a batch; gives whether more rows are wanted.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Outcome<bool> {
        self.rows += batch.num_rows() as u64;
        match &mut self.form {
            Form::Table { grid, layout, more, .. } => {
                let cells = Cells::of(batch).map_err(unprintable)?;
                for row in 0..batch.num_rows() {
                    if grid.len() as u64 >= layout.rows_max {
                        *more = true;
                        return Ok(false);
                    }
                    let cell = |text: Option<String>| text.map_or_else(|| "NULL".to_owned(), |text| printable(&text));
                    grid.push(cells.row(row)?.into_iter().map(cell).collect());
                }
            }
            Form::Csv { writer } => {
                let cells = Cells::of(batch).map_err(unprintable)?;
                for row in 0..batch.num_rows() {
                    let line: Vec<String> = cells.row(row)?.iter().map(|cell| csv_cell(cell.as_deref())).collect();
                    writeln!(writer, "{}", line.join(","))?;
                }
            }
            Form::Json(writer) => writer.write(batch).map_err(write_failure)?,
            Form::Ndjson(writer) => writer.write(batch).map_err(write_failure)?,
        }
        Ok(true)
    }

    /// Writes what comes after the last row; gives the number of rows that came.
    pub(crate) fn end(self) -> Outcome<u64> {
        match self.form {
            Form::Table { mut writer, layout, grid, more } => {
                let (text, dropped) = grid.render(layout.width, layout.style);
                writer.write_all(text.as_bytes())?;
                if more {
                    let shown = counted(layout.rows_max, "row");
                    writeln!(writer, "(the first {shown}; more with --rows, all with --format csv)")?;
                }
                if dropped > 0 {
                    let columns = counted(dropped as u64, "column");
                    writeln!(writer, "({columns} had no room; name fewer, or use --format csv)")?;
                }
                writer.flush()?;
            }
            Form::Csv { mut writer } => writer.flush()?,
            Form::Json(mut writer) => {
                writer.finish().map_err(write_failure)?;
                let mut writer = writer.into_inner();
                writer.write_all(b"\n")?;
                writer.flush()?;
            }
            Form::Ndjson(mut writer) => {
                writer.finish().map_err(write_failure)?;
                writer.into_inner().flush()?;
            }
        }
        Ok(self.rows)
    }
}

fn align(data_type: &DataType) -> Align {
    if data_type.is_numeric() { Align::Right } else { Align::Left }
}

/// One CSV field: quoted where it must be, and where an empty text would look like NULL.
fn csv_cell(text: Option<&str>) -> String {
    match text {
        None => String::new(),
        Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Some(text) => text.to_owned(),
    }
}

/// The values of a batch as text: scalars as SQL prints them, nested ones as JSON.
struct Cells<'a> {
    batch: &'a RecordBatch,
    columns: Vec<Option<ArrayFormatter<'a>>>,
}

impl<'a> Cells<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        const OPTIONS: FormatOptions<'static> = FormatOptions::new();
        let formatter = |column: &'a ArrayRef| {
            let scalar = !column.data_type().is_nested();
            scalar.then(|| ArrayFormatter::try_new(column.as_ref(), &OPTIONS)).transpose()
        };
        let columns = batch.columns().iter().map(formatter).collect::<Result<_, _>>()?;
        Ok(Self { batch, columns })
    }

    fn row(&self, row: usize) -> Result<Vec<Option<String>>> {
        let schema = self.batch.schema_ref();
        let cell = |((formatter, column), field): ((&Option<ArrayFormatter<'_>>, &ArrayRef), &FieldRef)| {
            if column.is_null(row) {
                return Ok(None);
            }
            let text = match formatter {
                Some(formatter) => formatter.value(row).try_to_string(),
                None => nested_text(field, column, row),
            };
            text.map(Some).map_err(unprintable)
        };
        self.columns.iter().zip(self.batch.columns()).zip(schema.fields()).map(cell).collect()
    }
}

fn nested_text(field: &FieldRef, column: &ArrayRef, row: usize) -> Result<String, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder: NullableEncoder<'_> = make_encoder(field, column.as_ref(), &options)?;
    let mut text = Vec::new();
    encoder.encode(row, &mut text);
    String::from_utf8(text).map_err(|error| ArrowError::JsonError(error.to_string()))
}

fn unprintable(source: ArrowError) -> Error {
    Error::new(ErrorKind::Unsupported, "a value of the result cannot be printed").with_source(source)
}

/// Arrow wraps the errors of the writer that it is given.
fn write_failure(error: ArrowError) -> Failure {
    match error {
        ArrowError::IoError(_, source) => Failure::from(source),
        ArrowError::ExternalError(source) => match source.downcast::<io::Error>() {
            Ok(source) => Failure::from(*source),
            Err(source) => Failure::from(unprintable(ArrowError::ExternalError(source))),
        },
        other => Failure::from(unprintable(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Float64Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray},
        datatypes::Int32Type,
    };

    use super::*;

    fn batch() -> RecordBatch {
        let text = StringArray::from(vec![Some("a,\"b\"\nc"), Some(""), None]);
        let number = Int64Array::from(vec![Some(1), None, Some(-300)]);
        let float = Float64Array::from(vec![0.1, f64::NAN, 1e30]);
        let time = TimestampMicrosecondArray::from(vec![1_541_106_106_796_000; 3]).with_timezone("UTC");
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
        RecordBatch::try_from_iter_with_nullable([
            ("text", Arc::new(text) as ArrayRef, true),
            ("a number", Arc::new(number), true),
            ("float", Arc::new(float), true),
            ("time", Arc::new(time), true),
            ("list", Arc::new(list), true),
        ])
        .unwrap()
    }

    fn printed(format: RowFormat, rows_max: u64, batches: &[RecordBatch]) -> String {
        let layout = TableLayout { width: 100, rows_max, style: Style::default() };
        let mut bytes = Vec::new();
        let mut writer = RowWriter::begin(format, &batch().schema(), layout, &mut bytes).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.end().unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn csv_quotes_what_must_be_and_tells_null_from_empty() {
        insta::assert_snapshot!(printed(RowFormat::Csv, 0, &[batch()]));
    }

    #[test]
    fn json_is_one_array_and_ndjson_one_object_a_line() {
        let json: serde_json::Value = serde_json::from_str(&printed(RowFormat::Json, 0, &[batch()])).unwrap();
        let lines = printed(RowFormat::Ndjson, 0, &[batch()]);
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(json.as_array().unwrap(), &lines);
        assert_eq!(lines.first().unwrap()["text"], "a,\"b\"\nc");
        assert!(lines.last().unwrap()["text"].is_null());
    }

    #[test]
    fn no_rows_are_an_empty_array_a_header_or_nothing() {
        assert_eq!(printed(RowFormat::Json, 0, &[]), "[]\n");
        assert_eq!(printed(RowFormat::Ndjson, 0, &[]), "");
        assert_eq!(printed(RowFormat::Csv, 0, &[]), "text,a number,float,time,list\n");
    }

    #[test]
    fn a_table_shows_the_first_rows_and_says_that_there_are_more() {
        insta::assert_snapshot!(printed(RowFormat::Table, 2, &[batch()]));
        assert!(!printed(RowFormat::Table, 3, &[batch()]).contains("more with"));
    }
}
