//! Where a project is, and which jobs it has.
//!
//! Data flow: the working directory or a job's path -> **the project's root and a job's folder** -> [`crate::job_folder`]
//! reads it.
//!
//! Invariant: the root depends on the place of the job, or on the working directory if no job's path was given; never on
//! both.

use std::path::{Path, PathBuf};

use lakewright_error::{Error, ErrorKind, Result};
use serde::Deserialize;

use crate::{settings::clean, suggest};

/// The file that makes a folder a project's root.
pub(crate) const SETTINGS_FILE: &str = "lakewright.toml";
/// The file that makes a folder a job.
pub(crate) const JOB_FILE: &str = "job.toml";
/// The folder of a project's jobs.
pub(crate) const JOBS_DIR: &str = "jobs";

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Project {
    /// What relative paths in files are taken from; absolute.
    pub(crate) root: PathBuf,
}

/// What of `job.toml` is needed to find a job's places without compiling it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct JobPlaces {
    /// Name of the job.
    pub(crate) name: Option<String>,
    /// Raw prefix, as written.
    pub(crate) raw: Option<String>,
    /// Lake, as written.
    pub(crate) lake: Option<String>,
}

impl Project {
    /// Finds the project that `place` (a directory, absolute) is in: the nearest folder upwards with a settings file,
    /// else the nearest with a `jobs/` folder, or the parent of the `jobs/` that it is in.
    pub(crate) fn around(place: &Path) -> Option<Self> {
        let with_settings = place.ancestors().find(|folder| folder.join(SETTINGS_FILE).is_file());
        let with_jobs = || place.ancestors().find(|folder| folder.join(JOBS_DIR).is_dir());
        with_settings.or_else(with_jobs).map(|root| Self { root: root.to_owned() })
    }

    /// Finds the project of a job by the path of its folder; a folder that lies alone is its parent's.
    pub(crate) fn of_job(folder: &Path) -> Self {
        let alone = || Self { root: folder.parent().unwrap_or(folder).to_owned() };
        Self::around(folder).unwrap_or_else(alone)
    }

    /// The folders of the project's jobs, sorted by name.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: `jobs/` cannot be read.
    pub(crate) fn job_folders(&self) -> Result<Vec<PathBuf>> {
        let jobs = self.root.join(JOBS_DIR);
        let entries = match std::fs::read_dir(&jobs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(Error::new(ErrorKind::Invalid, "cannot list the project's jobs")
                    .with("folder", jobs.display())
                    .with_source(error));
            }
        };
        let mut folders: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| path.join(JOB_FILE).is_file()).collect();
        folders.sort();
        Ok(folders)
    }

    /// The folder of the job called `name`, or of the only job.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: there is no such job, or without a name not exactly one; names those that there are.
    pub(crate) fn job_folder(&self, name: Option<&str>) -> Result<PathBuf> {
        let folders = self.job_folders()?;
        let Some(name) = name else {
            return match folders.as_slice() {
                [only] => Ok(only.clone()),
                [] => Err(Error::new(ErrorKind::Invalid, "the project has no job")
                    .with("project", self.root.display())
                    .with_hint("make one with `lakewright init`, or name a job's folder")),
                several => Err(Error::new(ErrorKind::Invalid, "the project has several jobs: name one")
                    .with_hint(format!("the jobs are {}", names(several)))),
            };
        };
        let called = |folder: &&PathBuf| folder_name(folder) == name;
        let declared = |folder: &&PathBuf| read_places(folder).name.as_deref() == Some(name);
        if let Some(found) = folders.iter().find(called).or_else(|| folders.iter().find(declared)) {
            return Ok(found.clone());
        }
        let known: Vec<String> = folders.iter().map(|folder| folder_name(folder)).collect();
        let hint = match suggest::closest(name, known.iter().map(String::as_str)) {
            Some(like) => format!("did you mean {like}?"),
            None if known.is_empty() => "the project has no job: make one with `lakewright init`".to_owned(),
            None => format!("the jobs are {}", names(&folders)),
        };
        Err(Error::new(ErrorKind::Invalid, format!("there is no job {name}"))
            .with("project", self.root.display())
            .with_hint(hint))
    }
}

/// Reads a job's places; what does not parse is left to the compiler to tell.
pub(crate) fn read_places(folder: &Path) -> JobPlaces {
    let text = std::fs::read_to_string(folder.join(JOB_FILE)).unwrap_or_default();
    toml::from_str(&text).unwrap_or_default()
}

fn folder_name(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn names(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder_name(folder)).collect::<Vec<_>>().join(", ")
}

/// Finds the project and the folder of a job.
///
/// `job` is a folder's path (from `working_dir`) or a job's name; without it the project's only job, or the one that
/// `working_dir` is in.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: there is no such job or no project; names the jobs that there are.
pub(crate) fn find_job(working_dir: &Path, job: Option<&str>) -> Result<(Project, PathBuf)> {
    if let Some(path) = job.map(|job| working_dir.join(job))
        && path.join(JOB_FILE).is_file()
    {
        let folder = clean(&path);
        return Ok((Project::of_job(&folder), folder));
    }
    let project = Project::around(working_dir);
    if let Some(job) = job.filter(|job| job.contains(['/', '\\'])) {
        return Err(missing_folder(&working_dir.join(job), project.as_ref()));
    }
    let Some(project) = project else {
        return Err(Error::new(ErrorKind::Invalid, "there is no project here")
            .with("folder", working_dir.display())
            .with_hint("go to a project's folder, make one with `lakewright init`, or name a job's folder"));
    };
    let inside = || working_dir.ancestors().find(|folder| folder.join(JOB_FILE).is_file()).map(Path::to_owned);
    let folder = match job.is_none().then(inside).flatten() {
        Some(folder) => folder,
        None => project.job_folder(job)?,
    };
    Ok((project, folder))
}

/// Says what is wrong with the path of a job: nothing there, a dangling link, a file, or a folder without `job.toml`.
fn missing_folder(path: &Path, project: Option<&Project>) -> Error {
    let known = project.and_then(|project| project.job_folders().ok()).unwrap_or_default();
    let hint = match suggest::closest(&folder_name(path), known.iter().filter_map(|f| f.file_name()?.to_str())) {
        Some(like) => format!("did you mean {JOBS_DIR}/{like}?"),
        None if known.is_empty() => "make a project with `lakewright init`".to_owned(),
        None => format!("the project's jobs are {}", names(&known)),
    };
    let message = match (path.symlink_metadata(), path.metadata()) {
        (Ok(_), Err(_)) => "the job's folder is a link that leads nowhere",
        (_, Ok(meta)) if meta.is_dir() => "the folder has no job.toml, so it is no job",
        (_, Ok(_)) => "a job is a folder, and this is a file",
        _ => "there is no such job folder",
    };
    let error = Error::new(ErrorKind::Invalid, message).with("folder", path.display());
    match path.read_link() {
        Ok(target) => error.with("link to", target.display()).with_hint(hint),
        Err(_) => error.with_hint(hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(jobs: &[&str], settings: bool) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for job in jobs {
            let folder = root.path().join(JOBS_DIR).join(job);
            std::fs::create_dir_all(folder.join("curated")).unwrap();
            std::fs::write(folder.join(JOB_FILE), format!("name = \"{job}_job\"\nlake = \"lake\"\n")).unwrap();
        }
        if settings {
            std::fs::write(root.path().join(SETTINGS_FILE), "").unwrap();
        }
        root
    }

    fn found(root: &Path, from: &str, job: Option<&str>) -> Result<(PathBuf, PathBuf)> {
        let (project, folder) = find_job(&root.join(from), job)?;
        let below = |path: PathBuf| path.strip_prefix(root).unwrap().to_owned();
        Ok((below(project.root), below(folder)))
    }

    #[test]
    fn the_root_is_the_nearest_folder_with_settings_else_the_parent_of_jobs() {
        for settings in [true, false] {
            let dir = project(&["music"], settings);
            let expected = (PathBuf::new(), PathBuf::from("jobs/music"));
            assert_eq!(found(dir.path(), "", None).unwrap(), expected);
            assert_eq!(found(dir.path(), "jobs/music/curated", None).unwrap(), expected);
            assert_eq!(found(dir.path(), "jobs", Some("music")).unwrap(), expected);
            assert_eq!(found(dir.path(), "jobs", Some("./music")).unwrap(), expected);
            assert_eq!(found(dir.path(), "", Some("music_job")).unwrap(), expected);
            assert_eq!(found(dir.path(), "", Some("jobs/music/")).unwrap(), expected);
        }
    }

    #[test]
    fn a_job_by_its_path_belongs_to_its_own_project() {
        let (here, there) = (project(&["music"], true), project(&["films"], true));
        let path = there.path().join("jobs/films");
        let (project, _) = find_job(here.path(), path.to_str()).unwrap();
        assert_eq!(project.root, there.path());
    }

    #[test]
    fn one_of_several_jobs_must_be_named_unless_one_stands_in_it() {
        let dir = project(&["films", "music"], true);
        let error = found(dir.path(), "", None).unwrap_err();
        assert_eq!(error.hint(), Some("the jobs are films, music"));
        assert_eq!(found(dir.path(), "jobs/music", None).unwrap().1, PathBuf::from("jobs/music"));
    }

    #[test]
    fn a_mistyped_job_is_refused_with_a_suggestion() {
        let dir = project(&["music"], true);
        for job in ["musik", "jobs/musik"] {
            let error = found(dir.path(), "", Some(job)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.hint().unwrap().starts_with("did you mean"), "{error:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_dangling_link_is_named_with_its_target() {
        let dir = project(&[], true);
        std::fs::create_dir(dir.path().join(JOBS_DIR)).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", dir.path().join("jobs/lost")).unwrap();
        let error = found(dir.path(), "", Some("jobs/lost")).unwrap_err();
        assert_eq!(error.message(), "the job's folder is a link that leads nowhere");
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
