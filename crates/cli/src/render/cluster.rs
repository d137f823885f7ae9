//! Texts and documents of `cluster`.

use std::path::Path;

use lakewright_cluster::{Action, Cost, Deleted, LogObject, Plan, Status};
use serde::Serialize;

use super::{
    Style,
    grid::{Align, Grid},
    number::bytes,
    printable,
};

/// Hours of an average month.
const HOURS_OF_MONTH: f64 = 730.0;

/// What clients of a cluster's scheduler need.
#[derive(Debug, Serialize)]
pub(crate) struct AccessDocument {
    scheduler: String,
    ca: String,
    token_file: Option<String>,
}

impl AccessDocument {
    /// The document of an address, and of files of this machine.
    pub(crate) fn new(scheduler: &str, ca: &Path, token: Option<&Path>) -> Self {
        Self {
            scheduler: scheduler.to_owned(),
            ca: ca.display().to_string(),
            token_file: token.map(|path| path.display().to_string()),
        }
    }
}

/// The logs of a cluster's nodes.
#[derive(Debug, Serialize)]
pub(crate) struct LogsDocument {
    pub(crate) logs: Vec<LogObject>,
}

/// Variables for a shell.
pub(crate) fn access_text(access: &AccessDocument) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let mut text = format!("export LAKEWRIGHT_SCHEDULER={}\n", quoted(&access.scheduler));
    text.push_str(&format!("export LAKEWRIGHT_CA={}\n", quoted(&access.ca)));
    if let Some(token) = &access.token_file {
        text.push_str(&format!("export LAKEWRIGHT_TOKEN=\"$(cat {})\"\n", quoted(token)));
    }
    text
}

/// What would be made, what it costs, what stands in the way.
pub(crate) fn plan_text(plan: &Plan, width: usize, style: Style) -> String {
    let mut grid = Grid::new(["action", "what", "name", "for"].map(|title| (title, Align::Left)));
    for item in &plan.items {
        let action = match item.action {
            Action::Make => "make",
            Action::Keep => "keep",
            Action::Blocked => "BLOCKED",
        };
        grid.push(vec![action.to_owned(), item.kind.to_owned(), printable(&item.name), printable(&item.detail)]);
    }
    let (table, _) = grid.render(width.max(160), style);
    let mut text = format!("{} in {}, account {}, network {}\n\n", plan.cluster, plan.region, plan.account, plan.vpc);
    text.push_str(&table);
    text.push_str(&cost_text(&plan.cost));
    for obstacle in &plan.obstacles {
        text.push_str(&format!("{} {}\n", style.red("in the way:"), printable(obstacle)));
    }
    text
}

fn cost_text(cost: &Cost) -> String {
    let mut text = format!(
        "\nan estimate, from list prices of us-east-1 as of {}, EMR's share and disks included:\n",
        cost.prices_as_of
    );
    for group in &cost.groups {
        let dollars = group.dollars_per_hour.map_or_else(|| "unknown".to_owned(), |dollars| format!("${dollars:.3}"));
        let note = if group.spot { " at most: spot is cheaper" } else { "" };
        text.push_str(&format!(
            "  {:8} {} x {}: {dollars} an hour{note}\n",
            group.role, group.count, group.instance_type
        ));
    }
    let more = if cost.unknown_types.is_empty() { "" } else { ", and what is unknown" };
    let (hour, month) = (cost.dollars_per_hour, cost.dollars_per_hour * HOURS_OF_MONTH);
    text.push_str(&format!("  together ${hour:.2} an hour{more}; ${month:.0} a month if it never stops\n"));
    if cost.dollars_per_hour_max > cost.dollars_per_hour {
        let most = cost.dollars_per_hour_max;
        text.push_str(&format!("  up to ${most:.2} an hour while tasks wait, with all task nodes of count_max\n"));
    }
    text.push_str("  your region's prices differ; S3, traffic and taxes are not in it\n");
    text
}

/// A cluster's state, nodes and steps.
pub(crate) fn status_text(status: &Status, width: usize, style: Style) -> String {
    let id = status.id.as_deref().unwrap_or("-");
    let mut text = format!("{} {} {}\n", status.name, id, status.state);
    if !status.reason.is_empty() {
        text.push_str(&format!("{}\n", printable(&status.reason)));
    }
    if let Some(scheduler) = &status.scheduler {
        text.push_str(&format!("scheduler {scheduler}\n"));
    }
    if !status.groups.is_empty() {
        let mut grid = Grid::new([
            ("nodes", Align::Left),
            ("types", Align::Left),
            ("running", Align::Right),
            ("wanted", Align::Right),
            ("state", Align::Left),
        ]);
        for group in &status.groups {
            grid.push(vec![
                group.role.clone(),
                printable(&group.instance_types.join(", ")),
                group.running.to_string(),
                group.requested.to_string(),
                group.state.clone(),
            ]);
        }
        text.push('\n');
        text.push_str(&grid.render(width, style).0);
    }
    for (name, state) in &status.steps {
        text.push_str(&format!("step {}: {state}\n", printable(name)));
    }
    if status.id.is_none() && !status.parts.is_empty() {
        text.push_str(&format!("left of it: {}\n", status.parts.join(", ")));
    }
    text
}

/// What was deleted, and what is left.
pub(crate) fn deleted_text(deleted: &Deleted) -> String {
    let mut text = if deleted.deleted.is_empty() { "there was nothing to delete\n".to_owned() } else { String::new() };
    for what in &deleted.deleted {
        text.push_str(&format!("deleted {}\n", printable(what)));
    }
    for what in &deleted.left {
        text.push_str(&format!("left: {}\n", printable(what)));
    }
    text
}

/// The logs of nodes.
pub(crate) fn logs_text(logs: &[LogObject], width: usize, style: Style) -> String {
    if logs.is_empty() {
        return String::new();
    }
    let mut grid = Grid::new([("written", Align::Left), ("size", Align::Right), ("log", Align::Left)]);
    for log in logs {
        grid.push(vec![printable(&log.modified), bytes(log.bytes), printable(&log.path)]);
    }
    grid.render(width.max(160), style).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_survive_a_shell_whatever_the_path() {
        let document =
            AccessDocument::new("https://10.0.0.5:50040", Path::new("/it's here/ca.pem"), Some(Path::new("/t")));
        let text = access_text(&document);
        assert!(text.contains(r"export LAKEWRIGHT_CA='/it'\''s here/ca.pem'"), "{text}");
        assert!(text.contains("export LAKEWRIGHT_TOKEN=\"$(cat '/t')\""), "{text}");
    }

    #[test]
    fn an_estimate_says_what_it_does_not_know() {
        let cost = Cost {
            groups: Vec::new(),
            prices_as_of: "2026-11",
            dollars_per_hour: 1.0,
            dollars_per_hour_max: 3.5,
            unknown_types: vec!["x".to_owned()],
        };
        let text = cost_text(&cost);
        assert!(text.contains("together $1.00 an hour, and what is unknown; $730 a month"), "{text}");
        assert!(text.contains("an estimate, from list prices of us-east-1 as of 2026-11"), "{text}");
        assert!(text.contains("up to $3.50 an hour"), "{text}");
    }
}
