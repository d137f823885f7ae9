//! The one place where errors of DataFusion, Arrow, Parquet, Ballista and the object store become errors of the
//! workspace.
//!
//! Invariant: the kind is decided by the variant or by the operating system's code, whatever the error is wrapped in; by
//! text only where there is nothing else ([`is_spill_limit`]). An error that this crate raised inside a plan comes out as
//! it went in.

use std::{error::Error as StdError, io, sync::Arc};

use ballista_core::error::BallistaError;
use datafusion::{arrow::error::ArrowError, common::DataFusionError, parquet::errors::ParquetError};
use lakewright_error::{Error, ErrorKind};
use lakewright_lake::{S3Fault, fault_error};
use tokio::task::JoinError;

const MEMORY_HINT: &str = "raise --memory or the spill limit, or lower the number of partitions";
const NO_MEMORY: &str = "the query needs more memory or spill space than it may have";
const STORE_MESSAGE: &str = "cannot reach the object store";
const DISK_HINT: &str = "free space on the disk, or name another directory";

/// Whether a query has failed because the memory pool had nothing left for it, whatever held the rest. Told by the message,
/// which is given here alone: the kind stands for full disks too.
pub fn is_no_memory(error: &Error) -> bool {
    error.kind() == ErrorKind::Exhausted && error.message() == NO_MEMORY
}

/// The kind of an operating system error.
pub(crate) fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => ErrorKind::Exhausted,
        io::ErrorKind::InvalidFilename => ErrorKind::Invalid,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    }
}

/// The kind of an object store's error.
pub(crate) fn store_kind(error: &object_store::Error) -> ErrorKind {
    match error {
        object_store::Error::NotFound { .. } => ErrorKind::NotFound,
        object_store::Error::AlreadyExists { .. }
        | object_store::Error::Precondition { .. }
        | object_store::Error::NotModified { .. } => ErrorKind::Conflict,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => ErrorKind::Denied,
        object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } => ErrorKind::Unsupported,
        object_store::Error::InvalidPath { .. } | object_store::Error::UnknownConfigurationKey { .. } => {
            ErrorKind::Invalid
        }
        other => find_io(other).map_or(ErrorKind::Unavailable, io_kind),
    }
}

/// An object store's error, told as what was tried.
pub(crate) fn from_store(error: object_store::Error, tried: &str) -> Error {
    if let Some(fault) = S3Fault::in_chain(&error) {
        return fault_error(fault, tried);
    }
    disk_error(store_kind(&error), tried).with_source(error)
}

/// A task of the query that did not end by itself.
pub(crate) fn from_join(error: JoinError) -> Error {
    let kind = if error.is_cancelled() { ErrorKind::Cancelled } else { ErrorKind::Internal };
    Error::new(kind, "a task of the query did not end by itself").with_source(error)
}

/// Carries an error of ours through a plan.
pub(crate) fn into_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The workspace's error for an error of a plan or its execution.
pub(crate) fn from_datafusion(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(source) => from_boxed(source),
        DataFusionError::Context(_, source) | DataFusionError::Diagnostic(_, source) => from_datafusion(*source),
        DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
            Ok(source) => from_datafusion(source),
            Err(shared) => from_shared(&shared),
        },
        DataFusionError::Collection(errors) => errors.into_iter().next().map_or_else(unsaid, from_datafusion),
        DataFusionError::ArrowError(source, _) => from_arrow(*source),
        DataFusionError::ParquetError(source) => from_parquet(*source),
        DataFusionError::ObjectStore(source) => from_store(*source, STORE_MESSAGE),
        other => classify(&other).with_source(other),
    }
}

/// The same for an error that others hold too and that therefore cannot be taken apart.
fn from_shared(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, source) | DataFusionError::Diagnostic(_, source) => from_shared(source),
        DataFusionError::Shared(source) => from_shared(source),
        DataFusionError::Collection(errors) => errors.first().map_or_else(unsaid, from_shared),
        DataFusionError::External(source) => from_held(source.as_ref()),
        DataFusionError::ArrowError(source, _) => from_held_arrow(source),
        DataFusionError::ParquetError(source) => from_held_parquet(source),
        DataFusionError::ObjectStore(source) => from_held_store(source),
        other => classify(other).with_source(other.to_string()),
    }
}

/// As [`from_boxed`], for an error that others hold too.
fn from_held(source: &(dyn StdError + 'static)) -> Error {
    if let Some(ours) = source.downcast_ref::<Error>() {
        return copy(ours);
    }
    if let Some(inner) = source.downcast_ref::<DataFusionError>() {
        return from_shared(inner);
    }
    if let Some(inner) = source.downcast_ref::<Arc<DataFusionError>>() {
        return from_shared(inner);
    }
    if let Some(inner) = source.downcast_ref::<BallistaError>() {
        return match inner {
            BallistaError::DataFusionError(inner) => from_shared(inner),
            BallistaError::ArrowError(inner) => from_held_arrow(inner),
            BallistaError::IoError(inner) => classify_io(inner).with_source(inner.to_string()),
            other => classify_ballista(other).with_source(other.to_string()),
        };
    }
    if let Some(inner) = source.downcast_ref::<ArrowError>() {
        return from_held_arrow(inner);
    }
    if let Some(inner) = source.downcast_ref::<ParquetError>() {
        return from_held_parquet(inner);
    }
    if let Some(inner) = source.downcast_ref::<object_store::Error>() {
        return from_held_store(inner);
    }
    failed(source).with_source(source.to_string())
}

fn from_held_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(source) => from_held(source.as_ref()),
        other => classify_arrow(other).with_source(other.to_string()),
    }
}

fn from_held_parquet(error: &ParquetError) -> Error {
    match error {
        ParquetError::External(source) => from_held(source.as_ref()),
        other => classify_parquet(other).with_source(other.to_string()),
    }
}

fn from_held_store(error: &object_store::Error) -> Error {
    match S3Fault::in_chain(error) {
        Some(fault) => fault_error(fault, STORE_MESSAGE),
        None => disk_error(store_kind(error), STORE_MESSAGE).with_source(error.to_string()),
    }
}

fn classify(error: &DataFusionError) -> Error {
    let (kind, message) = match error {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::Configuration(_) => (ErrorKind::Invalid, "the query cannot be planned"),
        DataFusionError::Execution(_) => (ErrorKind::Invalid, "a value cannot be computed"),
        DataFusionError::NotImplemented(_) => (ErrorKind::Unsupported, "the query needs something that is not there"),
        DataFusionError::ResourcesExhausted(_) => {
            return Error::new(ErrorKind::Exhausted, NO_MEMORY).with_hint(MEMORY_HINT);
        }
        DataFusionError::IoError(source) => return classify_io(source),
        DataFusionError::ExecutionJoin(source) if source.is_cancelled() => {
            (ErrorKind::Cancelled, "the query was cancelled")
        }
        _ => (ErrorKind::Internal, "the query failed"),
    };
    Error::new(kind, message)
}

fn unsaid() -> Error {
    Error::new(ErrorKind::Internal, "the query failed without saying why")
}

fn classify_io(error: &io::Error) -> Error {
    if is_spill_limit(error) {
        return Error::new(ErrorKind::Exhausted, "the query spills more than it may")
            .with_hint("raise spill_limit, or --memory so that less is spilled");
    }
    disk_error(io_kind(error), "cannot read or write a file of the query")
}

/// Whether DataFusion's own limit has refused the bytes. It says so in text alone: taken for a failure of the disk, it would
/// be tried again.
fn is_spill_limit(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other
        && error.raw_os_error().is_none()
        && error.to_string().contains("datafusion.runtime.max_temp_directory_size")
}

/// The kind of an error that Ballista has raised itself, and not passed on.
fn classify_ballista(error: &BallistaError) -> Error {
    match error {
        BallistaError::Cancelled => Error::new(ErrorKind::Cancelled, "the query was cancelled"),
        _ => Error::new(ErrorKind::Internal, "the query failed"),
    }
}

fn from_arrow(error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(source) => from_boxed(source),
        other => classify_arrow(&other).with_source(other),
    }
}

fn classify_arrow(error: &ArrowError) -> Error {
    let (kind, message) = match error {
        ArrowError::CastError(_)
        | ArrowError::ParseError(_)
        | ArrowError::ComputeError(_)
        | ArrowError::DivideByZero
        | ArrowError::ArithmeticOverflow(_)
        | ArrowError::InvalidArgumentError(_) => (ErrorKind::Invalid, "a value does not fit"),
        ArrowError::OffsetOverflowError(_)
        | ArrowError::DictionaryKeyOverflowError
        | ArrowError::RunEndIndexOverflowError
        | ArrowError::MemoryError(_) => (ErrorKind::Exhausted, "a batch of rows is too large"),
        ArrowError::JsonError(_) | ArrowError::CsvError(_) | ArrowError::AvroError(_) => {
            (ErrorKind::Corrupt, "cannot read raw data")
        }
        ArrowError::ParquetError(_) | ArrowError::IpcError(_) => (ErrorKind::Corrupt, "cannot read a data file"),
        ArrowError::IoError(_, source) => return classify_io(source),
        ArrowError::NotYetImplemented(_) => (ErrorKind::Unsupported, "the query needs something that is not there"),
        _ => (ErrorKind::Internal, "the query failed"),
    };
    Error::new(kind, message)
}

/// The workspace's error for an error of reading or writing Parquet.
pub(crate) fn from_parquet(error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => from_boxed(source),
        other => classify_parquet(&other).with_source(other),
    }
}

fn classify_parquet(error: &ParquetError) -> Error {
    match error {
        ParquetError::NYI(_) => Error::new(ErrorKind::Unsupported, "the data file needs something that is not there"),
        _ => Error::new(ErrorKind::Corrupt, "cannot read a data file"),
    }
}

fn from_boxed(source: Box<dyn StdError + Send + Sync>) -> Error {
    let source = match source.downcast::<Error>() {
        Ok(ours) => return *ours,
        Err(source) => source,
    };
    let source = match source.downcast::<DataFusionError>() {
        Ok(inner) => return from_datafusion(*inner),
        Err(source) => source,
    };
    let source = match source.downcast::<Arc<DataFusionError>>() {
        Ok(inner) => return from_datafusion(DataFusionError::Shared(*inner)),
        Err(source) => source,
    };
    let source = match source.downcast::<BallistaError>() {
        Ok(inner) => return from_ballista(*inner),
        Err(source) => source,
    };
    let source = match source.downcast::<ArrowError>() {
        Ok(inner) => return from_arrow(*inner),
        Err(source) => source,
    };
    let source = match source.downcast::<ParquetError>() {
        Ok(inner) => return from_parquet(*inner),
        Err(source) => source,
    };
    let source = match source.downcast::<object_store::Error>() {
        Ok(inner) => return from_store(*inner, STORE_MESSAGE),
        Err(source) => source,
    };
    failed(source.as_ref()).with_source(source)
}

/// The workspace's error for what Ballista has passed on from a plan, or has raised itself.
fn from_ballista(error: BallistaError) -> Error {
    match error {
        BallistaError::DataFusionError(inner) => from_datafusion(*inner),
        BallistaError::ArrowError(inner) => from_arrow(*inner),
        BallistaError::IoError(inner) => from_datafusion(DataFusionError::IoError(inner)),
        other => classify_ballista(&other).with_source(other),
    }
}

/// An error of a type that is not known here.
fn failed(error: &(dyn StdError + 'static)) -> Error {
    disk_error(find_io(error).map_or(ErrorKind::Internal, io_kind), "the query failed")
}

/// The operating system's error that is the reason of `error`, if there is one.
fn find_io<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = current.source();
    }
    None
}

/// An error of a file or a store, with what to do if it is full.
fn disk_error(kind: ErrorKind, message: &str) -> Error {
    let error = Error::new(kind, message);
    if kind == ErrorKind::Exhausted { error.with_hint(DISK_HINT) } else { error }
}

fn copy(error: &Error) -> Error {
    let mut copied = Error::new(error.kind(), error.message());
    for (key, value) in error.context() {
        copied = copied.with(key, value);
    }
    if let Some(hint) = error.hint() {
        copied = copied.with_hint(hint);
    }
    match error.source() {
        Some(source) => copied.with_source(source.to_string()),
        None => copied,
    }
}
