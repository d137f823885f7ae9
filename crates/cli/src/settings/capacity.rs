//! How much a scheduler takes on, and how long it waits for a step.

use std::time::Duration;

use lakewright_error::Result;

use super::{RawSettings, invalid, size};

/// Runs that a scheduler drives at once, steps that it executes at once, and runs that may wait, unless told.
const DEFAULT_RUNS_AT_ONCE: usize = 8;
const DEFAULT_STEPS_AT_ONCE: usize = 16;
const DEFAULT_QUEUE_MAX: usize = 1000;
/// More of any of these than this is a mistake.
const COUNT_MAX: usize = 100_000;
/// How long a step on a fleet may show no progress unless told.
const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(600);

/// How much a scheduler takes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// Runs that it drives at once.
    pub(crate) runs_at_once: usize,
    /// Steps that it executes at once.
    pub(crate) steps_at_once: usize,
    /// Runs that may wait.
    pub(crate) queue_max: usize,
    /// How long a step on a fleet may show no progress.
    pub(crate) stall_timeout: Duration,
}

impl Capacity {
    /// Checks what was set; `origin_of` says by whom.
    pub(super) fn of(raw: &RawSettings, origin_of: &dyn Fn(&str) -> String) -> Result<Self> {
        let in_range = |set: Option<usize>, default: usize, key: &str| match set.unwrap_or(default) {
            count @ 1..=COUNT_MAX => Ok(count),
            _ => Err(invalid(key, &origin_of(key), "a number from 1 to 100000 is needed")),
        };
        Ok(Self {
            runs_at_once: in_range(raw.runs_at_once, DEFAULT_RUNS_AT_ONCE, "runs_at_once")?,
            steps_at_once: in_range(raw.steps_at_once, DEFAULT_STEPS_AT_ONCE, "steps_at_once")?,
            queue_max: in_range(raw.queue_max, DEFAULT_QUEUE_MAX, "queue_max")?,
            stall_timeout: raw.stall_timeout.unwrap_or(DEFAULT_STALL_TIMEOUT),
        })
    }

    /// The value of a key as text.
    pub(super) fn text(&self, key: &str) -> String {
        match key {
            "runs_at_once" => self.runs_at_once.to_string(),
            "steps_at_once" => self.steps_at_once.to_string(),
            "queue_max" => self.queue_max.to_string(),
            _ => size::time_text(self.stall_timeout),
        }
    }
}
