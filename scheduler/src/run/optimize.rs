//! Which files of a table are put together, and into what: pure decisions.
//!
//! Data flow: a table's files, the batches that they hold -> **[`bins`]** -> one new file for each bin.
//!
//! Invariant: a bin has files of one partition value. Bins of all partition values are cut at the same batches, so that
//! replacing one batch touches one file of each value and no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use lakewright_lake::DataFile;

/// Files of this share of the target, as a divisor, and larger are left alone: rewriting them would gain little.
const SMALL_ONE_IN: u64 = 2;

/// A file that may be put together with others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) file: DataFile,
    /// The first and the last batch of which it holds rows.
    pub(super) batches: RangeInclusive<u64>,
}

/// Whether the file is too small to be left alone.
pub(super) fn is_small(file: &DataFile, target_bytes: u64) -> bool {
    file.size_bytes < target_bytes / SMALL_ONE_IN && file.row_count > 0
}

/// Puts small files together, up to about `target_bytes` each, oldest batches first; gives only bins of several files.
pub(super) fn bins(candidates: Vec<Candidate>, target_bytes: u64) -> Vec<Vec<DataFile>> {
    let mut bins = Vec::new();
    let mut window = Window::default();
    for atom in atoms(candidates) {
        if !window.fits(&atom, target_bytes) {
            bins.extend(std::mem::take(&mut window).bins());
        }
        window.add(atom);
    }
    bins.extend(window.bins());
    bins
}

/// Groups of files that cannot be told apart by batch, in the order of batches.
fn atoms(mut candidates: Vec<Candidate>) -> Vec<Vec<DataFile>> {
    candidates.sort_by(|a, b| (a.batches.start(), &a.file.path).cmp(&(b.batches.start(), &b.file.path)));
    let mut atoms: Vec<(u64, Vec<DataFile>)> = Vec::new();
    for Candidate { file, batches } in candidates {
        match atoms.last_mut() {
            Some((last, files)) if batches.start() <= last => {
                *last = (*last).max(*batches.end());
                files.push(file);
            }
            _ => atoms.push((*batches.end(), vec![file])),
        }
    }
    atoms.into_iter().map(|(_, files)| files).collect()
}

type Values = BTreeMap<String, Option<String>>;

/// The files of neighbouring batches, by partition value.
#[derive(Default)]
struct Window(BTreeMap<Values, Vec<DataFile>>);

impl Window {
    fn fits(&self, atom: &[DataFile], target_bytes: u64) -> bool {
        let values: BTreeSet<&Values> = atom.iter().map(|file| &file.partition_values).collect();
        let size = |files: &[DataFile]| files.iter().map(|file| file.size_bytes).sum::<u64>();
        values.into_iter().all(|values| {
            let here = self.0.get(values).map_or(0, |files| size(files));
            let more: u64 =
                atom.iter().filter(|file| file.partition_values == *values).map(|file| file.size_bytes).sum();
            here == 0 || here.saturating_add(more) <= target_bytes
        })
    }

    fn add(&mut self, atom: Vec<DataFile>) {
        for file in atom {
            self.0.entry(file.partition_values.clone()).or_default().push(file);
        }
    }

    fn bins(self) -> impl Iterator<Item = Vec<DataFile>> {
        self.0.into_values().filter(|files| files.len() > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(path: &str, value: &str, size_bytes: u64, batches: RangeInclusive<u64>) -> Candidate {
        let partition_values = BTreeMap::from([("kind".to_owned(), Some(value.to_owned()))]);
        let file = DataFile { path: path.to_owned(), size_bytes, row_count: 1, partition_values, bounds: Vec::new() };
        Candidate { file, batches }
    }

    fn paths(bins: &[Vec<DataFile>]) -> Vec<Vec<&str>> {
        bins.iter().map(|files| files.iter().map(|file| file.path.as_str()).collect()).collect()
    }

    #[test]
    fn neighbours_are_put_together_up_to_the_target_and_a_file_alone_stays() {
        let files = (1..=5).map(|batch| candidate(&format!("f{batch}"), "a", 40, batch..=batch)).collect();
        assert_eq!(paths(&bins(files, 100)), [vec!["f1", "f2"], vec!["f3", "f4"]]);
    }

    #[test]
    fn partition_values_are_cut_at_the_same_batches() {
        let mut files = Vec::new();
        for batch in 1..=4 {
            files.push(candidate(&format!("a{batch}"), "a", 40, batch..=batch));
            files.push(candidate(&format!("b{batch}"), "b", 1, batch..=batch));
        }
        assert_eq!(paths(&bins(files, 100)), [vec!["a1", "a2"], vec!["b1", "b2"], vec!["a3", "a4"], vec!["b3", "b4"]]);
    }

    #[test]
    fn files_of_overlapping_batches_stay_in_one_window() {
        let files = vec![
            candidate("g", "a", 30, 1..=3),
            candidate("x", "b", 30, 2..=2),
            candidate("y", "b", 90, 3..=3),
            candidate("z", "a", 30, 4..=4),
        ];
        assert_eq!(paths(&bins(files, 100)), [vec!["g", "z"], vec!["x", "y"]]);
    }

    #[test]
    fn large_and_empty_files_are_left_alone() {
        let file = |size_bytes, row_count| DataFile { row_count, ..candidate("f", "a", size_bytes, 1..=1).file };
        assert!(is_small(&file(49, 1), 100));
        assert!(!is_small(&file(50, 1), 100));
        assert!(!is_small(&file(1, 0), 100));
    }
}
