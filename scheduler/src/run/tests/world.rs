//! A job of every kind over a store in memory, with a backend that makes up files instead of rows.
//!
//! A raw object of n bytes holds n rows, and a step writes one row for every row that it reads. So what a table must
//! hold is known without running any SQL.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use bytes::Bytes;
use lakewright_compiler::{
    Checks, Demand, Diagnostics, Job, JobFolder, JsonMode, Model, ModelKind, OnDelete, Query, Side, Source,
    SourceCompression, SourceMultiLine, SourceOptions, TableCheck, TableName,
};
use lakewright_engine::{RawScan, Relation, StepProgress};
use lakewright_error::Result;
use lakewright_lake::{
    DataFile, Prefix, layout, read_snapshot,
    state::{Drift, JobSlot, RangeReport, Tally, newest_release, read_object},
};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, memory::InMemory, path::Path};
use url::Url;
use uuid::Uuid;

use super::{
    super::{earlier::unfinished_before, heartbeat::Observer, race::retrying},
    store::{Fault, FaultyStore},
};
use crate::{
    Backend, Clock, QueryTask, RewriteTask, RunOptions, RunRequest, StepOutput, StepTask,
    run::Scheduler,
    run::site::{Pace, Site},
};

/// A time that stands still.
#[derive(Debug)]
pub(super) struct Noon;

impl Clock for Noon {
    fn now_us(&self) -> i64 {
        1_542_110_400_000_000
    }
}

/// A backend that writes tiny files with the right counts.
#[derive(Debug)]
pub(super) struct FakeBackend {
    store: Arc<dyn ObjectStore>,
    /// Steps executed, in order.
    pub(super) executed: Mutex<Vec<String>>,
    /// Steps that fail.
    pub(super) failing: Mutex<BTreeSet<String>>,
    /// Rows that violate every check of a table.
    pub(super) violations: Mutex<i64>,
    /// Whether two attempts at a file have the same name: a planted mistake.
    reuses_names: bool,
    /// Makes files of two attempts differ in size, where names are reused.
    seed: AtomicUsize,
}

/// A mistake that is planted, to see that the tests find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// Who has lost the race to create an object believes that it has won.
    BelievesEveryCreate,
    /// Attempts write their files under names that other attempts have, too.
    ReusesFileNames,
}

#[async_trait]
impl Backend for FakeBackend {
    async fn execute(&self, task: StepTask, progress: &(dyn Fn(StepProgress) + Send + Sync)) -> Result<StepOutput> {
        self.executed.lock().unwrap().push(task.table.to_string());
        if self.failing.lock().unwrap().contains(&task.table.to_string()) {
            return Err(lakewright_error::Error::new(lakewright_error::ErrorKind::Exhausted, "the disk is full"));
        }
        // Of an update by key the fake gives all rows of the inputs: what has changed of them is no input of its own.
        let is_whole = |name: &TableName| name.zone() != "_changes" || name.table().starts_with("all_");
        let inputs = task.inputs.iter().filter(|input| is_whole(&input.name));
        let rows: u64 = inputs.map(|input| rows_of(&input.relation)).sum();
        let values: &[Option<&str>] =
            if task.write.partition_columns.is_empty() { &[None] } else { &[Some("a/b"), Some("c")] };
        let mut files = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let share = if index == 0 { rows - rows / 2 * (values.len() as u64 - 1) } else { rows / 2 };
            let write = &task.write;
            files.push(self.write(&write.root, &write.run_id, &write.partition_columns, *value, share).await?);
        }
        files.sort_by(|left, right| left.path.cmp(&right.path));
        let counts = StepProgress { rows_read: rows, rows_written: rows, ..StepProgress::default() };
        progress(counts);
        Ok(StepOutput { files, progress: counts, ..StepOutput::default() })
    }

    async fn rewrite(&self, task: RewriteTask) -> Result<DataFile> {
        let rows = |file: &DataFile| match task.ranges.get(&file.path) {
            Some(ranges) => ranges.iter().map(|range| range.end - range.start).sum(),
            None => file.row_count,
        };
        let values = &task.files[0].partition_values;
        assert!(task.files.iter().all(|file| file.partition_values == *values), "files of two partition values");
        for file in &task.files {
            let found = retrying(|| task.root.head(&file.path)).await?;
            assert!(found.is_some(), "{} is not there", file.path);
        }
        let value = task.partition_columns.first().and_then(|column| values.get(column).cloned().flatten());
        let count = task.files.iter().map(rows).sum();
        self.write(&task.root, &task.run_id, &task.partition_columns, value.as_deref(), count).await
    }

    /// The count of violations, or as many rows of it; all files of a table of which some are asked for.
    async fn query(&self, task: QueryTask) -> Result<Vec<RecordBatch>> {
        let own = task.inputs.iter().find(|input| input.name.to_string() == "_changes.own");
        if let Some(Relation::Table(scan)) = own.map(|input| &input.relation) {
            let paths: ArrayRef = Arc::new(StringArray::from_iter_values(scan.files.iter().map(|file| &file.path)));
            return Ok(vec![RecordBatch::try_from_iter([("file", paths)]).unwrap()]);
        }
        if task.sql.contains("AS \"least ") {
            // Nothing is known of the keys that have changed: no file is left out for them.
            return Ok(Vec::new());
        }
        let violations: ArrayRef = Arc::new(Int64Array::from(vec![*self.violations.lock().unwrap()]));
        Ok(vec![RecordBatch::try_from_iter([("violations", violations)]).unwrap()])
    }

    /// A row for each byte, and no newline.
    async fn read_raw(&self, scan: RawScan) -> Result<Vec<RangeReport>> {
        let reports = scan.objects.into_iter().map(|object| {
            let (rows, end) = (object.size_bytes, object.size_bytes);
            let tally = Tally { lines: rows, rows, ..Tally::default() };
            RangeReport { object: object.key, start: 0, end, tally, drift: Drift::default(), rejects: Vec::new() }
        });
        Ok(reports.collect())
    }
}

impl FakeBackend {
    async fn write(
        &self,
        root: &Prefix,
        run_id: &str,
        columns: &[String],
        value: Option<&str>,
        row_count: u64,
    ) -> Result<DataFile> {
        let (unique, padding) = match self.reuses_names {
            true => (
                format!("{}-{row_count}", root.root().filename().unwrap_or_default()),
                self.seed.fetch_add(1, Ordering::SeqCst),
            ),
            false => (Uuid::new_v4().to_string(), 0),
        };
        let name = format!("{run_id}-{unique}.parquet");
        let path = match value {
            Some(value) => format!("kind={}/{name}", value.replace('/', "%2F")),
            None => name,
        };
        let at = root.path(&path)?;
        let bytes = Bytes::from([&b"PAR1"[..], &vec![b' '; padding]].concat());
        let size_bytes = bytes.len() as u64;
        // A store's own client asks again when an answer is lost.
        let put = async || {
            let put = self.store.put(&at, PutPayload::from_bytes(bytes.clone())).await;
            put.map_err(|source| lakewright_lake::store_error(source, "cannot write the file", &path))
        };
        retrying(put).await?;
        let partition_values = columns.iter().map(|column| (column.clone(), value.map(str::to_owned))).collect();
        Ok(DataFile { path, size_bytes, row_count, partition_values, bounds: vec![] })
    }
}

fn rows_of(relation: &Relation) -> u64 {
    match relation {
        Relation::Raw(scan) => scan.objects.iter().map(|object| object.size_bytes).sum(),
        Relation::Table(scan) => scan.files.iter().map(|file| file.row_count).sum(),
        Relation::View { .. } => 0,
    }
}

/// One process on the world's store.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) scheduler: Scheduler,
    pub(super) backend: Arc<FakeBackend>,
    pub(super) store: FaultyStore,
}

/// A store with raw objects, and processes that come and go.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    store: Arc<InMemory>,
}

impl World {
    /// A world with two event objects (7 rows) and one song object (5 rows).
    pub(super) async fn new() -> Self {
        let world = Self::default();
        world.put_raw("events/1.json", 3).await;
        world.put_raw("events/2.json", 4).await;
        world.put_raw("songs/1.json", 5).await;
        world
    }

    pub(super) async fn put_raw(&self, key: &str, rows: usize) {
        let path = Path::from(format!("raw/{key}"));
        self.store.put(&path, PutPayload::from(vec![b'x'; rows])).await.unwrap();
    }

    pub(super) async fn delete_raw(&self, key: &str) {
        self.store.delete(&Path::from(format!("raw/{key}"))).await.unwrap();
    }

    /// A world in the same state.
    pub(super) fn fork(&self) -> Self {
        Self { store: Arc::new(self.store.fork()) }
    }

    /// The same world.
    pub(super) fn share(&self) -> Self {
        Self { store: Arc::clone(&self.store) }
    }

    /// A new process whose store does what `fault` says.
    pub(super) fn process(&self, fault: Option<(usize, Fault)>) -> Process {
        self.process_with(&Vec::from_iter(fault), None)
    }

    /// A new process with several faults, and a mistake in it, if one is planted.
    pub(super) fn process_with(&self, faults: &[(usize, Fault)], mistake: Option<Mistake>) -> Process {
        let flatters = mistake == Some(Mistake::BelievesEveryCreate);
        let store = FaultyStore::new(Arc::clone(&self.store), faults, flatters);
        let lake = prefix(&store, "lake");
        let raw = prefix(&store, "raw");
        let backend = Arc::new(FakeBackend {
            store: Arc::new(store.clone()),
            executed: Mutex::default(),
            failing: Mutex::default(),
            violations: Mutex::default(),
            reuses_names: mistake == Some(Mistake::ReusesFileNames),
            seed: AtomicUsize::new(faults.iter().map(|(at, _)| at + 1).sum()),
        });
        let site = Site {
            lake,
            backend: Arc::clone(&backend) as Arc<dyn Backend>,
            clock: Arc::new(Noon),
            compile: Arc::new(compile),
            open_raw: Arc::new(move |_| Ok(raw.clone())),
            // A driver that is not seen to beat between two looks seems dead: the more drivers work side by side.
            pace: Pace {
                beat: Duration::from_secs(3600),
                silence_max: Duration::from_micros(1),
                wait_poll: Duration::from_millis(1),
                outcome_poll: Duration::from_secs(3600),
            },
            steps: Arc::new(tokio::sync::Semaphore::new(64)),
            observer: Arc::new(Mutex::new(Observer::new(Duration::from_micros(1)))),
        };
        Process { scheduler: Scheduler { site }, backend, store }
    }

    /// The lake, without faults.
    pub(super) fn lake(&self) -> Prefix {
        prefix(&FaultyStore::new(Arc::clone(&self.store), &[], false), "lake")
    }

    /// Rows of every table, as its newest version has them; checks that this is the version of the newest release.
    pub(super) async fn rows(&self) -> BTreeMap<String, u64> {
        let lake = self.lake();
        let mut rows = BTreeMap::new();
        let Some(release) = newest_release(&lake).await.unwrap() else { return rows };
        for (table, entry) in &release.tables {
            let name = TableName::parse(table).unwrap();
            let root = lake.child(&layout::table_root(name.zone(), name.table())).unwrap();
            let newest = read_snapshot(&root, None).await.unwrap();
            assert_eq!(newest.as_ref().map(|newest| newest.version), entry.version, "version of {table}");
            let Some(newest) = newest else { continue };
            let paths: BTreeSet<&str> = newest.files.iter().map(|file| file.path.as_str()).collect();
            assert_eq!(paths.len(), newest.files.len(), "{table} names a file twice");
            for file in &newest.files {
                let found = root.head(&file.path).await.unwrap();
                assert_eq!(found.map(|object| object.size_bytes), Some(file.size_bytes), "{table}: {}", file.path);
            }
            let count: u64 = newest.files.iter().map(|file| file.row_count).sum();
            assert_eq!((count, newest.files.len() as u64), (entry.rows, entry.files), "{table} in the release");
            rows.insert(table.clone(), count);
        }
        rows
    }

    /// Names of the steps that have a `written.json` in a run that has not ended.
    pub(super) async fn written_unfinished(&self) -> BTreeSet<String> {
        let lake = self.lake();
        let mut tables = BTreeSet::new();
        for object in lake.list(layout::RUNS_DIR).await.unwrap() {
            let parts: Vec<&str> = object.key.split('/').collect();
            if let [_, _, run_id, "steps", table, "written.json"] = parts[..]
                && lake.head(&layout::done(run_id)).await.unwrap().is_none()
            {
                tables.insert(table.to_owned());
            }
        }
        tables
    }

    /// Accepted runs of a job that have a marker.
    pub(super) async fn unfinished(&self, job: &str) -> Vec<String> {
        let site = self.process(None).scheduler.site;
        let runs = unfinished_before(&site, job, u64::MAX, None).await.unwrap();
        runs.into_iter().map(|run| run.run_id).collect()
    }

    /// Slots of jobs whose run has another slot too.
    pub(super) async fn slots_without_one_run(&self) -> Vec<String> {
        let lake = self.lake();
        let mut seen = BTreeSet::new();
        let mut doubled = Vec::new();
        for key in self.keys(layout::JOBS_DIR).await {
            let slot = read_object::<JobSlot>(&lake, &key).await.unwrap().unwrap();
            if !seen.insert(slot.run_id) {
                doubled.push(key);
            }
        }
        doubled
    }

    /// Keys below a folder of the run state.
    pub(super) async fn keys(&self, dir: &str) -> Vec<String> {
        self.lake().list(dir).await.unwrap().into_iter().map(|object| object.key).collect()
    }
}

fn prefix(store: &FaultyStore, root: &str) -> Prefix {
    Prefix::new(Arc::new(store.clone()), Url::parse("memory:///").unwrap(), Path::from(root))
}

/// A request to run the job.
pub(super) fn request() -> RunRequest {
    let files = BTreeMap::from([("job.toml".to_owned(), "name = \"music\"".to_owned())]);
    RunRequest {
        folder: JobFolder { files },
        raw: "raw".to_owned(),
        options: RunOptions::default(),
        ..RunRequest::default()
    }
}

/// The same of a job that also computes rows by key.
pub(super) fn keyed_request() -> RunRequest {
    let mut request = request();
    request.folder.files.insert("keyed.sql".to_owned(), String::new());
    request
}

fn compile(folder: &JobFolder, _params: &BTreeMap<String, String>) -> Result<Job, Diagnostics> {
    if folder.files.contains_key("broken.sql") {
        return Err(Diagnostics(vec![]));
    }
    let mut job = job(folder.files.get("name").map_or("music", String::as_str));
    if folder.files.contains_key("keyed.sql") {
        let side = Side { key: vec!["id".to_owned()], filters: vec![] };
        let sides = BTreeMap::from([(name("staging.events"), vec![side])]);
        let kind = ModelKind::IncrementalByUniqueKey { key: vec!["id".to_owned()], sides };
        job.models.push(model("curated.latest", kind, &["staging.events"], &[]));
    }
    Ok(job)
}

pub(crate) fn name(text: &str) -> TableName {
    TableName::parse(text).unwrap()
}

pub(crate) fn schema() -> SchemaRef {
    let fields = vec![Field::new("id", DataType::Int64, true), Field::new("kind", DataType::Utf8, true)];
    Arc::new(Schema::new(fields))
}

/// A source.
pub(crate) fn source(table: &str, location: &str) -> (TableName, Source) {
    let source = Source {
        name: name(table),
        columns: vec![],
        schema: schema(),
        location: location.to_owned(),
        options: SourceOptions {
            mode: JsonMode::FailFast,
            compression: SourceCompression::Auto,
            allow_empty: false,
            corrupt_record: None,
            rescued: None,
            multi_line: SourceMultiLine::Auto,
            max_rejects: None,
            max_reject_ratio: 0.01,
            on_delete: OnDelete::Keep,
        },
        description: None,
        file: format!("{}.sql", table.replace('.', "/")),
        canonical: format!("source {table} at {location}"),
    };
    (name(table), source)
}

/// A model.
pub(crate) fn model(table: &str, kind: ModelKind, reads: &[&str], partitioned_by: &[&str]) -> Model {
    let sql = format!("SELECT {}", reads.join(" + "));
    Model {
        name: name(table),
        canonical: format!("{} {sql}", kind.keyword()),
        kind,
        query: Query { sql, schema: schema(), reads: reads.iter().map(|read| name(read)).collect(), params: vec![] },
        schema: schema(),
        partitioned_by: partitioned_by.iter().map(|column| (*column).to_owned()).collect(),
        clustered_by: vec![],
        target_file_size_bytes: 1 << 27,
        description: None,
        owner: None,
        tags: vec![],
        file: format!("{}.sql", table.replace('.', "/")),
        checks: Checks::default(),
    }
}

/// A job with tables of every kind: appended from raw objects, appended from a table and partitioned, a view, and
/// replaced from that view.
pub(crate) fn job(job_name: &str) -> Job {
    let by_file = |driving: &str| ModelKind::IncrementalByFile { driving: name(driving) };
    Job {
        name: job_name.to_owned(),
        raw: None,
        lake: None,
        params: BTreeMap::new(),
        sources: BTreeMap::from([source("raw.events", "events/"), source("raw.songs", "songs/")]),
        models: vec![
            model("staging.events", by_file("raw.events"), &["raw.events"], &[]),
            model("curated.plays", by_file("staging.events"), &["staging.events"], &["kind"]),
            model("curated.top", ModelKind::View, &["staging.events"], &[]),
            Model {
                checks: unique_id(),
                ..model("curated.by_song", ModelKind::Full, &["curated.top", "raw.songs"], &["kind"])
            },
        ],
        analyses: vec![],
        tests: vec![],
        warnings: vec![],
    }
}

fn unique_id() -> Checks {
    let demand = Demand::Unique { columns: vec!["id".to_owned()], is_proven: false };
    let check =
        TableCheck { name: "grain".to_owned(), rule: "id is unique".to_owned(), blocking: true, demand, line: 1 };
    Checks { rows: Vec::new(), tables: vec![check] }
}

/// What the tables hold when `events` rows of events and `songs` rows of songs have been read.
pub(super) fn expected(events: u64, songs: u64) -> BTreeMap<String, u64> {
    let rows = [("staging.events", events), ("curated.plays", events), ("curated.by_song", events + songs)];
    rows.into_iter().map(|(table, rows)| (table.to_owned(), rows)).collect()
}
