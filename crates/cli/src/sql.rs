//! Ad-hoc queries over the newest release, and over the raw objects of a job.
//!
//! Data flow: text -> [`statement`] -> the compiler resolves names -> the engine gives rows -> [`crate::render::rows`].
//!
//! Invariant: nothing here writes; a query sees all tables of one release, however long it takes.

pub(crate) mod complete;
pub(crate) mod shell;
pub(crate) mod sql_type;
pub(crate) mod statement;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use arrow::{
    array::{RecordBatch, StringArray, UInt64Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::{common::ScalarValue, prelude::SessionContext};
use futures::StreamExt;
use lakewright_compiler::{Diagnostics, Param, ParamType, ParamValue, Query, Source, TableName, compile_query};
use lakewright_engine::{Engine, Relation, Rows, register_relation, register_rows};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{Prefix, list_raw_objects};
use lakewright_scheduler::{AsOf, LakeCatalog, failing_rows, raw_scan, read_run};

use self::statement::Request;
use crate::{
    exit::{Failure, Findings, Outcome},
    place::Place,
    render::checks::FAILING_ZONE,
    suggest,
};

/// The parameter that stands for the time of the query.
const EXECUTION_TS: &str = "execution_ts";
/// The parameter that stands for the run, which an ad-hoc query is not part of.
const RUN_ID: &str = "run_id";

/// The built-in parameters of a time range.
const START_TS: &str = "start_ts";
const END_TS: &str = "end_ts";

/// 0001-01-01T00:00:00Z, in microseconds since 1970-01-01T00:00:00Z.
const BEGINNING_US: i64 = -62_135_596_800_000_000;

/// Answers queries.
#[derive(Debug)]
pub(crate) struct Reader {
    engine: Engine,
    lake: Prefix,
    /// The release that was asked for; the newest if none was.
    as_of: Option<AsOf>,
    catalog: LakeCatalog,
    sources: BTreeMap<TableName, Source>,
    raw: Option<Prefix>,
    /// Rows that violate checks of a run, by the names that queries call them by.
    failing: BTreeMap<TableName, Vec<RecordBatch>>,
    params: BTreeMap<String, Param>,
    /// What `now()` gives, in microseconds since 1970.
    now_us: i64,
}

/// A text with the name under which findings point into it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedText<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

impl Reader {
    /// Opens a release, the newest if none is asked for, and the job's sources if the place has a job that compiles.
    ///
    /// # Errors
    /// - Those of [`LakeCatalog::open`], but for a lake that is not there: it has no tables.
    /// - What the job's files have wrong, if parameters were given.
    pub(crate) async fn open(
        place: &Place,
        params: &[(String, String)],
        as_of: Option<AsOf>,
        now_us: i64,
    ) -> Outcome<Self> {
        let lake = place.lake()?;
        let engine = place.engine()?;
        engine.register_store(&lake);
        let catalog = open_catalog_at(&lake, as_of).await?;
        let (sources, failing, params_declared) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut reader =
            Self { engine, lake, as_of, catalog, sources, raw: None, failing, params: params_declared, now_us };
        if place.job.is_some() {
            match place.compile(&reader.engine, params) {
                Ok(compiled) => {
                    reader.sources = compiled.job.sources;
                    reader.params = compiled.job.params;
                }
                Err(failure) if !params.is_empty() => return Err(failure),
                Err(_) => place
                    .output
                    .note("note: the job does not compile, so its raw tables are left out (see `lakewright check`)"),
            }
        } else if let Some((name, _)) = params.first() {
            return Err(Error::new(ErrorKind::Invalid, format!("there is no parameter {name}: no job is named"))
                .with_hint("name the job that declares it with --job")
                .into());
        }
        if !reader.sources.is_empty()
            && let Ok(location) = place.raw_location()
        {
            let raw = Prefix::open(&location)?;
            reader.engine.register_store(&raw);
            reader.raw = Some(raw);
        }
        Ok(reader)
    }

    /// Adds the rows that violate checks of a run.
    ///
    /// # Errors
    /// Those of [`read_run`] and [`failing_rows`].
    pub(crate) async fn with_failing_rows(mut self, run: &str) -> Outcome<Self> {
        let run_id = read_run(&self.lake, run).await?.run_id;
        for check in failing_rows(&self.lake, &run_id).await? {
            if let Some(name) = TableName::new(FAILING_ZONE, &check.table_name()) {
                self.failing.insert(name, check.rows);
            }
        }
        Ok(self)
    }

    /// Reads the release that was asked for again: the newest may be another one now.
    ///
    /// # Errors
    /// Those of [`LakeCatalog::open`].
    pub(crate) async fn reload(&mut self) -> Outcome {
        self.go_to(self.as_of).await
    }

    /// Reads another release from here on, the newest if `as_of` is `None`. An error leaves everything as it was.
    ///
    /// # Errors
    /// Those of [`LakeCatalog::open_at`].
    pub(crate) async fn go_to(&mut self, as_of: Option<AsOf>) -> Outcome {
        self.catalog = open_catalog_at(&self.lake, as_of).await?;
        self.as_of = as_of;
        Ok(())
    }

    /// The release that is read.
    pub(crate) fn release(&self) -> Option<u64> {
        self.catalog.release
    }

    /// The columns of every table that can be read.
    pub(crate) fn schemas(&self) -> BTreeMap<TableName, SchemaRef> {
        let sources = self.sources.values().filter(|_| self.raw.is_some());
        let sources = sources.map(|source| (source.name.clone(), Arc::clone(&source.schema)));
        let tables = self.catalog.tables.iter().map(|table| (table.name.clone(), Arc::clone(&table.schema)));
        let failing = self.failing.iter().filter_map(|(name, rows)| Some((name.clone(), rows.first()?.schema())));
        sources.chain(tables).chain(failing).collect()
    }

    /// What the shell can offer.
    pub(crate) fn words(&self) -> complete::Words {
        let functions = self.engine.functions();
        complete::Words::new(&self.schemas(), functions.udfs().into_iter().chain(functions.udafs()))
    }

    /// Answers one statement of a text.
    ///
    /// # Errors
    /// What the statement has wrong, with its place; else those of reading tables and raw objects.
    pub(crate) async fn answer(&self, text: NamedText<'_>, range: &Range<usize>) -> Outcome<Rows> {
        match statement::classify(text.text, range) {
            Request::Query => {
                let query = self.compile(text, range)?;
                self.rows(&query, &query.sql).await
            }
            Request::Explain { how, query } => {
                let query = self.compile(text, &query)?;
                self.rows(&query, &format!("EXPLAIN {how} {}", query.sql)).await
            }
            Request::Describe(subject) => self.describe(text, &subject),
            Request::ShowTables => self.list_tables(),
            Request::Refused(why) => Err(Error::new(ErrorKind::Invalid, why)
                .with_hint("write a SELECT; a table is a file of a job's zone, which `lakewright run` publishes")
                .into()),
        }
    }

    fn compile(&self, text: NamedText<'_>, range: &Range<usize>) -> Outcome<Query> {
        let mut types: BTreeMap<String, ParamType> =
            self.params.iter().map(|(name, param)| (name.clone(), param.param_type)).collect();
        types.insert(EXECUTION_TS.to_owned(), ParamType::Timestamp);
        types.insert(RUN_ID.to_owned(), ParamType::Varchar);
        let isolated = statement::isolate(text.text, range);
        let schemas = self.schemas();
        compile_query(&isolated, &schemas, self.engine.functions().as_ref(), &types)
            .map_err(|diagnostics| self.explain_findings(text, diagnostics))
    }

    /// Points findings into the text as the user has it; without any release an unknown table needs another word.
    fn explain_findings(&self, text: NamedText<'_>, diagnostics: Diagnostics) -> Failure {
        let unknown_table = diagnostics.0.iter().find(|diagnostic| diagnostic.code == "unknown_table");
        if let (None, Some(unknown)) = (self.catalog.release, unknown_table) {
            let name = text.text.get(unknown.span.clone()).unwrap_or_default();
            return nothing_published(&self.lake).with("table", name).into();
        }
        let file = (text.name.to_owned(), text.text.to_owned());
        let files = diagnostics.0.iter().map(|diagnostic| (diagnostic.file.clone(), file.clone())).collect();
        Findings { diagnostics: diagnostics.0, files }.into()
    }

    async fn rows(&self, query: &Query, sql: &str) -> Outcome<Rows> {
        let session = self.engine.session();
        let is_table = |name: &TableName| !self.sources.contains_key(name);
        let (tables, sources): (Vec<TableName>, Vec<TableName>) =
            query.reads.iter().filter(|name| !self.failing.contains_key(*name)).cloned().partition(is_table);
        for name in &query.reads {
            self.register_failing(&session, name)?;
        }
        self.catalog.register(&session, &tables).await?;
        for name in &sources {
            self.register_source(&session, name).await.map_err(Failure::job)?;
        }
        let params = self.param_values(&query.params);
        self.engine.query(&session, sql, &params).await.map_err(Failure::job)
    }

    fn register_failing(&self, session: &SessionContext, name: &TableName) -> Result<()> {
        let Some((rows, first)) = self.failing.get(name).and_then(|rows| Some((rows, rows.first()?))) else {
            return Ok(());
        };
        register_rows(session, (name.zone(), name.table()), first.schema(), rows.clone())
    }

    async fn register_source(&self, session: &SessionContext, name: &TableName) -> Result<()> {
        let (Some(source), Some(raw)) = (self.sources.get(name), &self.raw) else {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no source {name}")));
        };
        let relation = raw_relation(source, raw).await?;
        register_relation(session, name.zone(), name.table(), relation).await
    }

    fn param_values(&self, used: &[String]) -> BTreeMap<String, ScalarValue> {
        param_values(&self.params, used, self.now_us)
    }

    fn describe(&self, text: NamedText<'_>, subject: &Range<usize>) -> Outcome<Rows> {
        let described = text.text.get(subject.clone()).unwrap_or_default().trim();
        let schemas = self.schemas();
        let plain = described.replace(['"', '`'], "");
        let schema = match TableName::parse(&plain) {
            Some(name) => schemas.get(&name).cloned().ok_or_else(|| self.unknown_table(&plain, &schemas))?,
            None if described.contains(char::is_whitespace) => self.compile(text, subject)?.schema,
            None => return Err(self.unknown_table(&plain, &schemas).into()),
        };
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let types: Vec<String> = schema.fields().iter().map(|field| sql_type::sql_type(field.data_type())).collect();
        let batch = RecordBatch::try_from_iter([
            ("column", Arc::new(StringArray::from(names)) as _),
            ("type", Arc::new(StringArray::from(types)) as _),
        ]);
        Ok(one_batch(batch.map_err(cannot_list)?))
    }

    fn list_tables(&self) -> Outcome<Rows> {
        let mut names = Vec::new();
        let mut kinds = Vec::new();
        let mut rows = Vec::new();
        for name in self.sources.keys().filter(|_| self.raw.is_some()) {
            names.push(name.to_string());
            kinds.push("source");
            rows.push(None);
        }
        for (name, batches) in &self.failing {
            names.push(name.to_string());
            kinds.push("rows of a check");
            rows.push(Some(batches.iter().map(|batch| batch.num_rows() as u64).sum()));
        }
        for table in &self.catalog.tables {
            names.push(table.name.to_string());
            kinds.push(if table.view.is_some() { "view" } else { "table" });
            rows.push(table.view.is_none().then_some(table.rows));
        }
        let schema = Schema::new(vec![
            Field::new("table", DataType::Utf8, false),
            Field::new("kind", DataType::Utf8, false),
            Field::new("rows", DataType::UInt64, true),
        ]);
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(StringArray::from(names)),
            Arc::new(StringArray::from(kinds)),
            Arc::new(UInt64Array::from(rows)),
        ];
        Ok(one_batch(RecordBatch::try_new(Arc::new(schema), columns).map_err(cannot_list)?))
    }

    fn unknown_table(&self, name: &str, schemas: &BTreeMap<TableName, SchemaRef>) -> Error {
        if self.catalog.release.is_none() && schemas.is_empty() {
            return nothing_published(&self.lake).with("table", name);
        }
        let known: Vec<String> = schemas.keys().map(ToString::to_string).collect();
        let hint = match suggest::closest(name, known.iter().map(String::as_str)) {
            Some(like) => format!("did you mean {like}?"),
            None => "`SHOW TABLES` lists the tables".to_owned(),
        };
        Error::new(ErrorKind::NotFound, format!("there is no table {name}")).with_hint(hint)
    }
}

/// Opens the newest release; a lake that is not there has no tables.
///
/// # Errors
/// Those of [`LakeCatalog::open`], but for a lake that is not there.
pub(crate) async fn open_catalog(lake: &Prefix) -> Result<LakeCatalog> {
    match LakeCatalog::open(lake).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(LakeCatalog::empty(lake)),
        other => other,
    }
}

/// Opens the release that is meant, the newest if none is.
///
/// # Errors
/// As [`open_catalog`]; those of [`LakeCatalog::open_at`] if a release is meant.
pub(crate) async fn open_catalog_at(lake: &Prefix, as_of: Option<AsOf>) -> Result<LakeCatalog> {
    match as_of {
        Some(as_of) => LakeCatalog::open_at(lake, as_of).await,
        None => open_catalog(lake).await,
    }
}

/// What to say to somebody who asks a lake without a release.
pub(crate) fn nothing_published(lake: &Prefix) -> Error {
    Error::new(ErrorKind::NotFound, "nothing has been published yet")
        .with("lake", lake.display_location())
        .with_hint("`lakewright run` computes and publishes a job's tables")
}

/// The raw objects of a source.
///
/// # Errors
/// Those of listing the raw prefix.
pub(crate) async fn raw_relation(source: &Source, raw: &Prefix) -> Result<Relation> {
    let objects = list_raw_objects(raw, &source.location).await?;
    Ok(Relation::Raw(raw_scan(source, raw, objects)))
}

/// The values of the parameters that a query uses.
pub(crate) fn param_values(
    declared: &BTreeMap<String, Param>,
    used: &[String],
    now_us: i64,
) -> BTreeMap<String, ScalarValue> {
    let utc = || Some(Arc::from("UTC"));
    let value = |name: &String| match (name.as_str(), declared.get(name).map(|param| &param.value)) {
        (EXECUTION_TS, _) => Some(ScalarValue::TimestampMicrosecond(Some(now_us), utc())),
        (RUN_ID, _) => Some(ScalarValue::Utf8(Some("ad-hoc".to_owned()))),
        (_, Some(ParamValue::Boolean(value))) => Some(ScalarValue::Boolean(Some(*value))),
        (_, Some(ParamValue::Bigint(value))) => Some(ScalarValue::Int64(Some(*value))),
        (_, Some(ParamValue::Double(value))) => Some(ScalarValue::Float64(Some(*value))),
        (_, Some(ParamValue::Varchar(value))) => Some(ScalarValue::Utf8(Some(value.clone()))),
        (_, Some(ParamValue::Date(value))) => Some(ScalarValue::Date32(Some(*value))),
        (_, Some(ParamValue::Timestamp(value))) => Some(ScalarValue::TimestampMicrosecond(Some(*value), utc())),
        // Outside of a run everything until now is asked for.
        (START_TS, None) => Some(ScalarValue::TimestampMicrosecond(Some(BEGINNING_US), utc())),
        (END_TS, None) => Some(ScalarValue::TimestampMicrosecond(Some(now_us), utc())),
        (_, None) => None,
    };
    used.iter().filter_map(|name| Some((name.clone(), value(name)?))).collect()
}

fn one_batch(batch: RecordBatch) -> Rows {
    Rows { schema: batch.schema(), batches: futures::stream::once(async { Ok(batch) }).boxed() }
}

fn cannot_list(source: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "cannot list names").with_source(source)
}
