//! Reads the bytes of one raw object, or of the lines that begin in a byte range of it, and checks that the object is the
//! one that was frozen.
//!
//! Invariant: a line belongs to the range that its first byte lies in, and is read to its end.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use lakewright_error::{Error, ErrorKind, Result};
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, ObjectStore};

use crate::fault;

/// Bytes asked for at once from a local file.
const CHUNK_BYTES: usize = 1 << 20;
/// First look past the end of a range for the end of its last line; doubled until found.
const TAIL_BYTES: u64 = 64 << 10;

/// The lines that begin in `range` of an object, as chunks.
pub(super) struct LineReader {
    meta: ObjectMeta,
    range: Range<u64>,
    /// Where the next byte comes from; `None` until the first chunk is asked for.
    body: Option<Body>,
    /// Offset of the next byte that `body` gives.
    offset: u64,
    state: State,
    tail_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the end of a line that began before the range.
    Skip,
    /// In the range.
    Range,
    /// Past the range, in its last line.
    Tail,
    Done,
}

/// A chunk and the offset of its first byte in the object.
pub(super) struct Chunk {
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
    /// Bytes taken from the store for it.
    pub(super) fetched_bytes: usize,
}

impl LineReader {
    /// Reads nothing yet.
    pub(super) fn new(meta: ObjectMeta, range: Range<u64>) -> Self {
        let range = range.start.min(meta.size)..range.end.min(meta.size);
        let state = match (range.is_empty(), range.start) {
            (true, _) => State::Done,
            (false, 0) => State::Range,
            (false, _) => State::Skip,
        };
        let offset = range.start.saturating_sub(1);
        Self { meta, range, body: None, offset, state, tail_bytes: TAIL_BYTES }
    }

    /// The next bytes; `None` at the end. Chunks are never empty.
    pub(super) async fn next_chunk(&mut self, store: &dyn ObjectStore) -> Result<Option<Chunk>> {
        let mut fetched_bytes = 0;
        while self.state != State::Done {
            let Some(mut bytes) = self.next_bytes(store).await? else { break };
            let mut offset = self.offset;
            self.offset += bytes.len() as u64;
            fetched_bytes += bytes.len();
            let last_byte = bytes.last().copied();
            if self.state == State::Skip {
                let Some(newline) = memchr::memchr(b'\n', &bytes) else {
                    self.end_at_range_end(None);
                    continue;
                };
                self.state = State::Range;
                offset += newline as u64 + 1;
                bytes = bytes.slice(newline + 1..);
            } else if self.state == State::Tail
                && let Some(newline) = memchr::memchr(b'\n', &bytes)
            {
                self.state = State::Done;
                bytes = bytes.slice(..=newline);
            }
            self.end_at_range_end(last_byte);
            if !bytes.is_empty() {
                return Ok(Some(Chunk { offset, bytes, fetched_bytes }));
            }
        }
        Ok(None)
    }

    /// Decides, when all bytes of the range were given, whether its last line goes on behind it.
    fn end_at_range_end(&mut self, last_byte: Option<u8>) {
        if self.offset >= self.meta.size || (self.offset == self.range.end && self.state == State::Skip) {
            self.state = State::Done;
        } else if self.offset == self.range.end && self.state == State::Range {
            self.state = if last_byte == Some(b'\n') { State::Done } else { State::Tail };
        }
    }

    async fn next_bytes(&mut self, store: &dyn ObjectStore) -> Result<Option<Bytes>> {
        loop {
            if let Some(body) = &mut self.body {
                if let Some(bytes) = body.next().await? {
                    return Ok(Some(bytes));
                }
                self.body = None;
                if self.state == State::Done {
                    return Ok(None);
                }
            }
            let end = match self.state {
                State::Tail => {
                    let end = self.offset.saturating_add(self.tail_bytes).min(self.meta.size);
                    self.tail_bytes = self.tail_bytes.saturating_mul(2);
                    end
                }
                _ => self.range.end,
            };
            if self.offset >= end {
                self.state = State::Done;
                return Ok(None);
            }
            self.body = Some(open(store, &self.meta, self.offset..end).await?);
        }
    }
}

/// Reads a whole object that fits into memory.
pub(super) async fn read_whole(store: &dyn ObjectStore, meta: &ObjectMeta) -> Result<Bytes> {
    let mut body = open(store, meta, 0..meta.size).await?;
    let Some(first) = body.next().await? else { return Ok(Bytes::new()) };
    if first.len() as u64 == meta.size {
        return Ok(first);
    }
    let mut whole = Vec::with_capacity(usize::try_from(meta.size).unwrap_or_default());
    whole.extend_from_slice(&first);
    while let Some(next) = body.next().await? {
        whole.extend_from_slice(&next);
    }
    Ok(whole.into())
}

/// The bytes of an open object or range.
pub(super) enum Body {
    File { file: File, left: u64 },
    Stream { stream: BoxStream<'static, object_store::Result<Bytes>>, left: u64 },
}

impl Body {
    /// The next bytes; `None` at the end of the range.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::File { file, left } => {
                if *left == 0 {
                    return Ok(None);
                }
                // Reading in place: the page cache answers faster than another thread could be woken.
                let size = usize::try_from(*left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
                let mut buffer = vec![0; size];
                file.read_exact(&mut buffer).map_err(|error| match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => changed("it has become shorter"),
                    _ => Error::new(fault::io_kind(&error), "cannot read a raw object").with_source(error),
                })?;
                *left -= size as u64;
                Ok(Some(buffer.into()))
            }
            Self::Stream { stream, left } => match stream.next().await {
                Some(Ok(bytes)) => {
                    *left = left.saturating_sub(bytes.len() as u64);
                    Ok(Some(bytes))
                }
                Some(Err(error)) => Err(fault::from_store(error, "cannot read a raw object")),
                None if *left > 0 => Err(changed("it has become shorter")),
                None => Ok(None),
            },
        }
    }
}

/// Opens a byte range of the object that was frozen, and no other.
pub(super) async fn open(store: &dyn ObjectStore, frozen: &ObjectMeta, range: Range<u64>) -> Result<Body> {
    let options = GetOptions {
        if_match: frozen.e_tag.clone(),
        range: Some(GetRange::Bounded(range.clone())),
        ..GetOptions::default()
    };
    let found = store.get_opts(&frozen.location, options).await.map_err(|error| match error {
        object_store::Error::NotFound { .. } => changed("it has gone").with_source(error),
        object_store::Error::Precondition { .. } => changed("its ETag is another").with_source(error),
        other => fault::from_store(other, "cannot read a raw object"),
    })?;
    check_identity(frozen, &found)?;
    let left = range.end - range.start;
    match found.payload {
        GetResultPayload::File(mut file, _) => {
            file.seek(SeekFrom::Start(range.start))
                .map_err(|error| Error::new(fault::io_kind(&error), "cannot read a raw object").with_source(error))?;
            Ok(Body::File { file, left })
        }
        GetResultPayload::Stream(stream) => Ok(Body::Stream { stream, left }),
    }
}

fn check_identity(frozen: &ObjectMeta, found: &GetResult) -> Result<()> {
    if found.meta.size != frozen.size {
        return Err(changed(&format!("it had {} bytes and has {}", frozen.size, found.meta.size)));
    }
    // A store with real ETags has answered for the identity already.
    let moved = found.meta.last_modified.timestamp_micros() != frozen.last_modified.timestamp_micros();
    if frozen.e_tag.is_none() && moved {
        return Err(changed("its modification time is another"));
    }
    Ok(())
}

fn changed(how: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("a raw object has changed since the run listed it: {how}"))
        .with_hint("run again: a new run lists the objects as they are")
}
