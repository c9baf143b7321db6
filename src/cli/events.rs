//! `navgate events`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::Exit;
use super::args::EventsArgs;
use crate::journal::{Show, print_events};

/// Print the events of a journal.
pub(crate) fn run(args: &EventsArgs) -> Result<(), Exit> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(|e| Exit::failed(format!("cannot hear signals: {e}")))?;
    }
    let show = Show { all: args.all, follow: args.follow };
    let printed = print_events(&args.dir, show, &stop, io::stdout().lock(), io::stderr().lock());
    printed.map_err(|e| Exit::failed(e.to_string()))
}
