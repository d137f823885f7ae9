//! Random schedules of faults: several processes one after the other, of which each may die, hang and wake up later, or
//! meet a store that refuses, before one is left alone. Whatever happened, the lake is as if nothing had.
//!
//! `LAKEWRIGHT_SCHEDULES` takes another number of schedules than the few of every test run, and `LAKEWRIGHT_SEED` the
//! first of their seeds: a failure names its seed.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, pin::Pin};

use futures::FutureExt;
use lakewright_error::{ErrorKind, Result};
use lakewright_lake::state::{Operation, newest_release};
use tokio_util::sync::CancellationToken;

use super::{
    store::{Fault, FaultyStore},
    world::{Mistake, Process, World, expected, request},
};
use crate::RunSummary;

/// Schedules where no other number is asked for.
const SCHEDULES: u64 = 150;
/// First run, run that adds, rewind, compaction, and updates of tables that were compacted and that were not.
const CASES: u64 = 6;
/// Operations of the longest run; a fault with a higher number does not come.
const OPERATIONS: u64 = 130;
/// Schedules within which a planted mistake must be found.
const SCHEDULES_TO_FIND: u64 = 150;

#[expect(clippy::disallowed_methods, reason = "the tests' own settings enter here only")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{name} is {text}: {error}")))
}

/// Numbers that depend on a seed alone (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn fault(&mut self) -> Fault {
        match self.below(8) {
            0 => Fault::CrashBefore,
            1 => Fault::CrashAfter,
            2 => Fault::AnswerLost,
            3 => Fault::Conflicting,
            4 => Fault::Precondition,
            5 => Fault::Busy(usize::try_from(1 + self.below(4)).unwrap()),
            _ => Fault::Hang,
        }
    }

    /// One to three faults of one process.
    fn faults(&mut self) -> Vec<(usize, Fault)> {
        let count = 1 + self.below(3);
        (0..count).map(|_| (usize::try_from(self.below(OPERATIONS)).unwrap(), self.fault())).collect()
    }
}

/// What is done, and what the tables hold before and after.
#[derive(Clone)]
struct Case {
    world: World,
    operation: Option<Operation>,
    before: BTreeMap<String, u64>,
    after: BTreeMap<String, u64>,
}

async fn run(process: &Process, operation: Option<&Operation>) -> Result<RunSummary> {
    let cancel = CancellationToken::new();
    match operation {
        Some(operation) => process.scheduler.maintain("music", operation.clone(), cancel, &|_| {}).await,
        None => process.scheduler.run(request(), cancel, &|_| {}).await,
    }
}

impl Case {
    /// All cases; a schedule works on a copy of one.
    async fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for number in 0..CASES {
            cases.push(Self::new(number).await);
        }
        cases
    }

    async fn new(number: u64) -> Self {
        let world = World::new().await;
        if number == 0 {
            return Self { world, operation: None, before: BTreeMap::new(), after: expected(7, 5) };
        }
        run(&world.process(None), None).await.unwrap();
        world.put_raw("events/3.json", 6).await;
        if number == 1 {
            return Self { world, operation: None, before: expected(7, 5), after: expected(13, 5) };
        }
        run(&world.process(None), None).await.unwrap();
        let before = expected(13, 5);
        match number {
            2 => {
                let operation = Some(Operation::Rewind { release: 1 });
                Self { world, operation, before, after: expected(7, 5) }
            }
            3 => {
                let operation = Some(Operation::Optimize { tables: Vec::new(), target_bytes: 1 << 20 });
                Self { world, operation, after: before.clone(), before }
            }
            other => {
                if other == 4 {
                    let optimize = Operation::Optimize { tables: Vec::new(), target_bytes: 1 << 20 };
                    run(&world.process(None), Some(&optimize)).await.unwrap();
                }
                // An object that has changed, one that is new, and one more song.
                world.put_raw("events/1.json", 10).await;
                world.put_raw("events/4.json", 2).await;
                world.put_raw("songs/2.json", 1).await;
                Self { world, operation: None, before, after: expected(22, 6) }
            }
        }
    }

    async fn readers_see(&self) -> BTreeMap<String, u64> {
        let release = newest_release(&self.world.lake()).await.unwrap();
        let tables = release.into_iter().flat_map(|release| release.tables);
        tables.filter(|(_, entry)| entry.version.is_some()).map(|(table, entry)| (table, entry.rows)).collect()
    }
}

type Running = Pin<Box<dyn Future<Output = Result<RunSummary>>>>;

/// A process that stands still, and what it does when it is released.
struct Sleeper {
    store: FaultyStore,
    running: Running,
}

/// Runs a schedule; panics if the lake is not what it must be.
async fn run_schedule(cases: &[Case], seed: u64, mistake: Option<Mistake>) {
    let mut random = Random(seed);
    let case = cases[usize::try_from(random.below(CASES)).unwrap()].clone();
    let case = Case { world: case.world.fork(), ..case };
    let mut sleepers = Vec::new();
    let mut told = Vec::new();
    for _ in 0..1 + random.below(3) {
        let process = case.world.process_with(&random.faults(), mistake);
        let (store, operation) = (process.store.clone(), case.operation.clone());
        let (crashed, hanging) = (store.crashed(), store.hanging());
        let mut running: Running = Box::pin(async move { run(&process, operation.as_ref()).await });
        let result = tokio::select! {
            biased;
            () = crashed.cancelled() => None,
            () = hanging.cancelled() => None,
            result = &mut running => Some(result),
        };
        told.extend(store.hit());
        if hanging.is_cancelled() && result.is_none() {
            sleepers.push(Sleeper { store, running });
        } else if let Some(result) = result.filter(|_| !crashed.is_cancelled()) {
            judge(&result, &told);
        }
        let seen = case.readers_see().await;
        assert!(seen == case.before || seen == case.after, "readers see {seen:?}: {told:?}");
    }
    let process = case.world.process_with(&[], mistake);
    let recovered = run(&process, case.operation.as_ref()).await;
    assert!(recovered.is_ok(), "{recovered:?}: {told:?}");
    assert_eq!(case.world.rows().await, case.after, "{told:?}");
    // Those that were taken for dead wake up: they change nothing.
    for Sleeper { store, running } in sleepers {
        store.release();
        let crashed = store.crashed();
        tokio::select! {
            biased;
            () = crashed.cancelled() => {}
            result = running => judge(&result, &told),
        }
        assert_eq!(case.world.rows().await, case.after, "after a sleeper woke up: {told:?}");
    }
    let process = case.world.process_with(&[], mistake);
    run(&process, case.operation.as_ref()).await.unwrap_or_else(|error| panic!("{error:?}: {told:?}"));
    assert_eq!(case.world.rows().await, case.after, "{told:?}");
    assert_eq!(case.world.unfinished("music").await, Vec::<String>::new(), "unfinished runs: {told:?}");
    assert_eq!(case.world.slots_without_one_run().await, Vec::<String>::new(), "slots: {told:?}");
    if case.operation.is_none() {
        let idle = case.world.process_with(&[], mistake);
        assert_eq!(run(&idle, None).await.unwrap().release, None, "{told:?}");
    }
}

/// A run may fail where the store has failed it, and for no other reason.
fn judge(result: &Result<RunSummary>, told: &[String]) {
    if let Err(error) = result {
        let may = error.is_retryable() || error.kind() == ErrorKind::Cancelled;
        assert!(may, "{error:?}: {told:?}");
    }
}

#[tokio::test]
async fn random_schedules_of_faults_end_as_if_nothing_had_happened() {
    let first = setting("LAKEWRIGHT_SEED").unwrap_or(1);
    let count = setting("LAKEWRIGHT_SCHEDULES").unwrap_or(SCHEDULES);
    let cases = Case::all().await;
    for seed in first..first + count {
        if let Err(panic) = AssertUnwindSafe(run_schedule(&cases, seed, None)).catch_unwind().await {
            println!("seed {seed}: again with LAKEWRIGHT_SEED={seed} LAKEWRIGHT_SCHEDULES=1");
            std::panic::resume_unwind(panic);
        }
    }
    println!("{count} schedules from seed {first} on");
}

/// Runs schedules until one fails; gives its seed.
async fn find(mistake: Mistake) -> Option<u64> {
    let cases = Case::all().await;
    for seed in 1..=SCHEDULES_TO_FIND {
        if AssertUnwindSafe(run_schedule(&cases, seed, Some(mistake))).catch_unwind().await.is_err() {
            println!("{mistake:?} is found by seed {seed}");
            return Some(seed);
        }
    }
    None
}

#[tokio::test]
async fn who_believes_to_own_what_another_has_created_is_found() {
    assert!(find(Mistake::BelievesEveryCreate).await.is_some());
}

#[tokio::test]
async fn files_of_two_attempts_under_one_name_are_found() {
    assert!(find(Mistake::ReusesFileNames).await.is_some());
}
