//! A store in memory on which operations go wrong: the process dies before or after one, hangs in it, its answer is lost,
//! or the store refuses it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};
use tokio_util::sync::CancellationToken;

/// What goes wrong with one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    CrashBefore,
    CrashAfter,
    /// It is applied, and an error is the answer.
    AnswerLost,
    /// 409: somebody else creates the same name at this moment. Nothing is applied.
    Conflicting,
    /// 412, the answer to a client that has asked again because its first answer was lost: it is applied.
    Precondition,
    /// 503 for so many operations from this one on. Nothing is applied.
    Busy(usize),
    /// No answer: the process stands still, with all of its operations, until it is released.
    Hang,
}

/// Operations of one process on a store, of which some, by their numbers, go wrong.
#[derive(Clone, Debug)]
pub(super) struct FaultyStore {
    inner: Arc<InMemory>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    faults: BTreeMap<usize, Fault>,
    operations: AtomicUsize,
    busy_until: AtomicUsize,
    crashed: CancellationToken,
    hanging: CancellationToken,
    released: CancellationToken,
    /// The operations that went wrong.
    hits: Mutex<Vec<String>>,
    /// Whether the store tells every creator that it was the first: a planted mistake.
    flatters: bool,
}

/// What becomes of one operation.
enum Turn {
    Fine,
    Crash,
    LoseAnswer,
    /// It is applied, and said to have been there before.
    Precondition,
}

impl FaultyStore {
    pub(super) fn new(inner: Arc<InMemory>, faults: &[(usize, Fault)], flatters: bool) -> Self {
        let shared = Shared {
            faults: faults.iter().copied().collect(),
            operations: AtomicUsize::new(0),
            busy_until: AtomicUsize::new(0),
            crashed: CancellationToken::new(),
            hanging: CancellationToken::new(),
            released: CancellationToken::new(),
            hits: Mutex::new(Vec::new()),
            flatters,
        };
        Self { inner, shared: Arc::new(shared) }
    }

    /// Fires when the process has died.
    pub(super) fn crashed(&self) -> CancellationToken {
        self.shared.crashed.clone()
    }

    /// Fires when the process stands still.
    pub(super) fn hanging(&self) -> CancellationToken {
        self.shared.hanging.clone()
    }

    /// Lets a process go on that stands still.
    pub(super) fn release(&self) {
        self.shared.released.cancel();
    }

    /// The operations that went wrong, if some did.
    pub(super) fn hit(&self) -> Option<String> {
        let hits = self.shared.hits.lock().unwrap();
        (!hits.is_empty()).then(|| hits.join(", "))
    }

    /// How many operations there were.
    pub(super) fn operations(&self) -> usize {
        self.shared.operations.load(Ordering::SeqCst)
    }

    /// Lets an operation begin, and says how it ends. `creates` tells that it makes an object that must not be there.
    ///
    /// After the process has died its operations do nothing. They end all the same, for threads of the process that is
    /// made believe to have died wait for them.
    async fn turn(&self, operation: String, creates: bool) -> Result<Turn> {
        let shared = &self.shared;
        if shared.crashed.is_cancelled() {
            return Err(lost());
        }
        let number = shared.operations.fetch_add(1, Ordering::SeqCst);
        let fault = shared.faults.get(&number).copied();
        if let Some(fault) = fault {
            shared.hits.lock().unwrap().push(format!("{fault:?} at {number}, {operation}"));
        }
        if fault == Some(Fault::Hang) {
            shared.hanging.cancel();
        }
        if shared.hanging.is_cancelled() {
            shared.released.cancelled().await;
        }
        if number < shared.busy_until.load(Ordering::SeqCst) {
            return Err(lost());
        }
        match fault {
            None | Some(Fault::Hang) => Ok(Turn::Fine),
            Some(Fault::CrashBefore) => {
                shared.crashed.cancel();
                Err(lost())
            }
            Some(Fault::CrashAfter) => Ok(Turn::Crash),
            Some(Fault::AnswerLost) => Ok(Turn::LoseAnswer),
            Some(Fault::Precondition) if creates => Ok(Turn::Precondition),
            Some(Fault::Conflicting) if creates => Err(there_already(&operation)),
            Some(Fault::Conflicting | Fault::Precondition) => Err(lost()),
            Some(Fault::Busy(operations)) => {
                shared.busy_until.store(number + operations, Ordering::SeqCst);
                Err(lost())
            }
        }
    }

    fn end<T>(&self, turn: Turn, answer: Result<T>) -> Result<T> {
        match turn {
            Turn::Fine => answer,
            Turn::Crash => {
                self.shared.crashed.cancel();
                Err(lost())
            }
            Turn::LoseAnswer => Err(lost()),
            Turn::Precondition => Err(there_already("put")),
        }
    }
}

fn there_already(path: &str) -> Error {
    Error::AlreadyExists { path: path.to_owned(), source: "the object is there".into() }
}

fn lost() -> Error {
    Error::Generic { store: "faulty", source: "the answer was lost".into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let creates = matches!(options.mode, PutMode::Create);
        let turn = self.turn(format!("put {location}"), creates).await?;
        let answer = self.inner.put_opts(location, payload, options).await;
        match self.end(turn, answer) {
            Err(Error::AlreadyExists { .. }) if self.shared.flatters => Ok(PutResult { e_tag: None, version: None }),
            answer => answer,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let turn = self.turn(format!("get {location}"), false).await?;
        let answer = self.inner.get_opts(location, options).await;
        self.end(turn, answer)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    let turn = store.turn(format!("delete {location}"), false).await?;
                    let one = stream::once(async { Ok(location) }).boxed();
                    let answer = store.inner.delete_stream(one).try_next().await;
                    let deleted = answer.and_then(|path| path.ok_or_else(lost));
                    store.end(turn, deleted)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        stream::once(async move {
            let turn = store.turn(format!("list {prefix:?}"), false).await?;
            let answer = store.inner.list(prefix.as_ref()).try_collect::<Vec<_>>().await;
            store.end(turn, answer)
        })
        .map_ok(|metas| stream::iter(metas.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let turn = self.turn(format!("list {prefix:?}"), false).await?;
        let answer = self.inner.list_with_delimiter(prefix).await;
        self.end(turn, answer)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
