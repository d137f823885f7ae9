//! Whether a store keeps what everything here rests on: an object that exists is never replaced by a create.
//!
//! Data flow: a lake is opened for writing -> **here**, once for each store it lies on -> the run may begin.
//!
//! Servers that speak S3 differ: some overwrite in spite of `If-None-Match: *`, some let several creators win a race.
//! Either would let two runs publish the same version, one over the other.
//!
//! Invariant: nothing else is written to a lake before its store has passed.

use bytes::Bytes;
use futures::future::try_join_all;
use lakewright_error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Created, Prefix, layout,
    state::{Format, encode},
};

/// Creators that race for one object.
const RACERS: usize = 16;

/// `stores/<digest>.json`: the store has passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Passed {
    format: Format,
    /// URL of the bucket.
    store: String,
    /// Version of the program that asked.
    program: String,
}

/// Checks the store of a lake on S3 unless the lake remembers that it has passed. Does nothing for a local disk, whose
/// hard links are the kernel's promise.
///
/// # Errors
/// As [`check_store`].
pub async fn ensure_store_checked(lake: &Prefix) -> Result<()> {
    let Some(about) = lake.about() else { return Ok(()) };
    let url = about.url.to_string();
    let digest: String = Sha256::digest(&url).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let key = layout::store_check(&digest);
    if lake.read(&key).await?.is_some() {
        return Ok(());
    }
    check_store(lake).await?;
    let passed = Passed { format: Format, store: url, program: env!("CARGO_PKG_VERSION").to_owned() };
    lake.create(&key, encode(&passed)?).await.map(drop)
}

/// Checks that an object can be created once, by one of several creators at once, and read and deleted.
///
/// # Errors
/// - [`ErrorKind::Unsupported`]: the store replaces an object that exists; names the store.
/// - [`ErrorKind::Denied`], [`ErrorKind::Unavailable`]: the store refused, or did not answer.
pub async fn check_store(lake: &Prefix) -> Result<()> {
    let name = |what: &str| format!("{}/check-{}-{what}", layout::STORES_DIR, Uuid::new_v4());
    let (twice, raced) = (name("twice"), name("raced"));
    let checked = match create_twice(lake, &twice).await {
        Ok(()) => race(lake, &raced).await,
        Err(error) => Err(error),
    };
    for object in [twice, raced] {
        let deleted = lake.delete(&object).await;
        // What went wrong before tells more than that the rest could not be taken away.
        if checked.is_ok() {
            deleted?;
        }
    }
    checked
}

async fn create_twice(lake: &Prefix, name: &str) -> Result<()> {
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    lake.create(name, first.clone()).await?;
    match lake.create(name, second).await? {
        Created::Before(kept) if kept == first => {}
        _ => return Err(refusal(lake, "a second create of an object succeeds and replaces the first")),
    }
    if lake.read(name).await?.as_ref() == Some(&first) {
        return Ok(());
    }
    Err(refusal(lake, "a create that is refused replaces the object all the same"))
}

async fn race(lake: &Prefix, name: &str) -> Result<()> {
    let racers: Vec<Bytes> = (0..RACERS).map(|racer| Bytes::from(format!("racer {racer}"))).collect();
    let won = try_join_all(racers.iter().map(|own| async move {
        let created = lake.create(name, own.clone()).await?;
        // Whose answer was lost finds its own bytes.
        Ok::<_, Error>(matches!(created, Created::Now) || created == Created::Before(own.clone()))
    }));
    let winners: Vec<&Bytes> =
        won.await?.into_iter().zip(&racers).filter_map(|(won, own)| won.then_some(own)).collect();
    let kept = lake.read(name).await?;
    match winners.as_slice() {
        [winner] if kept.as_ref() == Some(*winner) => Ok(()),
        [_] => Err(refusal(lake, "the object of the winner of a race is replaced")),
        _ => Err(refusal(lake, "several creators of one object at once all succeed").with("winners", winners.len())),
    }
}

fn refusal(lake: &Prefix, what: &'static str) -> Error {
    let store = lake.about().map_or_else(|| lake.display_location(), |about| about.describe());
    Error::new(ErrorKind::Unsupported, "this store cannot hold a lake: it overwrites objects that exist")
        .with("store", store)
        .with_hint(
            "use S3 itself, or a server whose If-None-Match: * is atomic; two runs would overwrite each other's tables \
             here",
        )
        .with_source(std::io::Error::other(what))
}
