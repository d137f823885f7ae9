//! `plan`: what a run would do, without writing anything.

use lakewright_compiler::select_models;
use lakewright_scheduler::{RunOptions, plan_run};

use crate::{
    args::RunArgs,
    exit::{Failure, Outcome},
    place::Invocation,
    render::{failure::findings_text, json::PlanDocument, summary::plan_text},
};

/// Shows what a run would do, and why.
pub(super) async fn plan(invocation: &Invocation, arguments: &RunArgs) -> Outcome {
    let place = invocation.job_place(arguments.job.as_deref())?;
    let engine = place.planning_engine()?;
    let compiled = place.compile(&engine, &arguments.params.params)?;
    let options = run_options(arguments);
    // A wrong pattern is a mistake of the request, whatever the lake holds.
    select_models(&compiled.job, &options.select, &options.exclude)?;
    let (lake, raw) = (place.lake()?, place.raw().await?);
    let plan = plan_run(&lake, &raw, &compiled.job, &options).await.map_err(Failure::job)?;
    let output = invocation.output;
    if output.json {
        return output.document(&PlanDocument::new(&compiled.job.name, &plan));
    }
    output.note(&findings_text(&compiled.warnings, output.stderr_style, output.width));
    output.result(&plan_text(&plan, output.width, output.style))
}

/// The choices of a run.
pub(super) fn run_options(arguments: &RunArgs) -> RunOptions {
    RunOptions {
        full_refresh: arguments.full_refresh,
        accept_losses: arguments.accept_losses,
        select: arguments.select.clone(),
        exclude: arguments.exclude.clone(),
        start_us: arguments.start,
        end_us: arguments.end,
        verify_incremental: arguments.verify_incremental,
        ..RunOptions::default()
    }
}
