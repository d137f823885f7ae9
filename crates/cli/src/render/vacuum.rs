//! What a vacuum deletes, as text and as JSON. Pure.

use lakewright_scheduler::{Garbage, VacuumOptions, Vacuumed};
use serde::Serialize;

use super::{
    Style,
    grid::{
        Align::{Left, Right},
        Grid,
    },
    number::{bytes, count, counted},
};

/// `vacuum`
#[derive(Debug, Serialize)]
pub(crate) struct VacuumDocument {
    lake: String,
    dry_run: bool,
    retain_s: u64,
    oldest_release: Option<u64>,
    releases: u64,
    tables: Vec<TableDocument>,
    files: u64,
    bytes: u64,
    state_objects: u64,
    state_bytes: u64,
    log_objects: u64,
    log_bytes: u64,
    unfinished_runs: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TableDocument {
    table: String,
    files: u64,
    bytes: u64,
}

impl VacuumDocument {
    /// The document of a vacuum.
    pub(crate) fn new(lake: String, options: VacuumOptions, vacuumed: &Vacuumed) -> Self {
        let table = |(table, garbage): (&String, &Garbage)| TableDocument {
            table: table.clone(),
            files: garbage.objects,
            bytes: garbage.bytes,
        };
        let files = vacuumed.files();
        Self {
            lake,
            dry_run: !options.delete,
            retain_s: options.retain.as_secs(),
            oldest_release: vacuumed.oldest_release,
            releases: vacuumed.releases,
            tables: vacuumed.tables.iter().map(table).collect(),
            files: files.objects,
            bytes: files.bytes,
            state_objects: vacuumed.state.objects,
            state_bytes: vacuumed.state.bytes,
            log_objects: vacuumed.logs.objects,
            log_bytes: vacuumed.logs.bytes,
            unfinished_runs: vacuumed.unfinished.clone(),
        }
    }
}

/// Renders what goes, by table.
pub(crate) fn vacuum_text(vacuumed: &Vacuumed, options: VacuumOptions, width: usize, style: Style) -> String {
    let mut text = String::new();
    if !vacuumed.tables.is_empty() {
        let mut grid = Grid::new([("table", Left), ("files", Right), ("size", Right)]);
        for (table, garbage) in &vacuumed.tables {
            grid.push(vec![table.clone(), count(garbage.objects), bytes(garbage.bytes)]);
        }
        text.push_str(&grid.render(width, style).0);
    }
    let (files, state, logs) = (vacuumed.files(), vacuumed.state, vacuumed.logs);
    let verb = if options.delete { "deleted" } else { "would delete" };
    text.push_str(&format!(
        "{verb} {} ({}), {} of the run state ({}), {} of tables' logs ({}) and {}\n",
        counted(files.objects, "data file"),
        bytes(files.bytes),
        counted(state.objects, "object"),
        bytes(state.bytes),
        counted(logs.objects, "object"),
        bytes(logs.bytes),
        counted(vacuumed.releases, "release"),
    ));
    text
}

/// What the user should know beside that.
pub(crate) fn vacuum_notes(vacuumed: &Vacuumed, options: VacuumOptions) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(oldest) = vacuumed.oldest_release.filter(|_| vacuumed.releases > 0) {
        let when = if options.delete { "is now" } else { "would be" };
        notes.push(format!("release {oldest} {when} the oldest one that can be read and gone back to"));
    }
    if let Some(run) = vacuumed.unfinished.first() {
        let more = match vacuumed.unfinished.len() {
            1 => String::new(),
            runs => format!(" and {} more", runs - 1),
        };
        notes.push(format!("run {run}{more} has not ended: what came before it began stays"));
    }
    if !options.delete {
        notes.push("nothing was deleted: --force deletes".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;

    #[test]
    fn a_dry_run_says_what_would_go_and_that_nothing_went() {
        let vacuumed = Vacuumed {
            oldest_release: Some(3),
            releases: 2,
            tables: BTreeMap::from([("curated.songs".to_owned(), Garbage { objects: 2, bytes: 1_500 })]),
            state: Garbage::default(),
            logs: Garbage::default(),
            unfinished: vec!["r1".to_owned(), "r2".to_owned()],
        };
        let mut options = VacuumOptions { retain: Duration::from_secs(60), now_us: 0, delete: false };
        let text = vacuum_text(&vacuumed, options, 80, Style::default());
        assert!(text.contains("curated.songs") && text.contains("1.5 kB"), "{text}");
        assert!(text.contains("would delete 2 data files (1.5 kB)") && text.contains("2 releases"), "{text}");
        let notes = vacuum_notes(&vacuumed, options);
        assert!(notes.iter().any(|note| note.contains("--force")), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("r1 and 1 more")), "{notes:?}");
        options.delete = true;
        assert!(vacuum_text(&vacuumed, options, 80, Style::default()).contains("\ndeleted 2 data files"));
        assert!(!vacuum_notes(&vacuumed, options).iter().any(|note| note.contains("--force")));
    }
}
