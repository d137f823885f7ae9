//! Watches a run through interruptions.

use std::time::Duration;

use lakewright_error::{ErrorKind, Result};
use tokio::time::Instant;
use tonic::Streaming;

use crate::{Client, error_of, v1};

/// How long a scheduler may be away while one of its runs is watched.
const AWAY_MAX: Duration = Duration::from_secs(120);

/// Pause before a watcher comes back.
const PAUSE: Duration = Duration::from_millis(500);

/// The events of one run, in order. Events of a step's progress may be left out.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    request: v1::WatchRunRequest,
    stream: Option<Streaming<v1::RunEvent>>,
    /// Since when nothing has come but interruptions.
    away_since: Option<Instant>,
    has_ended: bool,
}

impl Watch {
    pub(crate) fn new(client: Client, run_id: String) -> Self {
        let request = v1::WatchRunRequest { run_id, ..Default::default() };
        Self { client, request, stream: None, away_since: None, has_ended: false }
    }

    /// Goes on after an event that was seen before.
    #[must_use]
    pub fn after(mut self, log_id: &str, sequence: u64) -> Self {
        self.request.log_id = log_id.to_owned();
        self.request.after_sequence = sequence;
        self
    }

    /// The next event; `None` after the run's end. When the scheduler was restarted, its history comes again.
    ///
    /// # Errors
    /// That of the scheduler; [`ErrorKind::Unavailable`] if it is away for two minutes.
    ///
    /// # Cancel safety
    /// No event is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<v1::RunEvent>> {
        while !self.has_ended {
            match self.receive().await {
                Ok(Some(event)) => {
                    self.away_since = None;
                    self.request.log_id.clone_from(&event.log_id);
                    self.request.after_sequence = event.sequence;
                    self.has_ended = matches!(event.event, Some(v1::run_event::Event::Ended(_)));
                    return Ok(Some(event));
                }
                // A stream that ends before the run does has been cut.
                Ok(None) => self.come_back(None).await?,
                Err(error) if error.kind() == ErrorKind::Unavailable => self.come_back(Some(error)).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn receive(&mut self) -> Result<Option<v1::RunEvent>> {
        if self.stream.is_none() {
            let request = self.client.open_request(self.request.clone());
            let answer = self.client.service().await?.watch_run(request).await;
            self.stream = Some(answer.map_err(|status| error_of(&status))?.into_inner());
        }
        match &mut self.stream {
            Some(stream) => stream.message().await.map_err(|status| error_of(&status)),
            None => Ok(None),
        }
    }

    async fn come_back(&mut self, error: Option<lakewright_error::Error>) -> Result<()> {
        self.stream = None;
        self.client.move_on();
        let now = Instant::now();
        let since = *self.away_since.get_or_insert(now);
        if let Some(error) = error.filter(|_| now.duration_since(since) >= AWAY_MAX) {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}
