//! Clusters from nothing to nothing, whatever fails in between.

use std::{fs, process::Command};

use lakewright_cluster::{Action, Presence};
use lakewright_error::ErrorKind;
use serde_json::{Value, json};

use super::cloud::{Cloud, Fault, artifacts, block_on, file, program};
use crate::{
    project::{Answer, Project},
    requirement,
};

fn quiet(_: &str) {}

/// What a listing must be when one cluster is there, and nothing else.
fn assert_whole(listing: &Value) {
    assert_eq!(listing["clusters"], json!(["lakewright-music"]), "{listing}");
    assert_eq!(listing["roles"], json!(["lakewright-music-node", "lakewright-music-service"]), "{listing}");
    assert_eq!(listing["profiles"], json!(["lakewright-music-node"]), "{listing}");
    assert_eq!(listing["security_groups"], json!(["lakewright-music-clients", "lakewright-music-fleet"]), "{listing}");
    assert_eq!(listing["security_configurations"], json!(["lakewright-music"]), "{listing}");
    let rules: Vec<&str> = listing["rules"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let (clients, fleet): (Vec<&str>, Vec<&str>) = rules.iter().partition(|rule| rule.contains("-clients:"));
    assert!(!clients.is_empty() && clients.iter().all(|rule| rule.ends_with(":50040-50040")), "{listing}");
    assert_eq!(fleet, ["lakewright-music-fleet:50050-50053"], "{listing}");
}

fn assert_nothing(listing: &Value) {
    let left: Vec<&str> = listing
        .as_object()
        .expect("an object")
        .iter()
        .filter(|(_, names)| **names != json!([]))
        .map(|(kind, _)| kind.as_str())
        .collect();
    assert!(left.is_empty(), "left behind: {left:?} in {listing}");
}

#[test]
fn a_cluster_is_planned_made_resized_and_taken_down_and_nothing_is_left() {
    let Some(cloud) = Cloud::start("a cluster's life") else { return };
    let subnet = cloud.fresh();
    block_on(async {
        let cluster = cloud.cluster(&subnet, |text| text).await;
        let artifacts = artifacts(&cluster);
        let plan = cluster.plan(Some(&artifacts)).await.expect("it is planned");
        assert!(plan.items.iter().all(|item| item.action == Action::Make), "{plan:?}");
        assert!(plan.obstacles.is_empty() && plan.cost.dollars_per_hour > 0.5, "{plan:?}");
        assert_nothing(&cloud.listing());

        let created = cluster.create(&artifacts, true, &quiet).await.expect("it is made");
        assert!(!created.was_there);
        assert_whole(&cloud.listing());
        let again = cluster.create(&artifacts, true, &quiet).await.expect("it is there");
        assert_eq!((again.id.as_str(), again.was_there), (created.id.as_str(), true));
        assert_whole(&cloud.listing());
        let plan = cluster.plan(Some(&artifacts)).await.expect("it is planned");
        assert!(plan.items.iter().all(|item| item.action == Action::Keep), "{plan:?}");

        let status = cluster.status().await.expect("it has a state");
        let sizes: Vec<(&str, u64)> = status.groups.iter().map(|group| (group.role.as_str(), group.running)).collect();
        assert!([("primary", 1), ("core", 2), ("task", 1)].iter().all(|size| sizes.contains(size)), "{status:?}");
        assert!(status.scheduler.as_ref().is_some_and(|url| url.ends_with(":50040")), "{status:?}");
        cluster.resize(Some(4), Some(0), &quiet).await.expect("it is resized");
        let status = cluster.status().await.expect("it has a state");
        let wanted = |role: &str| status.groups.iter().find(|group| group.role == role).map(|group| group.requested);
        assert_eq!((wanted("core"), wanted("task")), (Some(4), Some(0)), "{status:?}");

        let deleted = cluster.delete(false, &quiet).await.expect("it is deleted");
        assert!(deleted.deleted.len() >= 7, "{deleted:?}");
        assert_nothing(&cloud.listing());
        let twice = cluster.delete(false, &quiet).await.expect("there is nothing to delete");
        assert!(twice.deleted.is_empty(), "{twice:?}");
        assert_eq!(cluster.status().await.expect("it has a state").state, "ABSENT");
    });
}

/// The changes at which a command is to fail: of a run of equal ones, such as uploads, the first and the last; with
/// `LAKEWRIGHT_EVERY_FAILURE` each.
fn points(changes: &[String]) -> Vec<usize> {
    let is_inside =
        |at: usize| at > 0 && changes.get(at - 1) == changes.get(at) && changes.get(at + 1) == changes.get(at);
    (0..changes.len()).filter(|at| is_thorough() || !is_inside(*at)).map(|at| at + 1).collect()
}

fn is_thorough() -> bool {
    requirement::number("LAKEWRIGHT_EVERY_FAILURE").is_some()
}

/// At each point one kind of failure, in turn; with `LAKEWRIGHT_EVERY_FAILURE` both.
fn faults(points: Vec<usize>) -> Vec<(Fault, usize)> {
    let both = [Fault::Refuse, Fault::Lose];
    let at_point = |(index, at): (usize, usize)| {
        let faults = if is_thorough() { &both[..] } else { &both[index % 2..=index % 2] };
        faults.iter().map(|fault| (*fault, at)).collect::<Vec<_>>()
    };
    points.into_iter().enumerate().flat_map(at_point).collect()
}

#[test]
fn create_goes_on_after_a_failure_at_any_point() {
    let Some(cloud) = Cloud::start("failures of create") else { return };
    let subnet = cloud.fresh();
    let cluster = block_on(cloud.cluster(&subnet, |text| text));
    let artifacts = artifacts(&cluster);
    block_on(cluster.create(&artifacts, true, &quiet)).expect("it is made");
    let points = points(&cloud.fault(Fault::Refuse, 0));
    // Two roles, three policies, a profile, two groups, their rules, a configuration, the files, the cluster.
    assert!(points.len() >= 15, "{points:?}");
    for (fault, at) in faults(points) {
        let subnet = cloud.fresh();
        block_on(async {
            let cluster = cloud.cluster(&subnet, |text| text).await;
            cloud.fault(fault, at);
            let first = cluster.create(&artifacts, true, &quiet).await;
            cloud.fault(fault, 0);
            if fault == Fault::Refuse {
                let error = first.expect_err("a refused call is no success");
                assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
            }
            cluster.create(&artifacts, true, &quiet).await.unwrap_or_else(|error| panic!("after {at}: {error:?}"));
            assert_whole(&cloud.listing());
            cluster.delete(false, &quiet).await.unwrap_or_else(|error| panic!("after {at}: {error:?}"));
            assert_nothing(&cloud.listing());
        });
    }
}

#[test]
fn delete_goes_on_after_a_failure_at_any_point() {
    let Some(cloud) = Cloud::start("failures of delete") else { return };
    let life = |at: usize| {
        let subnet = cloud.fresh();
        block_on(async {
            let cluster = cloud.cluster(&subnet, |text| text).await;
            cluster.create(&artifacts(&cluster), true, &quiet).await.expect("it is made");
            cloud.fault(Fault::Refuse, at);
            let first = cluster.delete(false, &quiet).await;
            let changes = cloud.fault(Fault::Refuse, 0);
            assert_eq!(first.is_err(), at > 0, "{first:?}");
            cluster.delete(false, &quiet).await.unwrap_or_else(|error| panic!("after {at}: {error:?}"));
            assert_nothing(&cloud.listing());
            changes
        })
    };
    let points = points(&life(0));
    assert!(points.len() >= 10, "{points:?}");
    for at in points {
        life(at);
    }
}

#[test]
fn several_types_make_fleets_that_are_shown_and_resized() {
    let Some(cloud) = Cloud::start("a cluster of fleets") else { return };
    let subnet = cloud.fresh();
    block_on(async {
        let several = |text: String| text.replacen("[\"r6id.xlarge\"]", "[\"r6id.xlarge\", \"r5d.xlarge\"]", 1);
        let cluster = cloud.cluster(&subnet, |text| several(text).replace("count = 1", "count = 0")).await;
        cluster.create(&artifacts(&cluster), true, &quiet).await.expect("it is made");
        let status = cluster.status().await.expect("it has a state");
        assert_eq!(status.groups.len(), 2, "no fleet for nobody: {status:?}");
        assert!(status.scheduler.is_some(), "{status:?}");
        cluster.resize(Some(3), Some(5), &quiet).await.expect("it is resized");
        let status = cluster.status().await.expect("it has a state");
        let wanted = |role: &str| status.groups.iter().find(|group| group.role == role).map(|group| group.requested);
        assert_eq!((wanted("core"), wanted("task")), (Some(3), Some(5)), "{status:?}");
        cluster.delete(false, &quiet).await.expect("it is deleted");
        assert_nothing(&cloud.listing());
    });
}

#[test]
fn networks_that_are_no_longer_allowed_lose_their_rule() {
    let Some(cloud) = Cloud::start("rules of networks") else { return };
    let subnet = cloud.fresh();
    block_on(async {
        let open = cloud.cluster(&subnet, |text| text).await;
        open.create(&artifacts(&open), true, &quiet).await.expect("it is made");
        let closed = cloud.cluster(&subnet, |text| text.replace("[\"10.20.0.0/16\", \"2001:db8::/48\"]", "[]")).await;
        closed.create(&artifacts(&closed), true, &quiet).await.expect("it is there");
        assert_eq!(cloud.listing()["rules"], json!(["lakewright-music-fleet:50050-50053"]));
    });
}

#[test]
fn what_somebody_else_made_is_neither_taken_nor_deleted() {
    let Some(cloud) = Cloud::start("things of somebody else") else { return };
    let subnet = cloud.fresh();
    block_on(async {
        // The same names, of a file whose cluster has another name in its tag: as if made by hand.
        let cluster = cloud.cluster(&subnet, |text| text).await;
        cluster.create(&artifacts(&cluster), true, &quiet).await.expect("it is made");
    });
    let project = Project::empty();
    let python = requirement::python("things of somebody else").expect("the cloud has one");
    let untag = "import botocore.session, sys\n\
        iam = botocore.session.get_session().create_client('iam', endpoint_url=sys.argv[1], region_name='eu-central-1')\n\
        iam.untag_role(RoleName='lakewright-music-node', TagKeys=['lakewright:cluster'])";
    let done = Command::new(python)
        .args(["-c", untag, &cloud.endpoint()])
        .envs([("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")])
        .current_dir(project.path(""))
        .status()
        .expect("Python starts");
    assert!(done.success());
    block_on(async {
        let cluster = cloud.cluster(&subnet, |text| text).await;
        assert_eq!(cluster.inventory().await.expect("it is looked up").node_role, Presence::Foreign);
        let plan = cluster.plan(Some(&artifacts(&cluster))).await.expect("it is planned");
        assert_eq!(plan.obstacles.len(), 1, "{plan:?}");
        let refused = cluster.create(&artifacts(&cluster), true, &quiet).await.expect_err("it is not ours");
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        let deleted = cluster.delete(false, &quiet).await.expect("the rest is deleted");
        assert!(deleted.left.iter().any(|what| what.contains("lakewright-music-node")), "{deleted:?}");
        assert_eq!(cloud.listing()["roles"], json!(["lakewright-music-node"]));
    });
}

#[test]
fn the_command_line_does_the_same_and_keeps_the_token_to_itself() {
    let Some(cloud) = Cloud::start("cluster on the command line") else { return };
    let subnet = cloud.fresh();
    let mut project = Project::empty();
    project.set_variables(vec![
        ("AWS_ENDPOINT_URL", cloud.endpoint()),
        ("AWS_ACCESS_KEY_ID", "AKIA".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
    ]);
    project.succeed(&["cluster", "init"]);
    assert_eq!(fs::read_to_string(project.path("cluster.toml")).expect("it is written"), lakewright_cluster::TEMPLATE);
    project.lakewright(&["cluster", "init"]).assert_refused(2, &["cluster.toml"]);

    project.write("cluster.toml", &file(&subnet).replace("10.20.0.0/16", "0.0.0.0/0"));
    project.lakewright(&["cluster", "plan"]).assert_refused(2, &["open to everybody", "Block Public Access"]);
    project.write("cluster.toml", &file(&subnet));
    let plan = project.succeed(&["cluster", "plan"]);
    assert!(plan.contains("in the way: the program dist/lakewright is not there"), "{plan}");
    assert!(plan.contains("an hour"), "{plan}");
    project.lakewright(&["cluster", "create", "--yes"]).assert_refused(2, &["dist/lakewright", "deploy/build"]);
    project.write("dist/lakewright", "");
    fs::write(project.path("dist/lakewright"), program()).expect("it can be written");
    project.lakewright(&["cluster", "create"]).assert_refused(2, &["--yes"]);
    assert_nothing(&cloud.listing());

    let id = project.succeed(&["cluster", "create", "--yes"]);
    assert!(id.starts_with("j-"), "{id}");
    assert_whole(&cloud.listing());
    let token = fs::read_to_string(project.path(".lakewright/clusters/music/token")).expect("there is a token");
    assert!(token.starts_with("lw_"));
    let status = project.json(&["cluster", "status"]);
    assert_eq!(status["state"], "WAITING", "{status}");
    project.lakewright(&["cluster", "client-config"]).assert_refused(3, &["not up yet"]);
    put_object(&project, &cloud, "lakewright/music/client/ca.pem", "authority");
    let access = project.succeed(&["cluster", "client-config"]);
    assert!(access.contains("export LAKEWRIGHT_SCHEDULER='https://") && !access.contains(token.trim()), "{access}");
    assert_eq!(
        fs::read_to_string(project.path(".lakewright/clusters/music/ca.pem")).expect("it is written"),
        "authority"
    );

    let log = format!("lakewright/music/logs/{}/node/i-1/applications/lakewright/executor.log.gz", id.trim());
    put_object(&project, &cloud, &log, "words");
    project.succeed(&["cluster", "logs", "--to", "logs"]);
    let fetched = format!("logs/{}/node/i-1/applications/lakewright/executor.log.gz", id.trim());
    assert_eq!(fs::read_to_string(project.path(&fetched)).expect("it is fetched"), "words");

    let deleted = project.json(&["cluster", "delete", "--yes"]);
    assert!(deleted["left"].to_string().contains("1 logs"), "{deleted}");
    assert!(!project.path(".lakewright/clusters/music").exists(), "the token of a cluster that has gone");
    project.succeed(&["cluster", "delete", "--yes", "--logs"]);
    assert_nothing(&cloud.listing());
}

fn put_object(project: &Project, cloud: &Cloud, key: &str, text: &str) {
    let python = requirement::python("cluster on the command line").expect("the cloud has one");
    let put = "import botocore.session, sys\n\
        s3 = botocore.session.get_session().create_client('s3', endpoint_url=sys.argv[1], region_name='eu-central-1')\n\
        s3.put_object(Bucket='clusters', Key=sys.argv[2], Body=sys.argv[3].encode())";
    let mut command = Command::new(python);
    command.args(["-c", put, &cloud.endpoint(), key, text]).current_dir(project.path(""));
    command.envs([("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]);
    let answer = Answer::of(&mut command);
    assert_eq!(answer.code, Some(0), "{answer:?}");
}
