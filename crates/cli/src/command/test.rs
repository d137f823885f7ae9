//! `test`: runs the unit tests of a job's models.

use lakewright_compiler::{UnitTest, select_models};

use crate::{
    args::TestArgs,
    exit::{FAILED, Failure, Outcome, USAGE},
    place::Invocation,
    render::{
        failure::findings_text,
        unit_tests::{TestsDocument, closing_text, outcome_text},
    },
    unit_test::{Runner, Verdict},
};

/// Runs tests, tells each, and fails if one does.
pub(super) async fn test(invocation: &Invocation, arguments: &TestArgs) -> Outcome {
    let mut place = invocation.job_place(arguments.job.as_deref())?;
    // Order counts in some tests, and their rows are few: one partition keeps it.
    place.settings.threads = 1;
    let engine = place.planning_engine()?;
    let compiled = place.compile(&engine, &[])?;
    let selected = select_models(&compiled.job, &arguments.select, &[])?;
    let tests: Vec<&UnitTest> = compiled.job.tests.iter().filter(|test| selected.contains(&test.model)).collect();
    let output = invocation.output;
    if !output.json {
        output.note(&findings_text(&compiled.warnings, output.stderr_style, output.width));
    }
    let folder = place.job_folder()?;
    let runner = Runner::new(&engine, &compiled.job, folder)?;
    let mut outcomes = Vec::with_capacity(tests.len());
    for test in tests {
        let outcome = runner.run(test).await;
        if !output.json {
            let file = place.shown(&folder.join(&test.file));
            output.result(&outcome_text(test, &file, &outcome, output.style))?;
        }
        outcomes.push((test, outcome));
    }
    if output.json {
        output.document(&TestsDocument::new(&compiled.job.name, &outcomes))?;
    } else {
        output.note(&closing_text(&outcomes, output.stderr_style));
    }
    let is_wrong = outcomes.iter().any(|(_, outcome)| matches!(outcome.verdict, Verdict::Wrong(_)));
    match outcomes.iter().all(|(_, outcome)| matches!(outcome.verdict, Verdict::Passed)) {
        true => Ok(()),
        false if is_wrong => Err(Failure::Told(USAGE)),
        false => Err(Failure::Told(FAILED)),
    }
}
