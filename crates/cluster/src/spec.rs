//! `cluster.toml`: what a cluster is to be.
//!
//! Data flow: the file's text -> [`ClusterSpec::parse`] -> everything else works on a spec that is right.
//!
//! Invariant: whatever can be told wrong without asking AWS is told here, with its key.

use std::collections::BTreeMap;

use lakewright_error::{Error, ErrorKind, Result};
use serde::Deserialize;

use crate::cidr::check_cidr;

/// The commented file that `init` writes.
pub const TEMPLATE: &str = include_str!("template.toml");

/// The release whose nodes have the C library that the program is built for.
const RELEASE_MAJOR_MIN: u32 = 7;
/// Instances of one group.
const COUNT_MAX: u32 = 2000;
/// Types of one group, as EMR takes them.
const TYPES_MAX: usize = 15;
/// EMR's own limit: seven days.
const IDLE_MINUTES_MAX: u32 = 10_080;
/// EMR takes 50 of an instance, and ours are among them.
const TAGS_MAX: usize = 40;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecFile {
    name: String,
    region: String,
    release: String,
    subnet: String,
    #[serde(default)]
    allowed_cidrs: Vec<String>,
    key_pair: Option<String>,
    binary: String,
    idle_timeout_minutes: Option<u32>,
    termination_protection: Option<bool>,
    storage: StorageFile,
    primary: GroupFile,
    core: GroupFile,
    task: Option<GroupFile>,
    #[serde(default)]
    settings: BTreeMap<String, toml::Value>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StorageFile {
    lake: String,
    raw: Vec<String>,
    artifacts: String,
    #[serde(default)]
    jobs: Vec<String>,
    kms_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupFile {
    instance_types: Vec<String>,
    count: Option<u32>,
    count_max: Option<u32>,
    market: Option<Market>,
    disk_gb: Option<u32>,
    price_per_hour: Option<f64>,
}

/// A checked `cluster.toml`.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// What everything is named after: lowercase letters, digits, hyphens.
    pub name: String,
    /// The region of everything but IAM's.
    pub region: String,
    /// EMR's release label.
    pub release: String,
    /// The subnet of all nodes.
    pub subnet: String,
    /// Networks that may reach the scheduler's port.
    pub allowed_cidrs: Vec<String>,
    /// The EC2 key pair to log in with.
    pub key_pair: Option<String>,
    /// The program's file, as it was written.
    pub binary: String,
    /// Minutes without work after which EMR ends the cluster.
    pub idle_timeout_minutes: Option<u32>,
    /// Whether EMR refuses to end it before the protection is taken away.
    pub termination_protection: bool,
    /// The lake.
    pub lake: Location,
    /// Raw data, only read.
    pub raw: Vec<Location>,
    /// Below it the cluster's own folder.
    pub artifacts: Location,
    /// Job folders that steps may read.
    pub jobs: Vec<Location>,
    /// Key of buckets with SSE-KMS.
    pub kms_key: Option<String>,
    /// The scheduler's node.
    pub primary: Group,
    /// Executors that stay.
    pub core: Group,
    /// Executors that come and go.
    pub task: Option<Group>,
    /// Settings of the nodes, by key of `lakewright.toml`.
    pub settings: BTreeMap<String, String>,
    /// The user's tags.
    pub tags: BTreeMap<String, String>,
}

/// Nodes of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Types, the one that is wanted most first.
    pub instance_types: Vec<String>,
    /// How many; of those that are scaled, how many stay.
    pub count: u32,
    /// How many the scheduler may ask for while tasks wait; without it, it leaves them as they are.
    pub count_max: Option<u32>,
    /// How they are paid.
    pub market: Market,
    /// A data disk beside what the type has, in GiB.
    pub disk_gb: Option<u32>,
    /// Dollars an hour of one node, EC2 and EMR, if the user knows.
    pub price_per_hour: Option<f64>,
}

/// How nodes are paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Market {
    /// At the list price; they stay.
    OnDemand,
    /// Cheaper; EC2 takes them away with two minutes' notice.
    Spot,
}

/// A prefix of a bucket: no slash at either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The bucket.
    pub bucket: String,
    /// The prefix, not empty.
    pub prefix: String,
}

impl Location {
    /// Reads `s3://bucket/prefix`.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: it is none, or has no prefix.
    pub fn parse(text: &str, key: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(ErrorKind::Invalid, format!("{text} {why}"))
                .with("key", key)
                .with_hint("write s3://bucket/prefix, with letters, digits and / _ - . = only")
        };
        let rest = text.strip_prefix("s3://").ok_or_else(|| wrong("is no location on S3"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (bucket, prefix) = (bucket.to_owned(), prefix.trim_end_matches('/').to_owned());
        // A whole bucket would give the nodes more than anybody meant.
        if bucket.is_empty() || prefix.is_empty() {
            return Err(wrong("names no prefix of a bucket"));
        }
        let is_bucket = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        let is_prefix = |c: char| c.is_ascii_alphanumeric() || "/_-.=".contains(c);
        if !bucket.chars().all(is_bucket) || !prefix.chars().all(is_prefix) {
            return Err(wrong("has characters that a bucket or prefix must not have here"));
        }
        if prefix.starts_with('/') || prefix.contains("//") {
            return Err(wrong("has an empty folder"));
        }
        Ok(Self { bucket, prefix })
    }

    /// The location of something below.
    #[must_use]
    pub fn join(&self, below: &str) -> Self {
        Self { bucket: self.bucket.clone(), prefix: format!("{}/{below}", self.prefix) }
    }

    fn overlaps(&self, other: &Self) -> bool {
        let below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.bucket == other.bucket && (below(&self.prefix, &other.prefix) || below(&other.prefix, &self.prefix))
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl ClusterSpec {
    /// Reads and checks the text of `cluster.toml`.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: it does not parse, or a value cannot be.
    /// - [`ErrorKind::Unsupported`]: a release or an instance type that the program does not run on.
    pub fn parse(text: &str) -> Result<Self> {
        let file: SpecFile = toml::from_str(text).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the cluster's file does not parse")
                .with_hint("`lakewright cluster init` writes one with all keys and what they mean")
                .with_source(error)
        })?;
        check_name(&file.name)?;
        check_region(&file.region)?;
        check_release(&file.release)?;
        check_id("subnet", &file.subnet, "subnet-")?;
        check_tags(&file.tags)?;
        let allowed_cidrs = file.allowed_cidrs.iter().map(|text| check_cidr(text)).collect::<Result<Vec<_>>>()?;
        let idle = file.idle_timeout_minutes.unwrap_or(60);
        if idle > IDLE_MINUTES_MAX {
            return Err(wrong(
                "idle_timeout_minutes",
                &idle.to_string(),
                "EMR takes at most 10080, seven days; 0 is never",
            ));
        }
        let places = Places::of(&file.storage)?;
        let primary = file.primary.checked("primary")?;
        let core = file.core.checked("core")?;
        let task = file.task.map(|task| task.checked("task")).transpose()?;
        Ok(Self {
            name: file.name,
            region: file.region,
            release: file.release,
            subnet: file.subnet,
            allowed_cidrs,
            key_pair: file.key_pair.filter(|key| !key.is_empty()),
            binary: file.binary,
            idle_timeout_minutes: Some(idle).filter(|minutes| *minutes > 0),
            termination_protection: file.termination_protection.unwrap_or(true),
            lake: places.lake,
            raw: places.raw,
            artifacts: places.artifacts,
            jobs: places.jobs,
            kms_key: file.storage.kms_key,
            primary,
            core,
            task,
            settings: check_settings(&file.settings)?,
            tags: file.tags,
        })
    }

    /// Whether EMR gets instance fleets: some group may be of several types. Else it gets instance groups.
    pub fn has_fleets(&self) -> bool {
        self.groups().iter().any(|(_, group)| group.instance_types.len() > 1)
    }

    /// The groups by EMR's names of their roles.
    pub fn groups(&self) -> Vec<(&'static str, &Group)> {
        let mut groups = vec![("MASTER", &self.primary), ("CORE", &self.core)];
        groups.extend(self.task.as_ref().map(|task| ("TASK", task)));
        groups
    }

    /// The cluster's own folder: the program, logs, what clients need.
    pub fn folder(&self) -> Location {
        self.artifacts.join(&self.name)
    }
}

struct Places {
    lake: Location,
    raw: Vec<Location>,
    artifacts: Location,
    jobs: Vec<Location>,
}

impl Places {
    fn of(file: &StorageFile) -> Result<Self> {
        let list = |texts: &[String], key: &str| {
            texts.iter().map(|text| Location::parse(text, key)).collect::<Result<Vec<_>>>()
        };
        let places = Self {
            lake: Location::parse(&file.lake, "storage.lake")?,
            raw: list(&file.raw, "storage.raw")?,
            artifacts: Location::parse(&file.artifacts, "storage.artifacts")?,
            jobs: list(&file.jobs, "storage.jobs")?,
        };
        if places.raw.is_empty() {
            return Err(wrong("storage.raw", "[]", "name where the raw JSON is"));
        }
        // What may only be read must not lie in what may be written.
        let read = places.raw.iter().chain(&places.jobs);
        for (written, key) in [(&places.lake, "storage.lake"), (&places.artifacts, "storage.artifacts")] {
            if let Some(read) = read.clone().find(|read| read.overlaps(written)) {
                return Err(wrong(key, &written.to_string(), "it overlaps with what nodes may only read")
                    .with("location", read)
                    .with_hint("give each a prefix of its own"));
            }
        }
        if places.lake.overlaps(&places.artifacts) {
            return Err(wrong("storage.artifacts", &file.artifacts, "it overlaps with the lake"));
        }
        Ok(places)
    }
}

impl GroupFile {
    fn checked(self, role: &'static str) -> Result<Group> {
        let key = |name: &str| format!("{role}.{name}");
        if self.instance_types.is_empty() || self.instance_types.len() > TYPES_MAX {
            return Err(wrong(&key("instance_types"), "", "name 1 to 15 types"));
        }
        self.instance_types.iter().try_for_each(|name| check_type(&key("instance_types"), name))?;
        let market = self.market.unwrap_or(Market::OnDemand);
        if market == Market::Spot && role != "task" {
            return Err(wrong(
                &key("market"),
                "spot",
                "only task nodes may go away at any time; the cluster fails with others",
            ));
        }
        let count = match (role, self.count) {
            ("primary", Some(count)) if count != 1 => {
                return Err(wrong(&key("count"), &count.to_string(), "a cluster has one scheduler"));
            }
            ("core", Some(0)) => return Err(wrong(&key("count"), "0", "at least one executor stays")),
            (_, Some(count)) if count > COUNT_MAX => {
                return Err(wrong(&key("count"), &count.to_string(), "at most 2000 nodes"));
            }
            (_, count) => count.unwrap_or(1),
        };
        check_count_max(&key("count_max"), role, count, self.count_max)?;
        if self.disk_gb.is_some_and(|gigabytes| !(10..=16_384).contains(&gigabytes)) {
            return Err(wrong(&key("disk_gb"), "", "a disk has 10 to 16384 GiB"));
        }
        if self.price_per_hour.is_some_and(|price| !price.is_finite() || price < 0.0) {
            return Err(wrong(&key("price_per_hour"), "", "dollars an hour"));
        }
        let Self { instance_types, count_max, disk_gb, price_per_hour, .. } = self;
        Ok(Group { instance_types, count, count_max, market, disk_gb, price_per_hour })
    }
}

impl Group {
    /// How many there are when the cluster has begun. A group that is scaled begins with one at least: EMR makes no empty
    /// one, and the scheduler only changes what is there.
    pub(crate) fn count_at_start(&self) -> u32 {
        if self.count_max.is_some() { self.count.max(1) } else { self.count }
    }
}

fn check_count_max(key: &str, role: &str, count: u32, count_max: Option<u32>) -> Result<()> {
    let Some(count_max) = count_max else { return Ok(()) };
    let shown = count_max.to_string();
    if role != "task" {
        return Err(wrong(key, &shown, "only task nodes come and go"));
    }
    if count_max < count.max(1) || count_max > COUNT_MAX {
        return Err(wrong(key, &shown, "at least `count` and 1, at most 2000 nodes"));
    }
    Ok(())
}

fn wrong(key: &str, value: &str, why: &str) -> Error {
    let error = Error::new(ErrorKind::Invalid, format!("the cluster's file is wrong: {why}")).with("key", key);
    if value.is_empty() { error } else { error.with("value", value) }
}

fn check_name(name: &str) -> Result<()> {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    if starts && name.len() <= 32 && !name.ends_with('-') && name.chars().all(is_fine) {
        return Ok(());
    }
    Err(wrong("name", name, "up to 32 lowercase letters, digits and hyphens, beginning with a letter"))
}

fn check_region(region: &str) -> Result<()> {
    let parts: Vec<&str> = region.split('-').collect();
    let is_word = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase());
    let is_number = |part: &&str| part.len() == 1 && part.chars().all(|c| c.is_ascii_digit());
    match parts.split_last() {
        Some((number, words)) if words.len() >= 2 && words.iter().all(is_word) && is_number(number) => Ok(()),
        _ => Err(wrong("region", region, "a region is written like eu-central-1")),
    }
}

fn check_release(release: &str) -> Result<()> {
    let numbers: Option<Vec<u32>> =
        release.strip_prefix("emr-").map(|text| text.split('.').map_while(|number| number.parse().ok()).collect());
    match numbers.as_deref() {
        Some([major, _, _]) if *major >= RELEASE_MAJOR_MIN => Ok(()),
        Some([_, _, _]) => Err(Error::new(
            ErrorKind::Unsupported,
            "this release's nodes are Amazon Linux 2, whose C library is too old",
        )
        .with("release", release)
        .with_hint("take emr-7.0.0 or newer")),
        _ => Err(wrong("release", release, "a release is written like emr-7.13.0")),
    }
}

fn check_id(key: &str, id: &str, start: &str) -> Result<()> {
    let rest = id.strip_prefix(start).unwrap_or_default();
    if !rest.is_empty() && rest.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(wrong(key, id, &format!("it is written like {start}0123456789abcdef0")))
}

fn check_type(key: &str, name: &str) -> Result<()> {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let (family, size) = name.split_once('.').unwrap_or((name, ""));
    if family.is_empty() || size.is_empty() || !name.chars().all(|c| is_fine(c) || c == '.') {
        return Err(wrong(key, name, "a type is written like r6id.xlarge"));
    }
    // The letters behind the generation: m7g, r6gd, c7gn are Graviton.
    let behind =
        family.trim_start_matches(|c: char| c.is_ascii_lowercase()).trim_start_matches(|c: char| c.is_ascii_digit());
    if behind.starts_with('g') || family == "a1" {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "this type has another processor than the program is built for",
        )
        .with("key", key)
        .with("value", name)
        .with_hint("take a type of x86_64, such as m6i, r6id or c7i"));
    }
    Ok(())
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<()> {
    for (key, value) in tags {
        if key.is_empty() || key.len() > 128 || value.len() > 256 {
            return Err(wrong("tags", key, "a key has 1 to 128 bytes, a value up to 256"));
        }
        if ["aws:", "lakewright:", "for-use-with-amazon-emr"].iter().any(|start| key.starts_with(start)) {
            return Err(wrong("tags", key, "such keys are AWS's or ours"));
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(wrong("tags", &tags.len().to_string(), "at most 40"));
    }
    Ok(())
}

/// Settings as text. Whether lakewright knows them, its own `check` of settings says on the node.
fn check_settings(settings: &BTreeMap<String, toml::Value>) -> Result<BTreeMap<String, String>> {
    let mut checked = BTreeMap::new();
    for (key, value) in settings {
        let own = [
            "lake",
            "raw",
            "raw_roots",
            "fleet",
            "fleet_host",
            "certs",
            "token",
            "token_file",
            "s3_region",
            "listen",
            "scale",
            "scale_cluster",
        ];
        if own.contains(&key.as_str()) {
            return Err(wrong("settings", key, "the cluster sets it itself"));
        }
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            return Err(wrong("settings", key, "a key is written as in lakewright.toml"));
        }
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => value.to_string(),
            _ => return Err(wrong("settings", key, "a text, a number or true and false")),
        };
        if text.chars().any(|c| c.is_control() || c == '"') {
            return Err(wrong("settings", key, "a value has no line breaks and quotes"));
        }
        checked.insert(key.clone(), text);
    }
    Ok(checked)
}

#[cfg(test)]
mod tests;
