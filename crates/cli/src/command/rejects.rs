//! `rejects`: the records that were kept aside, and why; `--replay` reads their raw objects again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lakewright_error::{Error, ErrorKind};
use lakewright_scheduler::{
    EmbeddedBackend, RunOptions, RunRequest, Scheduler, list_rejects, read_run, rejects_of_run,
};

use super::run::run_here;
use crate::{
    args::RejectsArgs,
    exit::Outcome,
    place::Invocation,
    render::{failure::findings_text, json::RejectsDocument, rejects::rejects_text},
};

/// Shows the rejects of the newest release, or of one run.
pub(super) async fn rejects(invocation: &Invocation, arguments: &RejectsArgs) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let lake = place.lake()?;
    let source = arguments.source.as_deref().map(short_name).transpose()?;
    let (run, rejects) = match &arguments.run {
        Some(run) => {
            let run_id = read_run(&lake, run).await?.run_id;
            let rejects = rejects_of_run(&lake, &run_id, source.as_deref(), arguments.limit).await?;
            (Some(run_id), rejects)
        }
        None => (None, list_rejects(&lake, source.as_deref(), arguments.limit).await?),
    };
    let output = invocation.output;
    if output.json {
        return output.document(&RejectsDocument::new(lake.display_location(), run, &rejects));
    }
    if rejects.is_empty() {
        let of = run.map_or_else(|| "the newest release".to_owned(), |run| format!("run {run}"));
        output.note(&format!("{of} has no rejects{}", source.map(|name| format!(" of {name}")).unwrap_or_default()));
        return Ok(());
    }
    output.result(&rejects_text(&rejects, output.style))
}

/// Runs the job as its files are now, and reads the raw objects that have rejects again.
///
/// Tables that are computed as a whole are; of one that is computed by file, the rows of these objects are replaced.
pub(super) async fn replay(invocation: &Invocation, arguments: &RejectsArgs) -> Outcome {
    let place = invocation.job_place(arguments.job.as_deref())?;
    let engine = place.engine()?;
    let compiled = place.compile(&engine, &[])?;
    let (lake, raw) = (place.lake()?, place.raw().await?);
    engine.register_store(&lake);
    engine.register_store(&raw);
    let source = arguments.source.as_deref().map(short_name).transpose()?;
    let rejects = match &arguments.run {
        Some(run) => {
            let run_id = read_run(&lake, run).await?.run_id;
            rejects_of_run(&lake, &run_id, source.as_deref(), usize::MAX).await?
        }
        None => list_rejects(&lake, source.as_deref(), usize::MAX).await?,
    };
    let names: BTreeSet<String> = compiled.job.sources.keys().map(ToString::to_string).collect();
    let objects = rejects.into_iter().map(|rejects| {
        let objects: BTreeSet<String> = rejects.rows.into_iter().map(|row| row.reject.object).collect();
        (format!("raw.{}", rejects.source), objects)
    });
    let replay: BTreeMap<String, BTreeSet<String>> = objects.filter(|(source, _)| names.contains(source)).collect();
    let output = invocation.output;
    if replay.is_empty() {
        output.note("there are no rejects of this job's sources: nothing is read again");
        return Ok(());
    }
    output.note(&findings_text(&compiled.warnings, output.stderr_style, output.width));
    let scheduler = Scheduler::new(lake.clone(), engine.clone(), Arc::new(EmbeddedBackend::new(engine)));
    let request = RunRequest {
        folder: compiled.folder,
        raw: place.raw_location()?,
        options: RunOptions { replay, ..RunOptions::default() },
        ..RunRequest::default()
    };
    run_here(&scheduler, request, &compiled.job.name, &lake, output).await
}

/// The name of a source without its zone.
fn short_name(source: &str) -> Outcome<String> {
    let lower = source.to_ascii_lowercase();
    match lower.split_once('.') {
        None => Ok(lower),
        Some(("raw" | "rejects", table)) => Ok(table.to_owned()),
        Some(_) => Err(Error::new(ErrorKind::Invalid, format!("{source} is no source"))
            .with_hint("sources are the tables of raw/, for example raw.events")
            .into()),
    }
}
