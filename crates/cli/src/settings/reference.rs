//! The definition of every setting, and the page of the reference that is made from it.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition {
    /// The key in `lakewright.toml`; the variable is `LAKEWRIGHT_` and the key in capitals.
    pub(crate) key: &'static str,
    /// The flag, if there is one.
    pub(crate) flag: Option<&'static str>,
    /// The default in words.
    pub(crate) default: &'static str,
    /// What it sets.
    pub(crate) meaning: &'static str,
}

/// All settings.
pub(crate) const DEFINITIONS: [Definition; 31] = [
    Definition {
        key: "lake",
        flag: Some("--lake"),
        default: "`lake` of `job.toml`",
        meaning: "Where the tables and the run state are: a directory or `s3://bucket/prefix`.",
    },
    Definition {
        key: "raw",
        flag: Some("--raw"),
        default: "`raw` of `job.toml`",
        meaning: "Where the raw JSON is, read only: a directory or `s3://bucket/prefix`.",
    },
    Definition {
        key: "memory",
        flag: Some("--memory"),
        default: "`70%`",
        meaning: "Memory for queries: a size (`256MB`, `2GB`), or a share of the machine's or its cgroup's memory. \
                  At least 16MB. What does not fit is spilled.",
    },
    Definition {
        key: "threads",
        flag: Some("--threads"),
        default: "the cores that this process may use",
        meaning: "Threads that compute.",
    },
    Definition {
        key: "spill_dir",
        flag: Some("--spill-dir"),
        default: "`.lakewright/spill` in the project; without a project, in the directory for temporary files",
        meaning: "Directory for what does not fit into memory.",
    },
    Definition {
        key: "spill_limit",
        flag: None,
        default: "`100GB`",
        meaning: "Size of the spilled data at which a query fails instead of filling the disk.",
    },
    Definition {
        key: "s3_region",
        flag: None,
        default: "`AWS_REGION` or `AWS_DEFAULT_REGION`, else `us-east-1`",
        meaning: "Region of the buckets.",
    },
    Definition {
        key: "s3_endpoint",
        flag: None,
        default: "`AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, else AWS",
        meaning: "URL of another server that speaks S3, such as `http://localhost:9000`.",
    },
    Definition {
        key: "s3_path_style",
        flag: None,
        default: "`true`",
        meaning: "Whether the bucket's name stands in the path of a request (`true`) or in its host (`false`).",
    },
    Definition {
        key: "s3_requests",
        flag: None,
        default: "`64`",
        meaning: "Requests to one bucket at once, 1 to 1024. While the store throttles they are halved, and grow back.",
    },
    Definition {
        key: "log",
        flag: Some("--log"),
        default: "`warn`",
        meaning: "What is logged to stderr: `error`, `warn`, `info`, `debug`, `trace`, or `target=level` pairs.",
    },
    Definition {
        key: "scheduler",
        flag: Some("--scheduler"),
        default: "none: commands work on the lake itself",
        meaning: "The scheduler that `submit`, `runs`, `show`, `watch`, `logs`, `explain`, `cancel`, `retry`, `executors` and `health` \
                  talk to: \
                  `https://host:50040`; `http://` on this machine only. Several with commas: the one that leads is found.",
    },
    Definition {
        key: "token",
        flag: None,
        default: "none",
        meaning: "The token that is shown to the scheduler. Better in the environment than in a file that is shared.",
    },
    Definition {
        key: "ca",
        flag: None,
        default: "`ca.pem` in `certs`, if it is there",
        meaning: "Certificates of the authority that has signed the scheduler's: the `ca.pem` of `lakewright certs`.",
    },
    Definition {
        key: "listen",
        flag: Some("--listen"),
        default: "`127.0.0.1:50040`",
        meaning: "Where `lakewright scheduler` listens.",
    },
    Definition {
        key: "certs",
        flag: None,
        default: "`.lakewright/certs` in the project",
        meaning: "Folder of a scheduler's `server.pem` and `server-key.pem`; `lakewright certs` fills it.",
    },
    Definition {
        key: "token_file",
        flag: None,
        default: "`.lakewright/tokens.json` in the project",
        meaning: "File of the hashes of the tokens that a scheduler lets in.",
    },
    Definition {
        key: "raw_roots",
        flag: None,
        default: "the project's root",
        meaning: "Where clients of a scheduler may let raw JSON be read, besides `raw`: a list of directories and \
                  `s3://bucket/prefix`, or one text with commas. Everything below them is allowed, nothing else.",
    },
    Definition {
        key: "runs_at_once",
        flag: None,
        default: "`8`",
        meaning: "Runs that a scheduler drives at once. The others wait, and submitters and their jobs take turns; of one \
                  job one run is driven at a time.",
    },
    Definition {
        key: "steps_at_once",
        flag: None,
        default: "`16`",
        meaning: "Steps that a scheduler executes at once, of all runs together; of one run at most 4.",
    },
    Definition {
        key: "queue_max",
        flag: None,
        default: "`1000`",
        meaning: "Runs that may wait for a scheduler. What is submitted beyond is refused (`RESOURCE_EXHAUSTED`) and not \
                  accepted.",
    },
    Definition {
        key: "stall_timeout",
        flag: None,
        default: "`10m`",
        meaning: "How long a step on a fleet may show no progress (`90s`, `10m`, `2h`): then its executors are given up, \
                  and it is executed anew; the third time it fails, and names executors and tasks.",
    },
    Definition {
        key: "fleet",
        flag: Some("--fleet"),
        default: "none: `scheduler` executes steps itself, `executor` looks in the lake",
        meaning: "Where the executors of a fleet join: `host:port` with an address of loopback or of a private \
                  interface. `scheduler` listens there and has steps executed by those that have joined; `executor` \
                  joins there. `run` does so if the flag is given.",
    },
    Definition {
        key: "fleet_host",
        flag: None,
        default: "the address that it listens on",
        meaning: "The name or address by which the other machines of a fleet reach this one.",
    },
    Definition {
        key: "fleet_shares_disk",
        flag: None,
        default: "`false`, and true of a fleet on loopback",
        meaning: "Whether all machines of a fleet see the same directories, so that `lake` and `raw` may be some. \
                  Otherwise they must be on S3.",
    },
    Definition {
        key: "single_executor_limit",
        flag: None,
        default: "`1GB`",
        meaning: "Size of the tables that a step reads up to which one executor of two executes it alone, because rows \
                  that go from one to another cost more than the work; of three executors up to half of it, of eleven up \
                  to a tenth. Steps that read raw JSON are always shared. `0` shares all of them.",
    },
    Definition {
        key: "scale",
        flag: Some("--scale"),
        default: "none: a fleet is left as it is",
        meaning: "How many task nodes a scheduler may ask EMR for, `0..10`: up to the second number while tasks wait, down \
                  to the first when they were idle for long. Never a node on which something still runs.",
    },
    Definition {
        key: "scale_cluster",
        flag: None,
        default: "on a node of EMR, its cluster",
        meaning: "EMR's id of the cluster whose task nodes they are.",
    },
    Definition {
        key: "scale_after",
        flag: None,
        default: "`1m`",
        meaning: "How long tasks must have waited without a break before nodes are added.",
    },
    Definition {
        key: "scale_idle",
        flag: None,
        default: "`10m`",
        meaning: "How long nodes must not have been needed before they are taken away.",
    },
    Definition {
        key: "scale_cooldown",
        flag: None,
        default: "`5m`",
        meaning: "Time between two changes of their number.",
    },
];

/// The page `docs/settings.md`.
pub(crate) fn settings_page() -> String {
    let mut page = String::from(PREFACE);
    for Definition { key, flag, default, meaning } in DEFINITIONS {
        let variable = key.to_uppercase();
        let flag = flag.map_or_else(String::new, |flag| format!("`{flag}`"));
        page.push_str(&format!("| `{key}` | `LAKEWRIGHT_{variable}` | {flag} | {default} | {meaning} |\n"));
    }
    page
}

const PREFACE: &str = "# Settings

Made by `lakewright reference settings`; edit `crates/cli/src/settings/reference.rs` instead.

A flag wins over a variable, a variable over `lakewright.toml`, that over `job.toml`. All values are checked before
anything is done; a wrong one ends with exit code 2 and the name of the file, variable or flag. `lakewright doctor`
shows every value and where it comes from.

The project's root is the nearest folder upwards with `lakewright.toml`, else the parent of `jobs/`. A relative path in
a file or a variable is taken from there, one in a flag from the working directory. Sizes are powers of two: `1MB` is
2^20 bytes.

Colours are left out when `NO_COLOR` is set or the output is no terminal. Credentials for S3 are no settings: they come
from the profile that `AWS_PROFILE` names, AWS's own variables, a web identity, or the role of the machine.

| key in `lakewright.toml` | variable | flag | default | meaning |
|---|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_the_generated_one() {
        let page = include_str!("../../../../docs/settings.md");
        assert_eq!(page, settings_page(), "run: cargo run -- reference settings > docs/settings.md");
    }
}
