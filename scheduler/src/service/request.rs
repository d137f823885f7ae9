//! What a request may hold: judged before anything is done with it.
//!
//! Invariant: what a client sends is text for the compiler and never a path to write; the one location that it may name,
//! the raw prefix, lies in what the scheduler allows.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use lakewright_compiler::JobFolder;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;

/// Files of one job.
const FILES_MAX: usize = 10_000;
/// Bytes of one file.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Bytes of all files.
const JOB_BYTES_MAX: usize = 16 << 20;
/// Bytes of a file's path.
const PATH_BYTES_MAX: usize = 512;
/// Parameters, and patterns of a selection.
const LIST_MAX: usize = 1_000;
/// Bytes of a parameter's value, a pattern, or a location.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Bytes of an idempotency key.
const KEY_BYTES_MAX: usize = 256;

/// Where clients may let raw JSON be read.
#[derive(Clone, Debug)]
pub struct RawRoots {
    /// Relative locations are taken from here.
    root: PathBuf,
    /// Used if neither the request nor the job names one.
    default: Option<String>,
    allowed: Vec<String>,
}

impl RawRoots {
    /// Allows the locations `allowed` and everything below them. `root` is the folder that relative locations are taken
    /// from; `default`, which is allowed too, is read if a request and its job name no location.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: a location cannot be one.
    pub fn new(root: &Path, default: Option<&str>, allowed: &[String]) -> Result<Self> {
        let mut roots = Self { root: root.to_owned(), default: default.map(str::to_owned), allowed: Vec::new() };
        for location in allowed.iter().map(String::as_str).chain(default) {
            roots.allowed.push(roots.resolve(location)?);
        }
        Ok(roots)
    }

    /// The raw prefix of a run: what the request names, else what the scheduler was told, else what the job says.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: nobody names one, or it cannot be a location.
    /// - [`ErrorKind::Denied`]: it is not in what is allowed.
    pub(super) fn choose(&self, requested: &str, of_job: Option<&str>) -> Result<String> {
        let requested = Some(requested).filter(|location| !location.is_empty());
        let Some(location) = requested.or(self.default.as_deref()).or(of_job) else {
            return Err(Error::new(ErrorKind::Invalid, "nothing says where the raw JSON is")
                .with_hint("set `raw` in job.toml, or give --raw"));
        };
        let resolved = self.resolve(location)?;
        if self.allowed.iter().any(|allowed| is_within(&resolved, allowed)) {
            return Ok(resolved);
        }
        Err(Error::new(ErrorKind::Denied, "the scheduler does not allow this place for raw JSON")
            .with("location", resolved)
            .with_hint("its operator allows places with the setting raw_roots"))
    }

    /// A location without `..`, relative parts and links.
    fn resolve(&self, location: &str) -> Result<String> {
        let is_url = location.contains("://");
        let joined = if is_url { location.to_owned() } else { self.root.join(location).to_string_lossy().into_owned() };
        let prefix = Prefix::open(&joined)?;
        let shown = prefix.display_location();
        if shown.contains("://") {
            return Ok(shown);
        }
        Ok(without_links(Path::new(&shown)).to_string_lossy().into_owned())
    }
}

/// Follows the links of as much of a path as is there.
fn without_links(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    path.to_owned()
}

fn is_within(location: &str, allowed: &str) -> bool {
    let allowed = allowed.trim_end_matches('/');
    location.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Takes the files of a request for a job's, if their paths and sizes are those of a job.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: a path is absolute, leads upwards, or is no path of a job's file; names it.
/// - [`ErrorKind::Exhausted`]: a limit is exceeded.
pub(super) fn job_folder(files: impl IntoIterator<Item = (String, String)>) -> Result<JobFolder> {
    let mut folder = JobFolder::default();
    let mut bytes = 0;
    for (path, text) in files {
        check_path(&path)?;
        bytes += path.len() + text.len();
        if text.len() > FILE_BYTES_MAX {
            return Err(too_much("a file of the job is too large", FILE_BYTES_MAX).with("file", path));
        }
        folder.files.insert(path, text);
    }
    if folder.files.len() > FILES_MAX {
        return Err(too_much("the job has too many files", FILES_MAX));
    }
    if bytes > JOB_BYTES_MAX {
        return Err(too_much("the job's files are too large together", JOB_BYTES_MAX));
    }
    Ok(folder)
}

fn check_path(path: &str) -> Result<()> {
    let is_plain = !path.is_empty()
        && path.len() <= PATH_BYTES_MAX
        && !path.contains(['\\', ':'])
        && !path.chars().any(char::is_control)
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && Path::new(path).components().all(|component| matches!(component, Component::Normal(_)));
    if is_plain {
        return Ok(());
    }
    let shown: String = path.chars().take(100).collect();
    Err(Error::new(ErrorKind::Invalid, "this cannot be the path of a job's file")
        .with("file", shown.escape_default())
        .with_hint("paths are relative to the job's folder, with / and without . and .."))
}

/// Checks what else a request holds.
///
/// # Errors
/// - [`ErrorKind::Exhausted`]: a limit is exceeded.
pub(super) fn check_sizes(params: &BTreeMap<String, String>, patterns: &[&[String]], texts: &[&str]) -> Result<()> {
    if params.len() > LIST_MAX || patterns.iter().any(|list| list.len() > LIST_MAX) {
        return Err(too_much("the request has too many parameters or patterns", LIST_MAX));
    }
    let texts = texts.iter().copied();
    let patterns = patterns.iter().flat_map(|list| list.iter().map(String::as_str));
    let params = params.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    if texts.chain(patterns).chain(params).any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(too_much("a parameter, a pattern or a location is too long", TEXT_BYTES_MAX));
    }
    Ok(())
}

/// The idempotency key of a request; `None` if it is empty.
///
/// # Errors
/// - [`ErrorKind::Exhausted`]: it is too long.
pub(super) fn idempotency_key(key: String) -> Result<Option<String>> {
    if key.len() > KEY_BYTES_MAX {
        return Err(too_much("the idempotency key is too long", KEY_BYTES_MAX));
    }
    Ok(Some(key).filter(|key| !key.is_empty()))
}

fn too_much(message: &'static str, limit: usize) -> Error {
    Error::new(ErrorKind::Exhausted, message).with("limit", limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, bytes: usize) -> (String, String) {
        (path.to_owned(), "x".repeat(bytes))
    }

    #[test]
    fn paths_that_lead_out_of_the_job_are_refused() {
        let refused = [
            "",
            "/etc/passwd",
            "../x.sql",
            "raw/../../x.sql",
            "./job.toml",
            "raw//a.sql",
            "raw/",
            "C:/x.sql",
            "raw\\a.sql",
            "raw/a\0.sql",
            "a\n.sql",
        ];
        for path in refused {
            assert_eq!(job_folder([file(path, 1)]).unwrap_err().kind(), ErrorKind::Invalid, "{path:?}");
        }
        assert_eq!(job_folder([file("raw/a..b.sql", 1), file("job.toml", 1)]).unwrap().files.len(), 2);
    }

    #[test]
    fn a_job_beyond_its_limits_is_refused() {
        let too_large = job_folder([file("raw/a.sql", FILE_BYTES_MAX + 1)]);
        let too_many = job_folder((0..=FILES_MAX).map(|number| file(&format!("raw/{number}.sql"), 0)));
        let too_much = job_folder((0..17).map(|number| file(&format!("raw/{number}.sql"), FILE_BYTES_MAX)));
        for refused in [too_large, too_many, too_much] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Exhausted);
        }
    }

    #[test]
    fn raw_json_is_read_from_allowed_places_only() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(real.join("data/raw")).unwrap();
        std::fs::create_dir_all(real.join("data/raw-secret")).unwrap();
        let roots = RawRoots::new(&real, None, &["data/raw".to_owned(), "s3://bucket/raw".to_owned()]).unwrap();
        let raw = real.join("data/raw").to_string_lossy().into_owned();
        assert_eq!(roots.choose("", Some("data/raw")).unwrap(), raw);
        assert_eq!(roots.choose("data/raw/2018", None).unwrap(), format!("{raw}/2018"));
        assert_eq!(roots.choose("s3://bucket/raw/x", None).unwrap(), "s3://bucket/raw/x");
        let refused = [
            "data/raw-secret",
            "data",
            "/etc",
            "file:///etc",
            "data/raw/../raw-secret",
            "data/raw/../..",
            "s3://bucket/",
            "s3://bucket/rawer",
            "s3://other/raw",
            "s3://bucket/raw/../x",
            "s3://bucket/raw/%2e%2e",
        ];
        for location in refused {
            match roots.choose(location, None) {
                Ok(found) => assert!(found.starts_with("s3://bucket/raw/%"), "{location} gave {found}"),
                Err(error) => assert!(matches!(error.kind(), ErrorKind::Denied | ErrorKind::Invalid), "{error:?}"),
            }
        }
        assert_eq!(roots.choose("", None).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_an_allowed_place_is_not_followed() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(root.path().join("raw")).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("raw/out")).unwrap();
        let roots = RawRoots::new(root.path(), None, &["raw".to_owned()]).unwrap();
        assert_eq!(roots.choose("raw/out", None).unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(roots.choose("raw/out/not-there", None).unwrap_err().kind(), ErrorKind::Denied);
    }

    #[test]
    fn what_the_scheduler_was_told_wins_over_the_job() {
        let roots = RawRoots::new(Path::new("/"), Some("/srv/raw"), &[]).unwrap();
        assert_eq!(roots.choose("", Some("/elsewhere")).unwrap(), "/srv/raw");
        assert_eq!(roots.choose("/elsewhere", None).unwrap_err().kind(), ErrorKind::Denied);
    }
}
