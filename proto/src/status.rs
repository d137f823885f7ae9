//! Errors on the wire: [`Error`] <-> [`Status`], by one table.
//!
//! Invariant: an error that travels keeps its kind, message, context, causes and hint. A status that is not ours becomes
//! an error of the nearest kind.

use std::error::Error as StdError;

use lakewright_error::{Error, ErrorKind};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::v1;

/// Causes that travel with one error.
const CAUSES_MAX: usize = 8;

/// Bytes of all details of a status. HTTP/2 carries them in a header, which clients limit to 8 to 16 KiB.
const DETAIL_BYTES_MAX: usize = 4 << 10;

/// The name of our details.
const TYPE_URL: &str = "type.googleapis.com/lakewright.v1.ErrorDetail";

/// Every kind with its name on the wire and its status code.
pub const KINDS: [(ErrorKind, v1::ErrorKind, Code); 10] = [
    (ErrorKind::Invalid, v1::ErrorKind::Invalid, Code::InvalidArgument),
    (ErrorKind::NotFound, v1::ErrorKind::NotFound, Code::NotFound),
    (ErrorKind::Conflict, v1::ErrorKind::Conflict, Code::Aborted),
    (ErrorKind::Unavailable, v1::ErrorKind::Unavailable, Code::Unavailable),
    (ErrorKind::Exhausted, v1::ErrorKind::Exhausted, Code::ResourceExhausted),
    (ErrorKind::Corrupt, v1::ErrorKind::Corrupt, Code::DataLoss),
    (ErrorKind::Cancelled, v1::ErrorKind::Cancelled, Code::Cancelled),
    (ErrorKind::Denied, v1::ErrorKind::Denied, Code::PermissionDenied),
    (ErrorKind::Unsupported, v1::ErrorKind::Unsupported, Code::Unimplemented),
    (ErrorKind::Internal, v1::ErrorKind::Internal, Code::Internal),
];

/// Causes of an error that came over the wire.
#[derive(Debug)]
struct Cause {
    text: String,
    source: Option<Box<Self>>,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The status code of a kind.
pub fn code_of(kind: ErrorKind) -> Code {
    KINDS.iter().find(|(ours, ..)| *ours == kind).map_or(Code::Internal, |(.., code)| *code)
}

/// The kind of a status code; codes that are not in [`KINDS`] have the kind of the nearest one that is.
pub fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::Unauthenticated => ErrorKind::Denied,
        Code::DeadlineExceeded => ErrorKind::Unavailable,
        Code::AlreadyExists | Code::FailedPrecondition => ErrorKind::Conflict,
        Code::OutOfRange => ErrorKind::Invalid,
        _ => KINDS.iter().find(|(.., theirs)| *theirs == code).map_or(ErrorKind::Internal, |(kind, ..)| *kind),
    }
}

/// The details of an error.
pub fn detail_of(error: &Error) -> v1::ErrorDetail {
    let mut causes = Vec::new();
    let mut source = StdError::source(error);
    while let Some(cause) = source.filter(|_| causes.len() < CAUSES_MAX) {
        causes.push(cause.to_string());
        source = cause.source();
    }
    let kind = KINDS.iter().find(|(ours, ..)| *ours == error.kind()).map_or(v1::ErrorKind::Internal, |kind| kind.1);
    let context =
        |(key, value): &(&'static str, String)| v1::ErrorContext { key: (*key).to_owned(), value: value.clone() };
    v1::ErrorDetail {
        kind: kind.into(),
        message: error.message().to_owned(),
        context: error.context().iter().map(context).collect(),
        causes,
        hint: error.hint().unwrap_or_default().to_owned(),
        diagnostics: Vec::new(),
    }
}

/// The error that details describe. Context that this program has no name for stands in the message.
pub fn error_of(detail: &v1::ErrorDetail) -> Error {
    let kind = KINDS.iter().find(|(_, theirs, _)| *theirs == detail.kind()).map_or(ErrorKind::Internal, |kind| kind.0);
    let (mut known, mut unknown) = (Vec::new(), String::new());
    for v1::ErrorContext { key, value } in &detail.context {
        match CONTEXT_KEYS.iter().find(|known| *known == key) {
            Some(key) => known.push((*key, value)),
            None => unknown.push_str(&format!(", {key} {value}")),
        }
    }
    let mut error = Error::new(kind, format!("{}{unknown}", detail.message));
    for (key, value) in known {
        error = error.with(key, value);
    }
    if !detail.hint.is_empty() {
        error = error.with_hint(detail.hint.clone());
    }
    let found = detail.diagnostics.iter().map(|found| {
        let help = if found.help.is_empty() { String::new() } else { format!(" ({})", found.help) };
        format!("{}:{}:{}: {}{help}", found.file, found.line, found.column, found.message)
    });
    let causes: Vec<String> = detail.causes.iter().cloned().chain(found).collect();
    let chain = causes.into_iter().rev().fold(None, |source, text| Some(Box::new(Cause { text, source })));
    match chain {
        Some(cause) => error.with_source(cause),
        None => error,
    }
}

/// Keys of context that errors of the workspace carry.
const CONTEXT_KEYS: [&str; 22] = [
    "bucket", "bytes", "column", "file", "folder", "format", "job", "key", "lake", "limit", "line", "link to",
    "location", "object", "offset", "path", "places", "run", "source", "state", "step", "table",
];

/// The status that carries details.
pub fn status_with(code: Code, mut detail: v1::ErrorDetail) -> Status {
    while detail.encoded_len() > DETAIL_BYTES_MAX && shorten(&mut detail) {}
    let message = detail.message.clone();
    let any = prost_types::Any { type_url: TYPE_URL.to_owned(), value: detail.encode_to_vec() };
    let status = pb::Status { code: code.into(), message: message.clone(), details: vec![any] };
    Status::with_details(code, message, status.encode_to_vec().into())
}

/// Takes the least important part out of details; `false` if nothing is left to take.
fn shorten(detail: &mut v1::ErrorDetail) -> bool {
    if detail.diagnostics.len() > 1 || (!detail.diagnostics.is_empty() && detail.encoded_len() > 2 * DETAIL_BYTES_MAX) {
        detail.diagnostics.pop();
    } else if detail.causes.pop().is_none() && detail.context.pop().is_none() {
        let end = (0..=DETAIL_BYTES_MAX / 4).rev().find(|end| detail.message.is_char_boundary(*end)).unwrap_or(0);
        let done = detail.message.len() <= end && detail.hint.is_empty() && detail.diagnostics.is_empty();
        detail.message.truncate(end);
        detail.hint.clear();
        detail.diagnostics.clear();
        return !done;
    }
    true
}

/// The status of an error.
pub fn status_of(error: &Error) -> Status {
    status_with(code_of(error.kind()), detail_of(error))
}

/// The details that a status carries, if it is one of ours.
pub fn detail_in(status: &Status) -> Option<v1::ErrorDetail> {
    let outer = pb::Status::decode(status.details()).ok()?;
    let any = outer.details.into_iter().find(|any| any.type_url == TYPE_URL)?;
    v1::ErrorDetail::decode(any.value.as_slice()).ok()
}

/// The error that a status stands for.
pub fn error_in(status: &Status) -> Error {
    match detail_in(status) {
        Some(detail) => error_of(&detail),
        None => Error::new(kind_of(status.code()), status.message().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_travels_with_its_kind_message_context_causes_and_hint() {
        for (kind, ..) in KINDS {
            let error = Error::new(kind, "cannot read the raw object")
                .with("object", "log_data/a.json")
                .with("offset", 12)
                .with_hint("mend it")
                .with_source(std::io::Error::other("no comma"));
            let status = status_of(&error);
            assert_eq!(kind_of(status.code()), kind);
            let back = error_in(&status);
            assert_eq!(back.kind(), kind);
            assert_eq!(back.to_string(), error.to_string());
            assert_eq!(back.hint(), error.hint());
            assert_eq!(StdError::source(&back).map(ToString::to_string).as_deref(), Some("no comma"));
        }
    }

    #[test]
    fn a_code_stands_for_one_kind() {
        for (index, (_, _, code)) in KINDS.iter().enumerate() {
            assert!(KINDS.iter().skip(index + 1).all(|(_, _, other)| other != code), "{code:?}");
        }
        assert_eq!(kind_of(Code::Unauthenticated), ErrorKind::Denied);
        assert_eq!(kind_of(Code::DeadlineExceeded), ErrorKind::Unavailable);
        assert_eq!(error_in(&Status::unavailable("gone")).message(), "gone");
    }

    #[test]
    fn details_fit_into_a_header_however_long_the_error_is() {
        let long = "ä".repeat(100_000);
        let mut error = Error::new(ErrorKind::Invalid, long.clone()).with_hint(long.clone());
        for _ in 0..100 {
            error = error.with("object", &long);
        }
        let mut detail = detail_of(&error.with_source(std::io::Error::other(long.clone())));
        detail.diagnostics = vec![v1::Diagnostic { message: long, ..Default::default() }; 1000];
        let status = status_with(Code::InvalidArgument, detail);
        assert!(status.details().len() < 2 * DETAIL_BYTES_MAX, "{}", status.details().len());
        assert_eq!(error_in(&status).kind(), ErrorKind::Invalid);
    }

    #[test]
    fn context_of_a_newer_program_is_not_lost() {
        let detail = v1::ErrorDetail {
            kind: v1::ErrorKind::Invalid.into(),
            message: "x".to_owned(),
            context: vec![v1::ErrorContext { key: "moon".to_owned(), value: "full".to_owned() }],
            ..Default::default()
        };
        assert_eq!(error_of(&detail).to_string(), "x, moon full");
    }
}
