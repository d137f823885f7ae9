//! Where a scheduler is, and the connection to it.

use std::{fmt, future::Future, io, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::rt::TokioIo;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_proto::DEFAULT_PORT;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after which a quiet connection is asked whether it still lives, and how long it has to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Where a scheduler is, and how to be let in.
#[derive(Clone, Default)]
pub struct Target {
    /// `https://host:port`, `host:port`, `host`, or `http://127.0.0.1:port` for a scheduler that runs insecurely; several
    /// of one lake with commas between them.
    pub address: String,
    /// The bearer token.
    pub token: Option<String>,
    /// Certificates of the authority that has signed the scheduler's, PEM.
    pub ca_pem: Option<Vec<u8>>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("address", &self.address).finish_non_exhaustive()
    }
}

/// An address taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
    is_secure: bool,
}

impl Target {
    /// The header that shows the token.
    pub(crate) fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>> {
        let Some(token) = &self.token else { return Ok(None) };
        let mut value = MetadataValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|_| Error::new(ErrorKind::Invalid, "the token holds characters that no token has"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn parse(address: &str) -> Result<Address> {
    let wrong = |why: &str| {
        Error::new(ErrorKind::Invalid, format!("this cannot be a scheduler's address: {why}"))
            .with("location", address)
            .with_hint("write https://host:50040, or host:50040")
    };
    let full = if address.contains("://") { address.to_owned() } else { format!("https://{address}") };
    let uri: Uri = full.parse().map_err(|error| wrong("it is no URL").with_source(error))?;
    let is_secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(wrong("it begins with neither https:// nor http://")),
    };
    if uri.path() != "/" || uri.query().is_some() {
        return Err(wrong("there is something behind the port"));
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Address { host, port: uri.port_u16().unwrap_or(DEFAULT_PORT), is_secure })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Connects to the scheduler.
pub(crate) async fn channel(target: &Target) -> Result<Channel> {
    let address = parse(&target.address)?;
    let tls = if address.is_secure {
        Some(tls(target)?)
    } else if is_loopback(&address.host) {
        None
    } else {
        return Err(Error::new(ErrorKind::Invalid, "plaintext is spoken on this machine only")
            .with("location", &target.address)
            .with_hint("write https://"));
    };
    // What the connector below opens is what is connected to; the URL only names it in requests.
    let scheme = if address.is_secure { "https" } else { "http" };
    let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{host}:{}", address.port))
        .map_err(|error| Error::new(ErrorKind::Invalid, "the address cannot be used").with_source(error))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1);
    let shown = target.address.clone();
    let connector = tower::service_fn(move |_: Uri| open(address.clone(), tls.clone()));
    endpoint.connect_with_connector(connector).await.map_err(|error| {
        Error::new(ErrorKind::Unavailable, "cannot connect to the scheduler")
            .with("location", shown)
            .with_hint("is it running, and is LAKEWRIGHT_CA the ca.pem of its `lakewright certs`?")
            .with_source(error)
    })
}

fn tls(target: &Target) -> Result<TlsConnector> {
    let missing = || {
        Error::new(ErrorKind::Invalid, "nothing says which authority has signed the scheduler's certificate")
            .with_hint("set LAKEWRIGHT_CA to the ca.pem of the scheduler's `lakewright certs`")
    };
    let invalid = |error: String| {
        Error::new(ErrorKind::Invalid, "the authority's certificate does not parse")
            .with_source(io::Error::other(error))
    };
    let pem = target.ca_pem.as_deref().ok_or_else(missing)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(invalid("it holds no certificate".to_owned()));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Internal, "TLS cannot be set up").with_source(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection, encrypted or not.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

type Opening = Pin<Box<dyn Future<Output = io::Result<TokioIo<Box<dyn Transport>>>> + Send>>;

fn open(address: Address, tls: Option<TlsConnector>) -> Opening {
    Box::pin(async move {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let transport: Box<dyn Transport> = match tls {
            None => Box::new(stream),
            Some(connector) => {
                let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
                Box::new(connector.connect(name, stream).await?)
            }
        };
        Ok(TokioIo::new(transport))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16, is_secure: bool) -> Address {
        Address { host: host.to_owned(), port, is_secure }
    }

    #[test]
    fn an_address_is_secure_and_on_the_default_port_unless_it_says_otherwise() {
        assert_eq!(parse("lake.example").unwrap(), address("lake.example", 50040, true));
        assert_eq!(parse("10.0.0.7:7000").unwrap(), address("10.0.0.7", 7000, true));
        assert_eq!(parse("https://[::1]:7000").unwrap(), address("::1", 7000, true));
        assert_eq!(parse("http://127.0.0.1:7000").unwrap(), address("127.0.0.1", 7000, false));
        for wrong in ["", "ftp://x", "https://x/y", "https://:1", "a b"] {
            assert_eq!(parse(wrong).unwrap_err().kind(), ErrorKind::Invalid, "{wrong}");
        }
    }

    #[tokio::test]
    async fn no_token_leaves_this_machine_in_plaintext() {
        let target = Target { address: "http://10.0.0.7:7000".to_owned(), ..Target::default() };
        assert_eq!(channel(&target).await.unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_target_does_not_show_its_token() {
        let target = Target { address: "x".to_owned(), token: Some("lw_secret".to_owned()), ca_pem: None };
        assert!(!format!("{target:?}").contains("secret"));
    }
}
