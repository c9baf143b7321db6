//! What holds of any bytes that a crash, an editor or a bad disk left in a journal; for the fuzzer and for the unit tests. Whoever
//! includes it says where the journal is.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{Found, Journal, Options, Reader, Recovery, Reports, Show, print_events};

struct Nobody;

impl Reports for Nobody {
    fn durable(&mut self, _: &[u64]) {}
    fn room(&mut self) {}
    fn trouble(&mut self, what: &str) {
        panic!("{what}");
    }
    fn recovered(&mut self) {}
}

/// The first byte says where the rest is torn into two segments. Opening it mends at most the last line; readers and the
/// recovery count the same; opening it again changes nothing; what is appended then is read behind everything.
pub(crate) fn check(directory: &Path, data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let (first, second) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let segment = |n: u64| directory.join(format!("{n:020}.jsonl"));
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).unwrap();
    fs::write(segment(1), first).unwrap();
    fs::write(segment(2), second).unwrap();
    let before = entries(directory);
    let recovery = open(directory, &[]);
    let after = entries(directory);
    assert_eq!((after.0.len() as u64, after.1), (recovery.records, recovery.bad_lines), "{recovery:?}");
    // a last line that lacks only its newline is read once it has got it
    assert!(after.0.starts_with(&before.0) && after.0.len() <= before.0.len() + 1, "{before:?}, {after:?}");
    assert_eq!(fs::read(segment(1)).unwrap(), first, "only the last segment may be mended");
    let mended = fs::read(segment(2)).unwrap();
    assert!(mended.strip_suffix(b"\n").is_some_and(|m| m == second) || second.starts_with(&mended), "{second:?}, {mended:?}");
    let again = open(directory, &[("telemetry", b"{}")]);
    assert_eq!((again.records, again.bad_lines, &again.cut), (recovery.records, recovery.bad_lines, &None), "{again:?}");
    let last = entries(directory);
    assert_eq!(last.0.split_last(), Some((&("telemetry".to_owned(), b"{}".to_vec()), &after.0[..])));
    let (mut out, mut talk) = (Vec::new(), Vec::new());
    print_events(directory, Show { all: true, follow: false }, &AtomicBool::new(false), &mut out, &mut talk).unwrap();
    assert_eq!(out.iter().filter(|b| **b == b'\n').count(), last.0.len());
    assert_eq!(talk.iter().filter(|b| **b == b'\n').count() as u64, last.1);
}

/// Open it, append, and close it.
fn open(directory: &Path, append: &[(&str, &[u8])]) -> Recovery {
    let options = Options { commit_interval: Duration::ZERO, queue_bytes: 4 << 20, ..Options::new(directory) };
    let (journal, recovery) = Journal::open(options, Box::new(Nobody)).unwrap();
    for (topic, value) in append {
        journal.append(topic, value, 0).unwrap();
    }
    journal.close(Duration::from_secs(30)).unwrap();
    recovery
}

/// What a reader finds, and how many lines it cannot use.
fn entries(directory: &Path) -> (Vec<(String, Vec<u8>)>, u64) {
    let mut reader = Reader::open(directory).unwrap();
    let (mut found, mut bad) = (Vec::new(), 0);
    while let Some(next) = reader.next().unwrap() {
        match next {
            Found::Entry(entry) => found.push((entry.topic.to_owned(), entry.value.to_vec())),
            Found::Bad { .. } => bad += 1,
        }
    }
    (found, bad)
}
