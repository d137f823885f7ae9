//! A source as a table: the given raw objects, cut into partitions of about the same number of bytes.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableProvider},
    common::{Result as PlanResult, Statistics, stats::Precision},
    datasource::{
        TableType,
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    execution::object_store::ObjectStoreUrl,
    logical_expr::Expr,
    physical_plan::ExecutionPlan,
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{Prefix, RawObject};
use object_store::ObjectMeta;

use super::RawScan;
use crate::{
    fault,
    json::{self, Compression, MultiLine, Reading, ScanReports},
};

/// What opening an object costs, told in bytes decoded in that time.
const OPEN_COST_BYTES: u64 = 16 << 10;
/// Text in a stored byte of a compressed object, as a guess for sharing out the work.
const TEXT_RATIO: u64 = 8;
/// Less work than this does not pay for a partition of its own.
const PARTITION_COST_MIN_BYTES: u64 = 1 << 20;

/// A source as a table.
#[derive(Debug)]
pub(super) struct RawTable {
    url: ObjectStoreUrl,
    raw: Prefix,
    /// With the hidden columns.
    schema: SchemaRef,
    compression: Compression,
    reading: Reading,
    reports: Option<ScanReports>,
    objects: Vec<ObjectMeta>,
}

impl RawTable {
    pub(super) fn new(scan: RawScan) -> Result<Self> {
        Ok(Self {
            objects: object_metas(&scan.raw, &scan.objects, scan.compression)?,
            url: ObjectStoreUrl::parse(scan.raw.store_url()).map_err(fault::from_datafusion)?,
            raw: scan.raw,
            schema: json::source_schema(&scan.schema),
            compression: scan.compression,
            reading: scan.reading,
            reports: scan.reports,
        })
    }
}

/// The objects as the store knows them.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: the suffix of an object names a compression that is not undone.
pub(super) fn object_metas(raw: &Prefix, objects: &[RawObject], compression: Compression) -> Result<Vec<ObjectMeta>> {
    if let Some(object) = objects.iter().find(|object| compression.is_unreadable(&object.key)) {
        return Err(Error::new(ErrorKind::Unsupported, "raw objects of this compression are not supported")
            .with("object", &object.key)
            .with_hint("compress it as gzip or zstd, or leave it out with a glob in the source's location"));
    }
    let meta = |object: &RawObject| {
        Ok(ObjectMeta {
            location: raw.path(&object.key)?,
            last_modified: DateTime::from_timestamp_micros(object.modified_us).unwrap_or_default(),
            size: object.size_bytes,
            e_tag: object.etag.clone(),
            version: None,
        })
    };
    objects.iter().map(meta).collect()
}

#[async_trait]
impl TableProvider for RawTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let schema = TableSchema::from(&self.schema);
        let memory = Arc::clone(&state.runtime_env().memory_pool);
        let source = json::JsonSource::new(self.raw.clone(), self.compression, self.reading.clone(), schema, memory)
            .with_reports(self.reports.clone());
        // A text that is one value has no ranges, and a range knows no line number.
        let may_cut = self.reading.multi_line != MultiLine::True && !json::needs_lines(&self.schema, projection);
        let is_whole = |object: &ObjectMeta| !may_cut || self.compression.is_packed(object.location.as_ref());
        let partitions = state.config_options().execution.target_partitions;
        let groups = cut_into_groups(&self.objects, self.compression, &is_whole, partitions);
        let size_bytes: u64 = self.objects.iter().map(|object| object.size).sum();
        let statistics = Statistics::new_unknown(&self.schema)
            .with_total_byte_size(Precision::Inexact(usize::try_from(size_bytes).unwrap_or(usize::MAX)));
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Cuts the objects, in their order, into at most `partitions` groups of about the same cost. A boundary inside a large
/// object becomes a pair of byte ranges; a small object is never cut, nor one that `is_whole`.
pub(super) fn cut_into_groups(
    objects: &[ObjectMeta],
    compression: Compression,
    is_whole: &dyn Fn(&ObjectMeta) -> bool,
    partitions: usize,
) -> Vec<FileGroup> {
    let is_packed = |object: &ObjectMeta| compression.is_packed(object.location.as_ref());
    let text_size = |object: &ObjectMeta| object.size * if is_packed(object) { TEXT_RATIO } else { 1 };
    let cost = |object: &ObjectMeta| text_size(object) + OPEN_COST_BYTES;
    let total: u64 = objects.iter().map(cost).sum();
    let useful = usize::try_from(total / PARTITION_COST_MIN_BYTES).unwrap_or(usize::MAX);
    let count = useful.clamp(1, partitions.max(1));
    let share = total.div_ceil(count as u64).max(1);

    let mut groups = vec![Vec::new()];
    let mut room = share;
    for object in objects {
        if is_whole(object) {
            if room < cost(object) / 2 && groups.len() < count {
                groups.push(Vec::new());
                room = share;
            }
            push_range(&mut groups, object, 0, object.size);
            room = room.saturating_sub(cost(object));
            continue;
        }
        let mut start = 0;
        while start < object.size && groups.len() < count && room < object.size - start + OPEN_COST_BYTES {
            let left = object.size - start;
            let take = room.saturating_sub(OPEN_COST_BYTES);
            if take >= PARTITION_COST_MIN_BYTES / 2 && left - take >= PARTITION_COST_MIN_BYTES / 2 {
                push_range(&mut groups, object, start, start + take);
                start += take;
            } else if take > left / 2 {
                break;
            }
            groups.push(Vec::new());
            room = share;
        }
        if start < object.size || object.size == 0 {
            push_range(&mut groups, object, start, object.size);
            room = room.saturating_sub(object.size - start + OPEN_COST_BYTES);
        }
    }
    groups.retain(|group| !group.is_empty());
    if groups.is_empty() {
        groups.push(Vec::new());
    }
    groups.into_iter().map(FileGroup::new).collect()
}

fn push_range(groups: &mut [Vec<PartitionedFile>], object: &ObjectMeta, start: u64, end: u64) {
    let file = PartitionedFile::new_from_meta(object.clone());
    let is_whole = start == 0 && end == object.size;
    let file = match (is_whole, i64::try_from(start), i64::try_from(end)) {
        (false, Ok(start), Ok(end)) => file.with_range(start, end),
        _ => file,
    };
    if let Some(group) = groups.last_mut() {
        group.push(file);
    }
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::*;

    fn object(key: &str, size: u64) -> ObjectMeta {
        ObjectMeta { location: Path::from(key), last_modified: DateTime::default(), size, e_tag: None, version: None }
    }

    fn cut_into_groups(objects: &[ObjectMeta], compression: Compression, partitions: usize) -> Vec<FileGroup> {
        let is_whole = |object: &ObjectMeta| compression.is_packed(object.location.as_ref());
        super::cut_into_groups(objects, compression, &is_whole, partitions)
    }

    /// Every byte of every object lies in exactly one range, and groups are of about the same size.
    fn check(objects: &[ObjectMeta], partitions: usize) -> Vec<u64> {
        let groups = cut_into_groups(objects, Compression::Auto, partitions);
        assert!(groups.len() <= partitions);
        let mut next = 0;
        let mut index = 0;
        for file in groups.iter().flat_map(|group| group.iter()) {
            let (start, end) = file.range();
            assert_eq!((file.path(), start), (&objects[index].location, next));
            next = end;
            if end == objects[index].size {
                (index, next) = (index + 1, 0);
            }
        }
        assert_eq!(index, objects.len());
        groups.iter().map(|group| group.iter().map(PartitionedFile::effective_size).sum()).collect()
    }

    #[test]
    fn one_large_object_is_cut_evenly() {
        let sizes = check(&[object("a", 450 << 20)], 2);
        assert_eq!(sizes.len(), 2);
        assert!(sizes[0].abs_diff(sizes[1]) < (1 << 20), "{sizes:?}");
        assert_eq!(check(&[object("a", 450 << 20)], 16).len(), 16);
    }

    #[test]
    fn many_tiny_objects_are_shared_out_whole() {
        let objects: Vec<_> = (0..10_000).map(|index| object(&format!("{index:05}"), 300)).collect();
        let sizes = check(&objects, 2);
        assert_eq!(sizes.len(), 2);
        assert!(sizes[0].abs_diff(sizes[1]) < 10_000, "{sizes:?}");
    }

    #[test]
    fn little_work_stays_in_one_partition() {
        assert_eq!(check(&[object("a", 3000), object("b", 0), object("c", 5)], 8).len(), 1);
        assert_eq!(cut_into_groups(&[], Compression::Auto, 8).len(), 1);
    }

    #[test]
    fn compressed_objects_are_shared_out_whole() {
        let objects: Vec<_> = (0..8).map(|index| object(&format!("{index}.json.gz"), 30 << 20)).collect();
        for partitions in [1, 2, 4, 8, 16] {
            assert_eq!(check(&objects, partitions).len(), partitions.min(8));
        }
        let ranges = cut_into_groups(&objects, Compression::Auto, 16);
        assert!(ranges.iter().flat_map(|group| group.iter()).all(|file| file.range.is_none()));
        let plain = cut_into_groups(&objects[..1], Compression::None, 4);
        assert_eq!(plain.len(), 4, "the option says that it is plain text");
    }

    #[test]
    fn what_must_be_read_whole_is_never_cut() {
        let objects: Vec<_> = (0..3).map(|index| object(&format!("{index}.json"), 90 << 20)).collect();
        let groups = super::cut_into_groups(&objects, Compression::Auto, &|_| true, 16);
        assert_eq!(groups.len(), 3);
        assert!(groups.iter().flat_map(|group| group.iter()).all(|file| file.range.is_none()));
    }

    #[test]
    fn mixed_sizes_cover_every_byte_once() {
        for partitions in [1, 2, 3, 7, 16] {
            let sizes = [5 << 20, 0, 700, 90 << 20, 1, 600 << 10, 3 << 20, 17 << 20];
            let objects: Vec<_> =
                sizes.iter().enumerate().map(|(index, size)| object(&format!("o{index}"), *size)).collect();
            check(&objects, partitions);
        }
    }
}
