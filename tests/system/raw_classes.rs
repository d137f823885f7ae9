//! Every class of what raw data holds in real life: one source each, and what becomes of its records, in one run.
//!
//! How each value is decoded is tested by the crate `json`, and compression, cuts and changes by the crate `engine`.

use std::{fs, io::Write};

use serde_json::Value;

use crate::project::Project;

/// A source, its raw objects, and what they come to.
struct Class {
    name: &'static str,
    objects: Vec<(&'static str, Vec<u8>)>,
    /// Records, rows, rejects and blank lines.
    counts: [u64; 4],
    /// Values that did not fit, undeclared fields, and keys that came again.
    drift: [u64; 3],
    /// The ids that are rows, in order.
    ids: &'static str,
}

/// No drift.
const NONE: [u64; 3] = [0, 0, 0];

fn class(name: &'static str, text: impl AsRef<[u8]>, counts: [u64; 4], drift: [u64; 3], ids: &'static str) -> Class {
    Class { name, objects: vec![("a.json", text.as_ref().to_vec())], counts, drift, ids }
}

pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    // Stored blocks: what a test needs of gzip without a crate for it.
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    let length = u16::try_from(text.len()).expect("a short text");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&(!length).to_le_bytes());
    bytes.extend_from_slice(text);
    let table = |byte: u32| (0..8).fold(byte, |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 });
    let sum = text.iter().fold(u32::MAX, |sum, byte| (sum >> 8) ^ table((sum ^ u32::from(*byte)) & 0xFF));
    bytes.extend_from_slice(&(!sum).to_le_bytes());
    bytes.extend_from_slice(&u32::from(length).to_le_bytes());
    bytes
}

fn classes() -> Vec<Class> {
    let keys: Vec<String> = (0..100_001).map(|key| format!("\"{key}\":0")).collect();
    let deep = format!("{{\"x\":{}1{}}}\n{{\"id\":1}}", "[".repeat(128), "]".repeat(128));
    let many = format!("{{{}}}\n{{\"id\":1}}", keys.join(","));
    vec![
        class("one_bad_line", "{\"id\":1}\n{\"id\":\n{\"id\":3}\n", [3, 2, 1, 0], NONE, "1,3"),
        class("a_line_cut_after_a_comma", "{\"id\":1,\n\"name\":\"x\"}\n{\"id\":3}\n{}\n", [4, 2, 2, 0], NONE, "3"),
        class(
            "malformed_where_no_column_reads",
            "{\"id\":1,\"x\":[01]}\n{\"id\":2,\"x\":\"\t\"}\n{}\n",
            [3, 1, 2, 0],
            NONE,
            "",
        ),
        class(
            "a_fraction_or_too_much_for_an_integer",
            "{\"id\":1.5}\n{\"id\":9223372036854775808}\n{\"id\":2.0}\n",
            [3, 3, 0, 0],
            [2, 0, 0],
            "2",
        ),
        class(
            "huge_exponents_and_no_numbers",
            "{\"d\":1e999}\n{\"d\":NaN}\n{\"d\":Infinity}\n{\"id\":1}\n",
            [4, 2, 2, 0],
            [1, 0, 0],
            "1",
        ),
        class(
            "decimals_and_times_that_are_not_exact",
            "{\"m\":1.234}\n{\"t\":17}\n{\"m\":1.20,\"t\":\"2018-11-13\",\"id\":1}\n{}\n",
            [4, 4, 0, 0],
            [2, 0, 0],
            "1",
        ),
        class(
            "texts_and_numbers_for_one_another",
            "{\"id\":\"1\"}\n{\"name\":2,\"id\":2}\n",
            [2, 2, 0, 0],
            [1, 0, 0],
            "2",
        ),
        class(
            "keys_that_come_again_or_differ_in_case",
            "{\"ID\":1}\n{\"id\":1,\"id\":2}\n{\"id\":3,\"Id\":9}\n",
            [3, 3, 0, 0],
            [0, 0, 2],
            "1,2,3",
        ),
        class(
            "bytes_that_are_no_text",
            b"\xef\xbb\xbf{\"id\":1}\n{\"name\":\"\xff\"}\n\0\n{\"name\":\"\\ud800\"}\n",
            [4, 1, 3, 0],
            NONE,
            "1",
        ),
        class("deep_nesting", deep, [2, 1, 1, 0], NONE, "1"),
        class("very_many_keys", many, [2, 1, 1, 0], NONE, "1"),
        class("an_array_at_the_top", "[{\"id\":1},\n{\"id\":2}]", [2, 2, 0, 0], NONE, "1,2"),
        class("a_pretty_printed_object", "{\n  \"id\": 1\n}\n", [1, 1, 0, 0], NONE, "1"),
        class(
            "several_objects_on_one_line",
            "{\"id\":1}{\"id\":2}\n{\"id\":3} {\"id\":4}\n{\"id\":5}\n",
            [3, 1, 2, 0],
            NONE,
            "5",
        ),
        class("blank_lines_and_no_newline_at_the_end", "\r\n{\"id\":1}\r\n\n  \n{\"id\":2}", [2, 2, 0, 3], NONE, "1,2"),
        class("columns_that_nobody_declared", "{\"id\":1}\n{\"id\":2,\"late\":1}\n", [2, 2, 0, 0], [0, 1, 0], "1,2"),
    ]
}

/// Classes that take several raw objects.
fn classes_of_objects() -> Vec<Class> {
    let two = [gzip(b"{\"id\":1}\n"), gzip(b"{\"id\":2}\n")].concat();
    let mut cut = gzip(b"{\"id\":2}\n");
    cut.truncate(cut.len() - 3);
    let line = |id: u8| format!("{{\"id\":{id}}}").into_bytes();
    let compressed =
        vec![("two.json.gz", two), ("cut.json.gz", cut), ("empty.gz", Vec::new()), ("plain.gz", b"{}".to_vec())];
    let objects = |name, objects, counts, ids| Class { name, objects, counts, drift: NONE, ids };
    let hidden = vec![("a.json", line(1)), (".b.json", line(2)), ("_c/d.json", line(3)), ("day=1/e.json", line(4))];
    let names =
        vec![("a b#c.json", line(1)), ("x?%20y.json", line(2)), ("ünï/日本.json", line(3)), ("empty.json", Vec::new())];
    vec![
        objects("compressed_objects_whole_and_broken", compressed, [5, 2, 3, 0], "1,2"),
        objects("hidden_files", hidden, [2, 2, 0, 0], "1,4"),
        objects("names_of_any_letters", names, [3, 3, 0, 0], "1,2,3"),
    ]
}

const COLUMNS: &str = "id BIGINT, name VARCHAR, d DOUBLE, m DECIMAL(5,2), t TIMESTAMP";

#[test]
fn every_class_of_raw_data_comes_to_what_it_should() {
    let project = Project::job(&[]);
    let classes: Vec<Class> = classes().into_iter().chain(classes_of_objects()).collect();
    for Class { name, objects, .. } in &classes {
        let source = format!("CREATE EXTERNAL TABLE raw.{name} ({COLUMNS}) STORED AS JSON LOCATION '{name}/';");
        project.write(&format!("jobs/test/raw/{name}.sql"), &source);
        project.write(&format!("jobs/test/staging/{name}.sql"), &format!("SELECT * FROM raw.{name};"));
        for (key, bytes) in objects {
            let path = project.path(&format!("data/raw/{name}/{key}"));
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
            fs::File::create(path).and_then(|mut file| file.write_all(bytes)).expect("a file can be written");
        }
    }
    let run = project.json(&["run"]);
    let sources = run["sources"].as_array().expect("sources");
    for Class { name, counts, drift, ids, .. } in &classes {
        let source = sources.iter().find(|source| source["source"] == format!("raw.{name}")).expect(name);
        let number = |field: &str| source[field].as_u64().expect("a count");
        assert_eq!(["records", "rows", "rejects", "blank_lines"].map(number), *counts, "{name}: {source}");
        let sum = |field: &str| -> u64 {
            source[field].as_object().into_iter().flat_map(|counts| counts.values()).filter_map(Value::as_u64).sum()
        };
        assert_eq!([sum("misfits"), sum("undeclared"), number("duplicate_keys")], *drift, "{name}: {source}");
        let sql = format!("SELECT id FROM staging.{name} WHERE id IS NOT NULL ORDER BY id");
        let rows = project.csv(&sql);
        assert_eq!(rows.lines().skip(1).collect::<Vec<_>>().join(","), *ids, "{name}");
    }
}
