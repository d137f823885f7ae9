//! One executor, or one clock, is not as the others are: slow, short of memory, without room, asked to leave, in another
//! year. Runs end with the rows of an undisturbed one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use super::{
    elastic::executions,
    kills::{await_success, rounds, submit_until},
    process::{Fleet, SHARES_ALL},
};
use crate::{
    crash::draw,
    lake_state::SmallDisk,
    memory::{assert_joined, project_that_joins},
    project::{MUSIC_TABLES, Project},
    requirement,
};

/// How long a machine that is taken away has: the notice of spot instances.
const NOTICE: Duration = Duration::from_secs(120);

/// A project whose lake has been filled by one process, and what that gave.
fn project(events: u64, songs: u64) -> (Project, std::collections::BTreeMap<String, Vec<String>>) {
    let project = Project::music(events, songs, 4);
    project.succeed(&["run"]);
    let expected = project.contents(&MUSIC_TABLES);
    (project, expected)
}

/// A process that gets a twentieth of the time, for as long as this lives.
struct Slowed {
    pid: u32,
    brake: Child,
}

impl Slowed {
    fn process(pid: u32) -> Self {
        let brake = format!("while kill -STOP {pid}; do sleep 0.095; kill -CONT {pid}; sleep 0.005; done");
        let brake = Command::new("sh").args(["-c", &brake]).spawn().expect("a shell starts");
        Self { pid, brake }
    }
}

impl Drop for Slowed {
    fn drop(&mut self) {
        let _ = self.brake.kill();
        let _ = self.brake.wait();
        let _ = Command::new("kill").args(["-CONT", &self.pid.to_string()]).status();
    }
}

#[test]
fn a_run_survives_an_executor_that_is_twenty_times_slower() {
    let (project, expected) = project(400, 20);
    let fleet = Fleet::start(&project, 2);
    for seed in rounds() {
        let slowed = Slowed::process(fleet.executor_pid(0));
        let answer = fleet.lakewright(&["submit", "--full-refresh"]);
        drop(slowed);
        assert_eq!(answer.code, Some(0), "seed {seed}: {answer:?}");
        assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}");
        fleet.await_executors(2);
    }
}

#[test]
fn executors_at_their_limit_of_memory_spill_and_give_the_same_rows() {
    let source =
        "CREATE EXTERNAL TABLE raw.items (id BIGINT, name VARCHAR, text VARCHAR) STORED AS JSON LOCATION 'items/';";
    let model =
        "SELECT id, name, text, row_number() OVER (PARTITION BY name ORDER BY text, id) AS place FROM raw.items;";
    let project = Project::job(&[("raw/items.sql", source), ("curated/items.sql", model)]);
    for file in 0..4 {
        let mut lines = String::new();
        for line in 0..9_000_u64 {
            let id = file * 9_000 + line;
            let text = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            lines.push_str(&format!("{{\"id\": {id}, \"name\": \"n{}\", \"text\": \"{text:0>600}\"}}\n", id % 3));
        }
        project.write(&format!("data/raw/items/{file}.json"), &lines);
    }
    project.succeed(&["run", "--memory", "1GB"]);
    let expected = project.contents(&["curated.items"]);
    let mut fleet = Fleet::start(&project, 0);
    for _ in 0..2 {
        fleet.add_executor_of(&["--memory", "16MB"], &[]);
    }
    fleet.await_executors(2);
    for seed in rounds() {
        let answer = fleet.lakewright(&["submit", "--full-refresh", "--json"]);
        assert_eq!(answer.code, Some(0), "seed {seed}: {answer:?}");
        let shown = project.json(&["show"]);
        assert!(shown["steps"][0]["bytes_spilled"].as_u64() > Some(0), "nothing was spilled: {shown}");
        assert!(project.contents(&["curated.items"]) == expected, "seed {seed}: other rows");
    }
}

#[test]
fn a_join_that_executors_cannot_hold_is_made_by_sorting() {
    let project = project_that_joins();
    // By one executor, as small steps are, and by all.
    for settings in [&[][..], &SHARES_ALL[..]] {
        let mut fleet = Fleet::start_with(&project, 0, settings);
        for _ in 0..2 {
            fleet.add_executor_of(&["--memory", "16MB"], &[]);
        }
        fleet.await_executors(2);
        let answer = fleet.lakewright(&["submit", "--full-refresh"]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        assert_joined(&project);
        let explained = fleet.lakewright(&["explain"]).stdout;
        assert!(explained.contains("executed 2 times: there was too little memory at first"), "{explained}");
    }
}

#[test]
fn a_run_goes_on_without_an_executor_that_has_no_room() {
    let (project, expected) = project(3_000, 60);
    for seed in rounds() {
        let mut fleet = Fleet::start(&project, 1);
        fleet.add_executor_with(&[("LAKEWRIGHT_SPILL_LIMIT", "1KB")]);
        fleet.await_executors(2);
        let answer = fleet.lakewright(&["submit", "--full-refresh"]);
        assert_eq!(answer.code, Some(0), "seed {seed}: {answer:?}");
        assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}");
        fleet.await_executors(1);
    }
}

#[test]
fn a_run_goes_on_without_an_executor_whose_disk_is_full() {
    let (project, expected) = project(3_000, 60);
    let Some(_disk) = SmallDisk::mount(&project.path("small"), "64k") else {
        return requirement::skip("a full disk of an executor", "the right to mount a small file system");
    };
    for seed in rounds() {
        let mut fleet = Fleet::start(&project, 1);
        fleet.add_executor_of(&["--spill-dir", "small"], &[]);
        fleet.await_executors(2);
        let answer = fleet.lakewright(&["submit", "--full-refresh"]);
        assert_eq!(answer.code, Some(0), "seed {seed}: {answer:?}");
        assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}");
        fleet.await_executors(1);
    }
}

#[test]
fn an_executor_that_has_been_given_notice_is_gone_in_time_and_its_tasks_are_not_run_again() {
    let (project, expected) = project(6_000, 40);
    let mut fleet = Fleet::start(&project, 2);
    for seed in rounds() {
        let files = project.lake_files().len() as u64;
        let run_id = submit_until(&fleet, files + 4 + draw(seed + 500, 10), &["--full-refresh"]);
        let asked = Instant::now();
        assert_eq!(fleet.terminate_executor(0), Some(0), "seed {seed}");
        assert!(asked.elapsed() < NOTICE, "seed {seed}: {:?}", asked.elapsed());
        await_success(&project, &run_id);
        let executions = executions(&project.lake(), &run_id);
        assert!(executions.iter().all(|times| *times == 1), "seed {seed}: something was lost: {executions:?}");
        assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}");
        fleet.add_executor();
        fleet.await_executors(2);
    }
}

/// The library by which a process is shown another time: Debian's `libfaketime`.
fn false_clocks() -> Option<PathBuf> {
    let found = Path::new("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1");
    let other = Path::new("/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1");
    [found, other].into_iter().find(|path| path.exists()).map(Path::to_owned)
}

/// Variables of a process whose clock of the day is told by a file; durations are as they are.
fn clock_variables<'a>(library: &'a str, file: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", file),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]
}

#[test]
fn runs_survive_clocks_that_jump() {
    let test = "clocks that jump";
    let Some(library) = false_clocks() else {
        return requirement::lacks(test, "libfaketime: apt-get install libfaketime");
    };
    let library = library.to_str().expect("the path is text").to_owned();
    let (project, expected) = project(6_000, 40);
    let clock = project.path("clock");
    let set = |offset: &str| fs::write(&clock, format!("{offset}\n")).expect("the clock can be set");
    let file = clock.to_str().expect("the path is text").to_owned();
    set("+0");
    let variables = clock_variables(&library, &file);
    for seed in rounds() {
        for (whose, jump) in [("scheduler", "+2h"), ("scheduler", "-2h"), ("executor", "+2d"), ("executor", "-2d")] {
            let none: &[(&str, &str)] = &[];
            let (scheduler, executor) =
                if whose == "scheduler" { (&variables[..], none) } else { (none, &variables[..]) };
            let settings = [scheduler, &SHARES_ALL[..]].concat();
            set("+0");
            let mut fleet = Fleet::start_with(&project, 0, &settings);
            fleet.add_executor_with(executor);
            fleet.add_executor();
            fleet.await_executors(2);
            let files = project.lake_files().len() as u64;
            let run_id = submit_until(&fleet, files + 4 + draw(seed + 600, 10), &["--full-refresh"]);
            set(jump);
            await_success(&project, &run_id);
            assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}: the {whose}'s clock jumps by {jump}");
        }
    }
}
