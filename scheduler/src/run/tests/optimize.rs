//! Compaction: the same rows in fewer files, through every fault, and with all that comes after it still exact.

use std::time::Duration;

use lakewright_error::{ErrorKind, Result};
use lakewright_lake::{
    layout, read_snapshot,
    state::{Operation, newest_release, read_origins},
};
use tokio_util::sync::CancellationToken;

use super::{
    foreign::write_as_another,
    store::Fault,
    world::{Process, World, expected, request},
};
use crate::{RunEvent, RunSummary, StepWork, VacuumOptions, list_runs, vacuum};

const FAULTS: [Fault; 3] = [Fault::CrashBefore, Fault::CrashAfter, Fault::AnswerLost];

async fn run(process: &Process) -> Result<RunSummary> {
    process.scheduler.run(request(), CancellationToken::new(), &|_| {}).await
}

fn optimize_of(tables: &[&str], target_bytes: u64) -> Operation {
    Operation::Optimize { tables: tables.iter().map(|table| (*table).to_owned()).collect(), target_bytes }
}

async fn optimize(process: &Process) -> Result<RunSummary> {
    // A file of the world has four bytes.
    let operation = optimize_of(&[], 1 << 20);
    process.scheduler.maintain("music", operation, CancellationToken::new(), &|_| {}).await
}

/// Five runs, each with a new object of events: objects of 3 and 4, then 2, 3, 4 and 5 rows.
async fn five_runs() -> World {
    let world = World::new().await;
    run(&world.process(None)).await.unwrap();
    for number in 1..=4 {
        world.put_raw(&format!("events/new{number}.json"), number + 1).await;
        run(&world.process(None)).await.unwrap();
    }
    assert_eq!(world.rows().await, expected(21, 5));
    world
}

async fn files_of(world: &World, table: &str) -> u64 {
    newest_release(&world.lake()).await.unwrap().unwrap().tables[table].files
}

fn work_of(summary: &RunSummary, table: &str) -> (StepWork, u64) {
    let step = summary.steps.iter().find(|step| step.table.to_string() == table).unwrap();
    (step.action.work, step.rows_in)
}

#[tokio::test]
async fn rows_are_put_together_and_nothing_is_computed_for_it() {
    let world = five_runs().await;
    assert_eq!((files_of(&world, "staging.events").await, files_of(&world, "curated.plays").await), (5, 10));
    let process = world.process(None);
    let summary = optimize(&process).await.unwrap();
    assert_eq!(summary.release, Some(6));
    assert_eq!(world.rows().await, expected(21, 5));
    assert_eq!((files_of(&world, "staging.events").await, files_of(&world, "curated.plays").await), (1, 2));
    assert!(process.backend.executed.lock().unwrap().is_empty());
    // Neither the tables themselves nor those that read them have anything to do.
    let idle = world.process(None);
    let summary = run(&idle).await.unwrap();
    assert_eq!(summary.release, None, "{:?}", summary.steps);
    assert!(idle.backend.executed.lock().unwrap().is_empty());
    assert_eq!(optimize(&world.process(None)).await.unwrap().release, None, "there is nothing left to put together");
    let records = list_runs(&world.lake(), None, 20).await.unwrap();
    assert_eq!(records.iter().filter(|record| record.operation.as_deref() == Some("optimize")).count(), 2);
}

#[tokio::test]
async fn what_comes_after_a_compaction_is_appended_as_ever() {
    let world = five_runs().await;
    optimize(&world.process(None)).await.unwrap();
    world.put_raw("events/later.json", 6).await;
    let summary = run(&world.process(None)).await.unwrap();
    assert_eq!(work_of(&summary, "staging.events"), (StepWork::Append, 6));
    assert_eq!(work_of(&summary, "curated.plays"), (StepWork::Append, 6));
    assert_eq!(world.rows().await, expected(27, 5));
    optimize(&world.process(None)).await.unwrap();
    assert_eq!((files_of(&world, "staging.events").await, files_of(&world, "curated.plays").await), (1, 2));
    assert_eq!(world.rows().await, expected(27, 5));
    assert_eq!(run(&world.process(None)).await.unwrap().release, None);
}

#[tokio::test]
async fn a_changed_object_replaces_its_rows_in_a_compacted_table_and_reads_no_others() {
    let world = five_runs().await;
    optimize(&world.process(None)).await.unwrap();
    world.put_raw("events/new2.json", 9).await;
    let summary = run(&world.process(None)).await.unwrap();
    assert_eq!(work_of(&summary, "staging.events"), (StepWork::Update, 9), "only the batch of the object is read");
    assert_eq!(world.rows().await, expected(27, 5));
    // Rows of an object that has gone stay, though they lay in one file with rows that are replaced.
    world.delete_raw("events/new3.json").await;
    world.put_raw("events/new4.json", 6).await;
    let mut accepting = request();
    accepting.options.accept_losses = true;
    let process = world.process(None);
    process.scheduler.run(accepting, CancellationToken::new(), &|_| {}).await.unwrap();
    assert_eq!(world.rows().await, expected(28, 5));
    assert_eq!(run(&world.process(None)).await.unwrap().release, None);
    optimize(&world.process(None)).await.unwrap();
    assert_eq!(world.rows().await, expected(28, 5));
    let lake = world.lake();
    let entry = newest_release(&lake).await.unwrap().unwrap().tables["staging.events"].clone();
    let files = read_snapshot(&lake.child("staging/events").unwrap(), entry.version).await.unwrap().unwrap().files;
    let origins = read_origins(&lake, "staging.events", entry.origins).await.unwrap();
    let of: u64 = files.iter().flat_map(|file| origins.of(file)).map(|origin| origin.row_count).sum();
    assert_eq!(of, 28, "every row has one origin");
}

#[tokio::test]
async fn a_compaction_comes_to_the_same_end_through_every_fault() {
    let world = five_runs().await;
    let mut schedules = 0;
    for fault in FAULTS {
        for at in 0.. {
            let world = world.fork();
            let process = world.process(Some((at, fault)));
            let crashed = process.store.crashed();
            tokio::select! {
                biased;
                () = crashed.cancelled() => {}
                result = optimize(&process) => assert!(result.is_ok(), "{fault:?} at {at}: {result:?}"),
            }
            let Some(hit) = process.store.hit() else { break };
            optimize(&world.process(None)).await.unwrap_or_else(|error| panic!("{fault:?} at {at} ({hit}): {error:?}"));
            assert_eq!(world.rows().await, expected(21, 5), "{fault:?} at {at} ({hit})");
            assert_eq!(files_of(&world, "curated.plays").await, 2, "{fault:?} at {at} ({hit})");
            assert_eq!(world.unfinished("music").await, Vec::<String>::new(), "{fault:?} at {at} ({hit})");
            // What is exact about one schedule in five is about all: the release is the same.
            if at % 5 == 0 {
                world.put_raw("events/new1.json", 4).await;
                let summary = run(&world.process(None)).await.unwrap();
                assert_eq!(work_of(&summary, "staging.events"), (StepWork::Update, 4), "{fault:?} at {at} ({hit})");
                assert_eq!(world.rows().await, expected(23, 5), "{fault:?} at {at} ({hit})");
            }
            schedules += 1;
        }
    }
    assert!(schedules > 60, "{schedules} operations are too few for a compaction");
    println!("{schedules} schedules of a compaction");
}

#[tokio::test]
async fn an_update_of_a_compacted_table_comes_to_the_same_end_through_every_fault() {
    let world = five_runs().await;
    optimize(&world.process(None)).await.unwrap();
    world.put_raw("events/new2.json", 9).await;
    let mut schedules = 0;
    for fault in FAULTS {
        for at in 0.. {
            let world = world.fork();
            let process = world.process(Some((at, fault)));
            let crashed = process.store.crashed();
            tokio::select! {
                biased;
                () = crashed.cancelled() => {}
                result = run(&process) => assert!(result.is_ok(), "{fault:?} at {at}: {result:?}"),
            }
            let Some(hit) = process.store.hit() else { break };
            run(&world.process(None)).await.unwrap_or_else(|error| panic!("{fault:?} at {at} ({hit}): {error:?}"));
            assert_eq!(world.rows().await, expected(27, 5), "{fault:?} at {at} ({hit})");
            schedules += 1;
        }
    }
    assert!(schedules > 100, "{schedules} operations are too few for a run");
}

#[tokio::test]
async fn a_table_that_lags_behind_gets_every_row_of_a_compacted_one_once() {
    let world = five_runs().await;
    for number in 5..=6 {
        world.put_raw(&format!("events/new{number}.json"), number).await;
        let mut alone = request();
        alone.options.select = vec!["staging.events".to_owned()];
        world.process(None).scheduler.run(alone, CancellationToken::new(), &|_| {}).await.unwrap();
    }
    assert_eq!(world.rows().await["curated.plays"], 21);
    optimize(&world.process(None)).await.unwrap();
    assert_eq!(files_of(&world, "staging.events").await, 1);
    run(&world.process(None)).await.unwrap();
    assert_eq!(world.rows().await, expected(32, 5));
    assert_eq!(run(&world.process(None)).await.unwrap().release, None);
}

#[tokio::test]
async fn a_rewind_to_before_a_compaction_and_back_is_exact() {
    let world = five_runs().await;
    optimize(&world.process(None)).await.unwrap();
    let rewind = |release| Operation::Rewind { release };
    for release in [4, 6, 5, 6] {
        let process = world.process(None);
        process.scheduler.maintain("music", rewind(release), CancellationToken::new(), &|_| {}).await.unwrap();
        let rows = if release == 4 { 16 } else { 21 };
        assert_eq!(world.rows().await, expected(rows, 5), "release {release}");
    }
    assert_eq!(run(&world.process(None)).await.unwrap().release, None);
    world.put_raw("events/new1.json", 3).await;
    let summary = run(&world.process(None)).await.unwrap();
    assert_eq!(work_of(&summary, "staging.events"), (StepWork::Update, 3));
    assert_eq!(world.rows().await, expected(22, 5));
}

#[tokio::test]
async fn a_compaction_gives_way_to_what_somebody_else_has_written() {
    let world = five_runs().await;
    let on_event = |event: RunEvent| {
        if matches!(event, RunEvent::Publishing) {
            let world = world.share();
            let write = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(write_as_another(&world, "staging.events"));
            };
            std::thread::spawn(write).join().unwrap();
        }
    };
    let process = world.process(None);
    let operation = optimize_of(&[], 1 << 20);
    process.scheduler.maintain("music", operation, CancellationToken::new(), &on_event).await.unwrap();
    let root = world.lake().child("staging/events").unwrap();
    let newest = read_snapshot(&root, None).await.unwrap().unwrap();
    assert_eq!(
        newest.files.iter().map(|file| file.row_count).sum::<u64>(),
        22,
        "nothing is lost, and nothing is doubled"
    );
    assert_eq!((files_of(&world, "staging.events").await, files_of(&world, "curated.plays").await), (5, 2));
    assert_eq!(world.unfinished("music").await, Vec::<String>::new());
    assert!(world.keys(layout::ACTIVE_DIR).await.is_empty());
}

#[tokio::test]
async fn a_vacuum_leaves_what_exact_replacement_needs() {
    let world = five_runs().await;
    optimize(&world.process(None)).await.unwrap();
    let options = VacuumOptions { retain: Duration::ZERO, now_us: i64::MAX / 2, delete: true };
    let vacuumed = vacuum(&world.lake(), options).await.unwrap();
    assert!(vacuumed.tables.contains_key("staging.events"), "{vacuumed:?}");
    world.put_raw("events/new2.json", 9).await;
    let summary = run(&world.process(None)).await.unwrap();
    assert_eq!(work_of(&summary, "staging.events"), (StepWork::Update, 9));
    assert_eq!(world.rows().await, expected(27, 5));
}

#[tokio::test]
async fn what_cannot_be_put_together_is_refused_by_name() {
    let world = five_runs().await;
    let refused = async |tables: &[&str], job: &'static str| {
        let process = world.process(None);
        let operation = optimize_of(tables, 1 << 20);
        process.scheduler.maintain(job, operation, CancellationToken::new(), &|_| {}).await.unwrap_err()
    };
    assert_eq!(refused(&["z.t"], "music").await.kind(), ErrorKind::NotFound);
    assert_eq!(refused(&["curated.by_song"], "music").await.kind(), ErrorKind::Invalid);
    assert_eq!(refused(&["staging.events"], "other").await.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn every_tenth_version_of_a_table_has_a_checkpoint_and_the_log_before_it_goes_with_a_vacuum() {
    let world = World::new().await;
    for number in 0..=12 {
        world.put_raw(&format!("events/new{number}.json"), 1).await;
        run(&world.process(None)).await.unwrap();
    }
    let log = || async { world.keys("staging/events/_delta_log").await };
    let checkpoint = "staging/events/_delta_log/00000000000000000010.checkpoint.parquet";
    assert!(log().await.iter().any(|key| key == checkpoint), "{:?}", log().await);
    let options = VacuumOptions { retain: Duration::ZERO, now_us: i64::MAX / 2, delete: true };
    vacuum(&world.lake(), options).await.unwrap();
    let left = log().await;
    let entries: Vec<&String> = left.iter().filter(|key| key.ends_with(".json")).collect();
    assert_eq!(entries.len(), 3, "versions 10 to 12: {left:?}");
    assert_eq!(world.rows().await, expected(20, 5));
    world.put_raw("events/new3.json", 4).await;
    run(&world.process(None)).await.unwrap();
    assert_eq!(world.rows().await, expected(23, 5));
}
