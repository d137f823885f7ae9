//! Tries once to make the next version of a table.
//!
//! The library's own commit loop is not used: it rebases by itself and tries again. The bytes of an entry are made
//! from its action types and created at exactly one version.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use deltalake_core::kernel::{Action, Add, CommitInfo, Metadata, Protocol, Remove, StructType, Transaction};
use lakewright_error::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    CommitOutcome, CommitPurpose, TableCommit,
    delta::{JOB_PROPERTY, Loaded, READER_VERSION, WRITER_VERSION, internal, to_arrow, to_delta},
    log::{self, Entry, RUN_ID_KEY, entry_key},
    partition::empty_partition_value,
    read::active_files,
    stats,
};
use crate::{Created, DataFile, Prefix};

/// Tries once to make the version after `commit.base`.
///
/// Losing to another writer is an outcome, not an error. A version that this run made before is found and returned.
/// The files must be there already; they are not looked at. The table's name in the log is that of the two folders
/// at the end of `table`: zone and table.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: the files do not fit the partition columns, or the schema changes in a way that only
///   replacing every file allows.
/// - [`ErrorKind::Conflict`]: another job owns the table, or its log is gone.
/// - [`ErrorKind::Unsupported`]: another program upgraded the table beyond writer version 2, or lets it only grow.
/// - [`ErrorKind::Denied`]: the store refuses.
/// - [`ErrorKind::Unavailable`]: no answer that decides; the version may exist. Call again.
/// - [`ErrorKind::Corrupt`]: the log does not parse.
///
/// # Cancel safety
/// Dropping the future leaves the outcome unknown, as `Unavailable` does.
pub async fn commit_version(table: &Prefix, commit: &TableCommit) -> Result<CommitOutcome> {
    let at = |error: Error| error.with("table", table.display_location());
    let schema = to_delta(&commit.schema).map_err(at)?;
    check_files(commit).map_err(at)?;
    let base = match commit.base {
        Some(version) => Some(read_base(table, version, commit, &schema).await.map_err(at)?),
        None => None,
    };
    let next = commit.base.map_or(0, |base| base.saturating_add(1));
    let bytes = make_entry(commit, &schema, base.as_ref(), &table_name(table)).map_err(at)?;
    let created = table.create(&entry_key(next), bytes).await;
    match created {
        Ok(Created::Now) => Ok(CommitOutcome::Committed { version: next }),
        Ok(Created::Before(_)) => match resolve(table, commit, base.as_ref()).await.map_err(at)? {
            Some(outcome) => Ok(outcome),
            None => Err(at(Error::new(ErrorKind::Conflict, "the table's log vanished while it was committed to"))),
        },
        // The answer may be lost and the version public: only the log says.
        Err(error) => match resolve(table, commit, base.as_ref()).await {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) | Err(_) => Err(at(error)),
        },
    }
}

/// Whether a table would take a commit as it is now: what [`commit_version`] asks before it makes anything.
///
/// # Errors
/// As [`commit_version`]; what a table takes now it may refuse later, if another program changes it in between.
pub async fn check_commit(table: &Prefix, commit: &TableCommit) -> Result<()> {
    let at = |error: Error| error.with("table", table.display_location());
    let schema = to_delta(&commit.schema).map_err(at)?;
    check_files(commit).map_err(at)?;
    if let Some(version) = commit.base {
        read_base(table, version, commit, &schema).await.map_err(at)?;
    }
    Ok(())
}

/// What the commit builds on.
struct Base {
    schema: StructType,
    partition_columns: Vec<String>,
    /// Metadata as in the log.
    metadata: Value,
}

async fn read_base(table: &Prefix, version: u64, commit: &TableCommit, schema: &StructType) -> Result<Base> {
    let loaded = Loaded::load(table, Some(version)).await?;
    if loaded.job() != Some(commit.job.as_str()) {
        return Err(Error::new(ErrorKind::Conflict, "the table belongs to another job")
            .with("owner", loaded.job().unwrap_or("none"))
            .with("job", &commit.job)
            .with_hint("give the model another zone or name, or drop the table"));
    }
    loaded.check_writable(!commit.removes.is_empty())?;
    let base = Base {
        schema: loaded.schema().as_ref().clone(),
        partition_columns: loaded.partition_columns().to_vec(),
        metadata: loaded.metadata()?,
    };
    if !keeps_old_files_readable(&base, schema, &commit.partition_columns)? {
        let arrow = to_arrow(&base.schema)?;
        let active = active_files(&loaded, table, &arrow, &base.partition_columns).await?;
        let removed: BTreeSet<&str> = commit.removes.iter().map(|file| file.path.as_str()).collect();
        if let Some(kept) = active.iter().find(|file| !removed.contains(file.path.as_str())) {
            return Err(Error::new(ErrorKind::Invalid, "the schema changes, and a file of the old schema stays")
                .with("object", &kept.path)
                .with_hint("run with --full-refresh"));
        }
    }
    Ok(base)
}

/// Whether files of the base fit the new schema: the same columns, and new ones that may be NULL.
fn keeps_old_files_readable(base: &Base, new: &StructType, partition_columns: &[String]) -> Result<bool> {
    if base.partition_columns != partition_columns {
        return Ok(false);
    }
    let (old_fields, new_fields) = (field_shapes(&base.schema)?, field_shapes(new)?);
    let kept = old_fields.iter().all(|(name, shape)| new_fields.get(name) == Some(shape));
    let added = new.fields().filter(|field| !old_fields.contains_key(field.name()));
    Ok(kept && added.into_iter().all(|field| field.is_nullable()))
}

/// Fields by name, without comments and the like.
fn field_shapes(schema: &StructType) -> Result<HashMap<String, Value>> {
    let shape = |field| serde_json::to_value(field).map(without_metadata).map_err(internal);
    schema.fields().map(|field| Ok((field.name().clone(), shape(field)?))).collect()
}

fn without_metadata(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(key, _)| key != "metadata");
            kept.map(|(key, value)| (key, without_metadata(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_metadata).collect(),
        other => other,
    }
}

/// Whether the two texts are the same columns in the same order.
fn same_columns(left: &str, right: &StructType) -> bool {
    let left = serde_json::from_str::<Value>(left).map(without_metadata);
    let right = serde_json::to_value(right).map(without_metadata);
    matches!((left, right), (Ok(left), Ok(right)) if left == right)
}

/// Refuses files that no reader could place.
fn check_files(commit: &TableCommit) -> Result<()> {
    let columns: BTreeSet<&str> = commit.partition_columns.iter().map(String::as_str).collect();
    let mut paths = BTreeSet::new();
    for file in &commit.adds {
        if !file.partition_values.keys().map(String::as_str).eq(columns.iter().copied()) {
            return Err(Error::new(ErrorKind::Invalid, "a file has values of other partition columns than its table")
                .with("object", &file.path));
        }
        if let Some((column, _)) = file.partition_values.iter().find(|(_, value)| value.as_deref() == Some("")) {
            return Err(empty_partition_value(column).with("object", &file.path));
        }
        if !paths.insert(file.path.as_str()) {
            return Err(Error::new(ErrorKind::Invalid, "a file is added twice").with("object", &file.path));
        }
    }
    match commit.removes.iter().find(|file| paths.contains(file.path.as_str())) {
        Some(file) => Err(Error::new(ErrorKind::Invalid, "a file is added and removed").with("object", &file.path)),
        None => Ok(()),
    }
}

/// Looks for this run's version after the base, and else at what others did. `None` if there is no version after it.
async fn resolve(table: &Prefix, commit: &TableCommit, base: Option<&Base>) -> Result<Option<CommitOutcome>> {
    let entries = log::entries_after(table, commit.base).await?;
    let mine = entries.iter().find(|(_, entry)| entry.run_id.as_deref() == Some(commit.run_id.as_str()));
    if let Some((version, _)) = mine {
        return Ok(Some(CommitOutcome::Committed { version: *version }));
    }
    let data_changed = entries.iter().any(|(_, entry)| disturbs(entry, commit, base));
    Ok(entries.last().map(|(latest, _)| CommitOutcome::Conflict { latest: *latest, data_changed }))
}

/// Whether a foreign entry changes what the commit builds on.
fn disturbs(entry: &Entry, commit: &TableCommit, base: Option<&Base>) -> bool {
    let removes_files_that_may_be_gone = entry.changes_files && !commit.removes.is_empty();
    let changes_schema = match (&entry.metadata, base) {
        (None, _) => false,
        (Some((schema, columns)), Some(base)) => {
            !same_columns(schema, &base.schema) || *columns != base.partition_columns
        }
        (Some(_), None) => true,
    };
    entry.changes_data || removes_files_that_may_be_gone || changes_schema || entry.changes_protocol
}

/// The bytes of the entry: one action a line.
fn make_entry(commit: &TableCommit, schema: &StructType, base: Option<&Base>, name: &str) -> Result<Bytes> {
    let mut actions = vec![Action::CommitInfo(commit_info(commit))];
    if base.is_none() {
        let protocol = json!({ "minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION });
        actions.push(Action::Protocol(serde_json::from_value::<Protocol>(protocol).map_err(internal)?));
    }
    actions.extend(metadata(commit, schema, base, name)?.map(Action::Metadata));
    let sequence = i64::try_from(commit.sequence).map_err(internal)?;
    let application = format!("lakewright:{}:{name}", commit.job);
    actions.push(Action::Txn(Transaction::new_with_last_update(application, sequence, Some(commit.timestamp_ms))));
    for file in &commit.removes {
        actions.push(Action::Remove(remove(file, commit)?));
    }
    for file in &commit.adds {
        actions.push(Action::Add(add(file, commit)?));
    }
    let mut bytes = Vec::new();
    for action in &actions {
        serde_json::to_writer(&mut bytes, action).map_err(internal)?;
        bytes.push(b'\n');
    }
    Ok(bytes.into())
}

fn commit_info(commit: &TableCommit) -> CommitInfo {
    let (operation, mode) = match (commit.base, commit.purpose, commit.removes.is_empty()) {
        (Some(_), CommitPurpose::Restore, _) => ("RESTORE", Some("Overwrite")),
        (Some(_), CommitPurpose::Compact, _) => ("OPTIMIZE", None),
        (None, _, _) => ("CREATE TABLE AS SELECT", Some("ErrorIfExists")),
        (Some(_), CommitPurpose::Write, true) => ("WRITE", Some("Append")),
        (Some(_), CommitPurpose::Write, false) => ("WRITE", Some("Overwrite")),
    };
    let partition_by = Value::from(json!(commit.partition_columns).to_string());
    let mut parameters = HashMap::from([("partitionBy".to_owned(), partition_by)]);
    parameters.extend(mode.map(|mode| ("mode".to_owned(), Value::from(mode))));
    let info = [
        (RUN_ID_KEY.to_owned(), Value::from(commit.run_id.as_str())),
        ("lakewrightJob".to_owned(), Value::from(commit.job.as_str())),
        ("lakewrightSequence".to_owned(), Value::from(commit.sequence)),
    ];
    CommitInfo {
        timestamp: Some(commit.timestamp_ms),
        operation: Some(operation.to_owned()),
        operation_parameters: Some(parameters),
        read_version: commit.base,
        engine_info: Some(concat!("lakewright/", env!("CARGO_PKG_VERSION")).to_owned()),
        info: info.into(),
        ..CommitInfo::default()
    }
}

/// New metadata, if the table is new or anything about it changes.
fn metadata(commit: &TableCommit, schema: &StructType, base: Option<&Base>, name: &str) -> Result<Option<Metadata>> {
    let new = json!({
        "name": name,
        "description": commit.description,
        "schemaString": serde_json::to_string(schema).map_err(internal)?,
        "partitionColumns": commit.partition_columns,
    });
    let Some(base) = base else {
        let mut all = json!({
            "id": Uuid::new_v4().to_string(),
            "format": { "provider": "parquet", "options": {} },
            "configuration": { JOB_PROPERTY: commit.job },
            "createdTime": commit.timestamp_ms,
        });
        put_all(&mut all, new);
        return serde_json::from_value(all).map(Some).map_err(internal);
    };
    let old = |key: &str| base.metadata.get(key).cloned().unwrap_or(Value::Null);
    let unchanged = *schema == base.schema
        && commit.partition_columns == base.partition_columns
        && old("description") == json!(commit.description);
    if unchanged {
        return Ok(None);
    }
    let mut all = base.metadata.clone();
    put_all(&mut all, new);
    serde_json::from_value(all).map(Some).map_err(internal)
}

fn put_all(target: &mut Value, new: Value) {
    if let (Value::Object(target), Value::Object(new)) = (target, new) {
        target.extend(new);
    }
}

fn add(file: &DataFile, commit: &TableCommit) -> Result<Add> {
    Ok(Add {
        path: file.path.clone(),
        partition_values: partition_values(file),
        size: i64::try_from(file.size_bytes).map_err(internal)?,
        modification_time: commit.timestamp_ms,
        data_change: commit.purpose != CommitPurpose::Compact,
        stats: Some(stats::encode(file.row_count, &file.bounds)),
        ..Add::default()
    })
}

fn remove(file: &DataFile, commit: &TableCommit) -> Result<Remove> {
    Ok(Remove {
        path: file.path.clone(),
        data_change: commit.purpose != CommitPurpose::Compact,
        deletion_timestamp: Some(commit.timestamp_ms),
        extended_file_metadata: Some(true),
        partition_values: Some(partition_values(file)),
        size: Some(i64::try_from(file.size_bytes).map_err(internal)?),
        ..Remove::default()
    })
}

fn partition_values(file: &DataFile) -> HashMap<String, Option<String>> {
    file.partition_values.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// `zone.table` by the last two folders of the table's root.
fn table_name(table: &Prefix) -> String {
    let parts: Vec<String> = table.root().parts().map(|part| part.as_ref().to_owned()).collect();
    parts.get(parts.len().saturating_sub(2)..).unwrap_or_default().join(".")
}
