//! navgate: a gateway between in-car navigators and a dispatch backend.
//!
//! ```text
//!   socket ─▶ listener ─▶ connection ─▶ protocols::Session ─▶ record ─▶ sink (Kafka | journal)
//!      ▲                      │  ▲                                              │
//!      └── acknowledgement ◀──┘  └──── receipts (longest stored prefix) ◀───────┘ reports
//! ```

mod admin;
mod agent;
mod capture;
mod cli;
mod clock;
mod config;
mod connection;
mod contract;
mod demo;
mod down;
mod faults;
mod gateway;
mod journal;
mod ledger;
mod listener;
mod logging;
mod proxy;
mod receipts;
mod recent;
mod record;
mod serve;
mod sessions;
mod sink;
mod telemetry;
mod tls;

use std::io;
use std::process::ExitCode;

/// For librdkafka as much as for us: it takes and gives back buffers of some 100 KiB for each request, which glibc fetches from
/// the kernel, page by page, each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::Parser;
use cli::Exit;
use cli::args::{Cli, Command};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve { config } => cli::serve::run(&config),
        Command::CheckConfig { file } => cli::check::run(&file, config::environment(), io::stdout().lock(), io::stderr().lock()),
        Command::Demo(args) => demo::run(&args),
        Command::Protocols(args) => return cli::protocols::run(&args),
        Command::Decode(args) => return cli::decode::run(&args),
        Command::Replay(args) => cli::replay::run(&args),
        Command::Capture(args) => cli::capture::run(&args),
        Command::Import(args) => cli::import::run(&args),
        Command::DrainJournal(args) => cli::drain_journal::run(&args),
        Command::Events(args) => cli::events::run(&args),
        Command::Send(args) => cli::send::run(&args),
        Command::Why(args) => cli::why::run(&args),
        Command::Contract(args) => contract::print(&args, &mut io::stdout().lock()).map_err(Exit::from),
    };
    done.map_or_else(Exit::report, |()| ExitCode::SUCCESS)
}
