//! What an update of a table that is computed file by file reads again, and which of its files it takes the place of.
//!
//! Data flow: the table's ledger, what its driving input holds now, and its own files -> [`rework`] -> the step's inputs,
//! the files that its commit removes, and the ledger that comes after.
//!
//! Invariant: batches are replaced as a whole. The files that the step of a batch has written hold the rows of its units
//! and of no others, so that reading again what is left of these units gives exactly the rows that stay. A file made by
//! compaction holds rows of several batches: those that stay are taken over. Pure: every driver of a run finds the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    DataFile,
    state::{Origin, Origins, Unit},
};

/// What a table has consumed and made, by its ledger.
#[derive(Clone, Debug, Default)]
pub(crate) struct Consumed {
    /// Units of the driving input by key.
    pub(crate) units: BTreeMap<String, Unit>,
    /// Its own files by path.
    made: BTreeMap<String, Unit>,
    /// Units of other inputs.
    others: Vec<Unit>,
}

/// One unit of the driving input as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) unit: Unit,
    /// The file that holds its rows, if it is not the unit itself: a file is read as a whole.
    pub(crate) file: Option<String>,
    /// Whether it is what was consumed under its key, if something was.
    pub(crate) same: bool,
}

/// What is read again and what is replaced.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rework {
    /// Batches that are replaced.
    batches: BTreeSet<u64>,
    /// Keys of the units that are read.
    pub(crate) reads: BTreeSet<String>,
    /// Own files that disappear, sorted by path.
    pub(crate) removes: Vec<DataFile>,
    /// Of those, the ones whose rows stay in part.
    pub(crate) splits: Vec<Split>,
}

/// A file made by compaction of which some rows stay.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Split {
    pub(crate) file: DataFile,
    /// The files that steps have written whose rows stay, in order.
    pub(crate) kept: Vec<Origin>,
    /// The numbers of these rows in the file.
    pub(crate) rows: Vec<Range<u64>>,
}

/// What becomes of the rows of units that the driving input does not have any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    Stays,
    Goes,
}

impl Consumed {
    /// Sorts a ledger: `table` is the table's own name, `input` that of its driving input.
    pub(crate) fn new(table: &str, input: &str, ledger: Vec<Unit>) -> Self {
        let mut consumed = Self::default();
        for unit in ledger {
            if unit.input == input {
                let gone = consumed.units.get(&unit.key).is_some_and(|before| before.gone);
                consumed.units.insert(unit.key.clone(), Unit { gone: unit.gone || gone, ..unit });
            } else if unit.input == table {
                consumed.made.insert(unit.key.clone(), unit);
            } else {
                consumed.others.push(unit);
            }
        }
        consumed
    }

    /// The ledger after the update: `read` is what was read, `made` what was written.
    pub(crate) fn after(self, rework: &Rework, read: Vec<Unit>, made: Vec<Unit>) -> Vec<Unit> {
        let stays = |unit: &Unit| !rework.batches.contains(&unit.batch);
        let units = self.units.into_values().filter(|unit| stays(unit) && !rework.reads.contains(&unit.key));
        let own = self.made.into_values().filter(stays);
        self.others.into_iter().chain(units).chain(own).chain(read).chain(made).collect()
    }
}

/// A table's own files at the base release, and what those hold that were made by compaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own<'a> {
    pub(crate) files: &'a [DataFile],
    pub(crate) origins: &'a Origins,
}

/// Finds what must be read again. `present` is the driving input now, by key.
///
/// # Errors
/// - [`ErrorKind::Conflict`]: rows that must stay cannot be told apart from those that are replaced, for their unit has
///   gone.
pub(crate) fn rework(
    consumed: &Consumed,
    present: &BTreeMap<String, Present>,
    own: Own<'_>,
    gone: Gone,
) -> Result<Rework> {
    let is_affected = |unit: &&Unit| match present.get(&unit.key) {
        Some(present) => !present.same,
        None => gone == Gone::Goes,
    };
    let mut batches: BTreeSet<u64> = consumed.units.values().filter(is_affected).map(|unit| unit.batch).collect();
    // Where it is not known which units a file is of, all of them are read again.
    let batch_of = |origin: &Origin| consumed.made.get(&origin.path).map_or(0, |made| made.batch);
    let is_unknown = |file: &DataFile| own.origins.of(file).iter().any(|origin| batch_of(origin) == 0);
    let mut reads = read_with(consumed, present, &mut batches);
    if !batches.is_empty() && (batches.contains(&0) || own.files.iter().any(is_unknown)) {
        batches = consumed.units.values().map(|unit| unit.batch).chain([0]).collect();
        refuse_lost(consumed, present, &batches, gone)?;
        reads = present.keys().cloned().collect();
        return Ok(Rework { batches, reads, removes: own.files.to_vec(), splits: Vec::new() });
    }
    refuse_lost(consumed, present, &batches, gone)?;
    let (mut removes, mut splits) = (Vec::new(), Vec::new());
    for file in own.files {
        let places = own.origins.places(file);
        let (gone, kept): (Vec<_>, Vec<_>) =
            places.into_iter().partition(|(origin, _)| batches.contains(&batch_of(origin)));
        if gone.is_empty() {
            continue;
        }
        removes.push(file.clone());
        if !kept.is_empty() {
            let (kept, rows) = kept.into_iter().unzip();
            splits.push(Split { file: file.clone(), kept, rows });
        }
    }
    Ok(Rework { batches, reads, removes, splits })
}

/// The units that are read: those that were not consumed, and those of the batches. What lies in one file is read
/// together, so that batches of other units in it are replaced, too.
fn read_with(
    consumed: &Consumed,
    present: &BTreeMap<String, Present>,
    batches: &mut BTreeSet<u64>,
) -> BTreeSet<String> {
    loop {
        let is_read = |key: &&String| consumed.units.get(*key).is_none_or(|unit| batches.contains(&unit.batch));
        let reads: BTreeSet<String> = present.keys().filter(is_read).cloned().collect();
        let files: BTreeSet<&String> = reads.iter().filter_map(|key| present.get(key)?.file.as_ref()).collect();
        let beside =
            present.iter().filter(|(_, present)| present.file.as_ref().is_some_and(|file| files.contains(file)));
        let more = beside.filter_map(|(key, _)| consumed.units.get(key)).map(|unit| unit.batch);
        let before = batches.len();
        batches.extend(more.collect::<Vec<_>>());
        if batches.len() == before {
            return reads;
        }
    }
}

/// Rows of a unit that has gone lie in the files of its batch, and nothing can give them again.
fn refuse_lost(
    consumed: &Consumed,
    present: &BTreeMap<String, Present>,
    batches: &BTreeSet<u64>,
    gone: Gone,
) -> Result<()> {
    let is_lost = |unit: &&Unit| batches.contains(&unit.batch) && !present.contains_key(&unit.key);
    match consumed.units.values().find(is_lost) {
        Some(lost) if gone == Gone::Stays => Err(Error::new(
            ErrorKind::Conflict,
            "rows of an object that has gone cannot be told apart from changed ones",
        )
        .with("object", &lost.key)
        .with_hint(
            "an object that was read together with it has changed: restore it, or rebuild the table without its \
                     rows with --full-refresh",
        )),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use lakewright_lake::RawObject;

    use super::*;

    fn unit(key: &str, batch: u64) -> Unit {
        let object = RawObject { key: key.to_owned(), size_bytes: 1, etag: None, modified_us: 0 };
        Unit::raw("raw.events", &object).in_batch(batch)
    }

    fn file(path: &str) -> DataFile {
        let path = path.to_owned();
        DataFile { path, size_bytes: 1, row_count: 1, partition_values: BTreeMap::new(), bounds: Vec::new() }
    }

    fn present(keys: &[&str], changed: &[&str]) -> BTreeMap<String, Present> {
        let one =
            |key: &&str| ((*key).to_owned(), Present { unit: unit(key, 0), file: None, same: !changed.contains(key) });
        keys.iter().map(one).collect()
    }

    /// Objects a and b in batch 1, c in batch 2; files f1 and g1 of batch 1, f2 of batch 2.
    fn consumed() -> Consumed {
        let own = |path: &str, batch| Unit::file("staging.events", &file(path)).in_batch(batch);
        let ledger = vec![unit("a", 1), unit("b", 1), own("f1", 1), own("g1", 1), unit("c", 2), own("f2", 2)];
        Consumed::new("staging.events", "raw.events", ledger)
    }

    fn reads(rework: &Rework) -> Vec<&str> {
        rework.reads.iter().map(String::as_str).collect()
    }

    fn removes(rework: &Rework) -> Vec<&str> {
        rework.removes.iter().map(|file| file.path.as_str()).collect()
    }

    /// Files that steps have written, as none was made by compaction.
    fn whole(files: &[DataFile]) -> Own<'_> {
        static NONE: std::sync::LazyLock<Origins> = std::sync::LazyLock::new(Origins::default);
        Own { files, origins: &NONE }
    }

    fn own() -> Vec<DataFile> {
        ["f1", "f2", "g1"].map(file).to_vec()
    }

    #[test]
    fn a_changed_unit_replaces_its_batch_and_what_is_new_is_read_with_it() {
        let now = present(&["a", "b", "c", "d"], &["b"]);
        let found = rework(&consumed(), &now, whole(&own()), Gone::Stays).unwrap();
        assert_eq!((reads(&found), removes(&found)), (vec!["a", "b", "d"], vec!["f1", "g1"]));
        let read: Vec<Unit> = ["a", "b", "d"].map(|key| unit(key, 3)).to_vec();
        let made = vec![Unit::file("staging.events", &file("f3")).in_batch(3)];
        let after = consumed().after(&found, read, made);
        let mut after: Vec<(&str, u64)> = after.iter().map(|unit| (unit.key.as_str(), unit.batch)).collect();
        after.sort_unstable();
        assert_eq!(after, [("a", 3), ("b", 3), ("c", 2), ("d", 3), ("f2", 2), ("f3", 3)]);
    }

    #[test]
    fn rows_of_what_has_gone_go_only_where_they_are_to_go() {
        let now = present(&["a", "b"], &[]);
        let found = rework(&consumed(), &now, whole(&own()), Gone::Goes).unwrap();
        assert_eq!((reads(&found), removes(&found)), (vec![], vec!["f2"]));
        let found = rework(&consumed(), &now, whole(&own()), Gone::Stays).unwrap();
        assert_eq!((reads(&found), removes(&found)), (vec![], vec![]));
    }

    #[test]
    fn rows_that_stay_and_cannot_be_read_again_are_never_lost() {
        let now = present(&["a", "c"], &["a"]);
        let error = rework(&consumed(), &now, whole(&own()), Gone::Stays).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains('b'), "{error}");
        let found = rework(&consumed(), &now, whole(&own()), Gone::Goes).unwrap();
        assert_eq!((reads(&found), removes(&found)), (vec!["a"], vec!["f1", "g1"]));
    }

    #[test]
    fn everything_is_read_again_where_batches_are_not_known() {
        let now = present(&["a", "b", "c"], &["c"]);
        let with_foreign = [own(), vec![file("x")]].concat();
        let found = rework(&consumed(), &now, whole(&with_foreign), Gone::Stays).unwrap();
        assert_eq!((reads(&found), removes(&found)), (vec!["a", "b", "c"], vec!["f1", "f2", "g1", "x"]));
        let unchanged =
            rework(&consumed(), &present(&["a", "b", "c", "d"], &[]), whole(&with_foreign), Gone::Stays).unwrap();
        assert_eq!((reads(&unchanged), removes(&unchanged)), (vec!["d"], vec![]));
    }

    /// The files f1, g1 and f2 in one, in this order.
    fn compacted() -> Origins {
        let mut origins = Origins::default();
        let one = |path: &str| Origin { path: path.to_owned(), size_bytes: 1, row_count: 10 };
        origins.insert("big", ["f1", "g1", "f2"].map(one).to_vec());
        origins
    }

    #[test]
    fn of_a_compacted_file_the_rows_of_other_batches_are_taken_over() {
        let origins = compacted();
        let files = [file("big")];
        let own = Own { files: &files, origins: &origins };
        let now = present(&["a", "b", "c"], &["b"]);
        let found = rework(&consumed(), &now, own, Gone::Stays).unwrap();
        assert_eq!((reads(&found), removes(&found)), (vec!["a", "b"], vec!["big"]));
        let split = &found.splits[0];
        assert_eq!((split.kept[0].path.as_str(), split.rows.len(), &split.rows[0]), ("f2", 1, &(20..30)));
        // The object of batch 2 may even be gone: its rows are not read again.
        let found = rework(&consumed(), &present(&["a", "b"], &["b"]), own, Gone::Stays).unwrap();
        assert_eq!((reads(&found), found.splits.len()), (vec!["a", "b"], 1));
        let read: Vec<Unit> = ["a", "b"].map(|key| unit(key, 3)).to_vec();
        let mut after: Vec<String> = consumed().after(&found, read, vec![]).into_iter().map(|unit| unit.key).collect();
        after.sort_unstable();
        assert_eq!(after, ["a", "b", "c", "f2"], "the ledger names what steps have written");
    }

    #[test]
    fn units_that_lie_in_one_file_are_read_together() {
        let mut now = present(&["a", "b", "c", "d"], &["b"]);
        for key in ["b", "c"] {
            now.get_mut(key).unwrap().file = Some("upstream".to_owned());
        }
        let found = rework(&consumed(), &now, whole(&own()), Gone::Goes).unwrap();
        assert_eq!((reads(&found), removes(&found)), (vec!["a", "b", "c", "d"], vec!["f1", "f2", "g1"]));
        // Nothing of them has changed: only what is new is read.
        let mut now = present(&["a", "b", "c", "d"], &[]);
        for key in ["b", "c"] {
            now.get_mut(key).unwrap().file = Some("upstream".to_owned());
        }
        let found = rework(&consumed(), &now, whole(&own()), Gone::Goes).unwrap();
        assert_eq!((reads(&found), removes(&found)), (vec!["d"], vec![]));
    }
}
