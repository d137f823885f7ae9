//! What a run does about a model whose rows are computed by key, by partition or by time.
//!
//! Invariant: rows are computed by key only if everything that has changed tells which keys it changes; else all are.

use chrono::{DateTime, Timelike};
use lakewright_compiler::{ModelKind, Sides, TimeRange};
use lakewright_lake::state::ReleasedTable;

use super::{Decision, InputChange, Step, UNCHANGED};
use crate::{
    StepWork,
    evidence::Evidence,
    lineage::Lineage,
    spans::{BEGINNING_US, Spans, horizon, window},
};

impl Step<'_> {
    /// Decides about a model of which rows are computed by key.
    pub(super) fn decide_by_key(
        &self,
        sides: &Sides,
        lineage: &Lineage,
        entry: &ReleasedTable,
        changes: &[InputChange<'_>],
    ) -> Decision {
        let decision = self.decide_by_changes(sides, lineage, changes);
        match &self.model.kind {
            ModelKind::IncrementalByTimeRange { range, .. } => self.add_intervals(decision, range, entry),
            _ => decision,
        }
    }

    fn decide_by_changes(&self, sides: &Sides, lineage: &Lineage, changes: &[InputChange<'_>]) -> Decision {
        for change in changes {
            let input = change.input();
            let why = if lineage.behind_views.contains(input) {
                Some("and it is read through a view")
            } else if !sides.contains_key(input) {
                Some("and its rows do not tell which rows they change")
            } else {
                match change {
                    InputChange::Rebuilt(_) => Some(""),
                    InputChange::Listed(_, difference)
                        if !difference.changed.is_empty() || !difference.lost.is_empty() =>
                    {
                        Some("and nobody knows any more what these objects gave")
                    }
                    InputChange::Moved(_) | InputChange::Updated(_) | InputChange::Gained(_)
                        if !self.evidence.knows_changes(&self.model.name, input) =>
                    {
                        Some("and files that were read are gone")
                    }
                    _ => None,
                }
            };
            if let Some(why) = why {
                let comma = if why.is_empty() { "" } else { ", " };
                return self.decision(StepWork::Replace, format!("{}{comma}{why}", change.describe()));
            }
        }
        match changes.first() {
            None => self.decision(StepWork::Skip, UNCHANGED),
            Some(first) => self.decision(StepWork::Update, first.describe()),
        }
    }

    fn add_intervals(&self, decision: Decision, range: &TimeRange, entry: &ReleasedTable) -> Decision {
        if decision.action.work == StepWork::Replace {
            return decision;
        }
        let asked = self.evidence.window.is_some();
        let intervals = due(range, self.evidence, entry);
        let Some((from, to)) = intervals.bounds() else { return decision };
        let what = if asked { "is asked for" } else { "is missing" };
        let reason = format!("{} to {} {what}", instant(from), instant(to));
        match decision.action.work {
            StepWork::Update => self.decision(StepWork::Update, format!("{}; {reason}", decision.action.reason)),
            _ => self.decision(StepWork::Update, reason),
        }
    }
}

/// The intervals that a run computes whatever has changed: those that it is asked for, else those that are missing.
pub(crate) fn due(range: &TimeRange, evidence: &Evidence, entry: &ReleasedTable) -> Spans {
    let horizon = horizon(range, evidence.now_us);
    match evidence.window {
        Some(asked) => horizon.intersection(&window(range.unit, asked)),
        None => horizon.without(&Spans::new(entry.covered.iter().copied())),
    }
}

/// The intervals of a table that is computed as a whole: of a new one those that are asked for, else all.
pub(crate) fn whole(range: &TimeRange, evidence: &Evidence, entry: Option<&ReleasedTable>) -> Spans {
    let horizon = horizon(range, evidence.now_us);
    match (evidence.window, entry) {
        (Some(asked), None) => horizon.intersection(&window(range.unit, asked)),
        _ => horizon,
    }
}

/// An instant as people write it, a date if it is the beginning of a day.
pub(crate) fn instant(us: i64) -> String {
    match DateTime::from_timestamp_micros(us) {
        None => "the beginning".to_owned(),
        Some(_) if us == BEGINNING_US => "the beginning".to_owned(),
        Some(time) if time.num_seconds_from_midnight() == 0 && time.nanosecond() == 0 => {
            time.format("%Y-%m-%d").to_string()
        }
        Some(time) => time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}
