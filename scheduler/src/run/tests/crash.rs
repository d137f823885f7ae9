//! Every store operation of a run × {the process dies before it, after it, its answer is lost}.

use std::{collections::BTreeMap, time::Instant};

use tokio_util::sync::CancellationToken;

use super::{
    store::Fault,
    world::{FakeBackend, World, expected, keyed_request, request},
};
use crate::RunRequest;

/// Runs the job in a process on which the given operation goes wrong, then in a fresh one, and checks the lake after
/// each. Gives the operation that went wrong; `None` if the run has fewer.
async fn run_through(
    world: &World,
    at: usize,
    fault: Fault,
    (before, after): (&BTreeMap<String, u64>, &BTreeMap<String, u64>),
    request: fn() -> RunRequest,
) -> Option<String> {
    let process = world.process(Some((at, fault)));
    let crashed = process.store.crashed();
    let result = tokio::select! {
        biased;
        () = crashed.cancelled() => None,
        result = process.scheduler.run(request(), CancellationToken::new(), &|_| {}) => Some(result),
    };
    let result = result.filter(|_| !crashed.is_cancelled());
    let hit = process.store.hit()?;
    if let Some(result) = &result {
        // A single lost answer never fails a run, and a run that says so has published everything.
        assert!(result.is_ok(), "{fault:?} at {at} ({hit}): {result:?}");
        assert_eq!(&world.rows().await, after, "{fault:?} at {at} ({hit})");
    } else {
        let readers = readers_see(world).await;
        assert!(readers == *before || readers == *after, "{fault:?} at {at} ({hit}): readers see {readers:?}");
    }
    let written = world.written_unfinished().await;
    let next = world.process(None);
    let recovered = next.scheduler.run(request(), CancellationToken::new(), &|_| {}).await;
    assert!(recovered.is_ok(), "{fault:?} at {at} ({hit}): {recovered:?}");
    assert_eq!(&world.rows().await, after, "{fault:?} at {at} ({hit}), recovered");
    let executed = next.backend.executed.lock().unwrap().clone();
    for table in &executed {
        assert!(!written.contains(table), "{fault:?} at {at} ({hit}): {table} was written and ran again");
    }
    assert_eq!(world.unfinished("music").await, Vec::<String>::new(), "{fault:?} at {at} ({hit}): unfinished runs");
    assert_eq!(world.slots_without_one_run().await, Vec::<String>::new(), "{fault:?} at {at} ({hit}): slots");
    // Nothing is left to do: one more run skips everything and makes no release.
    let idle = world.process(None);
    let summary = idle.scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap();
    assert_eq!(summary.release, None, "{fault:?} at {at} ({hit})");
    assert!(idle.backend.executed.lock().unwrap().is_empty());
    Some(hit)
}

/// Rows by the release alone, which is what our own readers see.
async fn readers_see(world: &World) -> BTreeMap<String, u64> {
    let release = lakewright_lake::state::newest_release(&world.lake()).await.unwrap();
    let tables = release.into_iter().flat_map(|release| release.tables);
    tables.filter(|(_, entry)| entry.version.is_some()).map(|(table, entry)| (table, entry.rows)).collect()
}

async fn run_through_all(world: &World, before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> usize {
    run_request_through_all(world, before, after, request).await
}

async fn run_request_through_all(
    world: &World,
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
    request: fn() -> RunRequest,
) -> usize {
    let mut schedules = 0;
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::AnswerLost] {
        let mut at = 0;
        while run_through(&world.fork(), at, fault, (before, after), request).await.is_some() {
            at += 1;
            schedules += 1;
        }
        assert!(at > 30, "{at} operations are too few for a run");
    }
    schedules
}

#[tokio::test]
async fn a_first_run_comes_to_the_same_end_through_every_fault() {
    let started = Instant::now();
    let world = World::new().await;
    let schedules = run_through_all(&world, &BTreeMap::new(), &expected(7, 5)).await;
    println!("{schedules} schedules of a first run in {:?}", started.elapsed());
}

#[tokio::test]
async fn an_incremental_run_comes_to_the_same_end_through_every_fault() {
    let started = Instant::now();
    let world = World::new().await;
    world.process(None).scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap();
    assert_eq!(world.rows().await, expected(7, 5));
    world.put_raw("events/3.json", 6).await;
    let schedules = run_through_all(&world, &expected(7, 5), &expected(13, 5)).await;
    println!("{schedules} schedules of an incremental run in {:?}", started.elapsed());
}

#[tokio::test]
async fn a_run_that_replaces_rows_comes_to_the_same_end_through_every_fault() {
    let started = Instant::now();
    let world = World::new().await;
    world.process(None).scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap();
    world.put_raw("events/3.json", 6).await;
    world.process(None).scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap();
    assert_eq!(world.rows().await, expected(13, 5));
    world.put_raw("events/1.json", 10).await;
    world.put_raw("events/4.json", 2).await;
    let schedules = run_through_all(&world, &expected(13, 5), &expected(22, 5)).await;
    println!("{schedules} schedules of an updating run in {:?}", started.elapsed());
}

#[tokio::test]
async fn a_run_that_computes_by_key_comes_to_the_same_end_through_every_fault() {
    let started = Instant::now();
    let world = World::new().await;
    let all = |events: u64| {
        let mut rows = expected(events, 5);
        rows.insert("curated.latest".to_owned(), events);
        rows
    };
    world.process(None).scheduler.run(keyed_request(), CancellationToken::new(), &|_| {}).await.unwrap();
    assert_eq!(world.rows().await, all(7));
    world.put_raw("events/3.json", 6).await;
    let schedules = run_request_through_all(&world, &all(7), &all(13), keyed_request).await;
    println!("{schedules} schedules of a run that computes by key in {:?}", started.elapsed());
}

/// The job fails once; its steps but one were written, and wait to be adopted.
async fn world_with_a_failed_run() -> World {
    let world = World::new().await;
    let failing = world.process(None);
    failing.backend.failing.lock().unwrap().insert("curated.by_song".to_owned());
    failing.scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap_err();
    world
}

#[tokio::test]
async fn a_run_that_adopts_files_comes_to_the_same_end_through_every_fault() {
    let started = Instant::now();
    let world = world_with_a_failed_run().await;
    let schedules = run_through_all(&world, &BTreeMap::new(), &expected(7, 5)).await;
    println!("{schedules} schedules of an adopting run in {:?}", started.elapsed());
}

#[tokio::test]
async fn a_run_that_fails_publishes_nothing_through_every_fault() {
    let fail = |backend: &FakeBackend| {
        backend.failing.lock().unwrap().insert("curated.by_song".to_owned());
    };
    fail_through_all("a failing run", fail).await;
}

#[tokio::test]
async fn a_run_whose_check_fails_publishes_nothing_through_every_fault() {
    fail_through_all("a run whose check fails", |backend| *backend.violations.lock().unwrap() = 2).await;
}

async fn fail_through_all(what: &str, fail: impl Fn(&FakeBackend)) {
    let started = Instant::now();
    let mut schedules = 0;
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::AnswerLost] {
        for at in 0.. {
            let world = World::new().await;
            let process = world.process(Some((at, fault)));
            fail(&process.backend);
            let crashed = process.store.crashed();
            tokio::select! {
                biased;
                () = crashed.cancelled() => {}
                result = process.scheduler.run(request(), CancellationToken::new(), &|_| {}) => {
                    assert!(result.is_err(), "{fault:?} at {at}: {result:?}");
                }
            }
            let Some(hit) = process.store.hit() else { break };
            assert_eq!(readers_see(&world).await, BTreeMap::new(), "{fault:?} at {at} ({hit})");
            // The next process can do what the first could not: it goes on with the run, or adopts what is there.
            let next = world.process(None);
            let recovered = next.scheduler.run(request(), CancellationToken::new(), &|_| {}).await;
            assert!(recovered.is_ok(), "{fault:?} at {at} ({hit}): {recovered:?}");
            assert_eq!(world.rows().await, expected(7, 5), "{fault:?} at {at} ({hit})");
            assert_eq!(world.unfinished("music").await, Vec::<String>::new(), "{fault:?} at {at} ({hit})");
            schedules += 1;
        }
    }
    assert!(schedules > 60, "{schedules} operations are too few for a run");
    println!("{schedules} schedules of {what} in {:?}", started.elapsed());
}
