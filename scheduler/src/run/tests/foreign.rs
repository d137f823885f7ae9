//! Other programs that write to our tables.

use lakewright_error::ErrorKind;
use lakewright_lake::{
    CommitPurpose, DataFile, TableCommit, commit_version, layout, read_snapshot,
    state::{Outcome, Release, newest_release, read_object},
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

/// Runs the job while another program writes to `table` as soon as the outcome is decided.
pub(super) async fn run_against(world: &World, table: &'static str) -> lakewright_error::Result<crate::RunSummary> {
    // The write has to be done when the event handler returns: it runs on a runtime of its own.
    let on_event = |event: RunEvent| {
        if matches!(event, RunEvent::Publishing) {
            let world = world.share();
            let write = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(write_as_another(&world, table));
            };
            std::thread::spawn(write).join().unwrap();
        }
    };
    world.process(None).scheduler.run(request(), CancellationToken::new(), &on_event).await
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
