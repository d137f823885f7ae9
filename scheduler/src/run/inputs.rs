//! What one step reads: exactly which raw objects, which files of which tables, and which views.
//!
//! Data flow: a [`Plan`] and what earlier steps of the run wrote -> **here** -> the [`StepTask`] of a backend, and the
//! units that the ledger records.
//!
//! Invariant: a pure function of frozen inputs and written files, so that every driver of a run gives a step the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::common::ScalarValue;
use lakewright_compiler::{
    JsonMode, Model, OnDelete, Source, SourceCompression, SourceMultiLine, SourceOptions, TableName, Violation,
};
use lakewright_engine::{
    Compression, MultiLine, RawScan, ReadMode, Reading, Relation, RowRule, RuleAction, TableScan, TableWrite,
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    DataFile, Prefix, RawObject, Snapshot, layout, read_snapshot,
    state::{Origins, Unit, Written, listing_digest, read_ledger, read_origins},
};

use super::{
    accept::Accepted,
    affected::Affected,
    freeze::Plan,
    quarantine,
    race::retrying,
    rework::{Consumed, Gone, Own, Present, Rework, Split, rework},
};
use crate::{
    StepInput, StepTask, StepWork,
    decide::{difference, is_same},
    lineage::{Lineage, Parts, declared_params},
    literal::{self, EXECUTION_TS, RUN_ID},
};

/// Segments of a table's ledger above which the next one takes all of them in.
const LEDGER_SEGMENTS_MAX: usize = 32;

/// Everything that a step's inputs are computed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepSite<'a> {
    pub(crate) lake: &'a Prefix,
    pub(crate) run: &'a Accepted,
    pub(crate) plan: &'a Plan,
    /// What steps of this run have written.
    pub(crate) written: &'a BTreeMap<TableName, Written>,
}

/// The inputs of one step that lie on the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredInputs {
    pub(crate) raw: BTreeMap<TableName, Vec<RawObject>>,
    tables: BTreeMap<TableName, TableScan>,
    /// Files of the table itself that the step takes the place of.
    pub(crate) removes: Vec<DataFile>,
    /// What is replaced of a table whose rows are computed by key or by time.
    pub(crate) affected: Option<Affected>,
    /// Of those, the ones whose rows it takes over in part.
    pub(crate) splits: Vec<Split>,
}

/// What an update reads again, and all that it follows from.
#[derive(Debug)]
struct Reread {
    rework: Rework,
    input: TableName,
    consumed: Consumed,
    present: BTreeMap<String, Present>,
}

/// The segment that a step adds to its table's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) units: Vec<Unit>,
    /// Earlier segments that stay in force beside it.
    pub(crate) kept: Vec<u64>,
}

/// How objects of a source are read.
#[must_use]
pub fn raw_scan(source: &Source, raw: &Prefix, objects: Vec<RawObject>) -> RawScan {
    let compression = match source.options.compression {
        SourceCompression::Auto => Compression::Auto,
        SourceCompression::None => Compression::None,
        SourceCompression::Gzip => Compression::Gzip,
        SourceCompression::Zstd => Compression::Zstd,
    };
    let mode = match source.options.mode {
        JsonMode::Permissive => ReadMode::Permissive,
        JsonMode::DropMalformed => ReadMode::DropMalformed,
        JsonMode::FailFast => ReadMode::FailFast,
    };
    let multi_line = match source.options.multi_line {
        SourceMultiLine::Auto => MultiLine::Auto,
        SourceMultiLine::True => MultiLine::True,
        SourceMultiLine::False => MultiLine::False,
    };
    let SourceOptions { corrupt_record, rescued, .. } = source.options.clone();
    let reading = Reading { mode, corrupt_record, rescued, multi_line };
    let (raw, schema) = (raw.clone(), Arc::clone(&source.schema));
    RawScan { raw, schema, compression, reading, reports: None, objects }
}

impl StepSite<'_> {
    /// Finds out what the step reads.
    ///
    /// # Errors
    /// As [`read_snapshot`]; [`ErrorKind::Corrupt`] if a table that the base release names is gone.
    pub(crate) async fn stored_inputs(&self, model: &Model) -> Result<StoredInputs> {
        let lineage = self.plan.evidence.lineages.get(&model.name).ok_or_else(|| internal(&model.name))?;
        let mut inputs = StoredInputs::default();
        for source in &lineage.sources {
            inputs.raw.insert(source.clone(), self.raw_objects(model, source));
        }
        for table in &lineage.tables {
            inputs.tables.insert(table.clone(), self.table_scan(model, table).await?);
        }
        if let Some(Reread { rework, input, present, .. }) = self.reread(model).await? {
            for objects in inputs.raw.get_mut(&input).into_iter() {
                objects.retain(|object| rework.reads.contains(&object.key));
            }
            let read: BTreeSet<&String> = present
                .iter()
                .filter(|(key, _)| rework.reads.contains(*key))
                .map(|(key, p)| p.file.as_ref().unwrap_or(key))
                .collect();
            for scan in inputs.tables.get_mut(&input).into_iter() {
                scan.files.retain(|file| read.contains(&file.path));
            }
            inputs.removes = rework.removes;
            inputs.splits = rework.splits;
        }
        Ok(inputs.with_affected(self.affected(model).await?))
    }

    /// What an update of a table that is computed file by file reads again; `None` for any other step.
    async fn reread(&self, model: &Model) -> Result<Option<Reread>> {
        let Some(input) = model.kind.driving().filter(|_| self.plan.work(&model.name) == StepWork::Update) else {
            return Ok(None);
        };
        let entry = self.plan.evidence.released(&model.name).ok_or_else(|| internal(&model.name))?;
        let (table, name) = (model.name.to_string(), input.to_string());
        let ledger = retrying(|| read_ledger(self.lake, &table, &entry.ledger)).await?;
        let ledger = self.plan.evidence.to_be_compared(ledger);
        let consumed = Consumed::new(&table, &name, ledger);
        let root = self.lake.child(&layout::table_root(model.name.zone(), model.name.table()))?;
        let own = self.base_snapshot(&root, &model.name).await?.files;
        let origins = retrying(|| read_origins(self.lake, &table, entry.origins)).await?;
        let own = Own { files: &own, origins: &origins };
        let (present, gone) = match self.plan.job.sources.get(input) {
            Some(source) => (self.present_objects(source, &consumed), gone_of(source)),
            None => (self.present_files(input, &consumed).await?, Gone::Goes),
        };
        let rework = rework(&consumed, &present, own, gone).map_err(|error| error.with("table", &table))?;
        Ok(Some(Reread { rework, input: input.clone(), consumed, present }))
    }

    fn present_objects(&self, source: &Source, consumed: &Consumed) -> BTreeMap<String, Present> {
        let input = source.name.to_string();
        let listing = self.plan.evidence.listings.get(&source.name);
        let objects = listing.map_or(&[][..], |listing| listing.objects.as_slice()).iter();
        let present = objects.map(|object| {
            let same = consumed.units.get(&object.key).is_none_or(|unit| is_same(unit, object));
            (object.key.clone(), Present { unit: Unit::raw(&input, object), file: None, same })
        });
        present.collect()
    }

    async fn present_files(&self, input: &TableName, consumed: &Consumed) -> Result<BTreeMap<String, Present>> {
        let root = self.lake.child(&layout::table_root(input.zone(), input.table()))?;
        let name = input.to_string();
        let origins = self.current_origins(input).await?;
        let mut present = BTreeMap::new();
        for file in self.current_files(&root, input).await? {
            let holder = origins.is_compacted(&file.path).then(|| file.path.clone());
            for origin in origins.of(&file) {
                let same = consumed.units.get(&origin.path).is_none_or(|unit| unit.size_bytes == origin.size_bytes);
                let unit = Unit::origin(&name, &origin);
                present.insert(origin.path, Present { unit, file: holder.clone(), same });
            }
        }
        Ok(present)
    }

    /// What the files of a table hold, after the run, that were made by compaction.
    async fn current_origins(&self, table: &TableName) -> Result<Origins> {
        if self.plan.work(table) == StepWork::Replace {
            return Ok(Origins::default());
        }
        let segment = self.plan.evidence.released(table).and_then(|entry| entry.origins);
        let name = table.to_string();
        let mut origins = retrying(|| read_origins(self.lake, &name, segment)).await?;
        origins.extend(self.written.get(table).map(|written| written.origins.clone()).unwrap_or_default());
        Ok(origins)
    }

    /// What the files of the model's table hold, after the run, that were made by compaction: the number of the segment
    /// that says so, and the segment, if it is a new one.
    ///
    /// # Errors
    /// As [`StepSite::stored_inputs`].
    pub(crate) async fn origins_after(&self, model: &Model) -> Result<(Option<u64>, Option<Origins>)> {
        let before = self.plan.evidence.released(&model.name).and_then(|entry| entry.origins);
        let is_new = self.written.get(&model.name).is_some_and(|written| !written.origins.is_empty());
        match self.plan.work(&model.name) {
            StepWork::Replace | StepWork::Define => Ok((None, None)),
            StepWork::Append | StepWork::Update | StepWork::Skip if !is_new => Ok((before, None)),
            StepWork::Append | StepWork::Update | StepWork::Skip => {
                let mut origins = self.current_origins(&model.name).await?;
                let removes = self.written.get(&model.name).map_or(&[][..], |written| written.removes.as_slice());
                let removed: BTreeSet<&str> = removes.iter().map(|file| file.path.as_str()).collect();
                origins.retain(|path| !removed.contains(path));
                Ok((Some(self.run.sequence), Some(origins)))
            }
        }
    }

    /// The files that a table has after the run.
    async fn current_files(&self, root: &Prefix, table: &TableName) -> Result<Vec<DataFile>> {
        let written = || self.written.get(table).ok_or_else(|| internal(table));
        Ok(match self.plan.work(table) {
            StepWork::Replace => written()?.files.clone(),
            StepWork::Append | StepWork::Update => {
                let Written { files, removes, .. } = written()?;
                let removed: BTreeSet<&str> = removes.iter().map(|file| file.path.as_str()).collect();
                let mut all = self.base_snapshot(root, table).await?.files;
                all.retain(|file| !removed.contains(file.path.as_str()));
                all.extend(files.iter().cloned());
                all
            }
            StepWork::Skip | StepWork::Define => self.base_snapshot(root, table).await?.files,
        })
    }

    /// Whether only what the input has gained is read.
    fn reads_gain(&self, model: &Model, input: &TableName) -> bool {
        self.plan.work(&model.name) == StepWork::Append && model.kind.driving() == Some(input)
    }

    fn raw_objects(&self, model: &Model, source: &TableName) -> Vec<RawObject> {
        let Some(listing) = self.plan.evidence.listings.get(source) else { return Vec::new() };
        if !self.reads_gain(model, source) {
            return listing.objects.clone();
        }
        let ledger = self.plan.evidence.ledgers.get(&model.name).map_or(&[][..], Vec::as_slice);
        difference(&source.to_string(), &listing.objects, ledger).added
    }

    async fn table_scan(&self, model: &Model, table: &TableName) -> Result<TableScan> {
        self.scan(model, table, self.reads_gain(model, table)).await
    }

    /// All of a table, as this run would publish it.
    pub(super) async fn whole_scan(&self, model: &Model, table: &TableName) -> Result<TableScan> {
        self.scan(model, table, false).await
    }

    async fn scan(&self, model: &Model, table: &TableName, only_gain: bool) -> Result<TableScan> {
        let root = self.lake.child(&layout::table_root(table.zone(), table.table()))?;
        let files = match (self.plan.work(table), only_gain) {
            (StepWork::Append, true) => {
                let written = self.written.get(table).ok_or_else(|| internal(table))?;
                [self.unseen_files(&root, model, table).await?, written.files.clone()].concat()
            }
            (StepWork::Skip | StepWork::Define, true) => self.unseen_files(&root, model, table).await?,
            (_, _) => self.current_files(&root, table).await?,
        };
        let upstream = self.plan.job.models.iter().find(|upstream| upstream.name == *table);
        let (schema, partition_columns) = match (upstream, self.plan.evidence.released(table)) {
            (Some(upstream), _) if self.plan.executes(table) => {
                (Arc::clone(&upstream.schema), upstream.partitioned_by.clone())
            }
            (_, Some(entry)) => (Arc::clone(&entry.schema), entry.partition_columns.clone()),
            (_, None) => return Err(internal(table)),
        };
        Ok(TableScan { root, schema, partition_columns, files })
    }

    /// The table as the base release has it.
    pub(super) async fn base_snapshot(&self, root: &Prefix, table: &TableName) -> Result<Snapshot> {
        let version = self.plan.evidence.released(table).and_then(|entry| entry.version);
        let version = version.ok_or_else(|| internal(table))?;
        retrying(|| read_snapshot(root, Some(version))).await?.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "a table that the newest release names is gone")
                .with("table", table)
                .with("version", version)
                .with_hint("restore the table's folder from a backup of the lake")
        })
    }

    /// The files of the driving table at the base release that the model has not consumed.
    async fn unseen_files(&self, root: &Prefix, model: &Model, table: &TableName) -> Result<Vec<DataFile>> {
        if !self.plan.evidence.unseen_files.contains_key(&model.name) {
            return Ok(Vec::new());
        }
        let input = table.to_string();
        let ledger = self.plan.evidence.ledgers.get(&model.name).map_or(&[][..], Vec::as_slice);
        let consumed: BTreeSet<&str> =
            ledger.iter().filter(|unit| unit.input == input).map(|unit| unit.key.as_str()).collect();
        let mut files = self.base_snapshot(root, table).await?.files;
        let segment = self.plan.evidence.released(table).and_then(|entry| entry.origins);
        let origins = retrying(|| read_origins(self.lake, &input, segment)).await?;
        files.retain(|file| !origins.of(file).iter().any(|origin| consumed.contains(origin.path.as_str())));
        Ok(files)
    }

    /// The task for a backend.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: a parameter in a view is out of range.
    pub(crate) fn task(&self, model: &Model, mut inputs: StoredInputs) -> Result<StepTask> {
        let lineage = self.plan.evidence.lineages.get(&model.name).ok_or_else(|| internal(&model.name))?;
        let (mut sql, mut relations, mut last) = (model.query.sql.clone(), Vec::new(), Vec::new());
        if let Some(affected) = inputs.affected.take() {
            (sql, relations, last) = self.affected_query(model, &affected, &mut inputs.tables)?;
        }
        relations.extend(self.relations(lineage, inputs)?);
        relations.append(&mut last);
        let mut values = declared_params(&self.plan.job);
        values.extend(run_params(self.run));
        let mut used = model.checks.params();
        used.extend(model.query.params.iter().cloned());
        let used = used.iter().filter_map(|name| Some((name.clone(), literal::scalar(values.get(name)?))));
        let params: BTreeMap<String, ScalarValue> = used.collect();
        let root = self.lake.child(&layout::table_root(model.name.zone(), model.name.table()))?;
        let quarantine = model.checks.quarantines().then(|| quarantine::root_of(self.lake, &model.name)).transpose()?;
        Ok(StepTask {
            table: model.name.clone(),
            sql,
            params,
            inputs: relations,
            write: TableWrite {
                root,
                schema: Arc::clone(&model.schema),
                partition_columns: model.partitioned_by.clone(),
                clustered_by: model.clustered_by.clone(),
                target_file_size_bytes: model.target_file_size_bytes,
                run_id: self.run.run_id.clone(),
                rules: model.checks.rows.iter().map(row_rule).collect(),
                quarantine,
            },
        })
    }

    /// The inputs as relations, every view after what it reads.
    fn relations(&self, lineage: &Lineage, inputs: StoredInputs) -> Result<Vec<StepInput>> {
        let run_params = run_params(self.run);
        let mut relations = Vec::new();
        for (name, objects) in inputs.raw {
            let source = self.plan.job.sources.get(&name).ok_or_else(|| internal(&name))?;
            let scan = raw_scan(source, &self.plan.raw, objects);
            relations.push(StepInput { name, relation: Relation::Raw(scan) });
        }
        for (name, scan) in inputs.tables {
            relations.push(StepInput { name, relation: Relation::Table(scan) });
        }
        for view in &lineage.views {
            let sql = literal::bind(&view.sql, &run_params)?;
            let relation = Relation::View { sql, schema: Arc::clone(&view.schema) };
            relations.push(StepInput { name: view.name.clone(), relation });
        }
        Ok(relations)
    }

    /// What the checks of a model read, the model itself among it: everything as this run would publish it.
    ///
    /// # Errors
    /// As [`StepSite::stored_inputs`] and [`StepSite::task`].
    pub(crate) async fn whole_inputs(&self, model: &Model, lineage: &Lineage) -> Result<Vec<StepInput>> {
        let mut inputs = StoredInputs::default();
        for source in &lineage.sources {
            let objects = self.plan.evidence.listings.get(source).map(|listing| listing.objects.clone());
            inputs.raw.insert(source.clone(), objects.unwrap_or_default());
        }
        for table in &lineage.tables {
            inputs.tables.insert(table.clone(), self.whole_scan(model, table).await?);
        }
        self.relations(lineage, inputs)
    }

    /// The segment that the step adds to its table's ledger; `None` if the table has no ledger.
    ///
    /// # Errors
    /// As [`StepSite::stored_inputs`].
    pub(crate) async fn segment(&self, model: &Model) -> Result<Option<Segment>> {
        let lineage = self.plan.evidence.lineages.get(&model.name).ok_or_else(|| internal(&model.name))?;
        let driving = model.kind.driving();
        if let Some(reread) = self.reread(model).await? {
            return Ok(Some(Segment { units: self.ledger_after(model, reread), kept: Vec::new() }));
        }
        if self.plan.work(&model.name) == StepWork::Update && model.kind.sides().is_some() {
            return Ok(self.whole_segment(model, lineage));
        }
        let mut units = Vec::new();
        for source in lineage.sources.iter().filter(|source| self.adds_units(model, source)) {
            let input = source.to_string();
            units.extend(self.raw_objects(model, source).iter().map(|object| Unit::raw(&input, object)));
            units.extend(self.newly_gone(model, source));
        }
        if let Some(table) = driving.filter(|driving| lineage.tables.contains(*driving)) {
            let input = table.to_string();
            let scan = self.table_scan(model, table).await?;
            let origins = self.current_origins(table).await?;
            let read = scan.files.iter().flat_map(|file| origins.of(file));
            units.extend(read.map(|origin| Unit::origin(&input, &origin)));
        }
        // What has gone stays in the batch whose files hold its rows.
        units.iter_mut().filter(|unit| !unit.gone).for_each(|unit| unit.batch = self.run.sequence);
        if driving.is_some() {
            units.extend(self.made(model));
        }
        if lineage.sources.is_empty() && driving.is_none() {
            return Ok(None);
        }
        let entry = self.plan.evidence.released(&model.name);
        let earlier = match self.plan.work(&model.name) {
            StepWork::Append => entry.map_or(&[][..], |entry| entry.ledger.as_slice()),
            StepWork::Replace | StepWork::Update | StepWork::Skip | StepWork::Define => &[],
        };
        if earlier.len() < LEDGER_SEGMENTS_MAX {
            return Ok(Some(Segment { units, kept: earlier.to_vec() }));
        }
        let table = model.name.to_string();
        let mut all = retrying(|| read_ledger(self.lake, &table, earlier)).await?;
        all.extend(units);
        Ok(Some(Segment { units: all, kept: Vec::new() }))
    }

    /// The whole ledger of a table whose rows are computed by key: what its sources hold now.
    fn whole_segment(&self, model: &Model, lineage: &Lineage) -> Option<Segment> {
        if lineage.sources.is_empty() {
            return None;
        }
        let of = |source: &TableName| {
            let input = source.to_string();
            let objects = self.raw_objects(model, source);
            objects.iter().map(|object| Unit::raw(&input, object).in_batch(self.run.sequence)).collect::<Vec<_>>()
        };
        Some(Segment { units: lineage.sources.iter().flat_map(of).collect(), kept: Vec::new() })
    }

    /// The files that the step has made, as units of the table itself.
    fn made(&self, model: &Model) -> Vec<Unit> {
        let table = model.name.to_string();
        let files = self.written.get(&model.name).map_or(&[][..], |written| written.files.as_slice());
        // Rows that were taken over have their units already: those of the files that had them first.
        let origins = self.written.get(&model.name).map(|written| &written.origins);
        let is_new = |file: &&DataFile| !origins.is_some_and(|origins| origins.is_compacted(&file.path));
        files.iter().filter(is_new).map(|file| Unit::file(&table, file).in_batch(self.run.sequence)).collect()
    }

    /// The whole ledger of a table after it was updated.
    fn ledger_after(&self, model: &Model, reread: Reread) -> Vec<Unit> {
        let Reread { rework, input, mut consumed, present } = reread;
        let stays = self.plan.job.sources.get(&input).is_some_and(|source| gone_of(source) == Gone::Stays);
        for unit in consumed.units.values_mut().filter(|unit| !present.contains_key(&unit.key)) {
            unit.gone |= stays;
        }
        let read = present.into_values().filter(|present| rework.reads.contains(&present.unit.key));
        let read = read.map(|present| present.unit.in_batch(self.run.sequence)).collect();
        consumed.after(&rework, read, self.made(model))
    }

    /// An appending step records its driving input only: nothing else has changed.
    fn adds_units(&self, model: &Model, source: &TableName) -> bool {
        self.plan.work(&model.name) == StepWork::Replace || self.reads_gain(model, source)
    }

    fn newly_gone(&self, model: &Model, source: &TableName) -> Vec<Unit> {
        if !self.reads_gain(model, source) {
            return Vec::new();
        }
        let input = source.to_string();
        let listing = self.plan.evidence.listings.get(source).map_or(&[][..], |listing| listing.objects.as_slice());
        let ledger = self.plan.evidence.ledgers.get(&model.name).map_or(&[][..], Vec::as_slice);
        let lost: BTreeSet<String> = difference(&input, listing, ledger).lost.into_iter().collect();
        let mut gone: BTreeMap<&str, &Unit> = BTreeMap::new();
        for unit in ledger.iter().filter(|unit| unit.input == input && lost.contains(&unit.key)) {
            gone.insert(&unit.key, unit);
        }
        gone.into_values().map(|unit| Unit { gone: true, ..unit.clone() }).collect()
    }
}

impl StoredInputs {
    /// SHA-256 over what is read and how the result is used.
    pub(crate) fn digest(&self, work: StepWork) -> String {
        let mut digest = Parts::new(match work {
            StepWork::Append => "append",
            StepWork::Update => "update",
            StepWork::Replace | StepWork::Skip | StepWork::Define => "replace",
        });
        self.removes.iter().for_each(|file| digest.add(&file.path));
        for (name, objects) in &self.raw {
            digest.add(&name.to_string());
            digest.add(&listing_digest(objects));
        }
        for (name, scan) in &self.tables {
            digest.add(&name.to_string());
            let mut paths: Vec<&str> = scan.files.iter().map(|file| file.path.as_str()).collect();
            paths.sort_unstable();
            digest.add(&paths.len().to_string());
            paths.iter().for_each(|path| digest.add(path));
        }
        if let Some(affected) = &self.affected {
            affected.add_to(&mut digest);
        }
        digest.finish()
    }
}

/// What becomes of rows of the source whose objects have gone.
fn gone_of(source: &Source) -> Gone {
    match source.options.on_delete {
        OnDelete::Remove => Gone::Goes,
        // Where losses fail a run and were accepted, nobody has asked for rows to go.
        OnDelete::Keep | OnDelete::Fail => Gone::Stays,
    }
}

/// A check of rows as the writer knows it.
fn row_rule(check: &lakewright_compiler::RowCheck) -> RowRule {
    let action = match check.on_violation {
        Violation::Warn | Violation::Fail => RuleAction::Count,
        Violation::Drop => RuleAction::Drop,
        Violation::Quarantine => RuleAction::Quarantine,
    };
    RowRule { name: check.name.clone(), condition: check.condition.clone(), action }
}

/// The run's own parameters.
pub(crate) fn run_params(run: &Accepted) -> BTreeMap<String, lakewright_compiler::ParamValue> {
    use lakewright_compiler::ParamValue::{Timestamp, Varchar};
    BTreeMap::from([
        (RUN_ID.to_owned(), Varchar(run.run_id.clone())),
        (EXECUTION_TS.to_owned(), Timestamp(run.spec.execution_us)),
    ])
}

pub(super) fn internal(table: &TableName) -> Error {
    Error::new(ErrorKind::Internal, "a step was begun before what it reads").with("table", table)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn the_compiler_names_the_hidden_columns_that_the_engine_makes() {
        let declared = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let source = TableName::parse("raw.events").unwrap();
        let (named, made) =
            (lakewright_compiler::scan_schema(&source, &declared), lakewright_engine::source_schema(&declared));
        assert_eq!(named, made);
        assert!(made.fields().len() > 1);
    }
}
