//! `run`: computes what has changed, and publishes a job's tables.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lakewright_compiler::select_models;
use lakewright_lake::Prefix;
use lakewright_scheduler::{LakeTable, RunEvent, RunRequest, RunSummary, Scheduler};
use tokio_util::sync::CancellationToken;

use super::{executor::Hands, plan::run_options};
use crate::{
    args::RunArgs,
    exit::{Failure, INTERRUPTED, Outcome, Stage},
    interrupt::Interrupts,
    place::Invocation,
    render::{
        Output,
        failure::findings_text,
        json::RunDocument,
        progress::Progress,
        summary::{places_text, run_text},
    },
    sql::open_catalog,
};

/// Runs a job to its end and tells what came out.
pub(super) async fn run(invocation: &Invocation, arguments: &RunArgs) -> Outcome {
    let place = invocation.job_place(arguments.job.as_deref())?;
    let engine = place.engine()?;
    let compiled = place.compile(&engine, &arguments.params.params)?;
    let options = run_options(arguments);
    select_models(&compiled.job, &options.select, &options.exclude)?;
    let (lake, raw) = (place.lake()?, place.raw().await?);
    engine.register_store(&lake);
    engine.register_store(&raw);
    let output = invocation.output;
    output.note(&findings_text(&compiled.warnings, output.stderr_style, output.width));

    // The flag only: a fleet that settings name is the scheduler's, which listens there.
    let fleet = invocation.flags.fleet.as_deref();
    let hands = Hands::of(&place, &lake, engine.clone(), fleet).await?;
    let scheduler = Scheduler::new(lake.clone(), engine, Arc::clone(&hands.backend));
    let request = RunRequest {
        folder: compiled.folder,
        params: arguments.params.params.iter().cloned().collect(),
        raw: place.raw_location()?,
        options,
        ..RunRequest::default()
    };
    let ran = run_here(&scheduler, request, &compiled.job.name, &lake, output).await;
    drop(scheduler);
    hands.release().await;
    ran
}

/// Runs a request in this process to its end and tells what came out.
pub(super) async fn run_here(
    scheduler: &Scheduler,
    request: RunRequest,
    job: &str,
    lake: &Prefix,
    output: Output,
) -> Outcome {
    let (summary, interrupted) = drive(scheduler, request, output).await?;
    let catalog = open_catalog(lake).await.map_err(Failure::job)?;
    report(job, &summary, &catalog.tables, output)?;
    if interrupted {
        output.note("interrupted when the outcome was decided: everything was published");
        return Err(Failure::Told(INTERRUPTED));
    }
    Ok(())
}

/// Drives a run; the first Ctrl-C cancels it, the second leaves it to the next run.
async fn drive(scheduler: &Scheduler, request: RunRequest, output: Output) -> Outcome<(RunSummary, bool)> {
    let progress = Progress::new(output);
    let accepted = AtomicBool::new(false);
    let tell = |event: RunEvent| {
        // From here on a failure is the job's, not the request's.
        accepted.fetch_or(matches!(event, RunEvent::Accepted { .. }), Ordering::Relaxed);
        progress.tell(&event);
    };
    let cancel = CancellationToken::new();
    let mut interrupts = Interrupts::new()?;
    let mut interrupted = false;
    let mut run = Box::pin(scheduler.run(request, cancel.clone(), &tell));
    let ended = loop {
        tokio::select! {
            ended = &mut run => break ended,
            () = interrupts.next() => {
                if interrupted {
                    progress.end();
                    output.complain("stopped at once: the next run brings this one to its end first");
                    return Err(Failure::Told(INTERRUPTED));
                }
                interrupted = true;
                cancel.cancel();
                progress.line("cancelling; Ctrl-C again stops at once");
            }
        }
    };
    progress.end();
    let stage = if accepted.load(Ordering::Relaxed) { Stage::Job } else { Stage::Request };
    ended.map(|summary| (summary, interrupted)).map_err(|error| Failure::Error(error, stage))
}

/// Tells what a run has published.
pub(super) fn report(job: &str, summary: &RunSummary, tables: &[LakeTable], output: Output) -> Outcome {
    if output.json {
        let places = tables.iter().filter(|table| table.job == job && table.view.is_none());
        let places: BTreeMap<String, String> =
            places.map(|table| (table.name.to_string(), table.location.clone())).collect();
        return output.document(&RunDocument::new(job, summary, places));
    }
    output.result(&run_text(summary, output.width, output.style))?;
    let places = places_text(tables, job, output.style);
    if output.quiet || places.is_empty() {
        return Ok(());
    }
    output.result(&format!("\n{places}"))
}
