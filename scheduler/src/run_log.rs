//! What is logged about a run, kept with its state: one JSON object a line, each with its run and, where it is about one,
//! its step.
//!
//! Data flow: an event of `tracing` inside the span of a run -> [`RunLogLayer`] -> the lines of that run -> every few
//! seconds one more object below `runs/<run_id>/logs/` -> [`read_run_logs`].
//!
//! Invariant: logging never fails or holds up a run. Lines beyond a limit are counted instead of kept, and an object that
//! cannot be stored is lost with its lines.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use futures::{StreamExt, TryStreamExt, stream};
use lakewright_error::Result;
use lakewright_lake::{Prefix, layout, state::list_names};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};
use uuid::Uuid;

use crate::{
    Clock, SystemClock,
    run::{chain, retrying},
};

/// Lines of one run between two objects.
const LINES_MAX: usize = 5_000;

/// Text of one field, in bytes.
const FIELD_BYTES_MAX: usize = 2 << 10;

/// Time between two objects.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// Objects of one page, and how many are read at once.
const PIECES_MAX: usize = 64;
const READS_MAX: usize = 8;

/// Bytes of a page's lines, beyond which it ends.
const PAGE_BYTES_MAX: usize = 2 << 20;

/// The lines of runs that this process drives.
static OPEN: Mutex<BTreeMap<String, Lines>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    left_out: u64,
    /// Drivers of the run in this process.
    drivers: usize,
}

fn open() -> MutexGuard<'static, BTreeMap<String, Lines>> {
    // A panic between two lines leaves lists that are whole.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects the events of runs that this process drives.
#[derive(Clone, Debug)]
pub struct RunLogLayer {
    clock: Arc<dyn Clock>,
}

impl Default for RunLogLayer {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock) }
    }
}

/// Which run and step a span is about.
#[derive(Debug, Default)]
struct About {
    run_id: Option<String>,
    step: Option<String>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for RunLogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let about = About { run_id: fields.text("run_id"), step: fields.text("step") };
        if (about.run_id.is_some() || about.step.is_some())
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(about);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut about = About { run_id: fields.text("run_id"), step: fields.text("step") };
        for span in context.event_scope(event).into_iter().flatten() {
            fill(&mut about, &span);
        }
        let Some(run_id) = about.run_id else { return };
        let mut open = open();
        let Some(kept) = open.get_mut(&run_id) else { return };
        if kept.lines.len() >= LINES_MAX {
            kept.left_out += 1;
            return;
        }
        let metadata = event.metadata();
        let mut line = Map::new();
        line.insert("time".to_owned(), self.time().into());
        line.insert("level".to_owned(), metadata.level().as_str().into());
        line.insert("message".to_owned(), fields.0.remove("message").unwrap_or_default());
        line.insert("run_id".to_owned(), run_id.into());
        if let Some(step) = about.step {
            line.insert("step".to_owned(), step.into());
        }
        line.insert("target".to_owned(), metadata.target().into());
        for (name, value) in fields.0 {
            line.entry(name).or_insert(value);
        }
        kept.lines.push(Value::Object(line).to_string());
    }
}

impl RunLogLayer {
    fn time(&self) -> String {
        let time = DateTime::from_timestamp_micros(self.clock.now_us()).unwrap_or_default();
        time.to_rfc3339_opts(SecondsFormat::Micros, true)
    }
}

/// Takes from a span what is not known yet: the innermost span counts.
fn fill<S: for<'a> LookupSpan<'a>>(about: &mut About, span: &SpanRef<'_, S>) {
    if let Some(outer) = span.extensions().get::<About>() {
        about.run_id = about.run_id.take().or_else(|| outer.run_id.clone());
        about.step = about.step.take().or_else(|| outer.step.clone());
    }
}

#[derive(Debug, Default)]
struct Fields(BTreeMap<String, Value>);

impl Fields {
    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, cut(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value.to_owned()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

fn cut(mut text: String) -> String {
    if text.len() > FIELD_BYTES_MAX {
        let end = (0..=FIELD_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// Keeps the log of one run while it is driven.
#[derive(Debug)]
pub(crate) struct KeptLog {
    lake: Prefix,
    run_id: String,
    clock: Arc<dyn Clock>,
    storing: JoinSet<()>,
}

impl KeptLog {
    /// Begins to collect the run's events, and to store them.
    pub(crate) fn begin(lake: &Prefix, run_id: &str, clock: &Arc<dyn Clock>) -> Self {
        open().entry(run_id.to_owned()).or_default().drivers += 1;
        let (to, id, now) = (lake.clone(), run_id.to_owned(), Arc::clone(clock));
        let mut storing = JoinSet::new();
        storing.spawn(async move {
            loop {
                tokio::time::sleep(STORE_PAUSE).await;
                store(&to, &id, now.as_ref()).await;
            }
        });
        Self { lake: lake.clone(), run_id: run_id.to_owned(), clock: Arc::clone(clock), storing }
    }

    /// Stores what is left.
    pub(crate) async fn end(mut self) {
        self.storing.shutdown().await;
        store(&self.lake, &self.run_id, self.clock.as_ref()).await;
    }
}

impl Drop for KeptLog {
    fn drop(&mut self) {
        let mut open = open();
        if let Some(lines) = open.get_mut(&self.run_id) {
            lines.drivers -= 1;
            if lines.drivers == 0 {
                open.remove(&self.run_id);
            }
        }
    }
}

async fn store(lake: &Prefix, run_id: &str, clock: &dyn Clock) {
    let (lines, left_out) = match open().get_mut(run_id) {
        Some(kept) => (std::mem::take(&mut kept.lines), std::mem::take(&mut kept.left_out)),
        None => return,
    };
    if lines.is_empty() {
        return;
    }
    let mut text = lines.join("\n");
    if left_out > 0 {
        text.push_str(&format!("\n{{\"level\":\"WARN\",\"message\":\"lines left out\",\"lines\":{left_out}}}"));
    }
    text.push('\n');
    let stored_us = u64::try_from(clock.now_us()).unwrap_or(0);
    let (key, bytes) = (layout::log_piece(run_id, stored_us, &Uuid::new_v4().to_string()), Bytes::from(text));
    if let Err(error) = retrying(|| lake.create(&key, bytes.clone())).await {
        tracing::debug!(error = chain(&error), lines = lines.len(), "log lost");
    }
}

/// A page of what was logged about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLogPage {
    /// One JSON object each, as they came.
    pub lines: Vec<String>,
    /// Where the next page begins.
    pub after: String,
    /// Whether there is no more at this moment.
    pub is_last: bool,
}

/// Reads what was logged about a run after the page that ended at `after`; from the beginning if it is empty.
///
/// # Errors
/// - [`ErrorKind::Unavailable`](lakewright_error::ErrorKind::Unavailable),
///   [`ErrorKind::Denied`](lakewright_error::ErrorKind::Denied): the store did not answer, or refused.
pub async fn read_run_logs(lake: &Prefix, run_id: &str, after: &str) -> Result<RunLogPage> {
    let folder = layout::logs_dir(run_id);
    let names = retrying(|| list_names(lake, &folder)).await?;
    let mut names: Vec<String> = names.into_iter().filter(|name| name.as_str() > after).collect();
    let mut page = RunLogPage { lines: Vec::new(), after: after.to_owned(), is_last: names.len() <= PIECES_MAX };
    names.truncate(PIECES_MAX);
    let reads = names.into_iter().map(|name| {
        let key = format!("{folder}/{name}");
        async move { retrying(|| lake.read(&key)).await.map(|bytes| (name, bytes.unwrap_or_default())) }
    });
    let mut pieces = stream::iter(reads.collect::<Vec<_>>()).buffered(READS_MAX);
    let mut bytes_read = 0;
    while let Some((name, bytes)) = pieces.try_next().await? {
        bytes_read += bytes.len();
        page.lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
        page.after = name;
        if bytes_read > PAGE_BYTES_MAX {
            page.is_last = false;
            break;
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use tracing::Instrument;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn lake() -> Prefix {
        let store = Arc::new(object_store::memory::InMemory::new());
        Prefix::new(store, url::Url::parse("memory:///").unwrap(), "lake".into())
    }

    #[tokio::test]
    async fn each_line_has_its_run_and_its_step_and_other_runs_have_their_own() {
        let (lake, clock): (_, Arc<dyn Clock>) = (lake(), Arc::new(SystemClock));
        let _here = tracing::subscriber::set_default(tracing_subscriber::registry().with(RunLogLayer::default()));
        let (first, second) = (KeptLog::begin(&lake, "r1", &clock), KeptLog::begin(&lake, "r2", &clock));
        let run = tracing::info_span!("run", run_id = "r1", job = "j");
        let step = tracing::info_span!(parent: &run, "step", step = %"z.t", attempt = 1);
        async { tracing::info!(rows = 3, path = "a\"b", "step written") }.instrument(step).await;
        run.in_scope(|| tracing::warn!("run stopped"));
        tracing::info!(run_id = "r2", "run accepted");
        tracing::info!(run_id = "r3", "of a run that is driven elsewhere");
        first.end().await;
        second.end().await;

        let page = read_run_logs(&lake, "r1", "").await.unwrap();
        let lines: Vec<Value> = page.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(
            (&lines[0]["step"], &lines[0]["run_id"], &lines[0]["rows"]),
            (&"z.t".into(), &"r1".into(), &3.into())
        );
        assert_eq!((&lines[0]["message"], &lines[0]["path"]), (&"step written".into(), &"a\"b".into()));
        assert_eq!((&lines[1]["level"], lines[1].get("step")), (&"WARN".into(), None));
        assert_eq!(read_run_logs(&lake, "r1", &page.after).await.unwrap().lines, Vec::<String>::new());
        assert_eq!(read_run_logs(&lake, "r2", "").await.unwrap().lines.len(), 1);
        assert!(open().is_empty() || !open().contains_key("r3"));
    }

    #[tokio::test]
    async fn lines_beyond_the_limit_are_counted() {
        let (lake, clock): (_, Arc<dyn Clock>) = (lake(), Arc::new(SystemClock));
        let _here = tracing::subscriber::set_default(tracing_subscriber::registry().with(RunLogLayer::default()));
        let log = KeptLog::begin(&lake, "many", &clock);
        for number in 0..LINES_MAX + 7 {
            tracing::info!(run_id = "many", number, "line");
        }
        log.end().await;
        let page = read_run_logs(&lake, "many", "").await.unwrap();
        assert_eq!(page.lines.len(), LINES_MAX + 1);
        assert!(page.lines[LINES_MAX].contains("\"lines\":7"), "{}", page.lines[LINES_MAX]);
    }
}
