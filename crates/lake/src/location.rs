//! Turns a location as a user types it into a store and a path in it, and back.
//!
//! Invariant: the path of a local object is the path of its file, character by character, so that every reader that
//! is given either finds the other.

use std::{
    fs, io,
    path::{Component, Path as FilePath, PathBuf},
    sync::Arc,
};

use lakewright_error::{Error, ErrorKind, Result};
use object_store::{local::LocalFileSystem, path::Path};
use url::Url;

use crate::{Prefix, Stores, disk_error};

/// Opens a location; see [`Prefix::open`].
pub(crate) fn open(location: &str, stores: &Stores) -> Result<Prefix> {
    match location.split_once("://") {
        Some(("s3" | "s3a", rest)) => open_s3(rest, stores),
        Some(("file", _)) => open_directory(&file_url_path(location)?),
        Some((scheme, _)) if is_scheme(scheme) => Err(invalid("no store is known for the scheme")
            .with("scheme", scheme)
            .with_hint("a location is a directory, a file:// URL, or s3://bucket/prefix")),
        _ => open_directory(FilePath::new(location)),
    }
}

/// A location as a user types it.
pub(crate) fn display(store_url: &Url, root: &Path) -> String {
    if store_url.scheme() == "file" { format!("/{root}") } else { format!("{store_url}{root}") }
}

/// A location as a URL that ends in `/`.
pub(crate) fn directory_url(store_url: &Url, root: &Path) -> Url {
    let mut url = store_url.clone();
    // Only a URL that cannot have a path refuses segments, and a store's URL has an authority.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(root.parts().map(|part| part.as_ref().to_owned())).push("");
    }
    url
}

/// Whether `directory` is there; an error if something else is, or if a link on the way leads nowhere.
pub(crate) fn is_directory(directory: &FilePath) -> Result<bool> {
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(true),
        Ok(_) => Err(invalid("this is no directory").with("object", directory.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match dangling_link(directory) {
            Some(error) => Err(error),
            None => Ok(false),
        },
        Err(error) => Err(disk_error(error, "cannot look at the directory", &directory.display().to_string())),
    }
}

/// The error that names the link on the way to `path` that leads nowhere, if there is one.
pub(crate) fn dangling_link(path: &FilePath) -> Option<Error> {
    let mut ancestors: Vec<&FilePath> = path.ancestors().collect();
    ancestors.reverse();
    let link = ancestors.into_iter().find(|ancestor| {
        fs::symlink_metadata(ancestor).is_ok_and(|metadata| metadata.is_symlink()) && fs::metadata(ancestor).is_err()
    })?;
    let target = fs::read_link(link).unwrap_or_default();
    Some(
        Error::new(ErrorKind::NotFound, "the link leads nowhere")
            .with("object", link.display())
            .with("target", target.display())
            .with_hint("mend or remove the link"),
    )
}

fn open_s3(rest: &str, stores: &Stores) -> Result<Prefix> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(invalid("the location names no bucket").with_hint("write s3://bucket/prefix"));
    }
    let root = Path::parse(key.trim_end_matches('/'))
        .map_err(|source| invalid("the prefix cannot be an object's").with_source(source))?;
    let store_url = Url::parse(&format!("s3://{bucket}/"))
        .map_err(|source| invalid("the bucket's name is not valid").with_source(source))?;
    Ok(Prefix::of_bucket(stores.bucket(bucket)?, store_url, root))
}

fn open_directory(path: &FilePath) -> Result<Prefix> {
    if path.as_os_str().is_empty() {
        return Err(invalid("the location is empty"));
    }
    let absolute = std::path::absolute(path)
        .map_err(|source| disk_error(source, "cannot find the process's directory", &path.display().to_string()))?;
    let absolute = without_parents(&absolute);
    let text = absolute.to_str().ok_or_else(|| invalid("the path is not UTF-8"))?;
    let root = Path::parse(text).map_err(|source| invalid("the path cannot be an object's").with_source(source))?;
    let store_url =
        Url::parse("file:///").map_err(|source| Error::new(ErrorKind::Internal, "bad URL").with_source(source))?;
    // The store of the whole disk, not of the directory: DataFusion knows one store for `file:///`, and the directory
    // need not exist yet.
    Ok(Prefix::new(Arc::new(LocalFileSystem::new()), store_url, root))
}

/// Resolves `..` as the kernel does: above the directory that a link leads to, not above the link.
fn without_parents(absolute: &FilePath) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in absolute.components() {
        if component == Component::ParentDir {
            resolved = fs::canonicalize(&resolved).unwrap_or(resolved);
            resolved.pop();
        } else {
            resolved.push(component);
        }
    }
    resolved
}

fn file_url_path(location: &str) -> Result<PathBuf> {
    let url = Url::parse(location).map_err(|source| invalid("the location is no URL").with_source(source))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("a file:// URL has no query and no fragment")
            .with_hint("write %3F for ? and %23 for #, or give the plain path"));
    }
    url.to_file_path()
        .map_err(|()| invalid("the URL is not a path on this machine").with_hint("write file:///absolute/path"))
}

/// Whether the text can be a URL's scheme; a directory may well be called `a b://`.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.'))
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, message)
}
