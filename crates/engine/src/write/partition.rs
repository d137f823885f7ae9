//! One partition of a write: routes its rows to files by partition value, within its memory budget.
//!
//! Few values: one open file each. More values than files can be open, or than memory holds: the rows of the values that
//! have no file yet are sorted by value, spilling, and written one file after the other.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use datafusion::{
    arrow::{array::RecordBatch, compute::concat_batches},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::metrics::Count,
};
use futures::StreamExt;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::DataFile;

use super::{
    TableWrite, WriteOutput,
    budget::Budget,
    encode::rows_bytes,
    file::{FileForm, OpenFile},
    judge::{Judge, quarantine_schema},
    route::Router,
    sort::{Sorter, file_ordering, sort_rows},
};
use crate::fault;

/// Rows of a value wait until they are this large before a file is opened for them: few rows make no file of their own.
const OPEN_BYTES: usize = 8 << 20;
/// Files open at once.
const OPEN_FILES_MAX: usize = 16;
/// Values with waiting rows at once.
const WAITING_VALUES_MAX: usize = 256;
/// A row group smaller than this is not worth ending for its memory.
const RELIEF_MIN_BYTES: usize = 1 << 20;

/// The work of one partition.
pub(super) struct WritePartition {
    pub(super) write: Arc<TableWrite>,
    /// Whether the input comes in the order of [`super::sort::file_ordering`].
    pub(super) input_is_sorted: bool,
    pub(super) context: Arc<TaskContext>,
    pub(super) partition: usize,
    pub(super) rows_written: Count,
    pub(super) siblings: Option<Arc<Siblings>>,
    /// The same for rows that are kept apart.
    pub(super) apart_siblings: Option<Arc<Siblings>>,
}

/// What partitions that run in one process share: rows too few for a file of their own.
#[derive(Debug)]
pub(super) struct Siblings(Mutex<Leftovers>);

#[derive(Debug)]
struct Leftovers {
    /// Partitions that have not ended.
    running: usize,
    rows: Vec<RecordBatch>,
}

impl Siblings {
    pub(super) fn new(partitions: usize) -> Self {
        Self(Mutex::new(Leftovers { running: partitions, rows: Vec::new() }))
    }

    /// Ends a partition, leaving `rows` to the last one, which gets them all.
    fn leave(&self, rows: Vec<RecordBatch>) -> Vec<RecordBatch> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.rows.extend(rows);
        left.running = left.running.saturating_sub(1);
        if left.running == 0 { std::mem::take(&mut left.rows) } else { Vec::new() }
    }
}

impl WritePartition {
    /// Writes all rows of the input.
    pub(super) async fn run(self, input: SendableRecordBatchStream) -> Result<WriteOutput> {
        let mut writer = Writer::new(&self)?;
        let mut gate = Gate { judge: Judge::new(&self.write), apart: self.apart()? };
        let mut written = writer.write_all(&self, &mut gate, input).await;
        if let (Ok(()), Some(apart)) = (&written, &mut gate.apart) {
            written = apart.finish().await;
        }
        if written.is_err() {
            writer.abort().await;
            if let Some(apart) = &mut gate.apart {
                apart.writer.abort().await;
            }
        }
        let Gate { judge, apart } = gate;
        let quarantined = apart.map(|apart| apart.writer.files).unwrap_or_default();
        let (files, rules) = (writer.files, judge.reports());
        written.map(|()| WriteOutput { files, quarantined, rules, ..WriteOutput::default() })
    }

    /// The writer of the rows that are kept apart, if a rule may do that.
    fn apart(&self) -> Result<Option<Apart>> {
        let Some(root) = &self.write.quarantine else { return Ok(None) };
        let write = TableWrite {
            root: root.clone(),
            schema: quarantine_schema(&self.write.schema),
            partition_columns: Vec::new(),
            clustered_by: Vec::new(),
            rules: Vec::new(),
            quarantine: None,
            ..self.write.as_ref().clone()
        };
        let job = Self {
            write: Arc::new(write),
            input_is_sorted: false,
            context: Arc::clone(&self.context),
            partition: self.partition,
            rows_written: Count::new(),
            siblings: self.apart_siblings.clone(),
            apart_siblings: None,
        };
        Ok(Some(Apart { writer: Writer::new(&job)?, job }))
    }
}

/// Where rows go before they are written.
struct Gate {
    judge: Judge,
    apart: Option<Apart>,
}

/// The files of rows that are kept apart.
struct Apart {
    job: WritePartition,
    writer: Writer,
}

impl Apart {
    async fn finish(&mut self) -> Result<()> {
        if let Some(siblings) = self.job.siblings.clone() {
            self.writer.share_leftovers(&self.job, &siblings)?;
        }
        self.writer.finish_slots().await
    }
}

impl Gate {
    /// The rows of the table among those of a batch.
    async fn pass(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let judged = self.judge.judge(batch)?;
        if let (Some(apart), Some(rows)) = (&mut self.apart, judged.kept_apart) {
            apart.writer.add(&apart.job, rows).await?;
        }
        Ok(judged.rows)
    }
}

/// The rows and the file of one partition value.
#[derive(Default)]
struct Slot {
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    file: Option<OpenFile>,
}

struct Writer {
    form: Arc<FileForm>,
    router: Router,
    budget: Budget,
    slots: BTreeMap<usize, Slot>,
    sorter: Option<Sorter>,
    /// Rows come value after value: a value's file ends when the next value begins.
    in_order: bool,
    files: Vec<DataFile>,
}

impl Writer {
    fn new(job: &WritePartition) -> Result<Self> {
        let cores = job.context.session_config().target_partitions();
        Ok(Self {
            form: Arc::new(FileForm::new(&job.write, cores)),
            router: Router::new(&job.write.schema, &job.write.partition_columns)?,
            budget: Budget::new(&job.context, job.partition),
            slots: BTreeMap::new(),
            sorter: None,
            in_order: job.input_is_sorted,
            files: Vec::new(),
        })
    }

    async fn write_all(
        &mut self,
        job: &WritePartition,
        gate: &mut Gate,
        mut input: SendableRecordBatchStream,
    ) -> Result<()> {
        while let Some(batch) = input.next().await {
            let batch = gate.pass(batch.map_err(fault::from_datafusion)?).await?;
            job.rows_written.add(batch.num_rows());
            self.add(job, batch).await?;
        }
        if let Some(sorter) = self.sorter.take() {
            self.finish_slots().await?;
            self.in_order = true;
            let mut sorted = sorter.finish().await?;
            while let Some(batch) = sorted.next().await {
                self.add(job, batch.map_err(fault::from_datafusion)?).await?;
            }
        }
        if let Some(siblings) = &job.siblings
            && job.write.partition_columns.is_empty()
        {
            self.share_leftovers(job, siblings)?;
        }
        self.finish_slots().await
    }

    /// Leaves rows that have no file to the last partition; if this is the last, takes all that were left.
    fn share_leftovers(&mut self, job: &WritePartition, siblings: &Siblings) -> Result<()> {
        let slot = self.slots.entry(0).or_default();
        let mine = if slot.file.is_none() { std::mem::take(&mut slot.waiting) } else { Vec::new() };
        let left = siblings.leave(mine);
        if left.is_empty() {
            return Ok(());
        }
        if job.write.clustered_by.is_empty() {
            slot.waiting.extend(left);
        } else {
            slot.waiting.push(sort_rows(&job.write, &left)?);
        }
        Ok(())
    }

    async fn add(&mut self, job: &WritePartition, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = RecordBatch::try_new(Arc::clone(&job.write.schema), batch.columns().to_vec())
            .map_err(|error| fault::from_datafusion(error.into()))?;
        for routed in self.router.split(batch)? {
            if self.in_order {
                self.finish_others(routed.value).await?;
            }
            let has_file = self.slots.get(&routed.value).is_some_and(|slot| slot.file.is_some());
            match &mut self.sorter {
                Some(sorter) if !has_file => sorter.add(routed.rows).await?,
                _ => self.wait(routed.value, routed.rows),
            }
            self.encode_waiting(job, routed.value).await?;
        }
        if self.sorter.is_none() && self.slots.len() > WAITING_VALUES_MAX {
            self.start_sorting(job).await?;
        }
        self.keep_budget(job).await
    }

    fn wait(&mut self, value: usize, rows: RecordBatch) {
        let slot = self.slots.entry(value).or_default();
        slot.waiting_bytes += rows_bytes(&rows);
        slot.waiting.push(rows);
    }

    /// Encodes a value's waiting rows if they are enough.
    async fn encode_waiting(&mut self, job: &WritePartition, value: usize) -> Result<()> {
        let Some(slot) = self.slots.get(&value) else { return Ok(()) };
        let enough = match slot.file {
            Some(_) => self.form.unit_bytes(),
            None => OPEN_BYTES.min(self.form.unit_bytes().saturating_mul(16)),
        };
        if slot.waiting_bytes < enough {
            return Ok(());
        }
        let open = self.slots.values().filter(|slot| slot.file.is_some()).count();
        if slot.file.is_none() && open >= OPEN_FILES_MAX && self.sorter.is_none() {
            return self.start_sorting(job).await;
        }
        self.encode(value).await
    }

    /// Encodes all waiting rows of a value.
    async fn encode(&mut self, value: usize) -> Result<()> {
        let Some(slot) = self.slots.get_mut(&value) else { return Ok(()) };
        slot.waiting_bytes = 0;
        for rows in cut_into_units(std::mem::take(&mut slot.waiting), self.form.unit_bytes())? {
            let file = match &mut slot.file {
                Some(file) => file,
                None => {
                    let partition = self.router.value(value).cloned().unwrap_or_default();
                    slot.file.insert(OpenFile::open(&self.form, partition)?)
                }
            };
            file.write(&rows).await?;
            if file.is_full()
                && let Some(file) = slot.file.take()
            {
                self.files.push(file.finish().await?);
            }
        }
        Ok(())
    }

    /// Hands the rows of all values without a file to the sort.
    async fn start_sorting(&mut self, job: &WritePartition) -> Result<()> {
        let ordering = file_ordering(&job.write)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a table without partition columns was sorted by them"))?;
        let mut sorter = Sorter::start(&job.write.schema, ordering, &job.context)?;
        let waiting: Vec<usize> =
            self.slots.iter().filter(|(_, slot)| slot.file.is_none()).map(|(value, _)| *value).collect();
        for value in waiting {
            for rows in self.slots.remove(&value).map(|slot| slot.waiting).unwrap_or_default() {
                sorter.add(rows).await?;
            }
        }
        self.sorter = Some(sorter);
        Ok(())
    }

    /// Frees memory until the budget holds, or only what a writer cannot do without is left.
    async fn keep_budget(&mut self, job: &WritePartition) -> Result<()> {
        while !self.budget.try_hold(self.memory_bytes()) {
            if let Some(file) = self.largest_file(OpenFile::group_memory_bytes, RELIEF_MIN_BYTES) {
                file.end_row_group().await?;
            } else if let Some(value) = self.largest_value(|slot| slot.file.as_ref().map_or(0, OpenFile::memory_bytes))
            {
                self.finish_slot(value).await?;
            } else if self.slots.len() > 1 && self.sorter.is_none() {
                self.start_sorting(job).await?;
            } else if let Some(value) = self.largest_value(|slot| slot.waiting_bytes) {
                self.encode(value).await?;
                self.finish_slot(value).await?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let slots = self.slots.values();
        slots.map(|slot| slot.waiting_bytes + slot.file.as_ref().map_or(0, OpenFile::memory_bytes)).sum()
    }

    fn largest_file(&mut self, size: impl Fn(&OpenFile) -> usize, at_least: usize) -> Option<&mut OpenFile> {
        let files = self.slots.values_mut().filter_map(|slot| slot.file.as_mut());
        files.filter(|file| size(file) >= at_least).max_by_key(|file| size(file))
    }

    fn largest_value(&self, size: impl Fn(&Slot) -> usize) -> Option<usize> {
        let sized = self.slots.iter().map(|(value, slot)| (size(slot), *value)).filter(|(size, _)| *size > 0);
        sized.max().map(|(_, value)| value)
    }

    async fn finish_others(&mut self, value: usize) -> Result<()> {
        let others: Vec<usize> = self.slots.keys().copied().filter(|other| *other != value).collect();
        for other in others {
            self.finish_slot(other).await?;
        }
        Ok(())
    }

    async fn finish_slots(&mut self) -> Result<()> {
        let values: Vec<usize> = self.slots.keys().copied().collect();
        for value in values {
            self.finish_slot(value).await?;
        }
        Ok(())
    }

    /// Writes what waits for a value and ends its file.
    async fn finish_slot(&mut self, value: usize) -> Result<()> {
        self.encode(value).await?;
        if let Some(file) = self.slots.remove(&value).and_then(|slot| slot.file) {
            self.files.push(file.finish().await?);
        }
        Ok(())
    }

    async fn abort(&mut self) {
        for file in self.slots.values_mut().filter_map(|slot| slot.file.as_mut()) {
            file.abort().await;
        }
    }
}

/// Joins small batches and cuts large ones, so that each is about one unit.
fn cut_into_units(waiting: Vec<RecordBatch>, unit_bytes: usize) -> Result<Vec<RecordBatch>> {
    let mut units = Vec::new();
    let (mut small, mut small_bytes) = (Vec::new(), 0);
    for rows in waiting {
        let bytes = rows_bytes(&rows);
        if bytes > unit_bytes {
            let count = (rows.num_rows() * unit_bytes / bytes).max(1);
            let starts = (0..rows.num_rows()).step_by(count);
            units.extend(starts.map(|start| rows.slice(start, count.min(rows.num_rows() - start))));
            continue;
        }
        if small_bytes + bytes > unit_bytes {
            units.extend(join(std::mem::take(&mut small))?);
            small_bytes = 0;
        }
        small_bytes += bytes;
        small.push(rows);
    }
    units.extend(join(small)?);
    Ok(units)
}

fn join(rows: Vec<RecordBatch>) -> Result<Option<RecordBatch>> {
    let Some(first) = rows.first() else { return Ok(None) };
    if rows.len() == 1 {
        return Ok(rows.into_iter().next());
    }
    let joined = concat_batches(&first.schema(), &rows);
    joined.map(Some).map_err(|error| {
        Error::new(ErrorKind::Exhausted, "rows that wait for their file are too large").with_source(error)
    })
}
