//! `runs` and `show`: what has been run, and what came of it.

use lakewright_error::{Error, ErrorKind};
use lakewright_lake::Prefix;
use lakewright_scheduler::{RunRecord, list_runs, read_run};

use crate::{
    args::{RunsArgs, ShowArgs},
    exit::Outcome,
    place::{Invocation, Place},
    project::read_places,
    render::{
        json::{RunRecordDocument, RunsDocument},
        summary::{run_record_text, runs_text},
    },
    sql::nothing_published,
};

/// Lists the newest runs.
pub(super) async fn list(invocation: &Invocation, arguments: &RunsArgs) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let lake = place.lake()?;
    let job = arguments.job.as_ref().map(|_| job_name(&place)).transpose()?;
    let runs = newest(&lake, job.as_deref(), arguments.limit).await?;
    let output = invocation.output;
    if output.json {
        let runs = runs.iter().map(RunRecordDocument::new).collect();
        return output.document(&RunsDocument { lake: lake.display_location(), runs });
    }
    if runs.is_empty() {
        output.note(&format!("nothing has been run in {} yet", lake.display_location()));
        return Ok(());
    }
    output.result(&runs_text(&runs, output.width, output.style))
}

/// Shows one run.
pub(super) async fn show(invocation: &Invocation, arguments: &ShowArgs) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let lake = place.lake()?;
    let run = match &arguments.run {
        Some(run_id) => read_run(&lake, run_id).await?,
        None => newest(&lake, None, 1).await?.pop().ok_or_else(|| nothing_published(&lake))?,
    };
    let output = invocation.output;
    if output.json {
        return output.document(&RunRecordDocument::new(&run));
    }
    output.result(&run_record_text(&run, output.width, output.style))
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
