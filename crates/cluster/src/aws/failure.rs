//! Why a call of AWS failed: AWS's code, and what the caller must do about it.

use std::{error::Error as StdError, fmt};

use lakewright_error::{Error, ErrorKind};

use super::Service;

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) service: Service,
    pub(crate) action: String,
    pub(crate) code: Code,
    /// What AWS said, or what the network did.
    pub(crate) message: String,
}

/// What a failure is about, as far as anybody acts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// What was named is not there.
    NotFound,
    /// It is there already.
    Exists,
    /// Something else still uses it.
    InUse,
    /// The credentials may not do this, or are wrong.
    Denied,
    /// No answer, a failure on AWS's side, or too many requests: the same call may succeed.
    Unavailable,
    /// AWS found the request wrong.
    Refused,
    /// A limit of the account.
    Limit,
    /// An answer that cannot be read.
    Unreadable,
}

impl Code {
    /// Reads AWS's own code; without a known one the HTTP status decides.
    pub(crate) fn of(aws_code: &str, status: u16) -> Self {
        // JSON services write `namespace#Code`.
        let aws_code = aws_code.rsplit('#').next().unwrap_or(aws_code);
        match aws_code {
            "NoSuchEntity" | "NoSuchKey" | "NoSuchBucket" | "ResourceNotFoundException" => Self::NotFound,
            code if code.ends_with(".NotFound") || code.ends_with("ID.Malformed") => Self::NotFound,
            "EntityAlreadyExists" | "InvalidGroup.Duplicate" | "InvalidPermission.Duplicate" => Self::Exists,
            "DependencyViolation" | "DeleteConflict" | "InvalidGroup.InUse" => Self::InUse,
            "AccessDenied"
            | "AccessDeniedException"
            | "UnauthorizedOperation"
            | "AuthFailure"
            | "SignatureDoesNotMatch"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "UnrecognizedClientException"
            | "IncompleteSignature"
            | "OptInRequired" => Self::Denied,
            "LimitExceeded" | "LimitExceededException" => Self::Limit,
            code if code.ends_with("LimitExceeded") && code != "RequestLimitExceeded" => Self::Limit,
            "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "SlowDown" | "RequestTimeout" => {
                Self::Unavailable
            }
            _ => match status {
                401 | 403 => Self::Denied,
                404 => Self::NotFound,
                429 | 500.. => Self::Unavailable,
                _ => Self::Refused,
            },
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Exists | Self::InUse => ErrorKind::Conflict,
            Self::Denied => ErrorKind::Denied,
            Self::Unavailable => ErrorKind::Unavailable,
            Self::Refused => ErrorKind::Invalid,
            Self::Limit => ErrorKind::Exhausted,
            Self::Unreadable => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Denied => Some(
                "look at whose credentials these are (`aws sts get-caller-identity`), and allow the action; \
                 deploy/emr/README.md lists what `cluster` needs",
            ),
            Self::Unavailable => Some("do the same again: what is there already is found and kept"),
            Self::Limit => Some("ask AWS for a higher quota, or delete what is not needed"),
            _ => None,
        }
    }
}

impl Failure {
    /// An answer that is not what AWS documents.
    pub(crate) fn unreadable(service: Service, action: &str, why: impl fmt::Display) -> Self {
        Self { service, action: action.to_owned(), code: Code::Unreadable, message: why.to_string() }
    }

    /// Whether the same call may be sent again.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.code == Code::Unavailable
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let error = Self::new(failure.code.kind(), format!("AWS did not do {}", failure.action))
            .with("service", failure.service.name());
        let error = match failure.code.hint() {
            Some(hint) => error.with_hint(hint),
            None => error,
        };
        error.with_source(failure)
    }
}

/// What to take for a failure that is none: an answer of `None`.
pub(crate) fn absent<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.code == Code::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_all_services_say_what_to_do() {
        for (code, status, expected) in [
            ("NoSuchEntity", 404, Code::NotFound),
            ("InvalidGroup.NotFound", 400, Code::NotFound),
            ("InvalidSubnetID.NotFound", 400, Code::NotFound),
            ("EntityAlreadyExists", 409, Code::Exists),
            ("InvalidPermission.Duplicate", 400, Code::Exists),
            ("DependencyViolation", 400, Code::InUse),
            ("UnauthorizedOperation", 403, Code::Denied),
            ("com.amazonaws.emr#AccessDeniedException", 400, Code::Denied),
            ("VcpuLimitExceeded", 400, Code::Limit),
            ("RequestLimitExceeded", 503, Code::Unavailable),
            ("ValidationException", 400, Code::Refused),
            ("", 500, Code::Unavailable),
            ("", 403, Code::Denied),
        ] {
            assert_eq!(Code::of(code, status), expected, "{code} {status}");
        }
    }
}
