//! Rejects, and what the reading of sources came to, as text.
//!
//! Data flow: values of the scheduler -> **text** -> [`super::Output`]. Pure.

use std::collections::BTreeMap;

use lakewright_lake::state::{Drift, SourceRead};
use lakewright_scheduler::SourceRejects;

use super::{
    Style,
    grid::{
        Align::{Left, Right},
        Grid,
    },
    number::{count, counted},
    printable,
};

/// Letters of a record's text that are shown.
const TEXT_LETTERS_MAX: usize = 200;
/// Names of fields that are shown.
const NAMES_MAX: usize = 5;

/// Renders rejects, each with its place, its reason and its text.
pub(crate) fn rejects_text(rejects: &[SourceRejects], style: Style) -> String {
    let mut text = String::new();
    for source in rejects {
        let shown = source.rows.len() as u64;
        let of = if shown < source.total { format!(", the first {shown}") } else { String::new() };
        let title = format!("raw.{}: {}{of}", printable(&source.source), counted(source.total, "reject"));
        text.push_str(&format!("{title}\n"));
        for row in &source.rows {
            let reject = &row.reject;
            let column = reject.column.as_ref().map(|column| format!(", column {column}")).unwrap_or_default();
            let place = format!("{}:{}", reject.object, reject.line);
            let why = format!("{}{column}: {}", reject.reason, reject.message);
            let at = format!("(offset {}, run {})", reject.byte_offset, row.run_id);
            text.push_str(&format!("\n{}  {}  {}\n", style.cyan(&printable(&place)), printable(&why), style.dim(&at)));
            if let Some(record) = &reject.record {
                text.push_str(&format!("    {}\n", shortened(record)));
            }
        }
        text.push('\n');
    }
    text
}

fn shortened(record: &str) -> String {
    let mut text = printable(&record.chars().take(TEXT_LETTERS_MAX).collect::<String>());
    if record.chars().nth(TEXT_LETTERS_MAX).is_some() {
        text.push('…');
    }
    text
}

/// Renders what the reading of each source came to; empty if nothing was read.
pub(crate) fn reads_text(reads: &[SourceRead], width: usize, style: Style) -> String {
    if reads.is_empty() {
        return String::new();
    }
    let mut grid = Grid::new([
        ("source", Left),
        ("objects", Right),
        ("records", Right),
        ("rows", Right),
        ("rejects", Right),
        ("left out", Right),
        ("blank lines", Right),
    ]);
    for read in reads {
        grid.push(vec![
            read.source.clone(),
            count(read.objects),
            count(read.tally.records()),
            count(read.tally.rows),
            count(read.tally.rejects),
            count(read.tally.left_out),
            count(read.tally.blanks),
        ]);
    }
    let mut text = format!("\n{}", grid.render(width, style).0);
    for line in reads.iter().flat_map(drift_lines) {
        text.push_str(&format!("{line}\n"));
    }
    text
}

/// Renders what somebody who has not asked should know: records that are no rows, and values that are NULL for that.
pub(crate) fn losses_text(reads: &[SourceRead], style: Style) -> String {
    let mut text = String::new();
    for read in reads {
        let (source, records) = (&read.source, count(read.tally.records()));
        let note = style.yellow("note:");
        if read.tally.rejects > 0 {
            let rejects = count(read.tally.rejects);
            text.push_str(&format!(
                "{note} {source}: {rejects} of {records} records were rejected: `lakewright rejects {source}`\n"
            ));
        }
        if read.tally.left_out > 0 {
            let left_out = count(read.tally.left_out);
            text.push_str(&format!("{note} {source}: {left_out} of {records} records were left out\n"));
        }
        if !read.drift.misfits.is_empty() {
            let misfits = names(&read.drift.misfits);
            text.push_str(&format!("{note} {source}: values that do not fit are NULL: {misfits}\n"));
        }
    }
    text
}

fn drift_lines(read: &SourceRead) -> Vec<String> {
    let Drift { undeclared, misfits, duplicate_keys } = &read.drift;
    let source = &read.source;
    let mut lines = Vec::new();
    if !misfits.is_empty() {
        lines.push(format!("{source}: values that do not fit: {}", names(misfits)));
    }
    if !undeclared.is_empty() {
        lines.push(format!("{source}: fields that are not declared: {}", names(undeclared)));
    }
    if *duplicate_keys > 0 {
        lines.push(format!("{source}: {}", counted(*duplicate_keys, "key that came again")));
    }
    lines
}

/// The most frequent names with their counts.
fn names(counts: &BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<(&String, &u64)> = counts.iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let shown = sorted.iter().take(NAMES_MAX).map(|(name, times)| format!("{} ({})", printable(name), count(**times)));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if sorted.len() > NAMES_MAX {
        text.push_str(&format!(" and {} more", sorted.len() - NAMES_MAX));
    }
    text
}
