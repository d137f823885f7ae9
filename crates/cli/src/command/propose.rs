//! `init --from`: a job for raw data that is there, with the columns that all of its records have.
//!
//! Data flow: the objects below a prefix -> one profile for each of its folders -> [`crate::proposal`] -> files.
//!
//! Invariant: nothing that is there is overwritten; nothing is written before all raw data has been read.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use lakewright_engine::profile_objects;
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{Prefix, RawObject, list_raw_objects};

use super::init::{SETTINGS, write_file};
use crate::{
    args::InitArgs,
    exit::Outcome,
    place::Invocation,
    project::SETTINGS_FILE,
    proposal::{Proposal, location_of, table_name},
    render::{
        json::InitDocument,
        number::{bytes, counted},
    },
    settings::{absolute_location, clean},
};

/// Proposes a job for the raw data at `from`.
pub(super) async fn propose(invocation: &Invocation, arguments: &InitArgs, from: &str) -> Outcome {
    let place = invocation.any_place(None)?;
    let working_dir = &invocation.environment.working_dir;
    let root = clean(&working_dir.join(&arguments.dir));
    let location = absolute_location(from, working_dir);
    let raw = Prefix::open(&location)?;
    let job = table_name(location.trim_end_matches('/').rsplit('/').next().unwrap_or_default(), &BTreeSet::new());
    let folder = root.join("jobs").join(&job);
    if folder.exists() {
        return Err(Error::new(ErrorKind::Invalid, "there is a job of this name, and nothing is overwritten")
            .with("folder", folder.display())
            .with_hint("move it away, or name another folder for the project: lakewright init DIR --from PREFIX")
            .into());
    }
    let objects = list_raw_objects(&raw, "").await?;
    let mut proposals = Vec::new();
    for source in sources(&objects)? {
        let (profile, tally) = profile_objects(&raw, &source.objects, place.settings.threads).await?;
        if profile.columns().is_empty() {
            invocation.output.note(&format!("warning: {} holds no JSON objects, and is left out", source.location));
            continue;
        }
        let (objects, rejects) = (source.objects.len() as u64, tally.rejects);
        proposals.push(Proposal { table: source.table, location: source.location, objects, rejects, profile });
    }
    if proposals.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "there are no JSON objects below the prefix")
            .with("location", raw.display_location())
            .into());
    }
    let files = write_job(&root, &folder, &job, &raw_of_job(&location, &root), &proposals)?;
    let size_bytes = objects.iter().map(|object| object.size_bytes).sum();
    let document = InitDocument {
        project: root.display().to_string(),
        files: files.len(),
        raw_objects: objects.len() as u64,
        raw_bytes: size_bytes,
    };
    let output = invocation.output;
    if output.json {
        return output.document(&document);
    }
    let mut told = format!(
        "read {} of {}, and proposed the job {job}:\n",
        counted(document.raw_objects, "raw object"),
        bytes(size_bytes)
    );
    for proposal in &proposals {
        let records = counted(proposal.profile.records(), "record");
        let columns = counted(proposal.profile.columns().len() as u64, "column");
        told.push_str(&format!("  raw.{}: {records}, {columns}\n", proposal.table));
    }
    output.result(&format!("{told}\nnext: look at {}, then lakewright run {job}", folder.display()))
}

/// The objects of one source.
struct SourceObjects {
    table: String,
    location: String,
    objects: Vec<RawObject>,
}

/// One source for each folder, and one for the objects beside them.
fn sources(objects: &[RawObject]) -> Result<Vec<SourceObjects>> {
    let mut sources: Vec<SourceObjects> = Vec::new();
    let mut taken = BTreeSet::new();
    let has_folders = objects.iter().any(|object| object.key.contains('/'));
    for object in objects {
        let location = match object.key.split_once('/') {
            Some((folder, _)) => location_of(folder),
            None if !has_folders => "**".to_owned(),
            // What has no dot in its name is a folder.
            None if object.key.contains('.') => "*.*".to_owned(),
            None => {
                return Err(Error::new(ErrorKind::Invalid, "an object lies beside folders, and has no suffix")
                    .with("object", &object.key)
                    .with_hint("move it into a folder, or give it a name such as data.json"));
            }
        };
        if let Some(source) = sources.iter_mut().find(|source| source.location == location) {
            source.objects.push(object.clone());
            continue;
        }
        let folder = object.key.split_once('/').map_or("records", |(folder, _)| folder);
        let table = table_name(folder, &taken);
        taken.insert(table.clone());
        sources.push(SourceObjects { table, location, objects: vec![object.clone()] });
    }
    Ok(sources)
}

/// The raw prefix as `job.toml` has it: relative to the project if it lies in it.
fn raw_of_job(location: &str, root: &Path) -> String {
    let relative = Path::new(location).strip_prefix(root).ok().filter(|path| !path.as_os_str().is_empty());
    relative.map_or_else(|| location.to_owned(), |path| path.display().to_string())
}

fn write_job(root: &Path, folder: &Path, job: &str, raw: &str, proposals: &[Proposal]) -> Result<Vec<PathBuf>> {
    let value = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let manifest = format!("name = {}\nraw = {}\nlake = \"data/lake\"\n", value(job), value(raw));
    let mut files = vec![(folder.join("job.toml"), manifest)];
    for proposal in proposals {
        files.push((folder.join("raw").join(format!("{}.sql", proposal.table)), proposal.source_sql()));
        files.push((folder.join("staging").join(format!("{}.sql", proposal.table)), proposal.model_sql()));
    }
    let settings = root.join(SETTINGS_FILE);
    if !settings.exists() {
        files.push((settings, SETTINGS.to_owned()));
    }
    for (path, text) in &files {
        write_file(path, text)?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}
