//! What a start costs does not depend on how many runs there were.

use lakewright_lake::{
    layout,
    state::{Format, JobSlot, encode},
};
use tokio_util::sync::CancellationToken;

use super::world::{World, expected, request};

/// A world in which the job has run so often, and nothing has changed since the first time.
async fn after_runs(count: u64) -> World {
    let world = World::new().await;
    let first = world.process(None).scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap();
    let lake = world.lake();
    let mut objects = Vec::new();
    for of in [layout::spec, layout::frozen, layout::outcome, layout::done] {
        let bytes = lake.read(&of(&first.run_id)).await.unwrap().expect("an ended run has the object");
        objects.push((of as fn(&str) -> String, bytes));
    }
    for sequence in 2..=count {
        let run_id = format!("00000000-0000-7000-8000-{sequence:012}");
        for (of, bytes) in &objects {
            lake.create(&of(&run_id), bytes.clone()).await.unwrap();
        }
        let slot = encode(&JobSlot { format: Format, run_id }).unwrap();
        lake.create(&layout::job_slot("music", sequence), slot).await.unwrap();
    }
    world
}

/// Operations on the store of a run that finds one new object.
async fn operations_after(count: u64) -> usize {
    let world = after_runs(count).await;
    world.put_raw("events/3.json", 6).await;
    let process = world.process(None);
    let summary = process.scheduler.run(request(), CancellationToken::new(), &|_| {}).await.unwrap();
    assert_eq!(summary.sequence, count + 1);
    assert_eq!(world.rows().await, expected(13, 5));
    process.store.operations()
}

#[tokio::test]
async fn ten_thousand_finished_runs_cost_a_run_no_more_than_a_few_requests() {
    let (few, many) = (operations_after(3).await, operations_after(10_000).await);
    // Where the last of so many numbers is: no listing of all of them, which is ten requests in a row.
    assert!((few..=few + 9).contains(&many), "{many} requests of a run after 10,000 others, {few} after three");
    assert!(few < 200, "{few} requests for a small run");
}
