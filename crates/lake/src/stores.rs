//! The stores of a process: one client for each bucket, however many prefixes of it are opened.
//!
//! Data flow: settings -> [`Stores`] -> [`Stores::open`] -> [`Prefix`].
//!
//! Invariant: all prefixes of a bucket share its connections, its credentials, and its limit of requests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use lakewright_error::Result;
use object_store::aws::AwsCredentialProvider;

use crate::{
    Prefix, location,
    s3::{Bucket, S3Settings, open_bucket},
};

static OF_PROCESS: OnceLock<Stores> = OnceLock::new();

/// Opens locations; cheap to clone. Holds a client for each bucket that was opened.
#[derive(Clone, Debug, Default)]
pub struct Stores {
    settings: S3Settings,
    credentials: Option<AwsCredentialProvider>,
    buckets: Arc<Mutex<BTreeMap<String, Bucket>>>,
}

impl Stores {
    /// Makes stores that are reached in this way; opens none.
    pub fn new(settings: S3Settings) -> Self {
        Self { settings, credentials: None, buckets: Arc::default() }
    }

    /// The same, with requests signed by these credentials rather than by those of AWS's own variables, a web identity or
    /// the machine's role.
    #[must_use]
    pub fn with_credentials(self, credentials: Option<AwsCredentialProvider>) -> Self {
        Self { credentials, ..self }
    }

    /// The stores of [`Prefix::open`]: those that were given to [`Stores::set_for_process`], else the environment's.
    pub fn of_process() -> &'static Self {
        OF_PROCESS.get_or_init(Self::default)
    }

    /// Makes these the stores of [`Prefix::open`], unless it has opened something already. Whether they are.
    ///
    /// One place for the whole process, because locations are opened wherever a plan or a state object names one.
    pub fn set_for_process(self) -> bool {
        OF_PROCESS.set(self).is_ok()
    }

    /// Opens a location; see [`Prefix::open`].
    ///
    /// # Errors
    /// As [`Prefix::open`].
    pub fn open(&self, location: &str) -> Result<Prefix> {
        location::open(location, self).map_err(|error| error.with("location", location))
    }

    /// The client of a bucket, made at the first call.
    pub(crate) fn bucket(&self, name: &str) -> Result<Bucket> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get(name) {
            return Ok(bucket.clone());
        }
        let bucket = open_bucket(&self.settings, self.credentials.as_ref(), name)?;
        buckets.insert(name.to_owned(), bucket.clone());
        Ok(bucket)
    }
}
