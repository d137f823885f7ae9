//! Arguments of the processes of a service, and of what lets clients in.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::settings::MachineRange;

/// Arguments of `scheduler`.
#[derive(Args, Debug)]
pub(crate) struct SchedulerArgs {
    /// Where to listen; 127.0.0.1:50040 by default
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Speak plaintext and ask for no token: on loopback only
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Write the address to a file, once connections are accepted
    #[arg(long, value_name = "FILE")]
    pub(crate) address_file: Option<PathBuf>,
    /// Ask EMR for task nodes while tasks wait, and give them back when they are idle: at least MIN, at most MAX
    #[arg(long, value_name = "MIN..MAX")]
    pub(crate) scale: Option<MachineRange>,
}

/// Arguments of `executor`. Tasks at once are `--threads`, their memory `--memory`, their directory `--spill-dir`.
#[derive(Args, Debug)]
pub(crate) struct ExecutorArgs {
    /// The address of this machine for the fleet, or a name that has it: loopback or a private interface. With a port, that
    /// one takes tasks and the next one gives rows
    #[arg(long, value_name = "HOST[:PORT]", default_value = "127.0.0.1")]
    pub(crate) listen: String,
    /// Seconds that it may go on with its tasks when it is asked to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 100)]
    pub(crate) drain: u64,
}

/// Arguments of `health`.
#[derive(Args, Debug)]
pub(crate) struct HealthArgs {
    /// The executors of this machine, by their `--spill-dir`; nothing is connected to
    #[arg(long)]
    pub(crate) executor: bool,
}

/// Arguments of `certs`.
#[derive(Args, Debug)]
pub(crate) struct CertsArgs {
    /// A name or address of the scheduler's machine, beside its own name and localhost
    #[arg(long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
    /// Days that the server's certificate is valid
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
    /// Make a new server certificate, signed by the authority that is there
    #[arg(long)]
    pub(crate) renew: bool,
}

/// Arguments of `token`.
#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) action: TokenAction,
}

/// What is done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// Make a token and print it, once
    Create {
        /// Whose it is: letters, digits and - _ . @
        name: String,
        /// How long it is valid: 12h, 90d; `never` for a token that stays
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = parse_validity)]
        expires: Validity,
    },
    /// List the tokens, without their text
    List,
    /// Take a token away; a running scheduler refuses it from then on
    Revoke {
        /// Whose it is
        name: String,
    },
}

/// How long a token is valid, in seconds; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity(pub(crate) Option<u64>);

/// Reads `12h`, `90d` or `never`.
fn parse_validity(text: &str) -> Result<Validity, String> {
    let wrong = || "write a number and h or d, for example 90d, or never".to_owned();
    if text == "never" {
        return Ok(Validity(None));
    }
    let (number, unit_s) = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((number, "h")) => (number, 3_600),
        Some((number, "d")) => (number, 86_400),
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    // A century is long enough, and keeps the sum in range.
    let seconds = number.checked_mul(unit_s).filter(|seconds| (1..=3_155_760_000).contains(seconds));
    seconds.map(|seconds| Validity(Some(seconds))).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validity_has_a_unit_and_an_end() {
        assert_eq!(parse_validity("90d"), Ok(Validity(Some(7_776_000))));
        assert_eq!(parse_validity("12h"), Ok(Validity(Some(43_200))));
        assert_eq!(parse_validity("never"), Ok(Validity(None)));
        for wrong in ["", "d", "90", "0d", "-1d", "1y", "99999999999d", "ä"] {
            assert!(parse_validity(wrong).is_err(), "{wrong}");
        }
    }
}
