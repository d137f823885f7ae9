//! The data plane: what makes a process of this program an executor of a fleet.
//!
//! Data flow: [`run_executor`] finds the fleet of a lake ([`leader`]) -> joins it ([`host`]) -> runs tasks ([`tasks`]) in
//! a directory of its own ([`scratch`]), and keeps what they log ([`logs`]) -> when the fleet has gone, looks for the next
//! one.
//!
//! Invariant: knows no jobs and no runs. What it executes was planned by a scheduler, and what it writes is named by
//! nobody until the scheduler has its rows.

mod host;
mod leader;
mod logs;
mod scratch;
mod tasks;

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use lakewright_engine::{
    Engine, EngineSettings,
    fleet::{LocalFiles, check_private, keep_spans},
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use tokio::{net::lookup_host, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

pub use self::scratch::{ExecutorStatus, executor_status};
use self::{
    host::{Host, Left},
    logs::RunLogs,
    scratch::Scratch,
};

/// Pause before the fleet is looked for again.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Longest such pause, for as long as nobody is found.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Pause before an executor whose disk was full joins again: what was in its way may have gone.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(60);

/// What an executor is given.
#[derive(Clone, Debug)]
pub struct ExecutorSettings {
    /// The lake whose fleet it joins.
    pub lake: Option<Prefix>,
    /// `host:port` at which the fleet takes executors in; looked up in the lake if none.
    pub fleet: Option<String>,
    /// The address of this machine at which it serves the fleet, and nobody else; or a name of it, looked up anew when a
    /// fleet is joined.
    pub bind: String,
    /// The port for tasks, and one above it that for data; any free ones if none.
    pub port: Option<u16>,
    /// The name or address by which others reach it; `bind` if none.
    pub host: Option<String>,
    /// Tasks at once.
    pub slots: usize,
    /// Memory of all tasks, in bytes.
    pub memory_bytes: u64,
    /// Directory for what tasks leave for others and for what does not fit into memory.
    pub scratch: PathBuf,
    /// Size of either at which tasks fail instead of filling the disk, in bytes.
    pub scratch_limit_bytes: u64,
    /// How long it goes on after it was told to stop.
    pub drain: Duration,
    /// Whether plans may name files of the local disk.
    pub local: LocalFiles,
    /// The clock of its logs, in microseconds since 1970-01-01T00:00:00Z.
    pub now_us: fn() -> i64,
}

impl ExecutorSettings {
    /// The address that [`Self::bind`] is at this moment.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: it has none, or it is open to everybody.
    pub async fn address(&self) -> Result<IpAddr> {
        let unknown = || {
            Error::new(
                ErrorKind::Invalid,
                "an executor listens at an address of its machine, or at a name that has one",
            )
            .with("location", &self.bind)
            .with_hint("write --listen 10.0.0.6, or --listen 10.0.0.6:50051")
        };
        let name = self.bind.trim_start_matches('[').trim_end_matches(']');
        let mut found = lookup_host((name, 0)).await.map_err(|error| unknown().with_source(error))?;
        let ip = found.next().ok_or_else(unknown)?.ip();
        check_private(ip, "an executor serves")?;
        Ok(ip)
    }
}

/// Runs until `stop` fires: then it takes no more tasks, ends those that it has, and serves their rows for as long as
/// somebody needs them, up to the time that it was given.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: neither a lake nor a fleet is named, or the address is open to everybody.
/// - [`ErrorKind::Exhausted`], [`ErrorKind::Denied`]: the scratch directory cannot be made.
pub async fn run_executor(settings: ExecutorSettings, stop: CancellationToken) -> Result<()> {
    check(&settings).await?;
    let scratch = Arc::new(Scratch::open(&settings.scratch, settings.scratch_limit_bytes)?);
    let engine = Engine::for_executor(
        EngineSettings {
            memory_limit_bytes: settings.memory_bytes,
            spill_dir: scratch.spill_dir(),
            spill_limit_bytes: settings.scratch_limit_bytes,
            target_partitions: settings.slots,
        },
        settings.local,
    )?;
    keep_spans();
    let logs = Arc::new(RunLogs::new(settings.local, settings.now_us));
    let mut keeping = JoinSet::new();
    let kept = Arc::clone(&logs);
    keeping.spawn(async move { kept.keep().await });
    let host = Host { settings: &settings, engine, scratch: &scratch, logs: &logs };
    be_member(&host, &stop).await;
    keeping.shutdown().await;
    logs.store().await;
    Ok(())
}

/// Joins fleets of the lake, one after the other, until `stop` fires.
async fn be_member(host: &Host<'_>, stop: &CancellationToken) {
    let mut pause = LOOK_PAUSE;
    while !stop.is_cancelled() {
        host.scratch.tell(&ExecutorStatus { slots: host.settings.slots, ..ExecutorStatus::default() });
        for address in leader::find(host.settings).await {
            match host.serve(&address, stop).await {
                Ok(Left::Stopped) => return,
                Ok(Left::Lost) => {
                    tracing::warn!(address, "fleet has gone");
                    pause = LOOK_PAUSE;
                    break;
                }
                Ok(Left::NoRoom) => {
                    tracing::warn!(
                        address,
                        seconds = NO_ROOM_PAUSE.as_secs(),
                        "no room on the disk, joins again later"
                    );
                    pause = NO_ROOM_PAUSE;
                    host.scratch.may_have_room();
                    break;
                }
                Err(error) => tracing::warn!(address, error = chain(&error), "fleet cannot be joined"),
            }
            if stop.is_cancelled() {
                return;
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => pause = (pause * 2).min(LOOK_PAUSE_MAX),
        }
    }
}

async fn check(settings: &ExecutorSettings) -> Result<()> {
    if settings.lake.is_none() && settings.fleet.is_none() {
        return Err(Error::new(ErrorKind::Invalid, "nothing says which fleet to join")
            .with_hint("give --lake LOCATION, or --fleet HOST:PORT"));
    }
    settings.address().await?;
    Ok(())
}

/// An error with its causes, for a log.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
