//! `init`: a project with the music job, and raw data for it.
//!
//! Invariant: nothing that is there is overwritten.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lakewright_error::{Error, ErrorKind, Result};

use crate::{
    args::{DataArgs, InitArgs},
    exit::{Failure, Outcome},
    generate::MusicData,
    place::Invocation,
    project::SETTINGS_FILE,
    render::{
        json::InitDocument,
        number::{bytes, counted},
    },
    settings::clean,
};

/// The music job's files, as they are in the repository.
const MUSIC_JOB: [(&str, &str); 19] = [
    ("job.toml", include_str!("../../../../jobs/music/job.toml")),
    ("raw/events.sql", include_str!("../../../../jobs/music/raw/events.sql")),
    ("raw/songs.sql", include_str!("../../../../jobs/music/raw/songs.sql")),
    ("staging/events.sql", include_str!("../../../../jobs/music/staging/events.sql")),
    ("staging/songs.sql", include_str!("../../../../jobs/music/staging/songs.sql")),
    ("curated/artists.sql", include_str!("../../../../jobs/music/curated/artists.sql")),
    ("curated/songplays.sql", include_str!("../../../../jobs/music/curated/songplays.sql")),
    ("curated/songs.sql", include_str!("../../../../jobs/music/curated/songs.sql")),
    ("curated/time.sql", include_str!("../../../../jobs/music/curated/time.sql")),
    ("curated/users.sql", include_str!("../../../../jobs/music/curated/users.sql")),
    ("analyses/free_against_paid.sql", include_str!("../../../../jobs/music/analyses/free_against_paid.sql")),
    ("analyses/hours_of_day.sql", include_str!("../../../../jobs/music/analyses/hours_of_day.sql")),
    ("analyses/top_artists.sql", include_str!("../../../../jobs/music/analyses/top_artists.sql")),
    ("analyses/top_locations.sql", include_str!("../../../../jobs/music/analyses/top_locations.sql")),
    ("analyses/top_songs.sql", include_str!("../../../../jobs/music/analyses/top_songs.sql")),
    ("tests/dimensions.yaml", include_str!("../../../../jobs/music/tests/dimensions.yaml")),
    ("tests/songplays.yaml", include_str!("../../../../jobs/music/tests/songplays.yaml")),
    ("tests/staging.yaml", include_str!("../../../../jobs/music/tests/staging.yaml")),
    ("tests/fixtures/songs.jsonl", include_str!("../../../../jobs/music/tests/fixtures/songs.jsonl")),
];

/// The settings file of a new project.
pub(super) const SETTINGS: &str =
    "# Settings of this project; `lakewright doctor` shows every value and where it comes from.
# Relative paths are taken from this file's folder. A variable LAKEWRIGHT_... or a flag wins over a value here.

# lake = \"data/lake\"      # where the tables are; the default is job.toml's
# raw = \"data/raw\"        # where the raw JSON is; the default is job.toml's
# memory = \"70%\"          # for queries: a share of the machine, or a size such as \"2GB\"
# threads = 4
# spill_dir = \".lakewright/spill\"
# spill_limit = \"100GB\"
# log = \"warn\"
";

const GITIGNORE: &str = "/data/\n/.lakewright/\n";

const README: &str = "# A Lakewright project

`jobs/music` reads raw JSON from `data/raw` and writes tables to `data/lake`.

    lakewright check                    # are the SQL files right?
    lakewright plan                     # what would a run do, and why?
    lakewright run                      # compute what has changed and publish it
    lakewright tables                   # what is there
    lakewright sql                      # ask
    lakewright sql -f jobs/music/analyses/top_songs.sql

One SQL file is one table: its folder is the zone, its name the table, and FROM and JOIN say what comes first. Change one
and run again: only what depends on it is computed.
";

/// Makes a project.
pub(super) fn init(invocation: &Invocation, arguments: &InitArgs) -> Outcome {
    let root = clean(&invocation.environment.working_dir.join(&arguments.dir));
    let document = make_project(&root, &arguments.data).map_err(Failure::from)?;
    let output = invocation.output;
    if output.json {
        return output.document(&document);
    }
    let (files, objects) = (counted(document.files as u64, "file"), counted(document.raw_objects, "raw object"));
    let shown = arguments.dir.display();
    output.result(&format!(
        "made a project in {shown}: {files}, {objects} of {}\n\nnext: cd {shown} && lakewright run",
        bytes(document.raw_bytes)
    ))
}

/// Writes the project's files and its raw data into an empty or new folder.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: the folder holds something, or a size of the data is out of range.
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Exhausted`], [`ErrorKind::Denied`]: a file cannot be written.
pub(super) fn make_project(root: &Path, data: &DataArgs) -> Result<InitDocument> {
    refuse_occupied(root)?;
    let mut files = vec![
        (PathBuf::from(SETTINGS_FILE), SETTINGS),
        (PathBuf::from(".gitignore"), GITIGNORE),
        (PathBuf::from("README.md"), README),
    ];
    files.extend(MUSIC_JOB.map(|(name, text)| (Path::new("jobs/music").join(name), text)));
    for (name, text) in &files {
        write_file(&root.join(name), text)?;
    }
    let music = MusicData { seed: data.seed, events: data.events, songs: data.songs, days: data.days };
    let written = music.write_to(&root.join("data/raw"))?;
    Ok(InitDocument {
        project: root.display().to_string(),
        files: files.len(),
        raw_objects: written.objects,
        raw_bytes: written.size_bytes,
    })
}

/// A new repository holds `.git`, and nothing of the user's yet.
fn refuse_occupied(root: &Path) -> Result<()> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Error::new(ErrorKind::Invalid, "the project's folder cannot be used")
                .with("folder", root.display())
                .with_source(error));
        }
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).filter(|name| name != ".git").collect();
    names.sort();
    match names.first() {
        None => Ok(()),
        Some(first) => Err(Error::new(ErrorKind::Invalid, "the folder is not empty, and nothing is overwritten")
            .with("folder", root.display())
            .with("holds", first.display())
            .with_hint("name a new folder: lakewright init DIR")),
    }
}

/// Writes a file and the folders that it lies in.
pub(super) fn write_file(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).and_then(|()| fs::write(path, text)).map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull => ErrorKind::Exhausted,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, "cannot write a file of the project").with("file", path.display()).with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_folder::read_job_folder;

    const DATA: DataArgs = DataArgs { events: 20, songs: 3, days: 2, seed: 1 };

    #[test]
    fn the_project_holds_every_file_of_the_job_in_the_repository() {
        let repository = read_job_folder(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../jobs/music"))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        make_project(dir.path(), &DATA).unwrap();
        assert_eq!(read_job_folder(&dir.path().join("jobs/music")).unwrap(), repository);
    }

    #[test]
    fn a_folder_that_holds_something_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        let error = make_project(dir.path(), &DATA).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_repository_counts_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        make_project(dir.path(), &DATA).unwrap();
    }
}
