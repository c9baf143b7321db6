//! `navgate drain-journal`: what a gateway that will not come back left in its journal, to Kafka.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::args::DrainJournalArgs;
use super::{Exit, stop_on_signals};
use crate::journal::{self, Journal};
use crate::sink::kafka::{self, Progress};
use crate::{config, logging, serve};

/// Longest wait for reports between two looks at the signals.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is told how far it is.
const TELL: Duration = Duration::from_secs(5);
/// Between two looks at topics that are not there.
const RETRY: Duration = Duration::from_secs(2);

/// Nobody appends while a journal is drained.
struct Nobody;

impl journal::Reports for Nobody {
    fn durable(&mut self, _tokens: &[u64]) {}
    fn room(&mut self) {}
    fn trouble(&mut self, what: &str) {
        eprintln!("{what}");
    }
    fn recovered(&mut self) {}
}

/// Send everything, delete what is delivered, end when nothing is left.
pub(crate) fn run(args: &DrainJournalArgs) -> Result<(), Exit> {
    let (config, _) = config::load(&args.config, config::environment()).map_err(|e| Exit::config(e.to_string()))?;
    logging::start(&config.log).map_err(Exit::failed)?;
    let stop = stop_on_signals()?;
    if !args.dir.is_dir() {
        return Err(Exit::failed(format!("there is no journal directory `{}`", args.dir.display())));
    }
    // the lock: a gateway that lives drains its own
    let options = journal::Options { path: args.dir.clone(), ..serve::journal_options(&config) };
    let (journal, recovery) = Journal::open(options, Box::new(Nobody)).map_err(|e| Exit::failed(e.to_string()))?;
    eprintln!("{} records, {} bytes to send to {}", recovery.records, recovery.bytes, config.kafka.brokers.join(","));
    let interrupted = || Exit::failed("interrupted; what is delivered is gone from the journal, run it again for the rest");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Exit::from)?;
    while let Err(problem) = runtime.block_on(kafka::topics(&config.kafka, config.capture.topic)) {
        eprintln!("{problem}; trying again");
        if stop.load(Ordering::Relaxed) {
            return Err(interrupted());
        }
        std::thread::sleep(RETRY);
    }
    let mut drain = kafka::drain_only(&config.kafka, &args.dir).map_err(Exit::from)?;
    let mut told = Instant::now();
    loop {
        let before = drain.delivered();
        let progress = drain.step(LOOK).map_err(Exit::from)?;
        if let Some(position) = drain.delivered_before().filter(|_| drain.delivered() > before) {
            journal.release(position);
        }
        if progress == Progress::Empty {
            break;
        }
        if stop.load(Ordering::Relaxed) {
            return Err(interrupted());
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            eprintln!("{} of {} delivered", drain.delivered(), recovery.records);
        }
    }
    // bad lines are told and stay where they are: only whole segments of delivered records go
    let _ = journal.close(config.gateway.shutdown_limit_s.get());
    println!("{} records delivered", drain.delivered());
    match recovery.bad_lines {
        0 => Ok(()),
        n => Err(Exit::failed(format!("{n} bad lines were passed; they are told above"))),
    }
}
