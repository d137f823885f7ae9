//! Looks at every record of raw objects whose columns nobody has declared.
//!
//! Data flow: the objects of a prefix -> groups of about the same size, each read by a task of its own -> one [`Profile`].
//!
//! Invariant: all records are looked at, and the profile is that of the objects in their order, however many tasks read.

use std::sync::Arc;

use datafusion::{
    arrow::array::StringArray,
    common::{cast::as_string_array, runtime::SpawnedTask},
    execution::memory_pool::{MemoryPool, UnboundedMemoryPool},
};
use futures::StreamExt;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_json::Profile;
use lakewright_lake::{Prefix, RawObject, state::Tally};

use super::raw::{cut_into_groups, object_metas};
use crate::{
    fault,
    json::{self, Compression, ScanReports},
};

/// Looks at every record of the objects, with at most `tasks_max` tasks; also tells what became of all that was read.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: a compressed object is not complete.
/// - [`ErrorKind::Unsupported`]: the suffix of an object names a compression that is not undone.
/// - [`ErrorKind::Conflict`]: an object has changed since it was listed.
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`]: the store did not answer, or refused.
///
/// # Cancel safety
/// Dropping the future stops the tasks.
pub async fn profile_objects(raw: &Prefix, objects: &[RawObject], tasks_max: usize) -> Result<(Profile, Tally)> {
    let compression = Compression::Auto;
    let metas = object_metas(raw, objects, compression)?;
    let is_whole = |object: &object_store::ObjectMeta| compression.is_packed(object.location.as_ref());
    let groups = cut_into_groups(&metas, compression, &is_whole, tasks_max);
    let reports = ScanReports::default();
    // No query runs beside it.
    let memory: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let tasks: Vec<_> = groups
        .into_iter()
        .map(|group| {
            let texts = json::read_texts(raw, group.into_inner(), reports.clone(), Arc::clone(&memory));
            SpawnedTask::spawn(async move {
                let mut texts = std::pin::pin!(texts);
                let mut profile = Profile::default();
                while let Some(batch) = texts.next().await {
                    let batch = batch.map_err(fault::from_datafusion)?;
                    let texts: &StringArray = as_string_array(batch.column(0)).map_err(fault::from_datafusion)?;
                    texts.iter().flatten().for_each(|text| profile.add(text));
                }
                Ok::<_, Error>(profile)
            })
        })
        .collect();
    let mut profile = Profile::default();
    for task in tasks {
        let broke_off =
            |source| Error::new(ErrorKind::Internal, "looking at raw objects broke off").with_source(source);
        profile.merge(task.await.map_err(broke_off)??);
    }
    let mut tally = Tally::default();
    reports.take().iter().for_each(|report| tally.add(&report.tally));
    Ok((profile, tally))
}
