//! Runs unit tests of models: their inputs through the real reader, the model's query through the real engine.
//!
//! Data flow: a [`UnitTest`] -> rows of its inputs, read as JSON lines -> the model's SQL -> [`mod@compare`] -> [`Outcome`].
//!
//! Invariant: no lake and no raw prefix is touched; what a test reads is in the test and below `tests/`.

pub(crate) mod compare;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use lakewright_compiler::{
    Job, Model, Param, ParamType, ParamValue, ROW_ALIAS, Source, SourceMultiLine, TableName, TestRow, TestRows,
    UnitTest,
};
use lakewright_engine::{
    Compression, Engine, MultiLine, RawScan, ReadMode, Reading, Relation, register_relation, register_rows,
    source_schema,
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{Prefix, disk_error, list_raw_objects};
use lakewright_scheduler::raw_scan;
use tempfile::TempDir;

use self::compare::{Difference, ExpectedRow, cells, compare};
use crate::sql::param_values;

/// Largest file of an input.
const FIXTURE_BYTES_MAX: u64 = 64 << 20;

/// What came of one test.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) duration: Duration,
}

/// How a test ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The model made the rows that were expected.
    Passed,
    /// It made others.
    Differs(Vec<Difference>),
    /// Its query failed.
    Failed(Error),
    /// The test itself is wrong: an input cannot be read.
    Wrong(Error),
}

/// What tests run in.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) job: &'a Job,
    /// The job's folder.
    pub(crate) folder: &'a Path,
    /// Where inputs are put for the reader.
    scratch: TempDir,
}

impl<'a> Runner<'a> {
    /// Makes a place for inputs.
    ///
    /// # Errors
    /// - [`ErrorKind::Exhausted`], [`ErrorKind::Denied`]: no directory can be made.
    pub(crate) fn new(engine: &'a Engine, job: &'a Job, folder: &'a Path) -> Result<Self> {
        let scratch = TempDir::with_prefix("lakewright-tests-").map_err(|error| {
            disk_error(error, "cannot make a directory for the inputs of tests", "temporary directory")
        })?;
        Ok(Self { engine, job, folder, scratch })
    }

    /// Runs one test.
    pub(crate) async fn run(&self, test: &UnitTest) -> Outcome {
        let begun = Instant::now();
        let verdict = match self.rows(test).await {
            Ok(Ok((model, expected, actual))) => judge(test, model, &expected, &actual),
            Ok(Err(failed)) => Verdict::Failed(failed),
            Err(wrong) => Verdict::Wrong(wrong),
        };
        Outcome { verdict, duration: begun.elapsed() }
    }

    /// The model, the rows that are expected, and those that the model made; the inner error is the model's.
    async fn rows(&self, test: &UnitTest) -> Result<Result<(&Model, Vec<RecordBatch>, Vec<RecordBatch>)>> {
        let model = self.job.models.iter().find(|model| model.name == test.model).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "a test is of a model that the job does not have")
                .with("model", &test.model)
        })?;
        let mut inputs = BTreeMap::new();
        for (table, rows) in &test.inputs {
            let (schema, source) = self.table(table)?;
            let batches = match rows {
                TestRows::Rows(rows) => self.written_rows(test, table, &schema, source, rows).await?,
                TestRows::File { path, line } => self.fixture(test, (path, *line), &schema, source).await?,
            };
            inputs.insert(table.clone(), (schema, batches));
        }
        let expected = self.written_rows(test, &model.name, &model.schema, None, &test.expect.rows).await?;
        Ok(self.evaluate(test, model, inputs).await.map(|actual| (model, expected, actual)))
    }

    fn table(&self, name: &TableName) -> Result<(SchemaRef, Option<&Source>)> {
        if let Some(source) = self.job.sources.get(name) {
            // A source has columns that its models may name, and that stand in no declaration.
            return Ok((source_schema(&source.schema), Some(source)));
        }
        let model = self.job.models.iter().find(|model| model.name == *name);
        model.map(|model| (Arc::clone(&model.schema), None)).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "a test has an input that the job does not have").with("table", name)
        })
    }

    /// Rows that stand in the test, as the reader of raw JSON reads them.
    async fn written_rows(
        &self,
        test: &UnitTest,
        table: &TableName,
        schema: &SchemaRef,
        source: Option<&Source>,
        rows: &[TestRow],
    ) -> Result<Vec<RecordBatch>> {
        let mut text = String::new();
        rows.iter().for_each(|row| {
            text.push_str(&row.json);
            text.push('\n');
        });
        let read = self.read(text.as_bytes(), ("rows.json", MultiLine::False), schema, source).await;
        read.map_err(|error| {
            let line = error.context().iter().find(|(key, _)| *key == "line").and_then(|(_, line)| line.parse().ok());
            let row = line.and_then(|line: usize| rows.get(line.checked_sub(1)?));
            let place = row.map_or(test.line, |row| row.line);
            Error::new(ErrorKind::Invalid, format!("a row of {table} does not fit its columns"))
                .with("file", format!("{}:{place}", test.file))
                .with_source(error)
        })
    }

    /// Rows of a file below `tests/`.
    async fn fixture(
        &self,
        test: &UnitTest,
        (path, line): (&str, usize),
        schema: &SchemaRef,
        source: Option<&Source>,
    ) -> Result<Vec<RecordBatch>> {
        let wrong = |message: &str| {
            Error::new(ErrorKind::Invalid, message).with("file", format!("{}:{line}", test.file)).with("input", path)
        };
        let file = self.folder.join(path);
        let size =
            fs::metadata(&file).map_err(|error| wrong("an input's file cannot be read").with_source(error))?.len();
        if size > FIXTURE_BYTES_MAX {
            return Err(wrong("an input's file is too large").with("bytes", size).with("limit", FIXTURE_BYTES_MAX));
        }
        let bytes = fs::read(&file).map_err(|error| wrong("an input's file cannot be read").with_source(error))?;
        // How it is compressed is told by its suffix.
        let suffix = [".gz", ".gzip", ".zst", ".zstd"].into_iter().find(|suffix| path.ends_with(suffix));
        let name = format!("rows.json{}", suffix.unwrap_or_default());
        let multi_line = source.map_or(MultiLine::Auto, |source| match source.options.multi_line {
            SourceMultiLine::Auto => MultiLine::Auto,
            SourceMultiLine::True => MultiLine::True,
            SourceMultiLine::False => MultiLine::False,
        });
        let read = self.read(&bytes, (&name, multi_line), schema, source).await;
        read.map_err(|error| wrong("an input's rows do not fit its columns").with_source(error))
    }

    /// Reads JSON lines with the reader of raw objects: a source's rows as its options say, those of a table strictly.
    async fn read(
        &self,
        bytes: &[u8],
        (name, multi_line): (&str, MultiLine),
        schema: &SchemaRef,
        source: Option<&Source>,
    ) -> Result<Vec<RecordBatch>> {
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let full = |error| disk_error(error, "cannot write an input of a test", name);
        let folder = TempDir::new_in(self.scratch.path()).map_err(full)?;
        fs::write(folder.path().join(name), bytes).map_err(full)?;
        let raw = Prefix::open(&folder.path().display().to_string())?;
        self.engine.register_store(&raw);
        let objects = list_raw_objects(&raw, name).await?;
        let mut scan = match source {
            Some(source) => raw_scan(source, &raw, objects),
            None => RawScan {
                raw,
                schema: Arc::clone(schema),
                compression: Compression::Auto,
                reading: Reading { mode: ReadMode::FailFast, ..Reading::default() },
                reports: None,
                objects,
            },
        };
        scan.reading.multi_line = multi_line;
        let session = self.engine.session();
        register_relation(&session, "raw", "rows", Relation::Raw(scan)).await?;
        let columns: Vec<String> =
            schema.fields().iter().map(|field| format!("\"{}\"", field.name().replace('"', "\"\""))).collect();
        let sql = format!("SELECT {} FROM \"raw\".\"rows\"", columns.join(", "));
        let rows = self.engine.query(&session, &sql, &BTreeMap::new()).await?;
        rows.batches.try_collect().await
    }

    /// The rows that the model makes of its inputs, without those that its checks take out.
    async fn evaluate(
        &self,
        test: &UnitTest,
        model: &Model,
        inputs: BTreeMap<TableName, (SchemaRef, Vec<RecordBatch>)>,
    ) -> Result<Vec<RecordBatch>> {
        let session = self.engine.session();
        for (table, (schema, rows)) in inputs {
            register_rows(&session, (table.zone(), table.table()), schema, rows)?;
        }
        let params = self.params(test, model);
        let made = self.engine.query_as(&session, &model.query.sql, &params, &model.schema).await?;
        let made: Vec<RecordBatch> = made.batches.try_collect().await?;
        let kept: Vec<String> =
            model.checks.taking_out().map(|check| format!("({}) IS TRUE", check.condition)).collect();
        if kept.is_empty() {
            return Ok(made);
        }
        let schema = made.first().map_or_else(|| Arc::clone(&model.schema), RecordBatch::schema);
        let session = self.engine.session();
        register_rows(&session, (model.name.zone(), model.name.table()), schema, made)?;
        let (zone, table) = (model.name.zone(), model.name.table());
        let sql = format!("SELECT * FROM \"{zone}\".\"{table}\" AS \"{ROW_ALIAS}\" WHERE {}", kept.join(" AND "));
        self.engine.query(&session, &sql, &params).await?.batches.try_collect().await
    }

    /// The values of the parameters that the model uses: those of the test, else the job's.
    fn params(&self, test: &UnitTest, model: &Model) -> BTreeMap<String, ScalarValue> {
        let mut declared = self.job.params.clone();
        for (name, value) in &test.params {
            let param_type = declared.get(name).map_or(ParamType::Varchar, |param| param.param_type);
            declared.insert(name.clone(), Param { param_type, value: value.clone() });
        }
        let now_us = match test.params.get("execution_ts") {
            Some(ParamValue::Timestamp(now_us)) => *now_us,
            _ => 0,
        };
        let mut params = param_values(&declared, &model.row_params(), now_us);
        if let (Some(value), Some(ParamValue::Varchar(run_id))) = (params.get_mut("run_id"), test.params.get("run_id"))
        {
            *value = ScalarValue::Utf8(Some(run_id.clone()));
        }
        params
    }
}

fn judge(test: &UnitTest, model: &Model, expected: &[RecordBatch], actual: &[RecordBatch]) -> Verdict {
    let both = cells(expected).and_then(|expected| Ok((expected, cells(actual)?)));
    let (expected, actual) = match both {
        Ok(both) => both,
        Err(error) => {
            let error = Error::new(ErrorKind::Internal, "a value cannot be shown").with_source(error);
            return Verdict::Failed(error);
        }
    };
    let columns: Vec<String> = model.schema.fields().iter().map(|field| field.name().clone()).collect();
    let rows = expected.into_iter().zip(&test.expect.rows).map(|(cells, row)| {
        let is_compared = |(_, column): &(usize, &String)| !test.expect.partial || row.columns.contains(*column);
        let compared = columns.iter().enumerate().filter(is_compared).map(|(index, _)| index).collect();
        ExpectedRow { cells, compared, line: row.line }
    });
    let differences = compare(&columns, &rows.collect::<Vec<_>>(), &actual, test.expect.ordered);
    if differences.is_empty() { Verdict::Passed } else { Verdict::Differs(differences) }
}
