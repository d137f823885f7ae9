//! The job service: the public door of a scheduler.
//!
//! Data flow: a connection -> [`door`] (TLS, limits, deadline) -> [`gate`] (token) -> [`jobs`] (one method a call) ->
//! [`registry`] drives runs by [`Scheduler`] -> [`log`] -> whoever watches.
//!
//! Invariant: nobody without a valid token reaches a handler, and no handler waits for a watcher.

mod access;
mod door;
mod gate;
mod jobs;
mod log;
mod registry;
mod request;
mod watch;
mod wire;

use std::{sync::Arc, time::Duration};

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use lakewright_proto::{DESCRIPTORS, MESSAGE_BYTES_MAX, v1::job_service_server::JobServiceServer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

pub use self::{
    access::{Access, Token, TokenFile},
    door::{TlsIdentity, read_identity},
    request::RawRoots,
};
use self::{door::Door, gate::Gate, jobs::Jobs, registry::Registry};
use crate::{Clock, Scheduler, SystemClock};

/// Calls at once on one connection.
const STREAMS_MAX: u32 = 128;

/// Bytes of the headers of one call.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// How long a call may take until its answer begins.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause after which a quiet connection is asked whether it still lives, and how long it has to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

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

/// Serves until `stop` fires: resumes what is unfinished in the lake, then accepts and drives runs.
///
/// When `stop` fires no call is accepted any more, running steps are dropped, and their runs go on when the next
/// scheduler starts.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: the settings would open the service to anybody beyond loopback.
/// - [`ErrorKind::Unavailable`], [`ErrorKind::Corrupt`]: the lake cannot be read, or the listener fails.
pub async fn serve(
    listener: TcpListener,
    scheduler: Scheduler,
    settings: ServiceSettings,
    stop: CancellationToken,
) -> Result<()> {
    settings.check(&listener)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stopping = stop.child_token();
    let registry = Arc::new(Registry::new(scheduler, settings.lake.clone(), Arc::clone(&clock), stopping.clone()));
    registry.resume().await?;

    let ServiceSettings { lake, raw_roots, access, tls } = settings;
    let jobs = Jobs { registry: Arc::clone(&registry), lake, raw_roots: Arc::new(raw_roots) };
    let jobs = JobServiceServer::new(jobs).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<JobServiceServer<Jobs>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| Error::new(ErrorKind::Internal, "the contract cannot be reflected").with_source(error))?;

    let mut door = Door::open(listener, tls, stopping.clone())?;
    let (pause, patience) = KEEPALIVE;
    let server = Server::builder()
        .timeout(CALL_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(pause))
        .http2_keepalive_timeout(Some(patience))
        .layer(Gate::new(Arc::new(access), clock))
        .add_service(jobs)
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(door.connections(), stopping.clone().cancelled_owned());
    let served = tokio::select! {
        served = server => served,
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    };
    // Whatever ended the server ends the runs' drivers too.
    stopping.cancel();
    registry.drained().await;
    served.map_err(|error| Error::new(ErrorKind::Unavailable, "the service ended").with_source(error))
}
