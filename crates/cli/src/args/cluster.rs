//! Arguments of `cluster`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Arguments of `cluster`.
#[derive(Args, Debug)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    pub(crate) action: ClusterAction,
}

/// The cluster's file.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClusterFileArgs {
    /// The cluster's file; `cluster init` writes one
    #[arg(long, short = 'f', value_name = "FILE", default_value = "cluster.toml")]
    pub(crate) file: PathBuf,
}

/// What is done with a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterAction {
    /// Write a cluster's file with all keys and what they mean
    Init(ClusterFileArgs),
    /// Show what would be made and what it costs, without making anything
    Plan(ClusterFileArgs),
    /// Make the cluster, from wherever an earlier try has come to
    Create {
        #[command(flatten)]
        file: ClusterFileArgs,
        /// Return as soon as EMR has the request
        #[arg(long)]
        no_wait: bool,
        /// Do not ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Show the cluster's state, its nodes and its steps
    Status(ClusterFileArgs),
    /// Give the executors' groups another size
    Resize {
        #[command(flatten)]
        file: ClusterFileArgs,
        /// Core nodes
        #[arg(long, value_name = "N", required_unless_present = "task")]
        core: Option<u32>,
        /// Task nodes
        #[arg(long, value_name = "N")]
        task: Option<u32>,
    },
    /// Print what clients of the scheduler need, as variables of a shell
    ClientConfig(ClusterFileArgs),
    /// List the nodes' logs, or fetch them
    Logs {
        #[command(flatten)]
        file: ClusterFileArgs,
        /// Write the logs into this directory
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// Delete exactly what was made, and say what is left
    Delete {
        #[command(flatten)]
        file: ClusterFileArgs,
        /// Delete the logs too
        #[arg(long)]
        logs: bool,
        /// Do not ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
}
