//! How fast records become durable.
//!
//! Run it where journals will lie (`TMPDIR`), for the disk decides: `cargo bench --bench journal`.

#[allow(dead_code, unreachable_pub, unused_imports, reason = "the whole module, for a part of it")]
#[path = "../src/journal/mod.rs"]
mod journal;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use journal::{Journal, OnFull, Options, Reports};

/// Bytes of a usual position event.
const VALUE: usize = 600;
/// Records of one run: long enough that the first batches do not count.
const RECORDS: u64 = 400_000;

fn main() {
    divan::main();
}

struct Count(Arc<AtomicU64>);

impl Reports for Count {
    fn durable(&mut self, tokens: &[u64]) {
        self.0.fetch_add(tokens.len() as u64, Ordering::Release);
    }
    fn room(&mut self) {}
    fn trouble(&mut self, what: &str) {
        eprintln!("{what}");
    }
    fn recovered(&mut self) {}
}

fn open(root: &tempfile::TempDir) -> (Journal, Arc<AtomicU64>) {
    let durable = Arc::new(AtomicU64::new(0));
    let options = Options { max_bytes: 512 << 20, on_full: OnFull::DeleteOldest, ..Options::new(root.path()) };
    let (journal, _) = Journal::open(options, Box::new(Count(Arc::clone(&durable)))).expect("a journal in a new directory");
    (journal, durable)
}

/// From the first append to the last report, with so many appending threads.
#[divan::bench(args = [1, 4], sample_count = 5, sample_size = 1)]
fn durable(bencher: Bencher<'_, '_>, threads: u64) {
    let root = tempfile::tempdir().expect("a directory");
    let (journal, durable) = open(&root);
    let value = [b'7'; VALUE];
    bencher.counter(ItemsCount::new(RECORDS)).counter(BytesCount::new(RECORDS * VALUE as u64)).bench_local(|| {
        let goal = durable.load(Ordering::Acquire) + RECORDS;
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for token in 0..RECORDS / threads {
                        while journal.append("telemetry", &value, token).is_err() {
                            thread::sleep(Duration::from_micros(50));
                        }
                    }
                });
            }
        });
        while durable.load(Ordering::Acquire) < goal {
            thread::sleep(Duration::from_micros(50));
        }
    });
    journal.close(Duration::from_secs(60)).expect("a journal that keeps up");
}

/// What an append costs the thread that calls it, while the disk keeps up.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn append(bencher: Bencher<'_, '_>) {
    const BURST: u64 = 20_000;
    let root = tempfile::tempdir().expect("a directory");
    let (journal, durable) = open(&root);
    let value = [b'7'; VALUE];
    let mut goal = 0;
    bencher
        .counter(ItemsCount::new(BURST))
        .with_inputs(|| {
            while durable.load(Ordering::Acquire) < goal {
                thread::sleep(Duration::from_micros(50));
            }
            goal += BURST;
        })
        .bench_local_values(|()| (0..BURST).for_each(|token| journal.append("telemetry", &value, token).expect("room")));
    journal.close(Duration::from_secs(60)).expect("a journal that keeps up");
}
