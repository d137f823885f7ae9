//! Which runs may begin, and in which order the others wait: a pure queue.
//!
//! Data flow: a request is promised a place, or refused -> the accepted run joins -> [`Admission::admit`] lets runs in, as
//! many as may be driven at once -> a run leaves when it has ended.
//!
//! Invariant: nobody who submits much holds up who submits little. A run of a job is let in after all that were accepted
//! before it: of the same job only one is driven at a time, so a second one would only hold a place.

use std::collections::BTreeMap;

/// How much a scheduler takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Runs driven at once.
    pub runs_at_once: usize,
    /// Runs that wait; more are refused.
    pub queue_max: usize,
}

/// Whose run it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) principal: String,
    pub(super) job: String,
    /// Its number in its job.
    pub(super) sequence: u64,
}

#[derive(Debug)]
struct Waiting {
    run_id: String,
    owner: Owner,
    /// Somebody has cancelled it: all that is left is to write that down.
    hurried: bool,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// Requests that are being accepted, each of which will join.
    promised: usize,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
    running: BTreeMap<String, Owner>,
    /// When a run of each principal was last let in, while it has any.
    served: BTreeMap<String, u64>,
    admitted: u64,
}

impl Admission {
    /// Promises a place to a request that is about to be accepted. Whether there is one.
    pub(super) fn promise(&mut self, limits: RunLimits) -> bool {
        let taken = self.running.len() + self.waiting.len() + self.promised;
        let has_place = taken < limits.runs_at_once.saturating_add(limits.queue_max);
        self.promised += usize::from(has_place);
        has_place
    }

    /// Takes a promise back: its request has joined, or will not.
    pub(super) fn settle(&mut self) {
        self.promised = self.promised.saturating_sub(1);
    }

    /// Lets a run wait for its turn.
    pub(super) fn join(&mut self, run_id: &str, owner: Owner) {
        self.waiting.push(Waiting { run_id: run_id.to_owned(), owner, hurried: false });
    }

    /// Lets a run that waits in at once.
    pub(super) fn hurry(&mut self, run_id: &str) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.run_id == run_id) {
            waiting.hurried = true;
        }
    }

    /// The runs that begin now; from here on they are driven.
    pub(super) fn admit(&mut self, runs_at_once: usize) -> Vec<String> {
        let mut admitted = Vec::new();
        while let Some(index) = self.next(runs_at_once) {
            let Waiting { run_id, owner, .. } = self.waiting.remove(index);
            self.admitted += 1;
            self.served.insert(owner.principal.clone(), self.admitted);
            self.running.insert(run_id.clone(), owner);
            admitted.push(run_id);
        }
        admitted
    }

    /// Takes note that a run has ended.
    pub(super) fn leave(&mut self, run_id: &str) {
        self.running.remove(run_id);
        let (waiting, running) = (&self.waiting, &self.running);
        let owners = || waiting.iter().map(|waiting| &waiting.owner).chain(running.values());
        self.served.retain(|principal, _| owners().any(|owner| owner.principal == *principal));
    }

    /// Runs that are driven, and that wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.running.len(), self.waiting.len())
    }

    /// The runs that wait with their places, from 1.
    pub(super) fn places(&self) -> BTreeMap<String, u32> {
        let order = self.order();
        let place = |(index, waiting): (usize, &usize)| {
            (self.waiting[*waiting].run_id.clone(), u32::try_from(index + 1).unwrap_or(u32::MAX))
        };
        order.iter().enumerate().map(place).collect()
    }

    fn next(&self, runs_at_once: usize) -> Option<usize> {
        let is_urgent = |waiting: &Waiting| waiting.hurried || self.is_waited_for(&waiting.owner);
        if let Some(index) = self.waiting.iter().position(is_urgent) {
            return Some(index);
        }
        if self.running.len() >= runs_at_once {
            return None;
        }
        self.order().into_iter().find(|index| !self.is_driven(&self.waiting[*index].owner.job))
    }

    /// Whether a later run of the job is driven already: it waits for this one, in a place of its own.
    fn is_waited_for(&self, owner: &Owner) -> bool {
        self.running.values().any(|running| running.job == owner.job && running.sequence > owner.sequence)
    }

    fn is_driven(&self, job: &str) -> bool {
        self.running.values().any(|running| running.job == job)
    }

    /// The indices of those that wait in the order of their turns: principals in turn, whoever has least first, and for
    /// each its jobs in turn.
    fn order(&self) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..self.waiting.len()).collect();
        indices.sort_by_key(|index| self.waiting[*index].owner.sequence);
        let mut of_job: BTreeMap<&str, usize> = BTreeMap::new();
        for running in self.running.values() {
            *of_job.entry(&running.job).or_default() += 1;
        }
        // By principal: how many runs of the same job come before, then who came first.
        let mut turns: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
        for index in indices {
            let owner = &self.waiting[index].owner;
            let before = of_job.entry(&owner.job).or_default();
            turns.entry(&owner.principal).or_default().push((*before, index));
            *before += 1;
        }
        let mut order = Vec::new();
        for (principal, mut turns) in turns {
            turns.sort_unstable();
            let running = self.running.values().filter(|running| running.principal == principal).count();
            let served = self.served.get(principal).copied().unwrap_or(0);
            order.extend(turns.into_iter().enumerate().map(|(turn, (_, index))| (running + turn, served, index)));
        }
        order.sort_unstable();
        order.into_iter().map(|(_, _, index)| index).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(principal: &str, job: &str, sequence: u64) -> Owner {
        Owner { principal: principal.to_owned(), job: job.to_owned(), sequence }
    }

    fn places(admission: &Admission) -> Vec<String> {
        let mut places: Vec<(u32, String)> =
            admission.places().into_iter().map(|(run_id, place)| (place, run_id)).collect();
        places.sort();
        places.into_iter().map(|(_, run_id)| run_id).collect()
    }

    #[test]
    fn who_submits_much_does_not_hold_up_who_submits_little() {
        let mut admission = Admission::default();
        for number in 0..6 {
            admission.join(&format!("a{number}"), owner("alice", &format!("job{number}"), 1));
        }
        assert_eq!(admission.admit(2), ["a0", "a1"]);
        admission.join("b0", owner("bob", "other", 1));
        assert_eq!(places(&admission), ["b0", "a2", "a3", "a4", "a5"]);
        admission.leave("a0");
        assert_eq!(admission.admit(2), ["b0"]);
        admission.leave("a1");
        assert_eq!(admission.admit(2), ["a2"]);
    }

    #[test]
    fn the_jobs_of_one_principal_take_turns_and_each_is_driven_once_at_a_time() {
        let mut admission = Admission::default();
        for number in 0..3 {
            admission.join(&format!("x{number}"), owner("alice", "x", number));
        }
        admission.join("y0", owner("alice", "y", 1));
        assert_eq!(places(&admission), ["x0", "y0", "x1", "x2"]);
        assert_eq!(admission.admit(4), ["x0", "y0"]);
        assert_eq!(admission.admit(4), Vec::<String>::new(), "a second run of a job would only wait");
        admission.leave("x0");
        assert_eq!(admission.admit(4), ["x1"]);
    }

    #[test]
    fn a_run_that_others_wait_for_and_a_cancelled_one_need_no_free_place() {
        let mut admission = Admission::default();
        admission.join("later", owner("alice", "x", 6));
        assert_eq!(admission.admit(1), ["later"]);
        admission.join("earlier", owner("alice", "x", 5));
        assert_eq!(admission.admit(1), ["earlier"]);
        admission.join("cancelled", owner("bob", "y", 1));
        assert_eq!(admission.admit(1), Vec::<String>::new());
        admission.hurry("cancelled");
        assert_eq!(admission.admit(1), ["cancelled"]);
    }

    #[test]
    fn what_is_beyond_the_queue_is_refused_and_what_was_promised_has_a_place() {
        let mut admission = Admission::default();
        let limits = RunLimits { runs_at_once: 1, queue_max: 2 };
        assert!(admission.promise(limits) && admission.promise(limits) && admission.promise(limits));
        assert!(!admission.promise(limits));
        admission.settle();
        admission.join("a", owner("alice", "x", 1));
        assert!(!admission.promise(limits));
        admission.settle();
        assert!(admission.promise(limits), "a request that was not accepted gives its place back");
    }

    #[test]
    fn nothing_is_remembered_of_principals_without_runs() {
        let mut admission = Admission::default();
        for number in 0..10 {
            let name = format!("p{number}");
            admission.join(&name, owner(&name, "x", number));
            admission.admit(1);
            admission.leave(&name);
        }
        assert!(admission.served.is_empty() && admission.running.is_empty());
    }
}
