//! `job.toml`: the job's name, its default prefixes and its parameters.
//!
//! Data flow: the file's text -> **[`parse_manifest`]** -> [`Manifest`], then with `--param` -> **[`Manifest::params`]**.
//!
//! Invariant: every key is known or has a diagnostic at its place.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    Diagnostic, Param, ParamType, ParamValue,
    params::{finite, parse_value},
    sql_type::same_name,
    suggest::did_you_mean,
    text::FileText,
};

/// Parameters that every run has.
pub(crate) const BUILT_IN_PARAMS: [(&str, ParamType); 2] =
    [("run_id", ParamType::Varchar), ("execution_ts", ParamType::Timestamp)];

/// Names that no parameter may take: built in for every run, or for runs over time ranges.
const RESERVED_PARAMS: [&str; 4] = ["run_id", "execution_ts", "start_ts", "end_ts"];

const UNKNOWN_PARAM: &str = "unknown_param";

const KEYS: [&str; 4] = ["name", "raw", "lake", "params"];

type Entry<'a> = (&'a str, Range<usize>, &'a Spanned<DeValue<'a>>);

/// What `job.toml` says.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) raw: Option<String>,
    pub(crate) lake: Option<String>,
    declared: BTreeMap<String, Declared>,
    /// Something is wrong in the file: there may be more parameters than are declared here.
    is_broken: bool,
}

#[derive(Debug)]
struct Declared {
    param_type: ParamType,
    default: Option<ParamValue>,
    span: Range<usize>,
}

/// Reads `job.toml`; what is wrong is left out.
pub(crate) fn parse_manifest(file: FileText<'_>) -> (Manifest, Vec<Diagnostic>) {
    let mut reader = Reader { file, manifest: Manifest::default(), findings: Vec::new() };
    match DeTable::parse(file.text) {
        Ok(table) => reader.read(table.get_ref()),
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            reader.findings.push(file.error("toml", span, format!("job.toml is no TOML: {}", error.message())));
        }
    }
    reader.manifest.is_broken = !reader.findings.is_empty();
    (reader.manifest, reader.findings)
}

struct Reader<'a> {
    file: FileText<'a>,
    manifest: Manifest,
    findings: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn read(&mut self, table: &DeTable<'_>) {
        let mut has_name = false;
        for (key, span, value) in entries(table) {
            match key {
                "name" => {
                    has_name = true;
                    self.manifest.name = self.name(value).unwrap_or_default();
                }
                "raw" => self.manifest.raw = self.prefix(key, value),
                "lake" => self.manifest.lake = self.prefix(key, value),
                "params" => self.params(value),
                _ => {
                    let error = self.file.error("unknown_key", span, format!("job.toml has no key `{key}`"));
                    self.findings.push(error.with_help_if(did_you_mean(key, KEYS)));
                }
            }
        }
        if !has_name {
            let error = self.file.error("missing_key", 0..0, "job.toml does not name the job");
            self.findings.push(error.with_help("add: name = \"my_job\""));
        }
    }

    fn text(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(text.to_string());
        }
        let found = value.get_ref().type_str();
        self.report(value.span(), "type", format!("`{key}` is a text in quotes, not of type {found}"));
        None
    }

    fn name(&mut self, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let name = self.text("name", value)?;
        let first_fits = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let rest_fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if first_fits && name.chars().all(rest_fits) {
            return Some(name);
        }
        let error = self.file.error("invalid_name", value.span(), format!("`{name}` cannot name a job"));
        self.findings.push(error.with_help("it begins with a-z or _ and holds only a-z, 0-9, _ and -"));
        None
    }

    fn prefix(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let prefix = self.text(key, value)?;
        if prefix.trim().is_empty() {
            let error = self.file.error("empty", value.span(), format!("`{key}` is empty"));
            self.findings
                .push(error.with_help("name a directory below the project, or a URL such as s3://bucket/prefix"));
            return None;
        }
        Some(prefix)
    }

    fn params(&mut self, value: &Spanned<DeValue<'_>>) {
        let DeValue::Table(table) = value.get_ref() else {
            self.report(value.span(), "type", "`params` is a table, `[params]`".to_owned());
            return;
        };
        for (name, span, value) in entries(table) {
            if let Some(declared) = self.param(name, &span, value) {
                self.manifest.declared.insert(name.to_owned(), declared);
            }
        }
    }

    fn param(&mut self, name: &str, span: &Range<usize>, value: &Spanned<DeValue<'_>>) -> Option<Declared> {
        self.check_param_name(name, span)?;
        let DeValue::Table(table) = value.get_ref() else {
            let error = self.file.error("type", value.span(), format!("parameter `{name}` does not declare its type"));
            let type_name = natural_type(value.get_ref()).map_or("varchar", ParamType::name);
            let text = self.file.text.get(value.span()).unwrap_or_default();
            let help = format!("write {name} = {{ type = \"{type_name}\", default = {text} }}");
            self.findings.push(error.with_help(help));
            return None;
        };
        let (mut declared_type, mut default) = (None, None);
        for (key, span, value) in entries(table) {
            match key {
                "type" => declared_type = Some(value),
                "default" => default = Some(value),
                _ => {
                    let error = self.file.error("unknown_key", span, format!("a parameter has no key `{key}`"));
                    self.findings.push(error.with_help_if(did_you_mean(key, ["type", "default"])));
                }
            }
        }
        let Some(declared_type) = declared_type else {
            let error =
                self.file.error("missing_key", span.clone(), format!("parameter `{name}` does not declare its type"));
            self.findings.push(error.with_help(format!("add: type = \"..\", one of {}", ParamType::NAMES.join(", "))));
            return None;
        };
        let param_type = self.param_type(declared_type)?;
        let default = match default {
            Some(value) => Some(self.default(name, param_type, value)?),
            None => None,
        };
        Some(Declared { param_type, default, span: span.clone() })
    }

    fn check_param_name(&mut self, name: &str, span: &Range<usize>) -> Option<()> {
        let first_fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !first_fits || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let error = self.file.error("invalid_name", span.clone(), format!("`{name}` cannot name a parameter"));
            self.findings.push(error.with_help("it begins with a letter or _ and holds only letters, digits and _"));
            return None;
        }
        if RESERVED_PARAMS.iter().any(|reserved| same_name(reserved, name)) {
            let message = format!("parameter `{name}` is built in");
            self.report(span.clone(), "reserved_name", message);
            return None;
        }
        if let Some(other) = self.manifest.declared.keys().find(|other| same_name(other, name)) {
            let message = format!("parameters `{other}` and `{name}` differ only in case");
            self.report(span.clone(), "duplicate_name", message);
            return None;
        }
        Some(())
    }

    fn param_type(&mut self, value: &Spanned<DeValue<'_>>) -> Option<ParamType> {
        let name = self.text("type", value)?;
        let found = ParamType::from_name(&name);
        if found.is_none() {
            let error =
                self.file.error("unknown_type", value.span(), format!("a parameter cannot be of type `{name}`"));
            let help = match name.to_ascii_lowercase().as_str() {
                "int" | "integer" | "long" => Some("write bigint".to_owned()),
                "float" | "decimal" | "real" => Some("write double".to_owned()),
                "text" => Some("write varchar".to_owned()),
                "bool" => Some("write boolean".to_owned()),
                _ => did_you_mean(&name, ParamType::NAMES),
            };
            self.findings.push(error.with_help_if(help));
        }
        found
    }

    fn default(&mut self, name: &str, param_type: ParamType, value: &Spanned<DeValue<'_>>) -> Option<ParamValue> {
        let found = toml_value(param_type, value.get_ref());
        if found.is_none() {
            let message = format!("the default of `{name}` is no {}", param_type.name());
            let error = self.file.error("param_value", value.span(), message);
            self.findings.push(error.with_help(format!("expected {}", param_type.expected())));
        }
        found
    }

    fn report(&mut self, span: Range<usize>, code: &'static str, message: String) {
        self.findings.push(self.file.error(code, span, message));
    }
}

/// Keys with their places and values, in the order of the file.
fn entries<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> =
        table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
    entries.sort_by_key(|(_, span, _)| span.start);
    entries
}

fn natural_type(value: &DeValue<'_>) -> Option<ParamType> {
    match value {
        DeValue::String(_) => Some(ParamType::Varchar),
        DeValue::Integer(_) => Some(ParamType::Bigint),
        DeValue::Float(_) => Some(ParamType::Double),
        DeValue::Boolean(_) => Some(ParamType::Boolean),
        DeValue::Datetime(time) if time.time.is_none() => Some(ParamType::Date),
        DeValue::Datetime(_) => Some(ParamType::Timestamp),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn toml_value(param_type: ParamType, value: &DeValue<'_>) -> Option<ParamValue> {
    match (param_type, value) {
        (ParamType::Boolean, DeValue::Boolean(value)) => Some(ParamValue::Boolean(*value)),
        (ParamType::Bigint, DeValue::Integer(value)) => {
            i64::from_str_radix(value.as_str(), value.radix()).ok().map(ParamValue::Bigint)
        }
        (ParamType::Double, DeValue::Float(value)) => value.as_str().parse().ok().and_then(finite),
        (ParamType::Double, DeValue::Integer(value)) if value.radix() == 10 => {
            value.as_str().parse().ok().and_then(finite)
        }
        (ParamType::Varchar, DeValue::String(value)) => Some(ParamValue::Varchar(value.to_string())),
        (ParamType::Date | ParamType::Timestamp, DeValue::String(value)) => parse_value(param_type, value),
        (ParamType::Date | ParamType::Timestamp, DeValue::Datetime(value)) => {
            parse_value(param_type, &value.to_string())
        }
        _ => None,
    }
}

impl Manifest {
    /// The types of all parameters that a query may use, by declared name.
    pub(crate) fn param_types(&self) -> BTreeMap<String, ParamType> {
        let declared = self.declared.iter().map(|(name, declared)| (name.clone(), declared.param_type));
        declared.chain(BUILT_IN_PARAMS.map(|(name, param_type)| (name.to_owned(), param_type))).collect()
    }

    /// Gives every declared parameter its value: the override, else the default.
    pub(crate) fn params(
        &self,
        file: FileText<'_>,
        overrides: &BTreeMap<String, String>,
    ) -> (BTreeMap<String, Param>, Vec<Diagnostic>) {
        let mut findings = Vec::new();
        let mut values = BTreeMap::new();
        for (name, text) in overrides {
            match self.override_value(name, text) {
                Ok((name, value)) => {
                    values.insert(name, value);
                }
                Err(finding) if finding.code == UNKNOWN_PARAM && self.is_broken => {}
                Err(finding) => findings.push(finding),
            }
        }
        let mut params = BTreeMap::new();
        for (name, declared) in &self.declared {
            let Declared { param_type, default, span } = declared;
            if let Some(value) = values.remove(name.as_str()).or_else(|| default.clone()) {
                params.insert(name.clone(), Param { param_type: *param_type, value });
            } else if !overrides.keys().any(|other| same_name(other, name)) {
                let error = file.error("param_value", span.clone(), format!("parameter `{name}` has no value"));
                findings.push(error.with_help(format!("pass --param {name}=.., or give it a default")));
            }
        }
        (params, findings)
    }

    fn override_value(&self, name: &str, text: &str) -> Result<(&str, ParamValue), Diagnostic> {
        let whole = format!("{name}={text}");
        let argument = FileText::new("<--param>", &whole);
        let declared = self.declared.get_key_value(name);
        let declared = declared.or_else(|| self.declared.iter().find(|(declared, _)| same_name(declared, name)));
        let Some((declared_name, Declared { param_type, .. })) = declared else {
            let error = argument.error(UNKNOWN_PARAM, 0..name.len(), format!("the job has no parameter `{name}`"));
            let help = did_you_mean(name, self.declared.keys().map(String::as_str));
            return Err(error.with_help_if(help.or_else(|| Some("declare it in [params] of job.toml".to_owned()))));
        };
        let value = parse_value(*param_type, text).ok_or_else(|| {
            let message = format!("`{text}` is no value for the {} parameter `{declared_name}`", param_type.name());
            let span = name.len() + 1..whole.len();
            argument.error("param_value", span, message).with_help(format!("expected {}", param_type.expected()))
        })?;
        Ok((declared_name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{folder, render};

    fn read(text: &str, overrides: &[(&str, &str)]) -> (Manifest, BTreeMap<String, Param>, String) {
        let file = FileText::new("job.toml", text);
        let (manifest, mut findings) = parse_manifest(file);
        let overrides = overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (params, more) = manifest.params(file, &overrides);
        findings.extend(more);
        (manifest, params, render(&folder(&[("job.toml", text)]), &findings))
    }

    #[test]
    fn every_type_of_parameter_takes_its_default_and_its_override() {
        let text = r#"
            name = "music-2"
            raw = "data/raw"
            lake = "s3://bucket/lake"
            [params]
            flag = { type = "boolean", default = true }
            Count = { type = "BIGINT", default = 0x10 }
            ratio = { type = "double", default = 1 }
            word = { type = "string", default = "x" }
            day = { type = "date", default = 2018-11-01 }
            [params.since]
            type = "timestamp"
            default = 1970-01-01T01:00:00+01:00
        "#;
        let (manifest, params, findings) = read(text, &[("count", "-5"), ("day", "1970-01-02")]);
        assert_eq!(findings, "");
        assert_eq!((manifest.name.as_str(), manifest.raw.as_deref()), ("music-2", Some("data/raw")));
        assert_eq!(manifest.lake.as_deref(), Some("s3://bucket/lake"));
        let values: BTreeMap<&str, &ParamValue> =
            params.iter().map(|(name, param)| (name.as_str(), &param.value)).collect();
        assert_eq!(
            values,
            BTreeMap::from([
                ("Count", &ParamValue::Bigint(-5)),
                ("day", &ParamValue::Date(1)),
                ("flag", &ParamValue::Boolean(true)),
                ("ratio", &ParamValue::Double(1.0)),
                ("since", &ParamValue::Timestamp(0)),
                ("word", &ParamValue::Varchar("x".to_owned())),
            ])
        );
        assert_eq!(manifest.param_types().get("execution_ts"), Some(&ParamType::Timestamp));
    }

    #[test]
    fn overrides_that_do_not_fit_are_told() {
        let text =
            "name = \"a\"\n[params]\nmin_length = { type = \"double\" }\nn = { type = \"bigint\", default = 1 }\n";
        insta::assert_snapshot!(read(text, &[("min_lenght", "1"), ("n", "x"), ("N", "1.5"), ("zzz", "")]).2);
    }

    #[test]
    fn what_is_wrong_in_a_manifest_is_told_at_its_place() {
        let report = |text| read(text, &[("unknown", "1")]).2;
        insta::assert_snapshot!(
            [
                "nam = \"x\"\nraw = 5\nlake = \" \"\nrow = \"x\"\n",
                "name = \"Músic Job\"\n[param]\nx = 1\n",
                "name = \"a\"\nparams = 5\n",
                "name = \"a\"\nname = \"b\"\n",
                "name = \"a\n",
                "name = 5\n",
                "\u{feff}name = \"a\"\r\nfoo = 1\r\n",
                "name = \"a\"\n[params]\nmin_length = 0.0\nn = { type = \"bigint\" }\nrun_id = { type = \"varchar\" }\n\
                 \"a b\" = { type = \"double\" }\nx = { type = \"int\", default = 1, defalt = 2 }\ny = { default = 1 }\n\
                 z = { type = \"double\", default = nan }\nw = { type = \"date\", default = 12:00:00 }\nX2 = { type = \"bigint\", default = 1.0 }\n\
                 x2 = { type = \"bigint\", default = 99999999999999999999 }\nv = { type = \"vchar\" }\nq = { type = \"timestamp\" }\n",
            ]
            .map(report)
            .join("\n")
        );
    }
}
