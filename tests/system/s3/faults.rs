//! S3 that throttles, and a program that dies: the rows are those of an undisturbed run.

use super::{Bucketed, local_contents};
use crate::{fleet::process::Fleet, project::MUSIC_TABLES, requirement};

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

#[test]
fn a_fleet_over_a_store_that_throttles_and_drops_connections_gives_the_same_rows() {
    let rounds = requirement::number("LAKEWRIGHT_KILLS").unwrap_or(1.0);
    let mut round = 0.0;
    while round < rounds {
        let Some(bucketed) = Bucketed::music("a fleet over a bad store", 300, 20, 2) else { return };
        let fleet = Fleet::start(&bucketed.project, 2);
        bucketed.proxy.refuse(30);
        bucketed.proxy.drop_connections(10);
        fleet.submit();
        let (refused, dropped) = (bucketed.proxy.refused(), bucketed.proxy.dropped());
        assert!(refused > 50 && dropped > 10, "{refused} refused, {dropped} dropped");
        bucketed.proxy.refuse(0);
        bucketed.proxy.drop_connections(0);
        assert_eq!(bucketed.project.contents(&MUSIC_TABLES), local_contents(300, 20, 2));
        round += 1.0;
    }
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
