//! Plans, runs and tables as text.
//!
//! Data flow: values of the scheduler -> **text** -> [`super::Output`]. Pure.

use lakewright_scheduler::{
    CheckHistory, ExecutorInfo, LakeCatalog, LakeTable, RunPlan, RunRecord, RunState, RunSummary, StepAction,
    StepSummary, StepWork, service::Token,
};

use super::{
    Style,
    checks::{check_notes, checks_text, planned_text},
    grid::{
        Align::{Left, Right},
        Grid,
    },
    number::{bytes, count, counted, duration, instant},
    printable,
    rejects::{losses_text, reads_text},
};

/// What is done about a model, in one word.
pub(crate) fn work_word(work: StepWork) -> &'static str {
    match work {
        StepWork::Skip => "skip",
        StepWork::Replace => "replace",
        StepWork::Append => "append",
        StepWork::Update => "update",
        StepWork::Define => "define",
    }
}

fn action_text(action: &StepAction) -> String {
    printable(&format!("{}: {}", work_word(action.work), action.reason))
}

/// Renders what a run would do.
pub(crate) fn plan_text(plan: &RunPlan, width: usize, style: Style) -> String {
    let mut grid = Grid::new([
        ("step", Left),
        ("kind", Left),
        ("would", Left),
        ("reads", Left),
        ("objects", Right),
        ("bytes", Right),
        ("replaces", Right),
    ]);
    for step in &plan.steps {
        let idle = step.action.work == StepWork::Skip;
        let reads: Vec<String> = step.reads.iter().map(ToString::to_string).collect();
        let replaces = if step.files_replaced == 0 { String::new() } else { counted(step.files_replaced, "file") };
        grid.push(vec![
            step.table.to_string(),
            step.kind.clone(),
            action_text(&step.action),
            reads.join(", "),
            if idle { String::new() } else { count(step.objects) },
            if idle { String::new() } else { bytes(step.bytes) },
            replaces,
        ]);
    }
    let (mut text, _) = grid.render(width, style);
    text.push('\n');
    let base = plan.base_release.map_or_else(|| "nothing published yet".to_owned(), |n| format!("release {n}"));
    let skipped = plan.steps.iter().filter(|step| step.action.work == StepWork::Skip).count();
    let all = counted(plan.steps.len() as u64, "step");
    text.push_str(&format!("{all}, {skipped} of them skipped; base: {base}. Nothing was written.\n"));
    text.push_str(&planned_text(plan, width, style));
    for note in &plan.notes {
        text.push_str(&format!("{} {}\n", style.yellow("note:"), printable(note)));
    }
    text
}

fn steps_grid(steps: &[StepSummary]) -> Grid {
    let mut grid = Grid::new([
        ("step", Left),
        ("done", Left),
        ("rows in", Right),
        ("rows out", Right),
        ("rejects", Right),
        ("files", Right),
        ("size", Right),
        ("time", Right),
    ]);
    for step in steps {
        let stored = matches!(step.action.work, StepWork::Replace | StepWork::Append | StepWork::Update);
        let or_nothing = |text: String| if stored { text } else { String::new() };
        grid.push(vec![
            step.table.to_string(),
            action_text(&step.action),
            or_nothing(count(step.rows_in)),
            or_nothing(count(step.rows_out)),
            or_nothing(count(step.rejects)),
            or_nothing(count(step.files)),
            or_nothing(bytes(step.bytes)),
            or_nothing(duration(step.duration)),
        ]);
    }
    grid
}

/// Renders the closing table of a run.
pub(crate) fn run_text(summary: &RunSummary, width: usize, style: Style) -> String {
    let (mut text, _) = steps_grid(&summary.steps).render(width, style);
    let spilled: u64 = summary.steps.iter().map(|step| step.bytes_spilled).sum();
    let spilled = if spilled == 0 { String::new() } else { format!(", {} spilled to disk", bytes(spilled)) };
    let published = match summary.release {
        Some(release) => style.green(&format!("published release {release}")),
        None => style.green("nothing changed, so nothing was published"),
    };
    let took = duration(summary.duration);
    text.push_str(&format!("\n{published} in {took}{spilled} (run {})\n", summary.run_id));
    text.push_str(&losses_text(&summary.reads, style));
    text.push_str(&check_notes(&summary.steps, style));
    text
}

/// Renders where the tables are, and a line to paste into another engine.
pub(crate) fn places_text(tables: &[LakeTable], job: &str, style: Style) -> String {
    let stored: Vec<_> = tables.iter().filter(|table| table.job == job && table.view.is_none()).collect();
    let width = stored.iter().map(|table| table.name.to_string().len()).max().unwrap_or(0);
    let mut text = String::new();
    for table in &stored {
        text.push_str(&format!("{:width$}  {}\n", table.name.to_string(), printable(&table.location)));
    }
    if let Some(largest) = stored.iter().max_by_key(|table| table.rows) {
        let location = largest.location.replace('\'', "''");
        let line = format!("SELECT * FROM delta_scan('{}') LIMIT 10;", printable(&location));
        text.push_str(&format!("\n{} {line}\n", style.dim("in DuckDB:")));
    }
    text
}

/// Renders the tables of a release.
pub(crate) fn tables_text(catalog: &LakeCatalog, width: usize, style: Style) -> String {
    let mut grid = Grid::new([
        ("table", Left),
        ("kind", Left),
        ("rows", Right),
        ("files", Right),
        ("size", Right),
        ("version", Right),
        ("path", Left),
    ]);
    for table in &catalog.tables {
        let stored = table.view.is_none();
        let or_nothing = |text: String| if stored { text } else { String::new() };
        grid.push(vec![
            table.name.to_string(),
            (if stored { "table" } else { "view" }).to_owned(),
            or_nothing(count(table.rows)),
            or_nothing(count(table.files)),
            or_nothing(bytes(table.bytes)),
            table.version.map(|version| version.to_string()).unwrap_or_default(),
            if stored { printable(&table.location) } else { "kept in the release: other engines do not see it".into() },
        ]);
    }
    let (text, dropped) = grid.render(width, style);
    if dropped == 0 { text } else { format!("{text}({} not shown)\n", counted(dropped as u64, "column")) }
}

/// The word for a run's state.
fn state_word(state: RunState, style: Style) -> String {
    match state {
        RunState::Accepted => "accepted".to_owned(),
        RunState::Running => style.cyan("running"),
        RunState::Publishing => style.cyan("publishing"),
        RunState::Succeeded => style.green("succeeded"),
        RunState::Failed => style.red("failed"),
        RunState::Cancelled => style.yellow("cancelled"),
        RunState::Broken => style.red("broken"),
    }
}

/// The word for a run's state, with its place if it waits.
fn queue_word(run: &RunRecord, style: Style) -> String {
    match run.place {
        Some(place) => format!("queued ({place})"),
        None => state_word(run.state, style),
    }
}

/// Renders the newest runs.
pub(crate) fn runs_text(runs: &[RunRecord], width: usize, style: Style) -> String {
    let mut grid = Grid::new([
        ("run", Left),
        ("job", Left),
        ("no.", Right),
        ("state", Left),
        ("accepted", Left),
        ("time", Right),
        ("release", Right),
        ("why", Left),
    ]);
    for run in runs {
        let summary = run.summary.as_ref();
        grid.push(vec![
            run.run_id.clone(),
            run.job.clone(),
            run.sequence.to_string(),
            // Colours would be cut and counted as text.
            queue_word(run, Style::default()),
            instant(run.accepted_us),
            summary.map(|summary| duration(summary.duration)).unwrap_or_default(),
            summary.and_then(|summary| summary.release).map(|release| release.to_string()).unwrap_or_default(),
            run.failure.as_deref().or(run.operation.as_deref()).map(printable).unwrap_or_default(),
        ]);
    }
    grid.render(width, style).0
}

/// Renders one run; `history` is what its checks came to before.
pub(crate) fn run_record_text(run: &RunRecord, history: &CheckHistory, width: usize, style: Style) -> String {
    let mut text = format!(
        "run       {}\njob       {} (number {})\nstate     {}\naccepted  {}\n",
        run.run_id,
        run.job,
        run.sequence,
        queue_word(run, style),
        instant(run.accepted_us),
    );
    if let Some(operation) = &run.operation {
        text.push_str(&format!("does      {}\n", printable(operation)));
    }
    if let Some(failure) = &run.failure {
        text.push_str(&format!("why       {}\n", printable(failure)));
    }
    if let Some(summary) = &run.summary {
        let release = summary.release.map_or_else(|| "none".to_owned(), |release| release.to_string());
        text.push_str(&format!("time      {}\nrelease   {release}\n\n", duration(summary.duration)));
        text.push_str(&steps_grid(&summary.steps).render(width, style).0);
        text.push_str(&reads_text(&summary.reads, width, style));
        text.push_str(&checks_text(&summary.steps, history, width, style));
    }
    text
}

/// Renders who executes steps.
pub(crate) fn executors_text(executors: &[ExecutorInfo], width: usize, style: Style) -> String {
    let mut grid =
        Grid::new([("executor", Left), ("host", Left), ("slots", Right), ("free", Right), ("last seen", Left)]);
    for executor in executors {
        grid.push(vec![
            printable(&executor.id),
            printable(&executor.host),
            executor.slots.to_string(),
            executor.slots_free.map(|free| free.to_string()).unwrap_or_default(),
            executor.seen_us.map_or_else(|| "the scheduler's own process".to_owned(), instant),
        ]);
    }
    grid.render(width, style).0
}

/// Renders the tokens of a scheduler.
pub(crate) fn tokens_text(tokens: &[Token], now_us: i64, width: usize, style: Style) -> String {
    let mut grid = Grid::new([("name", Left), ("made", Left), ("expires", Left)]);
    for token in tokens {
        let expires = match token.expires_us {
            None => "never".to_owned(),
            Some(expires_us) if expires_us <= now_us => format!("{} (expired)", instant(expires_us)),
            Some(expires_us) => instant(expires_us),
        };
        grid.push(vec![printable(&token.name), instant(token.created_us), expires]);
    }
    grid.render(width, style).0
}

#[cfg(test)]
mod tests;
