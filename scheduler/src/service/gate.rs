//! Lets calls in by their token, before their bodies are read.
//!
//! Invariant: a call that is refused reaches no handler, and leaves its connection's deadline as it was.

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{Request, Response, header::AUTHORIZATION};
use lakewright_error::{Error, ErrorKind};
use lakewright_proto::status::{detail_of, status_with};
use tonic::{Code, body::Body};
use tower::{Layer, Service};

use super::{access::Access, door::Connection};
use crate::Clock;

/// Who calls: the name of the token; empty if anybody may.
#[derive(Clone, Debug)]
pub(super) struct Principal(pub(super) String);

/// Puts a [`Gated`] before every service.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    access: Arc<Access>,
    clock: Arc<dyn Clock>,
}

impl Gate {
    /// Makes a gate.
    pub(super) fn new(access: Arc<Access>, clock: Arc<dyn Clock>) -> Self {
        Self { access, clock }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.clone(), inner }
    }
}

/// A service behind a gate.
#[derive(Clone, Debug)]
pub(super) struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let header = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
        let Some(name) = self.gate.access.principal(header, self.gate.clock.now_us()) else {
            tracing::warn!(path = request.uri().path(), "call refused: no valid token");
            return Either::Right(ready(Ok(refusal())));
        };
        if let Some(connection) = request.extensions().get::<Connection>() {
            connection.admit();
        }
        request.extensions_mut().insert(Principal(name));
        Either::Left(self.inner.call(request))
    }
}

fn refusal() -> Response<Body> {
    let error = Error::new(ErrorKind::Denied, "the scheduler knows no such token, or it has expired")
        .with_hint("set LAKEWRIGHT_TOKEN to what `lakewright token create` gave");
    status_with(Code::Unauthenticated, detail_of(&error)).into_http()
}
