//! The command line: one file a command.

pub(crate) mod args;
pub(crate) mod capture;
pub(crate) mod check;
pub(crate) mod decode;
pub(crate) mod drain_journal;
pub(crate) mod events;
mod http;
pub(crate) mod import;
pub(crate) mod protocols;
pub(crate) mod replay;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod why;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Exit {
    /// 1 failed, 2 wrong usage, 64 bad configuration.
    pub(crate) status: u8,
    /// For a person, on stderr; empty if everything is said already.
    pub(crate) message: String,
}

impl Exit {
    /// What was asked did not hold.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { status: 1, message: message.into() }
    }

    /// The command line asks for what there is not.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: 2, message: message.into() }
    }

    /// A configuration that cannot be used; everything is said already if the message is empty.
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self { status: 64, message: message.into() }
    }

    /// Say it, and end with its status.
    pub(crate) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("navgate: {}", self.message);
        }
        ExitCode::from(self.status)
    }
}

/// Set by SIGINT and SIGTERM, for commands that look at it between two steps and then end cleanly.
///
/// # Errors
/// The system takes no handler.
pub(crate) fn stop_on_signals() -> Result<Arc<AtomicBool>, Exit> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(|e| Exit::failed(format!("cannot hear signals: {e}")))?;
    }
    Ok(stop)
}

impl From<io::Error> for Exit {
    /// A reader that has gone, as in `| head`, is no failure.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { status: 0, message: String::new() },
            _ => Self::failed(error.to_string()),
        }
    }
}
