//! Decodes the objects of one partition into record batches.
//!
//! One decoder goes over all objects, so that many tiny objects become one batch. Small objects are fetched ahead.

use std::{io, ops::Range, sync::Arc};

use bytes::{Buf, Bytes};
use datafusion::{
    arrow::array::RecordBatch,
    common::{DataFusionError, Result as PlanResult, runtime::SpawnedTask},
    datasource::listing::PartitionedFile,
    execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation},
    physical_plan::metrics::Count,
};
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use lakewright_error::{Error, ErrorKind, Result, ResultExt};
use lakewright_json::{Decoder, Layout, Stop};
use lakewright_lake::{Prefix, state::RangeReport};
use object_store::{ObjectMeta, ObjectStore, path::Path};

use super::{
    compression::Compression,
    fault::bad_record,
    form::{Form, ReadMode},
    layout::{MultiLine, Opening, is_read_by_ranges},
    metadata::{ObjectFacts, Origins},
    object::{Chunk, LineReader, read_whole},
    packed::PackedReader,
    report::{OpenRange, ScanReports},
};
use crate::fault::into_datafusion;

/// Objects up to this size are fetched whole, ahead of the decoder.
const SMALL_OBJECT_BYTES: u64 = 256 << 10;
/// Small objects of a remote store that a partition asks for ahead of the decoder. The store's own limit says how many of
/// these are in flight; this is a bound on memory, and so many that one partition alone reaches the limit. Fewer if the
/// memory pool has no room for them.
const PREFETCH_OBJECTS: usize = 64;
/// Objects of a local disk that are handed over together, at most; fewer if they have [`LOCAL_BATCH_BYTES`].
const LOCAL_BATCH_OBJECTS: usize = 64;
const LOCAL_BATCH_BYTES: usize = 1 << 20;
/// Batches of local objects that wait per partition: a bound on memory. Fewer if the memory pool has no room for them.
const LOCAL_BATCHES_AHEAD: usize = 8;

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
    pub(super) memory: Arc<dyn MemoryPool>,
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

/// One object, or a byte range of its text.
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) meta: Arc<ObjectMeta>,
    range: Range<u64>,
    /// Of the object's stored bytes.
    stored: Range<u64>,
}

impl Piece {
    /// Whether other tasks have other ranges of the object.
    fn is_cut(&self) -> bool {
        self.stored != (0..self.meta.size)
    }

    /// Makes it the whole object.
    fn widen(&mut self) {
        self.stored = 0..self.meta.size;
        self.range = self.stored.clone();
    }
}

/// The rows of `files`, in order.
pub(super) fn read_objects(
    options: ReadOptions,
    files: Vec<PartitionedFile>,
) -> impl Stream<Item = PlanResult<RecordBatch>> + Send {
    stream::once(async move { Reader::new(options, files) }).flat_map(|reader| {
        let reader = match reader {
            Ok(reader) => reader,
            Err(error) => return stream::once(async move { Err(into_datafusion(error)) }).boxed(),
        };
        stream::try_unfold(
            reader,
            |mut reader| async move { Ok(reader.next_batch().await?.map(|batch| (batch, reader))) },
        )
        .boxed()
    })
}

struct Reader {
    options: ReadOptions,
    decoder: Decoder,
    fetched: BoxStream<'static, Result<Fetched>>,
    current: Option<Current>,
    /// Accounts of ranges whose last rows are in the decoder.
    ended: Vec<RangeReport>,
    /// Where the decoder's rows come from, as far as their objects have ended.
    origins: Origins,
    /// Whether somebody asks for that.
    tells_origins: bool,
    /// Held for what is fetched ahead.
    _ahead: MemoryReservation,
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
    /// Text that the decoder has not taken.
    chunk: Bytes,
    opening: Open,
    account: OpenRange,
    /// What is told of the object to each of its rows, if somebody asks.
    facts: Option<Arc<ObjectFacts>>,
}

/// Whether the decoder knows where it is in an object.
enum Open {
    /// Lines are, from the first chunk on.
    Lines,
    /// The text's beginning tells.
    Undecided(Opening),
    Begun,
}

impl Current {
    /// Takes a chunk of the object, once it is known how its records lie in it.
    fn take(&mut self, decoder: &mut Decoder, chunk: Chunk) {
        match &mut self.opening {
            Open::Lines => {
                decoder.begin(chunk.offset);
                (self.opening, self.chunk) = (Open::Begun, chunk.bytes);
            }
            Open::Undecided(opening) => {
                if let Some((layout, text)) = opening.add(chunk.bytes) {
                    decoder.begin_whole(layout);
                    (self.opening, self.chunk) = (Open::Begun, text);
                }
            }
            Open::Begun => self.chunk = chunk.bytes,
        }
    }
}

impl Reader {
    fn new(options: ReadOptions, files: Vec<PartitionedFile>) -> Result<Self> {
        let decoder = options.form.decoder(options.batch_rows, options.reports.is_some())?;
        let largest = files.iter().map(|file| file.object_meta.size).filter(|size| *size <= SMALL_OBJECT_BYTES).max();
        let largest = usize::try_from(largest.unwrap_or_default()).unwrap_or_default();
        let (fetched, ahead) = if options.raw.is_local() {
            let batch_bytes = (largest * LOCAL_BATCH_OBJECTS).min(LOCAL_BATCH_BYTES + largest);
            let (batches, ahead) = reserve_ahead(&options, batch_bytes, LOCAL_BATCHES_AHEAD);
            let fetched = fetch_local(&options, files, batches).map_err(|error| {
                Error::new(ErrorKind::Exhausted, "cannot start a thread that reads raw objects").with_source(error)
            })?;
            (fetched, ahead)
        } else {
            let (objects, ahead) = reserve_ahead(&options, largest, PREFETCH_OBJECTS);
            (fetch_remote(&options, files, objects), ahead)
        };
        let (current, ended, origins) = (None, Vec::new(), Origins::default());
        let tells_origins = options.form.has_hidden();
        Ok(Self { tells_origins, options, decoder, fetched, current, ended, origins, _ahead: ahead })
    }

    async fn next_batch(&mut self) -> PlanResult<Option<RecordBatch>> {
        loop {
            let is_full = match &self.current {
                Some(_) => self.decode_chunk().await.map_err(into_datafusion)?,
                None => !self.next_object().await.map_err(into_datafusion)?,
            };
            if is_full {
                return self.take_batch();
            }
            if self.current.as_ref().is_some_and(|current| current.chunk.is_empty()) {
                self.next_chunk().await.map_err(into_datafusion)?;
            }
        }
    }

    fn take_batch(&mut self) -> PlanResult<Option<RecordBatch>> {
        self.note_origin();
        let batch = self.decoder.take_batch()?;
        let mut origins = std::mem::take(&mut self.origins);
        origins.lines = self.decoder.take_lines();
        let ended = std::mem::take(&mut self.ended);
        if let Some(reports) = &self.options.reports {
            reports.add(ended).map_err(into_datafusion)?;
        }
        batch.map(|batch| self.options.form.arrange(batch, &origins)).transpose().map_err(DataFusionError::from)
    }

    /// Notes where the decoder's newest rows come from.
    fn note_origin(&mut self) {
        if let Some(facts) = self.current.as_ref().and_then(|current| current.facts.as_ref()) {
            self.origins.add(self.decoder.rows(), facts);
        }
    }

    /// Goes to the next object; false when there is none.
    async fn next_object(&mut self) -> Result<bool> {
        let Some(fetched) = self.fetched.next().await.transpose()? else { return Ok(false) };
        let Fetched { mut piece, whole } = fetched;
        let key = self.options.key(&piece.meta.location);
        self.options.bytes_read.add(whole.as_ref().map_or(0, Bytes::len));
        let packed = self.options.compression.is_packed(piece.meta.location.as_ref());
        let multi_line = self.options.form.multi_line;
        if !packed && piece.is_cut() {
            let store = self.options.store.as_ref();
            if !is_read_by_ranges(store, &piece.meta, multi_line).await.context("object", || &key)? {
                if piece.range.start > 0 {
                    // Who has the beginning reads all of the object, and reports it.
                    return Ok(true);
                }
                piece.widen();
            }
        }
        let (reader, chunk, opening) = match whole {
            Some(bytes) if !packed => {
                self.decoder.begin_whole(multi_line.layout(&bytes, true).unwrap_or(Layout::Lines));
                (None, bytes, Open::Begun)
            }
            whole => {
                let reader = self.options.open(&piece.meta, piece.range.clone(), whole).context("object", || &key)?;
                let are_lines = multi_line == MultiLine::False || (!packed && piece.is_cut());
                let opening = if are_lines { Open::Lines } else { Open::Undecided(Opening::new(multi_line)) };
                (Some(reader), Bytes::new(), opening)
            }
        };
        let facts = self.tells_origins.then(|| {
            let modified_us = piece.meta.last_modified.timestamp_micros();
            Arc::new(ObjectFacts { key: key.clone(), size_bytes: piece.meta.size, modified_us })
        });
        let account = OpenRange::new(key, piece.stored.clone());
        self.current = Some(Current { piece, reader, chunk, opening, account, facts });
        Ok(true)
    }

    /// Takes the next chunk of the object, or ends it.
    async fn next_chunk(&mut self) -> Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if let Some(reader) = &mut current.reader {
            let chunk = reader.next_chunk(self.options.store.as_ref()).await;
            if let Some(chunk) = chunk.context("object", || self.options.key(&current.piece.meta.location))? {
                self.options.bytes_read.add(chunk.fetched_bytes);
                current.take(&mut self.decoder, chunk);
                return Ok(());
            }
        }
        if let Open::Undecided(opening) = &mut current.opening
            && let Some((layout, text)) = opening.end()
        {
            self.decoder.begin_whole(layout);
            (current.opening, current.chunk) = (Open::Begun, text);
            return Ok(());
        }
        if matches!(current.opening, Open::Begun) {
            // The last line may lack its newline; nothing of it may reach the next object.
            self.decoder.end();
        }
        self.take_faults().await?;
        self.note_origin();
        let report = self.decoder.take_report();
        let ended = self.current.take().map(|current| current.account.close(&self.options.form, report));
        self.ended.extend(ended.filter(|_| self.options.reports.is_some()));
        Ok(())
    }

    /// Decodes what there is of the chunk; true when a batch is to be taken.
    async fn decode_chunk(&mut self) -> Result<bool> {
        let Some(current) = &mut self.current else { return Ok(false) };
        let step = self.decoder.decode(&current.chunk);
        current.chunk.advance(step.taken);
        self.take_faults().await?;
        Ok(step.stop == Stop::BatchFull)
    }

    /// Does with records that are no rows what the mode says.
    async fn take_faults(&mut self) -> Result<()> {
        if !self.decoder.has_faults() {
            return Ok(());
        }
        let mut faults = self.decoder.take_faults();
        let Some(current) = &mut self.current else { return Ok(()) };
        match self.options.form.mode {
            ReadMode::FailFast if !faults.is_empty() => {
                Err(bad_record(&self.options, &current.piece, faults.swap_remove(0)).await)
            }
            ReadMode::Permissive if self.options.reports.is_some() && !self.options.form.keeps_malformed() => {
                current.account.reject(faults)
            }
            _ => Ok(()),
        }
    }
}

/// Reserves memory for up to `most` things of `unit_bytes` that wait. Returns for how many there is room: at least one,
/// without which nothing could be read.
fn reserve_ahead(options: &ReadOptions, unit_bytes: usize, most: usize) -> (usize, MemoryReservation) {
    let reservation = MemoryConsumer::new("raw objects fetched ahead").register(&options.memory);
    let mut count = most;
    while count > 1 && reservation.try_grow(count * unit_bytes).is_err() {
        count /= 2;
    }
    (count.max(1), reservation)
}

/// Fetches objects with up to `ahead` requests in flight.
fn fetch_remote(
    options: &ReadOptions,
    files: Vec<PartitionedFile>,
    ahead: usize,
) -> BoxStream<'static, Result<Fetched>> {
    let options = options.clone();
    let fetch_apart = move |file| {
        // A task of its own goes on while this one decodes; it ends when nobody waits for it.
        let fetched = SpawnedTask::spawn(fetch(options.clone(), file));
        async move {
            fetched.await.unwrap_or_else(|source| {
                Err(Error::new(ErrorKind::Internal, "fetching a raw object broke off").with_source(source))
            })
        }
    };
    stream::iter(files).map(fetch_apart).buffered(ahead).boxed()
}

/// Fetches objects of a local disk on a thread of their own, up to `ahead` batches of them before they are asked for.
///
/// Outside of a runtime the local store answers in place. Inside of one it hands each request to another thread, and
/// waking that costs more than reading a tiny object. The thread ends with the objects, or when nobody takes them.
fn fetch_local(
    options: &ReadOptions,
    files: Vec<PartitionedFile>,
    ahead: usize,
) -> io::Result<BoxStream<'static, Result<Fetched>>> {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Vec<Result<Fetched>>>(ahead);
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
