//! What this process logs about the runs whose tasks it runs, kept with each run's state beside what its driver logs.
//!
//! Data flow: a task's origin -> [`RunLogs::of`], for as long as the task runs -> lines of events inside the task's span ->
//! every second one more object for each run that has lines -> `lakewright logs`.
//!
//! Invariant: a task waits for no log. A run without tasks here is forgotten as soon as its lines are stored.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lakewright_engine::{
    CollectedLog,
    fleet::{LocalFiles, TaskOrigin},
};
use lakewright_lake::Prefix;
use tokio::time::sleep;

/// Time between two objects of one run.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// The logs of runs that have tasks here.
#[derive(Debug)]
pub(crate) struct RunLogs {
    local: LocalFiles,
    now_us: fn() -> i64,
    open: Mutex<BTreeMap<String, Arc<CollectedLog>>>,
}

impl RunLogs {
    pub(crate) fn new(local: LocalFiles, now_us: fn() -> i64) -> Self {
        Self { local, now_us, open: Mutex::default() }
    }

    /// The log of a task's run, collected until nobody holds it any more.
    pub(crate) fn of(&self, origin: &TaskOrigin) -> Option<Arc<CollectedLog>> {
        let mut open = self.open();
        if let Some(log) = open.get(&origin.run_id) {
            return Some(Arc::clone(log));
        }
        // Whatever is wrong with the lake is told by the task that writes to it.
        let lake = Prefix::open(&origin.lake).ok().filter(|lake| self.local.check(lake).is_ok())?;
        let log = Arc::new(CollectedLog::begin(&lake, &origin.run_id));
        open.insert(origin.run_id.clone(), Arc::clone(&log));
        Some(log)
    }

    /// Stores lines for ever.
    pub(crate) async fn keep(&self) {
        loop {
            sleep(STORE_PAUSE).await;
            self.store().await;
        }
    }

    /// Stores what there is.
    pub(crate) async fn store(&self) {
        let logs: Vec<Arc<CollectedLog>> = self.open().values().cloned().collect();
        for log in logs {
            log.store((self.now_us)()).await;
        }
        // One that only this list holds has no task; the tasks' last lines came before they let go of it.
        self.open().retain(|_, log| Arc::strong_count(log) > 1 || !log.is_empty());
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Arc<CollectedLog>>> {
        // The map is whole between any two calls on it.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_without_tasks_is_forgotten_and_a_lake_that_may_not_be_named_has_no_log() {
        let lake = tempfile::tempdir().unwrap();
        let origin = TaskOrigin::new(lake.path().display().to_string(), "run".to_owned(), "staging.events".to_owned());
        assert!(RunLogs::new(LocalFiles::Refused, || 1).of(&origin).is_none());
        let logs = RunLogs::new(LocalFiles::Shared, || 1);
        let task = logs.of(&origin).unwrap();
        logs.store().await;
        assert_eq!(logs.open().len(), 1, "a task still runs");
        drop(task);
        logs.store().await;
        assert_eq!(logs.open().len(), 0);
    }
}
