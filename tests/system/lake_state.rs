//! Lakes in states that a user runs into: empty, written by a newer program, full, or abandoned with Ctrl-C.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    project::{MUSIC_TABLES, Project, files_below},
    requirement,
};

#[test]
fn a_table_of_a_lake_without_runs_is_not_published_yet() {
    let project = Project::music(10, 2, 1);
    project.lakewright(&["sql", "SELECT * FROM curated.songs"]).assert_refused(2, &["curated.songs"]);
    let tables = project.lakewright(&["tables"]);
    assert_eq!(tables.code, Some(0), "{tables:?}");
    assert_eq!(project.lake_files(), Vec::<String>::new());
}

#[test]
fn state_of_a_newer_program_is_refused_and_left_alone() {
    let project = Project::music(50, 5, 1);
    project.succeed(&["run"]);
    let releases = project.lake().join("_lakewright/releases");
    let newest = releases.join(files_below(&releases).last().expect("a run makes a release"));
    let text = fs::read_to_string(&newest).expect("a release is text");
    let newer = text.replacen("\"format\":1", "\"format\":2", 1).replacen("\"format\": 1", "\"format\": 2", 1);
    assert_ne!(newer, text, "{text}");
    fs::write(&newest, newer).expect("the release can be written");
    let before = project.lake_files();
    for arguments in [&["run"][..], &["plan"], &["sql", "SELECT * FROM curated.songs"], &["tables"]] {
        let answer = project.lakewright(arguments);
        assert!(matches!(answer.code, Some(1..=3)), "{arguments:?}: {answer:?}");
        answer.assert_refused(answer.code.unwrap_or_default(), &["newer"]);
    }
    let changed = |file: &String| !before.contains(file) && !file.contains("/drivers/");
    assert_eq!(project.lake_files().into_iter().filter(changed).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_table_of_another_job_is_refused() {
    let project = Project::music(50, 5, 1);
    project.succeed(&["run"]);
    project.write("jobs/other/job.toml", "name = \"other\"\nraw = \"data/raw\"\nlake = \"data/lake\"\n");
    project.write("jobs/other/curated/songs.sql", "SELECT 1 AS song_id;");
    let before = project.csv("SELECT * FROM curated.songs ORDER BY song_id");
    project.lakewright(&["run", "other"]).assert_refused(1, &["curated.songs", "music"]);
    let after =
        project.succeed(&["sql", "SELECT * FROM curated.songs ORDER BY song_id", "--job", "music", "--format", "csv"]);
    assert_eq!(after, before);
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_a_run_with_nothing_or_all_published() {
    let undisturbed = Project::music(2000, 20, 3);
    undisturbed.succeed(&["run"]);
    let project = Project::music(2000, 20, 3);
    let mut child = project.start(&["run"]);
    while files_below(&project.lake()).is_empty() && child.try_wait().expect("the child can be asked").is_none() {
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill starts");
    let status = child.wait().expect("the child can be awaited");
    if interrupted.success() {
        assert!(matches!(status.code(), Some(130 | 0)), "{status:?}");
    }
    let published = project.lakewright(&["sql", "SELECT * FROM curated.songs"]).code;
    assert_eq!(published == Some(0), status.code() == Some(0), "an interrupted run was published in part");
    project.succeed(&["run"]);
    assert_eq!(project.contents(&MUSIC_TABLES), undisturbed.contents(&MUSIC_TABLES));
}

/// A file system of a few megabytes, unmounted when it is dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one over `folder`; none if this user may not.
    pub(crate) fn mount(folder: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(folder).expect("the folder can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "lakewright-test"])
            .arg(folder)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_fails_the_run_and_publishes_nothing() {
    let project = Project::music(5000, 20, 3);
    let Some(disk) = SmallDisk::mount(&project.lake(), "256k") else {
        return requirement::skip("a full disk", "the right to mount a small file system");
    };
    project.lakewright(&["run"]).assert_refused(1, &["space"]);
    let published = project.lake_files().into_iter().filter(|file| file.contains("_delta_log")).count();
    assert_eq!(published, 0);
    drop(disk);
    project.succeed(&["run"]);
}
