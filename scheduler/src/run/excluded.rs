//! Raw objects that a step leaves out, because they were found broken while they were read.
//!
//! Data flow: a backend's error that names a broken object -> `excluded-<n>.json` (first creator wins) -> the step runs
//! again without it, and its account names it.
//!
//! Invariant: nothing of a broken object is in what the step publishes, and each is a reject or left out, never silent.

use std::collections::BTreeMap;

use lakewright_compiler::{Job, JsonMode, Source, TableName};
use lakewright_engine::broken_object;
use lakewright_error::{Error, Result};
use lakewright_lake::{
    Prefix, RawObject, layout,
    state::{Excluded, Format, ObjectReport, Reject, Tally, read_object},
};
use uuid::Uuid;

use super::{
    accounting::SourceAccount,
    race::{Race, chain, create, retrying},
};

/// Objects that one step leaves out. A step that finds more fails: each costs it another try.
const EXCLUDED_MAX: u32 = 20;
/// The reason of their rejects.
const UNREADABLE: &str = "unreadable";

/// The objects that a step leaves out, and what is wrong with each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exclusions {
    messages: BTreeMap<String, String>,
    count: u32,
}

/// A step whose objects are left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExcludingStep<'a> {
    pub(crate) lake: &'a Prefix,
    pub(crate) run_id: &'a str,
    pub(crate) table: &'a TableName,
    pub(crate) job: &'a Job,
}

/// Whether the object is one of the step's, and no source that has it says that the run must fail.
fn may_leave_out(job: &Job, objects: &BTreeMap<TableName, Vec<RawObject>>, object: &str) -> bool {
    let mut modes = Vec::new();
    for (name, objects) in objects {
        if objects.iter().any(|candidate| candidate.key == object) {
            modes.extend(job.sources.get(name).map(|source| source.options.mode));
        }
    }
    !modes.is_empty() && modes.iter().all(|mode| *mode != JsonMode::FailFast)
}

impl Exclusions {
    /// What drivers of the run have left out already.
    ///
    /// # Errors
    /// As [`read_object`].
    pub(crate) async fn load(step: ExcludingStep<'_>) -> Result<Self> {
        let mut exclusions = Self::default();
        loop {
            let key = layout::excluded(step.run_id, &step.table.to_string(), exclusions.count + 1);
            match retrying(|| read_object::<Excluded>(step.lake, &key)).await? {
                Some(excluded) => exclusions.note(excluded),
                None => return Ok(exclusions),
            }
        }
    }

    fn note(&mut self, excluded: Excluded) {
        self.count += 1;
        self.messages.insert(excluded.object, excluded.message);
    }

    /// Leaves out the object that an error is about, if it is about one, and its source's mode does not forbid it.
    ///
    /// # Errors
    /// The error itself, if it is about something else; as [`create`].
    pub(crate) async fn add(
        &mut self,
        step: ExcludingStep<'_>,
        objects: &BTreeMap<TableName, Vec<RawObject>>,
        error: Error,
    ) -> Result<()> {
        let Some(object) = broken_object(&error).map(str::to_owned) else { return Err(error) };
        if !may_leave_out(step.job, objects, &object)
            || self.count >= EXCLUDED_MAX
            || self.messages.contains_key(&object)
        {
            return Err(error);
        }
        tracing::warn!(step = %step.table, object, "raw object left out");
        let excluded = Excluded { format: Format, nonce: Uuid::new_v4().to_string(), object, message: chain(&error) };
        let key = layout::excluded(step.run_id, &step.table.to_string(), self.count + 1);
        // Another driver may have left out another object: the step is tried without that, and finds this one again.
        match create(step.lake, &key, &excluded).await? {
            Race::Won => self.note(excluded),
            Race::Lost(theirs) => self.note(theirs),
        }
        Ok(())
    }

    /// The objects that are read, and those that are not.
    pub(crate) fn split(&self, objects: Vec<RawObject>) -> (Vec<RawObject>, Vec<RawObject>) {
        objects.into_iter().partition(|object| !self.messages.contains_key(&object.key))
    }

    /// What the objects that are not read come to: each is one record that is a reject, or left out.
    pub(crate) fn account(&self, source: &Source, objects: &[RawObject]) -> SourceAccount {
        let mut account = SourceAccount::default();
        for object in objects {
            let mut tally = Tally { lines: 1, ..Tally::default() };
            if source.options.mode == JsonMode::DropMalformed {
                tally.left_out = 1;
            } else {
                tally.rejects = 1;
                account.rejects.push(Reject {
                    object: object.key.clone(),
                    line: 1,
                    byte_offset: 0,
                    reason: UNREADABLE.to_owned(),
                    column: None,
                    message: self.messages.get(&object.key).cloned().unwrap_or_default(),
                    record: None,
                });
            }
            account.tally.add(&tally);
            account.objects.push(ObjectReport { object: object.key.clone(), size_bytes: object.size_bytes, tally });
        }
        account
    }
}
