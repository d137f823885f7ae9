//! The nodes' policy, asked by a server that evaluates policies: enough for a job, and not more.

use lakewright_cluster::{ClusterSpec, TEMPLATE, node_policy};
use serde_json::json;

use crate::{project::Project, s3::server::Server};

/// The template's cluster, with everything in the bucket of the server.
fn policy() -> String {
    let text = TEMPLATE.replace("my-bucket", "music");
    node_policy(&ClusterSpec::parse(&text).expect("the template is right")).to_string()
}

#[test]
fn the_nodes_policy_lets_the_music_job_pass_and_nothing_beyond() {
    let test = "the nodes' policy";
    let Some(server) = Server::start_with_policy(test, &policy()) else { return };
    let mut project = Project::music(300, 30, 2);
    let raw = project.path("data/raw").display().to_string();
    server.script_as_root(&["upload", server.endpoint(), "music", &raw, "raw"]);
    server.script_as_root(&["bucket", server.endpoint(), "other"]);
    for (bucket, key) in [
        ("music", "lakewright/music/node-1/lakewright"),
        ("music", "lakewright/other/node-1/tokens.json"),
        ("music", "elsewhere/x"),
        ("other", "raw/x"),
        ("music", "raw/x.json"),
    ] {
        server.script_as_root(&["attempt", server.endpoint(), &json!([["put", bucket, key]]).to_string()]);
    }
    project.set_variables(server.variables(server.endpoint()));
    project.succeed(&["run"]);
    project.succeed(&["run", "--full-refresh"]);

    let allowed = json!([
        ["get", "music", "lakewright/music/node-1/lakewright"],
        ["put", "music", "lakewright/music/client/ca.pem"],
        ["put", "music", "lakewright/music/logs/j-1/x.gz"],
        ["get", "music", "raw/x.json"],
        ["list", "music", "raw/"],
        ["list", "music", "lake/_lakewright/"],
    ]);
    let statuses = server.script(&["attempt", server.endpoint(), &allowed.to_string()]);
    assert_eq!(statuses["statuses"], json!([200, 200, 200, 200, 200, 200]), "what nodes need");

    let denied = json!([
        ["put", "music", "raw/x.json"],
        ["delete", "music", "raw/x.json"],
        ["get", "music", "elsewhere/x"],
        ["put", "music", "elsewhere/x"],
        ["get", "music", "lakewright/other/node-1/tokens.json"],
        ["put", "music", "lakewright/music/node-1/lakewright"],
        ["delete", "music", "lakewright/music/logs/j-1/x.gz"],
        ["get", "other", "raw/x"],
        ["list", "other", "raw/"],
        ["list", "music", "elsewhere/"],
        ["list", "music", ""],
    ]);
    let statuses = server.script(&["attempt", server.endpoint(), &denied.to_string()]);
    let expected: Vec<u16> = vec![403; denied.as_array().expect("a list").len()];
    assert_eq!(statuses["statuses"], json!(expected), "what nodes must not: {denied}");
}
