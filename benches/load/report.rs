//! The figures, as a person reads them.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::latency::Histogram;
use crate::run::Figures;

/// All runs so far.
#[derive(Debug)]
pub(crate) struct Report {
    store: String,
    figures: Vec<Figures>,
}

impl Report {
    /// Of runs with this store.
    pub(crate) fn new(store: &str) -> Self {
        Self { store: store.to_owned(), figures: Vec::new() }
    }

    /// One more.
    pub(crate) fn add(&mut self, figures: Figures) {
        self.figures.push(figures);
    }

    /// Whether everything was acknowledged and is accounted for.
    pub(crate) fn is_well(&self) -> bool {
        self.figures.iter().all(|f| f.complaints.is_empty())
    }

    /// To stdout.
    ///
    /// # Errors
    /// Somebody who does not listen to the end.
    pub(crate) fn print(&self) -> Result<(), String> {
        let Some(first) = self.figures.first() else { return Ok(()) };
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let (measured, warmup) = (first.run.measured.as_secs_f64(), first.run.warmup.as_secs_f64());
        let mut text = String::new();
        // writing to a string cannot fail
        let _ = writeln!(
            text,
            "navgate {}, {}, {cores} cores, {measured} s each after {warmup} s",
            env!("CARGO_PKG_VERSION"),
            self.store
        );
        self.speed(&mut text);
        self.accounting(&mut text);
        std::io::stdout().lock().write_all(text.as_bytes()).map_err(|e| format!("cannot print: {e}"))
    }

    fn speed(&self, text: &mut String) {
        let _ = writeln!(text);
        let _ = writeln!(
            text,
            "{:<32}  {:>8}  {:>8} {:>8} {:>8} {:>8}  {:>8}  {:>8}  {:>8}",
            "", "acked", "p50", "p90", "p99", "max", "late p99", "CPU", "RSS"
        );
        let _ = writeln!(
            text,
            "{:<8}  {:<22}  {:>8}  {:>8} {:>8} {:>8} {:>8}  {:>8}  {:>8}  {:>8}",
            "protocol", "load", "1/s", "ms", "ms", "ms", "ms", "ms", "s/100k", "KiB/conn"
        );
        for f in &self.figures {
            let rate = if f.sent == 0 { "-".to_owned() } else { format!("{:.0}", f.acknowledged_per_second) };
            let cpu = f.cpu_seconds.map_or_else(|| "-".to_owned(), |s| format!("{s:.2}"));
            let [p50, p90, p99] = [500, 900, 990].map(|p| milliseconds(&f.latency, |h| h.per_mille_ms(p)));
            let max = milliseconds(&f.latency, Histogram::max_ms);
            let late = milliseconds(&f.lateness, |h| h.per_mille_ms(990));
            let _ = writeln!(
                text,
                "{}  {rate:>8}  {p50:>8} {p90:>8} {p99:>8} {max:>8}  {late:>8}  {cpu:>8}  {:>8.1}",
                f.run, f.rss_kib
            );
        }
    }

    fn accounting(&self, text: &mut String) {
        let _ = writeln!(text);
        let _ = writeln!(
            text,
            "{:<32}  {:>9}  {:>9} = {:>9} + {:>7} + {:>8} + {:>7} + {:>9}  {:>11}",
            "ledger", "unacked", "received", "stored", "handled", "rejected", "dropped", "in flight", "unaccounted"
        );
        for f in &self.figures {
            let l = &f.ledger;
            let _ = writeln!(
                text,
                "{}  {:>9}  {:>9} = {:>9} + {:>7} + {:>8} + {:>7} + {:>9}  {:>11}",
                f.run,
                f.sent - f.acknowledged,
                l.received,
                l.stored,
                l.handled,
                l.rejected,
                l.dropped,
                l.in_flight,
                l.unaccounted
            );
        }
        for f in &self.figures {
            for complaint in &f.complaints {
                let _ = writeln!(text, "{}  FAILED: {complaint}", f.run);
            }
        }
    }
}

fn milliseconds(histogram: &Histogram, what: impl Fn(&Histogram) -> f64) -> String {
    if histogram.count() == 0 { "-".to_owned() } else { format!("{:.2}", what(histogram)) }
}
