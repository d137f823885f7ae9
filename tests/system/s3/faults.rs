//! S3 that throttles, and a program that dies: the rows are those of an undisturbed run.

use super::{Bucketed, local_contents, proxy::Proxy, small::Double};
use crate::{
    fleet::{kills::rounds, process::Fleet},
    project::{MUSIC_TABLES, Project},
    service::process::await_some,
};

#[test]
fn a_store_that_refuses_a_third_of_the_requests_gives_the_same_rows() {
    let Some(bucketed) = Bucketed::music("a store that throttles", 300, 100, 2) else { return };
    bucketed.proxy.refuse(30);
    bucketed.project.succeed(&["run"]);
    let (refused, all) = (bucketed.proxy.refused(), bucketed.proxy.requests().len() as u64);
    assert!(refused > all / 5, "{refused} of {all} requests were refused");
    bucketed.proxy.refuse(0);
    assert_eq!(bucketed.project.contents(&MUSIC_TABLES), local_contents(300, 100, 2));
    let unfinished = bucketed.server.script(&["unfinished", bucketed.server.endpoint(), "music"]);
    assert_eq!(unfinished["uploads"], 0);
}

/// A store that is well takes some milliseconds a request.
const SLOW_MS: u64 = 60;

#[test]
fn a_fleet_over_a_store_that_throttles_drops_connections_and_is_slow_gives_the_same_rows() {
    let Some(bucketed) = Bucketed::music("a fleet over a bad store", 300, 20, 2) else { return };
    let expected = local_contents(300, 20, 2);
    let proxy = &bucketed.proxy;
    let fleet = Fleet::start(&bucketed.project, 2);
    let run = |what: &str, seed: u64| {
        let answer = fleet.lakewright(&["submit", "--full-refresh"]);
        assert_eq!(answer.code, Some(0), "{what}, {seed}: {answer:?}");
        proxy.refuse(0);
        proxy.drop_connections(0);
        proxy.delay(0);
        assert_eq!(bucketed.project.contents(&MUSIC_TABLES), expected, "{what}, {seed}");
    };
    for seed in rounds() {
        let (refused, dropped) = (proxy.refused(), proxy.dropped());
        proxy.refuse(30);
        run("503 to 30 %", seed);
        proxy.drop_connections(10);
        run("10 % of connections dropped", seed);
        proxy.delay(SLOW_MS);
        run("ten times slower", seed);
        proxy.refuse(30);
        proxy.drop_connections(10);
        proxy.delay(SLOW_MS);
        run("all of it", seed);
        let (refused, dropped) = (proxy.refused() - refused, proxy.dropped() - dropped);
        assert!(refused > 50 && dropped > 10, "{refused} refused, {dropped} dropped");
    }
    let unfinished = bucketed.server.script(&["unfinished", bucketed.server.endpoint(), "music"]);
    assert_eq!(unfinished["uploads"], 0);
}

#[test]
fn half_as_many_requests_are_in_flight_while_the_store_throttles_and_as_many_as_before_afterwards() {
    const OBJECTS: usize = 6_000;
    let source = "CREATE EXTERNAL TABLE raw.items (id BIGINT) STORED AS JSON LOCATION 'items/';";
    let mut project = Project::job(&[("raw/items.sql", source), ("curated/items.sql", "SELECT id FROM raw.items;")]);
    for id in 0..OBJECTS {
        project.write(&format!("objects/raw/items/{id}.json"), &format!("{{\"id\": {id}}}"));
    }
    let double = Double::over(&project.path("objects"), 20);
    let proxy = Proxy::before(&double.endpoint);
    project.set_variables(double.variables());
    project.set_variables(vec![("LAKEWRIGHT_S3_ENDPOINT", proxy.endpoint().to_owned())]);
    let mut run = project.start(&["run"]);
    let mut until = |requests: usize| {
        await_some("the run gets on", || {
            let has_ended = run.try_wait().expect("the run can be asked").is_some();
            (has_ended || proxy.requests().len() >= requests).then_some(())
        });
        proxy.requests().len()
    };
    let asked = until(800);
    let before = proxy.take_in_flight_most();
    proxy.refuse(30);
    // What was in flight is answered, and the first refusals have been heard.
    let asked = until(asked + 150);
    proxy.take_in_flight_most();
    let asked = until(asked + 400);
    let during = proxy.take_in_flight_most();
    proxy.refuse(0);
    until(asked + 2_000);
    proxy.take_in_flight_most();
    assert!(run.wait().expect("the run can be awaited").success());
    let after = proxy.take_in_flight_most();
    assert!(before >= 48 && during <= before / 2, "{before} in flight before, {during} while it throttled");
    assert!(after > during, "{during} in flight while it throttled, {after} afterwards");
    let sum = OBJECTS * (OBJECTS - 1) / 2;
    let counted = project.csv("SELECT count(*) AS n, sum(id) AS s FROM curated.items");
    assert_eq!(counted, format!("n,s\n{OBJECTS},{sum}\n"));
}

#[test]
fn a_store_that_does_what_it_was_asked_and_whose_answers_are_lost_gives_the_same_rows() {
    let Some(bucketed) = Bucketed::music("a store whose answers are lost", 300, 40, 2) else { return };
    bucketed.proxy.drop_answers(25);
    bucketed.project.succeed(&["run"]);
    let dropped = bucketed.proxy.dropped();
    assert!(dropped > 5, "{dropped} answers were dropped");
    assert_eq!(bucketed.project.contents(&MUSIC_TABLES), local_contents(300, 40, 2));
    let again = bucketed.project.json(&["run"]);
    assert!(again["release"].is_null(), "{again}");
    bucketed.project.succeed(&["optimize"]);
    bucketed.project.succeed(&["rewind", "--to", "1", "--yes"]);
    bucketed.project.succeed(&["vacuum", "--retain", "0d", "--force"]);
    bucketed.proxy.drop_answers(0);
    assert_eq!(bucketed.project.contents(&MUSIC_TABLES), local_contents(300, 40, 2));
    let releases = bucketed.project.json(&["tables", "--history"]);
    let made = releases["releases"].as_array().expect("releases").len();
    assert!(made <= 2, "no release was made twice: {releases}");
}

#[test]
fn a_run_that_was_killed_on_s3_is_finished_by_the_next_one() {
    let test = "a killed run on S3";
    let Some(undisturbed) = Bucketed::music(test, 200, 15, 2) else { return };
    undisturbed.project.succeed(&["run"]);
    let all = undisturbed.proxy.requests().len();
    let expected = undisturbed.project.contents(&MUSIC_TABLES);
    let mut killed = 0;
    for percent in [35, 60, 85] {
        let Some(bucketed) = Bucketed::music(test, 200, 15, 2) else { return };
        let mut child = bucketed.project.start(&["run"]);
        while bucketed.proxy.requests().len() < all * percent / 100
            && child.try_wait().expect("the child can be asked").is_none()
        {
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        killed += u32::from(child.try_wait().expect("the child can be asked").is_none());
        child.kill().expect("the child can be killed");
        child.wait().expect("the child can be awaited");
        bucketed.project.succeed(&["run"]);
        assert_eq!(bucketed.project.contents(&MUSIC_TABLES), expected, "killed at {percent} % of the requests");
    }
    assert!(killed > 0, "no run was killed before its end");
}
