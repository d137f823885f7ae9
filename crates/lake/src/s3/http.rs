//! The way of every request to S3, and to whoever gives credentials for it.
//!
//! Data flow: object_store signs a request -> **here**: a place in the [`Gate`], the request, a look at the answer ->
//! object_store tries again, or reads the body.
//!
//! Invariant: a place is held until an answer's headers are there, never while its body is read: whoever reads several
//! bodies at once must not wait for itself.

use std::{
    error::Error as StdError,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use http_body::{Body, Frame, SizeHint};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
        ReqwestConnector,
    },
};
use tokio::time::{Sleep, sleep, timeout};

use super::{
    About, S3Fault,
    fault::Answer,
    limit::{Gate, Pass},
};

/// An answer's headers come within this time, and as much more as a slow network needs for what is sent.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// A network that carries less of an upload is given up.
const UPLOAD_BYTES_PER_S_MIN: u64 = 64 << 10;
/// The next bytes of a body come within this time of being asked for.
const BODY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// The instance's metadata is a hop away.
const CREDENTIALS_TIME_MAX: Duration = Duration::from_secs(5);
/// Tries to reach a server that has never answered; later it gets all tries of the client.
const FIRST_CONTACTS_MAX: u32 = 3;
/// An error document is not longer.
const ERROR_BODY_BYTES_MAX: usize = 64 << 10;

/// Answers that asked for fewer requests, of all buckets of the process.
static THROTTLED: AtomicU64 = AtomicU64::new(0);

/// Answers of stores that have asked this process for fewer requests, since it began.
pub fn throttled() -> u64 {
    THROTTLED.load(Ordering::Relaxed)
}

/// Makes the clients of one bucket.
#[derive(Debug)]
pub(super) struct Connector {
    about: Arc<About>,
    gate: Arc<Gate>,
}

impl Connector {
    pub(super) fn new(about: Arc<About>, gate: Arc<Gate>) -> Self {
        Self { about, gate }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service {
            client: ReqwestConnector::default().connect(options)?,
            about: Arc::clone(&self.about),
            gate: Arc::clone(&self.gate),
            contact: Contact::default(),
        }))
    }
}

#[derive(Debug)]
struct Service {
    client: HttpClient,
    about: Arc<About>,
    gate: Arc<Gate>,
    contact: Contact,
}

/// Whether the server of a client has ever answered.
#[derive(Debug, Default)]
struct Contact {
    answered: AtomicBool,
    failures: AtomicU32,
}

impl Contact {
    fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether another failure to reach the server is one too many.
    fn is_hopeless(&self) -> bool {
        !self.answered.load(Ordering::Relaxed)
            && self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FIRST_CONTACTS_MAX
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (host, port) = (request.uri().host().map(str::to_owned), request.uri().port_u16());
        if host.as_deref() == self.about.url.host_str() && port == self.about.url.port() {
            let pass = self.gate.enter().await;
            return self.call_store(request, pass).await;
        }
        self.call_credentials(request, &host.unwrap_or_default()).await
    }
}

impl Service {
    async fn call_store(&self, request: HttpRequest, pass: Pass<'_>) -> Result<HttpResponse, HttpError> {
        let sent = request.body().content_length() as u64;
        let time_max = ANSWER_TIME_MAX + Duration::from_secs(sent / UPLOAD_BYTES_PER_S_MIN);
        let answer = self.execute(request, time_max).await.map_err(|error| {
            if error.kind() == HttpErrorKind::Connect && self.contact.is_hopeless() {
                let (endpoint, why) = (self.about.url.origin().ascii_serialization(), innermost(&error));
                return refused(S3Fault::Unreachable { endpoint, why });
            }
            error
        })?;
        self.contact.answered();
        if let Some(server) = header(&answer, "server") {
            self.about.server.get_or_init(|| server);
        }
        match answer.status().as_u16() {
            429 | 503 => {
                THROTTLED.fetch_add(1, Ordering::Relaxed);
                if pass.throttled() {
                    tracing::info!(store = %self.about.url, requests = self.gate.allowed(), "the store throttles");
                }
            }
            _ => pass.answered(),
        }
        drop(pass);
        let answer = self.judge(answer).await?;
        Ok(patient(answer))
    }

    /// Sends a request and waits for the answer's headers.
    async fn execute(&self, request: HttpRequest, time_max: Duration) -> Result<HttpResponse, HttpError> {
        timeout(time_max, self.client.execute(request)).await.unwrap_or_else(|_| Err(silence(time_max)))
    }

    /// Turns an answer that trying again cannot change into its fault.
    async fn judge(&self, answer: HttpResponse) -> Result<HttpResponse, HttpError> {
        if !matches!(answer.status().as_u16(), 301 | 307 | 308 | 400 | 401 | 403 | 404 | 501) {
            return Ok(answer);
        }
        let (mut answer, read) = read_error(answer).await?;
        if read.code.as_deref() == Some("RequestTimeout")
            && let Ok(busy) = 503_u16.try_into()
        {
            // The request came too slowly to be done: the client tries again what a busy server has not done, and no 400.
            *answer.status_mut() = busy;
            return Ok(answer);
        }
        match S3Fault::of(&read, &self.about.bucket, &self.about.region) {
            Some(fault) => Err(refused(fault)),
            None => Ok(answer),
        }
    }

    async fn call_credentials(&self, request: HttpRequest, host: &str) -> Result<HttpResponse, HttpError> {
        let provider = || match host {
            "169.254.169.254" => "the role of this machine".to_owned(),
            host => host.to_owned(),
        };
        let answer = self.execute(request, CREDENTIALS_TIME_MAX).await.map_err(|error| {
            if self.contact.is_hopeless() {
                let why = format!("does not answer: {}", innermost(&error));
                return refused(S3Fault::NoCredentials { provider: provider(), why });
            }
            error
        })?;
        self.contact.answered();
        if !answer.status().is_client_error() || answer.status().as_u16() == 429 {
            return Ok(answer);
        }
        let (_, read) = read_error(answer).await?;
        let why = match read.code {
            Some(code) => format!("answers {code}"),
            None => format!("answers HTTP {}", read.status),
        };
        Err(refused(S3Fault::NoCredentials { provider: provider(), why }))
    }
}

/// Reads an error document, and gives the answer back with it.
async fn read_error(answer: HttpResponse) -> Result<(HttpResponse, Answer), HttpError> {
    let region = header(&answer, "x-amz-bucket-region");
    let (parts, body) = answer.into_parts();
    let read = async {
        let mut read = Vec::new();
        let mut chunks = body.bytes_stream();
        while let Some(chunk) = chunks.try_next().await? {
            read.extend_from_slice(&chunk);
            if read.len() > ERROR_BODY_BYTES_MAX {
                break;
            }
        }
        Ok(Bytes::from(read))
    };
    let read = timeout(BODY_PAUSE_MAX, read).await.unwrap_or_else(|_| Err(silence(BODY_PAUSE_MAX)))?;
    let found = Answer::read(parts.status.as_u16(), region, &read);
    Ok((HttpResponse::from_parts(parts, read.into()), found))
}

fn patient(answer: HttpResponse) -> HttpResponse {
    let (parts, body) = answer.into_parts();
    HttpResponse::from_parts(parts, HttpResponseBody::new(Patient { body, waiting: None }))
}

/// A body that is given up when its next bytes do not come. The time in which nobody asks for them does not count.
struct Patient {
    body: HttpResponseBody,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Body for Patient {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.waiting = None;
            return Poll::Ready(frame);
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(BODY_PAUSE_MAX)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(silence(BODY_PAUSE_MAX)))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn header(answer: &HttpResponse, name: &str) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// An error that the client does not try again.
fn refused(fault: S3Fault) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, fault)
}

fn silence(time: Duration) -> HttpError {
    let why = format!("no answer within {} s", time.as_secs());
    HttpError::new(HttpErrorKind::Timeout, std::io::Error::new(std::io::ErrorKind::TimedOut, why))
}

/// What the operating system says at the bottom of an error.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
