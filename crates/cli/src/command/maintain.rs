//! `rewind`, `repair`, `drop`, `optimize`: change published tables without running models.
//!
//! Invariant: no rows are changed before the user has agreed, on a terminal or with `--yes`.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, IsTerminal},
    path::PathBuf,
    sync::Arc,
};

use lakewright_compiler::TableName;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::Prefix;
use lakewright_scheduler::{
    AsOf, EmbeddedBackend, Operation, RunState, RunSummary, Scheduler, TableChange, changes_of_job, find_release,
    read_run,
};
use tokio_util::sync::CancellationToken;

use super::tables::table_name;
use crate::{
    args::{DropArgs, OptimizeArgs, RepairArgs, RewindArgs},
    exit::{Failure, Outcome},
    place::{Invocation, Place},
    project::{Project, read_places},
    render::{
        Output,
        number::counted,
        printable,
        releases::{MaintainDocument, OptimizeDocument, changes_text, optimized_text},
    },
    sql::{nothing_published, open_catalog},
};

/// Gives a job's tables the state of an earlier release.
pub(super) async fn rewind(invocation: &Invocation, arguments: &RewindArgs) -> Outcome {
    let place = invocation.job_place(arguments.job.as_deref())?;
    let (lake, output) = (place.lake()?, invocation.output);
    let name = || read_places(place.job_folder().ok()?).name;
    let job = name().ok_or_else(|| Error::new(ErrorKind::Invalid, "job.toml does not name the job"))?;
    let newest = open_catalog(&lake).await?.release.ok_or_else(|| nothing_published(&lake))?;
    let target = find_release(&lake, arguments.to).await?;
    let changes = changes_of_job(&find_release(&lake, AsOf::Release(newest)).await?, &target, &job)?;
    if !changes.is_empty() {
        output.note(&changes_text(&changes, output.width, output.stderr_style));
    }
    let tables = counted(changes.len() as u64, "table");
    let question = format!("Rewind {tables} of the job {job} to release {}?", target.number);
    agree(&question, arguments.yes, &output)?;
    let operation = Operation::Rewind { release: target.number };
    let summary = maintain(&place, &lake, &job, operation).await?;
    let done =
        format!("rewound {tables} to release {}; `lakewright run` reads again what has come since", target.number);
    report(&summary, &job, &changes, &done, &output)
}

/// Ends a broken run.
pub(super) async fn repair(invocation: &Invocation, arguments: &RepairArgs) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let (lake, output) = (place.lake()?, invocation.output);
    let run = read_run(&lake, &arguments.run).await?;
    if run.state != RunState::Broken {
        return Err(Error::new(ErrorKind::Invalid, "the run is not broken, so there is nothing to repair")
            .with("run", &run.run_id)
            .with_hint("`lakewright show RUN` tells how far a run is; an unfinished one is finished by the next run")
            .into());
    }
    output.note(&format!("run {} is broken: {}", run.run_id, printable(run.failure.as_deref().unwrap_or_default())));
    let question = "Give the tables that it has committed the state of the newest release, and end it?";
    agree(question, arguments.yes, &output)?;
    let operation = Operation::Repair { run_id: run.run_id.clone() };
    let summary = maintain(&place, &lake, &run.job, operation).await?;
    let done = format!("repaired: run {} has ended, and the job {} can run again", run.run_id, run.job);
    report(&summary, &run.job, &[], &done, &output)
}

/// Takes a table out of the lake.
pub(super) async fn drop_table(invocation: &Invocation, arguments: &DropArgs) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let (lake, output) = (place.lake()?, invocation.output);
    let table = table_name(&arguments.table)?;
    let catalog = open_catalog(&lake).await?;
    let found = catalog.tables.iter().find(|published| published.name == table);
    let found = found.ok_or_else(|| no_such_table(&table, &lake))?;
    if !arguments.force {
        refuse_made(invocation, &place, &found.job, &table.to_string())?;
    }
    agree(&format!("Drop {table} of the job {}?", found.job), arguments.yes, &output)?;
    let operation = Operation::Drop { table: table.to_string(), force: arguments.force };
    let summary = maintain(&place, &lake, &found.job, operation).await?;
    let kept = match found.location.as_str() {
        "" => String::new(),
        location => format!("; its files stay for earlier releases at {}, until a vacuum", printable(location)),
    };
    report(&summary, &found.job, &[], &format!("dropped {table}{kept}"), &output)
}

/// Puts the small files of tables together: one run for each job that has some.
pub(super) async fn optimize(invocation: &Invocation, arguments: &OptimizeArgs) -> Outcome {
    let place = invocation.any_place(arguments.job.as_deref())?;
    let (lake, output) = (place.lake()?, invocation.output);
    let catalog = open_catalog(&lake).await?;
    if catalog.release.is_none() {
        return Err(nothing_published(&lake).into());
    }
    let mut by_job: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in &arguments.tables {
        let name = table_name(name)?;
        let found = catalog.tables.iter().find(|published| published.name == name);
        let found = found.ok_or_else(|| no_such_table(&name, &lake))?;
        by_job.entry(found.job.clone()).or_default().push(name.to_string());
    }
    if arguments.tables.is_empty() {
        by_job.extend(catalog.tables.iter().map(|table| (table.job.clone(), Vec::new())));
    }
    let before = find_release(&lake, AsOf::Release(catalog.release.unwrap_or_default())).await?;
    let mut documents = Vec::new();
    for (job, tables) in by_job {
        let operation = Operation::Optimize { tables, target_bytes: arguments.target_size };
        let summary = maintain(&place, &lake, &job, operation).await?;
        let changes = match summary.release {
            Some(release) => changes_of_job(&before, &find_release(&lake, AsOf::Release(release)).await?, &job)?,
            None => Vec::new(),
        };
        output.result(&optimized_text(&job, &summary, &changes, &before, &output))?;
        documents.push(OptimizeDocument::new(&summary, &job, &changes, &before));
    }
    if output.json { output.document(&documents) } else { Ok(()) }
}

/// Refuses to drop what a model still makes, or what nobody here can tell about.
fn refuse_made(invocation: &Invocation, place: &Place, job: &str, table: &str) -> Outcome {
    let named = |folder: &PathBuf| read_places(folder).name.as_deref() == Some(job);
    let folders = place.project.as_ref().map(Project::job_folders).transpose()?.unwrap_or_default();
    let Some(folder) = folders.into_iter().chain(place.job.clone()).find(named) else {
        return Err(Error::new(ErrorKind::NotFound, "the job that owns the table is not in this project")
            .with("table", table)
            .with("job", job)
            .with_hint("go to its project, which tells whether a model still makes the table, or give --force")
            .into());
    };
    let owner = invocation.job_place(folder.to_str())?;
    let compiled = owner.compile(&owner.planning_engine()?, &[])?;
    match compiled.job.models.iter().find(|model| model.name.to_string() == table) {
        None => Ok(()),
        Some(model) => Err(Error::new(ErrorKind::Conflict, "a model still makes the table")
            .with("table", table)
            .with("file", owner.shown(&folder.join(&model.file)))
            .with_hint("remove the model first, or give --force: the job's next run makes the table again")
            .into()),
    }
}

fn no_such_table(table: &TableName, lake: &Prefix) -> Error {
    Error::new(ErrorKind::NotFound, "the lake has no such table")
        .with("table", table)
        .with("lake", lake.display_location())
        .with_hint("`lakewright tables` lists what the lake has")
}

/// Asks the user; without a terminal `--yes` is the answer.
pub(super) fn agree(question: &str, yes: bool, output: &Output) -> Result<()> {
    if yes {
        return Ok(());
    }
    if output.json || !io::stdin().is_terminal() || !output.stderr_is_terminal {
        return Err(Error::new(ErrorKind::Invalid, "this needs an agreement, and nobody was asked")
            .with_hint("give --yes to agree"));
    }
    output.complain(&format!("{question} [y/N]"));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Error::new(ErrorKind::Unavailable, "cannot read the answer").with_source(error))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::new(ErrorKind::Cancelled, "nothing was changed")),
    }
}

async fn maintain(place: &Place, lake: &Prefix, job: &str, operation: Operation) -> Outcome<RunSummary> {
    let engine = place.engine()?;
    engine.register_store(lake);
    let scheduler = Scheduler::new(lake.clone(), engine.clone(), Arc::new(EmbeddedBackend::new(engine)));
    let run = scheduler.maintain(job, operation, CancellationToken::new(), &|_| {});
    Box::pin(run).await.map_err(Failure::job)
}

fn report(summary: &RunSummary, job: &str, changes: &[TableChange], done: &str, output: &Output) -> Outcome {
    if output.json {
        return output.document(&MaintainDocument::new(summary, job, changes));
    }
    let release = match summary.release {
        Some(release) => format!("published release {release}"),
        None => "nothing changed, so nothing was published".to_owned(),
    };
    output.result(&format!("{done}\n{} (run {})\n", output.style.green(&release), summary.run_id))
}
