//! Vacuuming: what is needed stays, whatever goes wrong, whoever is under way.

use std::collections::{BTreeMap, BTreeSet};

use lakewright_error::{ErrorKind, Result};
use lakewright_lake::{
    layout,
    state::{Operation, newest_release},
};
use tokio_util::sync::CancellationToken;

use super::{
    store::Fault,
    world::{Process, World, expected, request},
};
use crate::{AsOf, RunSummary, VacuumOptions, Vacuumed, find_release, vacuum};

const FAULTS: [Fault; 3] = [Fault::CrashBefore, Fault::CrashAfter, Fault::AnswerLost];
/// After everything that is made.
const LATER_US: i64 = i64::MAX / 2;

async fn run(process: &Process) -> Result<RunSummary> {
    process.scheduler.run(request(), CancellationToken::new(), &|_| {}).await
}

async fn rewind(process: &Process, release: u64) -> Result<RunSummary> {
    let operation = Operation::Rewind { release };
    process.scheduler.maintain("music", operation, CancellationToken::new(), &|_| {}).await
}

/// Vacuums with no retention at all.
async fn vacuum_by(process: &Process, delete: bool) -> Result<Vacuumed> {
    let options = VacuumOptions { retain: std::time::Duration::ZERO, now_us: LATER_US, delete };
    vacuum(&process.scheduler.site.lake, options).await
}

async fn vacuum_all(world: &World) -> Vacuumed {
    vacuum_by(&world.process(None), true).await.unwrap()
}

/// Keys of all data files.
async fn data_files(world: &World) -> BTreeSet<String> {
    let keys = world.keys("").await.into_iter();
    keys.filter(|key| !key.starts_with('_') && layout::writer_of(key).is_some()).collect()
}

/// Release 1 has 7 events, release 2 has 13, and release 3 has 9 instead of 3 of them.
async fn three_releases() -> World {
    let world = World::new().await;
    run(&world.process(None)).await.unwrap();
    world.put_raw("events/3.json", 6).await;
    run(&world.process(None)).await.unwrap();
    world.put_raw("events/1.json", 9).await;
    run(&world.process(None)).await.unwrap();
    assert_eq!(world.rows().await, expected(19, 5));
    world
}

async fn readers_see(world: &World) -> BTreeMap<String, u64> {
    let release = newest_release(&world.lake()).await.unwrap();
    let tables = release.into_iter().flat_map(|release| release.tables);
    tables.filter(|(_, entry)| entry.version.is_some()).map(|(table, entry)| (table, entry.rows)).collect()
}

#[tokio::test]
async fn what_only_earlier_releases_hold_goes_and_what_the_newest_holds_stays() {
    let world = three_releases().await;
    let before = data_files(&world).await;
    let told = vacuum_by(&world.process(None), false).await.unwrap();
    assert_eq!(data_files(&world).await, before, "a dry run deletes nothing");
    let vacuumed = vacuum_all(&world).await;
    assert_eq!(vacuumed, told, "a dry run tells what is deleted");
    assert_eq!((vacuumed.oldest_release, vacuumed.releases), (Some(3), 2));
    let after = data_files(&world).await;
    assert_eq!(before.len() - after.len(), usize::try_from(vacuumed.files().objects).unwrap());
    let release = newest_release(&world.lake()).await.unwrap().unwrap();
    let held: u64 = release.tables.values().map(|entry| entry.files).sum();
    assert_eq!(after.len() as u64, held, "exactly the files of the newest release are left");
    // Rows come back as they were, nothing is read again, and what comes later is appended.
    assert_eq!(world.rows().await, expected(19, 5));
    assert_eq!(run(&world.process(None)).await.unwrap().release, None);
    world.put_raw("events/3.json", 7).await;
    run(&world.process(None)).await.unwrap();
    assert_eq!(world.rows().await, expected(20, 5));
    let again = vacuum_by(&world.process(None), false).await.unwrap();
    assert_eq!(again.releases, 1);
}

#[tokio::test]
async fn going_back_to_a_release_that_was_vacuumed_is_refused_and_says_so() {
    let world = three_releases().await;
    vacuum_all(&world).await;
    for error in [
        rewind(&world.process(None), 1).await.unwrap_err(),
        find_release(&world.lake(), AsOf::Release(2)).await.unwrap_err(),
        find_release(&world.lake(), AsOf::Time(0)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("vacuumed"), "{error}");
    }
    let never = find_release(&world.lake(), AsOf::Release(9)).await.unwrap_err();
    assert!(!never.message().contains("vacuumed"), "{never}");
    assert_eq!(world.rows().await, expected(19, 5));
}

#[tokio::test]
async fn what_is_in_retention_stays() {
    let world = three_releases().await;
    let before = world.keys("").await;
    let lake = world.lake();
    let now_us = newest_release(&lake).await.unwrap().unwrap().created_us;
    let options = VacuumOptions { retain: std::time::Duration::from_secs(7 * 86_400), now_us, delete: true };
    let vacuumed = vacuum(&lake, options).await.unwrap();
    assert_eq!((vacuumed.releases, vacuumed.files().objects, vacuumed.state.objects), (0, 0, 0));
    assert_eq!(world.keys("").await, before);
}

#[tokio::test]
async fn a_vacuum_that_breaks_off_anywhere_hurts_nobody_and_the_next_one_deletes_the_rest() {
    let world = three_releases().await;
    let whole = world.fork();
    vacuum_all(&whole).await;
    let expected_keys = whole.keys("").await;
    let mut schedules = 0;
    for fault in FAULTS {
        for at in 0.. {
            let world = world.fork();
            let process = world.process(Some((at, fault)));
            let crashed = process.store.crashed();
            tokio::select! {
                biased;
                () = crashed.cancelled() => {}
                result = vacuum_by(&process, true) => assert!(result.is_ok(), "{fault:?} at {at}: {result:?}"),
            }
            let Some(hit) = process.store.hit() else { break };
            assert_eq!(world.rows().await, expected(19, 5), "{fault:?} at {at} ({hit})");
            vacuum_all(&world).await;
            assert_eq!(world.keys("").await, expected_keys, "{fault:?} at {at} ({hit})");
            schedules += 1;
        }
    }
    assert!(schedules > 60, "{schedules} operations are too few for a vacuum");
    println!("{schedules} schedules of a vacuum");
}

#[tokio::test]
async fn a_run_that_broke_off_anywhere_finds_all_that_it_needs_after_a_vacuum() {
    let world = three_releases().await;
    world.put_raw("events/2.json", 5).await;
    let mut schedules = 0;
    for at in 0.. {
        let world = world.fork();
        let process = world.process(Some((at, Fault::CrashAfter)));
        let crashed = process.store.crashed();
        tokio::select! {
            biased;
            () = crashed.cancelled() => {}
            _ = run(&process) => {}
        }
        let Some(hit) = process.store.hit() else { break };
        let written = world.written_unfinished().await;
        let seen = readers_see(&world).await;
        vacuum_all(&world).await;
        assert_eq!(readers_see(&world).await, seen);
        let next = world.process(None);
        run(&next).await.unwrap_or_else(|error| panic!("at {at} ({hit}): {error:?}"));
        assert_eq!(world.rows().await, expected(20, 5), "at {at} ({hit})");
        let executed = next.backend.executed.lock().unwrap().clone();
        assert!(executed.iter().all(|table| !written.contains(table)), "at {at} ({hit}): {executed:?} of {written:?}");
        schedules += 1;
    }
    assert!(schedules > 40, "{schedules} operations are too few for a run");
}

#[tokio::test]
async fn a_rewind_that_broke_off_anywhere_finds_all_that_it_needs_after_a_vacuum() {
    let world = three_releases().await;
    let mut schedules = 0;
    for at in 0.. {
        let world = world.fork();
        let process = world.process(Some((at, Fault::CrashAfter)));
        let crashed = process.store.crashed();
        tokio::select! {
            biased;
            () = crashed.cancelled() => {}
            _ = rewind(&process, 1) => {}
        }
        let Some(hit) = process.store.hit() else { break };
        vacuum_all(&world).await;
        // The next run finishes the rewind, if it was accepted, and reads again what has come since.
        run(&world.process(None)).await.unwrap_or_else(|error| panic!("at {at} ({hit}): {error:?}"));
        assert_eq!(world.rows().await, expected(19, 5), "at {at} ({hit})");
        assert_eq!(world.unfinished("music").await, Vec::<String>::new(), "at {at} ({hit})");
        schedules += 1;
    }
    assert!(schedules > 20, "{schedules} operations are too few for a rewind");
}

#[tokio::test]
async fn files_that_the_next_run_takes_over_from_a_failed_one_stay() {
    let world = World::new().await;
    let failing = world.process(None);
    failing.backend.failing.lock().unwrap().insert("curated.by_song".to_owned());
    run(&failing).await.unwrap_err();
    let before = data_files(&world).await;
    vacuum_all(&world).await;
    assert_eq!(data_files(&world).await, before);
    let next = world.process(None);
    run(&next).await.unwrap();
    assert_eq!(*next.backend.executed.lock().unwrap(), ["curated.by_song"]);
    assert_eq!(world.rows().await, expected(7, 5));
}

#[tokio::test]
async fn files_that_nobody_names_go_and_files_of_others_stay() {
    let world = three_releases().await;
    vacuum_all(&world).await;
    let lake = world.lake();
    let before = data_files(&world).await;
    let run_id = newest_release(&lake).await.unwrap().unwrap().run_id;
    let orphan = format!("staging/events/{run_id}-{}.parquet", uuid::Uuid::new_v4());
    let foreign = ["staging/events/part-0000.parquet", "raw/x/1.json", "staging/events/x-y.parquet"];
    let unknown = format!("staging/events/{0}-{0}.parquet", uuid::Uuid::new_v4());
    for key in foreign.iter().copied().chain([orphan.as_str(), &unknown]) {
        lake.create(key, bytes::Bytes::from_static(b"PAR1")).await.unwrap();
    }
    let vacuumed = vacuum_all(&world).await;
    assert_eq!(vacuumed.tables.keys().collect::<Vec<_>>(), ["staging.events"]);
    assert_eq!(vacuumed.files().objects, 1);
    let after: BTreeSet<String> = data_files(&world).await;
    assert_eq!(after, before.into_iter().chain([unknown]).collect());
    for key in foreign {
        assert!(lake.head(key).await.unwrap().is_some(), "{key}");
    }
}

#[tokio::test]
async fn a_dropped_table_is_empty_for_other_engines_and_its_files_go() {
    let world = three_releases().await;
    let operation = Operation::Drop { table: "curated.by_song".to_owned(), force: false };
    let process = world.process(None);
    process.scheduler.maintain("music", operation, CancellationToken::new(), &|_| {}).await.unwrap();
    vacuum_all(&world).await;
    assert!(!data_files(&world).await.iter().any(|key| key.starts_with("curated/by_song/")));
    let root = world.lake().child("curated/by_song").unwrap();
    assert_eq!(lakewright_lake::read_snapshot(&root, None).await.unwrap().unwrap().files, vec![]);
    // A model that makes it again goes on with its versions.
    run(&world.process(None)).await.unwrap();
    assert_eq!(world.rows().await, expected(19, 5));
}
