//! Why S3 does not do what was asked, in the words of whoever can change it.
//!
//! Data flow: an answer of the store, or silence -> **[`S3Fault`]**, carried up as the innermost source of the client's
//! error -> [`crate::store_error`] takes kind and hint from it.
//!
//! Invariant: a fault is read from the status and the protocol's error code, never from a message.

use lakewright_error::ErrorKind;

/// Why the store refused, or did not answer. Trying again does not help against any of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum S3Fault {
    /// Nothing has ever answered at the endpoint.
    #[error("nothing answers at {endpoint}: {why}")]
    Unreachable {
        /// The server.
        endpoint: String,
        /// What the operating system says.
        why: String,
    },
    /// The store does not know the key, or its secret is another.
    #[error("the access key or its secret is wrong ({code})")]
    WrongKey {
        /// The store's code.
        code: String,
    },
    /// The credentials were good once.
    #[error("the credentials have expired ({code})")]
    Expired {
        /// The store's code.
        code: String,
    },
    /// The time of the request is too far from the store's.
    #[error("the clock of this machine and the store's differ too much")]
    Clock,
    /// The credentials are known, and may not do this.
    #[error("these credentials may not do that ({code})")]
    Refused {
        /// The store's code.
        code: String,
    },
    /// No such bucket.
    #[error("there is no bucket {bucket}")]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// The bucket is elsewhere.
    #[error("the bucket {bucket} is not in the region {asked}{}", .expected.as_ref().map(|region| format!(" but in {region}")).unwrap_or_default())]
    OtherRegion {
        /// The bucket.
        bucket: String,
        /// The region that was asked.
        asked: String,
        /// Where it is, if the store says so.
        expected: Option<String>,
    },
    /// No key is set, and nothing gives one.
    #[error("there are no credentials: no key is set, and {provider} {why}")]
    NoCredentials {
        /// Who was asked for them.
        provider: String,
        /// What it answered.
        why: String,
    },
    /// The store does not know this kind of request.
    #[error("the store does not know this kind of request ({code})")]
    NotSupported {
        /// The store's code.
        code: String,
    },
}

/// The parts of an answer that decide.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `<Code>` of the body.
    pub(super) code: Option<String>,
    /// `<Region>` of the body, or the header of the bucket's region.
    pub(super) region: Option<String>,
}

impl Answer {
    /// Reads an error document.
    pub(super) fn read(status: u16, region: Option<String>, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let element = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>"))?;
            let (value, _) = rest.split_once("</")?;
            Some(value.trim().to_owned())
        };
        Self { status, code: element("Code"), region: region.or_else(|| element("Region")) }
    }

    fn code_or_status(&self) -> String {
        self.code.clone().unwrap_or_else(|| format!("HTTP {}", self.status))
    }
}

impl S3Fault {
    /// What an answer means for a bucket that was asked for in `region`; none if the client is to judge it.
    pub(super) fn of(answer: &Answer, bucket: &str, region: &str) -> Option<Self> {
        let code = answer.code_or_status();
        let other_region = || Self::OtherRegion {
            bucket: bucket.to_owned(),
            asked: region.to_owned(),
            expected: answer.region.clone().filter(|expected| expected != region),
        };
        Some(match (answer.status, answer.code.as_deref().unwrap_or_default()) {
            (301 | 307 | 308, _) => other_region(),
            (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" | "PermanentRedirect") => {
                other_region()
            }
            (400, "") if answer.region.as_deref().is_some_and(|expected| expected != region) => other_region(),
            (_, "ExpiredToken" | "TokenRefreshRequired") => Self::Expired { code },
            (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "InvalidClientTokenId") => {
                Self::WrongKey { code }
            }
            (_, "RequestTimeTooSkewed") => Self::Clock,
            (401 | 403, _) => Self::Refused { code },
            (404, "NoSuchBucket") => Self::NoBucket { bucket: bucket.to_owned() },
            (501, _) => Self::NotSupported { code },
            _ => return None,
        })
    }

    /// What a caller must do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable { .. } => ErrorKind::Unavailable,
            Self::WrongKey { .. }
            | Self::Expired { .. }
            | Self::Clock
            | Self::Refused { .. }
            | Self::NoCredentials { .. } => ErrorKind::Denied,
            Self::NoBucket { .. } => ErrorKind::NotFound,
            Self::OtherRegion { .. } => ErrorKind::Invalid,
            Self::NotSupported { .. } => ErrorKind::Unsupported,
        }
    }

    /// What a user can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => "check the network and the endpoint (`s3_endpoint` or AWS_ENDPOINT_URL)".into(),
            Self::WrongKey { .. } => "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary ones, AWS_SESSION_TOKEN".into(),
            Self::Expired { .. } => "get new credentials, then run again".into(),
            Self::Clock => "set the clock of this machine".into(),
            Self::Refused { .. } => {
                "its policy must allow s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject, s3:DeleteObject and \
                 s3:AbortMultipartUpload below the prefix; raw data needs s3:ListBucket and s3:GetObject only"
                    .into()
            }
            Self::NoBucket { .. } => "create the bucket, or correct its name in `lake` or `raw`".into(),
            Self::OtherRegion { expected: Some(region), .. } => {
                format!("set `s3_region` or AWS_REGION to {region}")
            }
            Self::OtherRegion { expected: None, .. } => "set `s3_region` or AWS_REGION to the bucket's region".into(),
            Self::NoCredentials { .. } => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (profiles are not read: `aws configure \
                 export-credentials --format env` prints them), or give this machine a role"
                    .into()
            }
            Self::NotSupported { .. } => "use a store that knows conditional requests, such as S3 itself".into(),
        }
    }

    /// The fault in the chain of an error's sources, if there is one.
    pub fn in_chain<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
    }
}
