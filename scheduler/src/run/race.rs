//! Creates state objects that several drivers may want to create, and asks again when no answer came.
//!
//! Invariant: a lost answer is told apart from another creator's win by the bytes, which hold what only this creator
//! wrote (its nonce), and never by the error.

use std::{future::Future, time::Duration};

use lakewright_error::{Error, Result};
use lakewright_lake::{
    Created, Prefix,
    state::{decode, encode},
};
use serde::{Serialize, de::DeserializeOwned};

/// Times that an operation on the store is tried.
const TRIES_MAX: u32 = 5;

/// Pause after the second try; it doubles with every further one. The first repetition comes at once: the store's own
/// client has waited already, and a lost answer is settled by asking again. Stores of this crate's tests need no rest.
const FIRST_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 50 });

/// What came of a race to create an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Race<T> {
    /// The object is this creator's.
    Won,
    /// The object is another's.
    Lost(T),
}

/// Creates the state object at `key`, or gives the one that is there.
///
/// # Errors
/// As [`Prefix::create`] after several tries; as [`decode`] for the object that is there.
///
/// # Cancel safety
/// Dropping the future leaves it open whether the object exists.
pub(crate) async fn create<T: Serialize + DeserializeOwned>(lake: &Prefix, key: &str, object: &T) -> Result<Race<T>> {
    let bytes = encode(object)?;
    match retrying(|| lake.create(key, bytes.clone())).await? {
        Created::Now => Ok(Race::Won),
        Created::Before(before) if before == bytes => Ok(Race::Won),
        Created::Before(before) => decode(key, &before).map(Race::Lost),
    }
}

/// Tries an operation that may be repeated, until it gives an answer that decides.
///
/// # Errors
/// The operation's: the first that is not retryable, else the last.
pub(crate) async fn retrying<T, F, Fut>(mut operation: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut pause = Duration::ZERO;
    let mut tries = 1;
    loop {
        match operation().await {
            Err(error) if error.is_retryable() && tries < TRIES_MAX => {
                tracing::debug!(error = %chain(&error), tries, "store operation tried again");
                tokio::time::sleep(pause).await;
                pause = if pause.is_zero() { FIRST_PAUSE } else { pause * 2 };
                tries += 1;
            }
            answer => return answer,
        }
    }
}

/// An error and everything under it in one line.
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(next) = source {
        text.push_str(": ");
        text.push_str(&next.to_string());
        source = next.source();
    }
    text
}
