//! The directory of one executor process: what its tasks leave for other tasks, and what does not fit into memory.
//!
//! Invariant: a directory belongs to one living process ([`ProcessDir`]).

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use lakewright_engine::ProcessDir;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::disk_error;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What the directories of executors are called.
const KIND: &str = "executor";

/// How long a measured size is believed, in times of what measuring took: it may cost a twentieth of a core.
const BELIEVED_FOR: u32 = 20;

/// How a living executor is, for whoever asks on its machine.
const STATUS: &str = "status.json";

/// How an executor is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorStatus {
    /// Its id in the fleet that it has joined.
    pub executor_id: Option<String>,
    /// The address of that fleet; none while it looks for one.
    pub fleet: Option<String>,
    /// Tasks at once.
    pub slots: usize,
    /// Tasks that it runs.
    pub tasks: usize,
}

/// How the executors are that spill to `parent`, each with the time since it last said so. Those that have died are left
/// out.
///
/// # Errors
/// - [`ErrorKind::NotFound`]: no executor lives there.
/// - [`ErrorKind::Denied`]: the directory cannot be read.
pub fn executor_status(parent: &Path) -> Result<Vec<(ExecutorStatus, Duration)>> {
    let unusable =
        |error: io::Error| disk_error(error, "cannot read the scratch directory", &parent.display().to_string());
    let mut found = Vec::new();
    for dir in ProcessDir::living(parent, KIND).map_err(unusable)? {
        let status = dir.join(STATUS);
        let age = fs::metadata(&status).and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
        let read = fs::read(&status).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        found.push((read.unwrap_or_default(), age.unwrap_or(Duration::MAX)));
    }
    if found.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "no executor runs here")
            .with("directory", parent.display())
            .with_hint("is its spill_dir another one?"));
    }
    Ok(found)
}

/// The directory of this process; removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    dir: ProcessDir,
    limit_bytes: u64,
    /// When, how long it took, and the bytes.
    measured: Mutex<Option<(Instant, Duration, u64)>>,
    /// Whether a task has failed because there was no room.
    no_room: watch::Sender<bool>,
}

impl Scratch {
    /// Makes a directory below `parent`, and removes those that dead processes have left there.
    ///
    /// # Errors
    /// - [`ErrorKind::Exhausted`], [`ErrorKind::Denied`]: it cannot be made.
    pub(crate) fn open(parent: &Path, limit_bytes: u64) -> Result<Self> {
        let unusable =
            |error: io::Error| disk_error(error, "cannot make the scratch directory", &parent.display().to_string());
        let dir = ProcessDir::open(parent, KIND).map_err(unusable)?;
        Ok(Self { dir, limit_bytes, measured: Mutex::new(None), no_room: watch::Sender::new(false) })
    }

    /// Says how this executor is.
    pub(crate) fn tell(&self, status: &ExecutorStatus) {
        let (fresh, path) = (self.dir.path().join("status.new"), self.dir.path().join(STATUS));
        let text = serde_json::to_vec(status).unwrap_or_default();
        // On a full disk nobody can be told; that it is full is told by the tasks that fail.
        if let Err(error) = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)) {
            tracing::debug!(%error, "status not written");
        }
    }

    /// Where queries spill.
    pub(crate) fn spill_dir(&self) -> PathBuf {
        self.dir.path().join("spill")
    }

    /// A new directory for the rows of one membership of a fleet.
    ///
    /// # Errors
    /// As [`Scratch::open`].
    pub(crate) fn work_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir)
            .map_err(|error| disk_error(error, "cannot make the scratch directory", &dir.display().to_string()))?;
        Ok(dir)
    }

    /// Takes note that a task has failed because there was no room.
    pub(crate) fn has_no_room(&self) {
        self.no_room.send_replace(true);
    }

    /// Waits until a task has failed because there was no room.
    pub(crate) async fn until_no_room(&self) {
        // The sender lives as long as this.
        let _ = self.no_room.subscribe().wait_for(|has_failed| *has_failed).await;
    }

    /// Forgets that there was no room.
    pub(crate) fn may_have_room(&self) {
        self.no_room.send_replace(false);
    }

    /// Refuses when rows for other tasks take up as much as they may.
    ///
    /// # Errors
    /// - [`ErrorKind::Exhausted`]: they do.
    pub(crate) fn check(&self, work_dir: &Path) -> Result<()> {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match *measured {
            Some((at, took, bytes)) if at.elapsed() < took * BELIEVED_FOR => bytes,
            _ => {
                let begun = Instant::now();
                let bytes = size_bytes(work_dir);
                *measured = Some((Instant::now(), begun.elapsed(), bytes));
                bytes
            }
        };
        if bytes <= self.limit_bytes {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Exhausted, "an executor has no more room for rows that other tasks need")
            .with("directory", work_dir.display())
            .with("bytes", bytes)
            .with("limit", self.limit_bytes)
            .with_hint("raise spill_limit of the executors, or give the fleet more of them"))
    }
}

/// Bytes of all files below a directory; what vanishes meanwhile counts nothing.
fn size_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_is_told_of_living_executors_only() {
        let parent = tempfile::tempdir().unwrap();
        assert_eq!(executor_status(parent.path()).unwrap_err().kind(), ErrorKind::NotFound);
        let scratch = Scratch::open(parent.path(), 10).unwrap();
        let joined = ExecutorStatus { fleet: Some("10.0.0.5:1".to_owned()), slots: 3, ..ExecutorStatus::default() };
        scratch.tell(&joined);
        let found = executor_status(parent.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, joined);
        assert!(found[0].1 < Duration::from_secs(60));
        drop(scratch);
        assert_eq!(executor_status(parent.path()).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn rows_of_tasks_are_refused_beyond_the_limit() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(parent.path(), 10).unwrap();
        let dir = scratch.work_dir("w").unwrap();
        fs::create_dir(dir.join("job")).unwrap();
        fs::write(dir.join("job/a"), [0; 10]).unwrap();
        scratch.check(&dir).unwrap();
        fs::write(dir.join("job/b"), [0; 1]).unwrap();
        *scratch.measured.lock().unwrap() = None;
        assert_eq!(scratch.check(&dir).unwrap_err().kind(), ErrorKind::Exhausted);
    }
}
