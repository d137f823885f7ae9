//! The options of a source: their names and their values.
//!
//! Invariant: an option has its effect, or is refused; none is ignored.

use std::ops::Range;

use crate::{
    Diagnostic, JsonMode, OnDelete, SourceCompression, SourceMultiLine, SourceOptions,
    sql_type::same_name,
    suggest::did_you_mean,
    text::{FINDINGS_MAX, FileText},
};

const NAMES: [&str; 9] = [
    "mode",
    "columnNameOfCorruptRecord",
    "rescuedDataColumn",
    "max_rejects",
    "max_reject_ratio",
    "multiLine",
    "compression",
    "on_delete",
    "allow_empty",
];

/// Share of rejects among the records above which a run fails, unless the source says another.
const MAX_REJECT_RATIO: f64 = 0.01;

const CORRUPT_RECORD_COLUMN: &str = "_corrupt_record";

/// One option as written.
#[derive(Clone, Debug)]
pub(super) struct RawOption {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value: String,
    pub(super) value_span: Range<usize>,
}

/// What an option's value is worth.
enum Verdict {
    Built,
    /// What it should be.
    Malformed(&'static str),
}

/// The options of one source.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) options: SourceOptions,
    /// Column that holds records that do not fit, if it is declared, and where the options name it.
    pub(super) corrupt_record_column: (String, Option<Range<usize>>),
    /// Column that holds fields that are not declared or do not fit, and where the options name it.
    pub(super) rescued_column: Option<(String, Range<usize>)>,
}

/// Checks the options and fills in the defaults.
pub(super) fn check_options(file: FileText<'_>, written: &[RawOption]) -> (Options, Vec<Diagnostic>) {
    let mut checked = Options {
        options: SourceOptions {
            mode: JsonMode::Permissive,
            compression: SourceCompression::Auto,
            allow_empty: false,
            corrupt_record: None,
            rescued: None,
            multi_line: SourceMultiLine::Auto,
            max_rejects: None,
            max_reject_ratio: MAX_REJECT_RATIO,
            on_delete: OnDelete::Keep,
        },
        corrupt_record_column: (CORRUPT_RECORD_COLUMN.to_owned(), None),
        rescued_column: None,
    };
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for option in written {
        if findings.len() >= FINDINGS_MAX {
            break;
        }
        let Some(name) = NAMES.into_iter().find(|name| same_name(name, &option.key)) else {
            findings.push(unknown(file, option));
            continue;
        };
        if seen.contains(&name) {
            let message = format!("option `{name}` is given twice");
            findings.push(file.error("duplicate_option", option.key_span.clone(), message));
            continue;
        }
        seen.push(name);
        match check_option(&mut checked, name, option) {
            Verdict::Built => {}
            Verdict::Malformed(expected) => {
                let message = format!("'{}' is no value for option `{name}`", option.value);
                let error = file.error("option_value", option.value_span.clone(), message);
                findings.push(error.with_help(format!("expected {expected}")));
            }
        }
    }
    (checked, findings)
}

fn check_option(checked: &mut Options, name: &str, option: &RawOption) -> Verdict {
    let value = option.value.as_str();
    let lower = value.to_ascii_lowercase();
    match (name, lower.as_str()) {
        ("mode", "permissive") => checked.options.mode = JsonMode::Permissive,
        ("mode", "failfast") => checked.options.mode = JsonMode::FailFast,
        ("mode", "dropmalformed") => checked.options.mode = JsonMode::DropMalformed,
        ("mode", _) => return Verdict::Malformed("PERMISSIVE, DROPMALFORMED or FAILFAST"),
        ("columnNameOfCorruptRecord" | "rescuedDataColumn", "") => return Verdict::Malformed("the name of a column"),
        ("columnNameOfCorruptRecord", _) => {
            checked.corrupt_record_column = (value.to_owned(), Some(option.value_span.clone()));
        }
        ("rescuedDataColumn", _) => checked.rescued_column = Some((value.to_owned(), option.value_span.clone())),
        ("max_rejects", count) => {
            checked.options.max_rejects = count.parse().ok();
            if checked.options.max_rejects.is_none() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
                return Verdict::Malformed("a count such as 1000");
            }
        }
        ("max_reject_ratio", ratio) => {
            return match ratio.parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => {
                    checked.options.max_reject_ratio = ratio;
                    Verdict::Built
                }
                _ => Verdict::Malformed("a ratio from 0 to 1, such as 0.01"),
            };
        }
        ("multiLine", "auto") => checked.options.multi_line = SourceMultiLine::Auto,
        ("multiLine", "true") => checked.options.multi_line = SourceMultiLine::True,
        ("multiLine", "false") => checked.options.multi_line = SourceMultiLine::False,
        ("multiLine", _) => return Verdict::Malformed("auto, true or false"),
        ("compression", "auto") => checked.options.compression = SourceCompression::Auto,
        ("compression", "none") => checked.options.compression = SourceCompression::None,
        ("compression", "gz") => checked.options.compression = SourceCompression::Gzip,
        ("compression", "zst") => checked.options.compression = SourceCompression::Zstd,
        ("compression", "gzip") => return Verdict::Malformed("auto, none, gz or zst (gzip is gz)"),
        ("compression", "zstd") => return Verdict::Malformed("auto, none, gz or zst (zstd is zst)"),
        ("compression", _) => return Verdict::Malformed("auto, none, gz or zst"),
        ("on_delete", "keep") => checked.options.on_delete = OnDelete::Keep,
        ("on_delete", "remove") => checked.options.on_delete = OnDelete::Remove,
        ("on_delete", "fail") => checked.options.on_delete = OnDelete::Fail,
        ("on_delete", _) => return Verdict::Malformed("KEEP, REMOVE or FAIL"),
        ("allow_empty", "true") => checked.options.allow_empty = true,
        ("allow_empty", "false") => checked.options.allow_empty = false,
        ("allow_empty", _) => return Verdict::Malformed("true or false"),
        _ => {}
    }
    Verdict::Built
}

fn unknown(file: FileText<'_>, option: &RawOption) -> Diagnostic {
    let error =
        file.error("unknown_option", option.key_span.clone(), format!("a source has no option `{}`", option.key));
    let help = match option.key.to_ascii_lowercase().as_str() {
        "path" => Some("write it as LOCATION '..'".to_owned()),
        "recursivefilelookup" | "recursive" => Some("folders are always read with all that is below them".to_owned()),
        "pathglobfilter" => Some("write the glob in LOCATION".to_owned()),
        _ => did_you_mean(&option.key, NAMES),
    };
    error.with_help_if(help)
}

impl Options {
    /// The options that change rows, with their defaults, in a fixed order.
    pub(super) fn canonical(&self) -> String {
        let mode = match self.options.mode {
            JsonMode::Permissive => "PERMISSIVE",
            JsonMode::DropMalformed => "DROPMALFORMED",
            JsonMode::FailFast => "FAILFAST",
        };
        let compression = match self.options.compression {
            SourceCompression::Auto => "auto",
            SourceCompression::None => "none",
            SourceCompression::Gzip => "gz",
            SourceCompression::Zstd => "zst",
        };
        let on_delete = match self.options.on_delete {
            OnDelete::Keep => "KEEP",
            OnDelete::Remove => "REMOVE",
            OnDelete::Fail => "FAIL",
        };
        let multi_line = match self.options.multi_line {
            SourceMultiLine::Auto => "auto",
            SourceMultiLine::True => "true",
            SourceMultiLine::False => "false",
        };
        let named = |option: &str, column: &Option<String>| {
            let column = column.as_ref().map(|column| column.replace('\'', "''"));
            column.map_or_else(String::new, |column| format!("{option} '{column}', "))
        };
        let corrupt = named("columnNameOfCorruptRecord", &self.options.corrupt_record);
        let rescued = named("rescuedDataColumn", &self.options.rescued);
        format!(
            "{corrupt}{rescued}compression '{compression}', mode '{mode}', multiLine '{multi_line}', on_delete '{on_delete}'"
        )
    }
}
