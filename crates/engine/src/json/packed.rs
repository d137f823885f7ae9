//! Reads one compressed object from its beginning to its end, as chunks of text.
//!
//! Invariant: memory is bounded by a stored chunk and a piece of text, whatever the object unpacks to.

use bytes::{Buf, Bytes};
use lakewright_error::Result;
use object_store::{ObjectMeta, ObjectStore};

use super::{
    compression::{Codec, Unpacker},
    object::{Body, Chunk, open},
};

/// The text of a compressed object.
pub(super) struct PackedReader {
    meta: ObjectMeta,
    unpacker: Unpacker,
    /// Stored bytes that wait to be unpacked.
    stored: Bytes,
    source: Source,
    /// Offset of the next byte of text.
    offset: u64,
}

/// Where more stored bytes come from.
enum Source {
    Unopened,
    Open(Body),
    /// All were taken.
    Ended,
    /// And the end was checked.
    Checked,
}

impl PackedReader {
    /// Reads nothing yet, or only `whole` if the object's bytes are there already.
    pub(super) fn new(meta: ObjectMeta, codec: Codec, whole: Option<Bytes>) -> Result<Self> {
        let unpacker = Unpacker::new(codec, meta.size)?;
        let source = if whole.is_some() || meta.size == 0 { Source::Ended } else { Source::Unopened };
        Ok(Self { meta, unpacker, stored: whole.unwrap_or_default(), source, offset: 0 })
    }

    /// The next text; `None` at the end. Chunks are never empty.
    pub(super) async fn next_chunk(&mut self, store: &dyn ObjectStore) -> Result<Option<Chunk>> {
        let mut fetched_bytes = 0;
        loop {
            let text = if self.stored.is_empty() {
                match &mut self.source {
                    Source::Unopened => {
                        self.source = Source::Open(open(store, &self.meta, 0..self.meta.size).await?);
                        continue;
                    }
                    Source::Open(body) => {
                        match body.next().await? {
                            Some(stored) => {
                                fetched_bytes += stored.len();
                                self.stored = stored;
                            }
                            None => self.source = Source::Ended,
                        }
                        continue;
                    }
                    Source::Ended => {
                        self.source = Source::Checked;
                        self.unpacker.finish()?
                    }
                    Source::Checked => return Ok(None),
                }
            } else {
                let (taken, text) = self.unpacker.unpack(&self.stored)?;
                self.stored.advance(taken);
                text
            };
            if !text.is_empty() {
                let offset = self.offset;
                self.offset += text.len() as u64;
                return Ok(Some(Chunk { offset, bytes: text.into(), fetched_bytes }));
            }
        }
    }
}
