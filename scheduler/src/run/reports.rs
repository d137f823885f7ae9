//! Accounts for what a step read, and keeps it with the run.
//!
//! Data flow: a backend's reports -> what no task read is read now -> [`super::accounting`] -> objects below
//! `runs/<run_id>/reports/<source>/` -> the step's record.
//!
//! Invariant: rejects are kept before any limit is tested, so that a failed run shows them.

use std::collections::BTreeMap;

use lakewright_compiler::{Source, TableName};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    Prefix, RawObject, layout,
    state::{
        ObjectReport, RangeReport, Reject, RejectRow, SourceRead, decode_object_reports, decode_rejects,
        encode_object_reports, encode_rejects, listing_digest,
    },
};
use uuid::Uuid;

use super::{
    accept::Accepted,
    accounting::{SourceAccount, check_balance, check_limits, join},
    excluded::Exclusions,
    freeze::Plan,
    inputs::raw_scan,
    race::retrying,
    site::Site,
};

/// Accounts for the raw objects that a step had to read.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: a source has more rejects than it may have.
/// - [`ErrorKind::Internal`]: the records of an object do not add up.
/// - Those of reading raw objects that no task of the step has read.
pub(crate) async fn account(
    site: &Site,
    run: &Accepted,
    plan: &Plan,
    objects: BTreeMap<TableName, Vec<RawObject>>,
    mut reports: BTreeMap<TableName, Vec<RangeReport>>,
    excluded: &Exclusions,
) -> Result<Vec<SourceRead>> {
    let mut reads = Vec::new();
    for (name, objects) in objects {
        let source = plan.job.sources.get(&name).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "a step read a source that its job does not have").with("source", &name)
        })?;
        let ranges = reports.remove(&name).unwrap_or_default();
        let (readable, broken) = excluded.split(objects.clone());
        let mut account = whole_account(site, plan, source, &readable, ranges).await?;
        account.add(excluded.account(source, &broken));
        check_balance(source, &account)?;
        let read = store(&site.lake, run, source, &objects, &account).await?;
        check_limits(source, &run.run_id, &account)?;
        reads.push(read);
    }
    Ok(reads)
}

/// The account of all the objects; those that no task has read to their end are read now.
async fn whole_account(
    site: &Site,
    plan: &Plan,
    source: &Source,
    objects: &[RawObject],
    ranges: Vec<RangeReport>,
) -> Result<SourceAccount> {
    let (mut account, missing) = join(objects, ranges);
    if missing.is_empty() {
        return Ok(account);
    }
    tracing::debug!(source = %source.name, objects = missing.len(), "raw objects read for their account");
    let ranges = site.backend.read_raw(raw_scan(source, &plan.raw, missing.clone())).await?;
    let (rest, still_missing) = join(&missing, ranges);
    if let Some(object) = still_missing.first() {
        return Err(Error::new(ErrorKind::Internal, "a raw object was not read to its end")
            .with("source", &source.name)
            .with("object", &object.key));
    }
    account.add(rest);
    Ok(account)
}

async fn store(
    lake: &Prefix,
    run: &Accepted,
    source: &Source,
    objects: &[RawObject],
    account: &SourceAccount,
) -> Result<SourceRead> {
    let name = source.name.to_string();
    // Drivers of one run may do this at once: each keeps its own, and `written.json` names the one that counts.
    let report = layout::report(&run.run_id, &name, &Uuid::new_v4().to_string());
    let bytes = encode_object_reports(&account.objects)?;
    let key = layout::report_objects(&report);
    retrying(|| lake.create(&key, bytes.clone())).await?;
    if !account.rejects.is_empty() {
        let row = |reject: &Reject| RejectRow { run_id: run.run_id.clone(), reject: reject.clone() };
        let bytes = encode_rejects(&account.rejects.iter().map(row).collect::<Vec<_>>())?;
        let key = layout::report_rejects(&report);
        retrying(|| lake.create(&key, bytes.clone())).await?;
    }
    Ok(SourceRead {
        source: name,
        objects: objects.len() as u64,
        bytes: objects.iter().map(|object| object.size_bytes).sum(),
        digest: listing_digest(objects),
        tally: account.tally,
        drift: account.drift.clone(),
        report,
    })
}

/// The counts of each raw object in a report.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: they are gone, or do not parse.
pub(crate) async fn read_objects(lake: &Prefix, report: &str) -> Result<Vec<ObjectReport>> {
    let key = layout::report_objects(report);
    let bytes = retrying(|| lake.read(&key)).await?.ok_or_else(|| missing(&key))?;
    decode_object_reports(&key, bytes)
}

/// The rejects in the report of a reading.
///
/// # Errors
/// As [`read_objects`].
pub(crate) async fn read_report_rejects(lake: &Prefix, read: &SourceRead) -> Result<Vec<RejectRow>> {
    if read.tally.rejects == 0 {
        return Ok(Vec::new());
    }
    let key = layout::report_rejects(&read.report);
    let bytes = retrying(|| lake.read(&key)).await?.ok_or_else(|| missing(&key))?;
    decode_rejects(&key, bytes)
}

fn missing(key: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "a report of a run is missing").with("object", key).with_hint("start the run again")
}
