//! Asks what must hold of the run's tables before it publishes: of counts that were made while rows were written, and of
//! the written files for the rest.
//!
//! Data flow: written files and their counts -> **[`run_checks`]** -> `checks.json` -> publish, or abort.
//!
//! Invariant: a check is asked of what readers would see: all rows of the table as this run would publish it, with the
//! other tables as this run would publish them. Rows that have passed it before, and cannot fail it, are left out.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type},
};
use datafusion::common::ScalarValue;
use futures::{StreamExt, TryStreamExt, stream};
use lakewright_compiler::{Checks, Demand, Model, ModelKind, ParamValue, RowCheck, TableCheck, TableName};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    layout,
    state::{CheckRecord, Format, RunChecks, WrittenChecks, encode_rows, read_object},
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    check_query as sql,
    inputs::{StepSite, run_params},
    race::{Race, create, retrying},
    site::Site,
};
use crate::{QueryTask, StepInput, StepWork, lineage::declared_params, literal};

/// Queries of checks that run at once: each uses all cores.
const QUERIES_AT_ONCE_MAX: usize = 2;
/// Models whose checks are asked at once, however few queries that leads to: most of them are small.
const MODELS_AT_ONCE_MAX: usize = 16;
/// What a check came to that needs not be asked.
const PROVEN: &str = "0, by proof";
/// Failing rows that are kept of one check.
pub(crate) const SAMPLE_ROWS_MAX: u64 = 100;

/// What is asked of one model in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Everything; rows have been counted while they were written.
    Written,
    /// Everything, of all rows.
    Whole,
    /// Only checks that read other tables, for the table itself stays as it is.
    Others,
    /// Nothing.
    Nothing,
}

/// Asks all checks of the run, or reads what another driver has found.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: a check fails that keeps the run from publishing; what was found is stored.
/// - Those of reading tables.
pub(crate) async fn run_checks(site: &Site, at: StepSite<'_>) -> Result<BTreeMap<String, Vec<CheckRecord>>> {
    let asked: Vec<(&Model, Extent)> = at.plan.job.models.iter().map(|model| (model, extent(at, model))).collect();
    let asked: Vec<_> = asked.into_iter().filter(|(_, extent)| *extent != Extent::Nothing).collect();
    if asked.is_empty() {
        return Ok(BTreeMap::new());
    }
    let key = layout::checks(&at.run.run_id);
    let found = match retrying(|| read_object::<RunChecks>(&site.lake, &key)).await? {
        Some(found) => found,
        None => {
            let turns = Semaphore::new(QUERIES_AT_ONCE_MAX);
            let answers = asked.iter().map(|(model, extent)| ask_model(site, at, model, *extent, &turns));
            let answers = stream::iter(answers.collect::<Vec<_>>()).buffered(MODELS_AT_ONCE_MAX);
            let tables = answers.try_collect().await?;
            let mine = RunChecks { format: Format, nonce: Uuid::new_v4().to_string(), tables };
            match create(&site.lake, &key, &mine).await? {
                Race::Won => mine,
                Race::Lost(theirs) => theirs,
            }
        }
    };
    Ok(found.tables)
}

async fn ask_model(
    site: &Site,
    at: StepSite<'_>,
    model: &Model,
    extent: Extent,
    turns: &Semaphore,
) -> Result<(String, Vec<CheckRecord>)> {
    let asker = Asker { site, at, model, inputs: inputs(at, model).await?, turns };
    let records = asker.ask(extent).await.map_err(|error| error.with("checks of", &model.name))?;
    Ok((model.name.to_string(), records))
}

/// The error of the checks that keep the run from publishing; names the first and how many more there are.
pub(crate) fn failure(run_id: &str, models: &[Model], tables: &BTreeMap<String, Vec<CheckRecord>>) -> Option<Error> {
    let in_order = models.iter().filter_map(|model| Some((model, tables.get(&model.name.to_string())?)));
    let failed: Vec<(&Model, &CheckRecord)> = in_order
        .flat_map(|(model, records)| records.iter().filter(|record| record.fails()).map(move |record| (model, record)))
        .collect();
    let (model, record) = failed.first()?;
    let more = failed.len() - 1;
    let message = match more {
        0 => "a check failed, so nothing is published".to_owned(),
        1 => "two checks failed, so nothing is published".to_owned(),
        _ => format!("{} checks failed, so nothing is published", failed.len()),
    };
    let line = line_of(&model.checks, &record.name);
    let found = record.detail.clone().unwrap_or_else(|| match record.rows {
        Some(rows) => format!("{} of {rows} rows", record.violations),
        None => format!("{} rows", record.violations),
    });
    let others: Vec<String> =
        failed.iter().skip(1).map(|(model, record)| format!("{} of {}", record.name, model.name)).collect();
    let error = Error::new(ErrorKind::Corrupt, message)
        .with("table", &model.name)
        .with("check", &record.name)
        .with("demands", &record.rule)
        .with("found", found)
        .with("file", format!("{}:{line}", model.file))
        .with_hint(format!("`lakewright show {run_id}` has the failing rows; readers see what they saw before"));
    Some(if others.is_empty() { error } else { error.with("also", others.join(", ")) })
}

fn line_of(checks: &Checks, name: &str) -> usize {
    let rows = checks.rows.iter().map(|check| (&check.name, check.line));
    let tables = checks.tables.iter().map(|check| (&check.name, check.line));
    rows.chain(tables).find(|(known, _)| *known == name).map_or(1, |(_, line)| line)
}

/// Decides what is asked of a model.
fn extent(at: StepSite<'_>, model: &Model) -> Extent {
    let Some(lineage) = at.plan.evidence.check_lineages.get(&model.name) else { return Extent::Nothing };
    let rechecks = at.plan.rechecks(&model.name);
    let moved = lineage.tables.iter().any(|table| at.plan.executes(table));
    match at.plan.work(&model.name) {
        StepWork::Append | StepWork::Update if rechecks => Extent::Whole,
        StepWork::Replace | StepWork::Append | StepWork::Update => match counted(at, &model.name) {
            Some(_) => Extent::Written,
            None => Extent::Whole,
        },
        StepWork::Define => Extent::Whole,
        StepWork::Skip if rechecks || (moved && model.kind == ModelKind::View) => Extent::Whole,
        StepWork::Skip if moved => Extent::Others,
        StepWork::Skip => Extent::Nothing,
    }
}

/// What was counted for the checks that the model has now, while its rows were written.
fn counted<'a>(at: StepSite<'a>, table: &TableName) -> Option<&'a WrittenChecks> {
    let counted = at.written.get(table)?.checks.as_ref()?;
    let digest = at.plan.evidence.check_digests.get(table)?;
    (counted.digest == *digest).then_some(counted)
}

async fn inputs(at: StepSite<'_>, model: &Model) -> Result<Vec<StepInput>> {
    match at.plan.evidence.check_lineages.get(&model.name) {
        Some(lineage) => at.whole_inputs(model, lineage).await,
        None => Ok(Vec::new()),
    }
}

/// Asks the checks of one model.
struct Asker<'a> {
    site: &'a Site,
    at: StepSite<'a>,
    model: &'a Model,
    /// The table as the run would publish it, and what else its checks read.
    inputs: Vec<StepInput>,
    /// Of all queries of the run's checks.
    turns: &'a Semaphore,
}

impl Asker<'_> {
    async fn ask(&self, extent: Extent) -> Result<Vec<CheckRecord>> {
        let mut records = match extent {
            Extent::Written => {
                let counted = counted(self.at, &self.model.name);
                counted.map(|counted| counted.records.clone()).unwrap_or_default()
            }
            Extent::Whole => self.ask_rows().await?,
            Extent::Others | Extent::Nothing => Vec::new(),
        };
        let rows = self.row_count().await?;
        let asked = self.model.checks.tables.iter().filter(|check| extent != Extent::Others || reads_others(check));
        let answers = asked.map(|check| self.ask_table(check, rows, extent));
        let answers: Vec<CheckRecord> =
            stream::iter(answers.collect::<Vec<_>>()).buffered(QUERIES_AT_ONCE_MAX).try_collect().await?;
        records.extend(answers);
        Ok(records)
    }

    /// Rows of the table as the run would publish it.
    async fn row_count(&self) -> Result<u64> {
        let own = self.inputs.iter().find(|input| input.name == self.model.name);
        if let Some(lakewright_engine::Relation::Table(scan)) = own.map(|input| &input.relation) {
            return Ok(scan.files.iter().map(|file| file.row_count).sum());
        }
        self.count(sql::count_all(&self.model.name)).await
    }

    /// Asks the checks of rows of the whole table. Rows that were taken out are not there to be asked: of them the counts
    /// of their writing stand.
    async fn ask_rows(&self) -> Result<Vec<CheckRecord>> {
        let checks: Vec<&RowCheck> =
            self.model.checks.rows.iter().filter(|check| !check.on_violation.takes_out()).collect();
        let written = self.at.written.get(&self.model.name).and_then(|written| written.checks.as_ref());
        let taken_out = written.into_iter().flat_map(|written| &written.records);
        let mut records: Vec<CheckRecord> = taken_out
            .filter(|record| ["DROP", "QUARANTINE"].contains(&record.on_violation.as_str()))
            .cloned()
            .collect();
        if checks.is_empty() {
            return Ok(records);
        }
        let counts = self.rows(sql::count_rows(&self.model.name, &checks), 1).await?;
        let rows = number(&counts, 0)?;
        for (index, check) in checks.into_iter().enumerate() {
            let mut record = row_record(check, Some(rows), number(&counts, index + 1)?);
            if record.violations > 0 {
                let violating = sql::violating_rows(&self.model.name, check);
                record.sample = self.sample(&check.name, violating).await?;
            }
            records.push(record);
        }
        Ok(records)
    }

    async fn ask_table(&self, check: &TableCheck, rows: u64, extent: Extent) -> Result<CheckRecord> {
        let part = match extent {
            Extent::Written => self.at.changed_part(self.site, self.model, check, &self.inputs).await?,
            Extent::Whole | Extent::Others | Extent::Nothing => None,
        };
        let inputs = part.as_deref().unwrap_or(&self.inputs);
        let none = BTreeMap::new();
        let mut record = CheckRecord {
            name: check.name.clone(),
            rule: check.rule.clone(),
            on_violation: if check.blocking { "FAIL" } else { "WARN" }.to_owned(),
            rows: Some(rows),
            violations: 0,
            sample: None,
            detail: None,
        };
        let table = &self.model.name;
        let (count, sample, arguments) = match &check.demand {
            Demand::MoreRowsThan(threshold) => {
                record.violations = u64::from(rows <= *threshold);
                record.detail = Some(format!("{rows} rows"));
                return Ok(record);
            }
            Demand::Unique { is_proven: true, .. } if self.is_computed_whole() => {
                record.detail = Some(PROVEN.to_owned());
                return Ok(record);
            }
            Demand::Unique { columns, .. } => {
                (sql::count_repeated(table, columns), sql::repeated_rows(table, columns), &none)
            }
            Demand::Relationship { column, to, field } => {
                let other = (to, field.as_str());
                let count = sql::count_without_partner(table, column, other);
                (count, sql::rows_without_partner(table, column, other), &none)
            }
            Demand::NoRowOf { query, arguments } => {
                record.rows = None;
                (sql::count_of(&query.sql), query.sql.clone(), arguments)
            }
        };
        let counts = self.rows_of(inputs, (count, 1), arguments).await?;
        record.violations = number(&counts, 0)?;
        if record.violations > 0 {
            let rows = self.rows_of(inputs, (sample, SAMPLE_ROWS_MAX), arguments).await?;
            record.sample = store_rows(self.site, (&self.at.run.run_id, &self.model.name), &check.name, &rows).await?;
        }
        Ok(record)
    }

    /// Whether all rows of the table are those of one answer to the model's query.
    fn is_computed_whole(&self) -> bool {
        self.model.kind == ModelKind::View || self.at.plan.work(&self.model.name) == StepWork::Replace
    }

    async fn count(&self, sql: String) -> Result<u64> {
        number(&self.rows(sql, 1).await?, 0)
    }

    async fn rows(&self, sql: String, rows_max: u64) -> Result<Vec<RecordBatch>> {
        self.rows_of(&self.inputs, (sql, rows_max), &BTreeMap::new()).await
    }

    async fn rows_of(
        &self,
        inputs: &[StepInput],
        (sql, rows_max): (String, u64),
        arguments: &BTreeMap<String, ParamValue>,
    ) -> Result<Vec<RecordBatch>> {
        let mut values = declared_params(&self.at.plan.job);
        values.extend(run_params(self.at.run));
        values.extend(arguments.clone());
        let params: BTreeMap<String, ScalarValue> =
            values.iter().map(|(name, value)| (name.clone(), literal::scalar(value))).collect();
        // Nobody closes it.
        let _turn = self.turns.acquire().await.ok();
        self.site.backend.query(QueryTask { sql, params, inputs: inputs.to_vec(), rows_max }).await
    }

    async fn sample(&self, check: &str, sql: String) -> Result<Option<String>> {
        let rows = self.rows(sql, SAMPLE_ROWS_MAX).await?;
        store_rows(self.site, (&self.at.run.run_id, &self.model.name), check, &rows).await
    }
}

fn reads_others(check: &TableCheck) -> bool {
    match &check.demand {
        Demand::Unique { .. } | Demand::MoreRowsThan(_) => false,
        Demand::Relationship { .. } | Demand::NoRowOf { .. } => true,
    }
}

/// What a check of rows came to.
pub(crate) fn row_record(check: &RowCheck, rows: Option<u64>, violations: u64) -> CheckRecord {
    CheckRecord {
        name: check.name.clone(),
        rule: check.rule.clone(),
        on_violation: check.on_violation.keyword().to_owned(),
        rows,
        violations,
        sample: None,
        detail: None,
    }
}

/// Keeps failing rows with the run, and gives their key; `None` if there are none.
///
/// # Errors
/// As creating objects.
pub(crate) async fn store_rows(
    site: &Site,
    (run_id, table): (&str, &TableName),
    check: &str,
    rows: &[RecordBatch],
) -> Result<Option<String>> {
    if rows.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(None);
    }
    // Drivers of one run may do this at once: each keeps its own, and `checks.json` names those that count.
    let key = layout::check_rows(run_id, &table.to_string(), check, &Uuid::new_v4().to_string());
    let bytes = encode_rows(rows)?;
    retrying(|| site.lake.create(&key, bytes.clone())).await?;
    Ok(Some(key))
}

/// The number in a column of the only row; NULL, the sum of no rows, is 0, and so is a row that is not there.
pub(super) fn number(rows: &[RecordBatch], column: usize) -> Result<u64> {
    let unreadable = || Error::new(ErrorKind::Internal, "a check's query gave no number");
    let Some(batch) = rows.iter().find(|batch| batch.num_rows() > 0) else { return Ok(0) };
    let values = batch.columns().get(column).ok_or_else(unreadable)?;
    let values = cast(&Arc::clone(values), &DataType::Int64).map_err(|error| unreadable().with_source(error))?;
    let values = values.as_primitive_opt::<Int64Type>().ok_or_else(unreadable)?;
    if values.is_null(0) {
        return Ok(0);
    }
    u64::try_from(values.value(0)).map_err(|error| unreadable().with_source(error))
}
