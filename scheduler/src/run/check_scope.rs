//! The part of a table that a check must look at, where the rest has passed it before.
//!
//! Data flow: what a step has written and removed, and what the base release says of the checks -> [`StepSite::changed_part`]
//! -> inputs that have the place of the table's own, and the check's question as it is.
//!
//! Invariant: rows that are left out pass the check together with those that are not. Only where the whole table has passed
//! the same check at the base release, against rows of other tables that are still there, anything is left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lakewright_compiler::{Demand, Model, TableCheck, TableName};
use lakewright_engine::{Relation, TableScan};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{DataFile, state::Written};

use super::{
    affected_query::{ZONE, quoted},
    checks::number,
    inputs::{StepSite, internal},
    site::Site,
};
use crate::{QueryTask, StepInput, StepWork};

/// The files that a step has written.
const WRITTEN: &str = "written";
/// The table's other files.
const REST: &str = "rest";
/// Files that another table has lost.
const LOST: &str = "lost";

impl StepSite<'_> {
    /// Inputs for a check of a table of which only a part has changed; `None` if all of `inputs` must be looked at.
    ///
    /// # Errors
    /// Those of reading tables.
    pub(super) async fn changed_part(
        &self,
        site: &Site,
        model: &Model,
        check: &TableCheck,
        inputs: &[StepInput],
    ) -> Result<Option<Vec<StepInput>>> {
        // A check that only warns may have been violated before, and all violations are counted.
        let keeps = matches!(self.plan.work(&model.name), StepWork::Append | StepWork::Update);
        let Some(written) = self.written.get(&model.name).filter(|_| keeps && check.blocking) else { return Ok(None) };
        let scan = self.whole_scan(model, &model.name).await?;
        let own = match &check.demand {
            Demand::Unique { columns, .. } if is_exact(model, columns) => {
                unique_part((&model.name, &scan), written, columns)?
            }
            Demand::Relationship { to, field, .. } => {
                if !self.keeps_values(site, model, to, field).await? {
                    return Ok(None);
                }
                vec![StepInput { name: model.name.clone(), relation: Relation::Table(of_files(&scan, &written.files)) }]
            }
            _ => return Ok(None),
        };
        let others = inputs.iter().filter(|input| input.name != model.name).cloned();
        Ok(Some(others.chain(own).collect()))
    }

    /// Whether a table has every value of a column that it had when the model's rows were last held against it.
    async fn keeps_values(&self, site: &Site, model: &Model, to: &TableName, field: &str) -> Result<bool> {
        if *to == model.name {
            return Ok(false);
        }
        let own = self.plan.evidence.released(&model.name);
        let then = own.and_then(|own| own.checked_against.get(&to.to_string()));
        let released = self.plan.evidence.released(to);
        if !then.zip(released).is_some_and(|(version, released)| released.has_rows_of(*version)) {
            return Ok(false);
        }
        match self.plan.work(to) {
            StepWork::Skip | StepWork::Append => Ok(true),
            StepWork::Replace | StepWork::Define => Ok(false),
            StepWork::Update => {
                let removes = &self.written.get(to).ok_or_else(|| internal(to))?.removes;
                if removes.is_empty() {
                    return Ok(true);
                }
                let scan = self.whole_scan(model, to).await?;
                let inputs = vec![
                    StepInput { name: part(LOST)?, relation: Relation::Table(of_files(&scan, removes)) },
                    StepInput { name: to.clone(), relation: Relation::Table(scan) },
                ];
                let task = QueryTask { sql: count_lost(to, field), params: BTreeMap::new(), inputs, rows_max: 1 };
                Ok(number(&site.backend.query(task).await?, 0)? == 0)
            }
        }
    }
}

/// Whether equal values of the columns are the same: 0.0 and -0.0 are equal.
fn is_exact(model: &Model, columns: &[String]) -> bool {
    let is_float = |column: &String| model.schema.field_with_name(column).is_ok_and(|f| f.data_type().is_floating());
    !columns.iter().any(is_float)
}

/// The rows of written files, and those of others that share a key with one of them: two rows that share a key are both
/// among them, unless they were both there before.
fn unique_part(
    (table, scan): (&TableName, &TableScan),
    written: &Written,
    columns: &[String],
) -> Result<Vec<StepInput>> {
    let of = |name: &str| {
        let columns = scan.schema.fields().iter().map(|field| format!("{}.{}", quoted(name), quoted(field.name())));
        columns.collect::<Vec<_>>().join(", ")
    };
    let relation = |name: &str| format!("{}.{name} AS {name}", quoted(ZONE), name = quoted(name));
    let is_same = columns.iter().map(|column| {
        let column = quoted(column);
        format!("{}.{column} = {}.{column}", quoted(WRITTEN), quoted(REST))
    });
    let sql = format!(
        "SELECT {} FROM {} UNION ALL SELECT {} FROM {} RIGHT SEMI JOIN {} ON {}",
        of(WRITTEN),
        relation(WRITTEN),
        of(REST),
        relation(WRITTEN),
        relation(REST),
        is_same.collect::<Vec<_>>().join(" AND "),
    );
    let new: BTreeSet<&str> = written.files.iter().map(|file| file.path.as_str()).collect();
    let rest: Vec<DataFile> = scan.files.iter().filter(|file| !new.contains(file.path.as_str())).cloned().collect();
    let schema = Arc::clone(&scan.schema);
    Ok(vec![
        StepInput { name: part(WRITTEN)?, relation: Relation::Table(of_files(scan, &written.files)) },
        StepInput { name: part(REST)?, relation: Relation::Table(of_files(scan, &rest)) },
        StepInput { name: table.clone(), relation: Relation::View { sql, schema } },
    ])
}

/// One row: how many values are in lost files, and in no row of the table.
fn count_lost(table: &TableName, field: &str) -> String {
    let field = quoted(field);
    format!(
        "SELECT count(*) AS \"lost\" FROM {}.{lost} AS {lost} LEFT ANTI JOIN {}.{} AS \"now\" \
         ON {lost}.{field} = \"now\".{field} WHERE {lost}.{field} IS NOT NULL",
        quoted(ZONE),
        quoted(table.zone()),
        quoted(table.table()),
        lost = quoted(LOST),
    )
}

fn of_files(scan: &TableScan, files: &[DataFile]) -> TableScan {
    TableScan { files: files.to_vec(), ..scan.clone() }
}

fn part(name: &str) -> Result<TableName> {
    TableName::new(ZONE, name).ok_or_else(|| Error::new(ErrorKind::Internal, "a part of a table has no name"))
}
