//! Which of a lake's schedulers drives its runs: one leads, the others stand by.
//!
//! Data flow: [`Candidate::lead`] looks at the leader's heartbeat -> it has gone, or is silent -> the next term is created,
//! and its creator leads -> [`Candidate::depose`] ends when somebody else has created a later one.
//!
//! Invariant: nothing rests on it but who works. Two that take themselves for the leader for a while do work twice, and
//! every object is still created once.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lakewright_error::Result;
use lakewright_lake::{
    Prefix, layout,
    state::{Format, Leader, list_numbers, read_object},
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::run::{Heart, Observer, Race, chain, create, make_lake, read_heartbeats, retrying};

/// How often schedulers look at one another.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaderPace {
    /// Time between two beats.
    beat: Duration,
    /// Time without a beat after which a leader seems dead.
    silence_max: Duration,
    /// Pause between two looks at the leader.
    look: Duration,
    /// Pause between two looks of a leader whether it was deposed.
    depose: Duration,
    /// Time without a stored beat after which a leader gives up: longer than requests are tried again.
    cut_off: Duration,
}

impl Default for LeaderPace {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(5),
            silence_max: Duration::from_secs(20),
            look: Duration::from_secs(1),
            depose: Duration::from_secs(5),
            cut_off: Duration::from_secs(180),
        }
    }
}

/// Terms that are kept, for people.
const TERMS_KEPT: u64 = 20;

/// What is known of the leader, for whoever asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing(Arc<Mutex<Option<Leader>>>);

impl Standing {
    /// The leader, as last seen.
    pub(super) fn leader(&self) -> Option<Leader> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn saw(&self, leader: &Leader) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(leader.clone());
    }
}

/// A scheduler that leads, or would.
#[derive(Debug)]
pub(super) struct Candidate {
    lake: Prefix,
    heart: Heart,
    address: String,
    standing: Standing,
    pace: LeaderPace,
}

impl Candidate {
    /// A scheduler that clients reach at `address`.
    pub(super) fn new(lake: &Prefix, address: &str, standing: Standing, pace: LeaderPace) -> Self {
        let heart = Heart::new(lake, pace.beat);
        Self { lake: lake.clone(), heart, address: address.to_owned(), standing, pace }
    }

    /// Waits until nobody else leads, and leads from there on. Gives its term.
    ///
    /// # Errors
    /// What is wrong with the lake, if it is so from the beginning and trying again would not help.
    pub(super) async fn lead(&mut self) -> Result<u64> {
        let mut observer = Observer::new(self.pace.silence_max);
        let mut told = None;
        let mut beats = false;
        loop {
            match self.try_once(&mut observer, &mut beats).await {
                Ok(Turn::Leads(term)) => {
                    tracing::info!(term, "scheduler leads");
                    return Ok(term);
                }
                Ok(Turn::StandsBy(leader)) => {
                    if told != Some(leader.term) {
                        tracing::info!(term = leader.term, leader = leader.address, "scheduler stands by");
                        told = Some(leader.term);
                    }
                }
                Err(error) if !beats && !error.is_retryable() => return Err(error),
                Err(error) => tracing::warn!(error = chain(&error), "leader cannot be looked at"),
            }
            sleep(self.pace.look).await;
        }
    }

    async fn try_once(&mut self, observer: &mut Observer, beats: &mut bool) -> Result<Turn> {
        if !*beats {
            make_lake(&self.lake).await?;
            // Whoever sees the term must see that its creator lives.
            self.heart.beat_on().await;
            *beats = true;
        }
        let term = match newest(&self.lake).await? {
            Some(leader) => {
                self.standing.saw(&leader);
                let heartbeats = read_heartbeats(&self.lake).await?;
                let heartbeat = heartbeats.iter().find(|heartbeat| heartbeat.driver_id == leader.driver_id);
                if heartbeat.is_some_and(|beat| observer.seems_alive(&beat.driver_id, beat.beat, Instant::now())) {
                    return Ok(Turn::StandsBy(leader));
                }
                leader.term + 1
            }
            None => 1,
        };
        let (driver_id, host) = self.heart.identity().await;
        let nonce = Uuid::new_v4().to_string();
        let own = Leader { format: Format, term, nonce, driver_id, host, address: self.address.clone() };
        Ok(match create(&self.lake, &layout::leader(term), &own).await? {
            Race::Won => {
                self.standing.saw(&own);
                self.forget(term).await;
                Turn::Leads(term)
            }
            Race::Lost(other) => Turn::StandsBy(other),
        })
    }

    /// Deletes terms that nobody asks for any more.
    async fn forget(&self, term: u64) {
        let Some(last) = term.checked_sub(TERMS_KEPT).filter(|last| *last > 0) else { return };
        if let Err(error) = self.lake.delete(&layout::leader(last)).await {
            tracing::debug!(error = chain(&error), "old term left behind");
        }
    }

    /// Ends when somebody else leads, or must be thought to: executors stay with a leader that they can reach, and one
    /// that cannot reach the lake would keep them from the next one for ever. Gives who leads, if that is known.
    pub(super) async fn depose(&self, term: u64) -> Option<Leader> {
        loop {
            sleep(self.pace.depose).await;
            if self.heart.silent_for() > self.pace.cut_off {
                // One that was frozen has not had the time to beat again.
                sleep(self.pace.beat * 2).await;
                if self.heart.silent_for() > self.pace.cut_off {
                    return None;
                }
            }
            match newest(&self.lake).await {
                Ok(Some(leader)) if leader.term > term => {
                    self.standing.saw(&leader);
                    return Some(leader);
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(error = chain(&error), "leader cannot be looked at"),
            }
        }
    }

    /// Gives up: another one may lead at once.
    pub(super) async fn stop(self) {
        self.heart.stop().await;
    }
}

enum Turn {
    Leads(u64),
    StandsBy(Leader),
}

/// The leader of the newest term; `None` if there was never one.
///
/// # Errors
/// As reading state objects.
pub async fn newest(lake: &Prefix) -> Result<Option<Leader>> {
    let terms = retrying(|| list_numbers(lake, layout::LEADERS_DIR)).await?;
    let Some(term) = terms.last() else { return Ok(None) };
    let key = layout::leader(*term);
    retrying(|| read_object::<Leader>(lake, &key)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lake() -> Prefix {
        let store = Arc::new(object_store::memory::InMemory::new());
        Prefix::new(store, url::Url::parse("memory:///").unwrap(), "lake".into())
    }

    fn candidate(lake: &Prefix, address: &str, silence_max: Duration) -> Candidate {
        let moment = Duration::from_millis(5);
        let cut_off = Duration::from_secs(3600);
        let pace = LeaderPace { beat: moment, silence_max, look: moment, depose: moment, cut_off };
        Candidate::new(lake, address, Standing::default(), pace)
    }

    #[tokio::test]
    async fn one_of_two_leads_and_the_other_takes_over_when_it_stops() {
        let (lake, long) = (lake(), Duration::from_secs(3600));
        let (mut first, mut second) = (candidate(&lake, "first", long), candidate(&lake, "second", long));
        assert_eq!(first.lead().await.unwrap(), 1);
        let waited = tokio::time::timeout(Duration::from_millis(200), second.lead()).await;
        assert!(waited.is_err(), "two lead at once");
        assert_eq!(second.standing.leader().unwrap().address, "first");
        first.stop().await;
        assert_eq!(second.lead().await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_silent_leader_is_deposed_and_learns_of_it() {
        let (lake, silence) = (lake(), Duration::from_millis(50));
        let (mut first, mut second) = (candidate(&lake, "first", silence), candidate(&lake, "second", silence));
        let term = first.lead().await.unwrap();
        first.heart.hold_breath().await;
        assert_eq!(second.lead().await.unwrap(), 2);
        assert_eq!(first.depose(term).await.unwrap().address, "second");
    }

    #[tokio::test]
    async fn a_leader_whose_beats_are_not_stored_gives_up_though_nobody_else_leads() {
        let mut first = candidate(&lake(), "first", Duration::from_secs(3600));
        let term = first.lead().await.unwrap();
        let well = tokio::time::timeout(Duration::from_millis(100), first.depose(term)).await;
        assert!(well.is_err(), "it gives up though it is well");
        first.heart.hold_breath().await;
        first.pace.cut_off = Duration::from_millis(20);
        assert_eq!(first.depose(term).await, None);
    }
}
