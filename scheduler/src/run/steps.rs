//! Executes one step: finds out what it reads, adopts or makes its files, and records them.
//!
//! Data flow: a [`Plan`] -> adopt what the run before has written from the same inputs, or a backend executes ->
//! `written.json` (first creator wins).
//!
//! Invariant: what counts is the `written.json` that exists. A driver that loses the race to create it drops its own
//! files, which nothing names.

use std::{collections::BTreeMap, sync::Arc};

use lakewright_compiler::{Model, TableName};
use lakewright_engine::{RuleReport, StepProgress};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    DataFile, layout,
    state::{Format, JobSlot, Origins, Outcome, StepRecord, StepTimes, Verdict, Written, WrittenChecks, read_object},
};
use tokio::{sync::mpsc, time::Instant};
use uuid::Uuid;

use super::{
    accept::Accepted,
    checks::{row_record, store_rows},
    excluded::{ExcludingStep, Exclusions},
    freeze::Plan,
    inputs::{StepSite, StoredInputs},
    publish::check_files,
    quarantine,
    race::{Race, create, retrying},
    reports::account,
    rework::Split,
    site::Site,
};
use crate::{RewriteTask, RunEvent, StepOutput};

/// One step of one driver; owns all that it needs, so that it can be a task of its own.
#[derive(Debug)]
pub(crate) struct StepRun {
    pub(crate) site: Site,
    pub(crate) run: Arc<Accepted>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) model: Model,
    /// What earlier steps of this run have written.
    pub(crate) written: BTreeMap<TableName, Written>,
    /// The run before this one, if it was aborted: its files may be taken over.
    pub(crate) aborted_before: Option<String>,
    pub(crate) events: mpsc::Sender<RunEvent>,
}

impl StepRun {
    /// Runs the step to its end.
    ///
    /// # Errors
    /// Those of the backend, with the step named.
    ///
    /// # Cancel safety
    /// Dropping the future stops the step. Files that were written stay, and nothing names them.
    pub(crate) async fn run(self) -> Result<Written> {
        let result = self.write().await;
        result.map_err(|error| error.with("step", &self.model.name))
    }

    async fn write(&self) -> Result<Written> {
        let at = StepSite { lake: &self.site.lake, run: &self.run, plan: &self.plan, written: &self.written };
        let mut inputs = at.stored_inputs(&self.model).await?;
        let mut excluded = Exclusions::default();
        if !inputs.raw.is_empty() {
            excluded = Exclusions::load(self.excluding()).await?;
        }
        self.find_affected(at, &mut inputs, &mut excluded).await?;
        let inputs_digest = inputs.digest(self.plan.work(&self.model.name));
        let written = match self.adoptable(&inputs_digest).await? {
            Some(earlier) => self.adopt(earlier),
            None => self.execute(at, inputs, inputs_digest, excluded).await?,
        };
        let key = layout::written(&self.run.run_id, &self.model.name.to_string());
        Ok(match create(&self.site.lake, &key, &written).await? {
            Race::Won => written,
            Race::Lost(theirs) => theirs,
        })
    }

    fn excluding(&self) -> ExcludingStep<'_> {
        let (lake, run_id) = (&self.site.lake, self.run.run_id.as_str());
        ExcludingStep { lake, run_id, table: &self.model.name, job: &self.plan.job }
    }

    /// Finds out which rows are replaced of a table that is computed by key or by time.
    async fn find_affected(
        &self,
        at: StepSite<'_>,
        inputs: &mut StoredInputs,
        excluded: &mut Exclusions,
    ) -> Result<()> {
        let Some(affected) = inputs.affected.take() else { return Ok(()) };
        loop {
            let mut found = affected.clone();
            found.leave_out(excluded);
            match at.find_affected(&self.site, &self.model, &mut found, &mut inputs.removes).await {
                Ok(()) => {
                    inputs.affected = Some(found);
                    return Ok(());
                }
                Err(error) => excluded.add(self.excluding(), &inputs.raw, error).await?,
            }
        }
    }

    /// Executes the step, without the raw objects that are found broken on the way.
    async fn execute(
        &self,
        at: StepSite<'_>,
        inputs: StoredInputs,
        inputs_digest: String,
        mut excluded: Exclusions,
    ) -> Result<Written> {
        loop {
            match self.execute_without(at, inputs.clone(), inputs_digest.clone(), &excluded).await {
                Ok(written) => return Ok(written),
                Err(error) => excluded.add(self.excluding(), &inputs.raw, error).await?,
            }
        }
    }

    async fn execute_without(
        &self,
        at: StepSite<'_>,
        mut inputs: StoredInputs,
        inputs_digest: String,
        excluded: &Exclusions,
    ) -> Result<Written> {
        let (objects, removes) = (inputs.raw.clone(), inputs.removes.clone());
        let splits = inputs.splits.clone();
        for objects in inputs.raw.values_mut() {
            *objects = excluded.split(std::mem::take(objects)).0;
        }
        let (mut covered, mut note) = (Vec::new(), None);
        if let Some(affected) = &mut inputs.affected {
            affected.leave_out(excluded);
            (covered, note) = (affected.covered(), affected.note.clone());
        }
        let task = at.task(&self.model, inputs)?;
        let waiting = Instant::now();
        let place = self.site.steps.acquire().await;
        let place = place.map_err(|_| Error::new(ErrorKind::Internal, "steps are not executed any more"))?;
        let started = Instant::now();
        let throttled = lakewright_lake::s3::throttled();
        let table = self.model.name.clone();
        let events = self.events.clone();
        let progress = move |progress: StepProgress| {
            // A full queue means that nobody looks at progress right now; the next report holds these counts too.
            let _ = events.try_send(RunEvent::StepProgressed { step: table.clone(), progress });
        };
        let output = self.site.backend.execute(task, &progress).await?;
        drop(place);
        let mut record = self.record();
        note_output(&mut record, &output);
        let StepOutput { mut files, quarantined, rules, reports, executions, spared_memory, tasks, .. } = output;
        if let Some(note) = note {
            tracing::warn!(step = %self.model.name, "rows came too late for the lookback");
            record.reason = format!("{}; {note}", record.reason);
        }
        record.reads = account(&self.site, &self.run, &self.plan, objects, reports, excluded).await?;
        record.rejects = record.reads.iter().map(|read| read.tally.rejects).sum();
        record.times = Some(StepTimes {
            waited_us: u64::try_from((started - waiting).as_micros()).unwrap_or(u64::MAX),
            executions: executions.max(1),
            spared_memory,
            throttled: lakewright_lake::s3::throttled() - throttled,
            tasks,
        });
        record.duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let checks = self.checks(quarantined, rules, record.rows_out).await?;
        let mut origins = Origins::default();
        for split in splits {
            let file = self.take_over(&split).await?;
            origins.insert(&file.path, split.kept);
            files.push(file);
        }
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(Written {
            format: Format,
            nonce: Uuid::new_v4().to_string(),
            fingerprint: self.fingerprint(),
            inputs_digest,
            files,
            removes,
            covered,
            origins,
            record,
            checks,
            adopted_from: None,
        })
    }

    /// Writes the rows of a compacted file that stay.
    async fn take_over(&self, split: &Split) -> Result<DataFile> {
        let entry = self.plan.evidence.released(&self.model.name).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "rows of a table stay that was not published")
                .with("table", &self.model.name)
        })?;
        let task = RewriteTask {
            root: self.site.lake.child(&layout::table_root(self.model.name.zone(), self.model.name.table()))?,
            schema: Arc::clone(&entry.schema),
            partition_columns: entry.partition_columns.clone(),
            files: vec![split.file.clone()],
            ranges: BTreeMap::from([(split.file.path.clone(), split.rows.clone())]),
            run_id: self.run.run_id.clone(),
        };
        self.site.backend.rewrite(task).await
    }

    /// What was counted for the model's checks, with the rows that were kept; `None` if it has none.
    async fn checks(
        &self,
        quarantined: Vec<DataFile>,
        rules: Vec<RuleReport>,
        rows_out: u64,
    ) -> Result<Option<WrittenChecks>> {
        let Some(digest) = self.plan.evidence.check_digests.get(&self.model.name) else { return Ok(None) };
        let apart: u64 = quarantined.iter().map(|file| file.row_count).sum();
        let mut records = Vec::new();
        for check in &self.model.checks.rows {
            let report = rules.iter().find(|report| report.name == check.name);
            // Of rows that are dropped for one rule and not for another nobody knows how many there were.
            let rows = (!check.on_violation.takes_out()).then_some(rows_out);
            let mut record = row_record(check, rows, report.map_or(0, |report| report.violations));
            if let Some(report) = report.filter(|report| report.violations > 0) {
                let place = (self.run.run_id.as_str(), &self.model.name);
                record.sample = store_rows(&self.site, place, &check.name, &report.sample).await?;
            }
            records.push(record);
        }
        tracing::debug!(step = %self.model.name, apart, "rows judged");
        Ok(Some(WrittenChecks { digest: digest.clone(), records, quarantined }))
    }

    fn adopt(&self, earlier: Written) -> Written {
        let from = self.aborted_before.clone();
        tracing::info!(step = %self.model.name, from, "step adopted");
        let mut record = self.record();
        record.reason = format!("{}; files adopted from the failed run before", record.reason);
        record.rows_out = earlier.record.rows_out;
        record.rejects = earlier.record.rejects;
        record.reads.clone_from(&earlier.record.reads);
        record.files = earlier.record.files;
        record.bytes = earlier.record.bytes;
        record.written_by.clone_from(&earlier.record.written_by);
        Written { nonce: Uuid::new_v4().to_string(), record, adopted_from: from, ..earlier }
    }

    fn record(&self) -> StepRecord {
        let table = self.model.name.to_string();
        let reason = self.plan.frozen.models.iter().find(|model| model.table == table);
        StepRecord {
            work: self.plan.work(&self.model.name).into(),
            reason: reason.map(|model| model.reason.clone()).unwrap_or_default(),
            table,
            ..empty_record()
        }
    }

    fn fingerprint(&self) -> String {
        self.plan.evidence.fingerprints.get(&self.model.name).cloned().unwrap_or_default()
    }

    /// What the aborted run before this one has written for the same model from the same inputs, if all of it is there.
    async fn adoptable(&self, inputs_digest: &str) -> Result<Option<Written>> {
        let Some(before) = &self.aborted_before else { return Ok(None) };
        let lineage = self.plan.evidence.lineages.get(&self.model.name);
        // Rows that name their run or its time are not those that this run would write.
        if self.plan.evidence.full_refresh || lineage.is_none_or(|lineage| !lineage.run_params.is_empty()) {
            return Ok(None);
        }
        let table = self.model.name.to_string();
        let key = layout::written(before, &table);
        let earlier = retrying(|| read_object::<Written>(&self.site.lake, &key)).await?;
        let Some(earlier) = earlier else { return Ok(None) };
        if earlier.fingerprint != self.fingerprint() || earlier.inputs_digest != inputs_digest {
            return Ok(None);
        }
        let root = self.site.lake.child(&layout::table_root(self.model.name.zone(), self.model.name.table()))?;
        let apart: Vec<DataFile> = earlier.checks.iter().flat_map(|checks| checks.quarantined.clone()).collect();
        let checked = match check_files(&root, &earlier.files).await {
            Ok(()) if !apart.is_empty() => {
                check_files(&quarantine::root_of(&self.site.lake, &self.model.name)?, &apart).await
            }
            checked => checked,
        };
        match checked {
            Ok(()) => Ok(Some(earlier)),
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Notes what a step has written.
fn note_output(record: &mut StepRecord, output: &StepOutput) {
    record.rows_in = output.progress.rows_read;
    record.rows_out = output.files.iter().map(|file| file.row_count).sum();
    record.files = output.files.len() as u64;
    record.bytes = output.files.iter().map(|file| file.size_bytes).sum();
    record.bytes_spilled = output.progress.bytes_spilled;
    record.written_by.clone_from(&output.written_by);
}

/// A record of nothing.
pub(crate) fn empty_record() -> StepRecord {
    StepRecord {
        table: String::new(),
        work: lakewright_lake::state::StepWork::Skip,
        reason: String::new(),
        rows_in: 0,
        rows_out: 0,
        rejects: 0,
        files: 0,
        bytes: 0,
        bytes_spilled: 0,
        duration_us: 0,
        times: None,
        written_by: Vec::new(),
        reads: Vec::new(),
        checks: Vec::new(),
        version: None,
    }
}

/// The run right before `run` in its job, if it was aborted. Nothing of it, and nothing after it, was published.
///
/// # Errors
/// As [`read_object`].
pub(crate) async fn aborted_before(site: &Site, run: &Accepted) -> Result<Option<String>> {
    let Some(sequence) = run.sequence.checked_sub(1).filter(|sequence| *sequence > 0) else { return Ok(None) };
    let key = layout::job_slot(&run.spec.job, sequence);
    let slot = retrying(|| read_object::<JobSlot>(&site.lake, &key)).await?;
    let Some(slot) = slot else {
        return Err(Error::new(ErrorKind::Corrupt, "a run of the job is missing").with("object", key));
    };
    let key = layout::outcome(&slot.run_id);
    let outcome = retrying(|| read_object::<Outcome>(&site.lake, &key)).await?;
    let aborted = outcome.is_some_and(|outcome| matches!(outcome.verdict, Verdict::Abort(_)));
    Ok(aborted.then_some(slot.run_id))
}
