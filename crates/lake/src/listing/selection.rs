//! Which keys a location means.

use globset::{GlobBuilder, GlobMatcher};
use lakewright_error::{Error, ErrorKind, Result};

/// A location taken apart: the parts that it spells out, and the pattern after them.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    base: String,
    /// `None`: the base itself, or everything below it.
    glob: Option<GlobMatcher>,
}

impl Selection {
    pub(super) fn parse(location: &str) -> Result<Self> {
        if location.starts_with('/') || location.contains("://") {
            return Err(Error::new(ErrorKind::Invalid, "the location is not relative to the raw prefix")
                .with_hint("name the raw prefix in job.toml or with --raw, and the rest in LOCATION"));
        }
        // `./a//b/` is `a/b`.
        let parts: Vec<&str> = location.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let spelled_out = parts.iter().take_while(|part| !part.contains(['*', '?', '{'])).count();
        let base = parts.get(..spelled_out).unwrap_or_default().join("/");
        if spelled_out == parts.len() {
            return Ok(Self { base, glob: None });
        }
        // Only `*`, `**`, `?` and braces mean something; brackets are letters like others.
        let pattern: String = parts.join("/").chars().map(literal_bracket).collect();
        let glob = GlobBuilder::new(&pattern).literal_separator(true).backslash_escape(false).build();
        let glob =
            glob.map_err(|source| Error::new(ErrorKind::Invalid, "the location is no glob").with_source(source))?;
        Ok(Self { base, glob: Some(glob.compile_matcher()) })
    }

    /// The parts before the first with a pattern: the prefix, or the object, to list.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Whether the object `key` is meant.
    pub(super) fn selects(&self, key: &str) -> bool {
        let Some(below) = self.below_base(key) else { return false };
        if below.split('/').any(is_hidden) {
            return false;
        }
        match &self.glob {
            None => true,
            Some(glob) => prefixes(key).any(|prefix| glob.is_match(prefix)),
        }
    }

    /// The part of `key` after the base; empty if it is the base itself, `None` if it is not below it.
    fn below_base<'a>(&self, key: &'a str) -> Option<&'a str> {
        if self.base.is_empty() {
            return Some(key);
        }
        let rest = key.strip_prefix(self.base.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }
}

/// Whether a part of a key is not data by Spark's rule.
pub(super) fn is_hidden(part: &str) -> bool {
    part.starts_with('.') || (part.starts_with('_') && !part.contains('='))
}

/// The key and every prefix of it that ends at a `/`, longest first.
fn prefixes(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(key), |prefix| prefix.rsplit_once('/').map(|(above, _)| above))
}

fn literal_bracket(letter: char) -> String {
    match letter {
        '[' => "[[]".to_owned(),
        ']' => "[]]".to_owned(),
        other => other.to_string(),
    }
}
