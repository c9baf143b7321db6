//! `navgate events`.

use std::io;

use super::args::EventsArgs;
use super::{Exit, stop_on_signals};
use crate::journal::{Show, print_events};

/// Print the events of a journal.
pub(crate) fn run(args: &EventsArgs) -> Result<(), Exit> {
    let stop = stop_on_signals()?;
    let show = Show { all: args.all, follow: args.follow };
    let printed = print_events(&args.dir, show, &stop, io::stdout().lock(), io::stderr().lock());
    printed.map_err(|e| Exit::failed(e.to_string()))
}
