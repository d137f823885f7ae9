//! Rewinding, repairing and dropping: through every fault, and with the next run reading again what it must.

use std::collections::BTreeMap;

use lakewright_error::{ErrorKind, Result};
use lakewright_lake::state::{Operation, newest_release};
use tokio_util::sync::CancellationToken;

use super::{
    foreign::run_against,
    store::Fault,
    world::{Process, World, expected, request},
};
use crate::{RunState, RunSummary, list_runs};

const FAULTS: [Fault; 3] = [Fault::CrashBefore, Fault::CrashAfter, Fault::AnswerLost];

async fn run(process: &Process) -> Result<RunSummary> {
    process.scheduler.run(request(), CancellationToken::new(), &|_| {}).await
}

async fn maintain(process: &Process, operation: &Operation) -> Result<RunSummary> {
    process.scheduler.maintain("music", operation.clone(), CancellationToken::new(), &|_| {}).await
}

/// Release 1 has 7 events, release 2 has 13.
async fn two_releases() -> World {
    let world = World::new().await;
    run(&world.process(None)).await.unwrap();
    world.put_raw("events/3.json", 6).await;
    run(&world.process(None)).await.unwrap();
    assert_eq!(world.rows().await, expected(13, 5));
    world
}

fn rewind(release: u64) -> Operation {
    Operation::Rewind { release }
}

/// Does an operation in a process on which something goes wrong. Gives what went wrong; `None` if nothing did.
async fn with_fault(world: &World, at: usize, fault: Fault, operation: &Operation) -> Option<String> {
    let process = world.process(Some((at, fault)));
    let crashed = process.store.crashed();
    let result = tokio::select! {
        biased;
        () = crashed.cancelled() => None,
        result = maintain(&process, operation) => Some(result),
    };
    let hit = process.store.hit()?;
    if let Some(result) = result.filter(|_| !crashed.is_cancelled()) {
        // A single lost answer never fails a run.
        assert!(result.is_ok(), "{fault:?} at {at} ({hit}): {result:?}");
    }
    Some(hit)
}

/// Rows by the release alone, which is what our own readers see.
async fn readers_see(world: &World) -> BTreeMap<String, u64> {
    let release = newest_release(&world.lake()).await.unwrap();
    let tables = release.into_iter().flat_map(|release| release.tables);
    tables.filter(|(_, entry)| entry.version.is_some()).map(|(table, entry)| (table, entry.rows)).collect()
}

#[tokio::test]
async fn a_rewind_gives_all_tables_their_earlier_rows_and_the_next_run_reads_the_rest_again() {
    let world = two_releases().await;
    let summary = maintain(&world.process(None), &rewind(1)).await.unwrap();
    assert_eq!(summary.release, Some(3));
    assert_eq!(world.rows().await, expected(7, 5));
    let next = world.process(None);
    run(&next).await.unwrap();
    assert_eq!(world.rows().await, expected(13, 5));
    let executed = next.backend.executed.lock().unwrap().clone();
    assert_eq!(executed, ["staging.events", "curated.plays", "curated.by_song"]);
    // Forward again, to a release that had been left.
    maintain(&world.process(None), &rewind(1)).await.unwrap();
    maintain(&world.process(None), &rewind(2)).await.unwrap();
    assert_eq!(world.rows().await, expected(13, 5));
    let idle = run(&world.process(None)).await.unwrap();
    assert_eq!(idle.release, None, "what the ledger says was consumed is read again");
}

#[tokio::test]
async fn a_rewind_to_the_newest_release_makes_none() {
    let world = two_releases().await;
    assert_eq!(maintain(&world.process(None), &rewind(2)).await.unwrap().release, None);
    assert_eq!(maintain(&world.process(None), &rewind(9)).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(newest_release(&world.lake()).await.unwrap().unwrap().number, 2);
}

#[tokio::test]
async fn a_rewind_comes_to_the_same_end_through_every_fault() {
    let world = two_releases().await;
    let mut schedules = 0;
    for fault in FAULTS {
        for at in 0.. {
            let world = world.fork();
            let Some(hit) = with_fault(&world, at, fault, &rewind(1)).await else { break };
            let seen = readers_see(&world).await;
            assert!(seen == expected(7, 5) || seen == expected(13, 5), "{fault:?} at {at} ({hit}): {seen:?}");
            maintain(&world.process(None), &rewind(1)).await.unwrap();
            assert_eq!(world.rows().await, expected(7, 5), "{fault:?} at {at} ({hit})");
            assert_eq!(world.unfinished("music").await, Vec::<String>::new(), "{fault:?} at {at} ({hit})");
            // A run takes longer than all the rest; what it reads is decided by the release that was just checked.
            if at % 5 == 0 {
                run(&world.process(None)).await.unwrap();
                assert_eq!(world.rows().await, expected(13, 5), "{fault:?} at {at} ({hit})");
            }
            schedules += 1;
        }
    }
    assert!(schedules > 60, "{schedules} operations are too few for a rewind");
    println!("{schedules} schedules of a rewind");
}

/// A run that has committed one table, and found foreign data below its addition to the next.
async fn broken() -> (World, String) {
    let world = World::new().await;
    run(&world.process(None)).await.unwrap();
    world.put_raw("events/3.json", 6).await;
    run_against(&world, "curated.plays").await.unwrap_err();
    let records = list_runs(&world.lake(), None, 10).await.unwrap();
    let broken = records.into_iter().find(|record| record.state == RunState::Broken).unwrap();
    (world, broken.run_id)
}

#[tokio::test]
async fn a_repair_ends_a_broken_run_and_unblocks_its_job_through_every_fault() {
    let (world, run_id) = broken().await;
    let repair = Operation::Repair { run_id: run_id.clone() };
    let mut schedules = 0;
    for fault in FAULTS {
        for at in 0.. {
            let world = world.fork();
            let Some(hit) = with_fault(&world, at, fault, &repair).await else { break };
            assert_eq!(readers_see(&world).await, expected(7, 5), "{fault:?} at {at} ({hit})");
            match maintain(&world.process(None), &repair).await {
                Ok(_) => {}
                // The repair that broke off had come to its point of no return.
                Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{fault:?} at {at} ({hit}): {error:?}"),
            }
            // The foreign row is in the way of an addition still, and a rebuild gets over it.
            let mut full = request();
            full.options.full_refresh = true;
            world.process(None).scheduler.run(full, CancellationToken::new(), &|_| {}).await.unwrap();
            assert_eq!(world.rows().await, expected(13, 5), "{fault:?} at {at} ({hit})");
            assert_eq!(world.unfinished("music").await, Vec::<String>::new(), "{fault:?} at {at} ({hit})");
            let records = list_runs(&world.lake(), None, 10).await.unwrap();
            let repaired = records.iter().find(|record| record.run_id == run_id).unwrap();
            assert_eq!(repaired.state, RunState::Failed, "{fault:?} at {at} ({hit})");
            schedules += 1;
        }
    }
    assert!(schedules > 60, "{schedules} operations are too few for a repair");
    println!("{schedules} schedules of a repair");
}

#[tokio::test]
async fn a_repair_takes_back_what_the_broken_run_has_committed_and_nothing_else() {
    let (world, run_id) = broken().await;
    let before = newest_release(&world.lake()).await.unwrap().unwrap();
    maintain(&world.process(None), &Operation::Repair { run_id: run_id.clone() }).await.unwrap();
    let after = newest_release(&world.lake()).await.unwrap().unwrap();
    let version = |release: &lakewright_lake::state::Release, table: &str| release.tables[table].version.unwrap();
    assert_eq!(version(&after, "staging.events"), version(&before, "staging.events") + 2);
    assert_eq!(after.tables["curated.plays"].version, before.tables["curated.plays"].version);
    let root = world.lake().child("staging/events").unwrap();
    let newest = lakewright_lake::read_snapshot(&root, None).await.unwrap().unwrap();
    assert_eq!(newest.version, version(&after, "staging.events"));
    assert_eq!(newest.files.iter().map(|file| file.row_count).sum::<u64>(), 7);
    let again = maintain(&world.process(None), &Operation::Repair { run_id }).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_dropped_table_leaves_the_release_unless_another_reads_it_and_comes_back_with_the_next_run() {
    let world = two_releases().await;
    let drop = |table: &str, force| Operation::Drop { table: table.to_owned(), force };
    let refused = maintain(&world.process(None), &drop("staging.events", false)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains("curated.plays"), "{refused}");
    assert_eq!(maintain(&world.process(None), &drop("z.t", false)).await.unwrap_err().kind(), ErrorKind::NotFound);
    let mut schedules = 0;
    for fault in FAULTS {
        for at in 0.. {
            let world = world.fork();
            let operation = drop("curated.by_song", false);
            let Some(hit) = with_fault(&world, at, fault, &operation).await else { break };
            // A second try finds the table gone if the first has come to its point of no return.
            let again = maintain(&world.process(None), &operation).await;
            assert!(again.is_ok() || again.unwrap_err().kind() == ErrorKind::NotFound, "{fault:?} at {at} ({hit})");
            let mut rows = expected(13, 5);
            rows.remove("curated.by_song");
            assert_eq!(world.rows().await, rows, "{fault:?} at {at} ({hit})");
            run(&world.process(None)).await.unwrap();
            assert_eq!(world.rows().await, expected(13, 5), "{fault:?} at {at} ({hit})");
            schedules += 1;
        }
    }
    assert!(schedules > 30, "{schedules} operations are too few for a drop");
}
