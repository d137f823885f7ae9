//! Reads a job's folder from disk into the text that the compiler takes.
//!
//! Data flow: `jobs/music/` -> **[`read_job_folder`]** -> [`JobFolder`] -> the compiler.
//!
//! Invariant: every `job.toml`, `.sql` and `.yaml` file that is not hidden is in the result, or the reading fails and
//! names the file; what is read is bounded in depth, number and size.

use std::{fs, path::Path};

use lakewright_compiler::JobFolder;
use lakewright_error::{Error, ErrorKind, Result};

use crate::project::JOB_FILE;

/// Folders in folders: a loop of links ends here.
const DEPTH_MAX: usize = 8;
/// Files of one job.
const FILES_MAX: usize = 10_000;
/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the files of a job.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: a file or folder cannot be read, is a link that leads nowhere, is no UTF-8, or a limit is
///   exceeded; names the file.
pub(crate) fn read_job_folder(folder: &Path) -> Result<JobFolder> {
    let mut job = JobFolder::default();
    read_into(&mut job, folder, "", 0)?;
    Ok(job)
}

fn read_into(job: &mut JobFolder, folder: &Path, prefix: &str, depth: usize) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(refused("the job's folders are nested too deeply", folder)
            .with_hint(format!("at most {DEPTH_MAX} levels are read; is there a link to a folder above?")));
    }
    let unreadable = |error| refused("cannot list a folder of the job", folder).with_source(error);
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(refused("a file's name is not UTF-8", &path));
        };
        if name.starts_with(['.', '_']) {
            continue;
        }
        let meta = fs::metadata(&path).map_err(|error| match fs::read_link(&path) {
            Ok(target) => refused("a link in the job leads nowhere", &path).with("link to", target.display()),
            Err(_) => refused("cannot read a file of the job", &path).with_source(error),
        })?;
        let key = format!("{prefix}{name}");
        if meta.is_dir() {
            read_into(job, &path, &format!("{key}/"), depth + 1)?;
        } else if belongs(&key) {
            if job.files.len() == FILES_MAX {
                return Err(refused("the job has too many files", folder).with("limit", FILES_MAX));
            }
            job.files.insert(key, read_text(&path, meta.len())?);
        }
    }
    Ok(())
}

/// Whether a file is part of a job's text.
fn belongs(key: &str) -> bool {
    let ends_with = |suffix: &str| {
        key.get(key.len().saturating_sub(suffix.len())..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
    };
    key == JOB_FILE || ends_with(".sql") || ends_with(".yaml")
}

fn read_text(path: &Path, size_bytes: u64) -> Result<String> {
    if size_bytes > FILE_BYTES_MAX {
        return Err(refused("a file of the job is too large", path)
            .with("bytes", size_bytes)
            .with("limit", FILE_BYTES_MAX));
    }
    let bytes = fs::read(path).map_err(|error| refused("cannot read a file of the job", path).with_source(error))?;
    String::from_utf8(bytes).map_err(|error| {
        refused("a file of the job is not UTF-8", path)
            .with("offset", error.utf8_error().valid_up_to())
            .with_hint("save it as UTF-8")
    })
}

fn refused(message: &'static str, path: &Path) -> Error {
    Error::new(ErrorKind::Invalid, message).with("file", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }

    #[test]
    fn hidden_and_foreign_files_are_left_out() {
        let dir = folder(&[
            ("job.toml", b"name = 'x'"),
            ("raw/a.sql", b"a"),
            ("tests/t.yaml", b"t"),
            ("tests/fixtures/rows.jsonl", b"{}"),
            (".git/config", b""),
            ("raw/.a.sql.swp", b"\xff"),
            ("_drafts/b.sql", b"b"),
            ("README.md", b""),
        ]);
        let job = read_job_folder(dir.path()).unwrap();
        assert_eq!(job.files.keys().collect::<Vec<_>>(), ["job.toml", "raw/a.sql", "tests/t.yaml"]);
    }

    #[test]
    fn a_file_that_is_no_utf8_or_too_large_is_named() {
        let dir = folder(&[("raw/latin.sql", b"-- caf\xe9")]);
        let error = read_job_folder(dir.path()).unwrap_err();
        assert!(error.to_string().contains("latin.sql, offset 6"), "{error}");
        let dir = folder(&[("raw/big.sql", &vec![b' '; (1 << 20) + 1])]);
        let error = read_job_folder(dir.path()).unwrap_err();
        assert!(error.to_string().contains("big.sql"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_dangling_link_and_a_loop_of_links_are_refused() {
        let dir = folder(&[("job.toml", b"")]);
        std::os::unix::fs::symlink("/nowhere/x.sql", dir.path().join("x.sql")).unwrap();
        let error = read_job_folder(dir.path()).unwrap_err();
        assert!(error.to_string().contains("link to /nowhere/x.sql"), "{error}");
        fs::remove_file(dir.path().join("x.sql")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).unwrap();
        let error = read_job_folder(dir.path()).unwrap_err();
        assert_eq!(error.message(), "the job's folders are nested too deeply");
    }
}
