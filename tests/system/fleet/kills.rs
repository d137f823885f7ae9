//! Processes of a fleet die while a run is under way; the run ends with the rows of an undisturbed one.
//!
//! `LAKEWRIGHT_KILLS` takes another number of kills than the few of every test run.

mod states;

use std::{
    collections::BTreeMap,
    fs,
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::process::Fleet;
use crate::{
    crash::draw,
    project::{MUSIC_TABLES, Project, files_below},
    requirement,
    service::process::await_some,
};

/// Kills where no other number is asked for.
const KILLS: f64 = 3.0;

/// How long a step may make no progress where it is known that it will make none: longer than a busy machine keeps any
/// process waiting, so that who is well is not taken for stuck.
pub(super) const STALL: (&str, &str) = ("LAKEWRIGHT_STALL_TIMEOUT", "8s");

/// How long nobody may lead, and no executor be a member, after the scheduler has died.
const TAKEOVER_MAX: Duration = Duration::from_secs(90);

/// Seeds of as many rounds as were asked for.
pub(crate) fn rounds() -> impl Iterator<Item = u64> {
    let asked = requirement::number("LAKEWRIGHT_KILLS").unwrap_or(KILLS);
    (0_u32..).take_while(move |seed| f64::from(*seed) < asked).map(u64::from)
}

/// Data whose reading takes a while, in a lake of its own.
fn project() -> Project {
    Project::music(12_000, 60, 4)
}

/// What an undisturbed run gives, and how many files the lake has then. It is run once for all tests.
fn undisturbed() -> (BTreeMap<String, Vec<String>>, u64) {
    static UNDISTURBED: OnceLock<(BTreeMap<String, Vec<String>>, u64)> = OnceLock::new();
    let run = || {
        let project = project();
        let fleet = Fleet::start(&project, 2);
        fleet.submit();
        (project.contents(&MUSIC_TABLES), project.lake_files().len() as u64)
    };
    UNDISTURBED.get_or_init(run).clone()
}

/// Submits a run without waiting for it, and waits until the lake has so many files or the run has ended.
pub(super) fn submit_until(fleet: &Fleet<'_>, files: u64, arguments: &[&str]) -> String {
    let answer = fleet.lakewright(&[&["submit", "--detach"], arguments].concat());
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let run_id = answer.stdout.trim().to_owned();
    await_some("the run gets on", || {
        let is_far = fleet.project.lake_files().len() as u64 >= files;
        (is_far || has_ended(fleet.project, &run_id).is_some()).then_some(())
    });
    run_id
}

/// The state of a run that has ended.
fn has_ended(project: &Project, run_id: &str) -> Option<String> {
    let done = project.lake().join("_lakewright/runs").join(run_id).join("done.json");
    let done: serde_json::Value = serde_json::from_str(&fs::read_to_string(done).ok()?).ok()?;
    Some(done["end"].as_str().unwrap_or_default().to_owned())
}

pub(super) fn await_success(project: &Project, run_id: &str) {
    let end = await_some("the run ends", || has_ended(project, run_id));
    assert_eq!(end.to_lowercase(), "succeeded", "{}", project.lakewright(&["show", run_id]).stdout);
}

/// The data files of the tables whose steps are written, by table. A step that is run again writes others beside them:
/// its record says nothing, for whoever comes second keeps the first one's.
fn written(project: &Project, run_id: &str) -> BTreeMap<String, Vec<String>> {
    let steps = project.lake().join("_lakewright/runs").join(run_id).join("steps");
    let recorded = files_below(&steps);
    let tables = recorded.iter().filter_map(|path| path.strip_suffix("/written.json"));
    let files = |table: &str| {
        let mut files = files_below(&project.lake().join(table.replace('.', "/")));
        files.retain(|file| !file.starts_with('_'));
        (table.to_owned(), files)
    };
    tables.map(files).collect()
}

#[test]
fn a_run_survives_the_death_of_an_executor_at_any_moment() {
    let (expected, files_at_end) = undisturbed();
    for seed in rounds() {
        let project = project();
        let mut fleet = Fleet::start(&project, 2);
        let moment = 4 + draw(seed, files_at_end);
        let run_id = submit_until(&fleet, moment, &[]);
        fleet.kill_executor(0);
        fleet.add_executor();
        await_success(&project, &run_id);
        assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}, killed at {moment} files");
    }
}

#[test]
fn a_run_survives_the_death_of_the_scheduler_and_runs_no_written_step_again() {
    let (expected, files_at_end) = undisturbed();
    for seed in rounds() {
        let project = project();
        let mut fleet = Fleet::start(&project, 2);
        let moment = 4 + draw(seed + 100, files_at_end);
        let run_id = submit_until(&fleet, moment, &[]);
        let before = written(&project, &run_id);
        fleet.replace_scheduler();
        await_success(&project, &run_id);
        let after = written(&project, &run_id);
        for (table, files) in before {
            assert_eq!(after.get(&table), Some(&files), "seed {seed}: {table} was written again");
        }
        assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}, killed at {moment} files");
    }
}

#[test]
fn a_run_survives_the_loss_of_all_executors() {
    let (expected, files_at_end) = undisturbed();
    for seed in rounds() {
        let project = project();
        let mut fleet = Fleet::start(&project, 2);
        let run_id = submit_until(&fleet, 4 + draw(seed + 50, files_at_end / 2), &[]);
        fleet.kill_executor(0);
        fleet.kill_executor(0);
        fleet.add_executor();
        fleet.add_executor();
        await_success(&project, &run_id);
        assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}");
    }
}

#[test]
fn a_scheduler_that_was_frozen_and_comes_back_does_no_harm() {
    let (expected, files_at_end) = undisturbed();
    for seed in rounds() {
        let project = project();
        let mut first = Fleet::start(&project, 1);
        let run_id = submit_until(&first, draw(seed + 700, files_at_end), &[]);
        first.freeze_scheduler();
        // It stands by, and leads when the first has been silent for long enough.
        let second = Fleet::start(&project, 1);
        first.thaw_scheduler();
        let answer = second.lakewright(&["submit"]);
        assert_eq!(answer.code, Some(0), "seed {seed}: {answer:?}");
        await_success(&project, &run_id);
        assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}");
        assert_eq!(first.scheduler_code(), Some(1), "seed {seed}: one that another one has taken for dead goes on");
    }
}

#[test]
fn an_executor_that_is_frozen_is_given_up_and_its_tasks_are_run_by_others() {
    let (expected, files_at_end) = undisturbed();
    for seed in rounds() {
        let mut project = project();
        project.set_variables(vec![(STALL.0, STALL.1.to_owned())]);
        let fleet = Fleet::start(&project, 2);
        let run_id = submit_until(&fleet, 4 + draw(seed + 200, files_at_end / 2), &[]);
        fleet.freeze_executor(0);
        await_success(&project, &run_id);
        fleet.thaw_executor(0);
        assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}");
    }
}

#[test]
fn the_scheduler_that_stands_by_goes_on_with_the_run_of_one_that_was_killed() {
    let (expected, files_at_end) = undisturbed();
    for seed in rounds() {
        let project = project();
        let mut fleet = Fleet::start(&project, 2);
        let standby = Fleet::stand_by(&project);
        let run_id = submit_until(&fleet, 4 + draw(seed + 300, files_at_end), &[]);
        fleet.kill_scheduler();
        let killed = Instant::now();
        await_some("the one that stands by leads", || (standby.lakewright(&["health"]).code == Some(0)).then_some(()));
        assert!(killed.elapsed() < TAKEOVER_MAX, "seed {seed}: {:?}", killed.elapsed());
        let both = format!("{},{}", fleet.url, standby.url);
        let watched = project.lakewright(&["watch", &run_id, "--scheduler", &both]);
        assert_eq!(watched.code, Some(0), "seed {seed}: {watched:?}");
        assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}");
    }
}
