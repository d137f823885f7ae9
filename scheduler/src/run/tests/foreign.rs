//! Other programs that write to our tables.

use lakewright_error::ErrorKind;
use lakewright_lake::{
    CommitPurpose, Created, DataFile, TableCommit, commit_version, layout, read_snapshot,
    state::{Operation, Outcome, Release, newest_release, read_object},
};
use tokio_util::sync::CancellationToken;

use super::world::{World, expected, name, request};
use crate::{RunEvent, RunState, list_runs};

/// Commits a file of one row to a table, as another program would.
pub(super) async fn write_as_another(world: &World, table: &str) {
    let root = world.lake().child(&layout::table_root(name(table).zone(), name(table).table())).unwrap();
    let newest = read_snapshot(&root, None).await.unwrap().unwrap();
    let path = format!("foreign-{}.parquet", newest.version);
    root.create(&path, bytes::Bytes::from_static(b"PAR1")).await.unwrap();
    let values = newest.partition_columns.iter().map(|column| (column.clone(), None)).collect();
    let file = DataFile { path, size_bytes: 4, row_count: 1, partition_values: values, bounds: vec![] };
    let commit = TableCommit {
        base: Some(newest.version),
        schema: newest.schema,
        partition_columns: newest.partition_columns,
        adds: vec![file],
        removes: vec![],
        job: "music".to_owned(),
        run_id: "another program".to_owned(),
        sequence: 0,
        description: None,
        purpose: CommitPurpose::Write,
        timestamp_ms: 0,
    };
    commit_version(&root, &commit).await.unwrap();
}

async fn release(world: &World) -> Release {
    newest_release(&world.lake()).await.unwrap().unwrap()
}

/// Makes a table one that asks more of its writers than we do, as another program would that turns on a feature.
async fn upgrade_as_another(world: &World, table: &str) {
    let root = world.lake().child(&layout::table_root(name(table).zone(), name(table).table())).unwrap();
    let next = read_snapshot(&root, None).await.unwrap().unwrap().version + 1;
    let entry = bytes::Bytes::from_static(br#"{"protocol":{"minReaderVersion":1,"minWriterVersion":4}}"#);
    let key = format!("_delta_log/{next:020}.json");
    assert!(matches!(root.create(&key, entry).await.unwrap(), Created::Now));
}

/// Runs the job while another program does something as soon as the outcome is decided.
async fn run_while<F, Fut>(world: &World, disturb: F) -> lakewright_error::Result<crate::RunSummary>
where
    F: Fn(World) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = ()>,
{
    // It has to be done when the event handler returns: it runs on a runtime of its own.
    let on_event = |event: RunEvent| {
        if matches!(event, RunEvent::Publishing) {
            let world = world.share();
            let write = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(disturb(world));
            };
            std::thread::spawn(write).join().unwrap();
        }
    };
    world.process(None).scheduler.run(request(), CancellationToken::new(), &on_event).await
}

/// Runs the job while another program writes to `table` as soon as the outcome is decided.
pub(super) async fn run_against(world: &World, table: &'static str) -> lakewright_error::Result<crate::RunSummary> {
    run_while(world, move |world| async move { write_as_another(&world, table).await }).await
}

#[tokio::test]
async fn a_replacement_goes_behind_foreign_data_and_removes_it() {
    let world = World::new().await;
    world.process(None).scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap();
    world.put_raw("songs/2.json", 1).await;
    run_against(&world, "curated.by_song").await.unwrap();
    assert_eq!(world.rows().await, expected(7, 6));
    assert_eq!(release(&world).await.tables["curated.by_song"].version, Some(2));
}

#[tokio::test]
async fn foreign_data_below_an_addition_breaks_the_run_loudly_and_blocks_the_job() {
    let world = World::new().await;
    world.process(None).scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap();
    world.put_raw("events/3.json", 6).await;
    let error = run_against(&world, "staging.events").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.hint().unwrap().contains("repair"), "{error:?}");
    // Readers of the release see nothing of it.
    assert_eq!(release(&world).await.number, 1);
    let records = list_runs(&world.lake(), None, 10).await.unwrap();
    assert_eq!(records.iter().filter(|record| record.state == RunState::Broken).count(), 1);
    let next = world.process(None).scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap_err();
    assert_eq!(next.kind(), ErrorKind::Conflict);
    assert_eq!(release(&world).await.number, 1);
}

#[tokio::test]
async fn foreign_data_before_an_addition_fails_the_run_before_its_outcome() {
    let world = World::new().await;
    world.process(None).scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap();
    world.put_raw("events/3.json", 6).await;
    write_as_another(&world, "staging.events").await;
    let error = world.process(None).scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.hint().unwrap().contains("--full-refresh"), "{error:?}");
    // A full refresh gets over it.
    let mut full = request();
    full.options.full_refresh = true;
    world.process(None).scheduler.run(full, CancellationToken::new(), &|_| {}).await.unwrap();
    assert_eq!(world.rows().await, expected(13, 5));
}

#[tokio::test]
async fn a_table_that_would_refuse_its_commit_fails_the_run_before_its_outcome() {
    let world = World::new().await;
    world.process(None).scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap();
    world.put_raw("events/3.json", 6).await;
    upgrade_as_another(&world, "curated.plays").await;
    for _ in 0..2 {
        let error = world.process(None).scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    }
    assert_eq!(release(&world).await.number, 1);
    assert_eq!(world.unfinished("music").await, Vec::<String>::new(), "the job is not blocked");
    let events = world.lake().child("staging/events").unwrap();
    assert_eq!(read_snapshot(&events, None).await.unwrap().unwrap().version, 0, "nothing is committed");
}

#[tokio::test]
async fn a_table_that_refuses_its_commit_after_the_outcome_breaks_the_run_which_can_be_repaired() {
    let world = World::new().await;
    world.process(None).scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap();
    world.put_raw("events/3.json", 6).await;
    let upgrade = |world: World| async move { upgrade_as_another(&world, "curated.plays").await };
    let error = run_while(&world, upgrade).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(error.hint().unwrap().contains("lakewright repair"), "{error:?}");
    let records = list_runs(&world.lake(), None, 10).await.unwrap();
    let broken = records.iter().find(|record| record.state == RunState::Broken).unwrap();
    let repair = Operation::Repair { run_id: broken.run_id.clone() };
    let process = world.process(None);
    process.scheduler.maintain("music", repair, CancellationToken::new(), &|_| {}).await.unwrap();
    assert_eq!(world.unfinished("music").await, Vec::<String>::new(), "the job is free again");
    let events = world.lake().child("staging/events").unwrap();
    let rows = read_snapshot(&events, None).await.unwrap().unwrap().files;
    assert_eq!(rows.iter().map(|file| file.row_count).sum::<u64>(), 7, "what was committed is taken back");
}

#[tokio::test]
async fn an_operator_who_aborts_first_wins_over_the_publisher() {
    let world = World::new().await;
    let process = world.process(None);
    let aborted = std::sync::Mutex::new(Vec::new());
    let on_event = |event: RunEvent| {
        if let RunEvent::Accepted { run_id, .. } = event {
            let lake = world.lake();
            let key = layout::outcome(&run_id);
            aborted.lock().unwrap().push(key.clone());
            let abort = br#"{"format":1,"nonce":"operator","decided_us":0,"verdict":{"ABORT":{"cancelled":true,"message":"stop it","kind":"cancelled"}}}"#;
            let write = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(lake.create(&key, bytes::Bytes::from_static(abort))).unwrap();
            };
            std::thread::spawn(write).join().unwrap();
        }
    };
    let error = process.scheduler.run(request(), CancellationToken::new(), &on_event).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Cancelled, "stop it"));
    assert_eq!(newest_release(&world.lake()).await.unwrap(), None);
    for key in aborted.into_inner().unwrap() {
        let outcome = read_object::<Outcome>(&world.lake(), &key).await.unwrap().unwrap();
        assert_eq!(outcome.nonce, "operator");
    }
}
