//! Several drivers and clients at once.

use std::collections::BTreeSet;

use futures::future::join_all;
use lakewright_error::ErrorKind;
use lakewright_lake::layout;
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        accept::{accept, ensure_lake, name_run},
        drive::Driver,
        heartbeat::Heart,
    },
    world::{World, expected, job, request},
};

#[tokio::test]
async fn two_drivers_of_one_run_publish_it_once() {
    let world = World::new().await;
    let (first, second) = (world.process(None), world.process(None));
    let site = &first.scheduler.site;
    ensure_lake(site).await.unwrap();
    let mut heart = Heart::new(&site.lake, site.pace.beat);
    let named = name_run(site, &mut heart, "music", &request()).await.unwrap();
    let run = accept(site, "music", &request(), named).await.unwrap();
    let drive = |site, run| Driver::new(site, run, Some(job("music")), CancellationToken::new(), &|_| {}).drive();
    let (one, two) = tokio::join!(drive(site, run.clone()), drive(&second.scheduler.site, run));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.done, two.done);
    assert_eq!(one.done.release, Some(1));
    assert_eq!(world.rows().await, expected(7, 5));
    assert_eq!(world.keys(layout::RELEASES_DIR).await.len(), 1);
}

#[tokio::test]
async fn many_submissions_with_one_key_are_one_run() {
    let world = World::new().await;
    let processes: Vec<_> = (0..100).map(|_| world.process(None)).collect();
    let keyed = || crate::RunRequest { idempotency_key: Some("daily".to_owned()), ..request() };
    let runs = processes.iter().map(|process| process.scheduler.run(keyed(), CancellationToken::new(), &|_| {}));
    let summaries = join_all(runs).await;
    let ids: BTreeSet<String> = summaries.into_iter().map(|summary| summary.unwrap().run_id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(world.rows().await, expected(7, 5));
    assert_eq!(world.keys(layout::JOBS_DIR).await.len(), 1);
    assert_eq!(world.keys(layout::RELEASES_DIR).await.len(), 1);
}

#[tokio::test]
async fn a_key_for_another_request_is_a_conflict() {
    let world = World::new().await;
    let process = world.process(None);
    let keyed =
        |raw: &str| crate::RunRequest { idempotency_key: Some("daily".to_owned()), raw: raw.to_owned(), ..request() };
    process.scheduler.run(keyed("raw"), CancellationToken::new(), &|_| {}).await.unwrap();
    let error = process.scheduler.run(keyed("other"), CancellationToken::new(), &|_| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(world.keys(layout::JOBS_DIR).await.len(), 1);
}

#[tokio::test]
async fn concurrent_runs_of_one_job_execute_in_order_and_double_nothing() {
    let world = World::new().await;
    let processes: Vec<_> = (0..5).map(|_| world.process(None)).collect();
    let runs = processes.iter().map(|process| process.scheduler.run(request(), CancellationToken::new(), &|_| {}));
    let summaries: Vec<_> = join_all(runs).await.into_iter().map(Result::unwrap).collect();
    let sequences: BTreeSet<u64> = summaries.iter().map(|summary| summary.sequence).collect();
    assert_eq!(sequences, (1..=5).collect());
    assert_eq!(summaries.iter().filter(|summary| summary.release.is_some()).count(), 1);
    assert_eq!(world.rows().await, expected(7, 5));
}
