//! How many machines a fleet should have: a pure function of what was needed lately.
//!
//! Invariant: what is wanted is never above the limit, and grows only for what has been needed all the time of a window,
//! shrinks only below what was needed at any time of another. One moment decides nothing.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// When machines come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalingPolicy {
    /// Machines that stay.
    pub machines_min: u32,
    /// Machines at most.
    pub machines_max: u32,
    /// How long tasks must wait before machines are added.
    pub after: Duration,
    /// How long machines must not have been needed before they are taken away.
    pub idle: Duration,
    /// Time between two changes.
    pub cooldown: Duration,
}

/// What is to be done about the number of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    Keep,
    /// So many are ordered.
    Grow(u32),
    /// So many stay.
    Shrink(u32),
}

/// How many machines were needed, at moments of the near past.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<(Instant, u32)>);

impl History {
    /// Takes note of what is needed now, and forgets what is older than `kept`.
    pub(super) fn saw(&mut self, now: Instant, machines: u32, kept: Duration) {
        self.0.push_back((now, machines));
        // The last one before the window says what was needed when it began.
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= kept) {
            self.0.pop_front();
        }
    }

    /// What was needed in the last `window`; none if it is not known as far back.
    fn of(&self, now: Instant, window: Duration) -> Option<impl Iterator<Item = u32>> {
        let begun = self.0.iter().rposition(|(at, _)| now.duration_since(*at) >= window)?;
        Some(self.0.iter().skip(begun).map(|(_, machines)| *machines))
    }
}

impl ScalingPolicy {
    /// How far back a history must go.
    pub(super) fn memory(&self) -> Duration {
        self.after.max(self.idle)
    }

    /// What to do while `wanted` machines are there or on order, the last change being made at `changed`.
    pub(super) fn decide(&self, history: &History, now: Instant, wanted: u32, changed: Option<Instant>) -> Decision {
        if changed.is_some_and(|changed| now.duration_since(changed) < self.cooldown) {
            return Decision::Keep;
        }
        if wanted < self.machines_min {
            return Decision::Grow(self.machines_min);
        }
        if let Some(least) = self.needed_all_along(history, now).filter(|least| *least > wanted) {
            return Decision::Grow(least);
        }
        let most = history.of(now, self.idle).and_then(Iterator::max).map(|most| self.within_limits(most));
        match most.filter(|most| *most < wanted) {
            Some(most) => Decision::Shrink(most),
            None => Decision::Keep,
        }
    }

    /// The machines that were needed at every moment of the shorter window, within the limits.
    pub(super) fn needed_all_along(&self, history: &History, now: Instant) -> Option<u32> {
        let least = history.of(now, self.after).and_then(Iterator::min)?;
        Some(self.within_limits(least))
    }

    fn within_limits(&self, machines: u32) -> u32 {
        machines.clamp(self.machines_min, self.machines_max.max(self.machines_min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: ScalingPolicy = ScalingPolicy {
        machines_min: 1,
        machines_max: 10,
        after: Duration::from_secs(60),
        idle: Duration::from_secs(600),
        cooldown: Duration::from_secs(300),
    };

    /// One look every ten seconds, with what was needed then; the last is now.
    fn seen(needed: &[u32]) -> (History, Instant) {
        // Long after this machine has begun: there is a past.
        let mut now = Instant::now() + Duration::from_secs(3600);
        let mut history = History::default();
        for machines in needed {
            now += Duration::from_secs(10);
            history.saw(now, *machines, POLICY.memory());
        }
        (history, now)
    }

    #[test]
    fn it_grows_by_what_was_needed_all_along_and_never_beyond_the_limit() {
        let (history, now) = seen(&[6, 9, 5, 9, 9, 9, 9, 9]);
        assert_eq!(POLICY.decide(&history, now, 2, None), Decision::Grow(5));
        let (history, now) = seen(&[50; 8]);
        assert_eq!(POLICY.decide(&history, now, 2, None), Decision::Grow(10));
        assert_eq!(POLICY.decide(&history, now, 10, None), Decision::Keep);
        assert_eq!(POLICY.decide(&history, now, 12, None), Decision::Keep, "somebody else has asked for more");
    }

    #[test]
    fn a_queue_of_a_moment_and_a_history_that_is_too_short_change_nothing() {
        let (history, now) = seen(&[9, 9, 9, 0, 9, 9, 9, 9]);
        assert_eq!(POLICY.decide(&history, now, 2, None), Decision::Keep);
        let (history, now) = seen(&[9; 6]);
        assert_eq!(POLICY.decide(&history, now, 2, None), Decision::Keep);
        let (history, now) = seen(&[0; 60]);
        assert_eq!(POLICY.decide(&history, now, 5, None), Decision::Keep);
    }

    #[test]
    fn it_shrinks_to_the_most_that_was_needed_and_never_below_the_limit() {
        let mut needed = [0; 61];
        let (history, now) = seen(&needed);
        assert_eq!(POLICY.decide(&history, now, 5, None), Decision::Shrink(1));
        assert_eq!(POLICY.decide(&history, now, 1, None), Decision::Keep);
        needed[30] = 3;
        let (history, now) = seen(&needed);
        assert_eq!(POLICY.decide(&history, now, 5, None), Decision::Shrink(3));
        assert_eq!(POLICY.decide(&history, now, 3, None), Decision::Keep);
    }

    #[test]
    fn fewer_than_the_least_are_made_up_for_and_changes_are_apart() {
        let (history, now) = seen(&[0]);
        assert_eq!(POLICY.decide(&history, now, 0, None), Decision::Grow(1));
        let (history, now) = seen(&[9; 8]);
        let changed = now.checked_sub(Duration::from_secs(299)).unwrap();
        assert_eq!(POLICY.decide(&history, now, 2, Some(changed)), Decision::Keep);
        let changed = now.checked_sub(Duration::from_secs(300)).unwrap();
        assert_eq!(POLICY.decide(&history, now, 2, Some(changed)), Decision::Grow(9));
    }

    #[test]
    fn what_is_older_than_both_windows_is_forgotten() {
        let (history, _) = seen(&[1; 500]);
        assert_eq!(history.0.len(), 61);
    }
}
