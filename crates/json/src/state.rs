//! What is known about the record that is being decoded, and the counts that it adds to if it becomes a row.

use std::collections::HashMap;

use crate::{
    fault::Reason,
    options::{Limits, OnMisfit},
    report::{Misfit, Report},
};

/// Names of undeclared fields that are told apart.
const UNDECLARED_NAMES_MAX: usize = 10_000;

/// Why and where a record ended or a value did not fit.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) reason: Reason,
    /// Index in the text of the cursor.
    pub(crate) at: usize,
    pub(crate) message: &'static str,
    pub(crate) column: Option<String>,
}

/// The record's state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) limits: Limits,
    on_misfit: OnMisfit,
    /// Objects and arrays around the cursor.
    pub(crate) depth: usize,
    pub(crate) keys: usize,
    /// The kinds of the containers around a value that is skipped; see [`crate::cursor::Cursor::skip_value`].
    pub(crate) containers: Vec<u8>,
    /// Where a key is put if it is written with escapes.
    pub(crate) key: String,
    halt: Option<Finding>,
    misfits: Vec<Finding>,
    /// Whether a value of the record's present field did not fit.
    pub(crate) fresh: bool,
    pub(crate) duplicates: u64,
    /// Counters of [`Undeclared`] that this record adds to.
    undeclared: Vec<u32>,
    pub(crate) names: Undeclared,
    /// Whether undeclared fields are kept as text.
    pub(crate) rescue: bool,
    /// Fields that are kept, as the inside of a JSON object.
    pub(crate) rescued: String,
}

/// A point of a record to come back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    depth: usize,
    keys: usize,
    duplicates: u64,
    misfits: usize,
    fresh: bool,
    undeclared: usize,
    rescued: usize,
}

/// Undeclared names and how many rows had them.
#[derive(Debug, Default)]
pub(crate) struct Undeclared {
    pub(crate) counted: bool,
    numbers: HashMap<String, u32>,
    counts: Vec<u64>,
}

impl Undeclared {
    /// The counter of a name. All share one when there are too many.
    pub(crate) fn number(&mut self, name: String) -> u32 {
        if !self.counted {
            return 0;
        }
        let name = if self.numbers.len() < UNDECLARED_NAMES_MAX { name } else { String::new() };
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(name).or_insert(next);
        if number == next {
            self.counts.push(0);
        }
        number
    }

    fn take(&mut self) -> impl Iterator<Item = (String, u64)> {
        let Self { numbers, counts, .. } = self;
        let counted = numbers.iter().filter_map(|(name, number)| {
            let count = std::mem::take(counts.get_mut(*number as usize)?);
            (count > 0).then(|| (name.clone(), count))
        });
        counted.collect::<Vec<_>>().into_iter()
    }
}

impl State {
    pub(crate) fn new(limits: Limits, on_misfit: OnMisfit, drift: bool, rescue: bool) -> Self {
        Self {
            limits,
            on_misfit,
            depth: 0,
            keys: 0,
            containers: Vec::new(),
            key: String::new(),
            halt: None,
            misfits: Vec::new(),
            fresh: false,
            duplicates: 0,
            undeclared: Vec::new(),
            names: Undeclared { counted: drift, ..Undeclared::default() },
            rescue,
            rescued: String::new(),
        }
    }

    /// Forgets the record before.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.depth = 0;
        self.keys = 0;
        self.duplicates = 0;
        self.containers.clear();
        self.misfits.clear();
        self.fresh = false;
        self.undeclared.clear();
        self.rescued.clear();
    }

    /// Notes why the record ends here.
    #[cold]
    pub(crate) fn halt(&mut self, reason: Reason, at: usize, message: &'static str) {
        self.halt = Some(Finding { reason, at, message, column: None });
    }

    pub(crate) fn take_halt(&mut self) -> Option<Finding> {
        self.halt.take()
    }

    /// Notes a value that does not fit.
    #[cold]
    #[inline(never)]
    pub(crate) fn misfit(&mut self, at: usize, message: &'static str) {
        self.misfits.push(Finding { reason: Reason::DoesNotFit, at, message, column: None });
        self.fresh = true;
    }

    /// Gives the newest misfits their column.
    pub(crate) fn name_misfits(&mut self, column: &str) {
        for misfit in self.misfits.iter_mut().rev().take_while(|misfit| misfit.column.is_none()) {
            misfit.column = Some(column.to_owned());
        }
    }

    /// Forgets what did not fit in a column, or in its fields, from a place of the text on: a later value replaces it. What
    /// other objects of the record have under the same name stays.
    pub(crate) fn forget_misfits(&mut self, column: &str, from: usize) {
        let is_of_column =
            |name: &String| name.strip_prefix(column).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.misfits.retain(|misfit| misfit.at < from || !misfit.column.as_ref().is_some_and(is_of_column));
    }

    /// What is known now, to come back to by [`State::go_back`].
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            depth: self.depth,
            keys: self.keys,
            duplicates: self.duplicates,
            misfits: self.misfits.len(),
            fresh: self.fresh,
            undeclared: self.undeclared.len(),
            rescued: self.rescued.len(),
        }
    }

    /// Forgets what was noted since: the same text is read again.
    pub(crate) fn go_back(&mut self, mark: &Mark) {
        self.depth = mark.depth;
        self.keys = mark.keys;
        self.duplicates = mark.duplicates;
        self.misfits.truncate(mark.misfits);
        self.fresh = mark.fresh;
        self.undeclared.truncate(mark.undeclared);
        self.rescued.truncate(mark.rescued);
    }

    /// Notes an undeclared field.
    #[inline]
    pub(crate) fn undeclared(&mut self, number: u32) {
        if self.names.counted {
            self.undeclared.push(number);
        }
    }

    /// Whether a value of the record did not fit.
    #[inline]
    pub(crate) fn has_misfits(&self) -> bool {
        !self.misfits.is_empty()
    }

    /// The first misfit, if it makes a fault of the record.
    #[inline]
    pub(crate) fn fault(&mut self) -> Option<Finding> {
        if self.misfits.is_empty() || self.on_misfit == OnMisfit::Null {
            return None;
        }
        Some(self.misfits.swap_remove(0))
    }

    /// Adds what was noted about a record that has become a row. `offset` is that of the cursor's text.
    #[inline]
    pub(crate) fn commit(&mut self, report: &mut Report, offset: u64) {
        report.rows += 1;
        report.duplicates += self.duplicates;
        for number in &self.undeclared {
            if let Some(count) = self.names.counts.get_mut(*number as usize) {
                *count += 1;
            }
        }
        if !self.misfits.is_empty() {
            self.commit_misfits(report, offset);
        }
    }

    #[cold]
    fn commit_misfits(&mut self, report: &mut Report, offset: u64) {
        for misfit in self.misfits.drain(..) {
            let first = Misfit { count: 0, at: offset + misfit.at as u64, message: misfit.message.to_owned() };
            report.misfits.entry(misfit.column.unwrap_or_default()).or_insert(first).count += 1;
        }
    }

    /// Completes a report and begins the next.
    pub(crate) fn take_report(&mut self, report: &mut Report) -> Report {
        report.undeclared.extend(self.names.take());
        std::mem::take(report)
    }
}
