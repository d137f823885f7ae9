//! `demo`: from nothing to tables and charts in one command.
//!
//! Invariant: run again, it works on the same project; a folder that is no project of its own is left alone.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use lakewright_error::{Error, ErrorKind};

use super::{init::make_project, run, sql, tables};
use crate::{
    args::{DataArgs, DemoArgs, RowFormat, RunArgs, SqlArgs, TablesArgs},
    exit::Outcome,
    place::Invocation,
    project::{JOB_FILE, SETTINGS_FILE},
    render::number::{bytes, counted},
    settings::{absolute_location, clean},
};

/// Small enough to be done in seconds by a program that is built for debugging.
const DATA: DataArgs = DataArgs { events: 8_000, songs: 71, days: 30, seed: 1 };

/// The analyses that are shown.
const ANALYSES: [&str; 2] = ["jobs/music/analyses/top_artists.sql", "jobs/music/analyses/hours_of_day.sql"];

/// Makes a project, runs its job, shows its tables and asks them something.
pub(super) async fn demo(invocation: &Invocation, arguments: &DemoArgs, now: DateTime<Utc>) -> Outcome {
    let output = invocation.output;
    if output.json {
        return Err(Error::new(ErrorKind::Invalid, "demo prints no JSON")
            .with_hint("`lakewright init` and `lakewright run` do, with --json")
            .into());
    }
    let root = clean(&invocation.environment.working_dir.join(&arguments.dir));
    let heading = |text: &str| output.note(&format!("\n{}", output.stderr_style.bold(text)));
    if is_project(&root) {
        heading(&format!("The project in {} is there already", arguments.dir.display()));
    } else {
        heading(&format!("A project in {}", arguments.dir.display()));
        let made = make_project(&root, &DATA)?;
        let objects = counted(made.raw_objects, "raw object");
        output.note(&format!("{objects} of {} and the job `music`", bytes(made.raw_bytes)));
    }
    let inside = inside(invocation, root);

    heading("lakewright run");
    Box::pin(run::run(&inside, &RunArgs::default())).await?;
    heading("lakewright tables");
    tables::tables(&inside, &TablesArgs { job: None, as_of: None, history: None, limit: 0 }).await?;
    for file in ANALYSES {
        heading(&format!("lakewright sql -f {file}"));
        let question = SqlArgs {
            sql: None,
            file: Some(PathBuf::from(file)),
            job: None,
            params: crate::args::ParamArgs::default(),
            format: Some(RowFormat::Table),
            rows: 0,
            as_of: None,
            run: None,
        };
        sql::sql(&inside, &question, now).await?;
    }
    heading("Try next");
    output.note(&format!(
        "cd {}\nlakewright run                        # nothing has changed: nothing is done\n\
         lakewright plan                       # what a run would do, and why\n\
         lakewright sql                        # a shell over the tables\n\
         edit jobs/music/curated/songs.sql     # then `lakewright plan` and `lakewright run`",
        arguments.dir.display()
    ));
    Ok(())
}

/// Whether an earlier demo, or `init`, made the folder.
fn is_project(root: &Path) -> bool {
    root.join(SETTINGS_FILE).is_file() && root.join("jobs/music").join(JOB_FILE).is_file()
}

/// The same command line, as if typed in the project's folder.
fn inside(invocation: &Invocation, root: PathBuf) -> Invocation {
    let mut inside = invocation.clone();
    let outside = &invocation.environment.working_dir;
    let absolute = |location: &mut Option<String>| {
        if let Some(text) = location {
            *text = absolute_location(text, outside);
        }
    };
    absolute(&mut inside.flags.lake);
    absolute(&mut inside.flags.raw);
    inside.flags.spill_dir = inside.flags.spill_dir.map(|dir| outside.join(dir));
    inside.environment.working_dir = root;
    inside
}
