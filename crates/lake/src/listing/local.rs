//! Lists a directory. The local object store leaves dangling links out in silence, which would lose their rows.

use std::{
    ffi::OsStr,
    fs::{self, DirEntry, Metadata},
    io,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use lakewright_error::{Error, ErrorKind, Result};

use super::{
    RawObject,
    selection::{Selection, is_hidden},
};
use crate::{
    disk_error,
    location::{dangling_link, is_directory},
};

/// Folders within folders; a limit for what no real source has.
const DEPTH_MAX: usize = 64;

/// Lists what `selection` means below the directory `root`, sorted by key.
pub(super) fn list(root: &Path, selection: &Selection) -> Result<Vec<RawObject>> {
    if !is_directory(root)? {
        return Err(Error::new(ErrorKind::NotFound, "the raw prefix does not exist")
            .with("object", root.display())
            .with_hint("name another with --raw or in job.toml"));
    }
    let base = selection.base();
    let start = if base.is_empty() { root.to_owned() } else { root.join(base) };
    let mut objects = Vec::new();
    match fs::metadata(&start) {
        Ok(metadata) if metadata.is_dir() => walk(start, base.to_owned(), selection, &mut objects)?,
        Ok(metadata) if selection.selects(base) => objects.push(raw_object(base.to_owned(), &metadata)?),
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            dangling_link(&start).map_or(Ok(()), Err)?;
        }
        Err(error) => return Err(cannot_list(error, &start)),
    }
    objects.sort_unstable_by(|left, right| left.key.cmp(&right.key));
    Ok(objects)
}

/// One directory that is still to be read.
struct Pending {
    directory: PathBuf,
    key: String,
    depth: usize,
}

fn walk(directory: PathBuf, key: String, selection: &Selection, objects: &mut Vec<RawObject>) -> Result<()> {
    let mut pending = vec![Pending { directory, key, depth: 0 }];
    while let Some(next) = pending.pop() {
        if next.depth > DEPTH_MAX {
            return Err(Error::new(ErrorKind::Exhausted, "folders are nested too deep")
                .with("object", next.directory.display())
                .with("limit", DEPTH_MAX));
        }
        let entries = fs::read_dir(&next.directory).map_err(|source| cannot_list(source, &next.directory))?;
        for entry in entries {
            let entry = entry.map_err(|source| cannot_list(source, &next.directory))?;
            let name = entry.file_name();
            let name = utf8(&name, &entry)?;
            if is_hidden(name) {
                continue;
            }
            let key = if next.key.is_empty() { name.to_owned() } else { format!("{}/{name}", next.key) };
            let metadata = followed(&entry)?;
            if metadata.is_dir() {
                pending.push(Pending { directory: entry.path(), key, depth: next.depth + 1 });
            } else if metadata.is_file() && selection.selects(&key) && !is_unfinished_upload(name) {
                objects.push(raw_object(key, &metadata)?);
            }
        }
    }
    Ok(())
}

/// What the entry is, behind a link what it leads to.
fn followed(entry: &DirEntry) -> Result<Metadata> {
    let path = entry.path();
    let own = entry.metadata().map_err(|source| cannot_list(source, &path))?;
    if !own.is_symlink() {
        return Ok(own);
    }
    let metadata = fs::metadata(&path).map_err(|source| {
        let is_dangling = source.kind() == io::ErrorKind::NotFound;
        is_dangling.then(|| dangling_link(&path)).flatten().unwrap_or_else(|| cannot_list(source, &path))
    })?;
    if metadata.is_dir() {
        refuse_circle(&path)?;
    }
    Ok(metadata)
}

/// Refuses a link to a directory that it lies in: its rows would come again and again.
fn refuse_circle(link: &Path) -> Result<()> {
    let real = |path: &Path| fs::canonicalize(path).map_err(|source| cannot_list(source, path));
    let above = link.parent().unwrap_or(link);
    if real(above)?.starts_with(real(link)?) {
        return Err(Error::new(ErrorKind::Invalid, "the link leads to a folder that it lies in")
            .with("object", link.display())
            .with_hint("remove the link"));
    }
    Ok(())
}

fn raw_object(key: String, metadata: &Metadata) -> Result<RawObject> {
    let modified =
        metadata.modified().map_err(|source| disk_error(source, "cannot read the modification time", &key))?;
    let modified_us = DateTime::<Utc>::from(modified).timestamp_micros();
    Ok(RawObject { key, size_bytes: metadata.len(), etag: None, modified_us })
}

/// Names that the object store's own writers use until a file is complete, and that it cannot read.
fn is_unfinished_upload(name: &str) -> bool {
    let unfinished = name
        .split_once('#')
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()));
    if unfinished {
        tracing::warn!(name, "an unfinished upload is not data");
    }
    unfinished
}

fn utf8<'a>(name: &'a OsStr, entry: &DirEntry) -> Result<&'a str> {
    name.to_str().ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "the file's name is not UTF-8")
            .with("object", entry.path().display())
            .with_hint("rename the file")
    })
}

fn cannot_list(source: io::Error, path: &Path) -> Error {
    disk_error(source, "cannot list the raw objects", &path.display().to_string())
}
