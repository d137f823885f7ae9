//! `runs`, `show`, `watch`, `cancel`, `retry`: what has been run, and what becomes of it; of a scheduler's runs if one is
//! named, else of the lake's.

use std::{sync::Arc, time::Duration};

use lakewright_client::{Client, v1};
use lakewright_error::{Error, ErrorKind};
use lakewright_lake::Prefix;
use lakewright_scheduler::{
    CheckHistory, EmbeddedBackend, FailingRows, RunRecord, RunState, Scheduler, check_history, failing_rows, list_runs,
    read_run,
};

use super::{
    run::{report, run_here},
    submit,
};
use crate::{
    args::{RetryArgs, RunIdArgs, RunsArgs, ShowArgs},
    exit::{Failure, Outcome},
    place::{Invocation, Place},
    project::read_places,
    remote,
    render::{
        checks::failing_text,
        json::{CancelledDocument, RunRecordDocument, RunsDocument},
        summary::{run_record_text, runs_text},
    },
    sql::{nothing_published, open_catalog},
};

/// Pause between two looks at a run that another process drives.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Lists the newest runs.
pub(super) async fn list(invocation: &Invocation, arguments: &RunsArgs) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let job = arguments.job.as_ref().map(|_| job_name(&place)).transpose()?;
    let (shown, runs) = match remote::client(&place.settings).await? {
        Some(client) => {
            let shown = place.settings.scheduler.clone().unwrap_or_default();
            (shown, newest_of(&client, job.unwrap_or_default(), arguments.limit).await?)
        }
        None => {
            let lake = place.lake()?;
            (lake.display_location(), newest(&lake, job.as_deref(), arguments.limit).await?)
        }
    };
    let output = invocation.output;
    if output.json {
        let runs = runs.iter().map(|run| RunRecordDocument::new(run, &CheckHistory::default())).collect();
        return output.document(&RunsDocument { lake: shown, runs });
    }
    if runs.is_empty() {
        output.note(&format!("nothing has been run in {shown} yet"));
        return Ok(());
    }
    output.result(&runs_text(&runs, output.width, output.style))
}

/// Shows one run.
pub(super) async fn show(invocation: &Invocation, arguments: &ShowArgs) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let (run, checks) = match remote::client(&place.settings).await? {
        Some(client) => {
            let run_id = arguments.run.clone().unwrap_or_default();
            let answer = client.get_run(v1::GetRunRequest { run_id }).await?;
            (remote::record(&answer.run.unwrap_or_default())?, RunChecks::default())
        }
        None => {
            let lake = place.lake()?;
            let run = match &arguments.run {
                Some(run_id) => read_run(&lake, run_id).await?,
                None => newest(&lake, None, 1).await?.pop().ok_or_else(|| nothing_published(&lake))?,
            };
            let checks = checks_of(&lake, &run).await?;
            (run, checks)
        }
    };
    let output = invocation.output;
    if output.json {
        return output.document(&RunRecordDocument::new(&run, &checks.history));
    }
    let mut text = run_record_text(&run, &checks.history, output.width, output.style);
    text.push_str(&failing_text(&checks.failing, &run.run_id, output.width, output.style)?);
    output.result(&text)
}

/// What a lake knows of a run's checks beside the run's own record.
#[derive(Default)]
struct RunChecks {
    history: CheckHistory,
    failing: Vec<FailingRows>,
}

async fn checks_of(lake: &Prefix, run: &RunRecord) -> Outcome<RunChecks> {
    let steps = run.summary.iter().flat_map(|summary| &summary.steps);
    if steps.map(|step| step.checks.len()).sum::<usize>() == 0 {
        return Ok(RunChecks::default());
    }
    let history = check_history(lake, &run.job, Some(run.sequence)).await?;
    Ok(RunChecks { history, failing: failing_rows(lake, &run.run_id).await? })
}

/// Watches a run until it has ended.
pub(super) async fn watch(invocation: &Invocation, arguments: &RunIdArgs) -> Outcome {
    let place = invocation.any_place(None)?;
    if let Some(client) = remote::client(&place.settings).await? {
        return submit::watch(&client, &arguments.run, invocation.output).await;
    }
    let lake = place.lake()?;
    let output = invocation.output;
    let mut told = None;
    let run = loop {
        let run = read_run(&lake, &arguments.run).await?;
        if run.summary.is_some() || run.state == RunState::Broken {
            break run;
        }
        if told != Some(run.state) {
            output.note(&format!("run {} is {}", run.run_id, format!("{:?}", run.state).to_lowercase()));
            told = Some(run.state);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    match (run.state, &run.summary, &run.failure) {
        (RunState::Succeeded, Some(summary), _) => {
            let catalog = open_catalog(&lake).await.map_err(Failure::job)?;
            report(&run.job, summary, &catalog.tables, output)
        }
        (RunState::Cancelled, _, failure) => {
            let message = failure.clone().unwrap_or_else(|| "the run was cancelled".to_owned());
            Err(Failure::job(Error::new(ErrorKind::Cancelled, message).with("run", &run.run_id)))
        }
        (_, _, failure) => {
            let message = failure.clone().unwrap_or_else(|| "the run failed".to_owned());
            Err(Failure::job(Error::new(ErrorKind::Conflict, message).with("run", &run.run_id)))
        }
    }
}

/// Cancels a run.
pub(super) async fn cancel(invocation: &Invocation, arguments: &RunIdArgs) -> Outcome {
    let place = invocation.any_place(None)?;
    let run_id = match remote::client(&place.settings).await? {
        Some(client) => client.cancel_run(v1::CancelRunRequest { run_id: arguments.run.clone() }).await?.run_id,
        None => {
            let lake = place.lake()?;
            let run_id = read_run(&lake, &arguments.run).await?.run_id;
            scheduler_of(&place, &lake)?.cancel(&run_id, "").await?;
            run_id
        }
    };
    let output = invocation.output;
    if output.json {
        return output.document(&CancelledDocument { run_id });
    }
    output.note(&format!("run {run_id} is cancelled; nothing of it is published"));
    Ok(())
}

/// Runs a failed or cancelled run again.
pub(super) async fn retry(invocation: &Invocation, arguments: &RetryArgs) -> Outcome {
    let place = invocation.any_place(None)?;
    let output = invocation.output;
    if let Some(client) = remote::client(&place.settings).await? {
        return submit::retry(&client, arguments, output).await;
    }
    if arguments.detach {
        return Err(Error::new(ErrorKind::Invalid, "without a scheduler nobody goes on with the run")
            .with_hint("leave --detach out, or give --scheduler")
            .into());
    }
    let lake = place.lake()?;
    let job = read_run(&lake, &arguments.run).await?.job;
    let scheduler = scheduler_of(&place, &lake)?;
    let request = scheduler.retry_request(&arguments.run).await?;
    run_here(&scheduler, request, &job, &lake, output).await
}

fn scheduler_of(place: &Place, lake: &Prefix) -> Outcome<Scheduler> {
    let engine = place.engine()?;
    Ok(Scheduler::new(lake.clone(), engine.clone(), Arc::new(EmbeddedBackend::new(engine))))
}

/// The newest runs of a scheduler's lake.
async fn newest_of(client: &Client, job: String, limit: usize) -> Outcome<Vec<RunRecord>> {
    let mut request = v1::ListRunsRequest { job, ..Default::default() };
    let mut runs = Vec::new();
    while runs.len() < limit {
        request.page_size = u32::try_from(limit - runs.len()).unwrap_or(u32::MAX);
        let page = client.list_runs(request.clone()).await?;
        for run in &page.runs {
            runs.push(remote::record(run)?);
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    runs.truncate(limit);
    Ok(runs)
}

/// The newest runs; a lake that is not there has none.
async fn newest(lake: &Prefix, job: Option<&str>, limit: usize) -> Outcome<Vec<RunRecord>> {
    match list_runs(lake, job, limit).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => Ok(other?),
    }
}

/// The name that the job gives itself.
fn job_name(place: &Place) -> Outcome<String> {
    let folder = place.job_folder()?;
    read_places(folder).name.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "job.toml does not name the job").with("folder", folder.display()).into()
    })
}
