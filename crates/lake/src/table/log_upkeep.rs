//! Keeps the log of a table short to read: when a checkpoint is due, and which entries nobody needs any more.
//!
//! Invariant: a version that somebody may still ask for can be read afterwards: its log is kept from the newest
//! checkpoint at or before it on. Nothing here decides what a table holds, so a failure is never a run's.

use std::collections::{BTreeMap, BTreeSet};

use lakewright_error::Result;

use super::log::{LOG_DIR, version_of};
use crate::{ListedObject, Prefix};

/// A version whose number this divides gets a checkpoint, as in Delta's own default.
const CHECKPOINT_INTERVAL: u64 = 10;

/// Whether the version should get a checkpoint when it has been made.
#[must_use]
pub fn checkpoint_due(version: u64) -> bool {
    version > 0 && version.is_multiple_of(CHECKPOINT_INTERVAL)
}

/// Whether the last checkpoint of a table lies so far behind the version that it should get one.
///
/// # Errors
/// As [`clean_log`].
pub async fn checkpoint_overdue(table: &Prefix, version: u64) -> Result<bool> {
    let log = table.list(LOG_DIR).await?;
    let last = checkpoints(&log).range(..=version).next_back().copied();
    Ok(version - last.unwrap_or(0) >= CHECKPOINT_INTERVAL)
}

/// Entries and checkpoints of one log that nobody needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogUpkeep {
    /// Keys relative to the table's root, with their sizes in bytes.
    pub objects: Vec<(String, u64)>,
}

/// Finds what of a table's log is not needed to read the versions from `oldest` on, and was written before `cutoff_us`
/// (microseconds since 1970-01-01T00:00:00Z). Deletes nothing.
///
/// # Errors
/// - [`lakewright_error::ErrorKind::Unavailable`], [`lakewright_error::ErrorKind::Denied`]: the store did not answer, or
///   refused.
pub async fn clean_log(table: &Prefix, oldest: u64, cutoff_us: i64) -> Result<LogUpkeep> {
    let log = table.list(LOG_DIR).await?;
    Ok(LogUpkeep { objects: unneeded(&log, oldest, cutoff_us) })
}

fn unneeded(log: &[ListedObject], oldest: u64, cutoff_us: i64) -> Vec<(String, u64)> {
    let Some(start) = checkpoints(log).range(..=oldest).next_back().copied() else { return Vec::new() };
    // Clocks of stores may step: what is older in the log is never kept without what it builds on.
    let mut found: Vec<(u64, &ListedObject)> = log
        .iter()
        .filter_map(|object| Some((version_of(&object.key).or_else(|| checkpoint_of(&object.key))?, object)))
        .filter(|(version, _)| *version < start)
        .collect();
    found.sort_by_key(|(version, _)| *version);
    let old = found.into_iter().take_while(|(_, object)| object.modified_us < cutoff_us);
    old.map(|(_, object)| (object.key.clone(), object.size_bytes)).collect()
}

/// Versions that have a whole checkpoint: of several parts, others may have written some and then died.
fn checkpoints(log: &[ListedObject]) -> BTreeSet<u64> {
    let (mut whole, mut parts) = (BTreeSet::new(), BTreeMap::<_, u64>::new());
    for key in log.iter().map(|object| object.key.as_str()) {
        let Some(version) = checkpoint_of(key) else { continue };
        match part_of(key) {
            Some(count) => *parts.entry((version, count)).or_default() += 1,
            None => {
                whole.insert(version);
            }
        }
    }
    whole.extend(parts.into_iter().filter(|((_, count), found)| found >= count).map(|((version, _), _)| version));
    whole
}

/// Of how many parts the checkpoint is that a key names one part of; `None` if it is in one object.
fn part_of(key: &str) -> Option<u64> {
    let mut words = key.rsplit('.').skip(1);
    let (count, number) = (words.next()?, words.next()?);
    let is_number = |word: &str| word.len() == 10 && word.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(count) && is_number(number)).then(|| count.parse().ok())?
}

/// Version of a checkpoint by its key, of one part or of several; `None` for any other object.
fn checkpoint_of(key: &str) -> Option<u64> {
    let name = key.strip_prefix(LOG_DIR)?.strip_prefix('/')?;
    let (digits, rest) = name.split_once('.')?;
    let is_checkpoint = rest.starts_with("checkpoint.") && (rest.ends_with(".parquet") || rest.ends_with(".json"));
    (is_checkpoint && digits.len() == 20).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(names: &[(&str, i64)]) -> Vec<ListedObject> {
        let object = |(name, modified_us): &(&str, i64)| ListedObject {
            key: format!("{LOG_DIR}/{name}"),
            size_bytes: 1,
            modified_us: *modified_us,
            etag: None,
        };
        names.iter().map(object).collect()
    }

    fn keys(found: &[(String, u64)]) -> Vec<&str> {
        found.iter().filter_map(|(key, _)| key.strip_prefix("_delta_log/")).collect()
    }

    const LOG: [(&str, i64); 9] = [
        ("00000000000000000000.json", 1),
        ("00000000000000000001.json", 2),
        ("00000000000000000002.checkpoint.parquet", 4),
        ("00000000000000000002.json", 3),
        ("00000000000000000003.json", 5),
        ("00000000000000000004.checkpoint.0000000001.0000000002.parquet", 7),
        ("00000000000000000004.checkpoint.0000000002.0000000002.parquet", 7),
        ("00000000000000000004.json", 6),
        ("_last_checkpoint", 7),
    ];

    #[test]
    fn the_log_is_kept_from_the_newest_checkpoint_before_the_oldest_version_on() {
        assert_eq!(keys(&unneeded(&log(&LOG), 1, 100)), Vec::<&str>::new());
        assert_eq!(keys(&unneeded(&log(&LOG), 3, 100)), ["00000000000000000000.json", "00000000000000000001.json"]);
        assert_eq!(keys(&unneeded(&log(&LOG), 4, 100)).len(), 5);
    }

    #[test]
    fn a_checkpoint_that_lacks_a_part_is_none() {
        let log: Vec<ListedObject> =
            log(&LOG).into_iter().filter(|object| !object.key.contains("0000000002.0")).collect();
        assert_eq!(keys(&unneeded(&log, 4, 100)), ["00000000000000000000.json", "00000000000000000001.json"]);
    }

    #[test]
    fn what_is_young_stays_and_so_does_all_that_comes_after_it() {
        assert_eq!(keys(&unneeded(&log(&LOG), 4, 2)), ["00000000000000000000.json"]);
        let mut stepped = log(&LOG);
        stepped[1].modified_us = 1000;
        assert_eq!(keys(&unneeded(&stepped, 4, 100)), ["00000000000000000000.json"]);
    }

    #[test]
    fn every_tenth_version_gets_a_checkpoint() {
        let due: Vec<u64> = (0..=30).filter(|version| checkpoint_due(*version)).collect();
        assert_eq!(due, [10, 20, 30]);
    }
}
