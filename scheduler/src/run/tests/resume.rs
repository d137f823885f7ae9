//! Failures, cancellation, and what the next run makes of an earlier one.

use std::sync::Mutex;

use lakewright_error::ErrorKind;
use lakewright_lake::{
    layout,
    state::{Outcome, Verdict, read_object},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        accept::{accept, ensure_lake, name_run},
        heartbeat::Heart,
    },
    world::{Process, World, expected, request},
};
use crate::{RunEvent, RunState, StepWork, check_history, failing_rows, list_runs, read_run};

async fn run(process: &Process) -> lakewright_error::Result<crate::RunSummary> {
    process.scheduler.run(request(), CancellationToken::new(), &|_| {}).await
}

fn executed(process: &Process) -> Vec<String> {
    process.backend.executed.lock().unwrap().clone()
}

#[tokio::test]
async fn a_failed_step_publishes_nothing_and_the_next_run_adopts_what_was_written() {
    let world = World::new().await;
    let failing = world.process(None);
    failing.backend.failing.lock().unwrap().insert("curated.by_song".to_owned());
    let error = run(&failing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(error.context().contains(&("step", "curated.by_song".to_owned())), "{error}");
    assert_eq!(world.keys(layout::RELEASES_DIR).await, Vec::<String>::new());
    let records = list_runs(&world.lake(), None, 10).await.unwrap();
    assert_eq!(records[0].state, RunState::Failed);
    assert!(records[0].failure.as_ref().unwrap().contains("the disk is full"));

    let next = world.process(None);
    let summary = run(&next).await.unwrap();
    assert_eq!(world.rows().await, expected(7, 5));
    let executed = executed(&next);
    assert!(!executed.contains(&"staging.events".to_owned()), "{executed:?}");
    assert!(!executed.contains(&"curated.plays".to_owned()), "{executed:?}");
    let events = summary.steps.iter().find(|step| step.table.table() == "events").unwrap();
    assert!(events.action.reason.contains("adopted"), "{}", events.action.reason);
    assert_eq!(events.rows_out, 7);
}

#[tokio::test]
async fn a_failed_check_names_itself_and_keeps_its_rows_and_the_next_run_adopts_what_was_written() {
    let world = World::new().await;
    let failing = world.process(None);
    *failing.backend.violations.lock().unwrap() = 2;
    let error = run(&failing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    for (key, value) in [("table", "curated.by_song"), ("check", "grain"), ("found", "2 of 12 rows")] {
        assert!(error.context().contains(&(key, value.to_owned())), "{error}");
    }
    assert_eq!(world.keys(layout::RELEASES_DIR).await, Vec::<String>::new());
    let run_id = list_runs(&world.lake(), None, 1).await.unwrap().remove(0).run_id;
    let failed = failing_rows(&world.lake(), &run_id).await.unwrap();
    assert_eq!(failed.iter().map(|check| check.table_name()).collect::<Vec<_>>(), ["curated_by_song_grain"]);

    let next = world.process(None);
    run(&next).await.unwrap();
    assert_eq!(world.rows().await, expected(7, 5));
    assert_eq!(executed(&next), Vec::<String>::new(), "every step was adopted");
    let history = check_history(&world.lake(), "music", Some(2)).await.unwrap();
    assert_eq!(history.last("curated.by_song", "grain").map(|last| last.record.violations), Some(2));
}

#[tokio::test]
async fn cancelling_before_the_outcome_publishes_nothing() {
    let world = World::new().await;
    let process = world.process(None);
    let cancel = CancellationToken::new();
    let on_event = |event: RunEvent| {
        if matches!(event, RunEvent::StepStarted { .. }) {
            cancel.cancel();
        }
    };
    let error = process.scheduler.run(request(), cancel.clone(), &on_event).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(world.keys(layout::RELEASES_DIR).await, Vec::<String>::new());
    let record = list_runs(&world.lake(), Some("music"), 10).await.unwrap().remove(0);
    assert_eq!(record.state, RunState::Cancelled);
    let outcome = read_object::<Outcome>(&world.lake(), &layout::outcome(&record.run_id)).await.unwrap().unwrap();
    assert!(matches!(outcome.verdict, Verdict::Abort(reason) if reason.cancelled));
    assert_eq!(world.keys(layout::ACTIVE_DIR).await, Vec::<String>::new());
}

#[tokio::test]
async fn cancelling_after_the_outcome_publishes_everything() {
    let world = World::new().await;
    let process = world.process(None);
    let cancel = CancellationToken::new();
    let on_event = |event: RunEvent| {
        if matches!(event, RunEvent::Publishing) {
            cancel.cancel();
        }
    };
    process.scheduler.run(request(), cancel.clone(), &on_event).await.unwrap();
    assert_eq!(world.rows().await, expected(7, 5));
}

#[tokio::test]
async fn an_unchanged_job_is_skipped_and_gets_no_release_and_no_version() {
    let world = World::new().await;
    run(&world.process(None)).await.unwrap();
    let process = world.process(None);
    let summary = run(&process).await.unwrap();
    assert_eq!(summary.release, None);
    assert!(summary.steps.iter().all(|step| step.action.work == StepWork::Skip), "{:?}", summary.steps);
    assert_eq!(executed(&process), Vec::<String>::new());
    assert_eq!(world.keys(layout::RELEASES_DIR).await.len(), 1);
    let record = read_run(&world.lake(), &summary.run_id[..30]).await.unwrap();
    assert_eq!((record.state, record.sequence), (RunState::Succeeded, 2));
}

#[tokio::test]
async fn a_new_object_is_appended_and_only_what_reads_it_is_rebuilt() {
    let world = World::new().await;
    run(&world.process(None)).await.unwrap();
    world.put_raw("events/3.json", 6).await;
    let process = world.process(None);
    let summary = run(&process).await.unwrap();
    let works: Vec<(String, StepWork, u64)> =
        summary.steps.iter().map(|step| (step.table.to_string(), step.action.work, step.rows_in)).collect();
    assert_eq!(
        works,
        [
            ("staging.events".to_owned(), StepWork::Append, 6),
            ("curated.plays".to_owned(), StepWork::Append, 6),
            ("curated.top".to_owned(), StepWork::Skip, 0),
            ("curated.by_song".to_owned(), StepWork::Replace, 18),
        ]
    );
    assert_eq!(world.rows().await, expected(13, 5));
}

#[tokio::test]
async fn a_changed_object_replaces_its_rows_in_all_that_is_appended_from_it() {
    let world = World::new().await;
    run(&world.process(None)).await.unwrap();
    world.put_raw("events/2.json", 9).await;
    let summary = run(&world.process(None)).await.unwrap();
    assert_eq!(summary.steps[0].action.work, StepWork::Update);
    assert_eq!(summary.steps[1].action.work, StepWork::Update);
    assert!(summary.steps[0].action.reason.contains("events/2.json"), "{}", summary.steps[0].action.reason);
    assert_eq!(world.rows().await, expected(12, 5));
}

#[tokio::test]
async fn rows_of_an_object_that_has_gone_stay_and_it_is_not_counted_as_lost_twice() {
    let world = World::new().await;
    for number in 3..=40 {
        world.put_raw(&format!("events/{number}.json"), 1).await;
    }
    run(&world.process(None)).await.unwrap();
    assert_eq!(world.rows().await, expected(45, 5));
    for gone in 3..=5 {
        world.delete_raw(&format!("events/{gone}.json")).await;
        world.put_raw(&format!("events/new{gone}.json"), 2).await;
        run(&world.process(None)).await.unwrap();
    }
    assert_eq!(world.rows().await["staging.events"], 45 + 6);
}

#[tokio::test]
async fn a_job_that_no_longer_compiles_aborts_its_unfinished_run_and_the_next_one_goes_on() {
    let world = World::new().await;
    let process = world.process(None);
    let broken = {
        let mut request = request();
        request.folder.files.insert("broken.sql".to_owned(), String::new());
        request
    };
    // The run was accepted by a version that could compile it.
    let site = &process.scheduler.site;
    ensure_lake(site).await.unwrap();
    let mut heart = Heart::new(&site.lake, site.pace.beat);
    let named = name_run(site, &mut heart, "music", &broken).await.unwrap();
    accept(site, "music", &broken, named).await.unwrap();
    drop(heart);

    let resumed = Mutex::new(Vec::new());
    let on_event = |event: RunEvent| match event {
        RunEvent::Waiting { .. } => resumed.lock().unwrap().push("waiting"),
        RunEvent::Resuming { .. } => resumed.lock().unwrap().push("resuming"),
        _ => {}
    };
    let next = world.process(None);
    next.scheduler.run(request(), CancellationToken::new(), &on_event).await.unwrap();
    // Its process is this one and alive: only its silence tells.
    assert_eq!(*resumed.lock().unwrap(), ["waiting", "resuming"]);
    assert_eq!(world.rows().await, expected(7, 5));
    let records = list_runs(&world.lake(), Some("music"), 10).await.unwrap();
    let states: Vec<RunState> = records.iter().map(|record| record.state).collect();
    assert_eq!(states, [RunState::Succeeded, RunState::Failed]);
}

#[tokio::test]
async fn a_table_of_another_job_is_refused_and_stays_as_it_is() {
    let world = World::new().await;
    run(&world.process(None)).await.unwrap();
    let mut other = request();
    other.folder.files.insert("name".to_owned(), "other".to_owned());
    let process = world.process(None);
    let error = process.scheduler.run(other, CancellationToken::new(), &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(world.rows().await, expected(7, 5));
}

#[tokio::test]
async fn an_empty_source_is_named_with_its_file_and_location() {
    let world = World::new().await;
    world.delete_raw("songs/1.json").await;
    let error = run(&world.process(None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    assert!(text.contains("raw.songs") && text.contains("songs/") && text.contains("raw/songs.sql"), "{text}");
}

#[tokio::test]
async fn files_of_a_table_that_was_run_alone_reach_what_is_appended_from_it_once() {
    let world = World::new().await;
    run(&world.process(None)).await.unwrap();
    world.put_raw("events/3.json", 6).await;
    let mut alone = request();
    alone.options.select = vec!["staging.events".to_owned()];
    let summary = world.process(None).scheduler.run(alone, CancellationToken::new(), &|_| {}).await.unwrap();
    assert_eq!(summary.steps[0].action.work, StepWork::Append);
    assert_eq!(world.rows().await["curated.plays"], 7);
    world.put_raw("events/4.json", 2).await;
    let summary = run(&world.process(None)).await.unwrap();
    let plays = summary.steps.iter().find(|step| step.table.table() == "plays").unwrap();
    assert_eq!((plays.action.work, plays.rows_in), (StepWork::Append, 8));
    assert_eq!(world.rows().await, expected(15, 5));
    assert_eq!(run(&world.process(None)).await.unwrap().release, None);
}

#[tokio::test]
async fn ledger_segments_are_taken_together_before_they_grow_many() {
    let world = World::new().await;
    run(&world.process(None)).await.unwrap();
    for number in 3..40 {
        world.put_raw(&format!("events/{number}.json"), 1).await;
        run(&world.process(None)).await.unwrap();
    }
    assert_eq!(world.rows().await, expected(44, 5));
    let release = lakewright_lake::state::newest_release(&world.lake()).await.unwrap().unwrap();
    assert!(release.tables["staging.events"].ledger.len() <= 32);
    assert_eq!(run(&world.process(None)).await.unwrap().release, None);
}

#[tokio::test]
async fn a_plan_says_what_a_run_would_do_and_writes_nothing() {
    let world = World::new().await;
    let site = world.process(None).scheduler.site;
    let plan = || async {
        let raw = (site.open_raw)("raw").unwrap();
        crate::plan_run(&site.lake, &raw, &super::world::job("music"), &crate::RunOptions::default()).await.unwrap()
    };
    let first = plan().await;
    assert_eq!(world.keys("").await, Vec::<String>::new());
    assert_eq!((first.base_release, first.steps[0].action.work), (None, StepWork::Replace));
    assert_eq!((first.steps[0].objects, first.steps[0].bytes), (2, 7));
    run(&world.process(None)).await.unwrap();
    world.put_raw("events/3.json", 6).await;
    let before = world.keys("").await;
    let second = plan().await;
    assert_eq!(world.keys("").await, before);
    let steps: Vec<(StepWork, u64, u64)> =
        second.steps.iter().map(|step| (step.action.work, step.objects, step.bytes)).collect();
    assert_eq!(
        steps,
        [(StepWork::Append, 1, 6), (StepWork::Append, 0, 0), (StepWork::Skip, 0, 0), (StepWork::Replace, 2, 9)]
    );
    assert_eq!(second.steps[3].files_replaced, 2);
    // What the run does is what the plan said.
    let summary = run(&world.process(None)).await.unwrap();
    let done: Vec<_> = summary.steps.into_iter().map(|step| step.action).collect();
    assert_eq!(done, second.steps.into_iter().map(|step| step.action).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_lake_of_a_newer_version_is_refused_and_left_as_it_is() {
    let world = World::new().await;
    let marker = bytes::Bytes::from_static(b"{\"format\":2,\"program\":\"9.0.0\"}");
    world.lake().create(layout::LAKE_MARKER, marker).await.unwrap();
    let error = run(&world.process(None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hint().unwrap().contains("upgrade"));
    assert_eq!(world.keys("").await, [layout::LAKE_MARKER]);
}
