//! What is told while a run goes on: moving lines on a terminal, plain lines elsewhere, all on stderr.
//!
//! Data flow: [`RunEvent`]s of the scheduler -> **[`Progress::tell`]** -> stderr.
//!
//! Invariant: a line that is finished stays; nothing here can fail a run.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lakewright_compiler::TableName;
use lakewright_engine::StepProgress;
use lakewright_scheduler::{RunEvent, StepSummary, StepWork};

use super::{
    Output, Style,
    grid::cut,
    number::{bytes, count, counted, duration, per_second},
    summary::work_word,
};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// Tells how a run gets on.
pub(crate) struct Progress {
    output: Output,
    bars: Option<MultiProgress>,
    running: Mutex<BTreeMap<TableName, Running>>,
}

struct Running {
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Nothing has happened yet.
    pub(crate) fn new(output: Output) -> Self {
        let moving = output.stderr_is_terminal && !output.quiet;
        let bars = moving.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self { output, bars, running: Mutex::new(BTreeMap::new()) }
    }

    /// Tells one event.
    pub(crate) fn tell(&self, event: &RunEvent) {
        match event {
            RunEvent::Accepted { run_id, sequence } => self.line(&format!("run {run_id} accepted (number {sequence})")),
            RunEvent::Resuming { run_id } => self.line(&format!(
                "run {run_id} was not finished: it is resumed first, with the files that it began with \
                 (to give it up instead: lakewright cancel {run_id})"
            )),
            RunEvent::Waiting { run_id } => self.line(&format!("waiting for run {run_id}, which somebody else drives")),
            RunEvent::Queued { place, running } => {
                let driven = counted(u64::from(*running), "run");
                self.line(&format!("waiting in the queue, place {place}; {driven} driven at this moment"));
            }
            RunEvent::Planned { steps } => {
                let skipped = steps.iter().filter(|(_, action)| action.work == StepWork::Skip).count();
                let all = counted(steps.len() as u64, "step");
                self.line(&format!("{all}, {skipped} of them skipped"));
            }
            RunEvent::StepStarted { step } => self.start(step),
            RunEvent::StepProgressed { step, progress } => self.advance(step, progress),
            RunEvent::StepFinished { summary } => self.finish(summary),
            RunEvent::Publishing => self.line("publishing"),
        }
    }

    /// Tells a line above everything that moves.
    pub(crate) fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => {
                let _ = bars.println(text);
            }
            None => self.output.note(text),
        }
    }

    /// Takes away what moves, so that other text can follow.
    pub(crate) fn end(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
        }
    }

    fn start(&self, step: &TableName) {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.set_message(step.to_string());
            bar.enable_steady_tick(TICK);
            bar
        });
        if bar.is_none() {
            self.output.note(&format!("{step} started"));
        }
        // The clock only feeds the rates that are shown.
        let running = Running { since: Instant::now(), bar };
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(step.clone(), running);
    }

    fn advance(&self, step: &TableName, progress: &StepProgress) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Running { since, bar: Some(bar) }) = running.get(step) {
            let line = progress_line(step, progress, since.elapsed());
            bar.set_message(cut(&line, self.output.width.saturating_sub(3)));
        }
    }

    fn finish(&self, summary: &StepSummary) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&summary.table);
        if let (Some(bars), Some(bar)) = (&self.bars, running.and_then(|running| running.bar)) {
            bar.finish_and_clear();
            bars.remove(&bar);
        }
        self.line(&finished_line(summary, self.output.stderr_style));
    }
}

/// `staging.events  8,056 rows in, 12,000 rows/s, 34.0 MB/s`
fn progress_line(step: &TableName, progress: &StepProgress, elapsed: Duration) -> String {
    let mut parts = vec![format!("{} rows in", count(progress.rows_read))];
    parts.extend(per_second(progress.rows_read, elapsed).map(|rate| format!("{} rows/s", count(rate))));
    parts.extend(per_second(progress.bytes_read, elapsed).map(|rate| format!("{}/s", bytes(rate))));
    if progress.rows_written > 0 {
        parts.push(format!("{} rows out", count(progress.rows_written)));
    }
    if progress.bytes_spilled > 0 {
        parts.push(format!("{} spilled", bytes(progress.bytes_spilled)));
    }
    format!("{step}  {}", parts.join(", "))
}

/// `✓ staging.events  replace: 8,056 rows in, 8,056 rows out, 1 file, 0.3 MB, 1.2 s`
fn finished_line(summary: &StepSummary, style: Style) -> String {
    let StepSummary { table, action, .. } = summary;
    let work = work_word(action.work);
    match action.work {
        StepWork::Skip | StepWork::Define => format!("{} {table}  {work}: {}", style.dim("-"), action.reason),
        StepWork::Replace | StepWork::Append | StepWork::Update => format!(
            "{} {table}  {work}: {} rows in, {} rows out, {}, {}, {}",
            style.green("✓"),
            count(summary.rows_in),
            count(summary.rows_out),
            counted(summary.files, "file"),
            bytes(summary.bytes),
            duration(summary.duration),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_step_shows_rates_once_there_is_something_to_rate() {
        let step = TableName::parse("staging.events").unwrap();
        let mut progress = StepProgress::default();
        assert_eq!(progress_line(&step, &progress, Duration::from_secs(1)), "staging.events  0 rows in");
        progress.rows_read = 8056;
        progress.bytes_read = 4_000_000;
        progress.rows_written = 8000;
        assert_eq!(
            progress_line(&step, &progress, Duration::from_millis(500)),
            "staging.events  8,056 rows in, 16,112 rows/s, 8.0 MB/s, 8,000 rows out"
        );
    }
}
