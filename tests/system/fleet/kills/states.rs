//! Processes of a fleet die in every state that they can be in; the run ends with the rows of an undisturbed one, and no
//! step that was written is run again.
//!
//! Each process reaches the store through a proxy of its own. A state is reached by holding the one request that begins or
//! ends it: the process is in that state for as long as it takes to kill it.

use std::collections::BTreeSet;

use super::rounds;
use crate::{
    fleet::process::Fleet,
    project::MUSIC_TABLES,
    s3::{
        Bucketed, local_contents,
        proxy::{Held, Proxy},
    },
    service::process::await_some,
};

/// Where the lake is, in the path of a request.
const LAKE: &str = " /music/lake/";

/// The table that a request writes a data file of.
fn written_table(line: &str) -> Option<String> {
    let (method, path) = line.split_once(LAKE)?;
    let path = path.split('?').next()?;
    let mut parts = path.split('/');
    let (zone, table) = (parts.next()?, parts.next()?);
    let is_data = matches!(method, "PUT" | "POST") && path.ends_with(".parquet") && !zone.starts_with('_');
    is_data.then(|| format!("{zone}.{table}"))
}

/// The table whose step a request says to be written.
fn recorded_table(line: &str) -> Option<&str> {
    let path = line.strip_prefix("PUT")?.strip_prefix(LAKE)?.strip_suffix("/written.json")?;
    path.rsplit('/').next()
}

/// A fleet over S3 with a proxy before each of its processes.
struct Stage<'a> {
    bucketed: &'a Bucketed,
    fleet: Fleet<'a>,
    /// Those before the executors, in the fleet's order.
    members: Vec<Proxy>,
    /// Those before all processes that there were: of the scheduler, then in the order in which executors were started.
    proxies: Vec<Proxy>,
    /// At each kill: the tables that were written, and how many requests each proxy had seen.
    kills: Vec<(BTreeSet<String>, Vec<usize>)>,
}

impl<'a> Stage<'a> {
    fn set(bucketed: &'a Bucketed) -> Self {
        let fleet = Fleet::start(&bucketed.project, 0);
        let proxies = vec![bucketed.proxy.clone()];
        let mut stage = Self { bucketed, fleet, members: Vec::new(), proxies, kills: Vec::new() };
        stage.add_executor();
        stage.add_executor();
        stage.fleet.await_executors(2);
        stage
    }

    fn add_executor(&mut self) {
        let proxy = Proxy::before(self.bucketed.server.endpoint());
        self.fleet.add_executor_with(&[("LAKEWRIGHT_S3_ENDPOINT", proxy.endpoint())]);
        self.proxies.push(proxy.clone());
        self.members.push(proxy);
    }

    fn submit(&self) -> String {
        let answer = self.fleet.lakewright(&["submit", "--detach"]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        answer.stdout.trim().to_owned()
    }

    /// Waits until a request of the scheduler is held.
    fn await_scheduler_held(&self) {
        await_some("the scheduler is in the state", || (!self.bucketed.proxy.held().is_empty()).then_some(()));
    }

    /// Waits until an executor makes such a request, kills it, and starts another one.
    fn kill_who(&mut self, held: Held, matches: impl Fn(&str) -> bool + Clone + Send + Sync + 'static) {
        for proxy in &self.members {
            proxy.hold(held, matches.clone());
        }
        let victim = await_some("an executor is in the state", || {
            self.members.iter().position(|proxy| !proxy.held().is_empty())
        });
        self.kill_executor(victim);
        self.add_executor();
    }

    /// Takes note of what must not be done again from now on.
    fn mark(&mut self) {
        let done = self.bucketed.proxy.done();
        let written = done.iter().filter_map(|line| recorded_table(line)).map(str::to_owned).collect();
        let seen = self.proxies.iter().map(|proxy| proxy.requests().len()).collect();
        self.kills.push((written, seen));
    }

    /// Kills an executor at once; all others go on.
    fn kill_executor(&mut self, place: usize) {
        self.mark();
        let proxy = self.members.remove(place);
        self.fleet.kill_executor(place);
        proxy.cut();
        self.members.iter().for_each(Proxy::let_go);
    }

    /// Waits for the end of the run, which must be good, and for nothing to have been written twice.
    fn finish(&self, run_id: &str, told: &str) {
        await_some(&format!("{told}: the run ends"), || {
            let done = self.bucketed.proxy.done();
            done.iter().any(|line| line.starts_with("PUT") && line.ends_with("/done.json")).then_some(())
        });
        let shown = self.bucketed.project.json(&["show", run_id]);
        assert_eq!(shown["state"], "succeeded", "{told}: {shown}");
        for (kill, (written, seen)) in self.kills.iter().enumerate() {
            let later = self
                .proxies
                .iter()
                .enumerate()
                .flat_map(|(place, proxy)| proxy.requests().split_off(seen.get(place).copied().unwrap_or(0)));
            let again: Vec<String> = later.filter_map(|line| written_table(&line)).collect();
            let again: Vec<&String> = again.iter().filter(|table| written.contains(*table)).collect();
            assert!(again.is_empty(), "{told}: {again:?} were written again after kill {kill}");
        }
    }
}

/// A state of a run, the request that ends it or begins the next, and what `show` calls it before and after.
type RunState = (&'static str, fn(&str) -> bool, [&'static str; 2]);

/// The states of a run that publishes, in order.
const RUN_STATES: [RunState; 9] = [
    ("inputs are frozen", |line| creates(line, "/frozen.json"), ["accepted", "running"]),
    (
        "a first step runs",
        |line| recorded_table(line).is_some_and(|table| table.starts_with("staging.")),
        ["running"; 2],
    ),
    (
        "a later step runs",
        |line| recorded_table(line).is_some_and(|table| table.starts_with("curated.")),
        ["running"; 2],
    ),
    ("tables are checked", |line| line.starts_with("PUT") && line.contains("/_lakewright/ledger/"), ["running"; 2]),
    ("it is decided", |line| creates(line, "/outcome.json"), ["running", "publishing"]),
    ("a table is committed", |line| line.starts_with("PUT") && line.contains("/_delta_log/"), ["publishing"; 2]),
    ("it is released", |line| line.starts_with("PUT") && line.contains("/_lakewright/releases/"), ["publishing"; 2]),
    ("it ends", |line| creates(line, "/done.json"), ["publishing", "succeeded"]),
    ("its marker goes", deletes_marker, ["succeeded"; 2]),
];

/// Schedulers delete other things too: what a dead one has left, before they lead.
fn deletes_marker(line: &str) -> bool {
    line.starts_with("POST /music?delete") && line.contains("/_lakewright/active/")
}

fn creates(line: &str, object: &str) -> bool {
    line.starts_with("PUT") && line.ends_with(object)
}

#[test]
fn a_run_survives_the_death_of_its_scheduler_in_each_of_its_states() {
    let expected = local_contents(200, 20, 2);
    for seed in rounds() {
        let Some(bucketed) = Bucketed::music("a scheduler that dies in each state", 200, 20, 2) else { return };
        let mut stage = Stage::set(&bucketed);
        // Every state with the request undone in one round, and done and unanswered in the next.
        let held_in =
            |state: usize| if (seed + state as u64).is_multiple_of(2) { Held::Unsent } else { Held::Unanswered };
        bucketed.proxy.hold(held_in(0), RUN_STATES[0].1);
        let run_id = stage.submit();
        for (number, (name, _, called)) in RUN_STATES.iter().enumerate() {
            let told = format!("seed {seed}, {name}, {:?}", held_in(number));
            stage.await_scheduler_held();
            let shown = bucketed.project.json(&["show", &run_id]);
            assert_eq!(shown["state"], called[usize::from(held_in(number) == Held::Unanswered)], "{told}");
            stage.mark();
            stage.fleet.kill_scheduler();
            bucketed.proxy.cut();
            if let Some((_, matches, _)) = RUN_STATES.get(number + 1) {
                bucketed.proxy.hold(held_in(number + 1), *matches);
            }
            stage.fleet.start_scheduler();
        }
        stage.finish(&run_id, &format!("seed {seed}"));
        await_some(&format!("seed {seed}: the last scheduler clears up"), || {
            bucketed.proxy.done().iter().any(|line| deletes_marker(line)).then_some(())
        });
        assert_eq!(bucketed.project.contents(&MUSIC_TABLES), expected, "seed {seed}");
        let written: BTreeSet<&String> = stage.kills.iter().flat_map(|(written, _)| written).collect();
        assert_eq!(written.len(), MUSIC_TABLES.len(), "all steps were written before a kill");
    }
}

#[test]
fn a_run_survives_executors_that_die_while_they_read_while_they_write_and_when_they_have_written() {
    // Enough for two tasks of each step that reads raw objects.
    let expected = local_contents(6_000, 140, 2);
    for seed in rounds() {
        let test = "executors that die in each state";
        let Some(mut bucketed) = Bucketed::music(test, 6_000, 140, 2) else { return };
        // One step after the other, so that each kill is in another one.
        bucketed.project.set_variables(vec![("LAKEWRIGHT_STEPS_AT_ONCE", "1".to_owned())]);
        let mut stage = Stage::set(&bucketed);

        // It has written its file, and another task of the step goes on.
        let (victim, other) = if seed.is_multiple_of(2) { (0, 1) } else { (1, 0) };
        stage.members[other].hold(Held::Unsent, |line| written_table(line).is_some());
        let run_id = stage.submit();
        let first = await_some("one has written and another writes", || {
            let has_written = stage.members[victim].done().iter().any(|line| written_table(line).is_some());
            let held = stage.members[other].held();
            held.first().and_then(|line| written_table(line)).filter(|_| has_written)
        });
        stage.kill_executor(victim);
        stage.add_executor();

        // It reads raw objects, in the next step.
        let next = if first == "staging.songs" { "GET /music/raw/log_data/" } else { "GET /music/raw/song_data/" };
        stage.kill_who(Held::Unsent, move |line| line.starts_with(next));
        // It reads files of a table, in the third step.
        stage.kill_who(Held::Unsent, |line| line.starts_with("GET /music/lake/staging/"));
        // It writes, in a later one: its file is there or not, and it does not know.
        let held = if seed.is_multiple_of(2) { Held::Unsent } else { Held::Unanswered };
        let scheduler = bucketed.proxy.clone();
        stage.kill_who(held, move |line| {
            let is_curated = |table: &str| table.starts_with("curated.");
            let third = scheduler
                .done()
                .iter()
                .find_map(|line| recorded_table(line).filter(|table| is_curated(table)).map(str::to_owned));
            written_table(line).is_some_and(|table| is_curated(&table) && third.is_some_and(|third| third != table))
        });

        stage.finish(&run_id, &format!("seed {seed}"));
        assert_eq!(bucketed.project.contents(&MUSIC_TABLES), expected, "seed {seed}");
        let (written, _) = &stage.kills[3];
        assert!(written.len() >= 3, "{written:?} were written before the last kill");
    }
}
