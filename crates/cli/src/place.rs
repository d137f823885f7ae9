//! Where one command works: its project, its job, its settings, and what is made from them.
//!
//! Data flow: arguments + environment -> **[`Place`]** -> the compiled job, the lake, the raw prefix, the engine.
//!
//! Invariant: opening a place reads settings and job files only; stores and the engine are made when a command asks.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use lakewright_cluster::{AwsSettings, profile_credentials};
use lakewright_compiler::{Diagnostic, Job, JobFolder, compile_job};
use lakewright_engine::{Engine, EngineSettings, ProcessDir};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{Prefix, Stores, disk_error};

use crate::{
    args::Flags,
    exit::{Findings, Outcome},
    job_folder::read_job_folder,
    logging,
    project::{JobPlaces, Project, find_job, read_places},
    render::Output,
    settings::{Environment, Machine, Settings, SettingsInput, absolute_location},
};

/// What the directories are called that processes spill to.
const SPILL_DIR: &str = "run";

/// One command line: what it was given, and where it prints.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    /// The surroundings.
    pub(crate) environment: Environment,
    /// The flags of every command.
    pub(crate) flags: Flags,
    /// Where it prints.
    pub(crate) output: Output,
    /// Where its queries spill, once one may.
    pub(crate) spill: SpillDir,
}

/// The directory of this process for what does not fit into memory.
pub(crate) type SpillDir = Arc<OnceLock<ProcessDir>>;

/// Where a command works.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Where it prints.
    pub(crate) output: Output,
    /// Where the user stands.
    pub(crate) working_dir: PathBuf,
    /// A directory that is there.
    pub(crate) temp_dir: PathBuf,
    /// The project, if there is one.
    pub(crate) project: Option<Project>,
    /// The job's folder, if one is meant.
    pub(crate) job: Option<PathBuf>,
    /// Checked settings.
    pub(crate) settings: Settings,
    /// The machine.
    pub(crate) machine: Machine,
    /// Where queries spill, once one may.
    spill: SpillDir,
}

/// A job that compiles.
#[derive(Debug)]
pub(crate) struct CompiledJob {
    /// The job.
    pub(crate) job: Job,
    /// Its files.
    pub(crate) folder: JobFolder,
    /// Its warnings.
    pub(crate) warnings: Findings,
}

impl Invocation {
    /// The place of a command that needs a job.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: there is no such job, or a setting is wrong.
    pub(crate) fn job_place(&self, job: Option<&str>) -> Result<Place> {
        let (project, folder) = find_job(&self.environment.working_dir, job)?;
        self.place(Some(project), Some(folder))
    }

    /// The place of a command that can do without a job and without a project.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: a job was named and there is none of the name, or a setting is wrong.
    pub(crate) fn any_place(&self, job: Option<&str>) -> Result<Place> {
        if job.is_some() {
            return self.job_place(job);
        }
        match find_job(&self.environment.working_dir, None) {
            Ok((project, folder)) => self.place(Some(project), Some(folder)),
            Err(_) => self.place(Project::around(&self.environment.working_dir), None),
        }
    }

    fn place(&self, project: Option<Project>, job: Option<PathBuf>) -> Result<Place> {
        let machine = Machine::of_process();
        let root = project.as_ref().map(|project| project.root.as_path());
        let input = SettingsInput { environment: &self.environment, root, flags: &self.flags, machine: &machine };
        let settings = Settings::load(&input)?;
        logging::start(&settings.log)?;
        let variables = &self.environment.variables;
        let credentials = profile_credentials(AwsSettings {
            variables: variables.clone(),
            home: variables.get("HOME").map(PathBuf::from),
            ..AwsSettings::default()
        });
        // A process has one command line: that the stores are set already is a test's doing.
        let _ = Stores::new(settings.s3.clone()).with_credentials(credentials).set_for_process();
        for (variable, meant) in &settings.mistyped_variables {
            self.output.note(&format!("warning: {variable} is no setting; did you mean {meant}?"));
        }
        let (working_dir, temp_dir) = (self.environment.working_dir.clone(), self.environment.temp_dir.clone());
        let spill = Arc::clone(&self.spill);
        Ok(Place { output: self.output, working_dir, temp_dir, project, job, settings, machine, spill })
    }
}

impl Place {
    /// The job's folder.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: no job is meant.
    pub(crate) fn job_folder(&self) -> Result<&Path> {
        self.job
            .as_deref()
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "no job is named, and the project has not one only"))
    }

    /// A path as the user would type it from where he stands.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.working_dir).unwrap_or(path).display().to_string()
    }

    /// Reads and compiles the job.
    ///
    /// # Errors
    /// What the job's files have wrong.
    pub(crate) fn compile(&self, engine: &Engine, params: &[(String, String)]) -> Outcome<CompiledJob> {
        let path = self.job_folder()?;
        let folder = read_job_folder(path)?;
        let overrides: BTreeMap<String, String> = params.iter().cloned().collect();
        match compile_job(&folder, engine.functions().as_ref(), &overrides) {
            Ok(job) => {
                let warnings = self.findings(&folder, path, job.warnings.clone());
                Ok(CompiledJob { job, folder, warnings })
            }
            Err(diagnostics) => Err(self.findings(&folder, path, diagnostics.0).into()),
        }
    }

    /// Joins diagnostics with the files that they point into.
    fn findings(&self, folder: &JobFolder, path: &Path, diagnostics: Vec<Diagnostic>) -> Findings {
        let named = diagnostics.iter().map(|diagnostic| diagnostic.file.as_str());
        let file = |name: &str| {
            let text = folder.files.get(name).cloned().unwrap_or_default();
            (name.to_owned(), (self.shown(&path.join(name)), text))
        };
        let files = named.map(file).collect();
        Findings { diagnostics, files }
    }

    /// The lake: a setting, else what the job or all jobs of the project say.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: nothing says where the lake is, or the jobs disagree.
    pub(crate) fn lake(&self) -> Result<Prefix> {
        Prefix::open(&self.location("lake", self.settings.lake.clone(), |places| places.lake)?)
    }

    /// The raw prefix: a setting, else what the job says.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: nothing says where the raw data is.
    pub(crate) fn raw_location(&self) -> Result<String> {
        self.location("raw", self.settings.raw.clone(), |places| places.raw)
    }

    /// The raw prefix, which must be there: a run that cannot read it is not accepted.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: nothing says where the raw data is.
    /// - [`ErrorKind::NotFound`]: nothing is there, or a link leads nowhere.
    /// - [`ErrorKind::Unavailable`], [`ErrorKind::Denied`]: the store did not answer, or refused.
    pub(crate) async fn raw(&self) -> Result<Prefix> {
        let raw = Prefix::open(&self.raw_location()?)?;
        if raw.exists().await? {
            return Ok(raw);
        }
        Err(Error::new(ErrorKind::NotFound, "there is no raw data")
            .with("location", raw.display_location())
            .with_hint("set `raw` in job.toml to where the raw JSON is, or give --raw"))
    }

    fn location(&self, key: &str, set: Option<String>, of: impl Fn(JobPlaces) -> Option<String>) -> Result<String> {
        if let Some(location) = set {
            return Ok(location);
        }
        let hint = format!("give --{key} LOCATION, or set `{key}` in lakewright.toml or job.toml");
        let Some(project) = &self.project else {
            return Err(Error::new(ErrorKind::Invalid, format!("nothing says where `{key}` is"))
                .with("folder", self.working_dir.display())
                .with_hint(format!("there is no project here: go to one, or {hint}")));
        };
        let folders = match &self.job {
            Some(folder) => vec![folder.clone()],
            None => project.job_folders()?,
        };
        let mut said: Vec<String> = folders
            .iter()
            .filter_map(|folder| of(read_places(folder)))
            .map(|l| absolute_location(&l, &project.root))
            .collect();
        said.sort_unstable();
        said.dedup();
        match said.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(Error::new(ErrorKind::Invalid, format!("nothing says where `{key}` is")).with_hint(hint)),
            several => {
                Err(Error::new(ErrorKind::Invalid, format!("the project's jobs have several places for `{key}`"))
                    .with("places", several.join(", "))
                    .with_hint(format!("name a job with --job, or {hint}")))
            }
        }
    }

    /// Makes the engine that runs queries.
    ///
    /// # Errors
    /// - [`ErrorKind::Exhausted`], [`ErrorKind::Denied`]: the spill directory cannot be made.
    pub(crate) fn engine(&self) -> Result<Engine> {
        let dir = match self.spill.get() {
            Some(dir) => dir,
            None => {
                let parent = &self.settings.spill_dir;
                let made = ProcessDir::open(parent, SPILL_DIR).map_err(|error| {
                    let error = disk_error(error, "cannot make the spill directory", &parent.display().to_string());
                    error.with_hint("name a directory on a disk with free space that this process may write to")
                })?;
                self.spill.get_or_init(|| made)
            }
        };
        self.engine_spilling_to(dir.path().to_owned())
    }

    /// Makes an engine that only plans: it leaves no directory behind.
    ///
    /// # Errors
    /// As [`Place::engine`].
    pub(crate) fn planning_engine(&self) -> Result<Engine> {
        self.engine_spilling_to(self.temp_dir.clone())
    }

    fn engine_spilling_to(&self, spill_dir: PathBuf) -> Result<Engine> {
        Engine::new(EngineSettings {
            memory_limit_bytes: self.settings.memory_bytes,
            spill_dir,
            spill_limit_bytes: self.settings.spill_limit_bytes,
            target_partitions: self.settings.threads,
        })
    }
}
