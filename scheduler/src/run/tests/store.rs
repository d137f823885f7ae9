//! A store in memory on which one operation goes wrong: the process dies before or after it, or its answer is lost.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};
use tokio_util::sync::CancellationToken;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    CrashBefore,
    CrashAfter,
    AnswerLost,
}

/// Operations of one process on a store, of which one, by its number, goes wrong.
#[derive(Clone, Debug)]
pub(super) struct FaultyStore {
    inner: Arc<InMemory>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    fault: Option<(usize, Fault)>,
    operations: AtomicUsize,
    crashed: CancellationToken,
    /// The operation that went wrong.
    hit: Mutex<Option<String>>,
}

/// What becomes of one operation.
enum Turn {
    Fine,
    Crash,
    LoseAnswer,
}

impl FaultyStore {
    pub(super) fn new(inner: Arc<InMemory>, fault: Option<(usize, Fault)>) -> Self {
        let shared =
            Shared { fault, operations: AtomicUsize::new(0), crashed: CancellationToken::new(), hit: Mutex::new(None) };
        Self { inner, shared: Arc::new(shared) }
    }

    /// Fires when the process has died.
    pub(super) fn crashed(&self) -> CancellationToken {
        self.shared.crashed.clone()
    }

    /// The operation that went wrong, if one did.
    pub(super) fn hit(&self) -> Option<String> {
        self.shared.hit.lock().unwrap().clone()
    }

    /// Lets an operation begin, and says how it ends.
    ///
    /// After the process has died its operations do nothing. They end all the same, for threads of the process that is
    /// made believe to have died wait for them.
    fn turn(&self, operation: impl FnOnce() -> String) -> Result<Turn> {
        if self.shared.crashed.is_cancelled() {
            return Err(lost());
        }
        let number = self.shared.operations.fetch_add(1, Ordering::SeqCst);
        let Some((_, fault)) = self.shared.fault.filter(|(at, _)| *at == number) else { return Ok(Turn::Fine) };
        *self.shared.hit.lock().unwrap() = Some(operation());
        match fault {
            Fault::CrashBefore => {
                self.shared.crashed.cancel();
                Err(lost())
            }
            Fault::CrashAfter => Ok(Turn::Crash),
            Fault::AnswerLost => Ok(Turn::LoseAnswer),
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
        }
    }
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
        let turn = self.turn(|| format!("put {location}"))?;
        let answer = self.inner.put_opts(location, payload, options).await;
        self.end(turn, answer)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let turn = self.turn(|| format!("get {location}"))?;
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
                    let turn = store.turn(|| format!("delete {location}"))?;
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
            let turn = store.turn(|| format!("list {prefix:?}"))?;
            let answer = store.inner.list(prefix.as_ref()).try_collect::<Vec<_>>().await;
            store.end(turn, answer)
        })
        .map_ok(|metas| stream::iter(metas.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let turn = self.turn(|| format!("list {prefix:?}"))?;
        let answer = self.inner.list_with_delimiter(prefix).await;
        self.end(turn, answer)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
