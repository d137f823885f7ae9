//! A fleet of the mind is scaled, second by second.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use super::*;

const POLICY: ScalingPolicy = ScalingPolicy {
    machines_min: 1,
    machines_max: 4,
    after: Duration::from_secs(60),
    idle: Duration::from_secs(600),
    cooldown: Duration::from_secs(120),
};

/// A fleet with two slots elsewhere and two on each machine, and whoever has the machines.
#[derive(Debug, Default)]
struct World {
    state: Mutex<State>,
    /// Whether whoever has the machines refuses everything.
    is_out: AtomicBool,
    /// Whether no machines are to be had, though they can be counted.
    is_sold_out: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    slots_wanted: usize,
    /// Machines on which something runs, whatever the fleet is told.
    busy: BTreeSet<String>,
    held: BTreeSet<String>,
    machines: MachineCount,
    /// Everything that was asked for.
    orders: Vec<(u32, BTreeSet<String>)>,
    calls: u32,
    /// Orders that were refused.
    refusals: u32,
}

fn hosts(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    numbers.into_iter().map(|number| format!("10.0.0.{number}")).collect()
}

impl World {
    fn with(machines: u32) -> Self {
        let world = Self::default();
        world.change(|state| {
            state.machines = MachineCount { wanted: machines, hosts: hosts(1..=machines), can_choose: true };
        });
        world
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    fn orders(&self) -> Vec<(u32, BTreeSet<String>)> {
        self.change(|state| state.orders.clone())
    }
}

#[async_trait]
impl Work for World {
    async fn demand(&self) -> Demand {
        self.change(|state| Demand {
            slots_busy: 0,
            slots_waited_for: state.slots_wanted,
            executors: state
                .machines
                .hosts
                .difference(&state.held)
                .cloned()
                .chain(["10.0.0.99".to_owned()])
                .map(|host| (host, 2))
                .collect(),
        })
    }

    async fn hold(&self, hosts: BTreeSet<String>) {
        self.change(|state| state.held = hosts);
    }

    async fn is_free(&self, hosts: &BTreeSet<String>) -> bool {
        self.change(|state| state.busy.is_disjoint(hosts))
    }
}

#[async_trait]
impl Machines for World {
    async fn count(&self) -> Result<MachineCount> {
        self.change(|state| state.calls += 1);
        if self.is_out.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "out"));
        }
        Ok(self.change(|state| state.machines.clone()))
    }

    async fn resize(&self, wanted: u32, leave: &BTreeSet<String>) -> Result<()> {
        if self.is_out.load(Ordering::Relaxed) || self.is_sold_out.load(Ordering::Relaxed) {
            self.change(|state| state.refusals += 1);
            return Err(Error::new(ErrorKind::Unavailable, "out"));
        }
        self.change(|state| {
            assert!(state.busy.is_disjoint(leave), "a machine that works is given back");
            assert!(leave.is_subset(&state.held), "a machine that may be given work is given back");
            state.orders.push((wanted, leave.clone()));
            state.machines.hosts = state.machines.hosts.difference(leave).cloned().collect();
            for host in hosts(1..=9) {
                if state.machines.hosts.len() < wanted as usize {
                    state.machines.hosts.insert(host);
                }
            }
            state.machines.wanted = wanted;
        });
        Ok(())
    }
}

/// A world and whoever scales it, at a moment.
struct Scaled<'a> {
    world: &'a World,
    scaler: Scaler<'a>,
    now: Instant,
}

impl<'a> Scaled<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, scaler: Scaler::new(world, world, POLICY), now: Instant::now() }
    }

    /// Lets so many seconds go by.
    async fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.scaler.look(self.now).await;
            self.now += look_interval(&POLICY);
        }
    }

    fn held(&self) -> BTreeSet<String> {
        self.world.change(|state| state.held.clone())
    }
}

#[tokio::test]
async fn a_queue_grows_it_up_to_the_limit_and_idleness_shrinks_it_to_the_least() {
    let world = World::with(1);
    let mut scaled = Scaled::new(&world);
    world.change(|state| state.slots_wanted = 100);
    scaled.pass(300).await;
    assert_eq!(world.orders(), [(4, BTreeSet::new())]);
    world.change(|state| state.slots_wanted = 0);
    scaled.pass(550).await;
    assert_eq!(world.orders().len(), 1, "not before it was idle for long");
    scaled.pass(450).await;
    assert_eq!(world.orders()[1..], [(1, hosts([1, 2, 3]))]);
    assert_eq!(scaled.held(), hosts([]), "whoever stays works on");
}

#[tokio::test]
async fn machines_that_have_something_to_do_are_awaited_and_others_go_first() {
    let world = World::with(3);
    world.change(|state| state.busy = hosts([1, 2]));
    let mut scaled = Scaled::new(&world);
    scaled.pass(700).await;
    assert!(world.orders().is_empty(), "two of the three are to go, and one of them works");
    assert_eq!(scaled.held(), hosts([1, 3]), "they get no more work");
    world.change(|state| state.busy = hosts([2]));
    scaled.pass(100).await;
    assert_eq!(world.orders(), [(1, hosts([1, 3]))]);
}

#[tokio::test]
async fn machines_that_are_needed_after_all_work_again() {
    let world = World::with(3);
    world.change(|state| state.busy = hosts([1, 2, 3]));
    let mut scaled = Scaled::new(&world);
    scaled.pass(700).await;
    assert_eq!(scaled.held().len(), 2);
    world.change(|state| state.slots_wanted = 8);
    scaled.pass(90).await;
    assert_eq!((scaled.held(), world.orders()), (hosts([]), Vec::new()));
}

#[tokio::test]
async fn machines_that_never_become_free_work_again() {
    let world = World::with(3);
    world.change(|state| state.busy = hosts([1, 2, 3]));
    let mut scaled = Scaled::new(&world);
    scaled.pass(700).await;
    assert_eq!(scaled.held().len(), 2);
    let mut looks = 0;
    while !scaled.held().is_empty() && looks < 1000 {
        scaled.pass(10).await;
        looks += 1;
    }
    assert!(looks < 190, "half an hour is long enough");
}

#[tokio::test]
async fn a_failure_holds_nobody_and_is_tried_again_more_and_more_seldom() {
    let world = World::with(3);
    world.change(|state| state.busy = hosts([1, 2, 3]));
    let mut scaled = Scaled::new(&world);
    scaled.pass(700).await;
    assert_eq!(scaled.held().len(), 2);
    world.is_out.store(true, Ordering::Relaxed);
    let before = world.change(|state| state.calls);
    scaled.pass(1000).await;
    assert_eq!(scaled.held(), hosts([]), "nobody knows when it will be answered");
    let calls = world.change(|state| state.calls) - before;
    assert!((3..12).contains(&calls), "{calls} calls");
    world.is_out.store(false, Ordering::Relaxed);
    world.change(|state| state.busy.clear());
    scaled.pass(700).await;
    assert_eq!(world.orders(), [(1, hosts([1, 2]))]);
}

#[tokio::test]
async fn machines_that_came_while_nobody_answered_are_not_taken_for_others() {
    let world = World::with(1);
    world.change(|state| state.slots_wanted = 100);
    let mut scaled = Scaled::new(&world);
    while world.orders().is_empty() {
        scaled.pass(10).await;
    }
    world.is_out.store(true, Ordering::Relaxed);
    world.change(|state| state.slots_wanted = 10);
    scaled.pass(700).await;
    world.is_out.store(false, Ordering::Relaxed);
    scaled.pass(1000).await;
    assert_eq!((scaled.held(), world.orders().len()), (hosts([]), 1), "all four are needed");
}

#[tokio::test]
async fn orders_that_are_refused_are_repeated_more_and_more_seldom_though_counting_works() {
    let world = World::with(1);
    world.change(|state| state.slots_wanted = 100);
    world.is_sold_out.store(true, Ordering::Relaxed);
    let mut scaled = Scaled::new(&world);
    scaled.pass(1000).await;
    let refusals = world.change(|state| state.refusals);
    assert!((3..12).contains(&refusals), "{refusals} orders");
    world.is_sold_out.store(false, Ordering::Relaxed);
    scaled.pass(400).await;
    assert_eq!(world.orders(), [(4, BTreeSet::new())]);
}

#[tokio::test]
async fn machines_that_cannot_be_chosen_all_wait_until_enough_have_gone() {
    let world = World::with(3);
    world.change(|state| {
        state.machines.can_choose = false;
        state.busy = hosts([3]);
    });
    let mut scaled = Scaled::new(&world);
    scaled.pass(700).await;
    assert!(world.orders().is_empty(), "any of them may be taken");
    world.change(|state| state.busy.clear());
    scaled.pass(200).await;
    assert_eq!(world.orders(), [(1, hosts([1, 2, 3]))]);
    assert_eq!(scaled.held(), hosts([]));
}
