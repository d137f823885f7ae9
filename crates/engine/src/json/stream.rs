//! Decodes the objects of one partition into record batches.
//!
//! One decoder goes over all objects, so that many tiny objects become one batch. Small objects are fetched ahead.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use bytes::{Buf, Bytes};
use datafusion::{
    arrow::{array::RecordBatch, error::ArrowError},
    common::Result as PlanResult,
    datasource::listing::PartitionedFile,
    physical_plan::metrics::Count,
};
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use lakewright_error::{Result, ResultExt};
use lakewright_lake::Prefix;
use object_store::{ObjectMeta, ObjectStore, path::Path};

use super::{
    compression::Compression,
    fault::{locate, no_decoder},
    form::Form,
    lines::{LineDecoder, Refused},
    object::{Chunk, LineReader, read_whole},
    packed::PackedReader,
    report::ScanReports,
};
use crate::fault::into_datafusion;

/// Objects up to this size are fetched whole, ahead of the decoder.
const SMALL_OBJECT_BYTES: u64 = 256 << 10;
/// Small objects in flight per partition: a bound on memory, and as many as one bucket is asked for at once.
const PREFETCH_OBJECTS: usize = 64;
/// Objects of a local disk that are handed over together, at most; fewer if they have [`LOCAL_BATCH_BYTES`].
const LOCAL_BATCH_OBJECTS: usize = 64;
const LOCAL_BATCH_BYTES: usize = 1 << 20;
/// Batches of local objects that wait per partition: a bound on memory.
const LOCAL_BATCHES_AHEAD: usize = 8;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What a partition's reader needs besides its objects.
#[derive(Clone)]
pub(super) struct ReadOptions {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) raw: Prefix,
    pub(super) compression: Compression,
    pub(super) form: Form,
    pub(super) batch_rows: usize,
    /// Who accounts for what is read, if anybody does.
    pub(super) reports: Option<ScanReports>,
    pub(super) bytes_read: Count,
}

impl ReadOptions {
    /// The key of an object as the user knows it: relative to the raw prefix.
    pub(super) fn key(&self, location: &Path) -> String {
        self.raw.key(location).unwrap_or_else(|| location.to_string())
    }

    /// A reader of the object's text, or of the lines that begin in a range of it. `whole` are the object's stored bytes,
    /// if they are there already.
    pub(super) fn open(&self, meta: &ObjectMeta, range: Range<u64>, whole: Option<Bytes>) -> Result<ObjectReader> {
        match self.compression.codec(meta.location.as_ref()) {
            Some(codec) => Ok(ObjectReader::Packed(Box::new(PackedReader::new(meta.clone(), codec, whole)?))),
            None => Ok(ObjectReader::Plain(LineReader::new(meta.clone(), range))),
        }
    }
}

/// The text of one object or range, whatever it is stored as.
pub(super) enum ObjectReader {
    Plain(LineReader),
    Packed(Box<PackedReader>),
}

impl ObjectReader {
    /// The next text; `None` at the end. Chunks are never empty.
    pub(super) async fn next_chunk(&mut self, store: &dyn ObjectStore) -> Result<Option<Chunk>> {
        match self {
            Self::Plain(reader) => reader.next_chunk(store).await,
            Self::Packed(reader) => reader.next_chunk(store).await,
        }
    }
}

/// One object or byte range.
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) meta: Arc<ObjectMeta>,
    /// Of the object's text.
    pub(super) range: Range<u64>,
    /// Of the object's stored bytes.
    stored: Range<u64>,
}

/// The rows of `files`, in order.
pub(super) fn read_objects(
    options: ReadOptions,
    files: Vec<PartitionedFile>,
) -> impl Stream<Item = PlanResult<RecordBatch>> + Send {
    stream::once(async move { Reader::new(options, files) }).flat_map(|reader| {
        let reader = match reader {
            Ok(reader) => reader,
            Err(error) => return stream::once(async move { Err(error.into()) }).boxed(),
        };
        stream::try_unfold(reader, |mut reader| async move {
            let batch = reader.next_batch().await.map_err(into_datafusion)?;
            Ok(batch.map(|batch| (batch, reader)))
        })
        .boxed()
    })
}

struct Reader {
    options: ReadOptions,
    decoder: LineDecoder,
    fetched: BoxStream<'static, Result<Fetched>>,
    current: Option<Current>,
    /// The pieces that the lines in the decoder came from.
    window: VecDeque<Piece>,
}

/// A piece whose bytes are there, or are to be read as they are needed.
struct Fetched {
    piece: Piece,
    whole: Option<Bytes>,
}

struct Current {
    piece: Piece,
    /// `None` when the chunk is all there is.
    reader: Option<ObjectReader>,
    chunk: Bytes,
    /// Offset of the chunk's first byte.
    offset: u64,
}

impl Reader {
    fn new(options: ReadOptions, files: Vec<PartitionedFile>) -> Result<Self, ArrowError> {
        let decoder = LineDecoder::new(options.form.clone(), options.batch_rows)?;
        let fetched =
            if options.raw.is_local() { fetch_local(&options, files)? } else { fetch_remote(&options, files) };
        Ok(Self { options, decoder, fetched, current: None, window: VecDeque::new() })
    }

    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if self.current.is_none() && !self.next_object().await? {
                return self.take_batch().await;
            }
            self.decode_chunk();
            if self.decoder.is_full() {
                if let Some(batch) = self.take_batch().await? {
                    return Ok(Some(batch));
                }
                continue;
            }
            self.next_chunk().await?;
        }
    }

    /// Goes to the next object; false when there is none.
    async fn next_object(&mut self) -> Result<bool> {
        let Some(fetched) = self.fetched.next().await.transpose()? else { return Ok(false) };
        let Fetched { piece, whole } = fetched;
        self.window.push_back(piece.clone());
        self.decoder.begin(self.options.key(&piece.meta.location), piece.stored.clone());
        self.options.bytes_read.add(whole.as_ref().map_or(0, Bytes::len));
        let packed = self.options.compression.is_packed(piece.meta.location.as_ref());
        let (reader, chunk) = match whole {
            Some(bytes) if !packed => (None, bytes),
            whole => {
                let reader = self.options.open(&piece.meta, piece.range.clone(), whole);
                (Some(reader.context("object", || self.options.key(&piece.meta.location))?), Bytes::new())
            }
        };
        let mut current = Current { piece, reader, chunk, offset: 0 };
        current.strip_byte_order_mark();
        self.current = Some(current);
        Ok(true)
    }

    /// Takes the next chunk of the object, or ends it.
    async fn next_chunk(&mut self) -> Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if let Some(reader) = &mut current.reader {
            let chunk = reader.next_chunk(self.options.store.as_ref()).await;
            if let Some(chunk) = chunk.context("object", || self.options.key(&current.piece.meta.location))? {
                self.options.bytes_read.add(chunk.fetched_bytes);
                current.offset = chunk.offset;
                current.chunk = chunk.bytes;
                current.strip_byte_order_mark();
                return Ok(());
            }
        }
        self.current = None;
        // The last line may lack its newline; nothing of it may reach the next object.
        self.decoder.end();
        Ok(())
    }

    /// Decodes what there is of the chunk, up to the end of the batch.
    fn decode_chunk(&mut self) {
        let Some(current) = &mut self.current else { return };
        if current.chunk.is_empty() {
            return;
        }
        self.decoder.seek(current.offset);
        let taken = self.decoder.decode(&current.chunk);
        current.chunk.advance(taken);
        current.offset += taken as u64;
    }

    /// The rows of the lines since the last batch.
    async fn take_batch(&mut self) -> Result<Option<RecordBatch>> {
        let batch = match self.decoder.take_batch() {
            Ok(batch) => batch,
            Err(Refused::Record(reject)) => return Err(locate(&self.options, &self.window, *reject).await),
            Err(Refused::Decoder(error)) => return Err(no_decoder(error)),
        };
        let ended = self.decoder.take_reports();
        if let Some(reports) = &self.options.reports {
            reports.add(ended)?;
        }
        self.window.clear();
        self.window.extend(self.current.as_ref().map(|current| current.piece.clone()));
        Ok(batch)
    }
}

impl Current {
    fn strip_byte_order_mark(&mut self) {
        if self.offset == 0 && self.chunk.starts_with(BYTE_ORDER_MARK) {
            self.chunk.advance(BYTE_ORDER_MARK.len());
            self.offset += BYTE_ORDER_MARK.len() as u64;
        }
    }
}

/// Fetches objects with several requests in flight.
fn fetch_remote(options: &ReadOptions, files: Vec<PartitionedFile>) -> BoxStream<'static, Result<Fetched>> {
    let options = options.clone();
    stream::iter(files).map(move |file| fetch(options.clone(), file)).buffered(PREFETCH_OBJECTS).boxed()
}

/// Fetches objects of a local disk on a thread of their own.
///
/// Outside of a runtime the local store answers in place. Inside of one it hands each request to another thread, and
/// waking that costs more than reading a tiny object. The thread ends with the objects, or when nobody takes them.
fn fetch_local(
    options: &ReadOptions,
    files: Vec<PartitionedFile>,
) -> Result<BoxStream<'static, Result<Fetched>>, ArrowError> {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Vec<Result<Fetched>>>(LOCAL_BATCHES_AHEAD);
    let options = options.clone();
    let read_all = move || {
        let mut batch = LocalBatch::default();
        for file in files {
            batch.add(futures::executor::block_on(fetch(options.clone(), file)));
            if batch.is_full() && sender.blocking_send(batch.take()).is_err() {
                return;
            }
        }
        // Nobody to take the last objects is no failure either.
        let _ = sender.blocking_send(batch.take());
    };
    std::thread::Builder::new().name("raw-objects".to_owned()).spawn(read_all)?;
    let batches = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    // The reader asks again at the end.
    Ok(batches.flat_map(stream::iter).fuse().boxed())
}

/// Objects that are handed over together.
#[derive(Default)]
struct LocalBatch {
    objects: Vec<Result<Fetched>>,
    size_bytes: usize,
}

impl LocalBatch {
    fn add(&mut self, fetched: Result<Fetched>) {
        self.size_bytes += fetched.as_ref().map_or(0, |fetched| fetched.whole.as_ref().map_or(0, Bytes::len));
        self.objects.push(fetched);
    }

    fn is_full(&self) -> bool {
        self.objects.len() >= LOCAL_BATCH_OBJECTS || self.size_bytes >= LOCAL_BATCH_BYTES
    }

    fn take(&mut self) -> Vec<Result<Fetched>> {
        std::mem::take(self).objects
    }
}

async fn fetch(options: ReadOptions, file: PartitionedFile) -> Result<Fetched> {
    let range = file.range.as_ref().map_or(0..file.object_meta.size, |range| {
        u64::try_from(range.start).unwrap_or_default()..u64::try_from(range.end).unwrap_or_default()
    });
    let meta = Arc::new(file.object_meta);
    let stored = range.clone();
    let is_whole = range == (0..meta.size);
    let packed = options.compression.is_packed(meta.location.as_ref());
    let whole = if is_whole && (1..=SMALL_OBJECT_BYTES).contains(&meta.size) {
        let bytes = read_whole(options.store.as_ref(), &meta).await;
        Some(bytes.context("object", || options.key(&meta.location))?)
    } else {
        None
    };
    // The size of a compressed object says nothing about its text.
    let range = if packed { 0..u64::MAX } else { range };
    Ok(Fetched { piece: Piece { meta, range, stored }, whole })
}
