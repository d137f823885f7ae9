//! Where the time of a run went, in words, and what would change it: a pure function of the run's record.
//!
//! Data flow: the summary of a run that has ended -> [`explain`] -> findings, the costliest first.
//!
//! Invariant: says only what was measured. A run that has nothing remarkable gets the order of its steps and no advice.

use std::{cmp::Reverse, time::Duration};

use lakewright_lake::state::{StepTimes, TaskTimes};

use crate::{RunRecord, RunSummary, StepSummary};

/// Less than this is not worth a word.
const NOTABLE: Duration = Duration::from_millis(500);

/// The share of a run's time from which a step is named.
const SHARE_NAMED: f64 = 0.25;

/// How many times the middle task's time the slowest must take to be called skewed.
const SKEW: u64 = 3;

/// Bytes of a raw object below which it is small, and how many of them cost.
const SMALL_BYTES: u64 = 1 << 20;
const SMALL_OBJECTS: u64 = 1_000;

/// Files of a step of which each is smaller than this could be one.
const SMALL_FILE_BYTES: u64 = 8 << 20;
const SMALL_FILES: u64 = 16;

/// One thing that a run's time went into, or that it lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The step, as `zone.table`; none if it is about the run.
    pub step: Option<String>,
    /// The time that it is about.
    pub cost: Duration,
    /// What was measured.
    pub what: String,
    /// What would change it; none if nothing needs to be.
    pub advice: Option<String>,
}

impl Finding {
    fn new(step: Option<&StepSummary>, cost: Duration, what: String) -> Self {
        Self { step: step.map(|step| step.table.to_string()), cost, what, advice: None }
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// What can be said of a run that has ended; nothing of one that has not.
#[must_use]
pub fn explain(run: &RunRecord) -> Vec<Finding> {
    let Some(summary) = &run.summary else { return Vec::new() };
    let mut found = of_run(summary);
    for step in &summary.steps {
        found.extend(of_step(step, summary));
    }
    found.extend(of_reads(summary));
    found.sort_by_key(|finding| Reverse(finding.cost));
    found
}

fn of_run(summary: &RunSummary) -> Vec<Finding> {
    let mut found = Vec::new();
    if summary.waited > NOTABLE {
        let what = format!("waited {} before anybody began to drive it", words(summary.waited));
        found.push(Finding::new(None, summary.waited, what).advise(
            "raise runs_at_once of the scheduler, or submit this job less often: its own runs go one after the other",
        ));
    }
    // Steps run side by side: what is left is between them at least.
    let steps: Duration = summary.steps.iter().map(|step| step.duration).sum();
    let rest = summary.duration.saturating_sub(steps).saturating_sub(summary.waited);
    if rest > NOTABLE && rest > summary.duration / 4 {
        let what = format!("{} went by outside of its steps: listing sources, checks and publishing", words(rest));
        let advice = "a source of very many objects lists faster below a narrower LOCATION; checks that join large \
                      tables cost as much as a step";
        found.push(Finding::new(None, rest, what).advise(advice));
    }
    found
}

fn of_step(step: &StepSummary, summary: &RunSummary) -> Vec<Finding> {
    let mut found = Vec::new();
    if step.duration > NOTABLE && step.duration.as_secs_f64() >= summary.duration.as_secs_f64() * SHARE_NAMED {
        let percent = step.duration.as_secs_f64() / summary.duration.as_secs_f64().max(f64::MIN_POSITIVE) * 100.0;
        let what =
            format!("took {}, {percent:.0} % of the run's time, for {} rows", words(step.duration), step.rows_in);
        found.push(Finding::new(Some(step), step.duration, what));
    }
    if step.bytes_spilled > 0 {
        let what = format!("did not fit into memory: {} were spilled to disk", bytes(step.bytes_spilled));
        let advice =
            "give it more memory (`memory`), or fewer threads; a join or a GROUP BY with fewer columns needs less";
        found.push(Finding::new(Some(step), step.duration / 4, what).advise(advice));
    }
    if step.files >= SMALL_FILES && step.bytes / step.files < SMALL_FILE_BYTES {
        let each = bytes(step.bytes / step.files);
        let what = format!("wrote {} files of {each} on average: readers open each of them", step.files);
        found.push(
            Finding::new(Some(step), Duration::ZERO, what)
                .advise("partition by a column with fewer values, or not at all; small tables need no partitions"),
        );
    }
    found.extend(step.times.iter().flat_map(|times| of_times(step, times)));
    found
}

fn of_times(step: &StepSummary, times: &StepTimes) -> Vec<Finding> {
    let mut found = Vec::new();
    let waited = Duration::from_micros(times.waited_us);
    if waited > NOTABLE {
        let what = format!("waited {} until other steps had ended", words(waited));
        found.push(
            Finding::new(Some(step), waited, what).advise("raise steps_at_once of the scheduler, if memory allows"),
        );
    }
    if times.executions > 1 {
        let lost = step.duration / times.executions * (times.executions - 1);
        let (why, advice) = if times.spared_memory {
            ("there was too little memory at first", "raise --memory, or lower --threads")
        } else {
            (
                "the fleet had lost it",
                "`lakewright logs` says which executor was lost; out of memory is the commonest reason: lower their \
                 --memory or raise the machine's",
            )
        };
        let what = format!("was executed {} times: {why}", times.executions);
        found.push(Finding::new(Some(step), lost, what).advise(advice));
    }
    if times.throttled > 0 {
        let what = format!("the store asked for fewer requests {} times", times.throttled);
        found.push(
            Finding::new(Some(step), step.duration / 4, what)
                .advise("lower s3_requests, spread the data over more prefixes, or combine small objects"),
        );
    }
    if let Some(tasks) = times.tasks.as_ref().filter(|tasks| is_skewed(tasks)) {
        let (slowest, median) = (Duration::from_micros(tasks.slowest_us), Duration::from_micros(tasks.median_us));
        let what = format!(
            "one of {} tasks took {}, the middle one {}; it ran on {}",
            tasks.tasks,
            words(slowest),
            words(median),
            tasks.slowest_on
        );
        found.push(Finding::new(Some(step), slowest - median, what).advise(
            "one value of a join or GROUP BY key has most of the rows, or one large object cannot be cut (gzip, arrays): \
             cut it, or look at its machine if it is always the same one",
        ));
    }
    found
}

fn is_skewed(tasks: &TaskTimes) -> bool {
    let notable = u64::try_from(NOTABLE.as_micros()).unwrap_or(u64::MAX);
    tasks.tasks > 1 && tasks.slowest_us > notable && tasks.slowest_us > tasks.median_us.saturating_mul(SKEW)
}

fn of_reads(summary: &RunSummary) -> Vec<Finding> {
    let mut found = Vec::new();
    for read in &summary.reads {
        if read.objects >= SMALL_OBJECTS && read.bytes / read.objects < SMALL_BYTES {
            let each = bytes(read.bytes / read.objects);
            let what =
                format!("{} has {} raw objects of {each} on average: each is a request", read.source, read.objects);
            found.push(
                Finding::new(None, Duration::ZERO, what)
                    .advise("write larger objects where the data comes from; on S3 raise s3_requests"),
            );
        }
        if read.tally.rejects > 0 {
            let what = format!("{} of {}'s records were kept aside", read.tally.rejects, read.source);
            found.push(
                Finding::new(None, Duration::ZERO, what)
                    .advise(format!("`lakewright rejects {}` shows why", read.source)),
            );
        }
    }
    found
}

/// `1.5 s`, `2 min 3 s`.
fn words(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

fn bytes(count: u64) -> String {
    let units = [(30, "GB"), (20, "MB"), (10, "KB")];
    match units.into_iter().find(|(shift, _)| count >= 1 << shift) {
        Some((shift, unit)) => format!("{} {unit}", count >> shift),
        None => format!("{count} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use lakewright_compiler::TableName;
    use lakewright_lake::state::{Drift, SourceRead, Tally};

    use super::*;
    use crate::{RunState, StepAction, StepWork};

    fn step(table: &str, seconds: u64) -> StepSummary {
        StepSummary {
            table: TableName::parse(table).unwrap(),
            action: StepAction { work: StepWork::Replace, reason: String::new() },
            rows_in: 10,
            rows_out: 10,
            rejects: 0,
            files: 1,
            bytes: 100,
            bytes_spilled: 0,
            duration: Duration::from_secs(seconds),
            times: None,
            written_by: Vec::new(),
            checks: Vec::new(),
            version: None,
        }
    }

    fn run(steps: Vec<StepSummary>, seconds: u64) -> RunRecord {
        RunRecord {
            run_id: "r".to_owned(),
            job: "j".to_owned(),
            sequence: 1,
            state: RunState::Succeeded,
            accepted_us: 0,
            failure: None,
            operation: None,
            place: None,
            summary: Some(RunSummary {
                run_id: "r".to_owned(),
                sequence: 1,
                release: Some(1),
                steps,
                reads: Vec::new(),
                duration: Duration::from_secs(seconds),
                waited: Duration::ZERO,
            }),
        }
    }

    fn advice(found: &[Finding], words: &str) -> bool {
        found.iter().any(|finding| finding.what.contains(words) && finding.advice.is_some())
    }

    #[test]
    fn the_slowest_step_comes_first_and_a_quick_run_gets_no_advice() {
        let found = explain(&run(vec![step("z.a", 2), step("z.b", 7)], 10));
        assert_eq!(found[0].step.as_deref(), Some("z.b"));
        assert!(found[0].what.contains("70 %"), "{found:?}");
        assert_eq!(explain(&run(vec![step("z.a", 0)], 0)), []);
        let unfinished = RunRecord { summary: None, ..run(Vec::new(), 1) };
        assert_eq!(explain(&unfinished), []);
    }

    #[test]
    fn each_cause_is_told_with_what_to_change() {
        let mut slow = step("z.a", 9);
        slow.bytes_spilled = 5 << 20;
        (slow.files, slow.bytes) = (100, 100 << 10);
        slow.times = Some(StepTimes {
            waited_us: 2_000_000,
            executions: 2,
            spared_memory: false,
            throttled: 4,
            tasks: Some(TaskTimes {
                tasks: 8,
                slowest_us: 8_000_000,
                median_us: 1_000_000,
                slowest_on: "10.0.0.7".to_owned(),
            }),
        });
        let mut run = run(vec![slow], 20);
        let summary = run.summary.as_mut().unwrap();
        summary.waited = Duration::from_secs(3);
        summary.reads.push(SourceRead {
            source: "raw.songs".to_owned(),
            objects: 5_000,
            bytes: 5_000_000,
            digest: String::new(),
            tally: Tally { rejects: 3, ..Tally::default() },
            drift: Drift::default(),
            report: String::new(),
        });
        let found = explain(&run);
        for words in [
            "waited 3.0 s before",
            "5 MB were spilled",
            "100 files of 1 KB",
            "waited 2.0 s until",
            "executed 2 times: the fleet had lost it",
            "fewer requests 4 times",
            "one of 8 tasks took 8.0 s, the middle one 1.0 s; it ran on 10.0.0.7",
            "5000 raw objects of",
            "3 of raw.songs's records",
            "outside of its steps",
        ] {
            assert!(advice(&found, words), "{words}: {found:#?}");
        }
        assert!(found.windows(2).all(|pair| pair[0].cost >= pair[1].cost), "{found:#?}");
    }
}
