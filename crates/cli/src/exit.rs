//! How a command line ends: the exit code, and what went wrong.
//!
//! Invariant: [`exit_code`] is the only place where an error becomes a number.

use std::{collections::BTreeMap, io};

use lakewright_compiler::Diagnostic;
use lakewright_error::{Error, ErrorKind};

/// Done.
pub(crate) const DONE: u8 = 0;
/// The job failed.
pub(crate) const FAILED: u8 = 1;
/// The request or a job file is wrong.
pub(crate) const USAGE: u8 = 2;
/// The system is not reachable or not healthy.
pub(crate) const UNHEALTHY: u8 = 3;
/// Interrupted, after nothing or all was published.
pub(crate) const INTERRUPTED: u8 = 130;

/// What was going on when an error came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The request was being understood: arguments, settings, job files, places.
    Request,
    /// Data was being read or written for it.
    Job,
}

/// The exit code of an error of this kind.
///
/// A wrong value is the user's mistake in a request, and bad data in a job.
pub(crate) fn exit_code(kind: ErrorKind, stage: Stage) -> u8 {
    match (kind, stage) {
        (ErrorKind::Cancelled, _) => INTERRUPTED,
        (ErrorKind::Unavailable, _) | (ErrorKind::Denied, Stage::Request) => UNHEALTHY,
        (ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Unsupported, Stage::Request) => USAGE,
        _ => FAILED,
    }
}

/// Findings in SQL files, with the text that they point into.
#[derive(Clone, Debug)]
pub(crate) struct Findings {
    /// What was found.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// By the file that a diagnostic names: the path to show, and the file's text.
    pub(crate) files: BTreeMap<String, (String, String)>,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error, and when it came up.
    Error(Error, Stage),
    /// Job files or a query are wrong.
    Findings(Box<Findings>),
    /// Everything has been said; only the exit code is left.
    Told(u8),
    /// Whoever read stdout has gone: not worth a word.
    ReaderGone,
}

impl Failure {
    /// An error that came up while a job's data was read or written.
    pub(crate) fn job(error: Error) -> Self {
        Self::Error(error, Stage::Job)
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Error(error, stage) => exit_code(error.kind(), *stage),
            Self::Findings(_) => USAGE,
            Self::Told(code) => *code,
            Self::ReaderGone => DONE,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error, Stage::Request)
    }
}

impl From<Findings> for Failure {
    fn from(findings: Findings) -> Self {
        Self::Findings(Box::new(findings))
    }
}

/// An error of writing to stdout.
impl From<io::Error> for Failure {
    fn from(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        let kind =
            if source.kind() == io::ErrorKind::StorageFull { ErrorKind::Exhausted } else { ErrorKind::Unavailable };
        Self::job(Error::new(kind, "cannot write to standard output").with_source(source))
    }
}

/// What a command gives: nothing, or why it failed.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_documented_code() {
        let codes = |kind| (exit_code(kind, Stage::Request), exit_code(kind, Stage::Job));
        assert_eq!(codes(ErrorKind::Invalid), (USAGE, FAILED));
        assert_eq!(codes(ErrorKind::NotFound), (USAGE, FAILED));
        assert_eq!(codes(ErrorKind::Unsupported), (USAGE, FAILED));
        assert_eq!(codes(ErrorKind::Conflict), (FAILED, FAILED));
        assert_eq!(codes(ErrorKind::Exhausted), (FAILED, FAILED));
        assert_eq!(codes(ErrorKind::Corrupt), (FAILED, FAILED));
        assert_eq!(codes(ErrorKind::Internal), (FAILED, FAILED));
        assert_eq!(codes(ErrorKind::Denied), (UNHEALTHY, FAILED));
        assert_eq!(codes(ErrorKind::Unavailable), (UNHEALTHY, UNHEALTHY));
        assert_eq!(codes(ErrorKind::Cancelled), (INTERRUPTED, INTERRUPTED));
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).code(), DONE);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::StorageFull)).code(), FAILED);
    }
}
