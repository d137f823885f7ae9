//! The shell: statements over several lines, history, completion, and a few commands of its own.
//!
//! Data flow: the terminal -> rustyline -> [`Reader`] -> [`crate::render::rows`] -> the terminal.
//!
//! Invariant: an error or Ctrl-C ends a statement, never the shell; Ctrl-D and `.quit` end the shell.

use std::{path::Path, time::Instant};

use clap::ValueEnum;
use lakewright_error::{Error, ErrorKind};
use rustyline::{
    Context, Editor, Helper, Highlighter, Hinter,
    completion::Completer,
    error::ReadlineError,
    history::FileHistory,
    validate::{ValidationContext, ValidationResult, Validator},
};

use super::{
    NamedText, Reader,
    complete::{COMMANDS, Words},
    statement::split,
};
use crate::{
    args::{RowFormat, parse_as_of},
    command::tell,
    exit::{Failure, Outcome},
    interrupt::Interrupts,
    render::{
        Output,
        grid::{Align, Grid},
        number::{counted, duration},
        rows::print_rows,
    },
};

/// Entries of the history.
const HISTORY_MAX: usize = 1000;

/// How rows are printed; changed by commands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printing {
    /// The format.
    pub(crate) format: RowFormat,
    /// Rows that a table shows at most; 0 is all.
    pub(crate) rows_max: u64,
}

#[derive(Helper, Highlighter, Hinter)]
struct Assistant {
    words: Words,
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.words.complete(line, position))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let finished = is_finished(context.input());
        Ok(if finished { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

/// Whether Enter ends the input: a command, nothing at all, or statements that a `;` ends.
fn is_finished(input: &str) -> bool {
    command_of(input).is_some() || split(input).rest.is_none()
}

/// A command of the shell with its argument; the other names are those of shells that people know.
fn command_of(input: &str) -> Option<(&'static str, &str)> {
    let input = input.trim();
    let (word, argument) = input.split_once(char::is_whitespace).unwrap_or((input, ""));
    let name = match word.trim_end_matches(';').to_ascii_lowercase().as_str() {
        "quit" | "exit" | "\\q" | ".exit" => ".quit",
        "help" | "\\?" => ".help",
        "\\d" | "\\dt" if argument.is_empty() => ".tables",
        "\\d" | ".schema" => ".describe",
        other => COMMANDS.iter().map(|(name, _)| *name).find(|name| *name == other)?,
    };
    Some((name, argument.trim().trim_end_matches(';').trim_end()))
}

/// Runs the shell until the user leaves.
///
/// # Errors
/// The terminal cannot be used, or the signals cannot be taken.
pub(crate) async fn run_shell(
    mut reader: Reader,
    mut printing: Printing,
    output: Output,
    history: Option<&Path>,
) -> Outcome {
    let mut editor = make_editor(reader.words(), history).map_err(unusable)?;
    let mut interrupts = Interrupts::new()?;
    let release = release_line(&reader);
    output
        .note(&format!("lakewright {}, {release}. `.help` lists commands, Ctrl-D leaves.", env!("CARGO_PKG_VERSION")));
    loop {
        let line = tokio::task::block_in_place(|| editor.readline("lakewright> "));
        let input = match line {
            Ok(input) => input,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(unusable(error).into()),
        };
        // A history that cannot be kept is no reason to stop.
        let _ = editor.add_history_entry(input.trim());
        let answered = match command_of(&input) {
            Some((".quit", _)) => break,
            Some((name @ (".reload" | ".asof"), argument)) => {
                let moved = move_to(&mut reader, output, name, argument).await;
                editor.set_helper(Some(Assistant { words: reader.words() }));
                moved
            }
            Some((name, argument)) => command(&reader, &mut printing, output, name, argument).await,
            None => statements(&reader, printing, output, &input, &mut interrupts).await,
        };
        match answered {
            Ok(()) => {}
            Err(Failure::ReaderGone) => break,
            Err(failure) => tell(&output, &failure),
        }
    }
    if let Some(history) = history {
        let _ = editor.save_history(history);
    }
    Ok(())
}

fn make_editor(words: Words, history: Option<&Path>) -> rustyline::Result<Editor<Assistant, FileHistory>> {
    let config = rustyline::Config::builder()
        .max_history_size(HISTORY_MAX)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .completion_type(rustyline::CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Assistant { words }));
    if let Some(history) = history {
        if let Some(folder) = history.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = editor.load_history(history);
    }
    Ok(editor)
}

fn unusable(source: ReadlineError) -> Error {
    Error::new(ErrorKind::Unavailable, "cannot use the terminal").with_source(source)
}

/// Reads another release from here on.
async fn move_to(reader: &mut Reader, output: Output, name: &str, argument: &str) -> Outcome {
    match name {
        ".asof" if argument.is_empty() => reader.go_to(None).await?,
        ".asof" => {
            let as_of = parse_as_of(argument)
                .map_err(|why| Error::new(ErrorKind::Invalid, format!("{argument} is no release")).with_hint(why))?;
            reader.go_to(Some(as_of)).await?;
        }
        _ => reader.reload().await?,
    }
    output.note(&release_line(reader));
    Ok(())
}

fn release_line(reader: &Reader) -> String {
    reader.release().map_or_else(|| "nothing published yet".to_owned(), |number| format!("release {number}"))
}

async fn statements(
    reader: &Reader,
    printing: Printing,
    output: Output,
    input: &str,
    interrupts: &mut Interrupts,
) -> Outcome {
    let text = NamedText { name: "<input>", text: input };
    for range in split(input).complete {
        // The clock only feeds the line that tells how long it took.
        let begun = Instant::now();
        let answer = async {
            let rows = reader.answer(text, &range).await?;
            print_rows(rows, printing.format, printing.rows_max, &output).await
        };
        tokio::select! {
            printed = answer => {
                let rows = counted(printed?, "row");
                output.note(&output.stderr_style.dim(&format!("{rows} in {}", duration(begun.elapsed()))));
            }
            () = interrupts.next() => {
                output.note("cancelled");
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn command(reader: &Reader, printing: &mut Printing, output: Output, name: &str, argument: &str) -> Outcome {
    let wrong = |message: String, hint: &str| Err(Error::new(ErrorKind::Invalid, message).with_hint(hint).into());
    match name {
        ".tables" => show(reader, *printing, output, "SHOW TABLES").await,
        ".describe" if argument.is_empty() => wrong("name a table".to_owned(), "for example .describe curated.songs"),
        ".describe" => show(reader, *printing, output, &format!("DESCRIBE {argument}")).await,
        ".format" => match RowFormat::from_str(argument, true) {
            Ok(format) => {
                printing.format = format;
                Ok(())
            }
            Err(_) => wrong(format!("there is no format {argument}"), "the formats are table, csv, json, ndjson"),
        },
        ".rows" => match argument.parse() {
            Ok(rows) => {
                printing.rows_max = rows;
                Ok(())
            }
            Err(_) => wrong(format!("{argument} is no number of rows"), "for example .rows 20"),
        },
        _ => {
            let mut grid = Grid::new([("command", Align::Left), ("does", Align::Left)]);
            for (name, meaning) in COMMANDS {
                grid.push(vec![name.to_owned(), meaning.to_owned()]);
            }
            output.result(&grid.render(output.width, output.style).0)?;
            output.result("\nA statement ends with `;` and may take several lines. Tab completes names.")
        }
    }
}

async fn show(reader: &Reader, printing: Printing, output: Output, text: &str) -> Outcome {
    let rows = reader.answer(NamedText { name: "<input>", text }, &(0..text.len())).await?;
    print_rows(rows, printing.format, 0, &output).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enter_ends_only_what_is_finished() {
        for input in ["", "  ", "SELECT 1;", ".tables", "quit", "-- nothing", "SELECT 1; -- done"] {
            assert!(is_finished(input), "{input}");
        }
        for input in ["SELECT 1", "SELECT ';", "SELECT 1; SELECT 2", "/* open", ".tabl"] {
            assert!(!is_finished(input), "{input}");
        }
    }

    #[test]
    fn commands_of_other_shells_are_understood() {
        assert_eq!(command_of("\\q"), Some((".quit", "")));
        assert_eq!(command_of("exit;"), Some((".quit", "")));
        assert_eq!(command_of("\\d curated.songs"), Some((".describe", "curated.songs")));
        assert_eq!(command_of("\\d"), Some((".tables", "")));
        assert_eq!(command_of(" .FORMAT  csv ; "), Some((".format", "csv")));
        assert_eq!(command_of("SELECT 1;"), None);
    }
}
