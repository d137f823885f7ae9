//! How machines leave: held, awaited, given back, and seen to be gone.
//!
//! Invariant: until they are given back, a failure or a queue lets them all work again.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::{MachineCount, Scaler};

/// How long machines may need for what they have begun.
const FREE_MAX: Duration = Duration::from_secs(30 * 60);

/// How long machines may take to go when they were given back.
const GONE_MAX: Duration = Duration::from_secs(15 * 60);

/// Machines that are about to go.
#[derive(Debug)]
pub(super) struct Leaving {
    hosts: BTreeSet<String>,
    /// How many stay.
    to: u32,
    since: Instant,
    /// When they were given back.
    given_back: Option<Instant>,
}

impl Scaler<'_> {
    /// Holds as many machines as are too many.
    pub(super) async fn begin_leaving(&mut self, now: Instant, to: u32) {
        // Somebody else may have changed it since it was last looked at.
        if !self.refresh(now).await {
            return;
        }
        let count = self.known();
        if count.wanted <= to {
            return;
        }
        let hosts = self.choose(&count, to).await;
        tracing::info!(from = count.wanted, to, ?hosts, "fleet is about to shrink");
        self.work.hold(hosts.clone()).await;
        // Not given back before the next look: a task may be on its way to a machine that was free a moment ago.
        self.leaving = Some(Leaving { hosts, to, since: now, given_back: None });
    }

    /// Those that go: first those that have nothing to do. All, if it cannot be said which ones.
    async fn choose(&self, count: &MachineCount, to: u32) -> BTreeSet<String> {
        if !count.can_choose {
            return count.hosts.clone();
        }
        let many = count.hosts.len().saturating_sub(usize::try_from(to).unwrap_or(usize::MAX));
        let (mut free, mut busy) = (Vec::new(), Vec::new());
        for host in &count.hosts {
            let is_free = self.work.is_free(&BTreeSet::from([host.clone()])).await;
            if is_free { free.push(host.clone()) } else { busy.push(host.clone()) }
        }
        free.into_iter().chain(busy).take(many).collect()
    }

    /// Gives held machines back once they are free; lets them work again if they are needed after all.
    pub(super) async fn go_on_leaving(&mut self, now: Instant) {
        let Some(leaving) = self.leaving.take() else { return };
        if let Some(given_back) = leaving.given_back {
            return self.await_gone(now, leaving, given_back).await;
        }
        let is_needed = self.policy.needed_all_along(&self.history, now).is_some_and(|least| least > leaving.to);
        if is_needed {
            tracing::info!("fleet does not shrink: there is work");
            return self.work.hold(BTreeSet::new()).await;
        }
        if !self.work.is_free(&leaving.hosts).await {
            if now.duration_since(leaving.since) > FREE_MAX {
                tracing::warn!(hosts = ?leaving.hosts, "machines that are to go do not become free");
                self.changed = Some(now);
                return self.work.hold(BTreeSet::new()).await;
            }
            self.leaving = Some(leaving);
            return;
        }
        if self.order(now, leaving.to, &leaving.hosts).await {
            tracing::info!(to = leaving.to, hosts = ?leaving.hosts, "fleet shrinks");
            self.changed = Some(now);
            self.leaving = Some(Leaving { given_back: Some(now), ..leaving });
        } else {
            // Nobody knows when it will be answered: until then they work.
            self.work.hold(BTreeSet::new()).await;
        }
    }

    /// While nobody answers: machines that were not given back yet work again, and others are not held for ever.
    pub(super) async fn stay(&mut self, now: Instant) {
        let Some(leaving) = self.leaving.take() else { return };
        match leaving.given_back {
            Some(given_back) if now.duration_since(given_back) <= GONE_MAX => self.leaving = Some(leaving),
            _ => self.work.hold(BTreeSet::new()).await,
        }
    }

    /// Machines that were given back are held until they are seen no more.
    async fn await_gone(&mut self, now: Instant, leaving: Leaving, given_back: Instant) {
        let count = self.known();
        let have_gone = if count.can_choose {
            count.hosts.is_disjoint(&leaving.hosts)
        } else {
            count.hosts.len() <= usize::try_from(leaving.to).unwrap_or(usize::MAX)
        };
        let is_late = now.duration_since(given_back) > GONE_MAX;
        if !have_gone && !is_late {
            self.leaving = Some(leaving);
            return;
        }
        if is_late {
            tracing::warn!(hosts = ?leaving.hosts, "machines that were given back are still there");
        }
        self.work.hold(BTreeSet::new()).await;
    }
}
