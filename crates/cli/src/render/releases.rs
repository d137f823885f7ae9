//! Releases and what differs between them, as text and as JSON.
//!
//! Data flow: values of the scheduler -> **text, documents** -> [`super::Output`]. Pure.

use arrow::{
    array::RecordBatch,
    json::{WriterBuilder, writer::JsonArray},
};
use lakewright_compiler::TableName;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::state::Release;
use lakewright_scheduler::{Change, ColumnChange, ReleaseRecord, RunSummary, TableChange, TableDiff};
use serde::Serialize;
use serde_json::Value;

use super::{
    Output, Style,
    grid::{
        Align::{Left, Right},
        Grid,
    },
    number::{bytes, count, counted, instant},
    printable,
    rows::{RowWriter, TableLayout},
};
use crate::{
    args::RowFormat,
    exit::{Failure, Outcome},
    sql::sql_type::sql_type,
};

/// `rewind`, `repair`, `drop`
#[derive(Debug, Serialize)]
pub(crate) struct MaintainDocument {
    job: String,
    run_id: String,
    sequence: u64,
    release: Option<u64>,
    changes: Vec<ChangeDocument>,
}

impl MaintainDocument {
    /// The document of a run without models that has ended well.
    pub(crate) fn new(summary: &RunSummary, job: &str, changes: &[TableChange]) -> Self {
        Self {
            job: job.to_owned(),
            run_id: summary.run_id.clone(),
            sequence: summary.sequence,
            release: summary.release,
            changes: changes.iter().map(ChangeDocument::new).collect(),
        }
    }
}

/// `optimize`, for one job
#[derive(Debug, Serialize)]
pub(crate) struct OptimizeDocument {
    job: String,
    run_id: String,
    sequence: u64,
    release: Option<u64>,
    tables: Vec<OptimizedDocument>,
}

#[derive(Debug, Serialize)]
struct OptimizedDocument {
    table: String,
    version: Option<u64>,
    files_before: u64,
    files: u64,
    bytes_before: u64,
    bytes: u64,
}

/// Files and bytes of a table in a release.
fn size_in(release: &Release, table: &TableName) -> (u64, u64) {
    release.tables.get(&table.to_string()).map_or((0, 0), |entry| (entry.files, entry.bytes))
}

impl OptimizeDocument {
    /// The document of a run that has put files together; `before` is the release that it started from.
    pub(crate) fn new(summary: &RunSummary, job: &str, changes: &[TableChange], before: &Release) -> Self {
        let table = |change: &TableChange| {
            let (files_before, bytes_before) = size_in(before, &change.table);
            OptimizedDocument {
                table: change.table.to_string(),
                version: change.version,
                files_before,
                files: change.files,
                bytes_before,
                bytes: change.bytes,
            }
        };
        Self {
            job: job.to_owned(),
            run_id: summary.run_id.clone(),
            sequence: summary.sequence,
            release: summary.release,
            tables: changes.iter().map(table).collect(),
        }
    }
}

/// Renders what a run has put together.
pub(crate) fn optimized_text(
    job: &str,
    summary: &RunSummary,
    changes: &[TableChange],
    before: &Release,
    output: &Output,
) -> String {
    let Some(release) = summary.release else {
        return format!("{job}: there is nothing to put together (run {})\n", summary.run_id);
    };
    let mut grid = Grid::new([("table", Left), ("files", Left), ("size", Left)]);
    for change in changes {
        let (files, size) = size_in(before, &change.table);
        grid.push(vec![
            change.table.to_string(),
            format!("{} -> {}", count(files), count(change.files)),
            format!("{} -> {}", bytes(size), bytes(change.bytes)),
        ]);
    }
    let published = output.style.green(&format!("published release {release}"));
    format!("{}{published} (run {})\n", grid.render(output.width, output.style).0, summary.run_id)
}

/// `tables --history`
#[derive(Debug, Serialize)]
pub(crate) struct HistoryDocument {
    lake: String,
    releases: Vec<ReleaseDocument>,
}

#[derive(Debug, Serialize)]
struct ReleaseDocument {
    release: u64,
    created: Option<String>,
    run_id: String,
    job: String,
    changes: Vec<ChangeDocument>,
}

#[derive(Debug, Serialize)]
struct ChangeDocument {
    table: String,
    change: Change,
    version: Option<u64>,
    rows_before: u64,
    rows: u64,
    files: u64,
    bytes: u64,
}

impl ChangeDocument {
    fn new(change: &TableChange) -> Self {
        Self {
            table: change.table.to_string(),
            change: change.change,
            version: change.version,
            rows_before: change.rows_before,
            rows: change.rows,
            files: change.files,
            bytes: change.bytes,
        }
    }
}

impl HistoryDocument {
    /// The document of releases, newest first.
    pub(crate) fn new(lake: String, releases: &[ReleaseRecord]) -> Self {
        let release = |release: &ReleaseRecord| ReleaseDocument {
            release: release.number,
            created: chrono::DateTime::from_timestamp_micros(release.created_us)
                .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)),
            run_id: release.run_id.clone(),
            job: release.job.clone(),
            changes: release.changes.iter().map(ChangeDocument::new).collect(),
        };
        Self { lake, releases: releases.iter().map(release).collect() }
    }
}

fn change_word(change: Change) -> &'static str {
    match change {
        Change::Created => "created",
        Change::Changed => "changed",
        Change::Dropped => "dropped",
    }
}

/// Renders releases, newest first: one line for each table that changed.
pub(crate) fn history_text(releases: &[ReleaseRecord], width: usize, style: Style) -> String {
    let mut grid = Grid::new([
        ("release", Right),
        ("made", Left),
        ("table", Left),
        ("change", Left),
        ("rows", Right),
        ("files", Right),
        ("size", Right),
        ("job", Left),
        ("run", Left),
    ]);
    for release in releases {
        let head = [release.number.to_string(), instant(release.created_us)];
        let tail = [release.job.clone(), release.run_id.clone()];
        let mut rows: Vec<[String; 5]> = release.changes.iter().map(change_cells).collect();
        if rows.is_empty() {
            rows.push(["", "nothing that a reader sees", "", "", ""].map(str::to_owned));
        }
        for cells in rows {
            grid.push(head.iter().cloned().chain(cells).chain(tail.iter().cloned()).collect());
        }
    }
    grid.render(width, style).0
}

/// Renders what becomes of tables.
pub(crate) fn changes_text(changes: &[TableChange], width: usize, style: Style) -> String {
    let mut grid = Grid::new([("table", Left), ("change", Left), ("rows", Right), ("files", Right), ("size", Right)]);
    for change in changes {
        grid.push(change_cells(change).to_vec());
    }
    grid.render(width, style).0
}

fn change_cells(change: &TableChange) -> [String; 5] {
    let stored = change.version.is_some();
    let or_nothing = |text: String| if stored { text } else { String::new() };
    let rows = match change.change {
        Change::Changed if change.rows != change.rows_before => {
            format!("{} -> {}", count(change.rows_before), count(change.rows))
        }
        _ => count(change.rows),
    };
    [
        change.table.to_string(),
        change_word(change.change).to_owned(),
        or_nothing(rows),
        or_nothing(count(change.files)),
        or_nothing(bytes(change.bytes)),
    ]
}

/// `diff`
#[derive(Debug, Serialize)]
pub(crate) struct DiffDocument {
    before: u64,
    after: u64,
    tables: Vec<TableDiffDocument>,
}

#[derive(Debug, Serialize)]
struct TableDiffDocument {
    table: String,
    kind: &'static str,
    version_before: Option<u64>,
    version_after: Option<u64>,
    rows_before: u64,
    rows_after: u64,
    added: u64,
    removed: u64,
    changed: u64,
    columns: Vec<ColumnDocument>,
    sample: Value,
}

#[derive(Debug, Serialize)]
struct ColumnDocument {
    column: String,
    before: Option<String>,
    after: Option<String>,
}

impl DiffDocument {
    /// The document of what differs between two releases.
    ///
    /// # Errors
    /// - [`ErrorKind::Unsupported`]: a value has no JSON form.
    pub(crate) fn new(before: u64, after: u64, diffs: &[TableDiff]) -> Result<Self> {
        let column = |change: &ColumnChange| ColumnDocument {
            column: change.column.clone(),
            before: change.before.as_ref().map(sql_type),
            after: change.after.as_ref().map(sql_type),
        };
        let table = |diff: &TableDiff| {
            Ok(TableDiffDocument {
                table: diff.table.to_string(),
                kind: if diff.is_view { "view" } else { "table" },
                version_before: diff.version_before,
                version_after: diff.version_after,
                rows_before: diff.rows_before,
                rows_after: diff.rows_after,
                added: diff.added,
                removed: diff.removed,
                changed: diff.changed,
                columns: diff.columns.iter().map(column).collect(),
                sample: rows_value(&diff.sample)?,
            })
        };
        Ok(Self { before, after, tables: diffs.iter().map(table).collect::<Result<_>>()? })
    }
}

/// Rows as JSON objects.
fn rows_value(batches: &[RecordBatch]) -> Result<Value> {
    let unsupported = || Error::new(ErrorKind::Unsupported, "a value of the sample has no JSON form");
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    for batch in batches {
        writer.write(batch).map_err(|source| unsupported().with_source(source))?;
    }
    writer.finish().map_err(|source| unsupported().with_source(source))?;
    let bytes = writer.into_inner();
    if bytes.is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_slice(&bytes).map_err(|source| unsupported().with_source(source))
}

/// Renders what differs between two releases.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: a value cannot be printed.
pub(crate) fn diff_text(before: u64, after: u64, diffs: &[TableDiff], output: &Output) -> Outcome<String> {
    if diffs.is_empty() {
        return Ok(format!("releases {before} and {after} hold the same tables\n"));
    }
    let mut grid = Grid::new([
        ("table", Left),
        ("version", Left),
        ("rows", Left),
        ("added", Right),
        ("removed", Right),
        ("changed", Right),
        ("columns", Left),
    ]);
    for diff in diffs {
        grid.push(diff_cells(diff));
    }
    let mut text = grid.render(output.width, output.style).0;
    for diff in diffs.iter().filter(|diff| !diff.sample.is_empty()) {
        text.push_str(&format!("\n{}\n", output.style.bold(&diff.table.to_string())));
        text.push_str(&sample_text(diff, output)?);
    }
    Ok(text)
}

fn diff_cells(diff: &TableDiff) -> Vec<String> {
    let version = |version: Option<u64>| version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    if diff.is_view {
        let what = "the view's definition".to_owned();
        return vec![
            diff.table.to_string(),
            what,
            String::new(),
            String::new(),
            String::new(),
            String::new(),
            columns(diff),
        ];
    }
    vec![
        diff.table.to_string(),
        format!("{} -> {}", version(diff.version_before), version(diff.version_after)),
        format!("{} -> {}", count(diff.rows_before), count(diff.rows_after)),
        count(diff.added),
        count(diff.removed),
        count(diff.changed),
        columns(diff),
    ]
}

fn columns(diff: &TableDiff) -> String {
    let change = |change: &ColumnChange| {
        let name = printable(&change.column);
        match (&change.before, &change.after) {
            (None, Some(after)) => format!("+{name} {}", sql_type(after)),
            (Some(before), None) => format!("-{name} {}", sql_type(before)),
            (Some(before), Some(after)) => format!("{name} {} -> {}", sql_type(before), sql_type(after)),
            (None, None) => name,
        }
    };
    diff.columns.iter().map(change).collect::<Vec<_>>().join(", ")
}

fn sample_text(diff: &TableDiff, output: &Output) -> Outcome<String> {
    let Some(first) = diff.sample.first() else { return Ok(String::new()) };
    let layout = TableLayout { width: output.width, rows_max: u64::MAX, style: output.style };
    let mut bytes = Vec::new();
    let mut writer = RowWriter::begin(RowFormat::Table, &first.schema(), layout, &mut bytes)?;
    for batch in &diff.sample {
        writer.write(batch)?;
    }
    let shown = writer.end()?;
    let mut text = String::from_utf8(bytes)
        .map_err(|source| Failure::job(Error::new(ErrorKind::Internal, "a row is not text").with_source(source)))?;
    let all = diff.added + diff.removed + 2 * diff.changed;
    if shown < all {
        text.push_str(&format!("(the first {} of {}; more with --rows)\n", counted(shown, "row"), count(all)));
    }
    Ok(text)
}
