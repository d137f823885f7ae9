//! The calls of S3 that clusters need.

use bytes::Bytes;
use http::Method;

use super::{
    Aws, Failure, Once, Service,
    failure::absent,
    request::{Answer, Call, encoded},
    xml::Element,
};

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) bytes: u64,
    /// As S3 writes it: RFC 3339.
    pub(crate) modified: String,
}

impl Aws {
    async fn s3(&self, method: Method, action: &str, target: String, body: Bytes) -> Result<Answer, Failure> {
        self.call(&Call { service: Service::S3, action, method, target, headers: Vec::new(), body }, Once::No).await
    }

    /// Writes an object.
    pub(crate) async fn put_object(&self, bucket: &str, key: &str, body: Bytes) -> Result<(), Failure> {
        self.s3(Method::PUT, "PutObject", path(bucket, key), body).await.map(drop)
    }

    /// Reads an object; `None` if there is none.
    pub(crate) async fn get_object(&self, bucket: &str, key: &str) -> Result<Option<Bytes>, Failure> {
        let answer = absent(self.s3(Method::GET, "GetObject", path(bucket, key), Bytes::new()).await)?;
        Ok(answer.map(|answer| answer.body))
    }

    /// Deletes an object, if it is there.
    pub(crate) async fn delete_object(&self, bucket: &str, key: &str) -> Result<(), Failure> {
        absent(self.s3(Method::DELETE, "DeleteObject", path(bucket, key), Bytes::new()).await).map(drop)
    }

    /// Lists all objects below a prefix, which ends with a slash.
    pub(crate) async fn list_objects(&self, bucket: &str, prefix: &str) -> Result<Vec<Object>, Failure> {
        let mut objects = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let after =
                token.as_ref().map(|token| format!("continuation-token={}&", encoded(token))).unwrap_or_default();
            let target = format!("/{bucket}?{after}list-type=2&prefix={}", encoded(prefix));
            let answer = self.s3(Method::GET, "ListObjectsV2", target, Bytes::new()).await?;
            let page = Element::parse(&answer.body).map_err(|error| {
                Failure::unreadable(Service::S3, "ListObjectsV2", format!("status {}: {error}", answer.status))
            })?;
            objects.extend(page.children.iter().filter(|child| child.name == "Contents").filter_map(object));
            token = page.text_at(&["NextContinuationToken"]).filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                return Ok(objects);
            }
        }
    }
}

fn object(element: &Element) -> Option<Object> {
    let text = |name: &str| element.text_at(&[name]).map(str::to_owned);
    Some(Object {
        key: text("Key")?,
        bytes: text("Size")?.parse().ok()?,
        modified: text("LastModified").unwrap_or_default(),
    })
}

/// The bucket in the path: also names with dots have a certificate so.
fn path(bucket: &str, key: &str) -> String {
    let parts: Vec<String> = key.split('/').map(encoded).collect();
    format!("/{bucket}/{}", parts.join("/"))
}
