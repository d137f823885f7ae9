//! Everything that is printed: results on stdout, all else on stderr.
//!
//! Data flow: commands give values -> the modules below turn them into text (pure) -> [`Output`] writes it.
//!
//! Invariant: with `--json` stdout holds one JSON document and nothing else; values from data never reach a terminal with
//! their control characters.

pub(crate) mod checks;
pub(crate) mod cluster;
pub(crate) mod failure;
pub(crate) mod grid;
pub(crate) mod json;
pub(crate) mod json_checks;
pub(crate) mod number;
pub(crate) mod operate;
pub(crate) mod progress;
pub(crate) mod rejects;
pub(crate) mod releases;
pub(crate) mod rows;
pub(crate) mod summary;
pub(crate) mod unit_tests;
pub(crate) mod vacuum;

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde::Serialize;

use crate::{args::Flags, exit::Failure, settings::Environment};

/// Width where there is no terminal to ask.
const WIDTH_DEFAULT: usize = 100;
/// Narrower terminals are treated as this wide.
const WIDTH_MIN: usize = 40;

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// One JSON document on stdout.
    pub(crate) json: bool,
    /// Results and errors only.
    pub(crate) quiet: bool,
    /// Stdout is a terminal.
    pub(crate) stdout_is_terminal: bool,
    /// Stderr is a terminal.
    pub(crate) stderr_is_terminal: bool,
    /// How text on stdout is styled.
    pub(crate) style: Style,
    /// How text on stderr is styled.
    pub(crate) stderr_style: Style,
    /// Columns of the terminal.
    pub(crate) width: usize,
}

impl Output {
    /// Looks at the process's terminal.
    pub(crate) fn of_process(flags: &Flags, environment: &Environment) -> Self {
        let (stdout, stderr) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let color = !environment.no_color();
        let asked = environment.variables.get("COLUMNS").and_then(|columns| columns.parse().ok());
        let of_terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let width = asked.or_else(of_terminal).unwrap_or(WIDTH_DEFAULT);
        Self {
            json: flags.json,
            quiet: flags.quiet,
            stdout_is_terminal: stdout,
            stderr_is_terminal: stderr,
            style: Style { color: color && stdout },
            stderr_style: Style { color: color && stderr },
            width: width.max(WIDTH_MIN),
        }
    }

    /// Prints a result, unless one JSON document is the result.
    pub(crate) fn result(&self, text: &str) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        let mut stdout = self.stdout();
        stdout.write_all(text.as_bytes())?;
        if !text.ends_with('\n') && !text.is_empty() {
            stdout.write_all(b"\n")?;
        }
        Ok(stdout.flush()?)
    }

    /// Prints the one JSON document.
    pub(crate) fn document(&self, document: &impl Serialize) -> Result<(), Failure> {
        let mut stdout = self.stdout();
        serde_json::to_writer_pretty(&mut stdout, document).map_err(io::Error::from)?;
        stdout.write_all(b"\n")?;
        Ok(stdout.flush()?)
    }

    /// Tells something that is no result. A reader of stderr that has gone is nobody to tell.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.complain(text);
        }
    }

    /// Tells what went wrong, whatever `--quiet` says.
    pub(crate) fn complain(&self, text: &str) {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let _ = write!(io::stderr().lock(), "{text}{end}");
    }

    /// Stdout, buffered; flushed by whoever takes it.
    pub(crate) fn stdout(&self) -> BufWriter<StdoutLock<'static>> {
        BufWriter::new(io::stdout().lock())
    }
}

/// Styles words for a terminal, or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Whether escape sequences may be printed.
    pub(crate) color: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }
}

/// Text from data or from another system, safe to print: control characters are escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            // Direction overrides could show one name as another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.extend(character.escape_unicode()),
            control if control.is_control() => safe.extend(control.escape_unicode()),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_escape_sequence_gets_through() {
        assert_eq!(printable("a\u{1b}[31mb\nc\u{202e}é🦀"), "a\\u{1b}[31mb\\nc\\u{202e}é🦀");
    }

    #[test]
    fn without_color_text_stays_as_it_is() {
        assert_eq!(Style { color: false }.red("x"), "x");
        assert_eq!(Style { color: true }.red("x"), "\u{1b}[1;31mx\u{1b}[0m");
    }
}
