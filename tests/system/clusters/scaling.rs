//! A scheduler scales the task nodes of a cluster: a queue brings them, idleness takes them away, and whatever EMR
//! answers, runs go on.
//!
//! Task nodes are executors of this machine: whoever plays EC2 here starts one for each address that EMR's group has, and
//! kills it, without a word, as soon as EMR has taken the node away.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Child, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use super::cloud::{Cloud, Fault, artifacts, block_on};
use crate::{
    fleet::{
        elastic::{busy_contents, busy_project, executions},
        process::executor_at,
    },
    project::{Answer, Project},
    service::process::await_some,
};

/// Task nodes at most.
const NODES_MAX: u64 = 2;

/// Rows of the job: some seconds of work for one slot.
const ROWS: u64 = 1_500;

/// Time between two looks of whoever plays EC2.
const LOOK: Duration = Duration::from_millis(100);

/// Whoever plays EC2: processes by address.
#[derive(Default)]
struct Nodes {
    living: Mutex<BTreeMap<String, Child>>,
    is_over: AtomicBool,
}

impl Nodes {
    /// Starts and kills processes as EMR's task group says, until it is over.
    fn play(&self, project: &Project, cloud: &Cloud) {
        while !self.is_over.load(Ordering::Relaxed) {
            // The cloud may be away.
            if let Some(told) = cloud.task_nodes() {
                let wanted = told["wanted"].as_u64().expect("a number");
                assert!(wanted <= NODES_MAX, "more nodes than the limit: {told}");
                let addresses = texts(&told["addresses"]);
                let mut living = self.living.lock().expect("nobody panics with it");
                for address in &addresses {
                    living
                        .entry(address.clone())
                        .or_insert_with(|| executor_at(project, address, &format!(".lakewright/{address}")));
                }
                living.retain(|address, child| {
                    let stays = addresses.contains(address);
                    if !stays {
                        kill(child);
                    }
                    stays
                });
            }
            std::thread::park_timeout(LOOK);
        }
        self.living.lock().expect("nobody panics with it").values_mut().for_each(kill);
    }
}

fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// A scheduler with an executor that stays, whose task nodes are those of a cluster.
struct Scaled<'a> {
    project: &'a Project,
    url: String,
    processes: Vec<Child>,
}

impl<'a> Scaled<'a> {
    fn start(project: &'a Project) -> Self {
        let log = fs::File::create(project.path("scheduler.log")).expect("the log can be made");
        let arguments = [
            "scheduler",
            "--listen",
            "127.0.0.1:0",
            "--address-file",
            "address.txt",
            "--insecure",
            "--log",
            "info",
            "--fleet",
            "127.0.0.1:0",
            "--scale",
            "0..2",
        ];
        let mut command = project.command(&arguments);
        let scheduler = command.stdout(Stdio::null()).stderr(log).spawn().expect("the scheduler starts");
        let mut scaled = Self { project, url: String::new(), processes: vec![scheduler] };
        scaled.url = await_some("the scheduler listens", || {
            let ended = scaled.processes[0].try_wait().expect("the scheduler can be asked");
            assert!(ended.is_none(), "the scheduler ended: {ended:?}: {}", scaled.log());
            fs::read_to_string(project.path("address.txt")).ok()
        });
        scaled.processes.push(executor_at(project, "127.0.0.1", ".lakewright/core"));
        scaled
    }

    fn log(&self) -> String {
        fs::read_to_string(self.project.path("scheduler.log")).unwrap_or_default()
    }

    fn lakewright(&self, arguments: &[&str]) -> Answer {
        self.project.lakewright(&[arguments, &["--scheduler", &self.url]].concat())
    }

    /// Submits a run that computes everything, and gives its id.
    fn submit(&self) -> String {
        let answer = self.lakewright(&["submit", "--detach", "--full-refresh"]);
        assert_eq!(answer.code, Some(0), "{answer:?}: {}", self.log());
        answer.stdout.trim().to_owned()
    }

    /// Submits one run after another until something has happened, so that tasks wait for as long as it takes.
    fn submit_until(&self, what: &str, has_happened: impl Fn() -> bool) -> Vec<String> {
        let mut runs = vec![self.submit()];
        await_some(what, || {
            let newest = runs.last().expect("one was submitted");
            let outcome = self.project.lake().join("_lakewright/runs").join(newest).join("outcome.json");
            let has_happened = has_happened();
            if !has_happened && outcome.exists() {
                runs.push(self.submit());
            }
            has_happened.then_some(())
        });
        runs
    }

    /// Waits for the end of a run, which must be good, with every step executed once.
    fn await_success(&self, run_id: &str) {
        let answer = self.lakewright(&["watch", run_id]);
        assert_eq!(answer.code, Some(0), "{answer:?}: {}", self.log());
        let executions = executions(&self.project.lake(), run_id);
        assert!(executions.iter().all(|times| *times == 1), "a node was taken that was needed: {executions:?}");
    }

    fn executors(&self) -> usize {
        let answer = self.lakewright(&["executors", "--json"]);
        let listed: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
        listed["executors"].as_array().map_or(0, Vec::len)
    }
}

impl Drop for Scaled<'_> {
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(kill);
    }
}

/// A cluster with a task group that is scaled and begins with one node, and a project whose scheduler scales it.
fn prepared(cloud: &Cloud, times: [&'static str; 3]) -> Project {
    let subnet = cloud.fresh();
    cloud.loopback();
    let scaled = |text: String| text.replace("count = 1", "count = 0\ncount_max = 2");
    let id = block_on(async {
        let cluster = cloud.cluster(&subnet, scaled).await;
        cluster.create(&artifacts(&cluster), true, &|_| {}).await.expect("it is made").id
    });
    let mut project = busy_project(ROWS);
    let [after, idle, cooldown] = times.map(str::to_owned);
    project.set_variables(vec![
        ("AWS_ENDPOINT_URL_EMR", cloud.endpoint()),
        ("AWS_ACCESS_KEY_ID", "AKIA".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("LAKEWRIGHT_SCALE_CLUSTER", id),
        ("LAKEWRIGHT_SCALE_AFTER", after),
        ("LAKEWRIGHT_SCALE_IDLE", idle),
        ("LAKEWRIGHT_SCALE_COOLDOWN", cooldown),
    ]);
    project
}

/// Task nodes that EMR was asked for.
fn wanted(cloud: &Cloud) -> u64 {
    let told = cloud.task_nodes().expect("the cloud answers");
    told["wanted"].as_u64().expect("a number")
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().expect("a list").iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn resizes(cloud: &Cloud) -> Vec<Value> {
    let told = cloud.task_nodes().expect("the cloud answers");
    told["resizes"].as_array().cloned().expect("a list")
}

/// Runs `test` while somebody plays EC2.
fn with_nodes(project: &Project, cloud: &Cloud, test: impl FnOnce()) {
    let nodes = Nodes::default();
    std::thread::scope(|scope| {
        let playing = scope.spawn(|| nodes.play(project, cloud));
        // Whatever comes of the test, whoever plays must end, or nobody learns of it.
        let tested = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        nodes.is_over.store(true, Ordering::Relaxed);
        let played = playing.join();
        if let Err(panic) = tested.and(played) {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Holds that whoever shrinks the group says which nodes go, each once, and that no others ever do.
fn assert_nodes_were_chosen(resizes: &[Value], mut there: u64) {
    let mut gone = BTreeSet::new();
    for resize in resizes {
        let (wanted, leave) = (resize["wanted"].as_u64().expect("a number"), texts(&resize["leave"]));
        assert_eq!(leave.len() as u64, there.saturating_sub(wanted), "{resizes:?}");
        for address in leave {
            assert!(gone.insert(address), "{resizes:?}");
        }
        there = wanted;
    }
}

#[test]
fn a_queue_brings_task_nodes_up_to_the_limit_and_idleness_takes_all_of_them_away() {
    let Some(cloud) = Cloud::start("a fleet that is scaled") else { return };
    let embedded = busy_project(ROWS);
    embedded.succeed(&["run"]);
    let project = prepared(&cloud, ["1s", "3s", "1s"]);
    with_nodes(&project, &cloud, || {
        let scaled = Scaled::start(&project);
        await_some("the fleet has shrunk to the executor that stays", || {
            (wanted(&cloud) == 0 && scaled.executors() == 1).then_some(())
        });
        assert_eq!(resizes(&cloud), [json!({ "wanted": 0, "leave": ["127.0.1.1"] })]);
        let runs = scaled.submit_until("the queue has brought nodes", || wanted(&cloud) == NODES_MAX);
        runs.iter().for_each(|run_id| scaled.await_success(run_id));
        assert_eq!(busy_contents(&project), busy_contents(&embedded));
        await_some("they have gone", || (wanted(&cloud) == 0).then_some(()));
        assert_nodes_were_chosen(&resizes(&cloud), 1);
        scaled.await_success(&scaled.submit());
        assert_eq!(busy_contents(&project), busy_contents(&embedded), "after the nodes were killed");
    });
}

#[test]
fn whatever_emr_answers_runs_go_on_and_it_is_asked_again() {
    let Some(cloud) = Cloud::start("failures of scaling") else { return };
    let project = prepared(&cloud, ["1s", "1h", "1s"]);
    with_nodes(&project, &cloud, || {
        let scaled = Scaled::start(&project);
        cloud.fault(Fault::Refuse, 1);
        let runs = scaled.submit_until("it is asked again", || wanted(&cloud) == NODES_MAX);
        let log = scaled.log();
        assert!(log.contains("fleet cannot be resized") && log.contains("refused by the test"), "{log}");
        runs.iter().for_each(|run_id| scaled.await_success(run_id));

        cloud.kill();
        await_some("silence is logged", || {
            scaled.log().contains("machines of the fleet cannot be counted").then_some(())
        });
        scaled.await_success(&scaled.submit());
    });
}

#[test]
fn a_scheduler_that_cannot_scale_says_so_before_it_listens() {
    let project = Project::empty();
    let scheduler = ["scheduler", "--insecure", "--listen", "127.0.0.1:0", "--lake", "lake", "--scale", "0..2"];
    project.lakewright(&scheduler).assert_refused(2, &["no fleet to scale", "--fleet"]);
    let with_fleet = [&scheduler[..], &["--fleet", "127.0.0.1:0"]].concat();
    project.lakewright(&with_fleet).assert_refused(2, &["which cluster", "scale_cluster"]);
    let mut project = Project::empty();
    project.set_variables(vec![("LAKEWRIGHT_SCALE_CLUSTER", "j-1".to_owned())]);
    project.lakewright(&with_fleet).assert_refused(2, &["region", "AWS_REGION"]);
    project.lakewright(&["scheduler", "--insecure", "--scale", "5..2"]).assert_refused(2, &["no range of machines"]);
}
