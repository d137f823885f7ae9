//! `sql`: answers a statement, a file, what stdin gives, or a shell.

use std::{
    io::{self, IsTerminal, Read},
    path::Path,
    time::Instant,
};

use chrono::{DateTime, Utc};
use lakewright_error::{Error, ErrorKind, Result};

use super::row_format;
use crate::{
    args::{RowFormat, SqlArgs},
    exit::Outcome,
    place::{Invocation, Place},
    project::{JOB_FILE, JOBS_DIR},
    render::{
        Output,
        number::{counted, duration},
        rows::print_rows,
    },
    sql::{
        NamedText, Reader,
        shell::{Printing, run_shell},
        statement::split,
    },
};

/// Longest text of statements.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// Whether the arguments ask for a shell.
pub(super) fn is_shell(arguments: &SqlArgs, output: &Output) -> bool {
    let given = arguments.sql.is_some() || arguments.file.is_some();
    !given && io::stdin().is_terminal() && output.stdout_is_terminal && !output.json
}

/// Answers the statements of a text, or runs a shell.
pub(super) async fn sql(invocation: &Invocation, arguments: &SqlArgs, now: DateTime<Utc>) -> Outcome {
    let output = invocation.output;
    let place = place_of(invocation, arguments)?;
    let format = row_format(arguments.format, &output);
    if is_shell(arguments, &output) {
        let reader = open(&place, arguments, now).await?;
        let history = invocation.environment.history_file();
        let printing = Printing { format, rows_max: arguments.rows };
        return run_shell(reader, printing, output, history.as_deref()).await;
    }
    let (name, text) = read_text(invocation, arguments)?;
    let found = split(&text);
    let statements: Vec<_> = found.complete.into_iter().chain(found.rest).collect();
    if statements.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "there is no SQL").with("in", name).into());
    }
    if format == RowFormat::Json && statements.len() > 1 {
        return Err(Error::new(ErrorKind::Invalid, "JSON is one document, and these are several statements")
            .with_hint("give one statement, or use --format ndjson")
            .into());
    }
    let reader = open(&place, arguments, now).await?;
    for range in statements {
        // The clock only feeds the line that tells how long it took.
        let begun = Instant::now();
        let rows = reader.answer(NamedText { name: &name, text: &text }, &range).await?;
        let count = print_rows(rows, format, arguments.rows, &output).await?;
        if output.stdout_is_terminal {
            let line = format!("{} in {}", counted(count, "row"), duration(begun.elapsed()));
            output.note(&output.stderr_style.dim(&line));
        }
    }
    Ok(())
}

async fn open(place: &Place, arguments: &SqlArgs, now: DateTime<Utc>) -> Outcome<Reader> {
    let reader = Reader::open(place, &arguments.params.params, arguments.as_of, now.timestamp_micros()).await?;
    match &arguments.run {
        Some(run) => reader.with_failing_rows(run).await,
        None => Ok(reader),
    }
}

/// The place of the query: that of the job that was named, else of the job that the file belongs to.
fn place_of(invocation: &Invocation, arguments: &SqlArgs) -> Result<Place> {
    let file = arguments.file.as_ref().map(|file| invocation.environment.working_dir.join(file));
    let job_of =
        |file: &Path| file.ancestors().skip(1).find(|folder| folder.join(JOB_FILE).is_file()).map(Path::to_owned);
    let of_file =
        file.as_deref().and_then(job_of).filter(|folder| folder.parent().is_some_and(|p| p.ends_with(JOBS_DIR)));
    match (&arguments.job, of_file) {
        (None, Some(folder)) => invocation.any_place(folder.to_str()),
        (job, _) => invocation.any_place(job.as_deref()),
    }
}

/// The text of the statements, with its name for findings.
fn read_text(invocation: &Invocation, arguments: &SqlArgs) -> Result<(String, String)> {
    if let Some(sql) = &arguments.sql {
        return Ok(("<query>".to_owned(), sql.clone()));
    }
    let (name, bytes) = match &arguments.file {
        Some(file) => {
            let path = invocation.environment.working_dir.join(file);
            let opened = std::fs::File::open(path).and_then(read_limited);
            (file.display().to_string(), opened)
        }
        None => ("<stdin>".to_owned(), read_limited(io::stdin().lock())),
    };
    let refused = |message: &'static str| Error::new(ErrorKind::Invalid, message).with("file", &name);
    let bytes = bytes.map_err(|error| refused("cannot read the SQL").with_source(error))?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(refused("the SQL is too long").with("limit", TEXT_BYTES_MAX));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        refused("the SQL is not UTF-8").with("offset", error.utf8_error().valid_up_to()).with_hint("save it as UTF-8")
    })?;
    Ok((name, text))
}

fn read_limited(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
