//! Machines come while tasks wait for them, and go when nobody needs them.
//!
//! Data flow: what a fleet has to do ([`Work`]) -> [`policy`] says how many machines it should have -> machines that are to
//! go get no more tasks, and are awaited -> [`Machines`] orders or gives back.
//!
//! Invariant: a machine is given back only when nothing runs there and nobody may ask for rows that lie there. Whatever
//! fails here is logged and tried again; nothing of it reaches a run.

mod leave;
mod policy;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, convert::Infallible, fmt::Debug, time::Duration};

use async_trait::async_trait;
use lakewright_error::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep, timeout};

pub use self::policy::ScalingPolicy;
use self::{
    leave::Leaving,
    policy::{Decision, History},
};
use crate::run::chain;

/// Longest and shortest time between two looks at the fleet.
const LOOK_MAX: Duration = Duration::from_secs(10);
const LOOK_MIN: Duration = Duration::from_millis(250);

/// How long what is known of the machines is believed.
const COUNT_AGE_MAX: Duration = Duration::from_secs(60);

/// How long whoever has the machines may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Longest pause after a failure; it begins with the time between two looks, and doubles.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Machines that come and go, as one group of somebody who has more of them.
#[async_trait]
pub trait Machines: Debug + Send + Sync {
    /// What is there, and what is wanted.
    ///
    /// # Errors
    /// Whatever whoever has them says.
    async fn count(&self) -> Result<MachineCount>;

    /// Asks for another number of machines. Of those that are there, `leave` go, if they can be chosen.
    /// Done twice it does nothing more.
    ///
    /// # Errors
    /// Whatever whoever has them says; it may have been done all the same.
    async fn resize(&self, wanted: u32, leave: &BTreeSet<String>) -> Result<()>;
}

/// The machines of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineCount {
    /// Machines that were asked for: those that are there, and those on order.
    pub wanted: u32,
    /// Addresses of those that are there, as executors tell them.
    pub hosts: BTreeSet<String>,
    /// Whether it can be said which ones are to go.
    pub can_choose: bool,
}

/// What a fleet has to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Slots in which tasks run.
    pub(crate) slots_busy: usize,
    /// Slots that tasks wait for.
    pub(crate) slots_waited_for: usize,
    /// Who takes tasks: the machine's address, and its slots.
    pub(crate) executors: Vec<(String, usize)>,
}

/// What a fleet is asked, and told, by whoever scales it.
#[async_trait]
pub(crate) trait Work: Send + Sync {
    /// What it has to do at this moment.
    async fn demand(&self) -> Demand;

    /// Gives no more tasks to these machines, and to all others again.
    async fn hold(&self, hosts: BTreeSet<String>);

    /// Whether nothing runs on these machines, and nobody may ask for rows that lie there.
    async fn is_free(&self, hosts: &BTreeSet<String>) -> bool;
}

/// Gives a fleet the machines that it needs, for ever.
///
/// # Cancel safety
/// Dropped, it changes nothing more; what was ordered comes. Machines that were held stay so in this fleet, which ends too.
pub async fn scale(fleet: &crate::Fleet, machines: &dyn Machines, policy: ScalingPolicy) -> Infallible {
    Scaler::new(fleet, machines, policy).run().await
}

/// An answer, if it came in time.
type Answered<T> = Result<Result<T>, tokio::time::error::Elapsed>;

/// Whoever scales a fleet.
struct Scaler<'a> {
    work: &'a dyn Work,
    machines: &'a dyn Machines,
    policy: ScalingPolicy,
    history: History,
    /// The machines as they were last counted; none if they were never, or if something was ordered since.
    count: Option<MachineCount>,
    /// When they were counted; none if they could not be.
    counted: Option<Instant>,
    /// When their number was last changed.
    changed: Option<Instant>,
    /// What failed last, until when nobody is asked, and the pause after the next failure.
    failed: Option<&'static str>,
    silent_until: Option<Instant>,
    pause: Duration,
    leaving: Option<Leaving>,
}

impl<'a> Scaler<'a> {
    fn new(work: &'a dyn Work, machines: &'a dyn Machines, policy: ScalingPolicy) -> Self {
        let look = look_interval(&policy);
        Self {
            work,
            machines,
            policy,
            history: History::default(),
            count: None,
            counted: None,
            changed: None,
            failed: None,
            silent_until: None,
            pause: look,
            leaving: None,
        }
    }

    async fn run(mut self) -> Infallible {
        let ScalingPolicy { machines_min, machines_max, .. } = self.policy;
        tracing::info!(machines_min, machines_max, "fleet is scaled");
        loop {
            self.look(Instant::now()).await;
            sleep(look_interval(&self.policy)).await;
        }
    }

    /// One look, and what follows from it.
    async fn look(&mut self, now: Instant) {
        let is_known = self.is_known(now).await;
        let demand = self.work.demand().await;
        match &self.count {
            Some(count) => self.history.saw(now, machines_needed(&demand, &count.hosts), self.policy.memory()),
            // Of executors it cannot be said whose they are, so neither how many are needed. A window with a hole would
            // let single moments decide.
            None => self.history = History::default(),
        }
        if !is_known {
            return self.stay(now).await;
        }
        if self.leaving.is_some() {
            return self.go_on_leaving(now).await;
        }
        let wanted = self.known().wanted;
        match self.policy.decide(&self.history, now, wanted, self.changed) {
            Decision::Keep => {}
            Decision::Grow(machines) => self.grow(now, machines, &demand).await,
            Decision::Shrink(machines) => self.begin_leaving(now, machines).await,
        }
    }

    /// Whether it is known what machines there are; whoever has them is asked again if that was long ago.
    async fn is_known(&mut self, now: Instant) -> bool {
        let age_max = COUNT_AGE_MAX.min(self.policy.cooldown);
        let is_fresh = self.counted.is_some_and(|since| now.duration_since(since) < age_max);
        is_fresh || (self.silent_until.is_none_or(|until| now >= until) && self.refresh(now).await)
    }

    /// What was last known of the machines.
    fn known(&self) -> MachineCount {
        self.count.clone().unwrap_or_default()
    }

    async fn grow(&mut self, now: Instant, machines: u32, demand: &Demand) {
        // Somebody else may have changed it since it was last looked at.
        if !self.refresh(now).await {
            return;
        }
        let wanted = self.known().wanted;
        if wanted >= machines {
            return;
        }
        let Demand { slots_busy, slots_waited_for, .. } = *demand;
        if self.order(now, machines, &BTreeSet::new()).await {
            tracing::info!(from = wanted, to = machines, slots_busy, slots_waited_for, "fleet grows");
            self.changed = Some(now);
        }
    }

    /// Asks for another number of machines; whether that was taken.
    async fn order(&mut self, now: Instant, machines: u32, leave: &BTreeSet<String>) -> bool {
        // The limit, once more, where it counts.
        let machines = machines.min(self.policy.machines_max.max(self.policy.machines_min));
        let answer = timeout(ANSWER_MAX, self.machines.resize(machines, leave)).await;
        (self.count, self.counted) = (None, None);
        self.judge(now, answer, "fleet cannot be resized").is_some()
    }

    /// Asks what machines there are; whether that was answered.
    async fn refresh(&mut self, now: Instant) -> bool {
        let answer = timeout(ANSWER_MAX, self.machines.count()).await;
        match self.judge(now, answer, "machines of the fleet cannot be counted") {
            Some(count) => {
                (self.count, self.counted) = (Some(count), Some(now));
                true
            }
            None => {
                self.counted = None;
                false
            }
        }
    }

    /// Takes note of a failure: nobody is asked for a while, which grows.
    fn judge<T>(&mut self, now: Instant, answer: Answered<T>, failed: &'static str) -> Option<T> {
        let late = |_| Err(Error::new(ErrorKind::Unavailable, "no answer came in time"));
        match answer.unwrap_or_else(late) {
            Ok(value) => {
                // That machines can be counted says nothing of those that cannot be had.
                if self.failed.is_none_or(|last| last == failed) {
                    self.failed = None;
                    self.pause = look_interval(&self.policy);
                }
                Some(value)
            }
            Err(error) => {
                let again_in_s = self.pause.as_secs_f64();
                tracing::warn!(error = chain(&error), again_in_s, "{failed}");
                self.failed = Some(failed);
                self.silent_until = Some(now + self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                None
            }
        }
    }
}

/// Machines of the group that would be enough, beside the executors that are elsewhere.
fn machines_needed(demand: &Demand, hosts: &BTreeSet<String>) -> u32 {
    let slots = |in_group: bool| {
        demand.executors.iter().filter(move |(host, _)| hosts.contains(host) == in_group).map(|(_, slots)| *slots)
    };
    let elsewhere: usize = slots(false).sum();
    // Those of the group are alike; without one, as those elsewhere; without any, the least that a machine can have.
    let of_machine = slots(true).max().or_else(|| slots(false).max()).unwrap_or(1).max(1);
    let missing = (demand.slots_busy + demand.slots_waited_for).saturating_sub(elsewhere);
    u32::try_from(missing.div_ceil(of_machine)).unwrap_or(u32::MAX)
}

/// Time between two looks: often enough for the shortest time of the policy.
fn look_interval(policy: &ScalingPolicy) -> Duration {
    (policy.after.min(policy.idle).min(policy.cooldown) / 4).clamp(LOOK_MIN, LOOK_MAX)
}
