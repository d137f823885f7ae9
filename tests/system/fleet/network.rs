//! The network between a scheduler and one of its executors is cut while a run is under way: one way, both ways, or by
//! disconnecting. The run ends with the rows of an undisturbed one, and the executor is a member again afterwards.

use super::{
    kills::{STALL, await_success, rounds, submit_until},
    process::Fleet,
    wire::{Way, Wire, neighbours},
};
use crate::{
    crash::draw,
    project::{MUSIC_TABLES, Project},
};

/// A fleet of two executors, one of which is reached through a wire only.
fn wired(project: &Project) -> (Fleet<'_>, Wire) {
    let mut fleet = Fleet::start(project, 1);
    let wire = Wire::default();
    let joining = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let join_at = joining.local_addr().expect("the listener has an address");
    wire.forward(joining, fleet.fleet_address(), Way::ToScheduler);
    let listeners = neighbours();
    let port = listeners[0].local_addr().expect("the listener has an address").port();
    for (listener, port) in listeners.into_iter().zip([port, port + 1]) {
        // The same ports of another address of this machine are the executor's own.
        wire.forward(listener, ([127, 0, 0, 2], port).into(), Way::ToExecutor);
    }
    let listen = format!("127.0.0.2:{port}");
    let join_at = join_at.to_string();
    fleet.add_executor_of(
        &["--listen", &listen],
        &[("LAKEWRIGHT_FLEET", &join_at), ("LAKEWRIGHT_FLEET_HOST", "127.0.0.1")],
    );
    fleet.await_executors(2);
    (fleet, wire)
}

fn survives(how: &str, cut: impl Fn(&Wire)) {
    let mut project = Project::music(6_000, 40, 4);
    project.succeed(&["run"]);
    let expected = project.contents(&MUSIC_TABLES);
    project.set_variables(vec![(STALL.0, STALL.1.to_owned())]);
    let (fleet, wire) = wired(&project);
    let mut bites = 0;
    for seed in rounds() {
        let files = project.lake_files().len() as u64;
        let run_id = submit_until(&fleet, files + 4 + draw(seed + 400, 10), &["--full-refresh"]);
        let before = wire.held();
        cut(&wire);
        await_success(&project, &run_id);
        bites += u32::from(wire.held() > before);
        wire.mend();
        assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}, {how}");
        fleet.await_executors(2);
    }
    assert!(bites > 0 || how == "disconnected", "nothing was held");
}

#[test]
fn a_run_survives_an_executor_that_is_cut_off_both_ways() {
    survives("both ways", |wire| wire.hold(&[Way::ToScheduler, Way::ToExecutor]));
}

#[test]
fn a_run_survives_an_executor_that_hears_the_scheduler_and_is_not_heard() {
    survives("to the scheduler", |wire| wire.hold(&[Way::ToScheduler]));
}

#[test]
fn a_run_survives_an_executor_that_is_heard_and_hears_nothing() {
    survives("to the executor", |wire| wire.hold(&[Way::ToExecutor]));
}

#[test]
fn a_run_survives_an_executor_that_is_disconnected() {
    survives("disconnected", Wire::disconnect);
}
