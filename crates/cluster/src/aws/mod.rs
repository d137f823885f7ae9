//! AWS, as far as clusters need it: signed requests to EMR, IAM, EC2, STS and S3.
//!
//! Data flow: what a user's environment says ([`AwsSettings`]) -> credentials ([`credentials`]) -> requests that are signed,
//! sent and repeated ([`request`]) -> documents ([`xml`], JSON) -> the few calls of each service ([`ec2`], [`emr`],
//! [`iam`], [`s3`]).
//!
//! Invariant: a call either gives what AWS said or a [`failure::Failure`] with AWS's own code; nothing else is interpreted.

mod credentials;
pub(crate) mod ec2;
pub(crate) mod emr;
mod failure;
pub(crate) mod iam;
mod profile;
mod request;
pub(crate) mod s3;
mod xml;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use lakewright_error::Result;
use object_store::{
    ClientOptions,
    aws::AwsCredentialProvider,
    client::{HttpClient, HttpConnector, ReqwestConnector},
};

pub use credentials::profile_credentials;
pub(crate) use failure::{Code, Failure};
pub(crate) use request::{Once, Service};

/// How long a request may take: an upload of the program is the longest.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What of the user's surroundings says how to reach AWS.
#[derive(Clone, Debug, Default)]
pub struct AwsSettings {
    /// Environment variables; those that begin with `AWS_` are looked at.
    pub variables: BTreeMap<String, String>,
    /// The user's home, where `.aws` is.
    pub home: Option<PathBuf>,
    /// The region of all calls.
    pub region: String,
    /// How long is waited between tries and looks.
    pub pauses: Pauses,
}

/// Times between requests.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// Before a failed request is sent again; doubled each time.
    pub retry: Duration,
    /// Between two looks at something that changes.
    pub poll: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { retry: Duration::from_millis(400), poll: Duration::from_secs(10) }
    }
}

/// A way to AWS.
#[derive(Debug)]
pub struct Aws {
    http: HttpClient,
    credentials: AwsCredentialProvider,
    settings: AwsSettings,
}

impl Aws {
    /// Finds credentials; makes no request of AWS.
    ///
    /// # Errors
    /// - [`lakewright_error::ErrorKind::Denied`]: there are none, or the profile's cannot be had.
    pub async fn open(settings: AwsSettings) -> Result<Self> {
        // A server of one's own, for tests, speaks plaintext.
        let options = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout(REQUEST_TIMEOUT)
            .with_connect_timeout(CONNECT_TIMEOUT);
        let http = ReqwestConnector::default().connect(&options).map_err(credentials::unusable)?;
        let credentials = credentials::find(&settings).await?;
        Ok(Self { http, credentials, settings })
    }

    /// The region of all calls.
    pub(crate) fn region(&self) -> &str {
        &self.settings.region
    }

    /// How long is waited.
    pub(crate) fn pauses(&self) -> Pauses {
        self.settings.pauses
    }

    /// The account that the credentials are of.
    pub(crate) async fn account(&self) -> Result<String, Failure> {
        let answer = self.query(Service::Sts, "GetCallerIdentity", &[], Once::No).await?;
        answer
            .text_at(&["GetCallerIdentityResult", "Account"])
            .map(str::to_owned)
            .ok_or_else(|| Failure::unreadable(Service::Sts, "GetCallerIdentity", "the answer names no account"))
    }
}
