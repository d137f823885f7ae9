//! A scheduler that is asked for more than it can do at once: what waits, what is refused, what becomes of it.

use std::time::Instant;

use lakewright_client::{Client, v1};
use lakewright_error::ErrorKind;
use serde_json::Value;

use super::process::{Service, await_some};
use crate::{project::Project, requirement};

/// Jobs in the test of load, where no other number is asked for.
const LOAD: f64 = 75.0;

/// Submissions of one-row jobs that a scheduler takes in a second, where nothing else runs.
const RATE_MIN: f64 = 25.0;

/// A project with one raw record.
fn one_row() -> Project {
    let source = "CREATE EXTERNAL TABLE raw.items (id BIGINT) STORED AS JSON LOCATION 'items/';";
    let project = Project::job(&[("raw/items.sql", source), ("curated/items.sql", "SELECT id FROM raw.items;")]);
    project.write("data/raw/items/a.json", "{\"id\": 1}\n");
    project
}

/// A request for a job of this name with one table of its own.
fn request(job: &str) -> v1::SubmitRunRequest {
    let files = [
        ("job.toml", format!("name = \"{job}\"\nraw = \"data/raw\"\n")),
        ("raw/items.sql", "CREATE EXTERNAL TABLE raw.items (id BIGINT) STORED AS JSON LOCATION 'items/';".to_owned()),
        (&format!("curated/{job}.sql"), "SELECT id FROM raw.items;".to_owned()),
    ];
    let files = files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect();
    v1::SubmitRunRequest { files, ..Default::default() }
}

async fn submit(client: &Client, job: &str) -> Result<String, lakewright_error::Error> {
    client.submit(request(job)).await.map(|accepted| accepted.run_id)
}

async fn await_end(client: &Client, run_id: &str) -> v1::RunState {
    let mut watch = client.watch(run_id);
    while let Some(event) = watch.next().await.expect("the run is watched") {
        if let Some(v1::run_event::Event::Ended(ended)) = event.event {
            return ended.state();
        }
    }
    panic!("{run_id} has no end");
}

#[tokio::test]
async fn what_is_beyond_the_queue_is_refused_and_what_was_accepted_ends() {
    let mut project = Project::music(30_000, 100, 5);
    project.set_variables(vec![("LAKEWRIGHT_RUNS_AT_ONCE", "1".to_owned()), ("LAKEWRIGHT_QUEUE_MAX", "2".to_owned())]);
    project.write("data/raw/items/a.json", "{\"id\": 1}\n");
    let service = Service::start(&project);
    let client = service.client().await;
    let music = service.json(&["submit", "--detach"])["run_id"].as_str().expect("a run").to_owned();
    let first = submit(&client, "first").await.expect("there is a place");
    let second = submit(&client, "second").await.expect("there is a place");
    let refused = submit(&client, "third").await.expect_err("the queue is full");
    assert_eq!(refused.kind(), ErrorKind::Exhausted);
    assert!(refused.hint().is_some_and(|hint| hint.contains("queue_max")), "{refused:?}");

    let shown = service.json(&["show", &second]);
    assert_eq!(shown["queue_place"], 2, "{shown}");
    let listed = service.lakewright(&["runs"]);
    assert!(listed.stdout.contains("queued (1)"), "{listed:?}");
    let health = service.lakewright(&["health", "--json"]);
    assert_eq!(health.code, Some(3), "{health:?}");
    let health: Value = serde_json::from_str(&health.stdout).expect("a document");
    assert_eq!(health["schedulers"][0]["waiting"], 2, "{health}");
    assert!(health["schedulers"][0]["problems"].to_string().contains("queue is full"), "{health}");
    let mut places = client.watch(&second);
    let queued = await_event(&mut places).await;
    assert!(queued.place >= 1 && queued.running == 1, "{queued:?}");

    // A run that waits is cancelled without waiting for its turn.
    assert_eq!(service.lakewright(&["cancel", &first]).code, Some(0));
    assert_eq!(await_end(&client, &first).await, v1::RunState::Cancelled);
    // What waits outlives the scheduler.
    let service = Service::start_again(&project, service.kill());
    let client = service.client().await;
    for run_id in [&music, &second] {
        assert_eq!(await_end(&client, run_id).await, v1::RunState::Succeeded);
    }
    submit(&client, "third").await.expect("there is a place again");
}

async fn await_event(watch: &mut lakewright_client::Watch) -> v1::RunQueued {
    while let Some(event) = watch.next().await.expect("the run is watched") {
        if let Some(v1::run_event::Event::Queued(queued)) = event.event {
            return queued;
        }
    }
    panic!("the run has never waited");
}

#[tokio::test]
async fn of_many_submissions_at_once_each_that_is_accepted_ends() {
    let asked = requirement::number("LAKEWRIGHT_LOAD");
    let count = asked.unwrap_or(LOAD);
    let project = one_row();
    let service = Service::start(&project);
    let client = service.client().await;
    let mut submitting = tokio::task::JoinSet::new();
    let begun = Instant::now();
    let mut number = 0_u32;
    while f64::from(number) < count {
        let (client, job) = (client.clone(), format!("job{}", number % 25));
        submitting.spawn(async move { submit(&client, &job).await });
        number += 1;
        if submitting.len() >= 16 {
            submitting.join_next().await;
        }
    }
    while submitting.join_next().await.is_some() {}
    let rate = count / begun.elapsed().as_secs_f64();
    let ended = await_some("all runs end", || {
        let runs = service.json(&["runs", "--limit", &format!("{count:.0}")]);
        let runs = runs["runs"].as_array().cloned().unwrap_or_default();
        let ended = |run: &&Value| matches!(run["state"].as_str(), Some("succeeded" | "failed" | "cancelled"));
        (runs.iter().filter(ended).count() == runs.len()).then_some(runs)
    });
    assert_eq!(ended.len(), number as usize, "some were refused or lost");
    assert!(ended.iter().all(|run| run["state"] == "succeeded"), "{ended:?}");
    eprintln!("load: {rate:.0} submissions a second");
    // Other tests take their share of the cores: the rate is held against its limit where it is asked for.
    assert!(asked.is_none() || rate >= RATE_MIN, "{rate:.1} submissions a second");
}
