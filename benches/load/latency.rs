//! Latencies, in bounded memory whatever their number.

use std::time::Duration;

/// Buckets for each doubling: what a bucket holds differs by less than 1/64, far less than two runs do.
const STEPS: usize = 64;
/// Below this each microsecond has a bucket of its own.
const EXACT: usize = 2 * STEPS;
/// Doublings above that, up to the largest `u64`.
const DOUBLINGS: usize = 57;

/// How often which latency was seen.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; EXACT + DOUBLINGS * STEPS].into(), total: 0, max_us: 0 }
    }
}

impl Histogram {
    /// One more.
    pub(crate) fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(us)) {
            *count += 1;
        }
        self.total += 1;
        self.max_us = self.max_us.max(us);
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u64 {
        self.total
    }

    /// The latency in milliseconds that so many of 1000 do not exceed, rounded up to its bucket's end.
    pub(crate) fn per_mille_ms(&self, per_mille: u64) -> f64 {
        let wanted = (self.total * per_mille).div_ceil(1000);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        ms(found.map_or(self.max_us, |at| last_of(at).min(self.max_us)))
    }

    /// The longest, in milliseconds; exact.
    pub(crate) fn max_ms(&self) -> f64 {
        ms(self.max_us)
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// Where a latency is counted.
fn bucket(us: u64) -> usize {
    if us < EXACT as u64 {
        return us as usize;
    }
    let doubling = us.ilog2() - STEPS.ilog2();
    doubling as usize * STEPS + (us >> doubling) as usize
}

/// The longest latency that is counted there.
fn last_of(bucket: usize) -> u64 {
    if bucket < EXACT {
        return bucket as u64;
    }
    let doubling = bucket / STEPS - 1;
    let first = (bucket % STEPS + STEPS) as u64;
    (first << doubling) | ((1 << doubling) - 1)
}

/// Percentiles of latencies that are known.
///
/// # Errors
/// What is told wrongly.
pub(crate) fn check() -> Result<(), String> {
    for us in (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]).chain([u64::MAX]) {
        let at = bucket(us);
        let before = at.checked_sub(1).map(last_of);
        if last_of(at) < us || before.is_some_and(|before| before >= us) || last_of(at) - us > us / STEPS as u64 {
            return Err(format!("{us} us is counted up to {} us, behind {before:?}", last_of(at)));
        }
    }
    let mut histogram = Histogram::default();
    (1..=100_u64).for_each(|us| histogram.record(Duration::from_micros(us)));
    histogram.record(Duration::from_secs(10));
    let told = [500, 900, 990].map(|p| histogram.per_mille_ms(p));
    if told != [0.051, 0.091, 0.1] || histogram.max_ms() != 10_000.0 || histogram.per_mille_ms(1000) != 10_000.0 {
        return Err(format!("the percentiles of 1..100 us and 10 s are {told:?} ms"));
    }
    if Histogram::default().count() != 0 || Histogram::default().per_mille_ms(500) != 0.0 {
        return Err("an empty histogram tells something".to_owned());
    }
    Ok(())
}
