//! What a user is told when S3 cannot be used as it was asked.

use std::net::TcpListener;

use super::{Bucketed, Proxy, Server};
use crate::project::Project;

#[test]
fn a_wrong_secret_is_denied_and_nothing_is_written() {
    let Some(mut bucketed) = Bucketed::music("a wrong secret", 10, 2, 1) else { return };
    bucketed.project.set_variables(vec![("AWS_SECRET_ACCESS_KEY", "wrong".to_owned())]);
    for command in [&["run"][..], &["plan"], &["tables"], &["sql", "SELECT 1"]] {
        bucketed.project.lakewright(command).assert_refused(3, &["secret", "AWS_SECRET_ACCESS_KEY"]);
    }
    assert!(!bucketed.proxy.requests().iter().any(|request| request.starts_with("PUT")));
}

#[test]
fn a_bucket_that_is_not_there_is_named() {
    let Some(mut bucketed) = Bucketed::music("a bucket that is not there", 10, 2, 1) else { return };
    bucketed.project.set_variables(vec![("LAKEWRIGHT_RAW", "s3://no-such-bucket/raw".to_owned())]);
    bucketed.project.lakewright(&["run"]).assert_refused(2, &["no bucket no-such-bucket", "create the bucket"]);
}

/// A project with its lake at an endpoint that the test needs no server for.
fn project_at(endpoint: &str) -> Project {
    let mut project = Project::music(10, 2, 1);
    project.set_variables(vec![
        ("LAKEWRIGHT_LAKE", "s3://music/lake".to_owned()),
        ("LAKEWRIGHT_S3_ENDPOINT", endpoint.to_owned()),
    ]);
    project
}

/// An address on which nothing listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    format!("http://{}", listener.local_addr().expect("the listener has an address"))
}

#[test]
fn an_endpoint_that_does_not_answer_is_named_soon() {
    let endpoint = nobody();
    let mut project = project_at(&endpoint);
    project
        .set_variables(vec![("AWS_ACCESS_KEY_ID", "key".to_owned()), ("AWS_SECRET_ACCESS_KEY", "secret".to_owned())]);
    project.lakewright(&["tables"]).assert_refused(3, &[&endpoint, "s3_endpoint"]);
}

#[test]
fn missing_credentials_are_told_with_where_they_may_come_from() {
    let endpoint = nobody();
    let mut project = project_at(&endpoint);
    project.set_variables(vec![("AWS_METADATA_ENDPOINT", nobody())]);
    project.lakewright(&["tables"]).assert_refused(3, &["no credentials", "AWS_ACCESS_KEY_ID", "role"]);
    project.set_variables(vec![("AWS_ACCESS_KEY_ID", "key".to_owned())]);
    project.lakewright(&["tables"]).assert_refused(3, &["AWS_SECRET_ACCESS_KEY is not"]);
    project.set_variables(vec![("LAKEWRIGHT_S3_ENDPOINT", "nowhere".to_owned())]);
    project.lakewright(&["tables"]).assert_refused(3, &["AWS_SECRET_ACCESS_KEY is not"]);
}

#[test]
fn a_server_that_overwrites_is_refused_before_anything_is_in_the_lake() {
    let Some(server) = Server::start("a server that overwrites", false) else { return };
    let proxy = Proxy::before(server.endpoint());
    let mut project = Project::music(10, 2, 1);
    project.set_variables(server.variables(proxy.endpoint()));
    let raw = project.path("data/raw").display().to_string();
    project.set_variables(vec![("LAKEWRIGHT_RAW", raw)]);
    proxy.forget_conditions();
    project
        .lakewright(&["run"])
        .assert_refused(2, &["overwrites objects that exist", proxy.endpoint(), "If-None-Match"]);
    project.lakewright(&["doctor", "--write"]).assert_failed_check("overwrites objects that exist");
    assert!(!proxy.requests().iter().any(|request| request.starts_with("PUT") && !request.contains("/stores/check-")));
}

#[test]
fn sixteen_creators_of_one_object_have_one_winner() {
    let Some(bucketed) = Bucketed::music("a race of creators", 10, 2, 1) else { return };
    for _ in 0..5 {
        bucketed.project.succeed(&["doctor", "--write"]);
    }
    let created = bucketed.proxy.requests().iter().filter(|request| request.ends_with("-raced")).count();
    assert!(created >= 5 * 16, "{created} creates raced");
}

#[test]
fn a_store_that_has_passed_is_not_asked_again() {
    let Some(bucketed) = Bucketed::music("a store that has passed", 10, 2, 1) else { return };
    let checks = || bucketed.proxy.requests().iter().filter(|request| request.contains("/stores/check-")).count();
    bucketed.project.succeed(&["run"]);
    let first = checks();
    assert!(first > 16, "{first}");
    bucketed.project.succeed(&["run"]);
    assert_eq!(checks(), first);
}

#[test]
fn a_profile_gives_the_keys_or_says_why_it_does_not() {
    let Some(mut bucketed) = Bucketed::music("a profile of AWS", 10, 2, 1) else { return };
    let variables = bucketed.server.variables(bucketed.proxy.endpoint());
    let value =
        |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| value.clone()).expect(name);
    let (key, secret) = (value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY"));
    let project = &mut bucketed.project;
    project.write("credentials", &format!("[work]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"));
    let printed = format!("{{\"Version\": 1, \"AccessKeyId\": \"{key}\", \"SecretAccessKey\": \"{secret}\"}}");
    project.write("printed.json", &printed);
    let command = format!("cat {}", project.path("printed.json").display());
    project.write(
        "config",
        &format!("[profile tool]\ncredential_process = {command}\n[profile broken]\ncredential_process = false\n"),
    );
    let path = |name: &str| project.path(name).display().to_string();
    let files = vec![("AWS_SHARED_CREDENTIALS_FILE", path("credentials")), ("AWS_CONFIG_FILE", path("config"))];
    project.set_variables(files);
    // What the profile says counts, and not what else is there.
    project
        .set_variables(vec![("AWS_ACCESS_KEY_ID", "other".to_owned()), ("AWS_SECRET_ACCESS_KEY", "other".to_owned())]);
    project.lakewright(&["run"]).assert_refused(3, &[]);
    for profile in ["work", "tool"] {
        project.set_variables(vec![("AWS_PROFILE", profile.to_owned())]);
        project.succeed(&["run"]);
    }
    for (profile, words) in [("broken", "gives no credentials"), ("nobody", "no such aws profile")] {
        project.set_variables(vec![("AWS_PROFILE", profile.to_owned())]);
        project.lakewright(&["run"]).assert_refused(3, &[words, profile]);
    }
}
