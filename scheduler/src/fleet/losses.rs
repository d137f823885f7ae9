//! What a job has cost: a task that ends the processes that run it must not go through the whole fleet.
//!
//! Data flow: who runs what, looked at while a job runs -> an executor is removed -> **here** -> the job goes on, or fails.
//!
//! Invariant: a pure function of what was seen. A task that was not running on the lost executor is not blamed.

use std::collections::BTreeMap;

/// Executors that one partition of a stage may cost. Where executors are taken away often, two are lost by chance.
pub(super) const LOSSES_MAX: u32 = 3;

/// One partition of one stage.
pub(super) type Part = (usize, usize);

/// Who ran what, and what was lost.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// The executor that runs each partition, as last seen.
    running: BTreeMap<Part, String>,
    lost: BTreeMap<Part, u32>,
}

impl Losses {
    /// Takes note of who runs what at this moment.
    pub(super) fn saw(&mut self, running: BTreeMap<Part, String>) {
        self.running = running;
    }

    /// Takes note that an executor has gone; gives the partition that has cost too many, if one has.
    pub(super) fn lose(&mut self, executor_id: &str) -> Option<Part> {
        let parts = self.running.iter().filter(|(_, executor)| *executor == executor_id);
        let parts: Vec<Part> = parts.map(|(part, _)| *part).collect();
        let mut worst = None;
        for part in parts {
            self.running.remove(&part);
            let lost = self.lost.entry(part).or_default();
            *lost += 1;
            if *lost >= LOSSES_MAX {
                worst = worst.or(Some(part));
            }
        }
        worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(parts: &[(Part, &str)]) -> BTreeMap<Part, String> {
        parts.iter().map(|(part, executor)| (*part, (*executor).to_owned())).collect()
    }

    #[test]
    fn a_task_that_has_cost_three_executors_is_named() {
        let mut losses = Losses::default();
        losses.saw(running(&[((1, 0), "a"), ((1, 1), "b")]));
        assert_eq!(losses.lose("a"), None);
        losses.saw(running(&[((1, 0), "b"), ((1, 1), "b")]));
        assert_eq!(losses.lose("b"), None, "two may be chance");
        losses.saw(running(&[((1, 0), "c"), ((1, 1), "d")]));
        assert_eq!(losses.lose("d"), None);
        assert_eq!(losses.lose("c"), Some((1, 0)));
    }

    #[test]
    fn executors_that_are_lost_together_or_idle_blame_nobody() {
        let mut losses = Losses::default();
        losses.saw(running(&[((1, 0), "a"), ((1, 1), "b")]));
        assert_eq!(losses.lose("a"), None);
        assert_eq!(losses.lose("b"), None);
        assert_eq!(losses.lose("c"), None);
        losses.saw(running(&[((2, 0), "d")]));
        assert_eq!(losses.lose("d"), None, "another stage");
    }
}
