//! What a scheduler tells about itself and its runs: health, logs, explanations.

use super::process::{Service, await_some, spawn};
use crate::project::Project;

#[test]
fn a_run_has_a_log_and_an_explanation_here_and_through_the_scheduler() {
    let project = Project::music(400, 15, 3);
    let service = Service::start(&project);
    let id = service.json(&["submit"])["run_id"].as_str().expect("a run").to_owned();
    let logs = service.json(&["logs", &id]);
    assert_eq!(logs["run_id"], id.as_str());
    let lines = logs["lines"].as_array().expect("lines");
    assert!(lines.iter().all(|line| line["run_id"] == id.as_str()), "{logs}");
    let written = |line: &&serde_json::Value| line["message"] == "step written" && line["step"] == "staging.events";
    assert_eq!(lines.iter().filter(written).count(), 1, "{logs}");
    assert_eq!(project.json(&["logs", &id]), logs, "the lake has other lines");

    let of_step = service.lakewright(&["logs", &id, "--step", "staging.events", "--follow"]);
    assert_eq!(of_step.code, Some(0), "{of_step:?}");
    assert!(of_step.stdout.lines().count() >= 2, "{of_step:?}");
    assert!(of_step.stdout.lines().all(|line| line.contains("staging.events")), "{of_step:?}");

    let explained = service.json(&["explain", &id]);
    assert_eq!(explained["run_id"], id.as_str());
    assert_eq!(project.json(&["explain"]), explained);
    assert!(service.lakewright(&["explain"]).stdout.starts_with("run "), "no text");
}

#[test]
fn a_local_run_keeps_its_log_too_and_the_rejects_are_explained() {
    let project = Project::music(100, 5, 1);
    project.write("data/raw/log_data/2018/11/2018-11-30-events.json", "no JSON\n");
    project.succeed(&["run"]);
    let logs = project.json(&["logs"]);
    let messages: Vec<&str> =
        logs["lines"].as_array().expect("lines").iter().filter_map(|line| line["message"].as_str()).collect();
    for message in ["run frozen", "step started", "run released", "run ended"] {
        assert!(messages.contains(&message), "no {message}: {messages:?}");
    }
    let explained = project.lakewright(&["explain"]);
    assert!(explained.stdout.contains("were kept aside") && explained.stdout.contains("rejects"), "{explained:?}");
}

#[test]
fn health_says_what_is_wrong_by_its_exit_code_and_lets_nobody_in() {
    let project = Project::music(20, 2, 1);
    assert_eq!(project.lakewright(&["health"]).code, Some(0), "the lake can be written");
    let service = Service::start(&project);
    // It answers before it leads.
    let health = await_some("it leads", || {
        let health = service.json(&["health"]);
        (health["schedulers"][0]["leads"] == true).then_some(health)
    });
    assert_eq!(health["healthy"], true, "{health}");
    assert!(health["schedulers"][0]["store_s"].as_f64().is_some_and(|took_s| took_s > 0.0), "{health}");
    let stranger = crate::project::Answer::of(service.command(&["health"]).env("LAKEWRIGHT_TOKEN", "lw_stranger"));
    stranger.assert_refused(3, &["token"]);
    project.lakewright(&["health", "--executor"]).assert_unhealthy("no executor runs here");

    // Nobody may write where the probe goes.
    let stores = project.lake().join("_lakewright/stores");
    std::fs::remove_dir_all(&stores).expect("the folder can be removed");
    std::fs::write(&stores, "in the way").expect("a file can be made");
    let sick = await_some("the health is looked at again", || {
        let answer = service.lakewright(&["health"]);
        (answer.code != Some(0)).then_some(answer)
    });
    sick.assert_unhealthy("cannot be written");
    drop(service);
    let gone = project.lakewright(&["health", "--scheduler", "http://127.0.0.1:9"]);
    assert_eq!(gone.code, Some(3), "{gone:?}");
}

#[test]
fn a_second_scheduler_stands_by_and_leads_when_the_first_has_died() {
    let project = Project::music(20_000, 100, 5);
    let (mut first, first_url) = spawn(&project, &["--insecure"]);
    let both = |second: &str| format!("{first_url},{second}");
    let healthy = project.lakewright(&["health", "--scheduler", &first_url]);
    let (mut second, second_url) = spawn(&project, &["--insecure"]);
    assert_eq!(healthy.code, Some(0), "{healthy:?}");
    let both = both(&second_url);
    let standing = project.json(&["health", "--scheduler", &second_url]);
    assert_eq!(standing["schedulers"][0]["leads"], false, "{standing}");
    let refused = project.lakewright(&["runs", "--scheduler", &second_url]);
    refused.assert_refused(3, &["stands by", &first_url]);

    // Clients find the one that leads, in whichever order they know them.
    let swapped = format!("{second_url},{first_url}");
    let run = project.lakewright(&["submit", "--detach", "--scheduler", &swapped]);
    assert_eq!(run.code, Some(0), "{run:?}");
    first.kill().expect("the scheduler can be killed");
    first.wait().expect("the scheduler can be awaited");
    let watched = project.lakewright(&["watch", run.stdout.trim(), "--scheduler", &both]);
    let health = project.json(&["health", "--scheduler", &both]);
    second.kill().expect("the scheduler can be killed");
    second.wait().expect("the scheduler can be awaited");
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert_eq!((&health["healthy"], &health["schedulers"][1]["leads"]), (&true.into(), &true.into()), "{health}");
}
