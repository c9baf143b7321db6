//! The command line's words. Other tools rely on these names.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A gateway between in-car navigators and a dispatch backend: their bytes in over TCP, events out to Kafka, acknowledged
/// only when they are stored.
#[derive(Debug, Parser)]
#[command(name = "navgate", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway
    Serve(ConfigArg),
    /// Check a configuration file and say everything that is wrong with it
    CheckConfig {
        /// The file
        file: PathBuf,
    },
    /// Print the events of a journal, one JSON object a line
    Events(EventsArgs),
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct ConfigArg {
    /// The file; `deploy/config.toml` shows every key with its default and the reason for it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long the fleet drives
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// The same seed gives the same fleet
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Which journal to print.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// The journal's directory (journal.path)
    pub(crate) dir: PathBuf,
    /// Go on with what is written from now on
    #[arg(long)]
    pub(crate) follow: bool,
    /// Rejects too
    #[arg(long)]
    pub(crate) all: bool,
}
