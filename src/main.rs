//! navgate: a gateway between in-car navigators and a dispatch backend.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A gateway between in-car navigators and a dispatch backend.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Decode(cli::decode::DecodeArgs),
    Protocols(cli::protocols::ProtocolsArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Decode(args) => cli::decode::run(&args),
        Command::Protocols(args) => cli::protocols::run(&args),
    }
}
