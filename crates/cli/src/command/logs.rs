//! `logs` and `explain`: what was logged about a run, and where its time went.

use std::time::Duration;

use lakewright_client::{Client, v1};
use lakewright_error::{Error, ErrorKind};
use lakewright_lake::Prefix;
use lakewright_scheduler::{RunRecord, RunState, explain as explain_run, list_runs, read_run, read_run_logs};

use crate::{
    args::{ExplainArgs, LogsArgs},
    exit::{Failure, Outcome},
    place::Invocation,
    remote,
    render::{
        Output,
        operate::{ExplainDocument, LogLine, LogsDocument, explain_text},
    },
    sql::nothing_published,
};

/// Pause between two looks whether more was logged.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long executors may take to store their last lines of a run that has ended.
const LAST_LINES: Duration = Duration::from_secs(3);

/// Where logs are read.
enum From {
    Scheduler(Client),
    Lake(Prefix),
}

/// One page, wherever it comes from.
struct Page {
    run_id: String,
    lines: Vec<String>,
    after: String,
    is_complete: bool,
    /// Whether more is there already.
    has_more: bool,
}

/// Shows what was logged about a run.
pub(super) async fn logs(invocation: &Invocation, arguments: &LogsArgs) -> Outcome {
    let place = invocation.any_place(None)?;
    let output = invocation.output;
    let from = match remote::client(&place.settings).await? {
        Some(client) => From::Scheduler(client),
        None => From::Lake(place.lake()?),
    };
    let mut document = LogsDocument::default();
    let (mut run_id, mut after) = (arguments.run.clone().unwrap_or_default(), String::new());
    let mut was_complete = false;
    loop {
        let page = page(&from, &run_id, &after).await?;
        let wanted = |line: &LogLine| arguments.step.as_ref().is_none_or(|step| line.is_of(step));
        let lines = page.lines.iter().filter_map(|line| LogLine::parse(line)).filter(wanted);
        for line in lines {
            if output.json {
                document.lines.push(line);
            } else {
                output.result(&line.text(output.style))?;
            }
        }
        (run_id, after) = (page.run_id, page.after);
        if page.has_more {
            continue;
        }
        if was_complete || !arguments.follow {
            break;
        }
        was_complete = page.is_complete;
        tokio::time::sleep(if was_complete { LAST_LINES } else { LOOK_AGAIN }).await;
    }
    document.run_id = run_id;
    if output.json { output.document(&document) } else { Ok(()) }
}

async fn page(from: &From, run_id: &str, after: &str) -> Outcome<Page> {
    match from {
        From::Scheduler(client) => {
            let request = v1::ReadRunLogsRequest { run_id: run_id.to_owned(), after: after.to_owned() };
            let page = client.read_run_logs(request).await?;
            let has_more = page.after != after;
            Ok(Page {
                run_id: page.run_id,
                lines: page.lines,
                after: page.after,
                is_complete: page.is_complete,
                has_more,
            })
        }
        From::Lake(lake) => {
            // Before the page: what is logged until the run has ended is there then.
            let run = record(lake, run_id).await?;
            let page = read_run_logs(lake, &run.run_id, after).await?;
            let is_complete = has_ended(&run) && page.is_last;
            Ok(Page { run_id: run.run_id, lines: page.lines, after: page.after, is_complete, has_more: !page.is_last })
        }
    }
}

fn has_ended(run: &RunRecord) -> bool {
    run.summary.is_some() || run.state == RunState::Broken
}

/// A run by its id, or the newest.
async fn record(lake: &Prefix, run_id: &str) -> Outcome<RunRecord> {
    if !run_id.is_empty() {
        return Ok(read_run(lake, run_id).await?);
    }
    let newest = list_runs(lake, None, 1).await?;
    newest.into_iter().next().ok_or_else(|| Failure::from(nothing_published(lake)))
}

/// Says where the time of a run went.
pub(super) async fn explain(invocation: &Invocation, arguments: &ExplainArgs) -> Outcome {
    let place = invocation.any_place(None)?;
    let run_id = arguments.run.clone().unwrap_or_default();
    let run = match remote::client(&place.settings).await? {
        Some(client) => {
            let answer = client.get_run(v1::GetRunRequest { run_id }).await?;
            remote::record(&answer.run.unwrap_or_default())?
        }
        None => record(&place.lake()?, &run_id).await?,
    };
    if run.summary.is_none() {
        return Err(Error::new(ErrorKind::Invalid, "the run has not ended: what it has taken is not known yet")
            .with("run", &run.run_id)
            .with_hint("`lakewright watch` shows how it gets on, `lakewright logs --follow` what it does")
            .into());
    }
    let findings = explain_run(&run);
    let output: Output = invocation.output;
    if output.json {
        return output.document(&ExplainDocument::new(&run, &findings));
    }
    output.result(&explain_text(&run, &findings, output.style))
}
