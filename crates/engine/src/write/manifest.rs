//! The rows that the write node gives: one per DataFile and one per rule, so that they travel like any rows.
//!
//! Invariant: what one partition has counted comes with the files that it has written, or neither comes.

use std::{
    io::Cursor,
    sync::{Arc, LazyLock},
};

use datafusion::arrow::{
    array::{ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::DataFile;
use serde::{Deserialize, Serialize};

use super::{RuleReport, WriteOutput, judge::SAMPLE_ROWS_MAX};

/// A file of the table as JSON; a file of rows kept apart as JSON; the counts of a rule as JSON, and its rows as an Arrow
/// stream; the executor that has written the table's file. One of the first three is there.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("data_file", DataType::Utf8, true),
        Field::new("quarantined", DataType::Utf8, true),
        Field::new("rule", DataType::Utf8, true),
        Field::new("sample", DataType::Binary, true),
        Field::new("executor", DataType::Utf8, true),
    ]))
});

#[derive(Serialize, Deserialize)]
struct RuleRow {
    name: String,
    violations: u64,
}

/// The columns of the rows.
pub(super) fn manifest_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// The rows of what one partition has written and counted, on this executor if it is one.
pub(super) fn write_manifest(written: &WriteOutput, executor: Option<&str>) -> Result<RecordBatch> {
    let json = |file: &DataFile| serde_json::to_string(file).map(Some).map_err(unreadable);
    let (mut files, mut apart, mut rules, mut samples) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut executors = Vec::new();
    for file in &written.files {
        files.push(json(file)?);
        apart.push(None);
        rules.push(None);
        samples.push(None);
        executors.push(executor);
    }
    for file in &written.quarantined {
        files.push(None);
        apart.push(json(file)?);
        rules.push(None);
        samples.push(None);
    }
    for rule in &written.rules {
        files.push(None);
        apart.push(None);
        let row = RuleRow { name: rule.name.clone(), violations: rule.violations };
        rules.push(Some(serde_json::to_string(&row).map_err(unreadable)?));
        samples.push(write_sample(&rule.sample)?);
    }
    executors.resize(files.len(), None);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(files)),
        Arc::new(StringArray::from(apart)),
        Arc::new(StringArray::from(rules)),
        Arc::new(BinaryArray::from_iter(samples)),
        Arc::new(StringArray::from(executors)),
    ];
    RecordBatch::try_new(manifest_schema(), columns).map_err(unreadable)
}

fn write_sample(sample: &[RecordBatch]) -> Result<Option<Vec<u8>>> {
    let Some(first) = sample.first() else { return Ok(None) };
    let mut writer = StreamWriter::try_new(Vec::new(), &first.schema()).map_err(unreadable)?;
    for batch in sample {
        writer.write(batch).map_err(unreadable)?;
    }
    writer.into_inner().map(Some).map_err(unreadable)
}

/// Adds what the rows of one partition say to what is known of the others.
///
/// # Errors
/// - [`ErrorKind::Internal`]: the rows are not those of a write node.
pub fn read_manifest(batch: &RecordBatch, written: &mut WriteOutput) -> Result<()> {
    let other = || Error::new(ErrorKind::Internal, "the write node gave rows of another form");
    let text = |index: usize| batch.columns().get(index).and_then(|column| column.as_string_opt::<i32>());
    let (files, apart) = (text(0).ok_or_else(other)?, text(1).ok_or_else(other)?);
    let rules = text(2).ok_or_else(other)?;
    let samples = batch.columns().get(3).and_then(|column| column.as_binary_opt::<i32>()).ok_or_else(other)?;
    let executors = text(4).ok_or_else(other)?;
    for (file, executor) in files.iter().zip(executors) {
        let Some(file) = file else { continue };
        let file: DataFile = serde_json::from_str(file).map_err(unreadable)?;
        if let Some(executor) = executor {
            let share = written.shares.entry(executor.to_owned()).or_default();
            share.files += 1;
            share.rows += file.row_count;
            share.bytes += file.size_bytes;
        }
        written.files.push(file);
    }
    for file in apart.iter().flatten() {
        written.quarantined.push(serde_json::from_str(file).map_err(unreadable)?);
    }
    for (rule, sample) in rules.iter().zip(samples.iter()) {
        let Some(rule) = rule else { continue };
        let RuleRow { name, violations } = serde_json::from_str(rule).map_err(unreadable)?;
        let sample = sample.map(read_sample).transpose()?.unwrap_or_default();
        add_rule(&mut written.rules, RuleReport { name, violations, sample });
    }
    Ok(())
}

fn read_sample(bytes: &[u8]) -> Result<Vec<RecordBatch>> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(unreadable)?;
    reader.map(|batch| batch.map_err(unreadable)).collect()
}

/// Sums the counts of a rule; of the rows that were kept, the first ones stay.
fn add_rule(rules: &mut Vec<RuleReport>, report: RuleReport) {
    let Some(known) = rules.iter_mut().find(|known| known.name == report.name) else {
        rules.push(report);
        return;
    };
    known.violations += report.violations;
    let mut room = SAMPLE_ROWS_MAX.saturating_sub(known.sample.iter().map(RecordBatch::num_rows).sum());
    for batch in report.sample {
        let count = batch.num_rows().min(room);
        room -= count;
        if count > 0 {
            known.sample.push(batch.slice(0, count));
        }
    }
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "cannot describe a written file").with_source(error)
}
