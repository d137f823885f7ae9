//! Directories that belong to one living process: what it spills, and what its tasks leave for others.
//!
//! Invariant: a directory is locked for as long as its process lives. Those of processes that have died, however they
//! have, are removed by whoever opens one beside them.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// Held by the process that a directory belongs to.
const LOCK: &str = "lock";

/// Times that a directory is removed in which something is still being made.
const REMOVALS_MAX: usize = 3;

/// A directory of this process; removed when dropped.
#[derive(Debug)]
pub struct ProcessDir {
    path: PathBuf,
    /// Locked for as long as the process lives.
    _lock: File,
}

impl ProcessDir {
    /// Makes a directory `<kind>-<uuid v4>` below `parent`, which is made too, and removes those of this kind that dead
    /// processes have left there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(parent: &Path, kind: &str) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        remove_left(parent, kind);
        let path = parent.join(format!("{kind}-{}", Uuid::new_v4()));
        fs::create_dir(&path)?;
        // Under its name only when it is held: whoever finds one that nobody holds takes its process for dead.
        let made = path.join("lock.new");
        let lock = File::create(&made)?;
        lock.lock()?;
        fs::rename(&made, path.join(LOCK))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directories of this kind below `parent` whose processes live.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn living(parent: &Path, kind: &str) -> io::Result<Vec<PathBuf>> {
        let dirs = fs::read_dir(parent)?.flatten().filter(|entry| is_of_kind(entry, kind)).map(|entry| entry.path());
        Ok(dirs.filter(|dir| File::open(dir.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err())).collect())
    }

    /// Removes it with all that is in it, while this process goes on: what is spilled from now on fails.
    pub fn remove(&self) {
        for _ in 0..REMOVALS_MAX {
            match fs::remove_dir_all(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                // The next process removes what stays.
                Err(error) => tracing::debug!(directory = %self.path.display(), %error, "directory left behind"),
            }
        }
    }
}

impl Drop for ProcessDir {
    fn drop(&mut self) {
        self.remove();
    }
}

fn is_of_kind(entry: &fs::DirEntry, kind: &str) -> bool {
    entry.file_name().to_string_lossy().strip_prefix(kind).is_some_and(|rest| rest.starts_with('-'))
}

/// Removes the directories whose processes have ended. One that cannot be removed, another user's say, keeps nobody from
/// working.
fn remove_left(parent: &Path, kind: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten().filter(|entry| is_of_kind(entry, kind)) {
        // One that is being made has no lock yet.
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if lock.try_lock().is_ok()
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(directory = %entry.path().display(), %error, "directory of a dead process left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_has_left_is_removed_and_a_living_ones_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let living = ProcessDir::open(parent.path(), "run").unwrap();
        let dead = parent.path().join("run-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let other = parent.path().join("runner's");
        fs::create_dir(&other).unwrap();
        let second = ProcessDir::open(parent.path(), "run").unwrap();
        assert!(!dead.exists() && other.exists() && living.path().exists());
        let mut both = vec![living.path().to_owned(), second.path().to_owned()];
        both.sort();
        let mut found = ProcessDir::living(parent.path(), "run").unwrap();
        found.sort();
        assert_eq!(found, both);
        // One that is being made.
        let fresh = parent.path().join("run-fresh");
        fs::create_dir(&fresh).unwrap();
        fs::write(fresh.join("lock.new"), "").unwrap();
        drop(second);
        drop(ProcessDir::open(parent.path(), "run").unwrap());
        assert!(fresh.exists());
        assert_eq!(ProcessDir::living(parent.path(), "run").unwrap(), [living.path()]);
    }
}
