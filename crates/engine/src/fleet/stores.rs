//! The stores that tasks of a fleet reach: opened when a plan names them, one client for each.
//!
//! Invariant: nothing but buckets of S3, and the local disk where all of the fleet has the same one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use datafusion::{
    common::{DataFusionError, Result},
    execution::object_store::ObjectStoreRegistry,
};
use lakewright_error::{Error, ErrorKind};
use lakewright_lake::Prefix;
use object_store::ObjectStore;
use url::Url;

use crate::fault;

/// Whether plans may name files of the local disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalFiles {
    /// They may: every process of the fleet sees the same disk.
    Shared,
    /// They may not: each machine has a disk of its own, and nobody else's plans read it.
    Refused,
}

impl LocalFiles {
    /// Refuses a prefix on the local disk where it may not be named.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: it is on the local disk, and that is not shared.
    pub fn check(self, prefix: &Prefix) -> Result<(), Error> {
        if self == Self::Refused && prefix.is_local() {
            return Err(refused().with("location", prefix.display_location()));
        }
        Ok(())
    }
}

fn refused() -> Error {
    Error::new(ErrorKind::Invalid, "the executors of a fleet do not share this machine's disk")
        .with_hint("use s3://bucket/prefix; or set fleet_shares_disk if all of them see the same directories")
}

/// Opens stores when they are asked for.
#[derive(Debug)]
pub(crate) struct OpenedStores {
    local: LocalFiles,
    /// By scheme and authority.
    stores: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>>,
}

impl OpenedStores {
    pub(crate) fn new(local: LocalFiles) -> Self {
        Self { local, stores: Mutex::default() }
    }
}

fn key(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.authority())
}

impl ObjectStoreRegistry for OpenedStores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).insert(key(url), store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if url.scheme() == "file" && self.local == LocalFiles::Refused {
            return Err(fault::into_datafusion(refused()));
        }
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(url);
        if let Some(store) = stores.get(&key) {
            return Ok(Arc::clone(store));
        }
        let location = match url.scheme() {
            "file" => "/".to_owned(),
            "s3" => format!("s3://{}", url.authority()),
            scheme => {
                return Err(DataFusionError::Plan(format!("a plan names a store of another kind: {scheme}")));
            }
        };
        let store = Arc::clone(Prefix::open(&location).map_err(fault::into_datafusion)?.store());
        stores.insert(key, Arc::clone(&store));
        Ok(store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_of_ones_own_is_not_for_plans_of_others() {
        let url = |text: &str| Url::parse(text).unwrap();
        assert!(OpenedStores::new(LocalFiles::Shared).get_store(&url("file:///")).is_ok());
        let error = OpenedStores::new(LocalFiles::Refused).get_store(&url("file:///etc")).unwrap_err();
        assert_eq!(fault::from_datafusion(error).kind(), ErrorKind::Invalid);
        let lake = Prefix::open("/lake").unwrap();
        assert_eq!(LocalFiles::Refused.check(&lake).unwrap_err().kind(), ErrorKind::Invalid);
        LocalFiles::Shared.check(&lake).unwrap();
    }

    #[test]
    fn stores_of_other_kinds_are_refused() {
        for text in ["http://169.254.169.254/", "https://example.com/", "gs://bucket/"] {
            assert!(OpenedStores::new(LocalFiles::Shared).get_store(&Url::parse(text).unwrap()).is_err(), "{text}");
        }
    }
}
