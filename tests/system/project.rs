//! A project in a folder of its own, and the binary run in it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::requirement;

/// A project that is deleted when it is dropped.
#[derive(Debug)]
pub(crate) struct Project {
    folder: TempDir,
    /// What the binary finds in its environment.
    variables: BTreeMap<&'static str, String>,
}

/// What one command line came to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Project {
    /// A project without files.
    pub(crate) fn empty() -> Self {
        let folder = TempDir::with_prefix("lakewright-test-").expect("a folder can be made");
        Self { folder, variables: BTreeMap::new() }
    }

    /// Adds variables to the environment of the binary.
    pub(crate) fn set_variables(&mut self, variables: Vec<(&'static str, String)>) {
        self.variables.extend(variables);
    }

    /// A project of `init`: the music job, and generated raw data.
    pub(crate) fn music(events: u64, songs: u64, days: u32) -> Self {
        let project = Self::empty();
        let [events, songs, days] = [events, songs, u64::from(days)].map(|number| number.to_string());
        project.succeed(&["init", ".", "--events", &events, "--songs", &songs, "--days", &days, "--seed", "7"]);
        project
    }

    /// A project with one job `test` of the given files (path in the job's folder, text), reading `data/raw`.
    pub(crate) fn job(files: &[(&str, &str)]) -> Self {
        let project = Self::empty();
        project.write("jobs/test/job.toml", "name = \"test\"\nraw = \"data/raw\"\nlake = \"data/lake\"\n");
        for (path, text) in files {
            project.write(&format!("jobs/test/{path}"), text);
        }
        project
    }

    /// The path of a file of the project.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// The lake of a job of this project.
    pub(crate) fn lake(&self) -> PathBuf {
        self.path("data/lake")
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder can be made");
        fs::write(path, text).expect("the file can be written");
    }

    /// The binary with these arguments, in the project's folder, without settings from outside.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(requirement::program());
        command.args(arguments).current_dir(self.folder.path()).env("NO_COLOR", "1").stdin(Stdio::null());
        let settings = [
            "LAKE",
            "RAW",
            "MEMORY",
            "LOG",
            "SCHEDULER",
            "TOKEN",
            "CA",
            "LISTEN",
            "CERTS",
            "TOKEN_FILE",
            "RAW_ROOTS",
            "RUNS_AT_ONCE",
            "STEPS_AT_ONCE",
            "QUEUE_MAX",
            "STALL_TIMEOUT",
            "FLEET",
            "FLEET_HOST",
            "FLEET_SHARES_DISK",
        ];
        for setting in settings {
            command.env_remove(format!("LAKEWRIGHT_{setting}"));
        }
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.envs(&self.variables);
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn lakewright(&self, arguments: &[&str]) -> Answer {
        Answer::of(&mut self.command(arguments))
    }

    /// Starts the binary without waiting for it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
    }

    /// Runs a command that must succeed, to what it printed.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let answer = self.lakewright(arguments);
        assert_eq!(answer.code, Some(0), "{arguments:?}: {answer:?}");
        answer.stdout
    }

    /// Runs a command that must succeed, to its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.succeed(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// The rows of a query, as CSV with a header.
    pub(crate) fn csv(&self, query: &str) -> String {
        self.succeed(&["sql", query, "--format", "csv"])
    }

    /// All rows of all tables, sorted, by table.
    pub(crate) fn contents(&self, tables: &[&str]) -> BTreeMap<String, Vec<String>> {
        let rows = |table: &str| {
            let csv = self.csv(&format!("SELECT * FROM {table}"));
            let mut rows: Vec<String> = csv.lines().skip(1).map(str::to_owned).collect();
            rows.sort();
            rows
        };
        tables.iter().map(|table| ((*table).to_owned(), rows(table))).collect()
    }

    /// All files below the lake, relative, sorted.
    pub(crate) fn lake_files(&self) -> Vec<String> {
        files_below(&self.lake())
    }
}

impl Answer {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().expect("the binary starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Asserts how the command ended, and that it told the user in one clear message.
    ///
    /// The message holds each of `words`; it is short, and no trace of the program's insides.
    pub(crate) fn assert_refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let said = self.stderr.to_lowercase();
        for word in words {
            assert!(said.contains(&word.to_lowercase()), "no `{word}` in {self:?}");
        }
        for insides in ["panicked", "RUST_BACKTRACE", "DataFusionError", "ArrowError", "Internal("] {
            assert!(!self.stderr.contains(insides), "{insides} in {self:?}");
        }
        assert!(self.stderr.lines().count() <= 40, "more than one message: {self:?}");
    }
}

impl Answer {
    /// Asserts that `health` found this wrong.
    pub(crate) fn assert_unhealthy(&self, words: &str) {
        assert_eq!(self.code, Some(3), "{self:?}");
        assert!(self.stdout.contains(words) && self.stdout.contains("fail"), "no `{words}` in {self:?}");
    }

    /// Asserts that `doctor` found this wrong.
    pub(crate) fn assert_failed_check(&self, words: &str) {
        assert_eq!(self.code, Some(3), "{self:?}");
        let failed = self.stdout.lines().any(|line| line.starts_with("fail") && line.contains(words));
        assert!(failed, "no failed check `{words}` in {self:?}");
    }
}

/// All files below `folder`, relative, with `/`, sorted. None if the folder is not there.
pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(relative) = folders.pop() {
        // Files come and go while a run is under way.
        for entry in fs::read_dir(folder.join(&relative)).into_iter().flatten().flatten() {
            let path = relative.join(entry.file_name());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// The steps of a run's or a plan's JSON, by table.
pub(crate) fn steps(json: &Value) -> BTreeMap<&str, &Value> {
    let steps = json["steps"].as_array().unwrap_or_else(|| panic!("no steps in {json}"));
    steps.iter().map(|step| (step["table"].as_str().expect("a step names its table"), step)).collect()
}

/// The tables of the music job.
pub(crate) const MUSIC_TABLES: [&str; 7] = [
    "staging.events",
    "staging.songs",
    "curated.songplays",
    "curated.users",
    "curated.songs",
    "curated.artists",
    "curated.time",
];
