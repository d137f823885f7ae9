//! Runs of a scheduler: submitted, repeated, watched, cancelled, retried, resumed.

use lakewright_client::v1::{self, run_event::Event};
use serde_json::Value;

use super::process::Service;
use crate::project::{MUSIC_TABLES, Project};

fn run_id(json: &Value) -> String {
    json["run_id"].as_str().unwrap_or_else(|| panic!("no run in {json}")).to_owned()
}

#[test]
fn a_submitted_job_gives_the_rows_of_a_local_run() {
    let local = Project::music(400, 15, 3);
    local.succeed(&["run"]);
    let project = Project::music(400, 15, 3);
    let service = Service::start(&project);
    let run = service.json(&["submit"]);
    assert_eq!(project.contents(&MUSIC_TABLES), local.contents(&MUSIC_TABLES));
    assert_eq!(run["tables"].as_object().map(|tables| tables.len()), Some(MUSIC_TABLES.len()));

    let id = run_id(&run);
    assert_eq!(service.json(&["show"])["run_id"], id.as_str());
    assert_eq!(service.json(&["show", &id]), project.json(&["show", &id]));
    assert_eq!(service.json(&["runs"])["runs"].as_array().map(Vec::len), Some(1));
    assert_eq!(run_id(&service.json(&["watch", &id])), id);
    assert_eq!(service.json(&["executors"])["executors"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_same_key_is_the_same_run() {
    let project = Project::music(50, 5, 1);
    let service = Service::start(&project);
    let submit = |more: &[&str]| {
        service.lakewright(&[&["submit", "--detach", "--json", "--idempotency-key", "k"], more].concat())
    };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let (first, second) = (json(&submit(&[]).stdout), json(&submit(&[]).stdout));
    assert_eq!(first["run_id"], second["run_id"]);
    assert_eq!((&first["repeated"], &second["repeated"]), (&Value::Bool(false), &Value::Bool(true)));
    let other = submit(&["--full-refresh"]);
    assert_eq!((other.code, &json(&other.stdout)["error"]["kind"]), (Some(1), &Value::from("conflict")));
    service.await_state(&run_id(&first), &["succeeded"]);
    assert_eq!(service.json(&["runs"])["runs"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_cancelled_run_publishes_nothing_and_can_be_tried_again() {
    let project = Project::music(60_000, 200, 10);
    let service = Service::start(&project);
    let id = run_id(&service.json(&["submit", "--detach"]));
    service.await_state(&id, &["running"]);
    assert_eq!(run_id(&service.json(&["cancel", &id])), id);
    let watched = service.lakewright(&["watch", &id]);
    assert_eq!(watched.code, Some(130), "{watched:?}");
    assert!(watched.stderr.contains("cancelled by tester"), "{watched:?}");
    assert_eq!(service.await_state(&id, &["cancelled"]), "cancelled");
    assert_eq!(project.json(&["tables"])["release"], Value::Null);
    assert_eq!(service.lakewright(&["cancel", &id]).code, Some(0), "cancelling twice is no error");

    let again = service.json(&["retry", &id]);
    assert_ne!(run_id(&again), id);
    assert_eq!(project.json(&["tables"])["release"], 1);
    assert_eq!(service.lakewright(&["retry", &run_id(&again)]).code, Some(1), "a run that succeeded is tried again");
    assert_eq!(service.lakewright(&["cancel", &run_id(&again)]).code, Some(1), "a run that succeeded is cancelled");
}

#[test]
fn a_killed_schedulers_run_is_finished_by_the_next_one() {
    let undisturbed = Project::music(20_000, 100, 5);
    undisturbed.succeed(&["run"]);
    let project = Project::music(20_000, 100, 5);
    let service = Service::start(&project);
    let id = run_id(&service.json(&["submit", "--detach"]));
    service.await_state(&id, &["running"]);
    let token = service.kill();

    let service = Service::start_again(&project, token);
    let watched = service.lakewright(&["watch", &id]);
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert_eq!(service.json(&["show", &id])["state"], "succeeded");
    assert_eq!(project.contents(&MUSIC_TABLES), undisturbed.contents(&MUSIC_TABLES));
}

#[test]
fn a_scheduler_that_is_asked_to_stop_leaves_its_run_to_the_next_one() {
    let project = Project::music(60_000, 200, 10);
    let service = Service::start(&project);
    let id = run_id(&service.json(&["submit", "--detach"]));
    service.await_state(&id, &["running"]);
    let token = service.token.clone();
    assert_eq!(service.terminate(), Some(0));
    assert_eq!(project.json(&["show", &id])["state"], "running");
    let heartbeats = crate::project::files_below(&project.lake().join("_lakewright/drivers"));
    assert!(heartbeats.is_empty(), "a heartbeat was left behind: {heartbeats:?}");

    let service = Service::start_again(&project, token);
    assert_eq!(service.await_state(&id, &["succeeded", "failed"]), "succeeded");
}

#[tokio::test]
async fn watchers_get_the_history_and_go_on_where_they_were() {
    let project = Project::music(400, 15, 3);
    let service = Service::start(&project);
    let client = service.client().await;
    let id = run_id(&service.json(&["submit", "--detach"]));
    let mut events = Vec::new();
    let mut watch = client.watch(&id);
    while let Some(event) = watch.next().await.expect("the run is watched") {
        events.push(event);
    }
    assert!(events.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "{events:?}");
    assert!(matches!(events.first().and_then(|event| event.event.as_ref()), Some(Event::Accepted(_))), "{events:?}");
    assert!(matches!(events.last().and_then(|event| event.event.as_ref()), Some(Event::Ended(_))), "{events:?}");
    let finished = |event: &&v1::RunEvent| matches!(event.event, Some(Event::StepFinished(_)));
    assert_eq!(events.iter().filter(finished).count(), MUSIC_TABLES.len());

    let middle = &events[events.len() / 2];
    let mut later = client.watch(&id).after(&middle.log_id, middle.sequence);
    let mut numbers = Vec::new();
    while let Some(event) = later.next().await.expect("the run is watched") {
        numbers.push(event.sequence);
    }
    assert!(numbers.first().is_some_and(|first| *first > middle.sequence), "{numbers:?}");
    assert_eq!(numbers.last(), events.last().map(|event| &event.sequence));

    // Another scheduler has another log, with the same story.
    let service = Service::start_again(&project, service.kill());
    let mut later = service.client().await.watch(&id).after(&middle.log_id, middle.sequence);
    let first = later.next().await.expect("the run is watched").expect("there is an event");
    assert!(matches!(first.event, Some(Event::Accepted(_))), "{first:?}");
    assert_ne!(first.log_id, middle.log_id);
}

#[tokio::test]
async fn runs_are_listed_in_pages_newest_first() {
    let project = Project::music(20, 2, 1);
    let service = Service::start(&project);
    let ids: Vec<String> = (0..3).map(|_| run_id(&service.json(&["submit"]))).collect();
    let client = service.client().await;
    let mut request = v1::ListRunsRequest { page_size: 2, ..Default::default() };
    let first = client.list_runs(request.clone()).await.expect("runs are listed");
    request.page_token.clone_from(&first.next_page_token);
    let second = client.list_runs(request).await.expect("runs are listed");
    let listed: Vec<&str> = first.runs.iter().chain(&second.runs).map(|run| run.run_id.as_str()).collect();
    assert_eq!(listed, ids.iter().rev().map(String::as_str).collect::<Vec<_>>());
    assert!(second.next_page_token.is_empty());
    let failed = vec![v1::RunState::Failed.into()];
    let none = client.list_runs(v1::ListRunsRequest { states: failed, ..Default::default() }).await;
    assert!(none.expect("runs are listed").runs.is_empty());

    let tables = client.list_tables(v1::ListTablesRequest {}).await.expect("tables are listed");
    assert_eq!((tables.release, tables.tables.len()), (Some(1), MUSIC_TABLES.len()));
    let table = client.get_table(v1::GetTableRequest { name: "curated.songs".to_owned() }).await.expect("a table");
    assert!(table.table.is_some_and(|table| table.rows == 2 && table.columns.iter().any(|c| c.name == "song_id")));
}
