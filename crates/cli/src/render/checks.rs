//! What checks demand and what they came to, as text.
//!
//! Data flow: values of the scheduler -> **text** -> [`super::Output`]. Pure.

use lakewright_lake::state::CheckRecord;
use lakewright_scheduler::{CheckHistory, FailingRows, PlannedCheck, RunPlan, StepSummary};

use super::{
    Style,
    grid::{
        Align::{Left, Right},
        Grid,
    },
    number::{count, counted},
    printable,
    rows::{RowWriter, TableLayout},
};
use crate::{args::RowFormat, exit::Outcome};

/// The zone in which `sql --run` shows the rows that violate checks.
pub(crate) const FAILING_ZONE: &str = "failed";

/// Rows of each check that `show` prints.
const ROWS_SHOWN_MAX: usize = 5;

/// What a check came to, in a few words.
fn found(record: &CheckRecord) -> String {
    if let Some(detail) = &record.detail {
        return printable(detail);
    }
    match (record.violations, record.rows) {
        (0, _) => "0".to_owned(),
        (violations, Some(rows)) => format!("{} of {}", count(violations), count(rows)),
        (violations, None) => count(violations),
    }
}

/// The word for what came of a check.
fn outcome(record: &CheckRecord) -> &'static str {
    match (record.violations, record.on_violation.as_str()) {
        (0, _) => "passed",
        (_, "FAIL") => "failed",
        (_, "DROP") => "dropped",
        (_, "QUARANTINE") => "kept apart",
        _ => "warned",
    }
}

/// Renders what the checks of a run came to, beside what they came to before; empty if nothing was checked.
pub(crate) fn checks_text(steps: &[StepSummary], history: &CheckHistory, width: usize, style: Style) -> String {
    let mut grid = Grid::new([
        ("table", Left),
        ("check", Left),
        ("came to", Left),
        ("violations", Right),
        ("before", Right),
        ("demands", Left),
    ]);
    for step in steps {
        let table = step.table.to_string();
        for record in &step.checks {
            let before = history.last(&table, &record.name).map(|earlier| found(&earlier.record));
            grid.push(vec![
                table.clone(),
                record.name.clone(),
                outcome(record).to_owned(),
                found(record),
                before.unwrap_or_default(),
                printable(&record.rule),
            ]);
        }
    }
    if grid.len() == 0 { String::new() } else { format!("\n{}", grid.render(width, style).0) }
}

/// Renders the checks that a run would ask, beside what they last came to; empty if there are none.
pub(crate) fn planned_text(plan: &RunPlan, width: usize, style: Style) -> String {
    let mut grid =
        Grid::new([("table", Left), ("check", Left), ("on violation", Left), ("last time", Right), ("demands", Left)]);
    for step in &plan.steps {
        for PlannedCheck { name, rule, on_violation, last } in &step.checks {
            grid.push(vec![
                step.table.to_string(),
                name.clone(),
                on_violation.clone(),
                last.as_ref().map(|last| found(&last.record)).unwrap_or_default(),
                printable(rule),
            ]);
        }
    }
    if grid.len() == 0 { String::new() } else { format!("\n{}", grid.render(width, style).0) }
}

/// Renders what somebody who has not asked should know: checks that were violated, and how many there were.
pub(crate) fn check_notes(steps: &[StepSummary], style: Style) -> String {
    let mut text = String::new();
    let mut asked = 0;
    for step in steps {
        asked += step.checks.len() as u64;
        for record in step.checks.iter().filter(|record| record.violations > 0) {
            let (table, check, found) = (&step.table, &record.name, found(record));
            let what = match record.on_violation.as_str() {
                "DROP" => format!("{} dropped", rows(record.violations)),
                "QUARANTINE" => {
                    let apart = table.to_string().replace('.', "_");
                    format!("{} kept in rejects.{apart}", rows(record.violations))
                }
                _ if record.rows.is_some() && record.detail.is_none() => format!("{found} rows violate it"),
                _ => found,
            };
            text.push_str(&format!("{} {table}: {check}: {what}\n", style.yellow("note:")));
        }
    }
    if asked > 0 {
        text.push_str(&format!("{}\n", style.dim(&format!("{} asked: `lakewright show`", counted(asked, "check")))));
    }
    text
}

fn rows(number: u64) -> String {
    if number == 1 { "1 row".to_owned() } else { format!("{} rows", count(number)) }
}

/// Renders a few rows of each violated check, and how to see more.
///
/// # Errors
/// A row cannot be shown.
pub(crate) fn failing_text(failing: &[FailingRows], run_id: &str, width: usize, style: Style) -> Outcome<String> {
    let mut text = String::new();
    for check in failing {
        let Some(first) = check.rows.first() else { continue };
        let title = format!("{}: {}: {}", check.table, check.record.name, printable(&check.record.rule));
        text.push_str(&format!("\n{}\n", style.bold(&title)));
        let mut bytes = Vec::new();
        let layout = TableLayout { width, rows_max: u64::MAX, style };
        let mut room = ROWS_SHOWN_MAX;
        let mut writer = RowWriter::begin(RowFormat::Table, &first.schema(), layout, &mut bytes)?;
        for batch in &check.rows {
            let shown = batch.slice(0, batch.num_rows().min(room));
            room -= shown.num_rows();
            writer.write(&shown)?;
        }
        writer.end()?;
        text.push_str(&String::from_utf8_lossy(&bytes));
        let name = format!("{FAILING_ZONE}.{}", check.table_name());
        let line = format!("lakewright sql --run {run_id} \"SELECT * FROM {name}\"");
        text.push_str(&format!("{}\n", style.dim(&line)));
    }
    Ok(text)
}
