//! No text makes the compiler panic or hang: mutated real files, and texts that were made to hurt.

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use proptest::{prelude::*, sample::Index};

use crate::{
    JobFolder, TableName,
    header::split_model,
    manifest::parse_manifest,
    source::compile_source,
    testing::{compile, folder, render},
    text::FileText,
};

/// Every file of the reference job.
static FILES: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../jobs/music");
    let mut files = Vec::new();
    for entry in fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        let inner = if path.is_dir() {
            fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()).collect()
        } else {
            vec![path]
        };
        for path in inner {
            // Data of unit tests is no text of the job.
            if path.is_dir() {
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    files.sort();
    files
});

const NASTY: [&str; 32] = [
    "(",
    ")",
    "'",
    "\"",
    "`",
    ";",
    ",",
    "/*",
    "*/",
    "--",
    "\n",
    "\r\n",
    "\0",
    "\u{feff}",
    "é",
    "🦀",
    "<",
    ">",
    ">>",
    ":",
    ":=",
    "=",
    ".",
    "$$",
    "\\",
    "[",
    "{",
    "}",
    "MODEL (",
    "SELECT ",
    "99999999999999999999",
    "U&'\\",
];

#[derive(Clone, Debug)]
enum Mutation {
    Insert(Index, usize),
    Delete(Index, usize),
    Repeat(Index, usize),
    Swap(Index, Index),
    Truncate(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<Index>(), 0..NASTY.len()).prop_map(|(at, what)| Mutation::Insert(at, what)),
        (any::<Index>(), 1_usize..20).prop_map(|(at, length)| Mutation::Delete(at, length)),
        (any::<Index>(), 1_usize..40).prop_map(|(at, length)| Mutation::Repeat(at, length)),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Mutation::Swap(one, other)),
        any::<Index>().prop_map(Mutation::Truncate),
    ]
}

/// Mutates the characters of a text, or its words and marks.
fn mutate(text: &str, mutations: &[Mutation], by_words: bool) -> String {
    let mut pieces: Vec<String> = Vec::new();
    for c in text.chars() {
        match pieces.last_mut() {
            Some(word) if by_words && c.is_alphanumeric() && word.chars().all(char::is_alphanumeric) => word.push(c),
            _ => pieces.push(c.to_string()),
        }
    }
    for mutation in mutations {
        if pieces.is_empty() {
            break;
        }
        let size = pieces.len();
        match mutation {
            Mutation::Insert(at, what) => pieces.insert(at.index(size), NASTY[*what].to_owned()),
            Mutation::Delete(at, length) => drop(pieces.drain(at.index(size)..(at.index(size) + length).min(size))),
            Mutation::Repeat(at, length) => {
                let part = pieces[at.index(size)..(at.index(size) + length).min(size)].to_vec();
                pieces.splice(at.index(size)..at.index(size), part);
            }
            Mutation::Swap(one, other) => pieces.swap(one.index(size), other.index(size)),
            Mutation::Truncate(at) => pieces.truncate(at.index(size)),
        }
    }
    pieces.concat()
}

/// Reads the text as every kind of file; all findings must be places in it.
fn read_as_everything(text: &str) {
    let folder = folder(&[("x", text)]);
    let file = FileText::new("x", text);
    let name = TableName::new("raw", "events").unwrap();
    let findings = [compile_source(&name, file).1, split_model(file, &["no_gaps"]).1, parse_manifest(file).1];
    for finding in findings.iter().flatten() {
        assert!(text.get(finding.span.clone()).is_some(), "{finding}");
    }
    render(&folder, &findings.concat());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files_are_read_or_refused(
        file in any::<Index>(), mutations in prop::collection::vec(mutation(), 1..8), by_words in any::<bool>(),
    ) {
        let (_, text) = &FILES[file.index(FILES.len())];
        read_as_everything(&mutate(text, &mutations, by_words));
    }

    #[test]
    fn arbitrary_texts_are_read_or_refused(text in "\\PC*", marks in prop::collection::vec(0..NASTY.len(), 0..40)) {
        let marks: String = marks.iter().map(|mark| NASTY[*mark]).collect();
        read_as_everything(&format!("CREATE EXTERNAL TABLE raw.events ({marks}{text}"));
        read_as_everything(&format!("MODEL ({marks}{text}"));
        read_as_everything(&format!("{text}{marks}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_job_with_a_mutated_file_is_compiled_or_refused(
        file in any::<Index>(), mutations in prop::collection::vec(mutation(), 1..4), by_words in any::<bool>(),
    ) {
        let (path, text) = &FILES[file.index(FILES.len())];
        let is_needed = |other: &str| other.starts_with("raw/") || other.starts_with("staging/") || other == "job.toml";
        let mut files: BTreeMap<String, String> = FILES.iter().filter(|(other, _)| is_needed(other)).cloned().collect();
        files.insert(path.clone(), mutate(text, &mutations, by_words));
        let folder = JobFolder { files };
        if let Err(failed) = compile(&folder) {
            prop_assert!(!failed.0.is_empty());
            render(&folder, &failed.0);
        }
    }
}

#[test]
fn huge_and_hostile_texts_end_in_findings() {
    const LENGTH: usize = 8_000;
    let beginnings = [
        "",
        "CREATE EXTERNAL TABLE raw.events (a ",
        "CREATE EXTERNAL TABLE raw.events (a INT) ",
        "MODEL (",
        "MODEL (expect (a (",
    ];
    let repeated = [
        "(",
        ")",
        "[",
        "{",
        "<",
        "STRUCT<a ",
        "ARRAY<",
        "a INT, ",
        "a INT a, ",
        "/*",
        "'",
        "\"",
        "-- \n",
        "\0",
        "\n",
        " ",
        "é",
        "kind FUL, ",
        "LOCATION 'x' ",
        "OPTIONS (a b) ",
        ";",
        "a = {",
        "[a]\n",
        "a.",
        "1",
        "- ",
        "MODEL (",
    ];
    for beginning in beginnings {
        for part in repeated {
            read_as_everything(&format!("{beginning}{}", part.repeat(LENGTH / part.len())));
        }
    }
}

#[test]
fn very_many_parentheses_are_refused() {
    let deep = "(".repeat(1 << 17);
    for path in ["raw/events.sql", "z/a.sql", "analyses/a.sql", "job.toml"] {
        let folder = folder(&[("z/ok.sql", "SELECT 1 AS a"), (path, &deep)]);
        let findings = compile(&folder).unwrap_err();
        assert!(findings.0.iter().any(|finding| finding.file == path), "{findings}");
    }
}
