//! Which models a run works on: `--select` and `--exclude`.

use std::collections::BTreeSet;

use lakewright_error::{Error, ErrorKind, Result};

use crate::{Job, TableName};

/// Gives the models that `select` names and `exclude` does not; an empty `select` names all of them.
///
/// A pattern is a name (`curated.songs`), a name with `*` (`curated.*`) or a tag (`tag:daily`). A `+` before it adds
/// everything upstream, a `+` after it everything downstream. Case does not matter.
///
/// # Errors
/// - [`ErrorKind::Invalid`]: a pattern matches nothing, or nothing is left.
pub fn select_models(_job: &Job, _select: &[String], _exclude: &[String]) -> Result<BTreeSet<TableName>> {
    Err(Error::new(ErrorKind::Unsupported, "not supported yet"))
}
