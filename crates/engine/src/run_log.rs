//! What a process logs about runs, collected while it works on them: one JSON object a line, each with its run and, where
//! it is about one, its step.
//!
//! Data flow: an event of `tracing` inside the span of a run -> [`RunLogLayer`] -> the lines of that run ->
//! [`CollectedLog::store`] -> one more object below `runs/<run_id>/logs/`.
//!
//! Invariant: logging never fails or holds up a run. Lines beyond a limit are counted instead of kept, and an object that
//! cannot be stored is lost with its lines.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use lakewright_lake::{Prefix, layout};
use serde_json::{Map, Value};
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

/// Lines of one run between two objects.
const LINES_MAX: usize = 5_000;

/// Lines of one run that one process keeps for as long as it works on it without a pause.
const LINES_OF_RUN_MAX: usize = 50_000;

/// Text of one field, in bytes.
const FIELD_BYTES_MAX: usize = 2 << 10;

/// Fields of a span that each line inside it has too: they say who works on which part of a step.
const SPAN_FIELDS: [&str; 3] = ["executor", "stage", "task"];

/// The lines of runs that this process works on.
static OPEN: Mutex<BTreeMap<String, Lines>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    /// Lines that were kept since the first of those who collect began.
    kept: usize,
    left_out: u64,
    /// Those who collect.
    collectors: usize,
}

fn open() -> MutexGuard<'static, BTreeMap<String, Lines>> {
    // A panic between two lines leaves lists that are whole.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects the events of runs that this process works on.
#[derive(Clone, Copy, Debug)]
pub struct RunLogLayer {
    /// Microseconds since 1970-01-01T00:00:00Z.
    now_us: fn() -> i64,
}

impl RunLogLayer {
    /// A layer whose lines have the times of this clock, in microseconds since 1970-01-01T00:00:00Z.
    pub fn new(now_us: fn() -> i64) -> Self {
        Self { now_us }
    }
}

/// What a span is about.
#[derive(Debug, Default)]
struct About {
    run_id: Option<String>,
    step: Option<String>,
    fields: BTreeMap<&'static str, Value>,
}

impl About {
    fn of(fields: &mut Fields) -> Self {
        let kept = SPAN_FIELDS.into_iter().filter_map(|name| Some((name, fields.0.remove(name)?)));
        Self { fields: kept.collect(), run_id: fields.text("run_id"), step: fields.text("step") }
    }

    fn is_empty(&self) -> bool {
        self.run_id.is_none() && self.step.is_none() && self.fields.is_empty()
    }

    /// Takes from a span what is not known yet: the innermost span counts.
    fn fill<S: for<'a> LookupSpan<'a>>(&mut self, span: &SpanRef<'_, S>) {
        if let Some(outer) = span.extensions().get::<Self>() {
            self.run_id = self.run_id.take().or_else(|| outer.run_id.clone());
            self.step = self.step.take().or_else(|| outer.step.clone());
            for (name, value) in &outer.fields {
                self.fields.entry(*name).or_insert_with(|| value.clone());
            }
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for RunLogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let about = About::of(&mut fields);
        if !about.is_empty()
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(about);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut about = About::of(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            about.fill(&span);
        }
        let Some(run_id) = about.run_id.take() else { return };
        let mut open = open();
        let Some(lines) = open.get_mut(&run_id) else { return };
        if lines.lines.len() >= LINES_MAX || lines.kept >= LINES_OF_RUN_MAX {
            lines.left_out += 1;
            return;
        }
        let metadata = event.metadata();
        let message = fields.0.remove("message").unwrap_or_default();
        let mut line = head((self.now_us)(), metadata.level().as_str(), message, &run_id);
        if let Some(step) = about.step {
            line.insert("step".to_owned(), step.into());
        }
        line.insert("target".to_owned(), metadata.target().into());
        let of_span = about.fields.into_iter().map(|(name, value)| (name.to_owned(), value));
        for (name, value) in of_span.chain(fields.0) {
            line.entry(name).or_insert(value);
        }
        lines.kept += 1;
        lines.lines.push(Value::Object(line).to_string());
    }
}

/// What every line begins with.
fn head(now_us: i64, level: &str, message: Value, run_id: &str) -> Map<String, Value> {
    let time = DateTime::from_timestamp_micros(now_us).unwrap_or_default();
    let time = time.to_rfc3339_opts(SecondsFormat::Micros, true);
    let head = [("time", time.into()), ("level", level.into()), ("message", message), ("run_id", run_id.into())];
    head.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
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

/// Has the events of one run collected, for as long as this lives.
#[derive(Debug)]
pub struct CollectedLog {
    lake: Prefix,
    run_id: String,
}

impl CollectedLog {
    /// Begins to collect the run's events, for this lake.
    pub fn begin(lake: &Prefix, run_id: &str) -> Self {
        open().entry(run_id.to_owned()).or_default().collectors += 1;
        Self { lake: lake.clone(), run_id: run_id.to_owned() }
    }

    /// Whether all that was collected has been stored, or lost.
    pub fn is_empty(&self) -> bool {
        open().get(&self.run_id).is_none_or(|lines| lines.lines.is_empty())
    }

    /// Stores what was collected since the last time as one object; nothing if nothing was.
    ///
    /// # Cancel safety
    /// Dropping the future may lose the lines.
    pub async fn store(&self, now_us: i64) {
        let (mut lines, left_out) = match open().get_mut(&self.run_id) {
            Some(kept) => (std::mem::take(&mut kept.lines), std::mem::take(&mut kept.left_out)),
            None => return,
        };
        if lines.is_empty() && left_out == 0 {
            return;
        }
        let count = lines.len();
        if left_out > 0 {
            let mut line = head(now_us, "WARN", "lines left out".into(), &self.run_id);
            line.insert("lines".to_owned(), left_out.into());
            lines.push(Value::Object(line).to_string());
        }
        let text = lines.join("\n") + "\n";
        let key = layout::log_piece(&self.run_id, u64::try_from(now_us).unwrap_or(0), &Uuid::new_v4().to_string());
        if let Err(error) = self.lake.create(&key, Bytes::from(text)).await {
            tracing::debug!(%error, lines = count, "log lost");
        }
    }
}

impl Drop for CollectedLog {
    fn drop(&mut self) {
        let mut open = open();
        if let Some(lines) = open.get_mut(&self.run_id) {
            lines.collectors -= 1;
            if lines.collectors == 0 {
                open.remove(&self.run_id);
            }
        }
    }
}
