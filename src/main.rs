//! navgate: a gateway between in-car navigators and a dispatch backend.
//!
//! ```text
//!   socket ─▶ listener ─▶ connection ─▶ protocols::Session ─▶ record ─▶ sink (Kafka | journal)
//!      ▲                      │  ▲                                          │
//!      └── acknowledgement ◀──┘  └───────── receipts (longest stored prefix) ◀──┘ reports
//! ```

mod admin;
mod agent;
mod cli;
mod clock;
mod config;
mod connection;


mod gateway;
mod journal;
mod ledger;
mod listener;
mod logging;
mod proxy;
mod receipts;
mod record;
mod serve;
mod sessions;
mod sink;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;
use cli::Exit;
use cli::args::{Cli, Command};

fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Serve(args) => cli::serve::run(&args.config),
        Command::CheckConfig { file } => cli::check::run(&file, config::environment(), std::io::stdout().lock(), std::io::stderr().lock())
            .map_err(|e| Exit::failed(e.to_string()))
            .and_then(|status| if status == 0 { Ok(()) } else { Err(Exit { status, message: String::new() }) }),
        Command::Events(args) => cli::events::run(&args),
    };
    match exit {
        Ok(()) => ExitCode::SUCCESS,
        Err(Exit { status, message }) => {
            if !message.is_empty() {
                eprintln!("navgate: {message}");
            }
            ExitCode::from(status)
        }
    }
}
