//! The directory of one executor process: what its tasks leave for other tasks, and what does not fit into memory.
//!
//! Invariant: a directory belongs to one living process. Those of processes that have died are removed by whoever starts
//! next.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::disk_error;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

/// What the directories of processes begin with.
const OWN: &str = "executor-";

/// Held by the process that a directory belongs to.
const LOCK: &str = "lock";

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
    for entry in fs::read_dir(parent).map_err(unusable)?.flatten() {
        let dir = entry.path();
        let is_alive = File::open(dir.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err());
        if !entry.file_name().to_string_lossy().starts_with(OWN) || !is_alive {
            continue;
        }
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
    root: PathBuf,
    limit_bytes: u64,
    /// When, how long it took, and the bytes.
    measured: Mutex<Option<(Instant, Duration, u64)>>,
    /// Whether a task has failed because there was no room.
    no_room: watch::Sender<bool>,
    /// Locked for as long as the process lives.
    _lock: File,
}

impl Scratch {
    /// Makes a directory below `parent`, and removes those that dead processes have left there.
    ///
    /// # Errors
    /// - [`ErrorKind::Exhausted`], [`ErrorKind::Denied`]: it cannot be made.
    pub(crate) fn open(parent: &Path, limit_bytes: u64) -> Result<Self> {
        let unusable =
            |error: io::Error| disk_error(error, "cannot make the scratch directory", &parent.display().to_string());
        fs::create_dir_all(parent).map_err(unusable)?;
        remove_left(parent).map_err(unusable)?;
        let root = parent.join(format!("{OWN}{}", Uuid::new_v4()));
        fs::create_dir(&root).map_err(unusable)?;
        let lock = File::create(root.join(LOCK)).map_err(unusable)?;
        lock.lock().map_err(unusable)?;
        Ok(Self { root, limit_bytes, measured: Mutex::new(None), no_room: watch::Sender::new(false), _lock: lock })
    }

    /// Says how this executor is.
    pub(crate) fn tell(&self, status: &ExecutorStatus) {
        let (fresh, path) = (self.root.join("status.new"), self.root.join(STATUS));
        let text = serde_json::to_vec(status).unwrap_or_default();
        // On a full disk nobody can be told; that it is full is told by the tasks that fail.
        if let Err(error) = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)) {
            tracing::debug!(%error, "status not written");
        }
    }

    /// Where queries spill.
    pub(crate) fn spill_dir(&self) -> PathBuf {
        self.root.join("spill")
    }

    /// A new directory for the rows of one membership of a fleet.
    ///
    /// # Errors
    /// As [`Scratch::open`].
    pub(crate) fn work_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join(name);
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

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            tracing::debug!(directory = %self.root.display(), %error, "scratch directory left behind");
        }
    }
}

/// Removes the directories whose processes have ended.
fn remove_left(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(OWN) {
            continue;
        }
        // One that is being made has no lock yet, or one that nobody holds yet: it is left alone for a while.
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
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
    fn what_a_dead_process_has_left_is_removed_and_a_living_ones_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let living = Scratch::open(parent.path(), 1).unwrap();
        let dead = parent.path().join("executor-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let other = parent.path().join("somebody's");
        fs::create_dir(&other).unwrap();
        let second = Scratch::open(parent.path(), 1).unwrap();
        assert!(!dead.exists() && other.exists() && living.root.exists());
        drop(second);
        let left = fs::read_dir(parent.path()).unwrap().count();
        assert_eq!(left, 2, "the living one's and somebody's");
    }

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
