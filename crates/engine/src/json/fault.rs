//! Finds the line that made the decoder fail, by reading the objects of the batch once more.
//!
//! Bounded by the bytes of the batch's objects, and by [`LINE_BYTES_MAX`] of memory.

use std::collections::VecDeque;

use datafusion::arrow::{error::ArrowError, json::reader::Decoder};
use lakewright_error::{Error, ErrorKind, ResultExt};

use super::stream::{Piece, ReadOptions};

/// A longer line is named by its offset without being decoded by itself.
const LINE_BYTES_MAX: usize = super::stream::RECORD_BYTES_MAX;

/// The error that names the first line of `window` that does not decode; `reason` if every line decodes by itself.
pub(super) async fn locate(options: &ReadOptions, window: &VecDeque<Piece>, reason: Option<ArrowError>) -> Error {
    for piece in window {
        let key = options.key(&piece.meta.location);
        match find_bad_line(options, piece).await.context("object", || key.clone()) {
            Ok(None) => {}
            Ok(Some(line)) => {
                let error = Error::new(ErrorKind::Corrupt, "a record does not have its declared form")
                    .with("object", key)
                    .with("line", line.number)
                    .with("offset", line.offset)
                    .with_hint("mend the record, or change the source's columns");
                return error.with_source(line.reason);
            }
            Err(error) => return error,
        }
    }
    let error = Error::new(ErrorKind::Corrupt, "records do not have their declared form");
    let error = match window.front() {
        Some(piece) => error.with("object", options.key(&piece.meta.location)).with("offset", piece.batch_start),
        None => error,
    };
    match reason {
        Some(reason) => error.with_source(reason),
        None => error.with_source("the last record is not complete"),
    }
}

struct BadLine {
    /// From 1.
    number: u64,
    /// Of the line's first byte.
    offset: u64,
    reason: String,
}

async fn find_bad_line(options: &ReadOptions, piece: &Piece) -> lakewright_error::Result<Option<BadLine>> {
    let mut reader = options.open(&piece.meta, 0..piece.meta.size, None)?;
    let (mut number, mut line_start, mut line) = (1, 0, Vec::new());
    loop {
        let chunk = reader.next_chunk(options.store.as_ref()).await?;
        let at_end = chunk.is_none();
        let bytes = chunk.map(|chunk| chunk.bytes).unwrap_or_default();
        let mut rest = bytes.as_ref();
        while let Some(newline) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(newline + 1);
            let line_end = line_start + line.len() as u64 + head.len() as u64;
            if line_end > piece.batch_start {
                line.extend_from_slice(head);
                if let Some(reason) = check_line(options, &line, line_start == 0) {
                    return Ok(Some(BadLine { number, offset: line_start, reason }));
                }
            }
            (number, line_start, rest) = (number + 1, line_end, tail);
            line.clear();
            if line_start >= piece.range.end {
                return Ok(None);
            }
        }
        line.extend_from_slice(rest);
        if at_end || line.len() > LINE_BYTES_MAX {
            let reason = if line.len() > LINE_BYTES_MAX {
                Some(format!("the line is longer than {LINE_BYTES_MAX} bytes"))
            } else {
                check_line(options, &line, line_start == 0)
            };
            return Ok(reason.map(|reason| BadLine { number, offset: line_start, reason }));
        }
    }
}

/// Why the line is no complete record, if it is none. A blank line is fine.
fn check_line(options: &ReadOptions, line: &[u8], first: bool) -> Option<String> {
    let line = if first { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
    let mut decoder = match options.decoder() {
        Ok(decoder) => decoder,
        Err(error) => return Some(error.to_string()),
    };
    decode_line(&mut decoder, line).err()
}

fn decode_line(decoder: &mut Decoder, line: &[u8]) -> Result<(), String> {
    let mut rest = line;
    loop {
        let read = decoder.decode(rest).map_err(|error| error.to_string())?;
        rest = &rest[read..];
        if rest.is_empty() {
            break;
        }
        decoder.flush().map_err(|error| error.to_string())?;
    }
    decoder.decode(b"\n").map_err(|error| error.to_string())?;
    if decoder.has_partial_record() {
        return Err("the record is not complete at the end of its line".to_owned());
    }
    decoder.flush().map(drop).map_err(|error| error.to_string())
}
