//! The command line's words. Other tools rely on these names.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A gateway between in-car navigators and a dispatch backend: their bytes in over TCP, events out to Kafka, acknowledged
/// only when they are stored.
#[derive(Debug, Parser)]
#[command(name = "navgate", version, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway
    Serve {
        /// The configuration; `deploy/config.toml` shows every key with its default and the reason for it
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check a configuration file and say everything that is wrong with it
    CheckConfig {
        /// The file
        file: PathBuf,
    },
    /// Show it at work: a gateway on loopback, a small fleet of simulated navigators, and the count at the end
    Demo(crate::demo::DemoArgs),
    /// List the protocols
    Protocols(super::protocols::ProtocolsArgs),
    /// Explain bytes, field by field
    Decode(super::decode::DecodeArgs),
    /// Play recorded conversations against a running gateway, and check what comes of them
    Replay(super::replay::ReplayArgs),
    /// Capture a device's raw bytes on a running gateway, as a script
    Capture(super::capture::CaptureArgs),
    /// Make scripts of a network capture (pcap, pcapng)
    Import(super::import::ImportArgs),
    /// Print the events of a journal, one JSON object a line
    Events(EventsArgs),
    /// Send to Kafka what a gateway that will not come back left in its journal
    DrainJournal(DrainJournalArgs),
    /// Send a command to a device, and tell what becomes of it
    ///
    /// Its progress and its outcome go to the standard output, each as the record of the contract that a backend reads, one a
    /// line. Whatever is wrong with the command is said before anything is sent.
    ///
    /// Exit status 0: it ended `acknowledged`; 1: it ended otherwise, or nobody can say how; 2: it was not sent, for it makes no
    /// sense.
    Send(super::send::SendArgs),
    /// Say in a sentence why a car gets no orders
    ///
    /// Or that nothing keeps them from it. Any instance can be asked: it asks the others. If several things are wrong, the sentence
    /// tells the one that has to be mended first; README.md lists them in their order.
    ///
    /// Exit status 0 if there is an answer, whatever it is.
    Why(super::why::WhyArgs),
    /// Print the contract with the backend: the AsyncAPI document, or the JSON Schema of a type
    Contract(crate::contract::ContractArgs),
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

/// Which journal goes where.
#[derive(Debug, Args)]
pub(crate) struct DrainJournalArgs {
    /// The journal's directory; its gateway must not run
    pub(crate) dir: PathBuf,
    /// The configuration whose `kafka` section says where to
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}
