//! Drives one run to its end: performs what [`super::machine`] decides, one action after the other.
//!
//! Data flow: an accepted run -> [`Driver`] -> effects on the lake -> [`Done`].
//!
//! Invariant: the driver believes only what it has read or created. An error before the outcome makes it try to abort;
//! whether the run is aborted is decided by which outcome exists.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use lakewright_compiler::{Job, TableName};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    layout,
    state::{
        AbortReason, CheckRecord, Done, Format, Frozen, FrozenModel, Operation, Outcome, Publication, RunEnd,
        SourceRead, StepRecord, Verdict, Written, read_object,
    },
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    accept::Accepted,
    checkpoint::write_checkpoints,
    checks::{failure, run_checks},
    compact::commit_compaction,
    failure::{cancelled, error_of, reason_of},
    freeze::{Plan, executes, freeze, thaw},
    inputs::StepSite,
    machine::{Action, OutcomeView, RunView, StepState, StepView, next},
    maintain,
    publication::{Checked, publication},
    publish::{check_commits, check_table, commit_revision, commit_table, release},
    quarantine,
    race::{Race, create, retrying},
    rejects::{self, RunReads, run_reads},
    site::{Site, folder_of},
    steps::{StepRun, aborted_before, empty_record},
    verify::verify,
};
use crate::{RunEvent, StepAction, StepWork, event::step_summary, lineage::parse_name};

/// Steps of one run that execute at once. They share one memory pool: more of them would only make each spill earlier.
const STEPS_AT_ONCE_MAX: usize = 4;

/// Tables checked at once before publishing.
const CHECKS_AT_ONCE_MAX: usize = 8;

/// Events of steps that wait for the driver.
const EVENTS_QUEUED_MAX: usize = 256;

/// Where events go.
pub(crate) type Events<'a> = &'a (dyn Fn(RunEvent) + Send + Sync);

/// How a run ended, with this driver's own error if that is why.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) done: Done,
    pub(crate) error: Option<Error>,
}

/// One driver of one run.
pub(crate) struct Driver<'a> {
    site: &'a Site,
    run: Arc<Accepted>,
    events: Events<'a>,
    cancel: CancellationToken,
    view: RunView,
    /// Compiled already, for a run that this process has accepted.
    job: Option<Job>,
    frozen: Option<Frozen>,
    plan: Option<Arc<Plan>>,
    written: BTreeMap<TableName, Written>,
    checked: BTreeMap<TableName, Checked>,
    reads: RunReads,
    /// What the checks of tables came to.
    checks: BTreeMap<String, Vec<CheckRecord>>,
    outcome: Option<Outcome>,
    versions: BTreeMap<String, u64>,
    release: Option<u64>,
    done: Option<Done>,
    failure: Option<Error>,
    aborted_before: Option<String>,
    tasks: JoinSet<(TableName, Result<Written>)>,
    step_events: (mpsc::Sender<RunEvent>, mpsc::Receiver<RunEvent>),
    /// When this driver began.
    began_us: i64,
}

impl<'a> Driver<'a> {
    /// A driver of a run of which it knows nothing but that it was accepted. `job` is given by who has compiled it.
    pub(crate) fn new(
        site: &'a Site,
        run: Accepted,
        job: Option<Job>,
        cancel: CancellationToken,
        events: Events<'a>,
    ) -> Self {
        // A run without models reads nothing that must be frozen: its outcome holds all that it does.
        let models = run.spec.operation.is_none();
        let view = RunView { frozen: !models, checked: !models, ..RunView::default() };
        Self {
            site,
            run: Arc::new(run),
            events,
            cancel,
            view,
            job,
            frozen: None,
            plan: None,
            written: BTreeMap::new(),
            checked: BTreeMap::new(),
            reads: RunReads::default(),
            checks: BTreeMap::new(),
            outcome: None,
            versions: BTreeMap::new(),
            release: None,
            done: None,
            failure: None,
            aborted_before: None,
            tasks: JoinSet::new(),
            step_events: mpsc::channel(EVENTS_QUEUED_MAX),
            began_us: site.clock.now_us(),
        }
    }

    /// Reads what other drivers have left of the run.
    ///
    /// # Errors
    /// As [`read_object`].
    pub(crate) async fn load(&mut self) -> Result<()> {
        let lake = &self.site.lake;
        let run_id = &self.run.run_id;
        let (outcome, done, frozen) = (layout::outcome(run_id), layout::done(run_id), layout::frozen(run_id));
        let (outcome, done, frozen) = tokio::try_join!(
            retrying(|| read_object::<Outcome>(lake, &outcome)),
            retrying(|| read_object::<Done>(lake, &done)),
            retrying(|| read_object::<Frozen>(lake, &frozen)),
        )?;
        self.view.finished = done.is_some();
        self.done = done;
        if let Some(frozen) = frozen {
            self.load_written(&frozen).await?;
            self.frozen = Some(frozen);
        }
        if let Some(outcome) = outcome {
            self.decided(outcome);
        }
        Ok(())
    }

    async fn load_written(&mut self, frozen: &Frozen) -> Result<()> {
        let (lake, run_id) = (&self.site.lake, &self.run.run_id);
        let executing = frozen.models.iter().filter(|model| executes(model.work.into()));
        let reads = executing.map(|model| async move {
            let key = layout::written(run_id, &model.table);
            let written = retrying(|| read_object::<Written>(lake, &key)).await?;
            Ok::<_, Error>(written.map(|written| (model.table.clone(), written)))
        });
        let found: Vec<Option<(String, Written)>> =
            stream::iter(reads.collect::<Vec<_>>()).buffered(CHECKS_AT_ONCE_MAX).try_collect().await?;
        for (table, written) in found.into_iter().flatten() {
            self.written.insert(parse_name(&table)?, written);
        }
        Ok(())
    }

    /// Drives the run to its end.
    ///
    /// # Errors
    /// Only if the run has no end yet: the store does not answer, or the run is broken. Whatever else fails, the run is
    /// aborted, and that is its end.
    ///
    /// # Cancel safety
    /// Dropping the future is a crash: the next driver resumes.
    pub(crate) async fn drive(mut self) -> Result<Ended> {
        loop {
            if self.cancel.is_cancelled() && self.outcome.is_none() && !self.view.stopped {
                self.stop(cancelled());
            }
            let action = next(&self.view, STEPS_AT_ONCE_MAX);
            if action == Action::Stop {
                break;
            }
            if let Err(error) = self.perform(action).await {
                if self.view.stopped || self.outcome.is_some() {
                    return Err(error.with("run", &self.run.run_id));
                }
                self.stop(error);
            }
        }
        let done = self.done.ok_or_else(|| Error::new(ErrorKind::Internal, "a run ended without a summary"))?;
        Ok(Ended { done, error: self.failure })
    }

    /// Makes the driver abort its run, if nobody has decided before.
    pub(crate) fn stop(&mut self, error: Error) {
        tracing::info!(error = %super::race::chain(&error), "run stopped");
        self.failure = Some(error);
        self.view.stopped = true;
    }

    async fn perform(&mut self, action: Action) -> Result<()> {
        if matches!(action, Action::Freeze | Action::Await | Action::Check) {
            // These may be left at any point; the run is stopped when the driver looks at its token again.
            let cancel = self.cancel.clone();
            return tokio::select! {
                biased;
                () = cancel.cancelled(), if !self.view.stopped => Ok(()),
                result = self.prepare(&action) => result,
            };
        }
        match action {
            Action::Start(tables) => self.start(&tables),
            Action::Publish => self.publish().await,
            Action::Abort => self.abort().await,
            Action::Commit(index) => self.commit(index).await,
            Action::Release => self.release().await,
            Action::Finish => self.finish().await,
            Action::Retire => self.retire().await,
            Action::StopSteps => self.stop_steps().await,
            Action::Freeze | Action::Await | Action::Check | Action::Stop => Ok(()),
        }
    }

    async fn prepare(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::Freeze => self.freeze().await,
            Action::Await => self.await_step().await,
            _ => self.check().await,
        }
    }

    async fn freeze(&mut self) -> Result<()> {
        let job = match self.job.take() {
            Some(job) => job,
            None => self.site.compile(&folder_of(&self.run.spec), &self.run.spec.params)?,
        };
        let plan = match self.frozen.clone() {
            Some(frozen) => thaw(self.site, &self.run, job, frozen).await?,
            None => freeze(self.site, &self.run, job).await?,
        };
        tracing::info!(base_release = plan.frozen.base_release, "run frozen");
        self.view.steps = plan.executing().map(|model| self.step_view(&plan, &model.name)).collect();
        if !self.view.steps.is_empty() {
            self.aborted_before = aborted_before(self.site, &self.run).await?;
        }
        self.frozen = Some(plan.frozen.clone());
        self.view.frozen = true;
        let steps = plan.frozen.models.iter().map(|model| Ok((parse_name(&model.table)?, action_of(model))));
        (self.events)(RunEvent::Planned { steps: steps.collect::<Result<_>>()? });
        for model in &plan.frozen.models {
            let table = parse_name(&model.table)?;
            match self.written.get(&table) {
                Some(written) => self.report(&written.record)?,
                None if !plan.executes(&table) => self.report(&record_of(model))?,
                None => {}
            }
        }
        self.plan = Some(Arc::new(plan));
        Ok(())
    }

    fn step_view(&self, plan: &Plan, table: &TableName) -> StepView {
        let lineage = plan.evidence.lineages.get(table);
        let needs = lineage.into_iter().flat_map(|lineage| &lineage.tables).filter(|table| plan.executes(table));
        let state = if self.written.contains_key(table) { StepState::Written } else { StepState::Pending };
        StepView { table: table.clone(), needs: needs.cloned().collect(), state }
    }

    fn report(&self, record: &StepRecord) -> Result<()> {
        (self.events)(RunEvent::StepFinished { summary: step_summary(record)? });
        Ok(())
    }

    fn plan(&self) -> Result<Arc<Plan>> {
        self.plan.clone().ok_or_else(|| Error::new(ErrorKind::Internal, "a run went on before it was frozen"))
    }

    fn start(&mut self, tables: &[TableName]) -> Result<()> {
        let plan = self.plan()?;
        for table in tables {
            let Some(model) = plan.executing().find(|model| model.name == *table) else { continue };
            let step = StepRun {
                site: self.site.clone(),
                run: Arc::clone(&self.run),
                plan: Arc::clone(&plan),
                model: model.clone(),
                written: self.written.clone(),
                aborted_before: self.aborted_before.clone(),
                events: self.step_events.0.clone(),
            };
            tracing::info!(step = %table, "step started");
            (self.events)(RunEvent::StepStarted { step: table.clone() });
            let span = tracing::info_span!("step", step = %table, attempt = 1);
            let name = table.clone();
            self.tasks.spawn(async move { (name, step.run().await) }.instrument(span));
            self.set_state(table, StepState::Running);
        }
        Ok(())
    }

    fn set_state(&mut self, table: &TableName, state: StepState) {
        for step in self.view.steps.iter_mut().filter(|step| step.table == *table) {
            step.state = state;
        }
    }

    /// Waits until a step ends or somebody else decides, and passes on what steps report meanwhile.
    async fn await_step(&mut self) -> Result<()> {
        let poll = tokio::time::sleep(self.site.pace.outcome_poll);
        tokio::pin!(poll);
        loop {
            tokio::select! {
                biased;
                Some(event) = self.step_events.1.recv() => (self.events)(event),
                Some(joined) = self.tasks.join_next() => return self.step_ended(joined),
                () = &mut poll => {
                    let key = layout::outcome(&self.run.run_id);
                    if let Some(outcome) = retrying(|| read_object::<Outcome>(&self.site.lake, &key)).await? {
                        self.decided(outcome);
                    }
                    return Ok(());
                }
            }
        }
    }

    fn step_ended(&mut self, joined: Result<(TableName, Result<Written>), tokio::task::JoinError>) -> Result<()> {
        let (table, result) =
            joined.map_err(|source| Error::new(ErrorKind::Internal, "a step broke off").with_source(source))?;
        let written = result?;
        let record = &written.record;
        tracing::info!(step = %table, rows = record.rows_out, files = record.files, bytes = record.bytes, "step written");
        self.report(record)?;
        self.written.insert(table.clone(), written);
        self.set_state(&table, StepState::Written);
        Ok(())
    }

    async fn stop_steps(&mut self) -> Result<()> {
        self.tasks.shutdown().await;
        for step in self.view.steps.iter_mut().filter(|step| step.state == StepState::Running) {
            step.state = StepState::Pending;
        }
        Ok(())
    }

    async fn check(&mut self) -> Result<()> {
        let plan = self.plan()?;
        let at = StepSite { lake: &self.site.lake, run: &self.run, plan: &plan, written: &self.written };
        let written = &self.written;
        let checks = plan.executing().map(|model| async move {
            let written = written
                .get(&model.name)
                .ok_or_else(|| Error::new(ErrorKind::Internal, "a step was not written").with("step", &model.name))?;
            let checked = check_table(at, model, written).await.map_err(|error| error.with("step", &model.name))?;
            Ok::<_, Error>((model.name.clone(), checked))
        });
        let checked = stream::iter(checks.collect::<Vec<_>>()).buffered(CHECKS_AT_ONCE_MAX).try_collect().await?;
        self.checked = checked;
        self.checks = run_checks(self.site, at).await?;
        if let Some(error) = failure(&self.run.run_id, &plan.job.models, &self.checks) {
            return Err(error);
        }
        if self.run.spec.options.verify_incremental {
            verify(self.site, at).await?;
        }
        self.reads = run_reads(at).await?;
        self.reads.tables.extend(quarantine::tables(at).await?);
        self.checked.extend(rejects::checks(&self.reads)?);
        self.view.checked = true;
        Ok(())
    }

    async fn publish(&mut self) -> Result<()> {
        if let Some(operation) = &self.run.spec.operation {
            let cancel = self.cancel.clone();
            let publication = tokio::select! {
                biased;
                // Nothing is decided yet; the run is stopped when the driver looks at its token again.
                () = cancel.cancelled(), if !self.view.stopped => return Ok(()),
                publication = maintain::publication(self.site, &self.run, operation) => publication?,
            };
            check_commits(self.site, &self.run, &publication, &self.checked).await?;
            return self.decide(Verdict::Publish(publication)).await;
        }
        let plan = self.plan()?;
        let publication = publication(&self.run, &plan, &self.written, &self.checked, &self.reads)?;
        check_commits(self.site, &self.run, &publication, &self.checked).await?;
        self.decide(Verdict::Publish(publication)).await
    }

    async fn abort(&mut self) -> Result<()> {
        let reason = match &self.failure {
            Some(error) => reason_of(error),
            None => reason_of(&cancelled()),
        };
        self.decide(Verdict::Abort(reason)).await
    }

    async fn decide(&mut self, verdict: Verdict) -> Result<()> {
        let outcome = Outcome {
            format: Format,
            nonce: Uuid::new_v4().to_string(),
            decided_us: self.site.clock.now_us(),
            verdict,
        };
        let decided = match create(&self.site.lake, &layout::outcome(&self.run.run_id), &outcome).await? {
            Race::Won => outcome,
            Race::Lost(theirs) => theirs,
        };
        self.decided(decided);
        Ok(())
    }

    /// Takes note of the outcome that exists.
    fn decided(&mut self, outcome: Outcome) {
        match &outcome.verdict {
            Verdict::Publish(publication) => {
                tracing::info!(tables = publication.tables.len(), "run publishing");
                // What this driver was told in the meantime is of no account any more.
                self.failure = None;
                let tables = publication.tables.len() + publication.revisions.len() + publication.compactions.len();
                self.view.outcome = Some(OutcomeView::Publish { tables });
                if !publication.is_empty() {
                    (self.events)(RunEvent::Publishing);
                }
            }
            Verdict::Abort(reason) => {
                tracing::info!(reason = reason.message, "run aborted");
                self.failure = Some(self.failure.take().unwrap_or_else(|| error_of(reason)));
                self.view.outcome = Some(OutcomeView::Abort);
            }
        }
        self.outcome = Some(outcome);
    }

    fn publication(&self) -> Result<(&Publication, i64)> {
        match &self.outcome {
            Some(Outcome { verdict: Verdict::Publish(publication), decided_us, .. }) => Ok((publication, *decided_us)),
            _ => Err(Error::new(ErrorKind::Internal, "a run published before its outcome")),
        }
    }

    async fn commit(&mut self, index: usize) -> Result<()> {
        let (publication, decided_us) = self.publication()?;
        if let Some(published) = publication.tables.get(index).filter(|table| executes(table.work.into())) {
            let table = published.table.clone();
            // This driver's base files are those of the outcome only if the outcome is its own.
            let checked = self.checked.get(&parse_name(&table)?);
            let base_files = checked
                .filter(|checked| checked.base_version == published.base_version)
                .map(|checked| checked.base_files.clone());
            let version = commit_table(self.site, &self.run, published, base_files, decided_us / 1_000).await?;
            tracing::info!(table, version, "table committed");
            self.versions.insert(table, version);
        } else if let Some(revision) =
            index.checked_sub(publication.tables.len()).and_then(|place| publication.revisions.get(place))
            && let Some(version) = commit_revision(self.site, &self.run, revision, decided_us / 1_000).await?
        {
            let table = revision.table.clone();
            tracing::info!(table, version, "table restored");
            self.versions.insert(table, version);
        } else if let Some(compaction) = index
            .checked_sub(publication.tables.len() + publication.revisions.len())
            .and_then(|place| publication.compactions.get(place))
            && let Some(version) = commit_compaction(self.site, &self.run, compaction, decided_us / 1_000).await?
        {
            let table = compaction.table.clone();
            tracing::info!(table, version, "table compacted");
            self.versions.insert(table, version);
        }
        self.view.committed = index + 1;
        Ok(())
    }

    async fn release(&mut self) -> Result<()> {
        let (publication, _) = self.publication()?;
        if !publication.is_empty() {
            let number = release(self.site, &self.run, publication, &self.versions).await?;
            tracing::info!(release = number, "run released");
            self.release = number;
        }
        if let Some(Operation::Repair { run_id }) = &self.run.spec.operation {
            maintain::end_broken(self.site, &self.run, run_id).await?;
        }
        self.view.released = true;
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        let done = self.summary();
        let done = match create(&self.site.lake, &layout::done(&self.run.run_id), &done).await? {
            Race::Won => done,
            Race::Lost(theirs) => theirs,
        };
        tracing::info!(end = ?done.end, "run ended");
        self.done = Some(done);
        self.view.finished = true;
        Ok(())
    }

    async fn retire(&mut self) -> Result<()> {
        write_checkpoints(self.site, &self.run, &self.versions).await;
        let key = layout::active(&self.run.run_id);
        retrying(|| self.site.lake.delete(&key)).await?;
        self.view.retired = true;
        Ok(())
    }

    /// What the run has read, as far as it is known: of an aborted run, what its steps have recorded.
    fn reads_of_run(&self) -> Vec<SourceRead> {
        if let Some(Outcome { verdict: Verdict::Publish(publication), .. }) = &self.outcome {
            return publication.reads.clone();
        }
        let mut reads: Vec<SourceRead> = Vec::new();
        for read in self.written.values().flat_map(|written| &written.record.reads) {
            if reads.iter().all(|other| other.source != read.source) {
                reads.push(read.clone());
            }
        }
        reads
    }

    fn summary(&self) -> Done {
        let failure = match &self.outcome {
            Some(Outcome { verdict: Verdict::Abort(reason), .. }) => Some(reason.clone()),
            _ => None,
        };
        let end = match &failure {
            None => RunEnd::Succeeded,
            Some(AbortReason { cancelled: true, .. }) => RunEnd::Cancelled,
            Some(_) => RunEnd::Failed,
        };
        let models = self.frozen.iter().flat_map(|frozen| &frozen.models);
        let steps = models.filter_map(|model| {
            let written = TableName::parse(&model.table).and_then(|name| self.written.get(&name));
            let record = match written {
                Some(written) => written.record.clone(),
                // A step of an aborted run that has written nothing has no part in the summary.
                None if executes(model.work.into()) => return None,
                None => record_of(model),
            };
            let counted = written.and_then(|written| written.checks.as_ref()).map(|checks| &checks.records);
            let checks = self.checks.get(&model.table).or(counted).cloned().unwrap_or_default();
            Some(StepRecord { version: self.versions.get(&model.table).copied(), checks, ..record })
        });
        let duration_us = self.site.clock.now_us().saturating_sub(self.run.spec.execution_us);
        Done {
            format: Format,
            sequence: self.run.sequence,
            end,
            release: self.release,
            steps: steps.collect(),
            reads: self.reads_of_run(),
            failure,
            duration_us: u64::try_from(duration_us).unwrap_or(0),
            waited_us: u64::try_from(self.began_us.saturating_sub(self.run.spec.execution_us)).unwrap_or(0),
        }
    }
}

fn action_of(model: &FrozenModel) -> StepAction {
    StepAction { work: StepWork::from(model.work), reason: model.reason.clone() }
}

/// The record of a step that writes nothing.
fn record_of(model: &FrozenModel) -> StepRecord {
    StepRecord { table: model.table.clone(), work: model.work, reason: model.reason.clone(), ..empty_record() }
}
