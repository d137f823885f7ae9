//! The run state objects under `_lakewright/`: typed, create-only, each with a format number.
//!
//! Data flow: the scheduler decides -> a state object is encoded **here** and created with put-if-absent -> any driver
//! or reader reads it back **here**. [`crate::layout`] says where each object lies.
//!
//! Invariant: an object of a newer format is refused, never guessed at, and an object that does not parse is an error
//! that names it.

mod check;
mod driver;
mod origins;
mod parquet_object;
mod rejects;
mod release;
mod report;
mod run;
mod schema;
mod store;
mod units;

use bytes::Bytes;
use lakewright_error::{Error, ErrorKind, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

pub use check::{CheckRecord, RunChecks, WrittenChecks, decode_rows, encode_rows};
pub use driver::{Heartbeat, Leader};
pub use origins::{Origin, Origins, decode_origins, encode_origins};
pub use rejects::{RejectRow, decode_rejects, encode_rejects, read_rejects, rejects_schema, write_rejects};
pub use release::{InputState, Release, ReleasedTable, ReleasedView};
pub use report::{
    Drift, ObjectReport, RangeReport, Reject, ScanReport, SourceRead, Tally, decode_object_reports,
    encode_object_reports,
};
pub use run::{
    AbortReason, Active, Broken, Compaction, Done, Excluded, Frozen, FrozenModel, FrozenSource, Idempotency, JobSlot,
    LakeMarker, Operation, Outcome, Publication, PublishedTable, RevisedContent, Revision, RunEnd, Spec, SpecOptions,
    StepRecord, StepTimes, StepWork, TaskTimes, Verdict, WriterShare, Written,
};
pub use store::{
    last_number, list_names, list_numbers, newest_release, open_lake, read_ledger, read_object, read_origins,
};
pub use units::{Unit, decode_units, encode_units, listing_digest};

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// Marks a state object with [`FORMAT`]; holds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format;

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(FORMAT)
    }
}

impl<'de> Deserialize<'de> for Format {
    // `decode` has looked at the number before: what is left is to consume it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(|_| Self)
    }
}

/// Encodes a state object.
///
/// # Errors
/// - [`ErrorKind::Internal`]: the object has no JSON form.
pub fn encode<T: Serialize>(object: &T) -> Result<Bytes> {
    let bytes = serde_json::to_vec(object)
        .map_err(|source| Error::new(ErrorKind::Internal, "cannot encode a state object").with_source(source))?;
    Ok(Bytes::from(bytes))
}

/// Decodes the state object that lies at `key`.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: a newer version of this program wrote it.
/// - [`ErrorKind::Corrupt`]: it does not parse.
pub fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T> {
    #[derive(Deserialize)]
    struct Probe {
        format: u32,
    }
    let corrupt = |source: serde_json::Error| {
        Error::new(ErrorKind::Corrupt, "a state object of the lake does not parse")
            .with("object", key)
            .with_hint("restore this object from a backup of the lake; nothing else names what it held")
            .with_source(source)
    };
    let probe: Probe = serde_json::from_slice(bytes).map_err(corrupt)?;
    if probe.format > FORMAT {
        return Err(newer(key, probe.format));
    }
    serde_json::from_slice(bytes).map_err(corrupt)
}

fn newer(key: &str, format: u32) -> Error {
    Error::new(ErrorKind::Unsupported, "the lake was written by a newer version of lakewright")
        .with("object", key)
        .with("format", format)
        .with_hint(format!("upgrade lakewright: this version reads format {FORMAT}"))
}

#[cfg(test)]
mod tests;
