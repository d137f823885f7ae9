//! What a step reads and replaces that computes the rows of some keys, or of some intervals of time.
//!
//! Data flow: the inputs' rows that have come or gone since the table has read them -> their keys -> the files of the table
//! that hold rows of these keys -> one query: the model's rows of these keys, and the other rows of these files.
//!
//! Keys never leave the session that needs them: they are a view there, and whoever executes the step computes them again.
//! Only the names of files and the beginnings of intervals come to the driver.
//!
//! Invariant: what is asked depends on frozen inputs and written files alone, so that every driver of a run replaces the
//! same files.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
};
use lakewright_compiler::{Model, ModelKind, ParamValue, Side, TableName, TimeRange};
use lakewright_engine::{Relation, TableScan};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    DataFile, RawObject, layout, read_snapshot,
    state::{InputState, ReleasedTable},
};

use super::{
    affected_query as sql,
    excluded::Exclusions,
    inputs::{StepSite, StoredInputs, internal, raw_scan, run_params},
    key_bounds::KeyBounds,
    race::retrying,
    site::Site,
};
use crate::{
    QueryTask, StepInput, StepWork,
    decide::{difference, due, instant, whole},
    evidence::Turnover,
    lineage::{Parts, declared_params},
    literal,
    spans::Spans,
};

/// Files and intervals that a query may name: more than any table has.
const ROWS_MAX: u64 = 10_000_000;

/// What a step replaces whose rows are computed by key or by time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Affected {
    changed: Vec<Changed>,
    /// The table's own files at the base release, before it is known which of them are replaced; those then.
    own: Option<TableScan>,
    /// Between which values the keys lie that have changed.
    bounds: KeyBounds,
    /// The intervals that are computed, of a table that is computed by time.
    spans: Option<Spans>,
    /// The intervals that the table has afterwards.
    covered: Spans,
    /// What the user should know.
    pub(crate) note: Option<String>,
}

/// Rows of an input that have come or gone.
#[derive(Clone, Debug)]
struct Changed {
    input: TableName,
    is_added: bool,
    rows: ChangedRows,
}

#[derive(Clone, Debug)]
enum ChangedRows {
    Raw(Vec<RawObject>),
    Files(TableScan),
}

impl Affected {
    /// Adds everything that decides about the rows to a digest.
    pub(crate) fn add_to(&self, digest: &mut Parts) {
        for changed in &self.changed {
            digest.add(&changed.input.to_string());
            digest.add(if changed.is_added { "added" } else { "removed" });
            match &changed.rows {
                ChangedRows::Raw(objects) => objects.iter().for_each(|object| digest.add(&object.key)),
                ChangedRows::Files(scan) => scan.files.iter().for_each(|file| digest.add(&file.path)),
            }
        }
        for (from, to) in self.spans.iter().flat_map(Spans::ranges) {
            digest.add(&format!("{from} {to}"));
        }
    }

    /// The intervals that the table has after the step.
    pub(crate) fn covered(&self) -> Vec<(i64, i64)> {
        self.covered.ranges().to_vec()
    }

    /// Leaves out raw objects that cannot be read.
    pub(crate) fn leave_out(&mut self, excluded: &Exclusions) {
        for changed in &mut self.changed {
            if let ChangedRows::Raw(objects) = &mut changed.rows {
                *objects = excluded.split(std::mem::take(objects)).0;
            }
        }
    }
}

impl StepSite<'_> {
    /// What a step replaces whose model is computed by key or by time; `None` for any other.
    ///
    /// # Errors
    /// As [`StepSite::stored_inputs`].
    pub(crate) async fn affected(&self, model: &Model) -> Result<Option<Affected>> {
        let entry = self.plan.evidence.released(&model.name);
        match (self.plan.work(&model.name), entry) {
            (StepWork::Update, Some(entry)) if model.kind.sides().is_some() => {
                self.update(model, entry).await.map(Some)
            }
            (StepWork::Replace, entry) => Ok(match &model.kind {
                ModelKind::IncrementalByTimeRange { range, .. } => {
                    let spans = whole(range, &self.plan.evidence, entry.filter(|entry| entry.version.is_some()));
                    Some(Affected { spans: Some(spans.clone()), covered: spans, ..Affected::default() })
                }
                _ => None,
            }),
            _ => Ok(None),
        }
    }

    async fn update(&self, model: &Model, entry: &ReleasedTable) -> Result<Affected> {
        let mut affected = Affected::default();
        for input in model.kind.sides().into_iter().flatten().map(|(input, _)| input) {
            affected.changed.extend(self.changed(model, entry, input).await?);
        }
        let root = self.lake.child(&layout::table_root(model.name.zone(), model.name.table()))?;
        let files = self.base_snapshot(&root, &model.name).await?.files;
        let (schema, partition_columns) = (Arc::clone(&model.schema), model.partitioned_by.clone());
        affected.own = Some(TableScan { root, schema, partition_columns, files });
        Ok(affected)
    }

    /// The rows that an input has gained and lost since the model has read it.
    async fn changed(&self, model: &Model, entry: &ReleasedTable, input: &TableName) -> Result<Vec<Changed>> {
        let changed = |is_added, rows| Changed { input: input.clone(), is_added, rows };
        if self.plan.job.sources.contains_key(input) {
            let ledger = self.plan.evidence.ledgers.get(&model.name).map_or(&[][..], Vec::as_slice);
            let listing = self.plan.evidence.listings.get(input);
            let is_compared = self.plan.evidence.ledgers.contains_key(&model.name);
            let objects = listing.filter(|_| is_compared).map_or(&[][..], |listing| listing.objects.as_slice());
            let added = difference(&input.to_string(), objects, ledger).added;
            return Ok(if added.is_empty() { Vec::new() } else { vec![changed(true, ChangedRows::Raw(added))] });
        }
        let Some(InputState::Table { version }) = entry.inputs.get(&input.to_string()) else { return Ok(Vec::new()) };
        // The same rows in other files are no change.
        let released = self.plan.evidence.released(input).filter(|upstream| upstream.has_rows_of(*version));
        if released.is_some() && !self.plan.executes(input) {
            return Ok(Vec::new());
        }
        let version = released.and_then(|upstream| upstream.version).unwrap_or(*version);
        let scan = self.whole_scan(model, input).await?;
        let before = retrying(|| read_snapshot(&scan.root, Some(version))).await?.ok_or_else(|| internal(input))?;
        let Turnover { removed, added } = Turnover::between(&before.files, &scan.files);
        let of = |files: Vec<DataFile>| ChangedRows::Files(TableScan { files, ..scan.clone() });
        let both = [(false, removed), (true, added)].into_iter().filter(|(_, files)| !files.is_empty());
        Ok(both.map(|(is_added, files)| changed(is_added, of(files))).collect())
    }

    /// Asks which intervals and which files are affected.
    ///
    /// # Errors
    /// Those of reading tables and raw objects.
    pub(crate) async fn find_affected(
        &self,
        site: &Site,
        model: &Model,
        affected: &mut Affected,
        removes: &mut Vec<DataFile>,
    ) -> Result<()> {
        let Some(own) = affected.own.take() else { return Ok(()) };
        match &model.kind {
            ModelKind::IncrementalByTimeRange { range, .. } => self.find_spans(site, model, range, affected).await?,
            _ => affected.bounds = self.key_bounds(site, model, affected).await?,
        }
        let question = match &affected.spans {
            Some(spans) if spans.is_empty() => None,
            Some(_) => Some(sql::files_of_spans(&condition_of(model, sql::OWN, affected)?)),
            None if affected.changed.is_empty() => None,
            None => Some(sql::files_of_keys(key_of(model), &affected.bounds)),
        };
        let mut files = Vec::new();
        if let Some(sql) = question.filter(|_| !own.files.is_empty()) {
            let mut inputs = self.change_inputs(model, affected)?;
            inputs.push(input(sql::OWN, Relation::Table(with_file_column(&own)))?);
            let rows = self.ask(site, sql, inputs).await?;
            let paths = text_column(&rows);
            files = own.files.iter().filter(|file| paths.contains(&file.path)).cloned().collect();
        }
        removes.clone_from(&files);
        affected.own = Some(TableScan { files, ..own });
        Ok(())
    }

    /// Between which values the keys lie that have changed.
    async fn key_bounds(&self, site: &Site, model: &Model, affected: &Affected) -> Result<KeyBounds> {
        let schema = key_schema(model);
        let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let question = KeyBounds::question(&types).filter(|_| !affected.changed.is_empty());
        let Some(question) = question else { return Ok(KeyBounds::default()) };
        let answer = self.ask(site, question, self.change_inputs(model, affected)?).await?;
        KeyBounds::of(&types, &answer)
    }

    async fn ask(&self, site: &Site, sql: String, inputs: Vec<StepInput>) -> Result<Vec<RecordBatch>> {
        let task = QueryTask { sql, params: BTreeMap::new(), inputs, rows_max: ROWS_MAX };
        site.backend.query(task).await
    }

    /// Finds the intervals that are computed: those that are due, and those that changed rows are in.
    async fn find_spans(&self, site: &Site, model: &Model, range: &TimeRange, affected: &mut Affected) -> Result<()> {
        let entry = self.plan.evidence.released(&model.name).ok_or_else(|| internal(&model.name))?;
        let covered = Spans::new(entry.covered.iter().copied());
        let due = due(range, &self.plan.evidence, entry);
        let mut changed: Vec<(i64, i64)> = Vec::new();
        if !affected.changed.is_empty() {
            let sides = numbered(model, affected);
            let question = literal::bind(&sql::intervals(range.unit, &sides), &declared_params(&self.plan.job))?;
            let rows = self.ask(site, question, self.change_inputs(model, affected)?).await?;
            changed = interval_column(&rows)?;
        }
        let limit = range.lookback.and_then(|lookback| {
            let (_, end) = covered.bounds()?;
            Some(range.unit.at(end, i32::try_from(lookback).map_or(i32::MIN, |lookback| -lookback)))
        });
        let span = |from: i64| (from, range.unit.at(from, 1));
        let is_late = |from: i64| limit.is_some_and(|limit| from < limit);
        let touched = Spans::new(changed.iter().map(|(from, _)| span(*from))).intersection(&covered);
        let late = Spans::new(changed.iter().filter(|(from, _)| is_late(*from)).map(|(from, _)| span(*from)));
        let late = late.intersection(&covered).without(&due);
        affected.note = late_note(&changed, &late, range);
        affected.spans = Some(touched.without(&late).union(&due).bounded());
        affected.covered = covered.union(&due);
        Ok(())
    }

    /// The rows that have come or gone, and their keys, as relations.
    fn change_inputs(&self, model: &Model, affected: &Affected) -> Result<Vec<StepInput>> {
        let mut inputs = Vec::new();
        for (index, changed) in affected.changed.iter().enumerate() {
            let relation = match &changed.rows {
                ChangedRows::Files(scan) => Relation::Table(scan.clone()),
                ChangedRows::Raw(objects) => {
                    let source = self.plan.job.sources.get(&changed.input).ok_or_else(|| internal(&changed.input))?;
                    Relation::Raw(raw_scan(source, &self.plan.raw, objects.clone()))
                }
            };
            inputs.push(input(&changed_name(index), relation)?);
        }
        let sides = numbered(model, affected);
        if !matches!(model.kind, ModelKind::IncrementalByTimeRange { .. }) && !sides.is_empty() {
            let sides: Vec<(String, &Side)> = sides.into_iter().map(|(name, side, _)| (name, side)).collect();
            let sql = literal::bind(&sql::keys(&sides), &declared_params(&self.plan.job))?;
            inputs.push(input(sql::KEYS, Relation::View { sql, schema: key_schema(model) })?);
        }
        Ok(inputs)
    }

    /// The query of the step, and its relations beside `inputs`, in place of which it may read less of some.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: a parameter in a view is out of range.
    pub(super) fn affected_query(
        &self,
        model: &Model,
        affected: &Affected,
        tables: &mut BTreeMap<TableName, TableScan>,
    ) -> Result<(String, Vec<StepInput>, Vec<StepInput>)> {
        let columns: Vec<String> = model.schema.fields().iter().map(|field| field.name().clone()).collect();
        let mut before = self.change_inputs(model, affected)?;
        if affected.own.is_some() {
            before.extend(self.narrowed(model, affected, tables)?);
        }
        let own = affected.own.as_ref();
        if let Some(own) = own {
            before.push(input(sql::OWN, Relation::Table(own.clone()))?);
        }
        let keeps = own.filter(|own| !own.files.is_empty() && !is_by_partition(model));
        let sql = match &affected.spans {
            Some(_) => {
                let of_own = keeps.map(|_| condition_of(model, sql::OWN, affected)).transpose()?;
                sql::replaced_spans(&columns, &condition_of(model, sql::MODEL, affected)?, of_own.as_deref())
            }
            None if affected.changed.is_empty() => sql::no_rows(&columns),
            None => sql::replaced_rows(&columns, key_of(model), keeps.is_some()),
        };
        let rows = Relation::View { sql: self.model_sql(model, affected)?, schema: Arc::clone(&model.schema) };
        Ok((sql, before, vec![input(sql::MODEL, rows)?]))
    }

    /// The model's query with all values in it.
    fn model_sql(&self, model: &Model, affected: &Affected) -> Result<String> {
        let mut values = declared_params(&self.plan.job);
        values.extend(run_params(self.run));
        let (start, end) = affected.spans.as_ref().and_then(Spans::bounds).unwrap_or((0, 0));
        values.insert("start_ts".to_owned(), ParamValue::Timestamp(start));
        values.insert("end_ts".to_owned(), ParamValue::Timestamp(end));
        literal::bind(&model.query.sql, &values)
    }

    /// Puts views of the affected rows in the place of tables that are read in one way only.
    fn narrowed(
        &self,
        model: &Model,
        affected: &Affected,
        tables: &mut BTreeMap<TableName, TableScan>,
    ) -> Result<Vec<StepInput>> {
        let lineage = self.plan.evidence.lineages.get(&model.name).ok_or_else(|| internal(&model.name))?;
        let mut inputs = Vec::new();
        if affected.spans.is_none() && affected.changed.is_empty() {
            return Ok(inputs);
        }
        for (index, (table, sides)) in model.kind.sides().into_iter().flatten().enumerate() {
            let [side] = sides.as_slice() else { continue };
            if lineage.behind_views.contains(table) {
                continue;
            }
            let Some(scan) = tables.remove(table) else { continue };
            let name = format!("all_{index}");
            let columns: Vec<String> = scan.schema.fields().iter().map(|field| field.name().clone()).collect();
            let narrowed = match (&affected.spans, &model.kind, side.key.first()) {
                (Some(spans), ModelKind::IncrementalByTimeRange { range, .. }, Some(time)) => {
                    let condition = sql::is_in(time, type_of(model, &range.column)?, spans)?;
                    sql::rows_of_spans(&name, &columns, &condition)
                }
                _ => sql::rows_of_keys(&name, &columns, side, &affected.bounds),
            };
            let sql = literal::bind(&narrowed, &declared_params(&self.plan.job))?;
            let schema = Arc::clone(&scan.schema);
            inputs.push(input(&name, Relation::Table(scan))?);
            inputs.push(StepInput { name: table.clone(), relation: Relation::View { sql, schema } });
        }
        Ok(inputs)
    }

    /// Everything that a full computation of the model gives now, as relations, with the query that gives its rows as they
    /// are stored; `covered` are the intervals that the table has.
    ///
    /// # Errors
    /// As [`StepSite::stored_inputs`] and [`StepSite::task`].
    pub(crate) async fn full_query(&self, model: &Model, covered: &[(i64, i64)]) -> Result<(String, Vec<StepInput>)> {
        let lineage = self.plan.evidence.lineages.get(&model.name).ok_or_else(|| internal(&model.name))?;
        let mut inputs = self.whole_inputs(model, lineage).await?;
        let mut affected = Affected::default();
        let mut conditions: Vec<String> = Vec::new();
        if let ModelKind::IncrementalByTimeRange { .. } = &model.kind {
            affected.spans = Some(Spans::new(covered.iter().copied()));
            conditions.push(condition_of(model, lakewright_compiler::ROW_ALIAS, &affected)?);
        }
        conditions.extend(model.checks.taking_out().map(|check| format!("({}) IS TRUE", check.condition)));
        let rows = Relation::View { sql: self.model_sql(model, &affected)?, schema: Arc::clone(&model.schema) };
        inputs.push(input(sql::MODEL, rows)?);
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let (zone, name, row) = (sql::ZONE, sql::MODEL, lakewright_compiler::ROW_ALIAS);
        Ok((format!("SELECT * FROM \"{zone}\".\"{name}\" AS \"{row}\"{filter}"), inputs))
    }
}

impl StoredInputs {
    /// Takes what an update replaces.
    pub(crate) fn with_affected(mut self, affected: Option<Affected>) -> Self {
        self.affected = affected;
        self
    }
}

fn input(name: &str, relation: Relation) -> Result<StepInput> {
    let found = TableName::new(sql::ZONE, name);
    let name = found.ok_or_else(|| Error::new(ErrorKind::Internal, "a relation of an update has no name"))?;
    Ok(StepInput { name, relation })
}

fn changed_name(index: usize) -> String {
    format!("changed_{index}")
}

/// Every way in which the rows of a changed input tell their keys, with the name of the relation.
fn numbered<'m>(model: &'m Model, affected: &Affected) -> Vec<(String, &'m Side, bool)> {
    let mut found = Vec::new();
    for (index, changed) in affected.changed.iter().enumerate() {
        for side in model.kind.sides().and_then(|sides| sides.get(&changed.input)).into_iter().flatten() {
            found.push((changed_name(index), side, changed.is_added));
        }
    }
    found
}

fn is_by_partition(model: &Model) -> bool {
    matches!(model.kind, ModelKind::IncrementalByPartition { .. })
}

/// The columns of the key.
fn key_of(model: &Model) -> &[String] {
    match &model.kind {
        ModelKind::IncrementalByUniqueKey { key, .. } => key,
        _ => &model.partitioned_by,
    }
}

fn key_schema(model: &Model) -> SchemaRef {
    let fields = key_of(model).iter().enumerate().filter_map(|(index, column)| {
        let field = model.schema.field_with_name(column).ok()?;
        Some(Field::new(sql::key_column(index), field.data_type().clone(), true))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn type_of<'m>(model: &'m Model, column: &str) -> Result<&'m DataType> {
    model.schema.field_with_name(column).map(Field::data_type).map_err(|error| {
        Error::new(ErrorKind::Internal, "a time column is not a column of its table").with_source(error)
    })
}

/// Whether a row of a relation is in the intervals that are computed.
fn condition_of(model: &Model, relation: &str, affected: &Affected) -> Result<String> {
    let ModelKind::IncrementalByTimeRange { range, .. } = &model.kind else { return Ok("FALSE".to_owned()) };
    let spans = affected.spans.clone().unwrap_or_default();
    let column = format!("{}.{}", sql::quoted(relation), sql::quoted(&range.column));
    sql::is_in(&column, type_of(model, &range.column)?, &spans)
}

/// The same files, with a column that names the file of a row.
fn with_file_column(own: &TableScan) -> TableScan {
    let mut scan = own.clone();
    let mut fields: Vec<_> = own.schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(sql::FILE_COLUMN, DataType::Utf8, true)));
    scan.schema = Arc::new(Schema::new(fields));
    scan.partition_columns.push(sql::FILE_COLUMN.to_owned());
    for file in &mut scan.files {
        file.partition_values.insert(sql::FILE_COLUMN.to_owned(), Some(file.path.clone()));
    }
    scan
}

fn text_column(batches: &[RecordBatch]) -> std::collections::BTreeSet<String> {
    let texts = batches.iter().filter_map(|batch| cast(batch.columns().first()?, &DataType::Utf8).ok());
    texts.flat_map(|column| column.as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The beginnings of intervals, with how many rows they have more or less.
fn interval_column(batches: &[RecordBatch]) -> Result<Vec<(i64, i64)>> {
    let failed =
        |error| Error::new(ErrorKind::Internal, "the intervals of changed rows cannot be read").with_source(error);
    let mut found = Vec::new();
    for batch in batches {
        let [from, rows] = batch.columns() else { continue };
        let from = cast(from, &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))).map_err(failed)?;
        let rows = cast(rows, &DataType::Int64).map_err(failed)?;
        let (from, rows) = (from.as_primitive::<TimestampMicrosecondType>(), rows.as_primitive::<Int64Type>());
        found.extend(
            (0..batch.num_rows()).filter(|row| from.is_valid(*row)).map(|row| (from.value(row), rows.value(row))),
        );
    }
    Ok(found)
}

/// What is said of rows that come too late.
fn late_note(changed: &[(i64, i64)], late: &Spans, range: &TimeRange) -> Option<String> {
    let (from, to) = late.bounds()?;
    let is_late = |at: i64| late.ranges().iter().any(|(from, to)| *from <= at && at < *to);
    let rows: i64 = changed.iter().filter(|(at, _)| is_late(*at)).map(|(_, rows)| rows.saturating_abs()).sum();
    let lookback = range.lookback.unwrap_or_default();
    let (from, to) = (instant(from), instant(to));
    Some(format!(
        "{rows} row{} from {from} to {to} came later than lookback {lookback} allows and {} left out: \
         run --start {from} --end {to} takes what is there now",
        if rows == 1 { "" } else { "s" },
        if rows == 1 { "is" } else { "are" },
    ))
}
