//! Which models a run works on: `--select` and `--exclude`.
//!
//! Invariant: pure; a pattern that names nothing is an error, so that a slip of the pen never runs less than was meant.

use std::collections::{BTreeMap, BTreeSet};

use lakewright_error::{Error, ErrorKind, Result};

use crate::{Job, TableName, graph::reachable, suggest::closest};

/// Gives the models that `select` names and `exclude` does not; an empty `select` names all of them.
///
/// A pattern is a name (`curated.songs`), a name with `*` (`curated.*`) or a tag (`tag:daily`). A `+` before it adds
/// everything upstream, a `+` after it everything downstream. Case does not matter. An argument may hold several
/// patterns, separated by blanks.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: a pattern matches nothing, or nothing is left.
pub fn select_models(job: &Job, select: &[String], exclude: &[String]) -> Result<BTreeSet<TableName>> {
    let selector = Selector::new(job);
    let patterns = |arguments: &[String]| -> Vec<String> {
        arguments.iter().flat_map(|argument| argument.split_whitespace()).map(str::to_owned).collect()
    };
    let (selected, excluded) = (patterns(select), patterns(exclude));
    let mut models = BTreeSet::new();
    if select.is_empty() {
        models.extend(job.models.iter().map(|model| model.name.clone()));
    }
    for pattern in &selected {
        models.extend(selector.matches(pattern)?);
    }
    for pattern in &excluded {
        for model in selector.matches(pattern)? {
            models.remove(&model);
        }
    }
    if models.is_empty() && !(select.is_empty() && exclude.is_empty()) {
        let error = Error::new(ErrorKind::Invalid, "no model is selected").with("select", select.join(" "));
        return Err(error.with("exclude", exclude.join(" ")).with_hint("see the job's models with `lakewright plan`"));
    }
    Ok(models)
}

struct Selector<'j> {
    job: &'j Job,
    readers: BTreeMap<&'j TableName, Vec<&'j TableName>>,
    inputs: BTreeMap<&'j TableName, Vec<&'j TableName>>,
}

impl<'j> Selector<'j> {
    fn new(job: &'j Job) -> Self {
        let mut readers: BTreeMap<&TableName, Vec<&TableName>> = BTreeMap::new();
        let mut inputs: BTreeMap<&TableName, Vec<&TableName>> = BTreeMap::new();
        for model in &job.models {
            for input in &model.query.reads {
                readers.entry(input).or_default().push(&model.name);
                inputs.entry(&model.name).or_default().push(input);
            }
        }
        Self { job, readers, inputs }
    }

    fn matches(&self, pattern: &str) -> Result<BTreeSet<TableName>> {
        let (with_upstream, core) = pattern.strip_prefix('+').map_or((false, pattern), |core| (true, core));
        let (with_downstream, core) = core.strip_suffix('+').map_or((false, core), |core| (true, core));
        let named = self.named(&core.to_lowercase());
        if named.is_empty() {
            return Err(self.unknown(pattern, core));
        }
        let mut found = named.clone();
        for table in named {
            if with_upstream {
                found.extend(reachable(table, |table| self.inputs.get(table).into_iter().flatten().copied()));
            }
            if with_downstream {
                found.extend(reachable(table, |table| self.readers.get(table).into_iter().flatten().copied()));
            }
        }
        let models: BTreeSet<TableName> =
            found.into_iter().filter(|table| !self.job.sources.contains_key(*table)).cloned().collect();
        if models.is_empty() {
            let error = Error::new(ErrorKind::Invalid, "the pattern names sources, which are not run");
            return Err(error.with("pattern", pattern).with_hint(format!("`{core}+` names all models that read it")));
        }
        Ok(models)
    }

    fn named(&self, core: &str) -> BTreeSet<&'j TableName> {
        let models = self.job.models.iter();
        if let Some(tag) = core.strip_prefix("tag:") {
            let tagged = models.filter(|model| model.tags.iter().any(|found| found.to_lowercase() == tag));
            return tagged.map(|model| &model.name).collect();
        }
        let tables = self.job.sources.keys().chain(models.map(|model| &model.name));
        tables.filter(|table| matches_glob(core, &table.to_string())).collect()
    }

    fn unknown(&self, pattern: &str, core: &str) -> Error {
        let error = Error::new(ErrorKind::Invalid, "the pattern matches no model").with("pattern", pattern);
        let names = self.job.models.iter().map(|model| model.name.to_string());
        let tags = self.job.models.iter().flat_map(|model| model.tags.iter().map(|tag| format!("tag:{tag}")));
        let all: Vec<String> = names.chain(tags).collect();
        let unqualified = self.job.models.iter().find(|model| model.name.table().eq_ignore_ascii_case(core));
        let close = closest(core, all.iter().map(String::as_str)).map(str::to_owned);
        match unqualified.map(|model| model.name.to_string()).or(close) {
            Some(close) => error.with_hint(format!("did you mean `{close}`?")),
            None => error.with_hint("patterns are zone.table, zone.*, tag:name, with + before or after"),
        }
    }
}

/// Whether `*` in the pattern can stand for the rest of the name.
fn matches_glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = pattern.contains('*').then(|| parts.next_back()).flatten() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{compile, folder};

    fn job() -> Job {
        let source = "CREATE EXTERNAL TABLE raw.events (a INT) STORED AS JSON LOCATION 'x'";
        compile(&folder(&[
            ("raw/events.sql", source),
            ("staging/events.sql", "MODEL (tags (Daily));\nSELECT a FROM raw.events"),
            ("staging/other.sql", "SELECT 1 AS a"),
            ("curated/users.sql", "MODEL (tags (daily, big));\nSELECT a FROM staging.events"),
            ("curated/top.sql", "SELECT a FROM curated.users"),
        ]))
        .unwrap()
    }

    fn selected(select: &[&str], exclude: &[&str]) -> String {
        let texts = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>();
        match select_models(&job(), &texts(select), &texts(exclude)) {
            Ok(models) => models.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => format!("{:?}: {error}: {}", error.kind(), error.hint().unwrap_or_default()),
        }
    }

    #[test]
    fn patterns_name_models_and_what_is_up_and_downstream() {
        for (select, exclude, models) in [
            (&[][..], &[][..], "curated.top curated.users staging.events staging.other"),
            (&["Curated.Users"], &[], "curated.users"),
            (&["+curated.users"], &[], "curated.users staging.events"),
            (&["curated.users+"], &[], "curated.top curated.users"),
            (&["+curated.users+"], &[], "curated.top curated.users staging.events"),
            (&["raw.events+"], &[], "curated.top curated.users staging.events"),
            (&["tag:DAILY"], &[], "curated.users staging.events"),
            (&["tag:big+"], &[], "curated.top curated.users"),
            (&["*.events", "curated.t*p"], &[], "curated.top staging.events"),
            (&["curated.top staging.other"], &[], "curated.top staging.other"),
            (&["curated.*"], &["tag:daily"], "curated.top"),
            (&[], &["+curated.users", "staging.other"], "curated.top"),
        ] {
            assert_eq!(selected(select, exclude), models, "{select:?} {exclude:?}");
        }
    }

    #[test]
    fn a_pattern_that_names_no_model_is_refused_with_what_was_meant() {
        for (select, exclude, hint) in [
            (&["curated.usres"][..], &[][..], "did you mean `curated.users`?"),
            (&["users"], &[], "did you mean `curated.users`?"),
            (&["tag:dayly"], &[], "did you mean `tag:Daily`?"),
            (&["nothing.*"], &[], "patterns are zone.table, zone.*, tag:name, with + before or after"),
            (&["raw.events"], &[], "`raw.events+` names all models that read it"),
            (&["curated.top"], &["curated.*"], "see the job's models with `lakewright plan`"),
            (&[], &["curatd.top"], "did you mean `curated.top`?"),
            (&[" "], &[], "see the job's models with `lakewright plan`"),
            (&["+"], &[], "patterns are zone.table, zone.*, tag:name, with + before or after"),
        ] {
            let found = selected(select, exclude);
            assert!(found.starts_with("Invalid: ") && found.ends_with(hint), "{select:?}: {found}");
        }
    }

    #[test]
    fn a_star_stands_for_any_part_of_a_name() {
        for (pattern, name, matches) in [
            ("*", "a.b", true),
            ("a*a", "a", false),
            ("a*b*c", "a.xb.c", true),
            ("", "a", false),
            ("*b", "a.bc", false),
        ] {
            assert_eq!(matches_glob(pattern, name), matches, "{pattern} {name}");
        }
    }
}
