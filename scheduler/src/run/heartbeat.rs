//! Tells other processes that a driver is alive, and judges whether others are.
//!
//! Invariant: nothing rests on it but how long somebody waits. A driver that is taken for dead and is not loses every
//! race to create an object, or wins it: either way the run is one run.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use lakewright_error::{ErrorKind, Result};
use lakewright_lake::{
    Prefix, layout,
    state::{Format, Heartbeat, encode, list_names, read_object},
};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::{sync::Mutex, task::JoinSet, time::Instant};
use uuid::Uuid;

use super::race::{chain, retrying};

/// The heart of one driver; stops beating when dropped.
#[derive(Debug)]
pub(crate) struct Heart {
    lake: Prefix,
    pause: Duration,
    heartbeat: Arc<Mutex<Heartbeat>>,
    /// When the last beat was stored.
    stored: Arc<std::sync::Mutex<Instant>>,
    beats: JoinSet<()>,
}

impl Heart {
    /// Makes a heart that beats as soon as there is a run to drive, with a pause between two beats.
    pub(crate) fn new(lake: &Prefix, pause: Duration) -> Self {
        let (host, process_started_s) = this_process();
        let heartbeat = Heartbeat {
            format: Format,
            driver_id: Uuid::new_v4().to_string(),
            host,
            pid: std::process::id(),
            process_started_s,
            process_tick: process_tick(std::process::id()),
            beat: 0,
            runs: Vec::new(),
            fleet: None,
        };
        Self {
            lake: lake.clone(),
            pause,
            heartbeat: Arc::new(Mutex::new(heartbeat)),
            stored: Arc::new(std::sync::Mutex::new(Instant::now())),
            beats: JoinSet::new(),
        }
    }

    /// Says that this driver drives the run too, before it gives anybody a reason to ask.
    pub(crate) async fn drives(&mut self, run_id: &str) {
        self.heartbeat.lock().await.runs.push(run_id.to_owned());
        self.begin().await;
    }

    /// Says where executors join the fleet of this process.
    pub(crate) async fn announce(&mut self, address: &str) {
        self.heartbeat.lock().await.fleet = Some(address.to_owned());
        self.begin().await;
    }

    /// Says that this process is there, without a run to drive yet.
    pub(crate) async fn beat_on(&mut self) {
        self.begin().await;
    }

    /// Time since a beat was stored, or since it was made.
    pub(crate) fn silent_for(&self) -> Duration {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// The id of this driver, and its machine.
    pub(crate) async fn identity(&self) -> (String, String) {
        let heartbeat = self.heartbeat.lock().await;
        (heartbeat.driver_id.clone(), heartbeat.host.clone())
    }

    /// Beats no more, as a process that is frozen.
    #[cfg(test)]
    pub(crate) async fn hold_breath(&mut self) {
        self.beats.shutdown().await;
    }

    async fn begin(&mut self) {
        beat(&self.lake, &self.heartbeat, &self.stored).await;
        if self.beats.is_empty() {
            let (lake, pause, heartbeat) = (self.lake.clone(), self.pause, Arc::clone(&self.heartbeat));
            let stored = Arc::clone(&self.stored);
            self.beats.spawn(async move {
                loop {
                    tokio::time::sleep(pause).await;
                    beat(&lake, &heartbeat, &stored).await;
                }
            });
        }
    }

    /// As [`Heart::leaves`], at once.
    pub(crate) async fn leaves_now(&mut self, run_id: &str) {
        self.leaves(run_id).await;
        beat(&self.lake, &self.heartbeat, &self.stored).await;
    }

    /// Says that this driver drives the run no more, with its next beat.
    pub(crate) async fn leaves(&mut self, run_id: &str) {
        self.heartbeat.lock().await.runs.retain(|run| run != run_id);
    }

    /// Stops beating and takes the heartbeat away.
    pub(crate) async fn stop(mut self) {
        self.beats.shutdown().await;
        let key = layout::driver(&self.heartbeat.lock().await.driver_id);
        if let Err(error) = self.lake.delete(&key).await {
            tracing::debug!(error = chain(&error), "heartbeat left behind");
        }
    }
}

/// Writes the heartbeat once; that it is not written is no reason to stop.
async fn beat(lake: &Prefix, heartbeat: &Mutex<Heartbeat>, stored: &std::sync::Mutex<Instant>) {
    let mut heartbeat = heartbeat.lock().await;
    heartbeat.beat += 1;
    let written = match encode(&*heartbeat) {
        Ok(bytes) => lake.overwrite(&layout::driver(&heartbeat.driver_id), bytes).await,
        Err(error) => Err(error),
    };
    match written {
        Ok(()) => *stored.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now(),
        Err(error) => tracing::debug!(error = chain(&error), "heartbeat not written"),
    }
}

fn this_process() -> (String, u64) {
    (host_name(), process_started_s(std::process::id()).unwrap_or(0))
}

/// When a process of this machine began, in seconds since 1970-01-01T00:00:00Z; `None` if there is no such process.
fn process_started_s(pid: u32) -> Option<u64> {
    let pid = Pid::from_u32(pid);
    let mut system = System::new();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, ProcessRefreshKind::nothing());
    system.process(pid).map(sysinfo::Process::start_time)
}

/// When a process of this machine began, in clock ticks since the machine's start, as Linux tells it.
fn process_tick(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, which may hold anything, is in parentheses; the 22nd field is the 20th behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// What an observer has seen of the drivers of one lake, by its own clock.
#[derive(Debug)]
pub(crate) struct Observer {
    /// Time without a beat after which a driver seems dead.
    silence_max: Duration,
    /// By name of the heartbeat: its last number, and when it was first seen.
    seen: BTreeMap<String, (u64, Instant)>,
}

impl Observer {
    /// Makes an observer that has seen nothing yet.
    pub(crate) fn new(silence_max: Duration) -> Self {
        Self { silence_max, seen: BTreeMap::new() }
    }

    /// Gives whether somebody seems to drive the run, from a look at all heartbeats. The first look at a driver counts
    /// as a beat.
    pub(crate) fn seems_driven(&mut self, heartbeats: &[Heartbeat], run_id: &str, now: Instant) -> bool {
        self.seen.retain(|name, _| heartbeats.iter().any(|heartbeat| heartbeat.driver_id == *name));
        let mut driven = false;
        for heartbeat in heartbeats.iter().filter(|heartbeat| heartbeat.runs.iter().any(|run| run == run_id)) {
            driven |= self.seems_alive(&heartbeat.driver_id, heartbeat.beat, now);
        }
        driven
    }

    /// Gives whether a driver seems alive, whose heartbeat has this number.
    pub(crate) fn seems_alive(&mut self, name: &str, beat: u64, now: Instant) -> bool {
        let (last, since) = self.seen.entry(name.to_owned()).or_insert((beat, now));
        if *last != beat {
            (*last, *since) = (beat, now);
        }
        now.duration_since(*since) < self.silence_max
    }
}

/// Reads all heartbeats of a lake; one that does not parse counts as none. Those of processes of this machine that have
/// ended are taken away: nobody else does it for them.
///
/// # Errors
/// As listing and reading state objects.
pub(crate) async fn read_heartbeats(lake: &Prefix) -> Result<Vec<Heartbeat>> {
    let mut heartbeats = Vec::new();
    for name in retrying(|| list_names(lake, layout::DRIVERS_DIR)).await? {
        let key = layout::driver(&name);
        match retrying(|| read_object(lake, &key)).await {
            Ok(Some(heartbeat)) if is_gone(&heartbeat) => {
                if let Err(error) = lake.delete(&key).await {
                    tracing::debug!(error = chain(&error), "heartbeat left behind");
                }
            }
            Ok(Some(heartbeat)) => heartbeats.push(heartbeat),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            // That it could not be read says nothing about whether its driver lives.
            Err(error) => return Err(error),
        }
    }
    Ok(heartbeats)
}

/// Whether the heartbeat is of a process of this machine that has ended.
fn is_gone(heartbeat: &Heartbeat) -> bool {
    let is_other = || match heartbeat.process_tick {
        Some(tick) => process_tick(heartbeat.pid) != Some(tick),
        None => process_started_s(heartbeat.pid) != Some(heartbeat.process_started_s),
    };
    heartbeat.host == host_name() && is_other()
}

fn host_name() -> String {
    System::host_name().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE_MAX: Duration = Duration::from_secs(20);

    #[test]
    fn a_driver_seems_dead_after_silence_by_the_observers_clock_and_alive_again_after_a_beat() {
        let mut observer = Observer::new(SILENCE_MAX);
        let start = Instant::now();
        assert!(observer.seems_alive("d", 7, start));
        assert!(observer.seems_alive("d", 7, start + SILENCE_MAX - Duration::from_millis(1)));
        assert!(!observer.seems_alive("d", 7, start + SILENCE_MAX));
        assert!(observer.seems_alive("d", 8, start + SILENCE_MAX));
    }

    #[tokio::test]
    async fn a_driver_whose_process_has_gone_seems_dead_at_once_and_its_heartbeat_is_taken_away() {
        let store = Arc::new(object_store::memory::InMemory::new());
        let lake = Prefix::new(store, url::Url::parse("memory:///").unwrap(), "lake".into());
        let mut heart = Heart::new(&lake, Duration::from_secs(3600));
        {
            let mut heartbeat = heart.heartbeat.lock().await;
            (heartbeat.process_started_s, heartbeat.process_tick) = (1, Some(1));
        }
        heart.drives("r").await;
        assert_eq!(list_names(&lake, layout::DRIVERS_DIR).await.unwrap().len(), 1);
        assert_eq!(read_heartbeats(&lake).await.unwrap(), []);
        assert_eq!(list_names(&lake, layout::DRIVERS_DIR).await.unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_process_of_this_machine_is_told_from_an_earlier_one_of_its_number() {
        let (host, process_started_s) = this_process();
        let pid = std::process::id();
        let mine = Heartbeat {
            format: Format,
            driver_id: "d".to_owned(),
            host,
            pid,
            process_started_s,
            process_tick: process_tick(pid),
            beat: 1,
            runs: vec![],
            fleet: None,
        };
        assert!(!is_gone(&mine));
        let earlier = mine.process_tick.map(|tick| tick.wrapping_sub(1));
        assert!(is_gone(&Heartbeat { process_tick: earlier, process_started_s: 1, ..mine.clone() }));
        // The clock has been put back since, and with it the time at which the kernel says that processes began.
        let stepped = Heartbeat { process_started_s: process_started_s + 3600, ..mine.clone() };
        assert_eq!(is_gone(&stepped), mine.process_tick.is_none());
        assert!(!is_gone(&Heartbeat { host: "another".to_owned(), pid: u32::MAX, ..mine }));
    }
}
