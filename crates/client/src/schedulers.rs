//! The schedulers of a lake that a client knows: one leads, and the client finds out which.
//!
//! Invariant: at any moment one of them is asked. That a scheduler does not answer, or stands by, moves all clones of a
//! client on to the next one.

use std::sync::atomic::{AtomicUsize, Ordering};

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_proto::{MESSAGE_BYTES_MAX, v1::job_service_client::JobServiceClient};
use tokio::sync::OnceCell;
use tonic::transport::Channel;

use crate::connect::{Target, channel};

/// One scheduler, and the connection to it once there is one.
#[derive(Debug)]
struct Scheduler {
    target: Target,
    service: OnceCell<JobServiceClient<Channel>>,
}

impl Scheduler {
    async fn service(&self) -> Result<JobServiceClient<Channel>> {
        let connect = || async {
            let channel = channel(&self.target).await?;
            Ok(JobServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
        };
        self.service.get_or_try_init(connect).await.cloned()
    }
}

/// Schedulers, of which one is asked.
#[derive(Debug)]
pub(crate) struct Schedulers {
    all: Vec<Scheduler>,
    current: AtomicUsize,
}

impl Schedulers {
    /// Connects to the first that answers of those that the address names, with commas between them.
    ///
    /// # Errors
    /// As [`channel`]; what the last one said if none answers.
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        let addresses = target.address.split(',').map(str::trim).filter(|address| !address.is_empty());
        let one = |address: &str| Scheduler {
            target: Target { address: address.to_owned(), ..target.clone() },
            service: OnceCell::new(),
        };
        let schedulers = Self { all: addresses.map(one).collect(), current: AtomicUsize::new(0) };
        let mut failed = None;
        for _ in 0..schedulers.all.len() {
            match schedulers.current().await {
                Ok(_) => return Ok(schedulers),
                // Whatever else is wrong is wrong with the request.
                Err(error) if error.kind() != ErrorKind::Unavailable => return Err(error),
                Err(error) => failed = Some(error),
            }
            schedulers.move_on();
        }
        Err(failed.unwrap_or_else(|| {
            Error::new(ErrorKind::Invalid, "this names no scheduler")
                .with("location", &target.address)
                .with_hint("write https://host:50040, several with commas between them")
        }))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The one that is asked, connected.
    pub(crate) async fn current(&self) -> Result<JobServiceClient<Channel>> {
        let index = self.current.load(Ordering::Relaxed) % self.all.len().max(1);
        match self.all.get(index) {
            Some(scheduler) => scheduler.service().await,
            None => Err(Error::new(ErrorKind::Invalid, "there is no scheduler to ask")),
        }
    }

    /// Asks the next one from here on.
    pub(crate) fn move_on(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }
}
