//! What a run does about each model, and why: pure, shared by `plan` and the driver.
//!
//! Data flow: [`Evidence`] -> **here** -> one [`Decision`] a model -> frozen with the run.
//!
//! Invariant: a table is left as it is only if its fingerprint and all of its inputs equal those of the base release,
//! and grows only if nothing but its driving input has changed, and that has only gained.

mod consumed;
mod keyed;
mod rejects;

use std::collections::{BTreeMap, BTreeSet};

use lakewright_compiler::{Job, Model, ModelKind, OnDelete, TableName};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::state::{InputState, ReleasedTable};

pub(crate) use consumed::{Difference, difference, is_same};
pub(crate) use keyed::{due, instant, whole};
use rejects::refuse_shared_rejects;

use crate::{
    StepAction, StepWork,
    evidence::{Evidence, Listing},
    lineage::Lineage,
};

/// A source that has lost more than one in this many of its known objects (5 %) fails a run.
const LOST_ONE_IN: usize = 20;

/// What is done about one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) table: TableName,
    pub(crate) action: StepAction,
    /// What the user should know beside the reason.
    pub(crate) notes: Vec<String>,
    /// Whether the checks of the model are asked of all of its table's rows, because they have changed.
    pub(crate) recheck: bool,
}

/// Decides about every model of the job, in the job's order.
///
/// # Errors
/// - [`ErrorKind::Conflict`]: a table belongs to another job, or rejects would go to one of another job.
/// - [`ErrorKind::Corrupt`]: a source has lost more than 5 % of its known objects.
pub(crate) fn decide(job: &Job, evidence: &Evidence) -> Result<Vec<Decision>> {
    refuse_shared_rejects(job, evidence)?;
    let mut made: BTreeMap<TableName, StepWork> = BTreeMap::new();
    let mut decisions = Vec::with_capacity(job.models.len());
    for model in &job.models {
        let step = Step { job, model, evidence, made: &made };
        let mut decision = step.decide()?;
        step.note_checks(&mut decision);
        made.insert(model.name.clone(), decision.action.work);
        decisions.push(decision);
    }
    Ok(decisions)
}

struct Step<'a> {
    job: &'a Job,
    model: &'a Model,
    evidence: &'a Evidence,
    /// What is done about the models before this one.
    made: &'a BTreeMap<TableName, StepWork>,
}

/// How one input of a table compares with what the table has consumed of it.
enum InputChange<'a> {
    /// A source whose listing differs.
    Listed(&'a TableName, Difference),
    /// A table that this run rebuilds.
    Rebuilt(&'a TableName),
    /// A table that has gained files, and kept those that were consumed.
    Gained(&'a TableName),
    /// A table of which this run replaces rows.
    Updated(&'a TableName),
    /// A table that has changed in another way since.
    Moved(&'a TableName),
}

impl Step<'_> {
    fn decide(&self) -> Result<Decision> {
        if !self.evidence.selected.contains(&self.model.name) {
            return Ok(self.decision(StepWork::Skip, "not selected"));
        }
        let entry = self.evidence.released(&self.model.name);
        if let Some(entry) = entry.filter(|entry| entry.job != self.job.name) {
            return Err(belongs_to(&self.model.name, &entry.job));
        }
        if self.model.kind == ModelKind::View {
            return Ok(self.decide_view(entry));
        }
        let Some(entry) = entry else {
            return Ok(self.decision(StepWork::Replace, "first run"));
        };
        let Some(lineage) = self.evidence.lineages.get(&self.model.name) else {
            return Err(
                Error::new(ErrorKind::Internal, "a selected model has no lineage").with("table", &self.model.name)
            );
        };
        let changes = self.changes(entry, lineage);
        if !self.evidence.accept_losses {
            refuse_losses(self.job, &self.model.name, &changes)?;
        }
        if let Some(reason) = self.whole_reason(entry, lineage) {
            return Ok(self.decision(StepWork::Replace, reason));
        }
        Ok(match (self.model.kind.driving(), self.model.kind.sides()) {
            (Some(driving), _) => self.decide_by_file(driving, &changes),
            (None, Some(sides)) => self.decide_by_key(sides, lineage, entry, &changes),
            (None, None) => self.decide_full(&changes),
        })
    }

    fn decision(&self, work: StepWork, reason: impl Into<String>) -> Decision {
        let action = StepAction { work, reason: reason.into() };
        Decision { table: self.model.name.clone(), action, notes: Vec::new(), recheck: false }
    }

    /// A table that stays as it is must still pass checks that are new.
    fn note_checks(&self, decision: &mut Decision) {
        decision.recheck = self.evidence.needs_recheck(&self.model.name);
        // Which of the rows that are kept apart come from what has changed is not known.
        if decision.action.work == StepWork::Update && self.model.checks.quarantines() {
            let reason = format!("{}, and its rules keep rows apart", decision.action.reason);
            decision.action = StepAction { work: StepWork::Replace, reason };
        }
        if decision.recheck && decision.action.work == StepWork::Skip {
            decision.action.reason = format!("{}, but it is checked: its checks changed", decision.action.reason);
        }
    }

    fn decide_view(&self, entry: Option<&ReleasedTable>) -> Decision {
        match entry {
            None => self.decision(StepWork::Define, "first run"),
            Some(entry) if entry.view.is_none() => self.decision(StepWork::Define, "it was a table"),
            Some(_) if self.evidence.full_refresh => self.decision(StepWork::Define, "full refresh"),
            Some(entry) if self.fingerprint_differs(entry) => self.decision(StepWork::Define, CHANGED),
            Some(_) if self.uses_time() => self.decision(StepWork::Define, USES_TIME),
            Some(_) => self.decision(StepWork::Skip, UNCHANGED),
        }
    }

    /// Why the table is computed anew whatever its inputs are, if it is.
    fn whole_reason(&self, entry: &ReleasedTable, lineage: &Lineage) -> Option<&'static str> {
        if entry.version.is_none() {
            Some("it was a view")
        } else if self.evidence.full_refresh {
            Some("full refresh")
        } else if self.fingerprint_differs(entry) {
            Some(CHANGED)
        } else if lineage.uses_time() {
            Some(USES_TIME)
        } else {
            None
        }
    }

    fn fingerprint_differs(&self, entry: &ReleasedTable) -> bool {
        self.evidence.fingerprints.get(&self.model.name) != Some(&entry.fingerprint)
    }

    fn uses_time(&self) -> bool {
        self.evidence.lineages.get(&self.model.name).is_some_and(Lineage::uses_time)
    }

    /// The inputs that differ from what the table has consumed of them.
    fn changes<'b>(&self, entry: &ReleasedTable, lineage: &'b Lineage) -> Vec<InputChange<'b>> {
        let ledger = self.evidence.ledgers.get(&self.model.name).map_or(&[][..], Vec::as_slice);
        let mut changes = Vec::new();
        for source in &lineage.sources {
            let empty = Listing::default();
            let listing = self.evidence.listings.get(source).unwrap_or(&empty);
            let consumed = entry.inputs.get(&source.to_string());
            let is_same = matches!(consumed, Some(InputState::Raw { digest, .. }) if *digest == listing.digest);
            if !is_same || self.evidence.replays(source) {
                changes.push(InputChange::Listed(source, difference(&source.to_string(), &listing.objects, ledger)));
            }
        }
        for table in &lineage.tables {
            let consumed = entry.inputs.get(&table.to_string());
            let released = self.evidence.released(table);
            let seen = match (consumed, released) {
                (Some(InputState::Table { version }), Some(upstream)) => upstream.has_rows_of(*version),
                _ => false,
            };
            // What the driving table held at the base release beyond what was consumed; known only if not seen.
            let kept = || {
                let unseen = self.evidence.unseen_files.get(&self.model.name)?;
                let input = table.to_string();
                let consumed: BTreeSet<&String> =
                    ledger.iter().filter(|unit| unit.input == input).map(|unit| &unit.key).collect();
                let all = consumed.iter().all(|key| unseen.paths.contains(*key));
                Some(all && !unseen.is_mixed(|path| consumed.contains(path)))
            };
            match (self.made.get(table), seen) {
                (Some(StepWork::Replace | StepWork::Define), _) => changes.push(InputChange::Rebuilt(table)),
                (Some(StepWork::Update), _) => changes.push(InputChange::Updated(table)),
                (Some(StepWork::Append), true) => changes.push(InputChange::Gained(table)),
                (None | Some(StepWork::Skip), true) => {}
                (_, false) if kept() == Some(true) => changes.push(InputChange::Gained(table)),
                (_, false) => changes.push(InputChange::Moved(table)),
            }
        }
        changes
    }

    fn decide_full(&self, changes: &[InputChange<'_>]) -> Decision {
        match changes.first() {
            None => self.decision(StepWork::Skip, UNCHANGED),
            Some(first) => self.decision(StepWork::Replace, first.describe()),
        }
    }

    fn decide_by_file(&self, driving: &TableName, changes: &[InputChange<'_>]) -> Decision {
        if let Some(other) = changes.iter().find(|change| change.input() != driving) {
            let reason = format!("{}, and only {driving} may change", other.describe());
            return self.decision(StepWork::Replace, reason);
        }
        match changes.first() {
            None => self.decision(StepWork::Skip, UNCHANGED),
            Some(change @ InputChange::Rebuilt(_)) => self.decision(StepWork::Replace, change.describe()),
            Some(change @ (InputChange::Updated(_) | InputChange::Moved(_))) => {
                self.decision(StepWork::Update, change.describe())
            }
            Some(change @ InputChange::Gained(_)) => self.decision(StepWork::Append, change.describe()),
            Some(InputChange::Listed(source, difference)) => self.decide_by_object(source, difference),
        }
    }

    fn decide_by_object(&self, source: &TableName, difference: &Difference) -> Decision {
        let on_delete = self.job.sources.get(source).map_or(OnDelete::Keep, |source| source.options.on_delete);
        let removes = on_delete == OnDelete::Remove && !difference.lost.is_empty();
        let mut decision = if !difference.changed.is_empty() || removes {
            self.decision(StepWork::Update, described(source, difference))
        } else if !difference.added.is_empty() {
            self.decision(StepWork::Append, format!("{source}: {}", objects(difference.added.len(), "new")))
        } else {
            self.decision(StepWork::Skip, UNCHANGED)
        };
        if !difference.lost.is_empty() && !removes {
            decision.notes.push(format!(
                "{}: {}; rows of objects that have gone stay until a full refresh",
                self.model.name,
                described(source, difference)
            ));
        }
        decision
    }
}

const UNCHANGED: &str = "nothing changed";
const CHANGED: &str = "the query, a parameter or a source's declaration changed";
const USES_TIME: &str = "it uses the time of the run";

impl InputChange<'_> {
    fn input(&self) -> &TableName {
        match self {
            Self::Listed(input, _)
            | Self::Rebuilt(input)
            | Self::Gained(input)
            | Self::Updated(input)
            | Self::Moved(input) => input,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Rebuilt(input) => format!("{input} is rebuilt"),
            Self::Gained(input) => format!("{input} has new files"),
            Self::Updated(input) => format!("rows of {input} are replaced"),
            Self::Moved(input) => format!("{input} has changed"),
            Self::Listed(input, difference) => described(input, difference),
        }
    }
}

fn described(input: &TableName, difference: &Difference) -> String {
    let counts =
        [(difference.added.len(), "new"), (difference.changed.len(), "changed"), (difference.lost.len(), "gone")];
    let parts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| objects(*count, what)).collect();
    let example = difference.changed.first().map_or(String::new(), |key| format!(" ({key})"));
    if parts.is_empty() { format!("{input} has changed") } else { format!("{input}: {}{example}", parts.join(", ")) }
}

/// `1 new object`, `12 new objects`.
fn objects(count: usize, what: &str) -> String {
    format!("{count} {what} object{}", if count == 1 { "" } else { "s" })
}

/// The error of a table that another job owns.
pub(crate) fn belongs_to(table: &TableName, job: &str) -> Error {
    Error::new(ErrorKind::Conflict, "the table belongs to another job")
        .with("table", table)
        .with("job", job)
        .with_hint("rename the model's file, or give this job a lake of its own")
}

fn refuse_losses(job: &Job, table: &TableName, changes: &[InputChange<'_>]) -> Result<()> {
    for change in changes {
        let InputChange::Listed(source, difference) = change else { continue };
        let on_delete = job.sources.get(*source).map_or(OnDelete::Keep, |source| source.options.on_delete);
        if let Some(object) = difference.lost.first().filter(|_| on_delete == OnDelete::Fail) {
            return Err(Error::new(ErrorKind::Corrupt, "a source has lost an object, and its on_delete is FAIL")
                .with("source", source)
                .with("table", table)
                .with("lost", format!("{} of {}", difference.lost.len(), difference.known))
                .with("object", object)
                .with_hint("restore it; to leave its rows where they are, run once with --accept-losses"));
        }
        if difference.lost.len() * LOST_ONE_IN > difference.known {
            let example = difference.lost.first().map_or("", String::as_str);
            return Err(Error::new(ErrorKind::Corrupt, "a source has lost more than 5 % of its known objects at once")
                .with("source", source)
                .with("table", table)
                .with("lost", format!("{} of {}", difference.lost.len(), difference.known))
                .with("object", example)
                .with_hint("restore the objects; if they were deleted on purpose, run once with --accept-losses"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
