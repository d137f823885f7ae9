//! The states of a run: which one thing a driver does next, as a pure function over what it knows.
//!
//! Data flow: a driver reads and creates objects and keeps what it knows in a [`RunView`] -> [`next`] -> one [`Action`]
//! -> the driver performs it, and asks again.
//!
//! Invariant: before the outcome nothing is committed; after it the only way is forward, whatever the driver was told
//! in the meantime.

use lakewright_compiler::TableName;

/// What a driver knows of its run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunView {
    /// Whether inputs are frozen.
    pub(crate) frozen: bool,
    /// Steps that execute, every one after all that it needs.
    pub(crate) steps: Vec<StepView>,
    /// Whether this driver has a reason not to go on: a failure, or somebody cancelled.
    pub(crate) stopped: bool,
    /// Whether every table has passed the checks before publishing.
    pub(crate) checked: bool,
    /// What was decided, by this driver or another.
    pub(crate) outcome: Option<OutcomeView>,
    /// Tables committed, from the front.
    pub(crate) committed: usize,
    /// Whether the release holds this run's tables.
    pub(crate) released: bool,
    /// Whether the summary is written.
    pub(crate) finished: bool,
    /// Whether the marker of an unfinished run is gone.
    pub(crate) retired: bool,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutcomeView {
    /// This many tables and views become visible.
    Publish {
        /// How many.
        tables: usize,
    },
    /// Nothing does.
    Abort,
}

/// What a driver knows of a step that executes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepView {
    pub(crate) table: TableName,
    /// Steps of the same run whose files it reads.
    pub(crate) needs: Vec<TableName>,
    pub(crate) state: StepState,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepState {
    Pending,
    Running,
    Written,
}

/// The one thing that a driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Read the base release, list the sources, decide each step, and create `frozen.json`.
    Freeze,
    /// Start these steps.
    Start(Vec<TableName>),
    /// Wait until a running step ends.
    Await,
    /// Stop the running steps.
    StopSteps,
    /// Check every table that is to be published, and create ledger segments.
    Check,
    /// Create the outcome PUBLISH.
    Publish,
    /// Create the outcome ABORT.
    Abort,
    /// Commit the table with this index.
    Commit(usize),
    /// Create the release.
    Release,
    /// Create `done.json`.
    Finish,
    /// Delete the marker.
    Retire,
    /// Nothing is left.
    Stop,
}

/// Decides what a driver does next. `steps_max` is how many steps may run at once.
pub(crate) fn next(view: &RunView, steps_max: usize) -> Action {
    let running = view.steps.iter().filter(|step| step.state == StepState::Running).count();
    if running > 0 && (view.outcome.is_some() || view.stopped) {
        return Action::StopSteps;
    }
    match view.outcome {
        Some(OutcomeView::Publish { tables }) => after_publish(view, tables),
        Some(OutcomeView::Abort) => ending(view),
        None if view.stopped => Action::Abort,
        None if !view.frozen => Action::Freeze,
        None => before_outcome(view, running, steps_max),
    }
}

fn before_outcome(view: &RunView, running: usize, steps_max: usize) -> Action {
    let ready: Vec<TableName> = view
        .steps
        .iter()
        .filter(|step| step.state == StepState::Pending && is_ready(view, step))
        .take(steps_max.saturating_sub(running))
        .map(|step| step.table.clone())
        .collect();
    if !ready.is_empty() {
        Action::Start(ready)
    } else if running > 0 {
        Action::Await
    } else if !view.checked {
        Action::Check
    } else {
        Action::Publish
    }
}

fn is_ready(view: &RunView, step: &StepView) -> bool {
    let written =
        |name: &TableName| view.steps.iter().any(|other| other.table == *name && other.state == StepState::Written);
    step.needs.iter().all(written)
}

fn after_publish(view: &RunView, tables: usize) -> Action {
    if view.committed < tables {
        Action::Commit(view.committed)
    } else if !view.released {
        Action::Release
    } else {
        ending(view)
    }
}

fn ending(view: &RunView) -> Action {
    if !view.finished {
        Action::Finish
    } else if !view.retired {
        Action::Retire
    } else {
        Action::Stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(table: &str) -> TableName {
        TableName::new("z", table).unwrap()
    }

    fn step(table: &str, needs: &[&str], state: StepState) -> StepView {
        StepView { table: name(table), needs: needs.iter().map(|need| name(need)).collect(), state }
    }

    #[test]
    fn a_step_starts_when_all_that_it_needs_is_written_and_a_place_is_free() {
        use StepState::{Pending, Running, Written};
        let mut view = RunView {
            frozen: true,
            steps: vec![
                step("a", &[], Written),
                step("b", &["a"], Pending),
                step("c", &[], Pending),
                step("d", &["b"], Pending),
            ],
            ..RunView::default()
        };
        assert_eq!(next(&view, 1), Action::Start(vec![name("b")]));
        assert_eq!(next(&view, 4), Action::Start(vec![name("b"), name("c")]));
        view.steps[1].state = Running;
        assert_eq!(next(&view, 1), Action::Await);
        view.steps[1].state = Written;
        view.steps[2].state = Written;
        view.steps[3].state = Written;
        assert_eq!(next(&view, 1), Action::Check);
    }

    #[test]
    fn before_the_outcome_a_stop_aborts_and_after_it_publishing_goes_on() {
        let stopped = RunView { frozen: true, stopped: true, checked: true, ..RunView::default() };
        assert_eq!(next(&stopped, 1), Action::Abort);
        let decided = RunView { outcome: Some(OutcomeView::Publish { tables: 2 }), committed: 1, ..stopped };
        assert_eq!(next(&decided, 1), Action::Commit(1));
    }

    #[test]
    fn running_steps_are_stopped_when_somebody_else_has_decided() {
        let steps = vec![step("a", &[], StepState::Running)];
        let view = RunView { frozen: true, steps, outcome: Some(OutcomeView::Abort), ..RunView::default() };
        assert_eq!(next(&view, 1), Action::StopSteps);
    }

    #[test]
    fn an_aborted_run_commits_and_releases_nothing() {
        let view = RunView { outcome: Some(OutcomeView::Abort), ..RunView::default() };
        assert_eq!(next(&view, 1), Action::Finish);
        let view = RunView { finished: true, ..view };
        assert_eq!(next(&view, 1), Action::Retire);
        let view = RunView { retired: true, ..view };
        assert_eq!(next(&view, 1), Action::Stop);
    }
}
