//! A typed client of the job service.
//!
//! Data flow: a [`Target`] -> [`Client::connect`] -> one method a call -> messages of [`v1`], or an
//! [`Error`](lakewright_error::Error) with the scheduler's kind, context and hint.
//!
//! Invariant: a token is sent over TLS, or over loopback, and nowhere else.
//!
//! `examples/submit.rs` submits a job and watches it to its end.

mod connect;
mod schedulers;
mod watch;

use std::{sync::Arc, time::Duration};

use lakewright_error::{ErrorKind, Result};
use lakewright_proto::{status::error_in, v1::job_service_client::JobServiceClient};
use tokio::time::Instant;
use tonic::{Request, Status, transport::Channel};
use uuid::Uuid;

use self::schedulers::Schedulers;
pub use self::{connect::Target, watch::Watch};
pub use lakewright_proto::v1;

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Times that a call which may be repeated is tried, where there is one scheduler.
const TRIES_MAX: u32 = 4;

/// How long a call is tried where there are several: one that stands by needs a while until it leads.
const TAKEOVER_MAX: Duration = Duration::from_secs(90);

/// Pause before the second try; it doubles with each further one, up to the second value.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// A client of the schedulers of one lake, of which one leads; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    schedulers: Arc<Schedulers>,
    authorization: Option<tonic::metadata::MetadataValue<tonic::metadata::Ascii>>,
}

/// Makes a method that may be repeated when no answer came.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $response:ident;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// That of the scheduler; [`ErrorKind::Unavailable`] if it gives no answer, several times.
                pub async fn $name(&self, request: v1::$request) -> Result<v1::$response> {
                    let mut tries = Tries::new(self.schedulers.len());
                    loop {
                        let answer = match self.service().await {
                            Ok(mut service) => {
                                let answer = service.$name(self.request(request.clone())).await;
                                answer.map_err(|status| error_of(&status))
                            }
                            Err(error) => Err(error),
                        };
                        match answer {
                            Ok(answer) => return Ok(answer.into_inner()),
                            Err(error) => tries.again(error, &self.schedulers).await?,
                        }
                    }
                }
            )*
        }
    };
}

/// How often a call was tried, and how often it may be.
struct Tries {
    schedulers: usize,
    tries: u32,
    since: Instant,
    pause: Duration,
}

impl Tries {
    fn new(schedulers: usize) -> Self {
        Self { schedulers, tries: 1, since: Instant::now(), pause: PAUSES.0 }
    }

    /// Waits until the call may be tried again, at the next scheduler; gives the error back if it may not.
    async fn again(&mut self, error: lakewright_error::Error, schedulers: &Schedulers) -> Result<()> {
        let may = match self.schedulers {
            1 => self.tries < TRIES_MAX,
            _ => self.since.elapsed() < TAKEOVER_MAX,
        };
        if error.kind() != ErrorKind::Unavailable || !may {
            return Err(error);
        }
        schedulers.move_on();
        // The others are asked at once; when all have been asked, they get time.
        if self.schedulers == 1 || (self.tries as usize).is_multiple_of(self.schedulers) {
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(PAUSES.1);
        }
        self.tries += 1;
        Ok(())
    }
}

calls! {
    /// Reads one run, by its id or a unique beginning of it; by an empty id the newest.
    get_run(GetRunRequest) -> GetRunResponse;
    /// Lists runs, newest first.
    list_runs(ListRunsRequest) -> ListRunsResponse;
    /// Lists the tables of the newest release.
    list_tables(ListTablesRequest) -> ListTablesResponse;
    /// Reads one table of the newest release.
    get_table(GetTableRequest) -> GetTableResponse;
    /// Reads a page of what was logged about a run.
    read_run_logs(ReadRunLogsRequest) -> ReadRunLogsResponse;
    /// Asks a scheduler what it is fit for; one that stands by answers, too.
    get_health(GetHealthRequest) -> GetHealthResponse;
    /// Lists who executes steps.
    list_executors(ListExecutorsRequest) -> ListExecutorsResponse;
    /// Cancels a run that has not been decided yet; again, if it was.
    cancel_run(CancelRunRequest) -> CancelRunResponse;
    /// Submits a request that has an idempotency key; see [`Client::submit`].
    submit_run(SubmitRunRequest) -> SubmitRunResponse;
    /// Tries a run again by a request that has an idempotency key; see [`Client::retry`].
    retry_run(RetryRunRequest) -> RetryRunResponse;
}

impl Client {
    /// Connects to a scheduler, or to the first that answers of several; calls find the one that leads.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: the address or the certificate of the authority cannot be used, or a token would be
    ///   sent in plaintext beyond this machine.
    /// - [`ErrorKind::Unavailable`]: nobody answers there, or the certificate is not one of the authority's.
    pub async fn connect(target: &Target) -> Result<Self> {
        let schedulers = Schedulers::connect(target).await?;
        Ok(Self { schedulers: Arc::new(schedulers), authorization: target.authorization()? })
    }

    /// The scheduler that is asked next.
    async fn service(&self) -> Result<JobServiceClient<Channel>> {
        self.schedulers.current().await
    }

    /// Asks another scheduler from here on, if there is one.
    fn move_on(&self) {
        self.schedulers.move_on();
    }

    /// Submits a run. Without an idempotency key it gets one of its own, so that a lost answer leads to no second run.
    ///
    /// # Errors
    /// As [`Client::submit_run`].
    pub async fn submit(&self, mut request: v1::SubmitRunRequest) -> Result<v1::SubmitRunResponse> {
        if request.idempotency_key.is_empty() {
            request.idempotency_key = Uuid::new_v4().to_string();
        }
        self.submit_run(request).await
    }

    /// Tries a failed or cancelled run again, as a new run, with a key as [`Client::submit`].
    ///
    /// # Errors
    /// As [`Client::retry_run`].
    pub async fn retry(&self, run_id: &str) -> Result<v1::RetryRunResponse> {
        let idempotency_key = Uuid::new_v4().to_string();
        self.retry_run(v1::RetryRunRequest { run_id: run_id.to_owned(), idempotency_key }).await
    }

    /// Watches a run from its first event, through interruptions, to its end.
    pub fn watch(&self, run_id: &str) -> Watch {
        Watch::new(self.clone(), run_id.to_owned())
    }

    /// Makes a request that shows the token.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = self.open_request(message);
        request.set_timeout(CALL_TIMEOUT);
        request
    }

    /// Makes a request that shows the token and has no deadline.
    fn open_request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
}

/// The error that a status stands for. A connection that broke has no kind of its own in gRPC: its status was made on this
/// side and has a source, which one that came over the connection never has.
fn error_of(status: &Status) -> lakewright_error::Error {
    if std::error::Error::source(status).is_some() {
        return lakewright_error::Error::new(ErrorKind::Unavailable, "the connection to the scheduler broke")
            .with_source(status.clone());
    }
    error_in(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_breaks_while_an_answer_is_read_may_be_tried_again_elsewhere() {
        let broken = Status::from_error(Box::new(std::io::Error::other("error reading a body from connection")));
        assert_eq!(error_of(&broken).kind(), ErrorKind::Unavailable);
        assert_eq!(error_of(&Status::internal("of the scheduler")).kind(), ErrorKind::Internal);
    }
}
