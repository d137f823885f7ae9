//! The rejects of a lake's sources, as `rejects` gives them: those of the newest release, or what one run has set aside.
//!
//! Invariant: reads only. Of a run that failed, its reports are what is left of its rejects.

use std::collections::BTreeMap;

use lakewright_error::{Error, ErrorKind, Result};
use lakewright_lake::{
    Prefix, layout, read_snapshot,
    state::{RejectRow, decode_rejects, list_names, newest_release, read_rejects},
};

use crate::run::REJECTS_KIND;

/// The rejects of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRejects {
    /// The source's name without its zone.
    pub source: String,
    /// Rejects that there are.
    pub total: u64,
    /// The first of them, by object and offset.
    pub rows: Vec<RejectRow>,
}

/// Reads the rejects of the newest release, at most `limit` of each source; `source` is a source's name without its zone.
///
/// # Errors
/// - [`ErrorKind::Corrupt`]: a file that the release names has gone, or does not parse.
/// - [`ErrorKind::Unavailable`]: the store did not answer.
pub async fn list_rejects(lake: &Prefix, source: Option<&str>, limit: usize) -> Result<Vec<SourceRejects>> {
    let Some(release) = newest_release(lake).await? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (name, table) in release.tables.iter().filter(|(_, table)| table.kind == REJECTS_KIND) {
        let short = name.strip_prefix(layout::REJECTS_ZONE).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
        if source.is_some_and(|source| source != short) || table.rows == 0 {
            continue;
        }
        let root = lake.child(&layout::table_root(layout::REJECTS_ZONE, short))?;
        let snapshot = read_snapshot(&root, table.version).await?.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "a table that the release names has gone").with("table", name)
        })?;
        let mut rows = Vec::new();
        for file in &snapshot.files {
            rows.extend(read_rejects(&root, &file.path).await?);
        }
        all.push(first_rejects(short, rows, limit));
    }
    Ok(all)
}

/// Reads what one run has set aside, whatever came of it, at most `limit` of each source.
///
/// # Errors
/// As [`list_rejects`].
pub async fn rejects_of_run(
    lake: &Prefix,
    run_id: &str,
    source: Option<&str>,
    limit: usize,
) -> Result<Vec<SourceRejects>> {
    let dir = layout::reports_dir(run_id);
    let mut by_source: BTreeMap<String, Vec<RejectRow>> = BTreeMap::new();
    for name in list_names(lake, &dir).await? {
        let Some((of, file)) = name.split_once('/') else { continue };
        let short = of.rsplit_once('.').map_or(of, |(_, table)| table);
        if !file.ends_with(layout::REPORT_REJECTS) || source.is_some_and(|source| source != short) {
            continue;
        }
        let key = format!("{dir}/{name}");
        if let Some(bytes) = lake.read(&key).await? {
            by_source.entry(short.to_owned()).or_default().extend(decode_rejects(&key, bytes)?);
        }
    }
    Ok(by_source.into_iter().map(|(source, rows)| first_rejects(&source, rows, limit)).collect())
}

/// Rejects in order, each once: several steps may have read the same object.
fn first_rejects(source: &str, mut rows: Vec<RejectRow>, limit: usize) -> SourceRejects {
    rows.sort_by(|a, b| place(a).cmp(&place(b)));
    rows.dedup_by(|a, b| place(a) == place(b));
    let total = rows.len() as u64;
    rows.truncate(limit);
    SourceRejects { source: source.to_owned(), total, rows }
}

fn place(row: &RejectRow) -> (&str, u64) {
    (&row.reject.object, row.reject.byte_offset)
}
