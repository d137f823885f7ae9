//! `submit` and `watch`, `cancel`, `retry` of a scheduler's runs: starts runs elsewhere, and tells how they get on here.

use std::io::{self, IsTerminal};

use lakewright_client::{Client, v1};
use lakewright_error::{Error, ErrorKind};
use lakewright_proto::status::error_of;
use lakewright_scheduler::RunSummary;

use super::run::report;
use crate::{
    args::{RetryArgs, SubmitArgs},
    exit::{Failure, INTERRUPTED, Outcome},
    interrupt::Interrupts,
    place::Invocation,
    remote,
    render::{Output, failure::findings_text, json::SubmittedDocument, progress::Progress},
};

/// What the user wants after Ctrl-C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Detach,
    Cancel,
    GoOn,
}

/// Submits a job and, unless it is to detach, watches it to its end.
pub(super) async fn submit(invocation: &Invocation, arguments: &SubmitArgs) -> Outcome {
    let place = invocation.job_place(arguments.run.job.as_deref())?;
    if invocation.flags.lake.is_some() {
        return Err(Error::new(ErrorKind::Invalid, "a scheduler works on its own lake")
            .with_hint("leave --lake out, or use `lakewright run`")
            .into());
    }
    let compiled = place.compile(&place.planning_engine()?, &arguments.run.params.params)?;
    let output = invocation.output;
    output.note(&findings_text(&compiled.warnings, output.stderr_style, output.width));
    let client = remote::required_client(&place.settings).await?;
    let request = v1::SubmitRunRequest {
        files: compiled.folder.files.into_iter().collect(),
        params: arguments.run.params.params.iter().cloned().collect(),
        // As it was typed: it is a place of the scheduler's machine.
        raw: invocation.flags.raw.clone().unwrap_or_default(),
        options: Some(v1::RunOptions {
            select: arguments.run.select.clone(),
            exclude: arguments.run.exclude.clone(),
            full_refresh: arguments.run.full_refresh,
            accept_losses: arguments.run.accept_losses,
            start_us: arguments.run.start,
            end_us: arguments.run.end,
            verify_incremental: arguments.run.verify_incremental,
        }),
        idempotency_key: arguments.idempotency_key.clone().unwrap_or_default(),
    };
    let accepted = client.submit(request).await?;
    let run = SubmittedDocument::new(accepted.run_id, accepted.sequence, accepted.repeated);
    go_on(&client, run, arguments.detach, output).await
}

/// Tries a run again and, unless it is to detach, watches it to its end.
pub(super) async fn retry(client: &Client, arguments: &RetryArgs, output: Output) -> Outcome {
    let accepted = client.retry(&arguments.run).await?;
    let run = SubmittedDocument::new(accepted.run_id, accepted.sequence, accepted.repeated);
    go_on(client, run, arguments.detach, output).await
}

async fn go_on(client: &Client, run: SubmittedDocument, detach: bool, output: Output) -> Outcome {
    if !detach {
        return watch(client, &run.run_id, output).await;
    }
    if output.json {
        return output.document(&run);
    }
    output.result(&run.run_id)?;
    output.note(&how_to(&run.run_id));
    Ok(())
}

fn how_to(run_id: &str) -> String {
    format!("the run goes on: lakewright watch {run_id}, or lakewright cancel {run_id}")
}

/// Watches a run of a scheduler to its end, and tells what came out.
pub(super) async fn watch(client: &Client, run_id: &str, output: Output) -> Outcome {
    let progress = Progress::new(output);
    let ended = follow(client, run_id, &progress, output).await;
    progress.end();
    let (run_id, ended) = ended?;
    if !remote::has_succeeded(&ended) {
        let error = ended.error.as_ref().map_or_else(
            || Error::new(ErrorKind::Internal, "the run has ended, and nothing says why").with("run", &run_id),
            |detail| error_of(detail).with("run", &run_id),
        );
        return Err(Failure::job(error));
    }
    let run = client.get_run(v1::GetRunRequest { run_id }).await.map_err(Failure::job)?.run.unwrap_or_default();
    let summary: RunSummary = match &run.summary {
        Some(summary) => remote::summary(&run.run_id, run.sequence, summary)?,
        None => return Err(Error::new(ErrorKind::Internal, "a run that has succeeded has no summary").into()),
    };
    let tables = remote::tables(client).await.map_err(Failure::job)?;
    report(&run.job, &summary, &tables, output)
}

/// Tells the events of a run until it has ended, or the user detaches.
async fn follow(client: &Client, run_id: &str, progress: &Progress, output: Output) -> Outcome<(String, v1::RunEnded)> {
    let mut run_id = run_id.to_owned();
    let mut watch = client.watch(&run_id);
    let mut interrupts = Interrupts::new()?;
    loop {
        let event = tokio::select! {
            event = watch.next() => event?,
            () = interrupts.next() => {
                interrupted(client, &run_id, progress, &mut interrupts, output).await?;
                continue;
            }
        };
        match event.and_then(|event| event.event) {
            Some(v1::run_event::Event::Ended(ended)) => return Ok((run_id, ended)),
            Some(event) => {
                if let v1::run_event::Event::Accepted(accepted) = &event {
                    run_id.clone_from(&accepted.run_id);
                }
                if let Some(event) = remote::event(&event)? {
                    progress.tell(&event);
                }
            }
            None => {}
        }
    }
}

/// Does what the user wants after Ctrl-C: on a terminal he is asked, elsewhere the run goes on without a watcher.
async fn interrupted(
    client: &Client,
    run_id: &str,
    progress: &Progress,
    interrupts: &mut Interrupts,
    output: Output,
) -> Outcome {
    let can_ask = io::stdin().is_terminal() && output.stderr_is_terminal;
    let choice = if can_ask {
        progress.line("The run goes on. [d]etach, [c]ancel the run, or [w]atch on?");
        tokio::select! {
            choice = ask() => choice,
            () = interrupts.next() => Choice::Detach,
        }
    } else {
        Choice::Detach
    };
    match choice {
        Choice::GoOn => Ok(()),
        Choice::Cancel => {
            client.cancel_run(v1::CancelRunRequest { run_id: run_id.to_owned() }).await?;
            progress.line("cancelling");
            Ok(())
        }
        Choice::Detach => {
            progress.end();
            output.complain(&how_to(run_id));
            Err(Failure::Told(INTERRUPTED))
        }
    }
}

async fn ask() -> Choice {
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    choice_of(&line.await.ok().and_then(Result::ok).unwrap_or_default())
}

fn choice_of(line: &str) -> Choice {
    match line.trim().chars().next() {
        Some('c' | 'C') => Choice::Cancel,
        Some('w' | 'W') => Choice::GoOn,
        _ => Choice::Detach,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_cancels() {
        assert_eq!(choice_of("c\n"), Choice::Cancel);
        assert_eq!(choice_of("Cancel"), Choice::Cancel);
        assert_eq!(choice_of("w"), Choice::GoOn);
        for line in ["", "\n", "d", "no", "?"] {
            assert_eq!(choice_of(line), Choice::Detach, "{line}");
        }
    }
}
