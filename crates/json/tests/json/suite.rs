//! JSONTestSuite, which says what a parser must accept (`y_`), must reject (`n_`), and may do either with (`i_`).
//!
//! Each file is decoded as one value. Where it has no line break it is decoded again as the value of a field on a line.

use std::{fs, path::Path};

use arrow::datatypes::DataType;

use crate::fixture::{column, decode, decode_whole, schema, strict};

/// What becomes of the files that may be either. `docs/raw.md` has the same table.
const EITHER: &[(&str, &str)] = &[
    ("i_number_double_huge_neg_exp.json", "accepted"),
    ("i_number_huge_exp.json", "accepted"),
    ("i_number_neg_int_huge_exp.json", "accepted"),
    ("i_number_pos_double_huge_exp.json", "accepted"),
    ("i_number_real_neg_overflow.json", "accepted"),
    ("i_number_real_pos_overflow.json", "accepted"),
    ("i_number_real_underflow.json", "accepted"),
    ("i_number_too_big_neg_int.json", "accepted"),
    ("i_number_too_big_pos_int.json", "accepted"),
    ("i_number_very_big_negative_int.json", "accepted"),
    ("i_object_key_lone_2nd_surrogate.json", "malformed"),
    ("i_string_1st_surrogate_but_2nd_missing.json", "malformed"),
    ("i_string_1st_valid_surrogate_2nd_invalid.json", "malformed"),
    ("i_string_UTF-16LE_with_BOM.json", "invalid_utf8"),
    ("i_string_UTF-8_invalid_sequence.json", "invalid_utf8"),
    ("i_string_UTF8_surrogate_U+D800.json", "invalid_utf8"),
    ("i_string_incomplete_surrogate_and_escape_valid.json", "malformed"),
    ("i_string_incomplete_surrogate_pair.json", "malformed"),
    ("i_string_incomplete_surrogates_escape_valid.json", "malformed"),
    ("i_string_invalid_lonely_surrogate.json", "malformed"),
    ("i_string_invalid_surrogate.json", "malformed"),
    ("i_string_invalid_utf-8.json", "invalid_utf8"),
    ("i_string_inverted_surrogates_U+1D11E.json", "malformed"),
    ("i_string_iso_latin_1.json", "invalid_utf8"),
    ("i_string_lone_second_surrogate.json", "malformed"),
    ("i_string_lone_utf8_continuation_byte.json", "invalid_utf8"),
    ("i_string_not_in_unicode_range.json", "invalid_utf8"),
    ("i_string_overlong_sequence_2_bytes.json", "invalid_utf8"),
    ("i_string_overlong_sequence_6_bytes.json", "invalid_utf8"),
    ("i_string_overlong_sequence_6_bytes_null.json", "invalid_utf8"),
    ("i_string_truncated-utf-8.json", "invalid_utf8"),
    ("i_string_utf16BE_no_BOM.json", "invalid_utf8"),
    ("i_string_utf16LE_no_BOM.json", "invalid_utf8"),
    ("i_structure_500_nested_arrays.json", "too_deep"),
    ("i_structure_UTF-8_BOM_empty_object.json", "accepted"),
];
/// Ways of not being accepted because of the grammar.
const REFUSED: &[&str] = &["malformed", "invalid_utf8", "too_deep"];

fn files() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/json/suite/test_parsing");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// The reason why a file is refused; `accepted` if it is JSON, and `blank` if nothing is in it.
fn verdict(text: &[u8]) -> &'static str {
    let decoded = decode_whole(&schema(&[("asd", DataType::Utf8)]), strict(), text);
    // An array's elements are records of their own, and may be no objects; a broken array has a fault that says so.
    match decoded.codes().into_iter().find(|code| *code != "not_an_object") {
        None if decoded.report.blanks > 0 => "blank",
        None => "accepted",
        Some(code) => code,
    }
}

fn is_blank(text: &[u8]) -> bool {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii().is_empty()
}

#[test]
fn the_suite_is_whole() {
    let count = |letter: &str| files().iter().filter(|(name, _)| name.starts_with(letter)).count();
    assert_eq!((count("y_"), count("n_"), count("i_")), (95, 188, 35));
}

#[test]
fn what_must_be_accepted_is_and_what_must_be_refused_is() {
    let mut wrong = Vec::new();
    for (name, text) in files() {
        let verdict = verdict(&text);
        let is_right = match &name[..2] {
            "y_" => verdict == "accepted",
            "n_" => REFUSED.contains(&verdict) || (verdict == "blank" && is_blank(&text)),
            _ => EITHER.contains(&(name.as_str(), verdict)),
        };
        if !is_right {
            wrong.push(format!("{name}: {verdict}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_same_holds_for_a_field_of_a_record_whether_it_is_a_column_or_not() {
    let mut wrong = Vec::new();
    for (name, text) in files() {
        if text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) || is_blank(&text) {
            continue;
        }
        // The suite has texts that are JSON in a list, but not alone: those that close what is around them.
        let record = [b"{\"a\":", text.as_slice(), b"}\n"].concat();
        for columns in [column(DataType::Utf8), schema(&[("b", DataType::Utf8)])] {
            let decoded = decode(&columns, strict(), &record);
            let verdict = decoded.codes().first().copied().unwrap_or("accepted");
            let is_right = match &name[..2] {
                "y_" => verdict == "accepted",
                "n_" => REFUSED.contains(&verdict),
                // A byte order mark is only one at the beginning.
                _ if name == "i_structure_UTF-8_BOM_empty_object.json" => verdict == "malformed",
                _ => EITHER.contains(&(name.as_str(), verdict)),
            };
            if !is_right {
                wrong.push(format!("{name}: {verdict}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
