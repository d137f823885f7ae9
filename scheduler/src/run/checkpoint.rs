//! Checkpoints of the tables that a run has committed, so that readers need not read their logs from the beginning.
//!
//! Data flow: versions of a run that has ended -> every tenth of a table -> a checkpoint and Delta's hint to it.
//!
//! Invariant: hints for speed. A run has ended before they are written, and one that cannot be written is no failure.

use std::collections::BTreeMap;

use lakewright_error::Result;
use lakewright_lake::{
    checkpoint_due, checkpoint_overdue, layout,
    state::{Operation, newest_release},
    write_checkpoint,
};

use super::{
    accept::Accepted,
    compact::wanted,
    race::{chain, retrying},
    site::Site,
};
use crate::lineage::parse_name;

/// Writes the checkpoints that are due.
pub(crate) async fn write_checkpoints(site: &Site, run: &Accepted, versions: &BTreeMap<String, u64>) {
    let due = versions.iter().filter(|(_, version)| checkpoint_due(**version));
    let mut due: BTreeMap<String, u64> = due.map(|(table, version)| (table.clone(), *version)).collect();
    if let Some(Operation::Optimize { tables, .. }) = &run.spec.operation {
        match overdue(site, &run.spec.job, tables).await {
            Ok(overdue) => due.extend(overdue),
            Err(error) => tracing::warn!(error = chain(&error), "checkpoints not looked at"),
        }
    }
    for (table, version) in due {
        match write(site, &table, version).await {
            Ok(()) => tracing::info!(table, version, "checkpoint written"),
            Err(error) => tracing::warn!(table, version, error = chain(&error), "checkpoint not written"),
        }
    }
}

async fn write(site: &Site, table: &str, version: u64) -> Result<()> {
    let name = parse_name(table)?;
    write_checkpoint(&site.lake.child(&layout::table_root(name.zone(), name.table()))?, version).await
}

/// Tables that a run which optimizes looks at, with versions far behind which the last checkpoint lies.
async fn overdue(site: &Site, job: &str, tables: &[String]) -> Result<Vec<(String, u64)>> {
    let released = retrying(|| newest_release(&site.lake)).await?.map_or_else(BTreeMap::new, |release| release.tables);
    let mut overdue = Vec::new();
    for (table, entry) in wanted(job, tables, &released)? {
        let Some(version) = entry.version else { continue };
        let name = parse_name(table)?;
        let root = site.lake.child(&layout::table_root(name.zone(), name.table()))?;
        if retrying(|| checkpoint_overdue(&root, version)).await? {
            overdue.push((table.clone(), version));
        }
    }
    Ok(overdue)
}
