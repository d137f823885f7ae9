//! The music job from nothing to its tables, every value against other engines.

use std::path::Path;

use serde_json::json;

use crate::{engines::run_script, project::Project, requirement, tidy};

/// Runs the music job of this repository over `raw`, to the project.
fn run_over(raw: &Path) -> Project {
    let project = Project::empty();
    let job = tidy::root().join("jobs/music");
    let [job, raw, lake] = [&job, raw, &project.lake()].map(|path| path.to_str().expect("a path is text").to_owned());
    project.succeed(&["run", &job, "--raw", &raw, "--lake", &lake]);
    project
}

#[test]
fn generated_data_gives_what_other_engines_compute() {
    let project = Project::music(3000, 120, 10);
    project.succeed(&["run"]);
    let counts = run_script("music on generated data", "music.py", &[&project.path("data/raw"), &project.lake()]);
    let Some(counts) = counts else { return };
    assert_eq!(counts["rows"]["staging.events"], 3000);
    assert_eq!(counts["rows"]["staging.songs"], 120);
    assert!(counts["matched"].as_u64() > Some(1000), "{counts}");
}

#[test]
fn the_real_sample_gives_what_other_engines_compute() {
    let test = "music on the real sample";
    let Some(sample) = requirement::sample(test) else { return };
    let project = run_over(&sample);
    let Some(counts) = run_script(test, "music.py", &[&sample, &project.lake()]) else { return };
    let expected = json!({
        "staging.events": 8056, "staging.songs": 71, "curated.songplays": 6820, "curated.users": 96,
        "curated.songs": 71, "curated.artists": 69, "curated.time": 6813,
    });
    assert_eq!(counts["rows"], expected);
    assert_eq!(counts["matched"], 1);
}

#[test]
fn a_project_from_init_has_the_job_of_this_repository() {
    let project = Project::music(10, 2, 1);
    for file in crate::project::files_below(&tidy::root().join("jobs/music")) {
        let ours = std::fs::read_to_string(tidy::root().join("jobs/music").join(&file)).expect("the job's file");
        let theirs = std::fs::read_to_string(project.path("jobs/music").join(&file)).expect("init writes the file");
        assert_eq!(theirs, ours, "{file}");
    }
}

#[test]
fn equal_runs_over_equal_data_give_equal_rows() {
    let contents = || {
        let project = Project::music(500, 20, 3);
        project.succeed(&["run"]);
        project.contents(&crate::project::MUSIC_TABLES)
    };
    assert_eq!(contents(), contents());
}

#[test]
fn every_analysis_gives_rows() {
    let project = Project::music(500, 20, 3);
    project.succeed(&["run"]);
    let analyses = crate::project::files_below(&project.path("jobs/music/analyses"));
    assert!(!analyses.is_empty());
    for file in analyses {
        let path = format!("jobs/music/analyses/{file}");
        let csv = project.succeed(&["sql", "-f", &path, "--format", "csv"]);
        assert!(csv.lines().count() > 1, "{file}: {csv}");
    }
}

#[test]
fn the_demo_shows_its_tables() {
    let project = Project::empty();
    let shown = project.lakewright(&["demo"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let said = format!("{}{}", shown.stdout, shown.stderr);
    for table in crate::project::MUSIC_TABLES {
        assert!(said.contains(table), "no {table} in {said}");
    }
}
