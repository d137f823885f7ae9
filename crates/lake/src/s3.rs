//! Buckets of S3 and of servers that speak its protocol.
//!
//! Data flow: [`S3Settings`] over AWS's own variables -> [`open_bucket`] -> an object_store client whose every request
//! passes the [`http`] service: it limits requests in flight, slows down when the store asks to, gives up on silence,
//! and turns refusals into an [`S3Fault`].
//!
//! Invariant: keys are read from the environment, a web identity or the machine's role, or given by whoever makes the stores;
//! no setting holds a secret.

mod fault;
mod http;
mod limit;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use lakewright_error::{Error, ErrorKind, Result};
use object_store::{
    BackoffConfig, ClientOptions, HeaderValue, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider, S3ConditionalPut},
};
use url::Url;

pub use fault::S3Fault;
pub use http::throttled;

use self::{http::Connector, limit::Gate};
use crate::store_error;

/// Requests to one bucket in flight unless told: enough to hide the latency of many small objects.
pub const DEFAULT_REQUESTS_MAX: usize = 64;
/// Tries of one request after the first; the pauses between them have jitter.
const RETRIES_MAX: usize = 10;
/// No further try begins after this time: a request is signed once, and its signature ages.
const RETRY_TIME_MAX: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// How to reach S3. What is not set comes from AWS's own variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    /// Region; `AWS_REGION` or `AWS_DEFAULT_REGION`, else `us-east-1`.
    pub region: Option<String>,
    /// URL of a server that speaks S3; `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, else AWS itself.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path of a request (the default) or in its host.
    pub path_style: Option<bool>,
    /// Requests to one bucket in flight, at least 1. Lowered by itself while the store throttles.
    pub requests_max: usize,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self { region: None, endpoint: None, path_style: None, requests_max: DEFAULT_REQUESTS_MAX }
    }
}

/// A bucket's client, shared by all prefixes of the bucket.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) about: Arc<About>,
}

/// What is known of the server behind a bucket.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) bucket: String,
    /// URL of the bucket.
    pub(crate) url: Url,
    region: String,
    /// What the server calls itself, once it has answered.
    server: OnceLock<String>,
}

impl About {
    /// The store in words: where it is, and what it calls itself.
    pub(crate) fn describe(&self) -> String {
        match self.server.get() {
            Some(server) => format!("{} ({server})", self.url),
            None => self.url.to_string(),
        }
    }
}

/// Makes the client of a bucket; sends nothing.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: the endpoint is no URL, or a variable of AWS's does not parse.
/// - [`ErrorKind::Denied`]: one half of a key is set without the other.
pub(crate) fn open_bucket(
    settings: &S3Settings,
    credentials: Option<&AwsCredentialProvider>,
    bucket: &str,
) -> Result<Bucket> {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    match credentials {
        Some(credentials) => builder = builder.with_credentials(Arc::clone(credentials)),
        None => check_key(&builder)?,
    }
    let region = settings.region.clone().or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Region));
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    let endpoint = endpoint(settings, &builder, &region)?;
    let from_variable = builder.get_config_value(&AmazonS3ConfigKey::VirtualHostedStyleRequest);
    let path_style = settings.path_style.unwrap_or(from_variable.as_deref() != Some("true"));
    let url = bucket_url(&endpoint, bucket, path_style)?;
    // With the bucket in the host, the client takes the endpoint for the bucket's own.
    let endpoint = if path_style { endpoint.as_str() } else { url.as_str() };
    builder = builder
        .with_region(&region)
        .with_config(AmazonS3ConfigKey::S3Endpoint, endpoint.trim_end_matches('/'))
        .with_virtual_hosted_style_request(!path_style);

    let about = Arc::new(About { bucket: bucket.to_owned(), url, region, server: OnceLock::new() });
    let gate = Arc::new(Gate::new(settings.requests_max));
    let connector = Connector::new(Arc::clone(&about), gate);
    let store = builder
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retries())
        .with_client_options(client_options(&about, settings.requests_max))
        .with_http_connector(connector)
        .build()
        .map_err(|source| store_error(source, "cannot set up the S3 client", &format!("s3://{bucket}")))?;
    Ok(Bucket { store: Arc::new(store), about })
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: PAUSE_MAX, base: 2.0 },
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIME_MAX,
    }
}

fn client_options(about: &About, requests_max: usize) -> ClientOptions {
    // Whoever names an endpoint without TLS wants it so. The client's own time limit holds for a whole body, which a
    // slow reader may take any time for: the service has limits of its own.
    ClientOptions::new()
        .with_allow_http(about.url.scheme() == "http")
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIME_MAX)
        .with_pool_max_idle_per_host(requests_max)
        .with_user_agent(HeaderValue::from_static(concat!("lakewright/", env!("CARGO_PKG_VERSION"))))
}

fn check_key(builder: &AmazonS3Builder) -> Result<()> {
    let is_set = |key| builder.get_config_value(&key).is_some_and(|value| !value.is_empty());
    let halves = (is_set(AmazonS3ConfigKey::AccessKeyId), is_set(AmazonS3ConfigKey::SecretAccessKey));
    let (there, missing) = match halves {
        (true, false) => ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        (false, true) => ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Denied, format!("{there} is set and {missing} is not"))
        .with_hint("set both variables, or neither to use the role of this machine"))
}

fn endpoint(settings: &S3Settings, builder: &AmazonS3Builder, region: &str) -> Result<Url> {
    let said = settings
        .endpoint
        .clone()
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::S3Endpoint))
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let text = said.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    let wrong = || {
        Error::new(ErrorKind::Invalid, "the endpoint of S3 is no URL")
            .with("endpoint", &text)
            .with_hint("write it as http://host:port or https://host, in `s3_endpoint` or AWS_ENDPOINT_URL")
    };
    let url = Url::parse(&text).map_err(|source| wrong().with_source(source))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong());
    }
    Ok(url)
}

fn bucket_url(endpoint: &Url, bucket: &str, path_style: bool) -> Result<Url> {
    let wrong = |source| Error::new(ErrorKind::Invalid, "the bucket's name is not valid").with_source(source);
    let mut url = endpoint.clone();
    if path_style {
        let path = format!("{}/{bucket}", url.path().trim_end_matches('/'));
        url.set_path(&path);
    } else {
        let host = format!("{bucket}.{}", url.host_str().unwrap_or_default());
        url.set_host(Some(&host)).map_err(wrong)?;
    }
    Ok(url)
}

#[cfg(test)]
mod tests;
