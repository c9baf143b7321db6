//! The journal as the store: the embedded default, for which nothing else has to run.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::{Full, Sink, Status, Waiters};
use crate::journal::{Journal, OpenError, Options, Refused, Reports, Tell};
use crate::ledger::Ledger;
use crate::receipts::{Receipts, Token};
use crate::record::Record;

/// The store.
#[derive(Debug)]
pub(crate) struct JournalSink {
    journal: Journal,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    receipts: Arc<Receipts>,
    ledger: Arc<Ledger>,
    waiters: Waiters,
    trouble: Mutex<String>,
}

impl JournalSink {
    /// Open the journal, telling what its recovery found and `tell` what is there.
    ///
    /// # Errors
    /// If the directory cannot be used.
    pub(crate) fn open(options: Options, receipts: Arc<Receipts>, ledger: Arc<Ledger>, tell: Tell<'_>) -> Result<Self, OpenError> {
        let state = Arc::new(State { receipts, ledger, waiters: Waiters::default(), trouble: Mutex::default() });
        let path = options.path.clone();
        let (journal, recovery) = Journal::open_telling(options, Box::new(Hears(Arc::clone(&state))), tell)?;
        info!(path = %path.display(), segments = recovery.segments, bytes = recovery.bytes, records = recovery.records, "journal open");
        if let Some(cut) = &recovery.cut {
            info!(
                "the journal's last line was torn by the end of an earlier process and has been cut; it was never acknowledged: {cut:?}"
            );
        }
        for bad in &recovery.bad {
            warn!("the journal has a bad line, which readers skip: {bad:?}");
        }
        Ok(Self { journal, state })
    }
}

impl Sink for JournalSink {
    fn submit(&self, record: &Record<'_>) -> Result<(), Full> {
        match self.journal.append(record.topic.name(), record.value, record.token.0) {
            Ok(()) => Ok(()),
            Err(Refused::Full | Refused::Closed) => Err(Full),
            Err(Refused::Unfit) => {
                // cannot happen: values are JSON without line feeds, and parts of data are smaller than a line may be
                error!(bytes = record.value.len(), "a record does not fit the journal; it is counted as refused");
                self.state.receipts.report(record.token.refused(), &self.state.ledger);
                Ok(())
            }
        }
    }

    fn note(&self, topic: &str, value: &[u8]) -> Result<(), Full> {
        self.journal.append(topic, value, Token::NONE.0).map_err(|_| Full)
    }

    fn waiters(&self) -> &Waiters {
        &self.state.waiters
    }

    fn status(&self) -> Status {
        let stats = self.journal.stats();
        let trouble = self.state.trouble.lock().clone();
        let mut status = Status {
            kind: "journal",
            mode: "live",
            healthy: trouble.is_empty() && !stats.troubled,
            trouble,
            oldest_unreported_seconds: stats.oldest_uncommitted_age.as_secs_f64(),
            ..Status::default()
        };
        status.journal(&stats);
        status
    }

    fn close(&self, limit: Duration) {
        if let Err(unflushed) = self.journal.close(limit) {
            warn!(bytes = unflushed.bytes, "the journal could not be written to its end; those records were not acknowledged");
        }
    }
}

struct Hears(Arc<State>);

impl Reports for Hears {
    fn durable(&mut self, tokens: &[u64]) {
        for token in tokens {
            self.0.receipts.report(Token(*token), &self.0.ledger);
        }
    }

    fn room(&mut self) {
        self.0.waiters.wake_all();
    }

    fn trouble(&mut self, what: &str) {
        error!("{what}; acknowledgements are held, devices stay connected; retrying");
        what.clone_into(&mut self.0.trouble.lock());
    }

    fn recovered(&mut self) {
        info!("the journal takes records again");
        self.0.trouble.lock().clear();
    }
}
