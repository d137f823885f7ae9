//! A scheduler that is asked for more than it can do at once: what waits, what is refused, what becomes of it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lakewright_client::{Client, v1};
use lakewright_error::ErrorKind;
use serde_json::Value;

use super::process::{Service, await_some};
use crate::{
    project::{Project, files_below},
    requirement,
    s3::server::Server,
};

/// Jobs in the test of load, where no other number is asked for.
const LOAD: f64 = 75.0;

/// The same, to a lake on S3.
const LOAD_S3: f64 = 12.0;

/// Submissions of one-row jobs that a scheduler takes in a second, where nothing else runs.
const RATE_MIN: f64 = 25.0;

/// How long 99 of 100 answers may take at a steady rate, in milliseconds.
const P99_MS_MAX: f64 = 250.0;

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
    let with_key = || v1::SubmitRunRequest { idempotency_key: "k".to_owned(), ..request("second") };
    let second = client.submit(with_key()).await.expect("there is a place").run_id;
    let refused = submit(&client, "third").await.expect_err("the queue is full");
    assert_eq!(refused.kind(), ErrorKind::Exhausted);
    assert!(refused.hint().is_some_and(|hint| hint.contains("queue_max")), "{refused:?}");
    let again = client.submit(with_key()).await.expect("it was accepted before");
    assert_eq!((again.run_id.as_str(), again.repeated), (second.as_str(), true), "{again:?}");

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
async fn one_submission_that_is_made_a_hundred_times_at_once_is_one_run_and_one_version() {
    let project = one_row();
    let service = Service::start(&project);
    let client = service.client().await;
    let mut submitting = tokio::task::JoinSet::new();
    for _ in 0..100 {
        // Each over a connection of its own, as of a process that asks again.
        let client = service.client().await;
        let request = v1::SubmitRunRequest { idempotency_key: "k".to_owned(), ..request("once") };
        submitting.spawn(async move { client.submit(request).await });
    }
    let answers = submitting.join_all().await;
    let accepted: Vec<_> = answers.into_iter().map(|answer| answer.expect("each is answered")).collect();
    let run_ids: BTreeSet<&str> = accepted.iter().map(|answer| answer.run_id.as_str()).collect();
    assert_eq!(run_ids.len(), 1, "{run_ids:?}");
    assert_eq!(accepted.iter().filter(|answer| !answer.repeated).count(), 1, "one of them has begun it");
    assert_eq!(await_end(&client, &accepted[0].run_id).await, v1::RunState::Succeeded);
    assert_eq!(service.json(&["runs"])["runs"].as_array().map(Vec::len), Some(1));
    let commits = project.lake().join("curated/once/_delta_log");
    let versions = files_below(&commits).into_iter().filter(|file| file.ends_with(".json")).count();
    assert_eq!(versions, 1);
}

/// Submits jobs of 25 names, sixteen at a time as fast as they are taken; or, at a rate, one after the other whatever the
/// answers take. How long each answer took, in milliseconds; `None` for those that were refused.
async fn submit_many(client: &Client, count: f64, rate: Option<f64>) -> Vec<Option<f64>> {
    let mut submitting = tokio::task::JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate.unwrap_or(1e6)));
    let mut answers = Vec::new();
    let mut number = 0_u32;
    while f64::from(number) < count {
        ticks.tick().await;
        let (client, job) = (client.clone(), format!("job{}", number % 25));
        submitting.spawn(async move {
            let begun = Instant::now();
            match submit(&client, &job).await {
                Ok(_) => Some(begun.elapsed().as_secs_f64() * 1000.0),
                Err(error) if error.kind() == ErrorKind::Exhausted => None,
                Err(error) => panic!("neither accepted nor refused: {error}"),
            }
        });
        number += 1;
        if rate.is_none() && submitting.len() >= 16 {
            answers.extend(submitting.join_next().await.map(|answer| answer.expect("no submission has panicked")));
        }
    }
    answers.extend(submitting.join_all().await);
    answers
}

/// What has become of submissions, as the benchmark of load reads it.
struct Load {
    /// How long the answers took, in milliseconds, sorted.
    times_ms: Vec<f64>,
    refused: usize,
    per_second: f64,
    drained: Duration,
}

impl Load {
    /// Submits to a scheduler of its own, waits for the ends of all runs, and looks whether each that was accepted has one.
    async fn make(project: &Project, count: f64, rate: Option<f64>) -> Self {
        let service = Service::start(project);
        let client = service.client().await;
        let begun = Instant::now();
        let answers = submit_many(&client, count, rate).await;
        let submitted = begun.elapsed();
        let mut times_ms: Vec<f64> = answers.iter().copied().flatten().collect();
        let ended = await_some("all runs end", || {
            let runs = service.json(&["runs", "--limit", &format!("{count:.0}")]);
            let runs = runs["runs"].as_array().cloned().unwrap_or_default();
            let ended = |run: &&Value| matches!(run["state"].as_str(), Some("succeeded" | "failed" | "cancelled"));
            (runs.iter().filter(ended).count() == runs.len()).then_some(runs)
        });
        assert_eq!(ended.len(), times_ms.len(), "some were lost, or were run and refused");
        assert!(ended.iter().all(|run| run["state"] == "succeeded"), "{ended:?}");
        times_ms.sort_by(f64::total_cmp);
        Self {
            refused: answers.len() - times_ms.len(),
            times_ms,
            per_second: count / submitted.as_secs_f64(),
            drained: begun.elapsed() - submitted,
        }
    }

    /// The time within which so many of 100 answers came.
    fn within(&self, percent: usize) -> f64 {
        self.times_ms[(self.times_ms.len() - 1) * percent / 100]
    }

    fn tell(&self) -> Value {
        let told = serde_json::json!({
            "rate": self.per_second, "accepted": self.times_ms.len(), "refused": self.refused,
            "median_ms": self.within(50), "p99_ms": self.within(99), "slowest_ms": self.within(100),
            "drained_s": self.drained.as_secs_f64(),
        });
        eprintln!("load: {told}");
        told
    }
}

#[tokio::test]
async fn of_many_submissions_at_once_each_that_is_accepted_ends() {
    let asked = requirement::number("LAKEWRIGHT_LOAD");
    let rate = requirement::number("LAKEWRIGHT_LOAD_RATE");
    let load = Load::make(&one_row(), asked.unwrap_or(LOAD), rate).await;
    let told = load.tell();
    assert!(rate.is_some() || load.refused == 0, "some were refused: {told}");
    // Other tests take their share of the cores: speed is held against its limits where it is asked for.
    assert!(asked.is_none() || rate.is_some() || load.per_second >= RATE_MIN, "{told}");
    assert!(rate.is_none() || (load.within(99) < P99_MS_MAX && load.refused == 0), "{told}");
}

#[tokio::test]
async fn of_submissions_to_a_lake_on_s3_each_that_is_accepted_ends() {
    let Some(server) = Server::start("submissions to a lake on S3", true) else { return };
    let mut project = one_row();
    let variables = server.variables(server.endpoint()).into_iter();
    project.set_variables(variables.filter(|(name, _)| *name != "LAKEWRIGHT_RAW").collect());
    let count = requirement::number("LAKEWRIGHT_LOAD_S3").unwrap_or(LOAD_S3);
    let load = Load::make(&project, count, requirement::number("LAKEWRIGHT_LOAD_RATE")).await;
    let told = load.tell();
    assert_eq!(load.refused, 0, "{told}");
}
