//! What nodes are made of: the program, the scripts and units of `deploy/emr`, the cluster's settings.
//!
//! Data flow: the binary and the spec -> [`Artifacts`] -> objects in the cluster's folder -> the bootstrap script on each
//! node, which believes nothing that SHA256SUMS does not name.
//!
//! Invariant: the folder is named by the checksum of its content. A node that joins later gets what the first one got.

use std::{collections::BTreeMap, fmt::Write as _};

use bytes::Bytes;
use lakewright_error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

use crate::spec::{ClusterSpec, Location};

/// The bootstrap action.
const BOOTSTRAP: &str = include_str!("../../../deploy/emr/bootstrap.sh");

/// The files of `deploy/emr/node`.
const NODE_FILES: [(&str, &str); 12] = [
    ("busy-watch", include_str!("../../../deploy/emr/node/busy-watch")),
    ("lakewright-busy.service", include_str!("../../../deploy/emr/node/lakewright-busy.service")),
    ("lakewright-executor.service", include_str!("../../../deploy/emr/node/lakewright-executor.service")),
    ("lakewright-scheduler.service", include_str!("../../../deploy/emr/node/lakewright-scheduler.service")),
    ("lakewright-spot.service", include_str!("../../../deploy/emr/node/lakewright-spot.service")),
    ("logpusher.json", include_str!("../../../deploy/emr/node/logpusher.json")),
    ("logrotate.conf", include_str!("../../../deploy/emr/node/logrotate.conf")),
    ("node-env", include_str!("../../../deploy/emr/node/node-env")),
    ("scheduler-prepare", include_str!("../../../deploy/emr/node/scheduler-prepare")),
    ("shutdown-action", include_str!("../../../deploy/emr/node/shutdown-action")),
    ("spot-watch", include_str!("../../../deploy/emr/node/spot-watch")),
    ("step", include_str!("../../../deploy/emr/node/step")),
];

/// The newest C library of Amazon Linux 2023: 2.34.
const GLIBC_MINOR_MAX: u32 = 34;

/// One file for the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFile {
    /// Its name in the folder.
    pub name: String,
    /// Its content.
    pub content: Bytes,
}

/// Everything that nodes get.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// The files, SHA256SUMS last: it is written when all else is there.
    pub files: Vec<NodeFile>,
    /// SHA-256 of SHA256SUMS, in hexadecimal.
    pub sha256: String,
    folder: Location,
}

impl Artifacts {
    /// Puts together what the nodes of a cluster get.
    ///
    /// `tokens` is the file of the hashes of the tokens that the scheduler is to let in.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: the binary is none, or not for these nodes.
    pub fn new(spec: &ClusterSpec, binary: Bytes, tokens: Option<Bytes>) -> Result<Self> {
        check_binary(&binary).map_err(|why| {
            Error::new(ErrorKind::Invalid, format!("this binary does not run on EMR's nodes: {why}"))
                .with("file", &spec.binary)
                .with_hint("`deploy/build` makes one for x86_64 and a C library of 2.34")
        })?;
        let mut files: BTreeMap<&str, Bytes> =
            NODE_FILES.iter().map(|(name, text)| (*name, Bytes::from_static(text.as_bytes()))).collect();
        files.insert("lakewright", binary);
        files.insert("lakewright.conf", settings_file(spec).into());
        files.extend(tokens.map(|tokens| ("tokens.json", tokens)));
        let mut sums = String::new();
        for (name, content) in &files {
            let _ = writeln!(sums, "{}  {name}", hex(content));
        }
        let sha256 = hex(sums.as_bytes());
        let own = |(name, content): (&str, Bytes)| NodeFile { name: name.to_owned(), content };
        let mut files: Vec<NodeFile> = files.into_iter().map(own).collect();
        files.push(NodeFile { name: "bootstrap.sh".to_owned(), content: Bytes::from_static(BOOTSTRAP.as_bytes()) });
        files.push(NodeFile { name: "SHA256SUMS".to_owned(), content: sums.into() });
        let folder = spec.folder().join(&format!("node-{}", sha256.get(..16).unwrap_or(&sha256)));
        Ok(Self { files, sha256, folder })
    }

    /// Where they are.
    pub fn folder(&self) -> &Location {
        &self.folder
    }

    /// The script and the arguments of the bootstrap action.
    pub(crate) fn bootstrap(&self, region: &str) -> (String, Vec<String>) {
        let script = self.folder.join("bootstrap.sh").to_string();
        let folder = self.folder.to_string();
        let arguments = ["--from", &folder, "--sha256", &self.sha256, "--region", region];
        (script, arguments.map(str::to_owned).to_vec())
    }
}

/// `lakewright.conf`: the environment of the units.
pub(crate) fn settings_file(spec: &ClusterSpec) -> String {
    let raw: Vec<String> = spec.raw.iter().map(ToString::to_string).collect();
    let mut lines = BTreeMap::from([
        ("AWS_REGION".to_owned(), spec.region.clone()),
        ("AWS_DEFAULT_REGION".to_owned(), spec.region.clone()),
        ("CLIENT_FOLDER".to_owned(), spec.folder().join("client").to_string()),
        ("LAKEWRIGHT_CERTS".to_owned(), "/var/lib/lakewright/certs".to_owned()),
        ("LAKEWRIGHT_LAKE".to_owned(), spec.lake.to_string()),
        ("LAKEWRIGHT_RAW".to_owned(), raw.first().cloned().unwrap_or_default()),
        ("LAKEWRIGHT_RAW_ROOTS".to_owned(), raw.join(",")),
        ("LAKEWRIGHT_S3_REGION".to_owned(), spec.region.clone()),
        ("LAKEWRIGHT_TOKEN_FILE".to_owned(), "/var/lib/lakewright/tokens.json".to_owned()),
    ]);
    if let Some(task) = &spec.task
        && let Some(count_max) = task.count_max
    {
        lines.insert("LAKEWRIGHT_SCALE".to_owned(), format!("{}..{count_max}", task.count));
    }
    for (key, value) in &spec.settings {
        lines.insert(format!("LAKEWRIGHT_{}", key.to_uppercase()), value.clone());
    }
    lines.iter().fold(String::new(), |mut text, (key, value)| {
        let _ = writeln!(text, "{key}=\"{value}\"");
        text
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Checks what can be told from the bytes: the format, the processor, the newest version of the C library that is named.
fn check_binary(bytes: &[u8]) -> Result<(), String> {
    if bytes.get(..4) != Some(b"\x7fELF") {
        return Err("it is no program of Linux".to_owned());
    }
    // e_machine of a little-endian ELF header.
    match bytes.get(18..20) {
        Some([0x3e, 0]) => {}
        Some([0xb7, 0]) => return Err("it is for ARM, not for x86_64".to_owned()),
        _ => return Err("it is for another processor than x86_64".to_owned()),
    }
    let newest = glibc_minors(bytes).into_iter().max().unwrap_or(0);
    if newest > GLIBC_MINOR_MAX {
        return Err(format!("it needs glibc 2.{newest}, they have 2.{GLIBC_MINOR_MAX}"));
    }
    Ok(())
}

/// The minors of all `GLIBC_2.<minor>` that stand alone, as names of versions do.
fn glibc_minors(bytes: &[u8]) -> Vec<u32> {
    // Written in two parts, so that this program does not name a version itself.
    let needle = [b"GLIBC".as_slice(), b"_2."].concat();
    let minor_at = |at: usize| {
        let rest = bytes.get(at + needle.len()..)?;
        let digits: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_digit).take(4).collect();
        // 2.2.5 is a version too: the minor is what counts.
        matches!(rest.get(digits.len()), Some(0 | b'.')).then_some(())?;
        std::str::from_utf8(&digits).ok()?.parse().ok()
    };
    memchr::memmem::find_iter(bytes, &needle).filter_map(minor_at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::TEMPLATE;

    fn program(machine: u8, names: &str) -> Bytes {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(18, 0);
        bytes.extend([machine, 0]);
        bytes.extend(names.replace('|', "\0").bytes());
        bytes.into()
    }

    fn spec() -> ClusterSpec {
        ClusterSpec::parse(TEMPLATE).unwrap()
    }

    #[test]
    fn the_folder_is_named_by_what_is_in_it_and_sums_name_every_file_of_the_node() {
        let made = |names: &str| Artifacts::new(&spec(), program(0x3e, names), None).unwrap();
        let (one, same, other) = (made("a"), made("a"), made("b"));
        assert_eq!(one.folder(), same.folder());
        assert_ne!(one.folder(), other.folder());
        assert!(one.folder().to_string().starts_with("s3://my-bucket/lakewright/music/node-"));
        let sums = one.files.last().unwrap();
        assert_eq!(sums.name, "SHA256SUMS");
        assert_eq!(hex(&sums.content), one.sha256);
        let text = String::from_utf8(sums.content.to_vec()).unwrap();
        for (name, _) in NODE_FILES {
            assert!(text.contains(&format!("  {name}\n")), "{name}");
        }
        assert!(text.contains("  lakewright\n") && !text.contains("bootstrap.sh"));
    }

    #[test]
    fn every_file_of_the_node_folder_is_given_to_nodes() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/emr/node");
        let mut there: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        there.sort();
        assert_eq!(there, NODE_FILES.map(|(name, _)| name.to_owned()));
    }

    #[test]
    fn a_binary_for_another_machine_is_refused() {
        for (bytes, why) in [
            (Bytes::from_static(b"#!/bin/sh"), "no program of Linux"),
            (program(0xb7, ""), "ARM"),
            (program(0x3e, "|GLIBC_2.2.5|GLIBC_2.35|"), "glibc 2.35"),
        ] {
            let error = Artifacts::new(&spec(), bytes, None).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(Artifacts::new(&spec(), program(0x3e, "|GLIBC_2.34|GLIBC_2.2.5|x GLIBC_2.99 y"), None).is_ok());
    }

    #[test]
    fn settings_of_the_user_stand_beside_those_of_the_cluster() {
        let text = settings_file(&spec());
        assert!(text.contains("LAKEWRIGHT_LAKE=\"s3://my-bucket/lake\"\n"));
        assert!(text.contains("LAKEWRIGHT_LOG=\"info\"\n"));
        assert!(text.contains("AWS_REGION=\"eu-central-1\"\n"));
        assert!(!text.contains("LAKEWRIGHT_SCALE"), "off unless asked for");
        let scaled = TEMPLATE.replace("count = 0", "count = 0\ncount_max = 8");
        assert!(settings_file(&ClusterSpec::parse(&scaled).unwrap()).contains("LAKEWRIGHT_SCALE=\"0..8\"\n"));
    }
}
