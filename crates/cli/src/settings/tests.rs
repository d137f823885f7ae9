//! Precedence, bases of relative paths, and refusals.

use super::*;

const MACHINE: Machine = Machine { memory_bytes: 10 << 30, limited_by_cgroup: false, threads: 4 };

struct Case {
    root: tempfile::TempDir,
    environment: Environment,
    flags: Flags,
}

impl Case {
    fn new(file: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(SETTINGS_FILE), file).unwrap();
        let environment = Environment {
            working_dir: PathBuf::from("/somewhere/else"),
            temp_dir: "/tmp".into(),
            ..Default::default()
        };
        Self { root, environment, flags: Flags::default() }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn load(&self) -> Result<Settings> {
        Settings::load(&SettingsInput {
            environment: &self.environment,
            root: Some(self.root.path()),
            flags: &self.flags,
            machine: &MACHINE,
        })
    }

    fn in_root(&self, relative: &str) -> String {
        self.root.path().join(relative).display().to_string()
    }
}

fn origin<'a>(settings: &'a Settings, key: &str) -> &'a str {
    settings.origins.iter().find(|origin| origin.key == key).map(|origin| origin.origin.as_str()).unwrap()
}

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let mut case = Case::new("memory = \"1GB\"\nthreads = 2\nlog = \"info\"\n")
        .variable("LAKEWRIGHT_THREADS", "3")
        .variable("LAKEWRIGHT_LOG", "debug");
    case.flags.log = Some("trace".to_owned());
    let settings = case.load().unwrap();
    assert_eq!((settings.memory_bytes, settings.threads, settings.log.as_str()), (1 << 30, 3, "trace"));
    assert_eq!(origin(&settings, "threads"), "LAKEWRIGHT_THREADS");
    assert_eq!(origin(&settings, "log"), "--log");
    assert!(origin(&settings, "memory").ends_with(SETTINGS_FILE), "{}", origin(&settings, "memory"));
    assert_eq!(origin(&settings, "spill_limit"), "default");
}

#[test]
fn without_any_value_the_machine_decides() {
    let settings = Case::new("").load().unwrap();
    assert_eq!((settings.memory_bytes, settings.threads), ((10 << 30) / 100 * 70, 4));
    assert_eq!((settings.lake, settings.raw), (None, None));
}

#[test]
fn relative_paths_are_taken_from_the_project_and_in_flags_from_the_working_directory() {
    let mut case = Case::new("lake = \"a/../lake\"\nspill_dir = \"spill\"\n").variable("LAKEWRIGHT_RAW", "./raw");
    let settings = case.load().unwrap();
    assert_eq!(settings.lake, Some(case.in_root("lake")));
    assert_eq!(settings.raw, Some(case.in_root("raw")));
    assert_eq!(settings.spill_dir.display().to_string(), case.in_root("spill"));
    case.flags.lake = Some("../lake".to_owned());
    case.flags.raw = Some("s3://bucket/raw".to_owned());
    let settings = case.load().unwrap();
    assert_eq!(settings.lake.as_deref(), Some("/somewhere/lake"));
    assert_eq!(settings.raw.as_deref(), Some("s3://bucket/raw"));
}

#[test]
fn an_unknown_key_is_refused_with_a_suggestion() {
    let error = Case::new("memroy = \"1GB\"\n").load().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.message(), "there is no setting memroy");
    assert_eq!(error.hint(), Some("did you mean memory?"));
    assert!(error.to_string().contains(SETTINGS_FILE), "{error}");
}

#[test]
fn a_wrong_value_is_refused_and_names_who_set_it() {
    let set_by = |case: Case| {
        let error = case.load().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.context().iter().find(|(key, _)| *key == "set by").map(|(_, value)| value.clone()).unwrap()
    };
    assert_eq!(set_by(Case::new("").variable("LAKEWRIGHT_MEMORY", "lots")), "LAKEWRIGHT_MEMORY");
    assert_eq!(set_by(Case::new("").variable("LAKEWRIGHT_MEMORY", "1MB")), "LAKEWRIGHT_MEMORY");
    assert_eq!(set_by(Case::new("").variable("LAKEWRIGHT_THREADS", "0")), "LAKEWRIGHT_THREADS");
    assert_eq!(set_by(Case::new("").variable("LAKEWRIGHT_LOG", "loud=quiet")), "LAKEWRIGHT_LOG");
    assert!(set_by(Case::new("threads = \"many\"\n")).ends_with(SETTINGS_FILE));
    assert!(set_by(Case::new("threads = \n")).ends_with(SETTINGS_FILE));
}

#[test]
fn a_mistyped_variable_is_told_and_others_are_left_alone() {
    let case =
        Case::new("").variable("LAKEWRIGHT_PORT_80_TCP", "tcp://10.0.0.1:80").variable("LAKEWRIGHT_MEMROY", "1GB");
    let told = case.load().unwrap().mistyped_variables;
    assert_eq!(told, [("LAKEWRIGHT_MEMROY".to_owned(), "LAKEWRIGHT_MEMORY".to_owned())]);
}

#[test]
fn every_definition_is_a_key_and_every_key_a_definition() {
    let error = Case::new("nothing_like_it = 1\n").load().unwrap_err();
    let keys: Vec<&str> = DEFINITIONS.iter().map(|definition| definition.key).collect();
    assert_eq!(error.hint(), Some(format!("the settings are {}", keys.join(", ")).as_str()));
}

#[test]
fn the_history_lies_in_the_state_directory() {
    let history = |variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Environment { variables, ..Default::default() }.history_file()
    };
    let home = ("HOME", "/users/ada");
    assert_eq!(history(&[home]), Some("/users/ada/.local/state/lakewright/history".into()));
    assert_eq!(history(&[home, ("XDG_STATE_HOME", "/state")]), Some("/state/lakewright/history".into()));
    assert_eq!(history(&[("XDG_STATE_HOME", "relative")]), None);
}
