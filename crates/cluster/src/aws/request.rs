//! Requests of AWS's services: signed, sent, and sent again when that can help.
//!
//! Data flow: an action and its parameters -> a signed HTTP request -> the answer's document, or AWS's code.
//!
//! Invariant: a call that makes something which bears no name of ours is sent once: its answer may be lost after it was done.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use object_store::{aws::AwsAuthorizer, client::HttpRequestBody};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{Aws, Code, Failure, xml::Element};

/// Tries of one call.
const TRIES: u32 = 5;
/// How long a call of an API may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// A service of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Ec2,
    Emr,
    Iam,
    S3,
    Sts,
}

/// Whether a call must not be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Once {
    Yes,
    No,
}

/// An answer of any service.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// One request, to be signed at each try.
pub(super) struct Call<'a> {
    pub(super) service: Service,
    pub(super) action: &'a str,
    pub(super) method: Method,
    /// Path and query, percent-encoded.
    pub(super) target: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Service {
    /// The name that people and hints use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::Emr => "EMR",
            Self::Iam => "IAM",
            Self::S3 => "S3",
            Self::Sts => "STS",
        }
    }

    /// The name in signatures and hosts.
    fn signing_name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Emr => "elasticmapreduce",
            Self::Iam => "iam",
            Self::S3 => "s3",
            Self::Sts => "sts",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Ec2 => "2016-11-15",
            Self::Iam => "2010-05-08",
            Self::Sts => "2011-06-15",
            Self::Emr | Self::S3 => "",
        }
    }

    /// IAM has one place a partition, and signs with its region.
    fn region(self, region: &str) -> &str {
        match (self, region) {
            (Self::Iam, region) if region.starts_with("cn-") => "cn-north-1",
            (Self::Iam, region) if region.starts_with("us-gov-") => "us-gov-west-1",
            (Self::Iam, _) => "us-east-1",
            (_, region) => region,
        }
    }

    fn default_endpoint(self, region: &str) -> String {
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        match self {
            Self::Iam if region.starts_with("cn-") => format!("https://iam.cn-north-1.{suffix}"),
            Self::Iam if region.starts_with("us-gov-") => format!("https://iam.us-gov.{suffix}"),
            Self::Iam => format!("https://iam.{suffix}"),
            other => format!("https://{}.{region}.{suffix}", other.signing_name()),
        }
    }
}

impl Aws {
    /// Calls an action of EMR.
    pub(crate) async fn emr(&self, action: &str, parameters: &Value, once: Once) -> Result<Value, Failure> {
        let call = Call {
            service: Service::Emr,
            action,
            method: Method::POST,
            target: "/".to_owned(),
            headers: vec![
                ("content-type", "application/x-amz-json-1.1".to_owned()),
                ("x-amz-target", format!("ElasticMapReduce.{action}")),
            ],
            body: parameters.to_string().into(),
        };
        let answer = self.call(&call, once).await?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|error| Failure::unreadable(Service::Emr, action, error))
    }

    /// Calls an action of a service that takes forms and answers XML: EC2, IAM, STS.
    pub(crate) async fn query(
        &self,
        service: Service,
        action: &str,
        parameters: &[(String, String)],
        once: Once,
    ) -> Result<Element, Failure> {
        let own = [("Action".to_owned(), action.to_owned()), ("Version".to_owned(), service.version().to_owned())];
        let pairs = own.iter().chain(parameters).map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let call = Call {
            service,
            action,
            method: Method::POST,
            target: "/".to_owned(),
            headers: vec![("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned())],
            body: pairs.collect::<Vec<_>>().join("&").into(),
        };
        let answer = self.call(&call, once).await?;
        Element::parse(&answer.body).map_err(|error| Failure::unreadable(service, action, error))
    }

    /// Sends a call until it is answered, or is not worth another try.
    pub(super) async fn call(&self, call: &Call<'_>, once: Once) -> Result<Answer, Failure> {
        let tries = if once == Once::Yes { 1 } else { TRIES };
        let mut pause = self.pauses().retry;
        for _ in 1..tries {
            match self.attempt(call).await {
                Err(failure) if failure.is_unavailable() => sleep(pause).await,
                done => return done,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        self.attempt(call).await
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        // An upload takes as long as it takes; the client bounds it.
        if call.service == Service::S3 {
            return self.send(call).await;
        }
        match timeout(CALL_TIMEOUT, self.send(call)).await {
            Ok(done) => done,
            Err(_) => Err(self.unanswered(call, "no answer came in time")),
        }
    }

    async fn send(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let region = call.service.region(self.region());
        let url = format!("{}{}", self.endpoint(call.service), call.target);
        let mut request = Request::builder().method(call.method.clone()).uri(&url);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let mut request = request
            .body(HttpRequestBody::from(call.body.clone()))
            .map_err(|error| Failure::unreadable(call.service, call.action, format!("{url}: {error}")))?;
        let credential = self
            .credentials
            .get_credential()
            .await
            .map_err(|error| Failure { code: Code::Denied, ..self.unanswered(call, error) })?;
        AwsAuthorizer::new(&credential, call.service.signing_name(), region).authorize(&mut request, None);
        let response = self.http.execute(request).await.map_err(|error| self.unanswered(call, chain(&error)))?;
        let status = response.status().as_u16();
        let body = response.into_body().bytes().await.map_err(|error| self.unanswered(call, chain(&error)))?;
        if (200..300).contains(&status) {
            return Ok(Answer { status, body });
        }
        Err(refusal(call, status, &body))
    }

    /// The service's address: as AWS's own tools take it from the environment, else AWS.
    fn endpoint(&self, service: Service) -> String {
        let variables = &self.settings.variables;
        let own = format!("AWS_ENDPOINT_URL_{}", service.name());
        let set = variables.get(&own).or_else(|| variables.get("AWS_ENDPOINT_URL")).filter(|url| !url.is_empty());
        set.map_or_else(|| service.default_endpoint(self.region()), |url| url.trim_end_matches('/').to_owned())
    }

    fn unanswered(&self, call: &Call<'_>, why: impl std::fmt::Display) -> Failure {
        Failure {
            service: call.service,
            action: call.action.to_owned(),
            code: Code::Unavailable,
            message: format!("{}: {why}", self.endpoint(call.service)),
        }
    }
}

/// What a service says when it does not do what it was asked.
fn refusal(call: &Call<'_>, status: u16, body: &[u8]) -> Failure {
    let (code, message) = if call.service == Service::Emr {
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |names: [&str; 2]| {
            let found = names.iter().find_map(|name| document.get(*name).and_then(Value::as_str));
            found.unwrap_or_default().to_owned()
        };
        (text(["__type", "code"]), text(["message", "Message"]))
    } else {
        let document = Element::parse(body).unwrap_or_default();
        let text = |name: &str| document.first(name).map(|element| element.text.clone()).unwrap_or_default();
        (text("Code"), text("Message"))
    };
    let shown = match (code.as_str(), message.as_str()) {
        ("", "") => format!("HTTP status {status}"),
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{}: {message}", code.rsplit('#').next().unwrap_or(code)),
    };
    Failure { service: call.service, action: call.action.to_owned(), code: Code::of(&code, status), message: shown }
}

/// An error with its causes: the outer ones of a network say nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Percent-encodes everything but what AWS's signatures leave.
pub(super) fn encoded(text: &str) -> String {
    const LEFT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, LEFT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(service: Service) -> Call<'static> {
        Call {
            service,
            action: "Do",
            method: Method::POST,
            target: "/".into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn refusals_of_every_protocol_are_read() {
        let emr =
            refusal(&call(Service::Emr), 400, br#"{"__type":"x#ValidationException","Message":"no such release"}"#);
        assert_eq!((emr.code, emr.message.as_str()), (Code::Refused, "ValidationException: no such release"));
        let ec2 = b"<Response><Errors><Error><Code>InvalidGroup.Duplicate</Code><Message>is there</Message></Error></Errors></Response>";
        assert_eq!(refusal(&call(Service::Ec2), 400, ec2).code, Code::Exists);
        let iam = b"<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>gone</Message></Error></ErrorResponse>";
        assert_eq!(refusal(&call(Service::Iam), 404, iam).code, Code::NotFound);
        let nothing = refusal(&call(Service::S3), 503, b"");
        assert_eq!((nothing.code, nothing.message.as_str()), (Code::Unavailable, "HTTP status 503"));
    }

    #[test]
    fn endpoints_are_those_of_the_region_and_partition() {
        assert_eq!(
            Service::Emr.default_endpoint("eu-central-1"),
            "https://elasticmapreduce.eu-central-1.amazonaws.com"
        );
        assert_eq!(Service::Iam.default_endpoint("eu-central-1"), "https://iam.amazonaws.com");
        assert_eq!(Service::S3.default_endpoint("cn-north-1"), "https://s3.cn-north-1.amazonaws.com.cn");
        assert_eq!(Service::Iam.region("eu-central-1"), "us-east-1");
    }

    #[test]
    fn forms_are_encoded_as_signatures_need_it() {
        assert_eq!(encoded("a b/ü~*"), "a%20b%2F%C3%BC~%2A");
    }
}
