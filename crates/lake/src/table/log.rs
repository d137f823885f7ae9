//! The objects of a table's log: their names, and what one entry says.
//!
//! Entries of other writers are read leniently: only what decides is looked at, so that actions which this program
//! does not know cannot make a foreign commit look like damage.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lakewright_error::{Error, ErrorKind, Result};
use serde_json::Value;

use super::read::read_snapshot;
use crate::Prefix;

/// Folder of the log below a table's root.
pub(super) const LOG_DIR: &str = "_delta_log";
/// Key in commitInfo of the run that made a version.
pub(super) const RUN_ID_KEY: &str = "lakewrightRunId";
/// Entries read at once.
const ENTRY_READS_MAX: usize = 8;

/// Key of the entry of a version.
pub(super) fn entry_key(version: u64) -> String {
    format!("{LOG_DIR}/{version:020}.json")
}

/// Version of an entry by its key; `None` for any other object.
pub(super) fn version_of(key: &str) -> Option<u64> {
    let digits = key.strip_prefix(LOG_DIR)?.strip_prefix('/')?.strip_suffix(".json")?;
    (digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Finds the newest version of a table; `None` if there is no table.
///
/// With `hint`, a version that was there once, asks for the versions after it one by one, and lists the log only if
/// the hint itself has gone. Without it, lists the log.
///
/// # Errors
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`]: the store did not answer, or refused.
pub async fn newest_version(table: &Prefix, hint: Option<u64>) -> Result<Option<u64>> {
    if let Some(mut newest) = hint
        && table.head(&entry_key(newest)).await?.is_some()
    {
        while let Some(next) = newest.checked_add(1)
            && table.head(&entry_key(next)).await?.is_some()
        {
            newest = next;
        }
        return Ok(Some(newest));
    }
    let listing = table.list(LOG_DIR).await?;
    Ok(listing.iter().filter_map(|object| version_of(&object.key)).max())
}

/// Finds the version after `base` that a run has made, if it has made one.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: an entry does not parse.
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`]: the store did not answer, or refused.
pub async fn version_of_run(table: &Prefix, base: Option<u64>, run_id: &str) -> Result<Option<u64>> {
    let entries = entries_after(table, base).await?;
    Ok(entries.iter().find(|(_, entry)| entry.run_id.as_deref() == Some(run_id)).map(|(version, _)| *version))
}

/// Gives the names, without directories, of all files that any version from `oldest` on holds.
///
/// # Errors
/// As [`read_snapshot`]; [`ErrorKind::Corrupt`] also if the table or that version of it is gone.
pub async fn file_names_since(table: &Prefix, oldest: u64) -> Result<BTreeSet<String>> {
    let snapshot = read_snapshot(table, Some(oldest)).await?.ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, "a version of the table that is needed is gone")
            .with("object", table.display_location())
            .with("version", oldest)
    })?;
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let mut names: BTreeSet<String> = snapshot.files.iter().map(|file| name(&file.path)).collect();
    for (_, entry) in entries_after(table, Some(oldest)).await? {
        names.extend(entry.added.iter().map(|path| name(path)));
    }
    Ok(names)
}

/// What one entry says, as far as it decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entry {
    pub(super) run_id: Option<String>,
    /// Paths of files that appear, as they are in the log: encoded.
    pub(super) added: Vec<String>,
    /// An add or a remove that changes data.
    pub(super) changes_data: bool,
    /// An add or a remove of any kind: compaction, too, replaces files.
    pub(super) changes_files: bool,
    pub(super) changes_protocol: bool,
    /// Text of the new schema and partition columns, if the entry has metadata.
    pub(super) metadata: Option<(String, Vec<String>)>,
}

/// Reads the entries after `base` that exist, in order of version.
pub(super) async fn entries_after(table: &Prefix, base: Option<u64>) -> Result<Vec<(u64, Entry)>> {
    let listing = match base {
        Some(base) => table.list_after(LOG_DIR, &entry_key(base)).await?,
        None => table.list(LOG_DIR).await?,
    };
    let versions: Vec<u64> = listing.iter().filter_map(|object| version_of(&object.key)).collect();
    let reads = versions.into_iter().map(|version| async move {
        let key = entry_key(version);
        let bytes = table.read(&key).await?.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, "the table's log was cleaned up while it was read")
                .with("object", table.display(&key))
        })?;
        parse_entry(&bytes).map(|entry| (version, entry)).map_err(|error| error.with("object", table.display(&key)))
    });
    stream::iter(reads).buffered(ENTRY_READS_MAX).try_collect().await
}

/// Reads one entry.
pub(super) fn parse_entry(bytes: &Bytes) -> Result<Entry> {
    let mut entry = Entry::default();
    for action in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
        let action = action.map_err(|source| {
            Error::new(ErrorKind::Corrupt, "the table's log entry does not parse").with_source(source)
        })?;
        take_action(&mut entry, &action);
    }
    Ok(entry)
}

fn take_action(entry: &mut Entry, action: &Value) {
    if let Some(run_id) = action.pointer("/commitInfo").and_then(|info| info.get(RUN_ID_KEY)).and_then(Value::as_str) {
        entry.run_id = Some(run_id.to_owned());
    }
    if let Some(file) = action.get("add").or_else(|| action.get("remove")) {
        entry.changes_files = true;
        entry.changes_data |= file.get("dataChange").and_then(Value::as_bool).unwrap_or(true);
    }
    entry.added.extend(action.pointer("/add/path").and_then(Value::as_str).map(str::to_owned));
    entry.changes_protocol |= action.get("protocol").is_some();
    if let Some(metadata) = action.get("metaData") {
        let schema = metadata.get("schemaString").and_then(Value::as_str).unwrap_or_default();
        let columns = metadata.get("partitionColumns").and_then(Value::as_array).into_iter().flatten();
        let columns = columns.filter_map(Value::as_str).map(str::to_owned).collect();
        entry.metadata = Some((schema.to_owned(), columns));
    }
}
