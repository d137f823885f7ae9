//! How many requests may be in flight: the adaptive limit of a bucket.
//!
//! Invariant: no more requests than the limit were let in, whatever was throttled or dropped; [`Limit`] decides, and
//! [`Gate`] makes callers wait.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

/// Throttled as it may be, a store gets this many at once: progress, and a sign when it has recovered.
const REQUESTS_MIN: usize = 4;

/// The limit as a value: halved when the store throttles, one more after as many answers as it allows.
#[derive(Clone, Debug)]
struct Limit {
    most: usize,
    allowed: usize,
    /// Answers since the limit last grew.
    answers: usize,
    /// Grows when the limit is halved: answers to requests that began before do not halve it again.
    epoch: u64,
}

impl Limit {
    fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, allowed: most, answers: 0, epoch: 0 }
    }

    /// Whether the limit has grown by one.
    fn answered(&mut self) -> bool {
        self.answers += 1;
        if self.allowed >= self.most || self.answers < self.allowed {
            return false;
        }
        self.answers = 0;
        self.allowed += 1;
        true
    }

    /// By how much the limit shrinks, when a request that began in `epoch` was throttled.
    fn throttled(&mut self, epoch: u64) -> usize {
        self.answers = 0;
        if epoch < self.epoch {
            return 0;
        }
        let before = self.allowed;
        self.allowed = (before / 2).max(REQUESTS_MIN.min(self.most));
        self.epoch += 1;
        before - self.allowed
    }
}

/// Lets requests in.
#[derive(Debug)]
pub(super) struct Gate {
    places: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: Limit,
    /// Places that are to go when the requests that hold them are answered.
    owed: usize,
}

/// The right to send one request; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    epoch: u64,
}

impl Gate {
    pub(super) fn new(most: usize) -> Self {
        let limit = Limit::new(most);
        Self { places: Semaphore::new(limit.allowed), state: Mutex::new(State { limit, owed: 0 }) }
    }

    /// Waits for a place, in order.
    pub(super) async fn enter(&self) -> Pass<'_> {
        if let Ok(place) = self.places.acquire().await {
            place.forget();
        }
        Pass { gate: self, epoch: self.state().limit.epoch }
    }

    /// Requests that may be in flight.
    pub(super) fn allowed(&self) -> usize {
        self.state().limit.allowed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Tells the gate that the store has answered.
    pub(super) fn answered(&self) {
        let mut state = self.gate.state();
        if !state.limit.answered() {
            return;
        }
        match state.owed {
            0 => self.gate.places.add_permits(1),
            owed => state.owed = owed - 1,
        }
    }

    /// Tells the gate that the store has asked for fewer requests. Whether the limit is lower for it.
    pub(super) fn throttled(&self) -> bool {
        let mut state = self.gate.state();
        let shrunk = state.limit.throttled(self.epoch);
        state.owed += shrunk - self.gate.places.forget_permits(shrunk);
        shrunk > 0
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        match state.owed {
            0 => self.gate.places.add_permits(1),
            owed => state.owed = owed - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, stream};

    use super::*;

    /// How many more requests the gate lets in at once.
    fn free(gate: &Gate) -> usize {
        let mut passes = Vec::new();
        while let Some(pass) = gate.enter().now_or_never() {
            passes.push(pass);
        }
        passes.len()
    }

    #[test]
    fn a_burst_of_refusals_halves_the_limit_once() {
        let gate = Gate::new(64);
        let burst: Vec<Pass<'_>> = (0..10).map(|_| gate.enter().now_or_never().unwrap()).collect();
        assert_eq!(burst.iter().filter(|pass| pass.throttled()).count(), 1);
        assert_eq!(gate.allowed(), 32);
        assert_eq!(free(&gate), 22);
        drop(burst);
        assert_eq!(free(&gate), 32);
    }

    #[test]
    fn places_of_requests_in_flight_go_when_they_are_answered() {
        let gate = Gate::new(16);
        let mut flight: Vec<Pass<'_>> = (0..16).map(|_| gate.enter().now_or_never().unwrap()).collect();
        assert!(flight[0].throttled());
        flight.truncate(8);
        assert_eq!(free(&gate), 0, "eight are still in flight");
        flight.truncate(7);
        assert_eq!(free(&gate), 1);
        drop(flight);
        assert_eq!(free(&gate), 8);
    }

    #[test]
    fn the_limit_never_falls_to_nothing_and_grows_back_slowly_to_what_it_was() {
        let gate = Gate::new(32);
        for _ in 0..10 {
            gate.enter().now_or_never().unwrap().throttled();
        }
        assert_eq!((gate.allowed(), free(&gate)), (REQUESTS_MIN, REQUESTS_MIN));
        for _ in 0..REQUESTS_MIN {
            gate.enter().now_or_never().unwrap().answered();
        }
        assert_eq!((gate.allowed(), free(&gate)), (REQUESTS_MIN + 1, REQUESTS_MIN + 1));
        for _ in 0..10_000 {
            gate.enter().now_or_never().unwrap().answered();
        }
        assert_eq!((gate.allowed(), free(&gate)), (32, 32));
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_while_it_waits_or_flies_gives_its_place_back() {
        let gate = Gate::new(1);
        let pass = gate.enter().await;
        assert!(gate.enter().now_or_never().is_none());
        drop(pass);
        let entered = stream::iter(0..100).map(|_| gate.enter()).buffer_unordered(10).count();
        assert_eq!(entered.await, 100);
        assert_eq!(free(&gate), 1);
    }
}
