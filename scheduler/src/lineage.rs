//! What a model reads in the end: through views, down to sources and stored tables.
//!
//! Data flow: a job, the selection and the base release -> **here** -> fingerprints, decisions, and inputs of steps.
//!
//! Invariant: a selected model is read as the job has it, any other as the base release has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::datatypes::SchemaRef;
use lakewright_compiler::{Job, Model, ModelKind, ParamValue, TableName};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::state::{Release, ReleasedTable};
use sha2::{Digest, Sha256};

use crate::literal::{self, EXECUTION_TS, RUN_ID};

/// Version of what our SQL and our readers mean: raised when the same text over the same objects gives other rows.
pub(crate) const SEMANTICS_VERSION: u32 = 3;

/// The relations of a run: what each name stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) job: &'a Job,
    pub(crate) selected: &'a BTreeSet<TableName>,
    pub(crate) base: Option<&'a Release>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resolved<'a> {
    Source,
    Model(&'a Model),
    Released(&'a ReleasedTable),
}

/// A view on the way from a model to what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) name: TableName,
    /// Canonical SQL with the values of declared parameters; those of the run's own stay by name.
    pub(crate) sql: String,
    pub(crate) schema: SchemaRef,
}

/// What a model reads in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    pub(crate) sources: BTreeSet<TableName>,
    pub(crate) tables: BTreeSet<TableName>,
    /// Sources and tables that are read through a view, whether they are read without one too or not.
    pub(crate) behind_views: BTreeSet<TableName>,
    /// Every one after all that it reads.
    pub(crate) views: Vec<View>,
    /// The run's own parameters that the model or a view uses.
    pub(crate) run_params: BTreeSet<String>,
}

impl Lineage {
    /// Whether the rows depend on when the run is.
    pub(crate) fn uses_time(&self) -> bool {
        self.run_params.contains(EXECUTION_TS)
    }
}

impl<'a> Scope<'a> {
    /// Gives what `name`, read by `reader`, stands for.
    pub(crate) fn resolve(&self, reader: &TableName, name: &TableName) -> Result<Resolved<'a>> {
        if self.job.sources.contains_key(name) {
            return Ok(Resolved::Source);
        }
        if self.selected.contains(name)
            && let Some(model) = self.job.models.iter().find(|model| model.name == *name)
        {
            return Ok(Resolved::Model(model));
        }
        let released = self.base.and_then(|base| base.tables.get(&name.to_string()));
        released.map(Resolved::Released).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "a table that is not selected has never been published")
                .with("table", name)
                .with("read by", reader)
                .with_hint(format!("select it too, for example with --select +{reader}"))
        })
    }

    /// Follows what the checks of a selected model read, the model itself among it.
    pub(crate) fn check_lineage(&self, model: &Model) -> Result<Lineage> {
        let mut lineage = Lineage::default();
        let mut reads = vec![model.name.clone()];
        reads.extend(model.checks.reads(&model.name));
        self.follow(&model.name, &reads, false, &mut BTreeSet::new(), &mut lineage)?;
        Ok(lineage)
    }

    /// Follows a selected model through views to sources and stored tables.
    pub(crate) fn lineage(&self, model: &Model) -> Result<Lineage> {
        let mut lineage = Lineage::default();
        let mut seen = BTreeSet::new();
        self.follow(&model.name, &model.query.reads, false, &mut seen, &mut lineage)?;
        lineage.note_params(&model.row_params());
        Ok(lineage)
    }

    fn follow(
        &self,
        reader: &TableName,
        reads: &[TableName],
        through_view: bool,
        seen: &mut BTreeSet<TableName>,
        lineage: &mut Lineage,
    ) -> Result<()> {
        for name in reads {
            if through_view {
                lineage.behind_views.insert(name.clone());
            }
            if !seen.insert(name.clone()) {
                continue;
            }
            match self.resolve(reader, name)? {
                Resolved::Source => {
                    lineage.sources.insert(name.clone());
                }
                Resolved::Model(model) if model.kind == ModelKind::View => {
                    self.follow(name, &model.query.reads, true, seen, lineage)?;
                    lineage.note_params(&model.query.params);
                    let sql = literal::bind(&model.query.sql, &declared_params(self.job))?;
                    lineage.views.push(View { name: name.clone(), sql, schema: Arc::clone(&model.schema) });
                }
                Resolved::Released(ReleasedTable { view: Some(view), schema, .. }) => {
                    let reads = view.reads.iter().map(|read| parse_name(read)).collect::<Result<Vec<_>>>()?;
                    self.follow(name, &reads, true, seen, lineage)?;
                    lineage.views.push(View { name: name.clone(), sql: view.sql.clone(), schema: Arc::clone(schema) });
                }
                Resolved::Model(_) | Resolved::Released(_) => {
                    lineage.tables.insert(name.clone());
                }
            }
        }
        Ok(())
    }
}

impl Lineage {
    fn note_params(&mut self, params: &[String]) {
        self.run_params.extend(params.iter().filter(|name| [RUN_ID, EXECUTION_TS].contains(&name.as_str())).cloned());
    }
}

/// The values of the job's declared parameters.
pub(crate) fn declared_params(job: &Job) -> BTreeMap<String, ParamValue> {
    job.params.iter().map(|(name, param)| (name.clone(), param.value.clone())).collect()
}

/// Reads the name of a table in a state object.
pub(crate) fn parse_name(text: &str) -> Result<TableName> {
    TableName::parse(text).ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, "a state object of the lake names a table that cannot be one")
            .with("table", text)
    })
}

/// SHA-256 over everything but the inputs' rows that decides what a model's rows are.
///
/// The run's own parameters are left out: a model that uses the time is never skipped, and the run's id names the run
/// that computed a row.
pub(crate) fn fingerprint(job: &Job, model: &Model, lineage: &Lineage) -> String {
    let mut digest = Parts::new("model");
    digest.add(&SEMANTICS_VERSION.to_string());
    digest.add(&model.canonical);
    for name in &lineage.sources {
        digest.add(&name.to_string());
        digest.add(job.sources.get(name).map_or("", |source| &source.canonical));
    }
    for view in &lineage.views {
        digest.add(&view.name.to_string());
        digest.add(&view.sql);
    }
    for name in &model.row_params() {
        if let Some(param) = job.params.get(name) {
            digest.add(name);
            digest.add(&literal::canonical(&param.value));
        }
    }
    digest.finish()
}

/// SHA-256 over everything but rows that decides what a model's checks demand; `None` if it has none.
pub(crate) fn check_digest(job: &Job, model: &Model) -> Option<String> {
    if model.checks.is_empty() {
        return None;
    }
    let mut digest = Parts::new("checks");
    digest.add(&SEMANTICS_VERSION.to_string());
    digest.add(&model.checks.canonical());
    for name in model.checks.params() {
        if let Some(param) = job.params.get(&name) {
            digest.add(&name);
            digest.add(&literal::canonical(&param.value));
        }
    }
    Some(digest.finish())
}

/// A SHA-256 over parts, whose lengths keep them apart.
#[derive(Debug)]
pub(crate) struct Parts(Sha256);

impl Parts {
    /// Begins a digest of the kind `of`.
    pub(crate) fn new(of: &str) -> Self {
        let mut parts = Self(Sha256::new());
        parts.add(of);
        parts
    }

    /// Adds a part.
    pub(crate) fn add(&mut self, part: &str) {
        self.0.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.0.update(part.as_bytes());
    }

    /// The digest in hexadecimal.
    pub(crate) fn finish(self) -> String {
        format!("{:x}", self.0.finalize())
    }
}
