//! The process dies at any moment; the next run ends where an undisturbed one would have.

use std::process::Child;

use crate::project::{MUSIC_TABLES, Project, files_below};

/// Kills of one test run: enough to hit different phases, few enough to stay quick.
const KILLS: u64 = 6;

/// A number below `limit` that depends on `seed` alone.
pub(crate) fn draw(seed: u64, limit: u64) -> u64 {
    // One step of a linear congruential generator; its upper bits are random enough to choose a moment.
    (seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33) % limit.max(1)
}

/// Kills `child` as soon as the lake has `files` files, unless it ends before. Whether it was killed.
fn kill_at(project: &Project, child: &mut Child, files: u64) -> bool {
    loop {
        if child.try_wait().expect("the child can be asked").is_some() {
            return false;
        }
        if files_below(&project.lake()).len() as u64 >= files {
            child.kill().expect("the child can be killed");
            child.wait().expect("the child can be awaited");
            return true;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
}

#[test]
fn a_killed_run_is_finished_by_the_next_one_with_the_rows_of_an_undisturbed_one() {
    let undisturbed = Project::music(400, 15, 3);
    undisturbed.succeed(&["run"]);
    let expected = undisturbed.contents(&MUSIC_TABLES);
    let files_at_end = undisturbed.lake_files().len() as u64;

    let mut killed = 0;
    for seed in 0..KILLS {
        let project = Project::music(400, 15, 3);
        let moment = 1 + draw(seed, files_at_end);
        let mut child = project.start(&["run"]);
        killed += u64::from(kill_at(&project, &mut child, moment));
        let after = project.lakewright(&["run"]);
        assert_eq!(after.code, Some(0), "seed {seed}, killed at {moment} of {files_at_end} files: {after:?}");
        assert_eq!(project.contents(&MUSIC_TABLES), expected, "seed {seed}, killed at {moment} files");
    }
    assert!(killed > 0, "no run was killed before its end");
}

#[test]
fn a_killed_second_run_leaves_readers_the_first_ones_tables_or_its_own() {
    let project = Project::music(400, 15, 3);
    let logs = files_below(&project.path("data/raw/log_data"));
    let home = project.path("data/raw/log_data").join(logs.last().expect("there are logs"));
    let away = project.path("later.json");
    std::fs::rename(&home, &away).expect("the log can be put aside");
    project.succeed(&["run"]);
    let (old, files) = (project.contents(&MUSIC_TABLES), project.lake_files().len() as u64);

    std::fs::rename(&away, &home).expect("the log can be put back");
    let mut child = project.start(&["run"]);
    // Beyond the run's spec and its frozen inputs, so that some steps are written and none is published.
    kill_at(&project, &mut child, files + 10);
    let between = project.contents(&MUSIC_TABLES);
    project.succeed(&["run"]);
    let new = project.contents(&MUSIC_TABLES);
    assert!(between == old || between == new, "readers saw part of a run");
    assert_ne!(old, new);
}
