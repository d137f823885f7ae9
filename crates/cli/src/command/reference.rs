//! `completions` and `reference`: what is made from the definition of the command line.

use clap::CommandFactory;

use crate::{
    args::{CommandLine, CompletionsArgs, ReferenceArgs, ReferencePage},
    exit::Outcome,
    place::Invocation,
    settings::settings_page,
};

/// Prints the completion script of a shell.
pub(super) fn completions(invocation: &Invocation, arguments: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut CommandLine::command(), "lakewright", &mut script);
    invocation.output.result(&String::from_utf8_lossy(&script))
}

/// Prints a page of the reference.
pub(super) fn page(invocation: &Invocation, arguments: &ReferenceArgs) -> Outcome {
    invocation.output.result(&match arguments.page {
        ReferencePage::Settings => settings_page(),
        ReferencePage::Cli => cli_page(),
    })
}

const PREFACE: &str = "# Command line

Made by `lakewright reference cli`; edit `crates/cli/src/args.rs` instead.

Exit codes: 0 done; 1 the job failed (bad or unreadable data, failed check, disk full); 2 usage or a job file is wrong;
3 the system is not reachable or not healthy; 130 interrupted, after nothing or all was published.

Results are on stdout, everything else on stderr. `--json` prints one document (see [json.md](json.md)).
";

/// The page `docs/cli.md`.
fn cli_page() -> String {
    // Fixed, so that the page does not depend on the terminal that makes it.
    let mut root = CommandLine::command().term_width(100);
    root.build();
    let mut page = String::from(PREFACE);
    for command in root.get_subcommands_mut().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        let name = command.get_name().to_owned();
        let nested: Vec<clap::Command> =
            command.get_subcommands().filter(|n| n.get_name() != "help").cloned().collect();
        // The settings of every command have a page of their own.
        let own = command.clone().mut_args(|argument| {
            let shared = argument.is_global_set();
            if shared { argument.hide(true) } else { argument }
        });
        let help = own.term_width(100).render_long_help().to_string();
        page.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", trim_lines(&help)));
        for inner in nested {
            let title = format!("{name} {}", inner.get_name());
            let own = inner.mut_args(|argument| if argument.is_global_set() { argument.hide(true) } else { argument });
            let help = own.term_width(100).render_long_help().to_string();
            page.push_str(&format!("\n### {title}\n\n```text\n{}\n```\n", trim_lines(&help)));
        }
    }
    page
}

fn trim_lines(text: &str) -> String {
    text.trim_end().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_the_generated_one() {
        let page = include_str!("../../../../docs/cli.md");
        assert_eq!(page, cli_page(), "run: cargo run -- reference cli > docs/cli.md");
    }
}
