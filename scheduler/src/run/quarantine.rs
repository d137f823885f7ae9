//! The tables of rows that checks have kept apart: `rejects.<zone>_<table>`, published with the tables of their run.
//!
//! Invariant: such a table holds the rows that were taken out of its model's table as that is published: replaced with
//! it, and added to with it.

use std::collections::BTreeMap;

use lakewright_compiler::{Model, TableName, quarantine_table};
use lakewright_engine::quarantine_schema;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    DataFile, Prefix, layout,
    state::{PublishedTable, Written},
};

use super::{
    inputs::StepSite,
    publication::Checked,
    publish::{check_base, check_files},
};
use crate::StepWork;

/// The kind of such a table, where a model has its keyword.
pub(crate) const QUARANTINE_KIND: &str = "QUARANTINE";

/// The name of the table of rows that are taken out of a model's.
///
/// # Errors
/// - [`ErrorKind::Internal`]: it has none.
pub(crate) fn name_of(model: &TableName) -> Result<TableName> {
    TableName::new(layout::REJECTS_ZONE, &quarantine_table(model))
        .ok_or_else(|| Error::new(ErrorKind::Internal, "a table has no name for its rows").with("table", model))
}

/// The root of that table.
///
/// # Errors
/// As [`name_of`].
pub(crate) fn root_of(lake: &Prefix, model: &TableName) -> Result<Prefix> {
    let name = name_of(model)?;
    lake.child(&layout::table_root(name.zone(), name.table()))
}

/// The tables that the run's steps replace or add to.
///
/// # Errors
/// As [`check_base`] and [`check_files`].
pub(crate) async fn tables(at: StepSite<'_>) -> Result<Vec<(PublishedTable, Checked)>> {
    let mut tables = Vec::new();
    for model in at.plan.executing() {
        if let Some(written) = at.written.get(&model.name) {
            tables.extend(table(at, model, written).await?);
        }
    }
    Ok(tables)
}

async fn table(at: StepSite<'_>, model: &Model, written: &Written) -> Result<Option<(PublishedTable, Checked)>> {
    let name = name_of(&model.name)?;
    let files: Vec<DataFile> = written.checks.iter().flat_map(|checks| checks.quarantined.clone()).collect();
    let released = at.plan.evidence.released(&name).filter(|entry| entry.kind == QUARANTINE_KIND);
    let work = at.plan.work(&model.name);
    let is_known = released.is_some_and(|entry| entry.rows > 0);
    if files.is_empty() && (work == StepWork::Append || !is_known) {
        return Ok(None);
    }
    let root = root_of(at.lake, &model.name)?;
    let appends = work == StepWork::Append && released.is_some();
    let (base_version, base_files) = check_base(at.plan, &name, appends, &root).await?;
    check_files(&root, &files).await?;
    let published = PublishedTable {
        table: name.to_string(),
        kind: QUARANTINE_KIND.to_owned(),
        work: if appends { StepWork::Append } else { StepWork::Replace }.into(),
        base_version,
        fingerprint: String::new(),
        schema: quarantine_schema(&model.schema),
        partition_columns: Vec::new(),
        description: Some(format!("Rows of {} that its checks have taken out.", model.name)),
        files,
        removes: Vec::new(),
        covered: Vec::new(),
        view: None,
        inputs: BTreeMap::new(),
        own_inputs: Vec::new(),
        ledger: Vec::new(),
        new_segment: false,
        checks: None,
        checked_against: BTreeMap::new(),
        origins: None,
    };
    Ok(Some((published, Checked { base_version, base_files, segment: None, origins: None })))
}
