//! `check`: compiles a job, without reading data.

use crate::{
    args::CheckArgs,
    exit::Outcome,
    place::Invocation,
    render::{failure::findings_text, json::CheckDocument, number::counted},
};

/// Tells whether a job's files are right, and what they hold.
pub(super) fn check(invocation: &Invocation, arguments: &CheckArgs) -> Outcome {
    let place = invocation.job_place(arguments.job.as_deref())?;
    let compiled = place.compile(&place.planning_engine()?, &arguments.params.params)?;
    let output = invocation.output;
    if output.json {
        return output.document(&CheckDocument::new(&compiled.job, &compiled.warnings));
    }
    output.note(&findings_text(&compiled.warnings, output.stderr_style, output.width));
    let job = &compiled.job;
    let counts = [
        counted(job.sources.len() as u64, "source"),
        counted(job.models.len() as u64, "model"),
        match job.analyses.len() {
            1 => "1 analysis".to_owned(),
            number => format!("{number} analyses"),
        },
    ];
    output.result(&format!("{} {}", output.style.green("ok:"), counts.join(", ")))
}
