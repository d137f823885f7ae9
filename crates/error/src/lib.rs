//! The one error type of the workspace.
//!
//! Every fallible public function of every member returns [`Result`]. An error says what failed ([`Error::message`]),
//! where ([`Error::context`]: key and value pairs such as `object`, `table`, `file`), why ([`std::error::Error::source`])
//! and what to do next ([`Error::hint`]).
//!
//! Invariant: [`ErrorKind`] alone decides what a caller does (retry, give up, exit code); nothing matches on text.

use std::{error::Error as StdError, fmt};

/// The result of every fallible public function of the workspace.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller must do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request, a job file or an argument is wrong. Change it; the same request fails again.
    Invalid,
    /// What was named does not exist. Create it or name another.
    NotFound,
    /// Somebody else holds or changed what was asked for. Read again, then decide.
    Conflict,
    /// A system that is needed gave no answer, or the answer was lost. Retry; a write may have happened.
    Unavailable,
    /// Memory, disk, or a named limit ran out. Free or raise it, then retry.
    Exhausted,
    /// Stored bytes are not what they must be: bad raw data, a damaged table or state object. Never retried.
    Corrupt,
    /// The caller or an operator cancelled. Nothing more to do.
    Cancelled,
    /// The caller may not do this. Never retried with the same credentials.
    Denied,
    /// The request is understood and known, but this program does not do it. Never retried.
    Unsupported,
    /// A defect of this program. Report it.
    Internal,
}

/// What failed, where, why, and what to do next.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error from what failed, in one sentence without a full stop that does not repeat its source.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), context: Vec::new(), hint: None, source: None }))
    }

    /// Adds where it failed. Keys are lowercase nouns: `object`, `offset`, `file`, `table`, `run`, `step`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Adds what the user can do next, in one sentence.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds why it failed.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What the caller must do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What failed, without context, hint and source.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it failed, outermost last.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// What the user can do next.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Whether the same call can succeed without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }
}

/// Adds context to the error of a result.
pub trait ResultExt<T> {
    /// Adds where it failed, computed only when it did.
    ///
    /// # Errors
    /// The error of `self`, with the context added.
    fn context<D: fmt::Display>(self, key: &'static str, value: impl FnOnce() -> D) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn context<D: fmt::Display>(self, key: &'static str, value: impl FnOnce() -> D) -> Self {
        self.map_err(|error| error.with(key, value()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (index, (key, value)) in self.0.context.iter().enumerate() {
            let separator = if index == 0 { " (" } else { ", " };
            write!(f, "{separator}{key} {value}")?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("context", &self.0.context)
            .field("hint", &self.0.hint)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_what_failed_and_where_but_not_why() {
        let error = Error::new(ErrorKind::Corrupt, "cannot read the state object")
            .with("object", "runs/1/spec.json")
            .with("offset", 12)
            .with_source(std::io::Error::other("disk"));
        assert_eq!(error.to_string(), "cannot read the state object (object runs/1/spec.json, offset 12)");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("disk"));
    }

    #[test]
    fn only_unavailable_is_retried() {
        assert!(Error::new(ErrorKind::Unavailable, "x").is_retryable());
        assert!(!Error::new(ErrorKind::Exhausted, "x").is_retryable());
    }
}
