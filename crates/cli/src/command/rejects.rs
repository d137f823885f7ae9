//! `rejects`: the records that were kept aside, and why.

use lakewright_error::{Error, ErrorKind};
use lakewright_scheduler::{list_rejects, read_run, rejects_of_run};

use crate::{
    args::RejectsArgs,
    exit::Outcome,
    place::Invocation,
    render::{json::RejectsDocument, rejects::rejects_text},
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
