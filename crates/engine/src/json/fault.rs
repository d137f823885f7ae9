//! Says which record is not as it was declared, and what can be done.

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_json::{Fault, Reason};

use super::stream::{Piece, ReadOptions};

/// The error that names the object, line, offset and column of a record that was refused.
///
/// The line is counted by reading the object again up to the record. It is left out if that fails.
pub(super) async fn bad_record(options: &ReadOptions, piece: &Piece, fault: Fault) -> Error {
    let mut error = Error::new(ErrorKind::Corrupt, "a record does not have its declared form")
        .with("object", options.key(&piece.meta.location));
    if let Ok(line) = line_number(options, piece, fault.record_start).await {
        error = error.with("line", line);
    }
    error = error.with("offset", fault.record_start).with("reason", fault.reason.code());
    if let Some(column) = &fault.column {
        error = error.with("column", column);
    }
    error.with_hint(hint(fault.reason)).with_source(fault)
}

fn hint(reason: Reason) -> &'static str {
    match reason {
        Reason::DoesNotFit => {
            "mend the record, or declare the column with a type that its values have (VARCHAR takes any value as its text), or make the field NULL: mode 'PERMISSIVE'"
        }
        Reason::NotAnObject => {
            "write each record as an object on a line of its own, or keep such records aside: mode 'PERMISSIVE'"
        }
        _ => "mend the record, or keep such records aside: mode 'PERMISSIVE'",
    }
}

/// The number of the line that begins at `offset`, from 1.
async fn line_number(options: &ReadOptions, piece: &Piece, offset: u64) -> Result<u64> {
    let mut reader = options.open(&piece.meta, 0..piece.meta.size, None)?;
    let mut line = 1;
    while let Some(chunk) = reader.next_chunk(options.store.as_ref()).await? {
        let before = offset.saturating_sub(chunk.offset).min(chunk.bytes.len() as u64);
        let before = usize::try_from(before).unwrap_or(usize::MAX);
        line += memchr::memchr_iter(b'\n', &chunk.bytes[..before]).count() as u64;
        if before < chunk.bytes.len() {
            break;
        }
    }
    Ok(line)
}
