//! How an error of a task reaches the driver as it was: kind, message, context, hint and causes.
//!
//! Data flow: a task fails on an executor -> [`carry_error`] -> text that Ballista hands on -> [`carried_error`].
//!
//! Invariant: what Ballista does about a failed task is decided by the error's kind: a store that did not answer is tried
//! again, everything else fails the step.

use std::{error::Error as StdError, io};

use ballista_core::error::BallistaError;
use datafusion::{arrow::error::ArrowError, common::DataFusionError};
use lakewright_error::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::{fault, json::UNREADABLE};

/// Encloses an error in text that Ballista passes on. What stands between is hexadecimal, so that no quoting changes it.
const MARK: &str = "lakewright-error[";
const MARK_END: char = ']';

/// Causes of an error that are kept.
const CAUSES_MAX: usize = 8;

/// Text of each part that is kept, in bytes: Ballista keeps the text of every failed task.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// Every kind with its name on the way.
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

/// Keys of context that errors of a task carry.
const CONTEXT_KEYS: [&str; 19] = [
    "object",
    "offset",
    "line",
    "reason",
    "column",
    "file",
    "type",
    "table",
    "source",
    "bucket",
    "key",
    "limit",
    "bytes",
    "rejects",
    "location",
    "directory",
    "rule",
    // By it the driver knows an object that it may leave out.
    UNREADABLE,
    WITHOUT_ROOM,
];

/// Context of an error that is about one executor's disk: its id. By it the driver knows that others may do better.
const WITHOUT_ROOM: &str = "executor without room";

#[derive(Serialize, Deserialize)]
struct Carried {
    kind: String,
    message: String,
    context: Vec<(String, String)>,
    hint: Option<String>,
    causes: Vec<String>,
}

/// A cause that came as text.
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

/// Puts an error of a task into the form in which Ballista treats it rightly and passes it on whole.
///
/// Ballista's own errors stay as they are: by them it knows what to read or to run again.
#[must_use]
pub fn carry_error(error: DataFusionError) -> DataFusionError {
    if is_ballistas(&error) {
        return error;
    }
    let error = fault::from_datafusion(error);
    let text = encode(&error);
    if error.is_retryable() {
        // The one kind of error that Ballista tries again on its own.
        return DataFusionError::IoError(io::Error::other(text));
    }
    DataFusionError::Execution(text)
}

/// As [`carry_error`], for an error of ours.
#[must_use]
pub fn carry(error: Error) -> DataFusionError {
    carry_error(fault::into_datafusion(error))
}

/// As [`carry_error`] for a task of this executor: if its disk is full, the error says whose disk it is.
///
/// A lake on a disk of its own is full for everybody: its store's errors are as they are.
#[must_use]
pub fn carry_task_error(error: DataFusionError, executor_id: &str) -> DataFusionError {
    if is_full_disk(&error) {
        carry(without_room(fault::from_datafusion(error), executor_id))
    } else {
        carry_error(error)
    }
}

/// Says that an error is about the disk of this executor.
#[must_use]
pub fn without_room(error: Error, executor_id: &str) -> Error {
    error.with(WITHOUT_ROOM, executor_id)
}

/// The id of the executor whose disk an error is about.
#[must_use]
pub fn executor_without_room(error: &Error) -> Option<&str> {
    error.context().iter().find(|(key, _)| *key == WITHOUT_ROOM).map(|(_, id)| id.as_str())
}

/// Whether the operating system had no room for a file of the query.
fn is_full_disk(error: &DataFusionError) -> bool {
    let is_full = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.is::<object_store::Error>() {
            return false;
        }
        if current.downcast_ref::<io::Error>().is_some_and(is_full) {
            return true;
        }
        // Ballista's errors do not tell their sources.
        cause = match current.downcast_ref::<BallistaError>() {
            Some(BallistaError::IoError(error)) => Some(error),
            Some(BallistaError::DataFusionError(error)) => Some(error.as_ref()),
            _ => current.source(),
        };
    }
    false
}

/// The last error of a task in a text of Ballista's; `None` if it names none.
#[must_use]
pub fn carried_error(text: &str) -> Option<Error> {
    let (_, rest) = text.rsplit_once(MARK)?;
    let (hex, _) = rest.split_once(MARK_END)?;
    let carried: Carried = serde_json::from_slice(&from_hex(hex)?).ok()?;
    let kind = KINDS.iter().find(|(_, name)| *name == carried.kind).map_or(ErrorKind::Internal, |(kind, _)| *kind);
    let (mut known, mut unknown) = (Vec::new(), String::new());
    for (key, value) in carried.context {
        match CONTEXT_KEYS.iter().find(|known| **known == key) {
            Some(key) => known.push((*key, value)),
            None => unknown.push_str(&format!(", {key} {value}")),
        }
    }
    let mut error = Error::new(kind, format!("{}{unknown}", carried.message));
    for (key, value) in known {
        error = error.with(key, value);
    }
    if let Some(hint) = carried.hint {
        error = error.with_hint(hint);
    }
    let causes = carried.causes.into_iter().rev();
    let cause = causes.fold(None, |source, text| Some(Box::new(Cause { text, source })));
    Some(match cause {
        Some(cause) => error.with_source(cause),
        None => error,
    })
}

fn encode(error: &Error) -> String {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source.filter(|_| causes.len() < CAUSES_MAX) {
        causes.push(cut(&cause.to_string()));
        source = cause.source();
    }
    let kind = KINDS.iter().find(|(kind, _)| *kind == error.kind()).map_or("internal", |(_, name)| name);
    let carried = Carried {
        kind: kind.to_owned(),
        message: cut(error.message()),
        context: error.context().iter().map(|(key, value)| ((*key).to_owned(), cut(value))).collect(),
        hint: error.hint().map(cut),
        causes,
    };
    // Texts and lists of texts always have a JSON form.
    let json = serde_json::to_vec(&carried).unwrap_or_default();
    let hex: String = json.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{error} {MARK}{hex}{MARK_END}")
}

fn cut(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// Whether the error is one of Ballista's own, under whatever DataFusion has wrapped it in.
fn is_ballistas(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::External(inner) => is_boxed_ballistas(inner.as_ref()),
        DataFusionError::ArrowError(inner, _) => is_arrow_ballistas(inner),
        _ => false,
    }
}

fn is_arrow_ballistas(error: &ArrowError) -> bool {
    match error {
        ArrowError::ExternalError(inner) => is_boxed_ballistas(inner.as_ref()),
        _ => false,
    }
}

fn is_boxed_ballistas(error: &(dyn StdError + Send + Sync + 'static)) -> bool {
    match error.downcast_ref::<BallistaError>() {
        // Errors of the plan, which a shuffle has passed on.
        Some(BallistaError::DataFusionError(inner)) => is_ballistas(inner),
        Some(BallistaError::ArrowError(inner)) => is_arrow_ballistas(inner),
        Some(_) => true,
        None => error.downcast_ref::<DataFusionError>().is_some_and(is_ballistas),
    }
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::protobuf::{FailedTask, failed_task::FailedReason};

    use super::*;

    fn sent(error: Error) -> (FailedTask, Error) {
        let failed = FailedTask::from(BallistaError::from(carry_error(fault::into_datafusion(error))));
        // As Ballista reports a job: quoted once more.
        let error = carried_error(&format!("Job failed due to stage 2 failed: {:?}\n", failed.error)).unwrap();
        (failed, error)
    }

    #[test]
    fn an_error_of_a_task_arrives_as_it_was() {
        for (kind, _) in KINDS {
            let error = Error::new(kind, "a record does not \"fit\"")
                .with("object", "a b/ü.json")
                .with("offset", 12)
                .with_hint("mend it")
                .with_source(Error::new(ErrorKind::Invalid, "outer").with_source(io::Error::other("inner]")));
            let (_, arrived) = sent(error);
            assert_eq!(arrived.kind(), kind);
            assert_eq!(arrived.to_string(), "a record does not \"fit\" (object a b/ü.json, offset 12)");
            assert_eq!(arrived.hint(), Some("mend it"));
            let outer = arrived.source().unwrap();
            assert_eq!(outer.to_string(), "outer");
            assert_eq!(outer.source().unwrap().to_string(), "inner]");
        }
    }

    #[test]
    fn an_object_that_a_task_found_broken_is_known_to_the_driver() {
        let error = Error::new(ErrorKind::Corrupt, "cut off").with("object", "a.gz").with(UNREADABLE, true);
        assert_eq!(crate::broken_object(&sent(error).1), Some("a.gz"));
    }

    #[test]
    fn only_a_store_that_does_not_answer_is_tried_again() {
        for (kind, _) in KINDS {
            let (failed, _) = sent(Error::new(kind, "x"));
            let again = matches!(failed.failed_reason, Some(FailedReason::IoError(_)));
            assert_eq!(failed.retryable, kind == ErrorKind::Unavailable, "{kind:?}");
            assert_eq!(again, failed.retryable);
        }
    }

    #[test]
    fn an_error_that_a_shuffle_has_passed_on_arrives_as_it_was() {
        let ours = fault::into_datafusion(Error::new(ErrorKind::Corrupt, "cut off").with("object", "a.gz"));
        let shared = DataFusionError::Shared(std::sync::Arc::new(ours));
        let passed_on = BallistaError::DataFusionError(Box::new(shared)).into_datafusion();
        let failed = FailedTask::from(BallistaError::from(carry_error(passed_on)));
        assert!(!failed.retryable, "{failed:?}");
        let arrived = carried_error(&failed.error).unwrap();
        assert_eq!((arrived.kind(), arrived.to_string().as_str()), (ErrorKind::Corrupt, "cut off (object a.gz)"));
    }

    #[test]
    fn want_of_memory_is_told_as_such_whatever_it_is_wrapped_in() {
        let full = || DataFusionError::ResourcesExhausted("no more than 24 MB".to_owned());
        let shuffle = |error| BallistaError::DataFusionError(Box::new(error)).into_datafusion();
        let shared = |error| DataFusionError::Shared(std::sync::Arc::new(error));
        let arrow = |error| DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(error))), None);
        let external = |error| DataFusionError::External(Box::new(error));
        let mut others = Vec::new();
        // Somebody else has it too, so that it cannot be taken out.
        let mut held = || {
            let error = std::sync::Arc::new(full());
            others.push(std::sync::Arc::clone(&error));
            error
        };
        for (wrapped, how) in [
            (full(), "nothing"),
            (external(full()), "a box"),
            (external(external(full())), "two boxes"),
            (external(shuffle(full())), "a box and a shuffle"),
            (shuffle(external(full())), "a shuffle and a box"),
            (shuffle(full()).context("reading"), "a shuffle and a context"),
            (arrow(shuffle(full())), "Arrow and a shuffle"),
            (shared(external(full())), "a share and a box"),
            (shuffle(shared(external(shuffle(full())))), "shuffles, a share and a box"),
            (DataFusionError::Shared(held()), "a share that others hold"),
            (external(DataFusionError::Shared(held())), "a box and a share that others hold"),
            (DataFusionError::External(Box::new(held())), "a boxed share"),
            (shared(arrow(DataFusionError::Shared(held()))), "shares and Arrow"),
            (DataFusionError::Collection(vec![external(shuffle(full()))]), "a list"),
        ] {
            let failed = FailedTask::from(BallistaError::from(carry_error(wrapped)));
            assert!(!failed.retryable, "{how}: {failed:?}");
            let arrived = carried_error(&failed.error).unwrap_or_else(|| panic!("{how}: {failed:?}"));
            assert_eq!(arrived.kind(), ErrorKind::Exhausted, "{how}: {arrived}");
            assert!(arrived.hint().is_some(), "{how}: {arrived}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_no_lost_step_when_a_shuffle_has_passed_it_on() {
        let passed_on = BallistaError::from(DataFusionError::from(ArrowError::DivideByZero)).into_datafusion();
        assert!(matches!(&passed_on, DataFusionError::External(_)), "{passed_on:?}");
        let failed = FailedTask::from(BallistaError::from(carry_error(passed_on)));
        assert_eq!(carried_error(&failed.error).unwrap().kind(), ErrorKind::Invalid, "{failed:?}");
    }

    #[test]
    fn a_shuffle_that_cannot_be_fetched_stays_what_it_is() {
        let lost = BallistaError::FetchFailed("executor".to_owned(), 1, 2, "gone".to_owned());
        let wrapped = DataFusionError::ArrowError(
            Box::new(ArrowError::ExternalError(Box::new(lost.into_datafusion().context("reading")))),
            None,
        );
        let failed = FailedTask::from(BallistaError::from(carry_error(wrapped)));
        assert!(matches!(failed.failed_reason, Some(FailedReason::FetchPartitionError(_))), "{failed:?}");
    }

    #[test]
    fn a_full_disk_is_known_by_its_executor_and_a_full_lake_is_everybodys() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let shuffle = BallistaError::IoError(full()).into_datafusion();
        let spill = DataFusionError::IoError(full()).context("spilling");
        for error in [shuffle, spill, DataFusionError::ArrowError(Box::new(ArrowError::from(full())), None)] {
            let failed = FailedTask::from(BallistaError::from(carry_task_error(error, "e-1")));
            assert!(!failed.retryable, "the same executor would get it again: {failed:?}");
            let arrived = carried_error(&failed.error).unwrap();
            assert_eq!((arrived.kind(), executor_without_room(&arrived)), (ErrorKind::Exhausted, Some("e-1")));
        }
        let lake = object_store::Error::Generic { store: "disk", source: Box::new(full()) };
        let failed = FailedTask::from(BallistaError::from(carry_task_error(
            DataFusionError::ObjectStore(Box::new(lake)),
            "e-1",
        )));
        assert_eq!(executor_without_room(&carried_error(&failed.error).unwrap()), None);
    }

    #[test]
    fn text_without_an_error_of_ours_names_none() {
        for text in ["", "Job failed", "lakewright-error[", "lakewright-error[zz]", "lakewright-error[7b7d]"] {
            assert!(carried_error(text).is_none(), "{text}");
        }
    }
}
