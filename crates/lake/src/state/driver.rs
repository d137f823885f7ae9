//! Who seems alive.
//!
//! Invariant: a heartbeat is a hint about whether to wait, never an argument about who may write.

use serde::{Deserialize, Serialize};

use super::Format;

/// `drivers/<id>`: the one kind of state object that is overwritten, every few seconds, by its driver alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Marks the format.
    pub format: Format,
    /// The driver.
    pub driver_id: String,
    /// Name of its machine.
    pub host: String,
    /// Its process on that machine.
    pub pid: u32,
    /// When that process began, in seconds since 1970-01-01T00:00:00Z by the machine's clock: tells a process from
    /// another one that has its number later. 0 if unknown.
    pub process_started_s: u64,
    /// When that process began, in clock ticks since its machine's start, where the machine tells: no step of the clock
    /// moves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_tick: Option<u64>,
    /// Grows with every beat; an observer compares it with what it saw before, by its own clock.
    pub beat: u64,
    /// The runs that it drives.
    pub runs: Vec<String>,
    /// `host:port` at which executors join the fleet of its process, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
}

/// `leaders/<term>.json`: this scheduler leads from now on.
///
/// Whoever creates the next term leads; a leader that finds a term above its own does so no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Marks the format.
    pub format: Format,
    /// Its number: one more than that of the leader before.
    pub term: u64,
    /// Told apart from every other creator's.
    pub nonce: String,
    /// The driver whose heartbeat shows that it is alive.
    pub driver_id: String,
    /// Name of its machine.
    pub host: String,
    /// Where clients reach it.
    pub address: String,
}
