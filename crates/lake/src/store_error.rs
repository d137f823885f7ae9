//! Turns what a store says into the workspace's error: the one place that maps object_store's errors to kinds.
//!
//! Invariant: a kind is read from the variant, and from the faults of S3 and the I/O errors in the source chain, never
//! from text.

use std::{error::Error as StdError, io};

use lakewright_error::{Error, ErrorKind};
use object_store::Error as StoreError;

use crate::S3Fault;

/// Makes the error of a failed store operation.
///
/// `message` says what failed ("cannot read the object"); `object` is named as its owner would type it.
pub fn store_error(source: StoreError, message: &'static str, object: &str) -> Error {
    if let Some(fault) = S3Fault::in_chain(&source) {
        return fault_error(fault, message).with("object", object);
    }
    let (kind, hint) = judge(&source);
    let error = Error::new(kind, message).with("object", object).with_source(source);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Makes the error of an operation that S3 refused. The client's own words about the request are left out: the fault
/// says what is wrong.
pub fn fault_error(fault: &S3Fault, message: impl Into<String>) -> Error {
    Error::new(fault.kind(), message).with_hint(fault.hint()).with_source(fault.clone())
}

/// Makes the error of a failed operation on the local disk, by the same table as [`store_error`].
pub fn disk_error(source: io::Error, message: &'static str, object: &str) -> Error {
    let (kind, hint) = judge_io(&source).unwrap_or((ErrorKind::Unavailable, None));
    let error = Error::new(kind, message).with("object", object).with_source(source);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

type Judgement = (ErrorKind, Option<&'static str>);

const CREDENTIALS_HINT: &str =
    "check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role of this machine) and their policy";

fn judge(error: &StoreError) -> Judgement {
    match error {
        StoreError::NotFound { .. } => (ErrorKind::NotFound, None),
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } | StoreError::NotModified { .. } => {
            (ErrorKind::Conflict, None)
        }
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            (ErrorKind::Denied, Some(CREDENTIALS_HINT))
        }
        StoreError::InvalidPath { .. } => (ErrorKind::Invalid, None),
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => (ErrorKind::Unsupported, None),
        StoreError::UnknownConfigurationKey { .. } => (ErrorKind::Invalid, None),
        other => judge_chain(other).unwrap_or((ErrorKind::Unavailable, None)),
    }
}

/// Looks through the source chain for an I/O error that decides.
fn judge_chain(error: &(dyn StdError + 'static)) -> Option<Judgement> {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        if let Some(judgement) = io.and_then(judge_io) {
            return Some(judgement);
        }
        // The source of an I/O error that wraps another error is that one's source: it skips the wrapped one.
        let wrapped = io.and_then(io::Error::get_ref).map(|wrapped| wrapped as &(dyn StdError + 'static));
        next = wrapped.or_else(|| error.source());
    }
    None
}

fn judge_io(error: &io::Error) -> Option<Judgement> {
    // Linux and macOS share these two numbers, and the standard library has no kind for them.
    const TOO_MANY_OPEN_FILES: [i32; 2] = [23, 24];
    if error.raw_os_error().is_some_and(|code| TOO_MANY_OPEN_FILES.contains(&code)) {
        return Some((ErrorKind::Exhausted, Some("raise the limit of open files (`ulimit -n`)")));
    }
    match error.kind() {
        io::ErrorKind::StorageFull => Some((ErrorKind::Exhausted, Some("free space on the disk, then run again"))),
        io::ErrorKind::QuotaExceeded => {
            Some((ErrorKind::Exhausted, Some("free space in the disk quota, then run again")))
        }
        io::ErrorKind::FileTooLarge => Some((ErrorKind::Exhausted, Some("raise the limit of the size of a file"))),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some((ErrorKind::Denied, Some("check the owner and the permissions of the directory")))
        }
        io::ErrorKind::NotFound => Some((ErrorKind::NotFound, None)),
        // A directory cannot be made because something that is no directory is in the way.
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            Some((ErrorKind::Invalid, Some("a file, or a link that leads nowhere, stands where a directory must be")))
        }
        io::ErrorKind::InvalidFilename => Some((ErrorKind::Invalid, Some("the name is too long or not allowed here"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: io::Error) -> StoreError {
        // The local store wraps I/O errors in a private type of its own; a nested one stands for it.
        StoreError::Generic { store: "LocalFileSystem", source: Box::new(io::Error::other(source)) }
    }

    #[test]
    fn a_full_disk_anywhere_in_the_chain_is_exhausted_with_a_hint() {
        let error =
            store_error(generic(io::Error::from(io::ErrorKind::StorageFull)), "cannot write the object", "/lake/x");
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert!(error.hint().is_some());
        assert_eq!(error.to_string(), "cannot write the object (object /lake/x)");
        let quota = store_error(generic(io::Error::from(io::ErrorKind::QuotaExceeded)), "cannot write the object", "x");
        assert_eq!(quota.kind(), ErrorKind::Exhausted);
    }

    #[test]
    fn a_refusal_is_denied_and_silence_is_unavailable() {
        let denied = generic(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(store_error(denied, "cannot read the object", "x").kind(), ErrorKind::Denied);
        let silent = generic(io::Error::from(io::ErrorKind::TimedOut));
        assert_eq!(store_error(silent, "cannot read the object", "x").kind(), ErrorKind::Unavailable);
    }
}
