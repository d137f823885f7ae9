//! Refuses sources and checks whose rejects would go to a table of another job: before anything is read, rather than
//! when all is computed.

use std::collections::BTreeSet;

use lakewright_compiler::{Job, JsonMode, TableName, quarantine_table};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{layout, state::Release};

use crate::evidence::Evidence;

/// Checks the tables of rejects that a run of the selected models may write.
///
/// Another job that reads a source of the same name and has no rejects yet stands in nobody's way: jobs may share raw data.
///
/// # Errors
/// - [`ErrorKind::Conflict`]: another job has one of them.
pub(crate) fn refuse_shared_rejects(job: &Job, evidence: &Evidence) -> Result<()> {
    let Some(base) = &evidence.base else { return Ok(()) };
    let sources: BTreeSet<&TableName> = evidence.lineages.values().flat_map(|lineage| &lineage.sources).collect();
    for source in sources {
        let mode = job.sources.get(source).map(|source| source.options.mode);
        // Of the other modes one fails at the first such record, and one leaves it out.
        if mode == Some(JsonMode::Permissive)
            && let Some(owner) = owner_of(base, &job.name, source.table())
        {
            return Err(Error::new(
                ErrorKind::Conflict,
                "another job of the lake keeps the rejects of a source of the same name",
            )
            .with("source", source)
            .with("job", owner)
            .with("table", table(source.table()))
            .with_hint(
                "rejects of both would go to one table: rename the source's file, or give this job a lake of its own",
            ));
        }
    }
    for model in job.models.iter().filter(|model| model.checks.quarantines()) {
        let name = quarantine_table(&model.name);
        if evidence.selected.contains(&model.name)
            && let Some(owner) = owner_of(base, &job.name, &name)
        {
            return Err(Error::new(
                ErrorKind::Conflict,
                "rows that a check keeps apart would go to another job's table",
            )
            .with("model", &model.name)
            .with("job", owner)
            .with("table", table(&name))
            .with_hint("rename the model's file, or give this job a lake of its own"));
        }
    }
    Ok(())
}

fn table(name: &str) -> String {
    format!("{}.{name}", layout::REJECTS_ZONE)
}

/// Another job that has a table of rejects of this name.
fn owner_of<'a>(base: &'a Release, job: &str, name: &str) -> Option<&'a str> {
    let entry = base.tables.get(&table(name)).filter(|entry| entry.job != job);
    entry.map(|entry| entry.job.as_str())
}
