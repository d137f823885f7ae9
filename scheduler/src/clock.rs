//! Where times come from.
//!
//! Invariant: no decision rests on when it is taken. Times are recorded for people, and pinned once a run as its
//! `execution_ts`, which says which intervals are over.

use std::{fmt::Debug, time::SystemTime};

/// Gives the time of day. Waiting is tokio's, whose clock tests can pause.
pub trait Clock: Debug + Send + Sync {
    /// Microseconds since 1970-01-01T00:00:00Z.
    fn now_us(&self) -> i64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
    fn now_us(&self) -> i64 {
        // A clock before 1970 gives 0: nothing depends on it.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}
