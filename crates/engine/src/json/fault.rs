//! The error of a record that fails its scan: FAILFAST.

use std::collections::VecDeque;

use datafusion::arrow::error::ArrowError;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::state::Reject;

use super::stream::{Piece, ReadOptions};

/// The error that names a record of the objects in `window`, by its line in the whole object.
pub(super) async fn locate(options: &ReadOptions, window: &VecDeque<Piece>, reject: Reject) -> Error {
    let piece = window.iter().find(|piece| options.key(&piece.meta.location) == reject.object);
    let line = match piece.filter(|piece| piece.range.start > 0) {
        Some(piece) => match lines_before(options, piece, reject.byte_offset).await {
            Ok(before) => before + 1,
            Err(error) => return error.with("object", reject.object),
        },
        None => reject.line,
    };
    let error = Error::new(ErrorKind::Corrupt, "a record does not have its declared form")
        .with("object", reject.object)
        .with("line", line)
        .with("offset", reject.byte_offset)
        .with("reason", reject.reason);
    let error = match reject.column {
        Some(column) => error.with("column", column),
        None => error,
    };
    error
        .with_hint("mend the record, change the source's columns, or keep such records aside: mode 'PERMISSIVE'")
        .with_source(reject.message)
}

/// Newlines before an offset of the object's text.
async fn lines_before(options: &ReadOptions, piece: &Piece, offset: u64) -> Result<u64> {
    let mut reader = options.open(&piece.meta, 0..offset, None)?;
    let mut lines = 0;
    while let Some(chunk) = reader.next_chunk(options.store.as_ref()).await? {
        lines += memchr::memchr_iter(b'\n', &chunk.bytes).count() as u64;
    }
    Ok(lines)
}

/// The error of columns that cannot be decoded at all.
pub(super) fn no_decoder(error: ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "cannot decode the columns of a source").with_source(error)
}
