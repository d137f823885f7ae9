//! The logs of runs: those of this process are stored while it drives them, and those of all processes are read.
//!
//! Data flow: lines that [`lakewright_engine::RunLogLayer`] collects -> every few seconds one more object below
//! `runs/<run_id>/logs/`, here and by each executor that runs tasks of the run -> [`read_run_logs`].
//!
//! Invariant: logging never fails or holds up a run. A reader who goes on where a page has ended gets each line once, in
//! whatever order processes store their objects.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use lakewright_engine::{CollectedLog, RunLogLayer};
use lakewright_error::Result;
use lakewright_lake::{Prefix, layout, state::list_names};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::{Clock, SystemClock, run::retrying};

/// Time between two objects.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// Objects of one page, and how many are read at once.
const PIECES_MAX: usize = 64;
const READS_MAX: usize = 8;

/// Bytes of a page's lines, beyond which it ends.
const PAGE_BYTES_MAX: usize = 2 << 20;

/// Names of objects that a place in a log remembers: what was stored longer ago than the oldest of them has been read.
const NAMES_MAX: usize = 256;

/// The layer of `tracing` that collects the events of runs.
pub fn run_log_layer() -> RunLogLayer {
    RunLogLayer::new(|| SystemClock.now_us())
}

/// Keeps the log of one run while it is driven.
#[derive(Debug)]
pub(crate) struct KeptLog {
    collected: Arc<CollectedLog>,
    clock: Arc<dyn Clock>,
    storing: JoinSet<()>,
}

impl KeptLog {
    /// Begins to collect the run's events, and to store them.
    pub(crate) fn begin(lake: &Prefix, run_id: &str, clock: &Arc<dyn Clock>) -> Self {
        let collected = Arc::new(CollectedLog::begin(lake, run_id));
        let (log, now) = (Arc::clone(&collected), Arc::clone(clock));
        let mut storing = JoinSet::new();
        storing.spawn(async move {
            loop {
                tokio::time::sleep(STORE_PAUSE).await;
                log.store(now.now_us()).await;
            }
        });
        Self { collected, clock: Arc::clone(clock), storing }
    }

    /// Stores what is left.
    pub(crate) async fn end(mut self) {
        self.storing.shutdown().await;
        self.collected.store(self.clock.now_us()).await;
    }
}

/// Where a reader is: all names up to `floor` have been read, and `later` ones beyond it.
///
/// Several processes store objects of one run, each by its own clock: one may appear before another that is there already.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    floor: String,
    later: BTreeSet<String>,
}

impl Place {
    fn parse(text: &str) -> Self {
        let mut names = text.split(' ').map(str::to_owned);
        Self { floor: names.next().unwrap_or_default(), later: names.collect() }
    }

    fn has_read(&self, name: &str) -> bool {
        name <= self.floor.as_str() || self.later.contains(name)
    }

    fn read(&mut self, name: String) {
        self.later.insert(name);
        while self.later.len() > NAMES_MAX
            && let Some(oldest) = self.later.pop_first()
        {
            self.floor = oldest;
        }
    }

    fn text(&self) -> String {
        let names = std::iter::once(&self.floor).chain(&self.later);
        names.map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// A page of what was logged about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLogPage {
    /// One JSON object each, in the order of their times.
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
    let mut place = Place::parse(after);
    let names = retrying(|| list_names(lake, &folder)).await?;
    let mut names: Vec<String> = names.into_iter().filter(|name| !place.has_read(name)).collect();
    if names.is_empty() {
        return Ok(RunLogPage { lines: Vec::new(), after: after.to_owned(), is_last: true });
    }
    let mut is_last = names.len() <= PIECES_MAX;
    names.truncate(PIECES_MAX);
    let reads = names.into_iter().map(|name| {
        let key = format!("{folder}/{name}");
        async move { retrying(|| lake.read(&key)).await.map(|bytes| (name, bytes.unwrap_or_default())) }
    });
    let mut pieces = stream::iter(reads.collect::<Vec<_>>()).buffered(READS_MAX);
    let (mut lines, mut bytes_read) = (Vec::new(), 0);
    while let Some((name, bytes)) = pieces.try_next().await? {
        bytes_read += bytes.len();
        lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
        place.read(name);
        if bytes_read > PAGE_BYTES_MAX {
            is_last = false;
            break;
        }
    }
    lines.sort_by_cached_key(|line| time_of(line));
    Ok(RunLogPage { lines, after: place.text(), is_last })
}

/// When a line was logged: texts of one form, which sort as times do.
fn time_of(line: &str) -> String {
    #[derive(Deserialize)]
    struct Line {
        time: String,
    }
    serde_json::from_str(line).map_or_else(|_| String::new(), |Line { time }| time)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
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
        let _here = tracing::subscriber::set_default(tracing_subscriber::registry().with(run_log_layer()));
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
        assert_eq!(read_run_logs(&lake, "r3", "").await.unwrap().lines.len(), 0);
    }

    #[tokio::test]
    async fn lines_beyond_the_limit_are_counted() {
        /// As the collector has it.
        const LINES_MAX: usize = 5_000;
        let (lake, clock): (_, Arc<dyn Clock>) = (lake(), Arc::new(SystemClock));
        let _here = tracing::subscriber::set_default(tracing_subscriber::registry().with(run_log_layer()));
        let log = KeptLog::begin(&lake, "many", &clock);
        for number in 0..LINES_MAX + 7 {
            tracing::info!(run_id = "many", number, "line");
        }
        log.end().await;
        let page = read_run_logs(&lake, "many", "").await.unwrap();
        assert_eq!(page.lines.len(), LINES_MAX + 1);
        assert!(page.lines[LINES_MAX].contains("\"lines\":7"), "{}", page.lines[LINES_MAX]);
    }

    #[tokio::test]
    async fn lines_of_several_processes_come_once_each_in_the_order_of_their_times() {
        let lake = lake();
        let store = async |stored_us: u64, times: &[u32]| {
            let lines: Vec<String> = times.iter().map(|time| format!("{{\"time\":\"{time:02}\"}}\n")).collect();
            let key = layout::log_piece("r", stored_us, &stored_us.to_string());
            lake.create(&key, lines.concat().into()).await.unwrap();
        };
        let told = |page: &RunLogPage| page.lines.iter().map(|line| time_of(line)).collect::<Vec<_>>();
        store(100, &[1, 4]).await;
        store(200, &[2, 3]).await;
        let first = read_run_logs(&lake, "r", "").await.unwrap();
        assert_eq!(told(&first), ["01", "02", "03", "04"]);
        // Stored by a clock that is behind.
        store(50, &[5]).await;
        store(300, &[6]).await;
        let second = read_run_logs(&lake, "r", &first.after).await.unwrap();
        assert_eq!(told(&second), ["05", "06"]);
        assert_eq!(told(&read_run_logs(&lake, "r", &second.after).await.unwrap()), [""; 0]);
    }

    #[test]
    fn a_place_in_a_log_is_bounded() {
        let mut place = Place::default();
        for number in 0..NAMES_MAX + 10 {
            place.read(format!("{number:04}"));
        }
        assert_eq!((place.floor.as_str(), place.later.len()), ("0009", NAMES_MAX));
        assert_eq!(Place::parse(&place.text()), place);
        assert!(place.has_read("0003") && place.has_read("0100") && !place.has_read("0999"));
    }
}
