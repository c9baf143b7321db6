//! The cluster in one thread: several instances with the real [`Home`], [`Holder`] and [`Table`], a model of Kafka, of the
//! network, of sessions and of devices, under a virtual clock. Instances are killed, started again and stopped as by SIGSTOP;
//! links break and are cut; Kafka is out of reach for one instance or another; clocks differ; partitions move.
//!
//! Each seed is one history. `SIMULATE=17 cargo test simulation` plays that one again and tells it; `SIMULATE=0..5000` plays
//! so many.

mod broker;
mod session;
mod world;

use world::World;

/// Histories of every run of the tests.
const SEEDS: u64 = 256;

#[test]
fn every_command_has_one_outcome_whatever_happens() {
    let wanted = std::env::var("SIMULATE").ok();
    let (seeds, tell) = match wanted.as_deref().map(|w| (w, w.split_once(".."))) {
        None => (0..SEEDS, false),
        Some((_, Some((from, to)))) => (from.parse().unwrap()..to.parse().unwrap(), false),
        Some((one, None)) => one.parse().map(|seed| (seed..seed + 1, true)).unwrap(),
    };
    let (mut failed, mut written) = (Vec::new(), 0);
    let mut commands = 0;
    for seed in seeds {
        let mut world = World::new(seed, tell);
        world.run();
        failed.extend(world.complaints().into_iter().map(|complaint| format!("seed {seed}: {complaint}")));
        written += world.written();
        commands += world.commanded();
    }
    let shown = &failed[..failed.len().min(20)];
    assert!(failed.is_empty(), "{} complaints; SIMULATE=SEED tells a history: {shown:#?}", failed.len());
    // the histories are no use if nothing gets through
    assert!(written * 3 > commands, "{written} of {commands} commands were written");
}

/// Chance from a seed: splitmix64.
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub(super) const fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// One in `n`.
    pub(super) const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Milliseconds in between.
    pub(super) const fn ms(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }
}
