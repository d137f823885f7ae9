//! Health, logs and explanations, as text and as documents of `--json`.

use lakewright_client::v1;
use lakewright_error::Error;
use lakewright_executor::ExecutorStatus;
use lakewright_scheduler::{Finding, RunRecord, error_chain};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Style, number::duration, printable};

/// `health`
#[derive(Debug, Default, Serialize)]
pub(crate) struct HealthDocument {
    pub(crate) healthy: bool,
    pub(crate) lake: Option<String>,
    pub(crate) leader: Option<String>,
    pub(crate) problems: Vec<String>,
    pub(crate) schedulers: Vec<SchedulerHealthDocument>,
    pub(crate) executors: Vec<ExecutorHealthDocument>,
}

/// One scheduler of `health`.
#[derive(Debug, Serialize)]
pub(crate) struct SchedulerHealthDocument {
    address: String,
    pub(crate) leads: bool,
    term: u64,
    leader: String,
    store_s: Option<f64>,
    executors: Option<u32>,
    slots: u32,
    running: u32,
    waiting: u32,
    version: String,
    pub(crate) problems: Vec<String>,
}

impl SchedulerHealthDocument {
    /// The document of one that has answered.
    #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
    pub(crate) fn new(address: &str, health: v1::GetHealthResponse) -> Self {
        Self {
            address: address.to_owned(),
            leads: health.leads,
            term: health.term,
            leader: health.leader,
            store_s: health.store_us.map(|took_us| took_us as f64 / 1e6),
            executors: health.executors,
            slots: health.slots,
            running: health.runs_running,
            waiting: health.runs_waiting,
            version: health.version,
            problems: health.problems,
        }
    }

    /// The document of one that has not.
    pub(crate) fn silent(address: &str, error: &Error) -> Self {
        Self { problems: vec![error_chain(error)], ..Self::new(address, v1::GetHealthResponse::default()) }
    }
}

/// One executor of `health --executor`.
#[derive(Debug, Serialize)]
pub(crate) struct ExecutorHealthDocument {
    id: Option<String>,
    fleet: Option<String>,
    slots: usize,
    tasks: usize,
    problem: Option<String>,
}

impl ExecutorHealthDocument {
    /// The document of an executor of this machine.
    pub(crate) fn new(status: ExecutorStatus, problem: Option<String>) -> Self {
        let ExecutorStatus { executor_id, fleet, slots, tasks } = status;
        Self { id: executor_id, fleet, slots, tasks, problem }
    }
}

/// Renders how everybody is.
pub(crate) fn health_text(document: &HealthDocument, style: Style) -> String {
    let mut text = String::new();
    let mut line = |problems: &[String], words: String| {
        let word = if problems.is_empty() { style.green("ok  ") } else { style.red("fail") };
        text.push_str(&format!("{word}  {}\n", printable(&words)));
        for problem in problems {
            text.push_str(&format!("      {}\n", printable(problem)));
        }
    };
    for scheduler in &document.schedulers {
        let role = match (scheduler.leads, scheduler.version.is_empty()) {
            (true, _) => {
                let executors = scheduler.executors.map_or_else(String::new, |count| format!(", {count} executors"));
                format!(
                    "leads{executors}, {} slots, {} runs driven, {} waiting",
                    scheduler.slots, scheduler.running, scheduler.waiting
                )
            }
            (false, false) => format!("stands by; {} leads", or_nobody(&scheduler.leader)),
            (false, true) => "does not answer".to_owned(),
        };
        line(&scheduler.problems, format!("{}  {role}", scheduler.address));
    }
    for executor in &document.executors {
        let fleet = executor.fleet.as_deref().unwrap_or("no fleet");
        let problems: Vec<String> = executor.problem.iter().cloned().collect();
        line(&problems, format!("executor of {fleet}, {} of {} slots taken", executor.tasks, executor.slots));
    }
    if let Some(lake) = &document.lake {
        let leader = document.leader.as_ref().map_or_else(String::new, |leader| format!(", last led by {leader}"));
        line(&document.problems, format!("{lake}{leader}"));
    } else if !document.problems.is_empty() {
        line(&document.problems, "this machine".to_owned());
    }
    text
}

fn or_nobody(leader: &str) -> &str {
    if leader.is_empty() { "nobody" } else { leader }
}

/// `logs`
#[derive(Debug, Default, Serialize)]
pub(crate) struct LogsDocument {
    pub(crate) run_id: String,
    pub(crate) lines: Vec<LogLine>,
}

/// One line of a run's log.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct LogLine(Map<String, Value>);

impl LogLine {
    /// Reads a line; none if it is not one.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok().map(Self)
    }

    /// Whether it is about this step.
    pub(crate) fn is_of(&self, step: &str) -> bool {
        self.0.get("step").and_then(Value::as_str) == Some(step)
    }

    /// `22:00:01.123456 INFO  staging.events  step written rows=8056`
    pub(crate) fn text(&self, style: Style) -> String {
        let field = |name: &str| self.0.get(name).and_then(Value::as_str).unwrap_or_default();
        let level = match field("level") {
            "ERROR" => style.red("ERROR"),
            "WARN" => style.yellow("WARN "),
            level => format!("{level:5}"),
        };
        let step = match field("step") {
            "" => String::new(),
            step => format!("{}  ", style.cyan(&printable(step))),
        };
        let mut text = format!("{} {level} {step}{}", style.dim(field("time")), printable(field("message")));
        let told = ["time", "level", "step", "message", "run_id", "target"];
        for (name, value) in self.0.iter().filter(|(name, _)| !told.contains(&name.as_str())) {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.push_str(&format!(" {}={}", printable(name), printable(&shown)));
        }
        text
    }
}

/// `explain`
#[derive(Debug, Serialize)]
pub(crate) struct ExplainDocument {
    run_id: String,
    duration_s: Option<f64>,
    findings: Vec<FindingOfRun>,
}

#[derive(Debug, Serialize)]
struct FindingOfRun {
    step: Option<String>,
    cost_s: f64,
    what: String,
    advice: Option<String>,
}

impl ExplainDocument {
    /// The document of what is to be said of a run.
    pub(crate) fn new(run: &RunRecord, findings: &[Finding]) -> Self {
        let finding = |finding: &Finding| FindingOfRun {
            step: finding.step.clone(),
            cost_s: finding.cost.as_secs_f64(),
            what: finding.what.clone(),
            advice: finding.advice.clone(),
        };
        Self {
            run_id: run.run_id.clone(),
            duration_s: run.summary.as_ref().map(|summary| summary.duration.as_secs_f64()),
            findings: findings.iter().map(finding).collect(),
        }
    }
}

/// Renders what is to be said of a run.
pub(crate) fn explain_text(run: &RunRecord, findings: &[Finding], style: Style) -> String {
    let took = run.summary.as_ref().map(|summary| duration(summary.duration)).unwrap_or_default();
    let mut text = format!("run {} took {took}\n", run.run_id);
    if findings.is_empty() {
        text.push_str("nothing stands out: its steps took about the same time, and nothing was lost\n");
    }
    for finding in findings {
        let step = finding.step.as_ref().map_or_else(String::new, |step| format!("{} ", style.bold(&printable(step))));
        text.push_str(&format!("- {step}{}\n", printable(&finding.what)));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("  {} {}\n", style.cyan("help:"), printable(advice)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_log_shows_its_fields_and_knows_its_step() {
        let line = r#"{"time":"2018-11-13T12:00:00Z","level":"WARN","message":"step is executed again","run_id":"r","step":"z.t","target":"x","rows":3,"error":"a\u001b[1m"}"#;
        let line = LogLine::parse(line).unwrap();
        assert!(line.is_of("z.t") && !line.is_of("z.u"));
        let text = line.text(Style::default());
        assert_eq!(text, "2018-11-13T12:00:00Z WARN  z.t  step is executed again error=a\\u{1b}[1m rows=3");
        assert!(LogLine::parse("cut off {").is_none());
    }

    #[test]
    fn every_scheduler_and_executor_has_a_line_and_its_problems() {
        let leads = v1::GetHealthResponse {
            leads: true,
            executors: Some(3),
            slots: 6,
            version: "1".to_owned(),
            ..Default::default()
        };
        let stands_by =
            v1::GetHealthResponse { leader: "https://a".to_owned(), version: "1".to_owned(), ..Default::default() };
        let error = Error::new(lakewright_error::ErrorKind::Unavailable, "nobody answers");
        let document = HealthDocument {
            schedulers: vec![
                SchedulerHealthDocument::new("a", leads),
                SchedulerHealthDocument::new("b", stands_by),
                SchedulerHealthDocument::silent("c", &error),
            ],
            ..HealthDocument::default()
        };
        let text = health_text(&document, Style::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "ok    a  leads, 3 executors, 6 slots, 0 runs driven, 0 waiting",
                "ok    b  stands by; https://a leads",
                "fail  c  does not answer",
                "      nobody answers",
            ]
        );
    }
}
