//! Accepts connections: TLS, a limit of their number, and a deadline for whoever shows no token.
//!
//! Data flow: a listener -> handshakes, side by side -> connections for the gRPC server.
//!
//! Invariant: a connection that no valid token has come over is closed after [`UNADMITTED_MAX`], whatever it does; a
//! slow handshake holds up nobody else.

use std::{
    fs,
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use lakewright_error::{Error, ErrorKind, Result};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// Connections at once.
const CONNECTIONS_MAX: usize = 512;

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// How long a connection stays open without a call that was let in.
const UNADMITTED_MAX: Duration = Duration::from_secs(10);

/// Pause after the system gave no connection, for example because files ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that wait for the server.
const QUEUE_MAX: usize = 16;

/// A server's certificate chain and its key.
#[derive(Clone)]
pub struct TlsIdentity(Arc<ServerConfig>);

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsIdentity")
    }
}

/// Reads a certificate chain and its key, both PEM.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: a file cannot be read, holds no certificate or key, or they do not belong together.
pub fn read_identity(certificate: &Path, key: &Path) -> Result<TlsIdentity> {
    let invalid = |message: &'static str, file: &Path| {
        Error::new(ErrorKind::Invalid, message)
            .with("file", file.display())
            .with_hint("`lakewright certs` makes a certificate and its key")
    };
    let read = |file: &Path| fs::read(file).map_err(|error| invalid("cannot read the file", file).with_source(error));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| invalid("the certificate does not parse", certificate).with_source(error))?;
    let key_der = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| invalid("the key does not parse", key).with_source(error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key_der))
        .map_err(|error| invalid("certificate and key cannot be used", certificate).with_source(error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsIdentity(Arc::new(config)))
}

/// What calls know of the connection that they came over.
#[derive(Clone, Debug, Default)]
pub(super) struct Connection {
    admitted: Arc<AtomicBool>,
}

impl Connection {
    /// Lifts the deadline: a valid token has come over the connection.
    pub(super) fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }

    fn is_admitted(&self) -> bool {
        self.admitted.load(Ordering::Relaxed)
    }
}

/// Accepts connections until it is dropped or told to stop.
#[derive(Debug)]
pub(super) struct Door {
    connections: mpsc::Receiver<io::Result<Guarded>>,
    _accepting: JoinSet<()>,
}

impl Door {
    /// Begins to accept.
    ///
    /// # Errors
    /// - [`ErrorKind::Unavailable`]: the listener cannot be used.
    pub(super) fn open(listener: TcpListener, tls: Option<TlsIdentity>, stop: CancellationToken) -> Result<Self> {
        let (sender, connections) = mpsc::channel(QUEUE_MAX);
        let acceptor = tls.map(|TlsIdentity(config)| TlsAcceptor::from(config));
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = accept_all(listener, acceptor, sender) => {}
            }
        });
        Ok(Self { connections, _accepting: accepting })
    }

    /// The connections, as they come.
    pub(super) fn connections(&mut self) -> impl Stream<Item = io::Result<Guarded>> + '_ {
        futures::stream::poll_fn(|context| self.connections.poll_recv(context))
    }
}

async fn accept_all(listener: TcpListener, acceptor: Option<TlsAcceptor>, sender: mpsc::Sender<io::Result<Guarded>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A connection beyond the limit is closed at once: whoever is in keeps its place.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(limit = CONNECTIONS_MAX, "connection refused: too many");
            continue;
        };
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        handshakes.spawn(async move {
            if let Some(transport) = shake_hands(acceptor, stream).await {
                let _ = sender.send(Ok(Guarded::new(transport, place))).await;
            }
        });
    }
}

async fn shake_hands(acceptor: Option<TlsAcceptor>, stream: TcpStream) -> Option<Transport> {
    // Small answers must not wait for one another.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else { return Some(Transport::Plain(stream)) };
    match timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(Transport::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no TLS handshake");
            None
        }
        Err(_) => {
            tracing::debug!("TLS handshake took too long");
            None
        }
    }
}

#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection with a deadline until a valid token has come over it.
#[derive(Debug)]
pub(super) struct Guarded {
    transport: Transport,
    connection: Connection,
    deadline: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Guarded {
    fn new(transport: Transport, place: OwnedSemaphorePermit) -> Self {
        let deadline = Box::pin(sleep(UNADMITTED_MAX));
        Self { transport, connection: Connection::default(), deadline, _place: place }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.connection.is_admitted() && self.deadline.as_mut().poll(context).is_ready() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no valid token came over the connection"));
        }
        Ok(())
    }
}

impl Connected for Guarded {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        match &mut this.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        match &mut this.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
