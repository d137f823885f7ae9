//! The settings of one command line: `lakewright.toml` < `LAKEWRIGHT_…` < flags.
//!
//! Data flow: file, environment and flags are layers of one figment -> checked as a whole -> [`Settings`], with the
//! origin of every value for `doctor`. Components (stores, engine) are made from them elsewhere.
//!
//! Invariant: the environment is read here and nowhere else, and everything is checked before anything is done.

mod capacity;
mod machine;
mod reference;
mod scaling;
mod size;

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Format, Toml},
    value::{Dict, Map, Value},
};
use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{S3Settings, s3::DEFAULT_REQUESTS_MAX};
use serde::Deserialize;

use self::size::MemoryLimit;
use crate::{args::Flags, project::SETTINGS_FILE};

pub(crate) use self::{
    capacity::Capacity,
    machine::Machine,
    reference::{DEFINITIONS, settings_page},
    scaling::{MachineRange, Scaling},
    size::parse_bytes,
};

/// What every variable of ours begins with.
const PREFIX: &str = "LAKEWRIGHT_";
/// The least pool that a sort and a join can work in.
const MEMORY_BYTES_MIN: u64 = 16 << 20;
/// More threads than any machine has cores only cost memory.
const THREADS_MAX: usize = 1024;
/// More requests at once than a store's front end takes from one client.
const S3_REQUESTS_MAX: usize = 1024;
/// Share of the machine's memory that queries get unless told.
const DEFAULT_MEMORY: MemoryLimit = MemoryLimit::Percent(70);
/// Size at which spilling fails unless told.
const DEFAULT_SPILL_LIMIT_BYTES: u64 = 100 << 30;
/// Tables up to which a step is for one executor of two.
const DEFAULT_SINGLE_EXECUTOR_LIMIT_BYTES: u64 = 1 << 30;
/// Where a scheduler listens unless told.
const DEFAULT_LISTEN: &str = "127.0.0.1:50040";
/// Warnings and errors unless told.
const DEFAULT_LOG: &str = "warn";

/// What the process was given by its surroundings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    /// Environment variables; those that are not UTF-8 are left out.
    pub(crate) variables: BTreeMap<String, String>,
    /// The working directory.
    pub(crate) working_dir: PathBuf,
    /// The directory for temporary files.
    pub(crate) temp_dir: PathBuf,
}

impl Environment {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: the working directory has gone.
    pub(crate) fn of_process() -> Result<Self> {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let working_dir = std::env::current_dir()
            .map_err(|e| Error::new(ErrorKind::NotFound, "cannot find the working directory").with_source(e))?;
        let variables = std::env::vars_os().filter_map(text).collect();
        Ok(Self { variables, working_dir, temp_dir: std::env::temp_dir() })
    }

    /// Whether colours are unwanted (`NO_COLOR`, or a terminal that says that it is dumb).
    pub(crate) fn no_color(&self) -> bool {
        self.variables.get("NO_COLOR").is_some_and(|value| !value.is_empty())
            || self.variables.get("TERM").is_some_and(|value| value == "dumb")
    }

    /// The file of the shell's history, if the user has a home: `$XDG_STATE_HOME/lakewright/history`.
    pub(crate) fn history_file(&self) -> Option<PathBuf> {
        let absolute = |name: &str| self.variables.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
        Some(state.join("lakewright/history"))
    }
}

/// The keys of `lakewright.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSettings {
    lake: Option<String>,
    raw: Option<String>,
    memory: Option<MemoryLimit>,
    #[serde(default, deserialize_with = "size::threads")]
    threads: Option<usize>,
    spill_dir: Option<PathBuf>,
    #[serde(default, deserialize_with = "size::bytes")]
    spill_limit: Option<u64>,
    s3_region: Option<String>,
    s3_endpoint: Option<String>,
    #[serde(default, deserialize_with = "size::switch")]
    s3_path_style: Option<bool>,
    #[serde(default, deserialize_with = "size::requests")]
    s3_requests: Option<usize>,
    log: Option<String>,
    scheduler: Option<String>,
    token: Option<String>,
    ca: Option<PathBuf>,
    listen: Option<String>,
    certs: Option<PathBuf>,
    token_file: Option<PathBuf>,
    raw_roots: Option<RawRootsText>,
    #[serde(default, deserialize_with = "size::count")]
    runs_at_once: Option<usize>,
    #[serde(default, deserialize_with = "size::count")]
    steps_at_once: Option<usize>,
    #[serde(default, deserialize_with = "size::count")]
    queue_max: Option<usize>,
    #[serde(default, deserialize_with = "size::time")]
    stall_timeout: Option<Duration>,
    fleet: Option<String>,
    fleet_host: Option<String>,
    #[serde(default, deserialize_with = "size::switch")]
    fleet_shares_disk: Option<bool>,
    #[serde(default, deserialize_with = "size::bytes")]
    single_executor_limit: Option<u64>,
    #[serde(default, deserialize_with = "scaling::range")]
    scale: Option<MachineRange>,
    scale_cluster: Option<String>,
    #[serde(default, deserialize_with = "size::time")]
    scale_after: Option<Duration>,
    #[serde(default, deserialize_with = "size::time")]
    scale_idle: Option<Duration>,
    #[serde(default, deserialize_with = "size::time")]
    scale_cooldown: Option<Duration>,
}

/// Locations, as a list or in one text with commas between them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum RawRootsText {
    Text(String),
    List(Vec<String>),
}

impl RawRootsText {
    fn locations(self) -> Vec<String> {
        match self {
            Self::List(locations) => locations,
            Self::Text(text) => {
                text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
            }
        }
    }
}

/// Checked settings.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The lake, absolute, if it was set.
    pub(crate) lake: Option<String>,
    /// The raw prefix, absolute, if it was set.
    pub(crate) raw: Option<String>,
    /// Memory pool of all queries, in bytes.
    pub(crate) memory_bytes: u64,
    /// Threads that compute.
    pub(crate) threads: usize,
    /// Where queries spill.
    pub(crate) spill_dir: PathBuf,
    /// Size at which spilling fails, in bytes.
    pub(crate) spill_limit_bytes: u64,
    /// How to reach S3.
    pub(crate) s3: S3Settings,
    /// Log filter.
    pub(crate) log: String,
    /// The scheduler to talk to, if there is one.
    pub(crate) scheduler: Option<String>,
    /// The token to show it.
    pub(crate) token: Option<Secret>,
    /// The certificates of the authority that has signed the scheduler's.
    pub(crate) ca: Option<PathBuf>,
    /// Where a scheduler listens.
    pub(crate) listen: String,
    /// Folder of a scheduler's certificates.
    pub(crate) certs: PathBuf,
    /// File of a scheduler's tokens.
    pub(crate) token_file: PathBuf,
    /// Where clients of a scheduler may let raw JSON be read, absolute.
    pub(crate) raw_roots: Vec<String>,
    /// How much a scheduler takes on.
    pub(crate) capacity: Capacity,
    /// How a scheduler has its fleet scaled.
    pub(crate) scaling: Scaling,
    /// Where the executors of a fleet join, if there is a fleet.
    pub(crate) fleet: Option<String>,
    /// The name by which other machines of the fleet reach this one.
    pub(crate) fleet_host: Option<String>,
    /// Whether all machines of a fleet see the same directories.
    pub(crate) fleet_shares_disk: bool,
    /// Bytes of tables up to which a step is executed by one executor of two.
    pub(crate) single_executor_limit_bytes: u64,
    /// Every setting with its value and where it comes from, in the order of [`DEFINITIONS`].
    pub(crate) origins: Vec<SettingOrigin>,
    /// Variables that are no settings and look like one, each with the one that may be meant.
    pub(crate) mistyped_variables: Vec<(String, String)>,
}

/// A text that is never shown.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// One setting's value, and who set it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct SettingOrigin {
    /// The key in `lakewright.toml`.
    pub(crate) key: &'static str,
    /// The value as text; empty if there is none.
    pub(crate) value: String,
    /// `default`, a file, a variable or a flag.
    pub(crate) origin: String,
}

/// What settings are made from.
#[derive(Debug)]
pub(crate) struct SettingsInput<'a> {
    /// The surroundings.
    pub(crate) environment: &'a Environment,
    /// The project's root, if there is a project.
    pub(crate) root: Option<&'a Path>,
    /// The flags.
    pub(crate) flags: &'a Flags,
    /// The machine.
    pub(crate) machine: &'a Machine,
}

impl Settings {
    /// Merges and checks all layers.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: a key is not known, or a value does not fit; names the file, variable or flag.
    pub(crate) fn load(input: &SettingsInput<'_>) -> Result<Self> {
        let environment = input.environment;
        let mut figment = Figment::new();
        let file = input.root.map(|root| root.join(SETTINGS_FILE)).filter(|file| file.exists());
        if let Some(file) = &file {
            figment = figment.merge(Toml::file_exact(file));
        }
        let (known, mistyped_variables) = variable_layer(&environment.variables);
        let figment = figment.merge(known).merge(flag_layer(input.flags));
        let raw: RawSettings = figment.extract().map_err(|error| describe(&error, file.as_deref()))?;
        Self::check(raw, &figment, input, mistyped_variables)
    }

    fn check(
        raw: RawSettings,
        figment: &Figment,
        input: &SettingsInput<'_>,
        mistyped_variables: Vec<(String, String)>,
    ) -> Result<Self> {
        let working_dir = input.environment.working_dir.as_path();
        let root = input.root.unwrap_or(working_dir);
        let origin_of = |key: &str| origin_name(figment.find_metadata(key), key);
        // What a flag says is taken from where the user stands, everything else from the project.
        let base = |key: &str| if origin_of(key).starts_with("--") { working_dir } else { root };
        let capacity = Capacity::of(&raw, &origin_of)?;
        let scaling = Scaling::of(&raw, &origin_of)?;
        let memory_bytes = raw.memory.unwrap_or(DEFAULT_MEMORY).bytes(input.machine.memory_bytes);
        if memory_bytes < MEMORY_BYTES_MIN {
            return Err(invalid("memory", &origin_of("memory"), "at least 16MB are needed"));
        }
        let threads = raw.threads.unwrap_or(input.machine.threads);
        if !(1..=THREADS_MAX).contains(&threads) {
            return Err(invalid("threads", &origin_of("threads"), "a number from 1 to 1024 is needed"));
        }
        let s3 = S3Settings {
            region: raw.s3_region,
            endpoint: raw.s3_endpoint,
            path_style: raw.s3_path_style,
            requests_max: raw.s3_requests.unwrap_or(DEFAULT_REQUESTS_MAX),
        };
        if !(1..=S3_REQUESTS_MAX).contains(&s3.requests_max) {
            return Err(invalid("s3_requests", &origin_of("s3_requests"), "a number from 1 to 1024 is needed"));
        }
        let log = raw.log.unwrap_or_else(|| DEFAULT_LOG.to_owned());
        if let Err(error) = log.parse::<tracing_subscriber::filter::Targets>() {
            return Err(invalid("log", &origin_of("log"), "it is no log filter").with_source(error));
        }
        let spill_dir = match &raw.spill_dir {
            Some(dir) => clean(&base("spill_dir").join(dir)),
            None if input.root.is_some() => root.join(".lakewright/spill"),
            None => input.environment.temp_dir.join("lakewright-spill"),
        };
        let in_project = |key: &str, set: &Option<PathBuf>, default: &str| match set {
            Some(path) => clean(&base(key).join(path)),
            None => root.join(default),
        };
        let raw_roots = match raw.raw_roots {
            Some(text) => text.locations().iter().map(|l| absolute_location(l, base("raw_roots"))).collect(),
            None => vec![root.display().to_string()],
        };
        let mut settings = Self {
            scheduler: raw.scheduler.filter(|address| !address.is_empty()),
            token: raw.token.map(Secret),
            ca: raw.ca.as_ref().map(|path| clean(&base("ca").join(path))),
            listen: raw.listen.unwrap_or_else(|| DEFAULT_LISTEN.to_owned()),
            certs: in_project("certs", &raw.certs, ".lakewright/certs"),
            token_file: in_project("token_file", &raw.token_file, ".lakewright/tokens.json"),
            raw_roots,
            capacity,
            scaling,
            fleet: raw.fleet.filter(|address| !address.is_empty()),
            fleet_host: raw.fleet_host.filter(|host| !host.is_empty()),
            fleet_shares_disk: raw.fleet_shares_disk.unwrap_or(false),
            single_executor_limit_bytes: raw.single_executor_limit.unwrap_or(DEFAULT_SINGLE_EXECUTOR_LIMIT_BYTES),
            lake: raw.lake.map(|location| absolute_location(&location, base("lake"))),
            raw: raw.raw.map(|location| absolute_location(&location, base("raw"))),
            memory_bytes,
            threads,
            spill_dir,
            spill_limit_bytes: raw.spill_limit.unwrap_or(DEFAULT_SPILL_LIMIT_BYTES),
            s3,
            log,
            origins: Vec::new(),
            mistyped_variables,
        };
        settings.origins = DEFINITIONS.iter().map(|definition| settings.origin(definition.key, &origin_of)).collect();
        Ok(settings)
    }

    fn origin(&self, key: &'static str, origin_of: &dyn Fn(&str) -> String) -> SettingOrigin {
        SettingOrigin { key, value: self.value_text(key), origin: origin_of(key) }
    }

    fn value_text(&self, key: &str) -> String {
        match key {
            "lake" => self.lake.clone().unwrap_or_default(),
            "raw" => self.raw.clone().unwrap_or_default(),
            "memory" => size::text(self.memory_bytes),
            "threads" => self.threads.to_string(),
            "spill_dir" => self.spill_dir.display().to_string(),
            "spill_limit" => size::text(self.spill_limit_bytes),
            "s3_region" => self.s3.region.clone().unwrap_or_default(),
            "s3_endpoint" => self.s3.endpoint.clone().unwrap_or_default(),
            "s3_path_style" => self.s3.path_style.map(|path_style| path_style.to_string()).unwrap_or_default(),
            "s3_requests" => self.s3.requests_max.to_string(),
            "log" => self.log.clone(),
            "scheduler" => self.scheduler.clone().unwrap_or_default(),
            "token" => self.token.as_ref().map(|_| "(not shown)".to_owned()).unwrap_or_default(),
            "ca" => self.ca.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            "listen" => self.listen.clone(),
            "certs" => self.certs.display().to_string(),
            "token_file" => self.token_file.display().to_string(),
            "raw_roots" => self.raw_roots.join(", "),
            "runs_at_once" | "steps_at_once" | "queue_max" | "stall_timeout" => self.capacity.text(key),
            "fleet" => self.fleet.clone().unwrap_or_default(),
            "fleet_host" => self.fleet_host.clone().unwrap_or_default(),
            "fleet_shares_disk" => self.fleet_shares_disk.to_string(),
            "single_executor_limit" => size::text(self.single_executor_limit_bytes),
            "scale" | "scale_cluster" | "scale_after" | "scale_idle" | "scale_cooldown" => self.scaling.text(key),
            _ => String::new(),
        }
    }
}

/// Makes a location absolute: a relative path is taken from `base`, a URL stays as it is.
pub(crate) fn absolute_location(location: &str, base: &Path) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    clean(&base.join(location)).display().to_string()
}

/// Takes `.` and `..` out of a path without looking at the disk.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                cleaned.pop();
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}

/// One layer of values, all as text.
struct Layer {
    name: &'static str,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name).interpolater(|_, keys| keys.join("."))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

const VARIABLES: &str = "variable";
const FLAGS: &str = "flag";

/// The variables that are settings, and those that look mistyped.
///
/// Others are left alone: tests and services of the same name bring variables of their own.
fn variable_layer(variables: &BTreeMap<String, String>) -> (Layer, Vec<(String, String)>) {
    let mut values = Dict::new();
    let mut mistyped = Vec::new();
    let like = |key: &str, known: &str| strsim::damerau_levenshtein(key, known) <= known.len().div_ceil(4);
    for (name, value) in variables {
        let Some(key) = name.strip_prefix(PREFIX).map(str::to_lowercase) else { continue };
        if DEFINITIONS.iter().any(|definition| definition.key == key) {
            values.insert(key, Value::from(value.as_str()));
        } else if let Some(definition) = DEFINITIONS.iter().find(|definition| like(&key, definition.key)) {
            mistyped.push((name.clone(), format!("{PREFIX}{}", definition.key.to_uppercase())));
        }
    }
    (Layer { name: VARIABLES, values }, mistyped)
}

fn flag_layer(flags: &Flags) -> Layer {
    let spill_dir = flags.spill_dir.as_ref().map(|dir| dir.display().to_string());
    let given = [
        ("lake", flags.lake.clone()),
        ("raw", flags.raw.clone()),
        ("memory", flags.memory.clone()),
        ("threads", flags.threads.clone()),
        ("spill_dir", spill_dir),
        ("log", flags.log.clone()),
        ("scheduler", flags.scheduler.clone()),
        ("fleet", flags.fleet.clone()),
    ];
    let values = given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?)))).collect();
    Layer { name: FLAGS, values }
}

/// Names who set `key`: a file's path, `LAKEWRIGHT_…`, `--…`.
fn origin_name(metadata: Option<&Metadata>, key: &str) -> String {
    match metadata {
        None => "default".to_owned(),
        Some(metadata) if metadata.name == VARIABLES => format!("{PREFIX}{}", key.to_uppercase()),
        Some(metadata) if metadata.name == FLAGS => format!("--{}", key.replace('_', "-")),
        Some(metadata) => metadata.source.as_ref().map_or_else(|| metadata.name.to_string(), ToString::to_string),
    }
}

fn invalid(key: &str, origin: &str, why: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, format!("the setting {key} is wrong: {why}")).with("set by", origin)
}

/// Says what figment found, in the words of the user's file.
fn describe(error: &figment::Error, file: Option<&Path>) -> Error {
    use figment::error::Kind;
    let key = error.path.join(".");
    let described = match &error.kind {
        Kind::UnknownField(name, known) => {
            let message = format!("there is no setting {name}");
            let hint = crate::suggest::closest(name, known.iter().copied()).map_or_else(
                || format!("the settings are {}", known.join(", ")),
                |known| format!("did you mean {known}?"),
            );
            return Error::new(ErrorKind::Invalid, message)
                .with("file", file.map(|file| file.display().to_string()).unwrap_or_default())
                .with_hint(hint);
        }
        Kind::InvalidType(actual, expected) => format!("it is {actual}, and must be {expected}"),
        kind => kind.to_string(),
    };
    let message =
        if key.is_empty() { "cannot read the settings".to_owned() } else { format!("the setting {key} is wrong") };
    let origin = match &error.metadata {
        Some(metadata) => origin_name(Some(metadata), &key),
        None => file.map(|file| file.display().to_string()).unwrap_or_default(),
    };
    Error::new(ErrorKind::Invalid, message).with("set by", origin).with_source(std::io::Error::other(described))
}

#[cfg(test)]
mod tests;
