//! Little memory: the job spills and gives the same rows.

use crate::project::{MUSIC_TABLES, Project};

#[test]
fn a_run_with_little_memory_gives_the_same_rows() {
    let (small, large) = (Project::music(5000, 50, 5), Project::music(5000, 50, 5));
    small.succeed(&["run", "--memory", "256MB"]);
    large.succeed(&["run"]);
    assert_eq!(small.contents(&MUSIC_TABLES), large.contents(&MUSIC_TABLES));
}

#[test]
fn memory_that_cannot_be_is_refused() {
    let project = Project::music(10, 2, 1);
    project.lakewright(&["run", "--memory", "lots"]).assert_refused(2, &["memory"]);
    assert_eq!(project.lake_files(), Vec::<String>::new());
}
