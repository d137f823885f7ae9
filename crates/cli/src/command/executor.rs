//! `executor`, and the fleets of `scheduler` and `run`: who executes steps besides this process.

use std::{net::IpAddr, sync::Arc, time::Duration};

use lakewright_engine::{Engine, fleet::LocalFiles};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_executor::{ExecutorSettings, run_executor};
use lakewright_lake::Prefix;
use lakewright_scheduler::{Backend, Clock, EmbeddedBackend, Fleet, FleetSettings, SystemClock};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{scaling::Scaled, service::bind};
use crate::{
    args::ExecutorArgs,
    exit::Outcome,
    interrupt::Interrupts,
    place::{Invocation, Place},
};

/// How long a step of a scheduler waits for a first executor.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs as an executor until a signal asks it to stop.
pub(super) async fn executor(invocation: &Invocation, arguments: &ExecutorArgs) -> Outcome {
    let place = invocation.any_place(None)?;
    let (bind, port) = split_listen(&arguments.listen);
    let settings = &place.settings;
    let lake = match &settings.fleet {
        Some(_) => None,
        None => Some(place.lake()?),
    };
    let mut executor = ExecutorSettings {
        lake,
        fleet: settings.fleet.clone(),
        bind,
        port,
        host: settings.fleet_host.clone(),
        slots: settings.threads,
        memory_bytes: settings.memory_bytes,
        scratch: settings.spill_dir.clone(),
        scratch_limit_bytes: settings.spill_limit_bytes,
        drain: Duration::from_secs(arguments.drain),
        local: LocalFiles::Refused,
        now_us: || SystemClock.now_us(),
    };
    executor.local = local_files(&place, executor.address().await?);
    if let Some(lake) = &executor.lake {
        executor.local.check(lake)?;
    }
    let mut interrupts = Interrupts::new()?;
    let output = invocation.output;
    output.note(&format!("executor of {} slots", executor.slots));
    let stop = CancellationToken::new();
    let mut running = Box::pin(run_executor(executor, stop.clone()));
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        () = interrupts.next() => stop.cancel(),
    }
    output.note("stopping: its tasks are brought to an end; once more stops at once");
    tokio::select! {
        ended = running => Ok(ended?),
        () = interrupts.next() => Ok(()),
    }
}

/// Takes `HOST` and `HOST:PORT` apart; port 0 is any.
fn split_listen(text: &str) -> (String, Option<u16>) {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return (ip.to_string(), None);
    }
    match text.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host.to_owned(), Some(port).filter(|port| *port > 0)),
            Err(_) => (text.to_owned(), None),
        },
        None => (text.to_owned(), None),
    }
}

/// On loopback all of a fleet is on one machine, and sees one disk.
fn local_files(place: &Place, address: IpAddr) -> LocalFiles {
    if place.settings.fleet_shares_disk || address.is_loopback() { LocalFiles::Shared } else { LocalFiles::Refused }
}

/// Who executes the steps of a process.
pub(super) struct Hands {
    /// For the scheduler of the process.
    pub(super) backend: Arc<dyn Backend>,
    fleet: Option<Arc<Fleet>>,
    /// Whoever scales the fleet.
    scaling: JoinSet<()>,
}

impl Hands {
    /// The fleet that joins at `address`; without one this process.
    ///
    /// # Errors
    /// As [`Fleet::start`], and binding the address.
    pub(super) async fn of(place: &Place, lake: &Prefix, engine: Engine, address: Option<&str>) -> Result<Self> {
        let Some(address) = address else {
            return Ok(Self { backend: Arc::new(EmbeddedBackend::new(engine)), fleet: None, scaling: JoinSet::new() });
        };
        let listener = bind(address).await?;
        let bound = listener
            .local_addr()
            .map_err(|error| Error::new(ErrorKind::Unavailable, "the listener has no address").with_source(error))?;
        let fleet = Arc::new(
            Fleet::start(FleetSettings {
                lake: lake.clone(),
                engine,
                listener,
                host: place.settings.fleet_host.clone(),
                local: local_files(place, bound.ip()),
                patience: PATIENCE,
                stall_max: place.settings.capacity.stall_timeout,
                single_executor_bytes: place.settings.single_executor_limit_bytes,
            })
            .await?,
        );
        place.output.note(&format!("executors join at {}", fleet.address()));
        Ok(Self { backend: Arc::clone(&fleet) as Arc<dyn Backend>, fleet: Some(fleet), scaling: JoinSet::new() })
    }

    /// Has the fleet scaled from here on.
    pub(super) fn scaled(mut self, scaled: Option<&Scaled>) -> Self {
        if let (Some(scaled), Some(fleet)) = (scaled, &self.fleet) {
            self.scaling = scaled.start(fleet);
        }
        self
    }

    /// Lets the executors go.
    pub(super) async fn release(mut self) {
        self.scaling.shutdown().await;
        drop(self.backend);
        if let Some(fleet) = self.fleet.and_then(Arc::into_inner) {
            fleet.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_listens_at_an_address_or_a_name_with_or_without_a_port() {
        let cases = [
            ("10.0.0.6", ("10.0.0.6", None)),
            ("10.0.0.6:50051", ("10.0.0.6", Some(50051))),
            ("10.0.0.6:0", ("10.0.0.6", None)),
            ("::1", ("::1", None)),
            ("[::1]:50051", ("[::1]", Some(50051))),
            ("node-7", ("node-7", None)),
            ("node-7:50051", ("node-7", Some(50051))),
        ];
        for (text, (host, port)) in cases {
            assert_eq!(split_listen(text), (host.to_owned(), port), "{text}");
        }
    }
}
