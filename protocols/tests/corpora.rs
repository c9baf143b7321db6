//! What the fuzzer keeps for first bytes and for the way down passes; `fixtures.rs` has the rest. Corpora are small, and hold
//! invented bytes only.

#![expect(clippy::disallowed_methods, reason = "corpora are files")]

use std::fs;
use std::path::Path;

use protocols::PROTOCOLS;
use protocols::script::{fuzz_detection, fuzz_downlink};

/// Files of one corpus: more would make every test run slow, and the fuzzer minimises them.
const FILES: usize = 200;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let read = |path: &Path| (path.display().to_string(), fs::read(path).unwrap());
    let found: Vec<_> = entries.map(|entry| read(&entry.unwrap().path())).collect();
    assert!((1..=FILES).contains(&found.len()), "{target} has {} files", found.len());
    found
}

#[test]
fn first_bytes() {
    for (name, data) in corpus("detect").into_iter().chain(corpus("session")) {
        assert_eq!(fuzz_detection(PROTOCOLS, &data), Ok(()), "{name}");
    }
}

#[test]
fn frames_to_a_device() {
    let samples = PROTOCOLS.iter().flat_map(|p| (p.down.samples)().into_iter().map(|frame| (p.name.to_owned(), frame)));
    for (name, data) in corpus("downlink").into_iter().chain(samples) {
        assert_eq!(fuzz_downlink(PROTOCOLS, &data), Ok(()), "{name}");
    }
}
