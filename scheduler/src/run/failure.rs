//! Why a run was aborted: from an error to the outcome, and back for whoever asks later.

use lakewright_error::{Error, ErrorKind};
use lakewright_lake::state::AbortReason;

use super::race::chain;

/// Every kind with its name in state objects.
const KINDS: [(ErrorKind, &str); 10] = [
    (ErrorKind::Invalid, "invalid"),
    (ErrorKind::NotFound, "not_found"),
    (ErrorKind::Conflict, "conflict"),
    (ErrorKind::Unavailable, "unavailable"),
    (ErrorKind::Exhausted, "exhausted"),
    (ErrorKind::Corrupt, "corrupt"),
    (ErrorKind::Cancelled, "cancelled"),
    (ErrorKind::Denied, "denied"),
    (ErrorKind::Unsupported, "unsupported"),
    (ErrorKind::Internal, "internal"),
];

/// The error of a run that somebody cancelled.
pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the run was cancelled")
}

/// What an outcome says about an error.
pub(crate) fn reason_of(error: &Error) -> AbortReason {
    let kind = KINDS.iter().find(|(kind, _)| *kind == error.kind()).map_or("internal", |(_, name)| name);
    let step = error.context().iter().find(|(key, _)| *key == "step").map(|(_, step)| step.clone());
    AbortReason {
        cancelled: error.kind() == ErrorKind::Cancelled,
        message: chain(error),
        kind: kind.to_owned(),
        hint: error.hint().map(str::to_owned),
        step,
    }
}

/// The error of a run that another driver has aborted.
pub(crate) fn error_of(reason: &AbortReason) -> Error {
    // A kind that this version does not know is no reason to fail otherwise than the run did.
    let kind = KINDS.iter().find(|(_, name)| *name == reason.kind).map_or(ErrorKind::Internal, |(kind, _)| *kind);
    let error = Error::new(kind, reason.message.clone());
    match &reason.hint {
        Some(hint) => error.with_hint(hint.clone()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_reads_back_with_its_kind_its_sources_and_its_step() {
        for (kind, _) in KINDS {
            let source = std::io::Error::other("disk");
            let error =
                Error::new(kind, "cannot write").with("step", "z.t").with_hint("free space").with_source(source);
            let reason = reason_of(&error);
            assert_eq!(reason.step.as_deref(), Some("z.t"));
            assert_eq!(reason.cancelled, kind == ErrorKind::Cancelled);
            let back = error_of(&reason);
            assert_eq!(back.kind(), kind);
            assert_eq!(back.message(), "cannot write (step z.t): disk");
            assert_eq!(back.hint(), Some("free space"));
        }
    }
}
