//! The job service: the public door of a scheduler.
//!
//! Data flow: a connection -> [`door`] (TLS, limits, deadline) -> [`gate`] (token) -> [`jobs`] (one method a call) ->
//! [`registry`] lets runs in ([`admission`]) and drives them by [`Scheduler`] -> [`log`] -> whoever watches. All of it once
//! the scheduler leads ([`leader`]); until then it stands by, and tells its [`health`] only.
//!
//! Invariant: nobody without a valid token reaches a handler, and no handler waits for a watcher.

mod access;
mod admission;
mod door;
mod gate;
mod health;
mod jobs;
mod leader;
mod log;
mod registry;
mod request;
mod watch;
mod wire;

use std::{sync::Arc, time::Duration};

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use lakewright_proto::{DESCRIPTORS, MESSAGE_BYTES_MAX, v1::job_service_server::JobServiceServer};
use tokio::{net::TcpListener, sync::OnceCell};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

pub use self::{
    access::{Access, Token, TokenFile},
    admission::RunLimits,
    door::{TlsIdentity, read_identity},
    health::probe_store,
    leader::newest as leader_of,
    request::RawRoots,
};
use self::{
    door::Door,
    gate::Gate,
    health::Health,
    jobs::{Jobs, Led},
    leader::{Candidate, LeaderPace, Standing},
    registry::Registry,
};
use crate::{Clock, Scheduler, SystemClock};

/// Calls at once on one connection.
const STREAMS_MAX: u32 = 128;

/// Bytes of the headers of one call.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// How long a call may take until its answer begins.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause after which a quiet connection is asked whether it still lives, and how long it has to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Time between two looks at the own health, for gRPC's health service.
const HEALTH_PAUSE: Duration = Duration::from_secs(10);

/// How long calls may go on after the service was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What a service is given.
#[derive(Debug)]
pub struct ServiceSettings {
    /// The lake of the scheduler; clients cannot name another.
    pub lake: Prefix,
    /// Where clients may let raw JSON be read.
    pub raw_roots: RawRoots,
    /// Who may call.
    pub access: Access,
    /// The certificate and its key; `None` speaks plaintext, which is for loopback only.
    pub tls: Option<TlsIdentity>,
    /// Where clients reach the service, for those who ask another scheduler of the lake.
    pub address: String,
    /// How much it takes on.
    pub limits: RunLimits,
}

impl ServiceSettings {
    /// Refuses to speak plaintext, or to let anybody in, beyond the own machine.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: the listener is not on loopback, and there is no TLS or no token.
    pub fn check(&self, listener: &TcpListener) -> Result<()> {
        let address = listener
            .local_addr()
            .map_err(|error| Error::new(ErrorKind::Unavailable, "the listener has no address").with_source(error))?;
        let is_open = self.tls.is_none() || matches!(self.access, Access::Anybody);
        if is_open && !address.ip().is_loopback() {
            return Err(Error::new(ErrorKind::Invalid, "without TLS and tokens a scheduler listens on loopback only")
                .with("location", address)
                .with_hint("make certificates with `lakewright certs`, or listen on 127.0.0.1"));
        }
        Ok(())
    }
}

/// Serves until `stop` fires: waits until no other scheduler of the lake leads, makes the one that drives runs by `start`,
/// resumes what is unfinished in the lake, then accepts and drives runs.
///
/// When `stop` fires no call is accepted any more, running steps are dropped, and their runs go on when the next
/// scheduler leads.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: the settings would open the service to anybody beyond loopback.
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Corrupt`]: the lake cannot be read, or the listener fails.
/// - [`ErrorKind::Conflict`]: another scheduler leads, which has taken this one for dead.
/// - Those of `start`.
pub async fn serve(
    listener: TcpListener,
    settings: ServiceSettings,
    start: impl AsyncFnOnce() -> Result<Scheduler>,
    stop: CancellationToken,
) -> Result<()> {
    settings.check(&listener)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stopping = stop.child_token();
    let ServiceSettings { lake, raw_roots, access, tls, address, limits } = settings;
    let (led, standing) = (Arc::new(OnceCell::new()), Standing::default());
    let jobs = Jobs {
        led: Arc::clone(&led),
        standing: standing.clone(),
        health: Arc::new(Health::new(&lake, standing.clone())),
        lake: lake.clone(),
        raw_roots: Arc::new(raw_roots),
    };
    let health = Arc::clone(&jobs.health);
    let (reporter, health_service) = tonic_health::server::health_reporter();
    reporter.set_not_serving::<JobServiceServer<Jobs>>().await;
    let mut candidate = Candidate::new(&lake, &address, standing, LeaderPace::default());
    let leading = async {
        let term = candidate.lead().await?;
        let scheduler = start().await?;
        let registry = Arc::new(Registry::new(scheduler, lake, Arc::clone(&clock), limits, stopping.clone()));
        registry.resume().await?;
        if led.set(Led { term, registry }).is_err() {
            return Err(Error::new(ErrorKind::Internal, "a scheduler has begun to lead twice"));
        }
        tokio::select! {
            leader = candidate.depose(term) => Err(match leader {
                Some(leader) => {
                    Error::new(ErrorKind::Conflict, "another scheduler leads, which has taken this one for dead")
                        .with("leader", leader.address)
                        .with_hint("start it again: it stands by until the other one has gone")
                }
                None => Error::new(ErrorKind::Unavailable, "the lake takes no heartbeats: another scheduler may lead")
                    .with_hint("start it again when `lakewright health` reaches the lake from this machine"),
            }),
            () = report_health(&health, &reporter) => Ok(()),
        }
    };
    let gate = Gate::new(Arc::new(access), Arc::clone(&clock));
    let served = tokio::select! {
        served = answer(listener, tls, gate, (jobs, health_service), stopping.clone()) => served,
        led = Box::pin(leading) => led,
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    };
    // Whatever ended the server ends the runs' drivers too.
    stopping.cancel();
    if let Some(led) = led.get() {
        led.registry.drained().await;
    }
    candidate.stop().await;
    served
}

/// Tells gRPC's health service whether runs can be driven, for ever.
async fn report_health(health: &Health, reporter: &tonic_health::server::HealthReporter) {
    loop {
        match health.store().await {
            Ok(_) => reporter.set_serving::<JobServiceServer<Jobs>>().await,
            Err(why) => {
                tracing::error!(why, "lake cannot be written and read");
                reporter.set_not_serving::<JobServiceServer<Jobs>>().await;
            }
        }
        tokio::time::sleep(HEALTH_PAUSE).await;
    }
}

/// Answers calls until `stopping` fires.
async fn answer<H>(
    listener: TcpListener,
    tls: Option<TlsIdentity>,
    gate: Gate,
    (jobs, health): (Jobs, tonic_health::pb::health_server::HealthServer<H>),
    stopping: CancellationToken,
) -> Result<()>
where
    H: tonic_health::pb::health_server::Health,
{
    let jobs = JobServiceServer::new(jobs).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| Error::new(ErrorKind::Internal, "the contract cannot be reflected").with_source(error))?;
    let mut door = Door::open(listener, tls, stopping.clone())?;
    let (pause, patience) = KEEPALIVE;
    Server::builder()
        .timeout(CALL_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(pause))
        .http2_keepalive_timeout(Some(patience))
        .layer(gate)
        .add_service(jobs)
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(door.connections(), stopping.cancelled_owned())
        .await
        .map_err(|error| Error::new(ErrorKind::Unavailable, "the service ended").with_source(error))
}
