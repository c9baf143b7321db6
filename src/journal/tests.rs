//! The journal as a whole, on a disk that fails where a test wants.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::disk::{self, Disk, Handle, OsDisk};
use super::*;

/// What the fuzzer asserts.
#[path = "../../fuzz/laws/journal.rs"]
mod law;

/// Longer than any of this takes on a busy machine; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a disk is to do wrong, and what it was asked.
#[derive(Debug, Default)]
struct Script {
    /// Bytes until the disk is full.
    space: Option<usize>,
    failing_writes: usize,
    /// Of a failing write so many bytes arrive.
    half: usize,
    failing_syncs: usize,
    failing_creates: usize,
    failing_removes: usize,
    /// Syncs do not return.
    hung: bool,
    /// Files on which a write or a sync has failed.
    failed: BTreeSet<PathBuf>,
    /// Such a file was written or synced again.
    touched_again: bool,
    syncs: usize,
}

#[derive(Debug, Clone, Default)]
struct Faults(Arc<Mutex<Script>>);

impl Faults {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }
}

fn take(count: &mut usize) -> bool {
    let any = *count > 0;
    *count -= usize::from(any);
    any
}

struct FaultyDisk(Faults);

impl Disk for FaultyDisk {
    fn create(&mut self, path: &Path) -> io::Result<Handle> {
        if take(&mut self.0.script().failing_creates) {
            return Err(ErrorKind::PermissionDenied.into());
        }
        OsDisk.create(path)
    }

    fn write(&mut self, handle: &mut Handle, bytes: &[u8]) -> io::Result<()> {
        let mut script = self.0.script();
        let script = &mut *script;
        script.touched_again |= script.failed.contains(&handle.path);
        let (arrive, error) = match script.space {
            Some(space) if space < bytes.len() => (space, Some(ErrorKind::StorageFull)),
            _ if take(&mut script.failing_writes) => (script.half.min(bytes.len()), Some(ErrorKind::Other)),
            _ => (bytes.len(), None),
        };
        OsDisk.write(handle, &bytes[..arrive])?;
        script.space = script.space.map(|space| space - arrive);
        error.map_or(Ok(()), |error| {
            script.failed.insert(handle.path.clone());
            Err(error.into())
        })
    }

    fn sync(&mut self, handle: &Handle) -> io::Result<()> {
        while self.0.script().hung {
            thread::sleep(Duration::from_millis(1));
        }
        let mut script = self.0.script();
        script.syncs += 1;
        script.touched_again |= script.failed.contains(&handle.path);
        if take(&mut script.failing_syncs) {
            script.failed.insert(handle.path.clone());
            return Err(ErrorKind::Other.into());
        }
        OsDisk.sync(handle)
    }

    fn is_linked(&mut self, handle: &Handle) -> io::Result<bool> {
        OsDisk.is_linked(handle)
    }

    fn truncate(&mut self, handle: &Handle, length: u64) -> io::Result<()> {
        OsDisk.truncate(handle, length)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        if take(&mut self.0.script().failing_removes) {
            return Err(ErrorKind::PermissionDenied.into());
        }
        OsDisk.remove(path)
    }
}

/// What was reported.
#[derive(Debug, Default)]
struct Heard {
    durable: Vec<u64>,
    rooms: usize,
    troubles: Vec<String>,
    recoveries: usize,
    /// Tokens that were reported before their record could be read.
    early: Vec<u64>,
}

#[derive(Debug, Clone)]
struct Ear {
    heard: Arc<Mutex<Heard>>,
    directory: PathBuf,
    /// Look into the journal at each report.
    check: bool,
}

impl Reports for Ear {
    fn durable(&mut self, tokens: &[u64]) {
        let stored: BTreeSet<u64> = if self.check { values(&self.directory).into_iter().collect() } else { BTreeSet::new() };
        let mut heard = self.heard.lock().unwrap();
        heard.early.extend(tokens.iter().filter(|t| self.check && !stored.contains(t)));
        heard.durable.extend(tokens);
    }
    fn room(&mut self) {
        self.heard.lock().unwrap().rooms += 1;
    }
    fn trouble(&mut self, what: &str) {
        self.heard.lock().unwrap().troubles.push(what.to_owned());
    }
    fn recovered(&mut self) {
        self.heard.lock().unwrap().recoveries += 1;
    }
}

/// The records in a journal; each test's value is its token.
fn values(directory: &Path) -> Vec<u64> {
    let mut reader = Reader::open(directory).unwrap();
    let mut all = Vec::new();
    while let Some(found) = reader.next().unwrap() {
        if let Found::Entry(entry) = found {
            all.push(str::from_utf8(entry.value).unwrap().parse().unwrap());
        }
    }
    all
}

fn wait_for(what: &str, mut until: impl FnMut() -> bool) {
    let start = Instant::now();
    while !until() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

struct Bench {
    root: tempfile::TempDir,
    faults: Faults,
    heard: Arc<Mutex<Heard>>,
    journal: Journal,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Options)) -> Self {
        Self::checked(true, change)
    }

    fn checked(check: bool, change: impl FnOnce(&mut Options)) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut options = Options { commit_interval: Duration::ZERO, queue_bytes: 1 << 16, ..Options::new(root.path()) };
        change(&mut options);
        let (faults, heard) = (Faults::default(), Arc::default());
        let ear = Ear { heard: Arc::clone(&heard), directory: root.path().to_owned(), check };
        let (journal, _) = Journal::open_on(Box::new(FaultyDisk(faults.clone())), options, Box::new(ear), &mut |_, _| {}).unwrap();
        Self { root, faults, heard, journal }
    }

    fn append(&self, token: u64) -> Result<(), Refused> {
        self.journal.append("orders", token.to_string().as_bytes(), token)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap()
    }

    /// Append, each record in a batch of its own.
    fn append_each(&self, tokens: impl IntoIterator<Item = u64>) {
        for token in tokens {
            self.append(token).unwrap();
            self.wait_durable(token);
        }
    }

    fn wait_durable(&self, token: u64) {
        wait_for("a report", || self.heard().durable.contains(&token));
    }

    /// Nothing early, nothing twice, nothing out of order, nothing done to a file that has failed.
    fn close_with(&self, expected: impl IntoIterator<Item = u64>) {
        self.journal.close(PATIENCE).unwrap();
        let expected: Vec<u64> = expected.into_iter().collect();
        assert_eq!(self.heard().durable, expected);
        assert!(self.heard().early.is_empty(), "{:?}", self.heard().early);
        assert!(!self.faults.script().touched_again);
    }

    fn segments(&self) -> Vec<u64> {
        disk::segments(self.root.path()).unwrap()
    }

    fn reopen(&self) -> Recovery {
        let ear = Ear { heard: Arc::default(), directory: self.root.path().to_owned(), check: false };
        Journal::open(Options::new(self.root.path()), Box::new(ear)).unwrap().1
    }
}

#[test]
fn reports_in_order_what_can_be_read() {
    let bench = Bench::checked(false, |o| o.segment_bytes = 500);
    for token in 0..2000 {
        while bench.append(token) == Err(Refused::Full) {
            thread::yield_now();
        }
    }
    bench.close_with(0..2000);
    assert_eq!(values(bench.root.path()), (0..2000).collect::<Vec<_>>());
    assert_eq!(bench.append(1), Err(Refused::Closed));
    let stats = bench.journal.stats();
    assert_eq!((stats.uncommitted_bytes, stats.oldest_uncommitted_age), (0, Duration::ZERO));
    assert_eq!(stats.segments, bench.segments().len());
    let recovery = bench.reopen();
    assert_eq!((recovery.records, recovery.bytes, recovery.bad_lines), (2000, stats.bytes, 0));
}

#[test]
fn many_records_share_a_sync() {
    let bench = Bench::checked(false, |o| o.commit_interval = Duration::from_millis(100));
    (0..1000).for_each(|token| bench.append(token).unwrap());
    bench.close_with(0..1000);
    assert!(bench.faults.script().syncs < 100);
}

#[test]
fn eight_threads_lose_and_repeat_nothing() {
    const EACH: u64 = 5000;
    let bench = Bench::checked(false, |o| {
        o.segment_bytes = 1 << 14;
        o.queue_bytes = 1 << 13;
    });
    thread::scope(|scope| {
        for thread in 0..8 {
            let bench = &bench;
            scope.spawn(move || {
                for n in 0..EACH {
                    while bench.append(thread * EACH + n) == Err(Refused::Full) {
                        thread::yield_now();
                    }
                }
            });
        }
    });
    bench.journal.close(PATIENCE).unwrap();
    let stored = values(bench.root.path());
    assert_eq!(bench.heard().durable, stored, "reports stand in the order of the lines");
    let mut last = HashMap::new();
    for token in &stored {
        let before = last.insert(token / EACH, *token);
        assert!(before.is_none_or(|before| before < *token), "a thread's records stay in order");
    }
    let distinct: BTreeSet<u64> = stored.iter().copied().collect();
    assert_eq!((stored.len(), distinct.len()), (8 * EACH as usize, 8 * EACH as usize));
}

#[test]
fn a_half_written_batch_goes_to_a_new_segment() {
    for half in 0..40 {
        let bench = Bench::new(|_| ());
        bench.append_each([1, 2]);
        let mut script = bench.faults.script();
        (script.failing_writes, script.half) = (1, half);
        drop(script);
        bench.append_each([3]);
        bench.close_with([1, 2, 3]);
        assert_eq!(values(bench.root.path()), [1, 2, 3], "half {half}");
        assert_eq!(bench.segments(), [1, 2]);
        let heard = bench.heard();
        assert_eq!((heard.troubles.len(), heard.recoveries), (1, 1));
        assert!(heard.troubles[0].contains("00000000000000000001.jsonl"), "{:?}", heard.troubles);
        drop(heard);
        assert_eq!(bench.reopen().bad_lines, 0);
    }
}

#[test]
fn a_file_whose_sync_failed_is_left_alone() {
    let bench = Bench::new(|_| ());
    bench.append_each([1]);
    bench.faults.script().failing_syncs = 2;
    bench.append_each([2, 3]);
    bench.close_with([1, 2, 3]);
    // the second try failed on a file of its own, which held nothing else
    assert_eq!(bench.segments(), [1, 3]);
    assert_eq!(values(bench.root.path()), [1, 2, 2, 3], "once where nobody knows whether it is durable, once where it is");
    let heard = bench.heard();
    assert_eq!((heard.troubles.len(), heard.recoveries), (1, 1));
    drop(heard);
    assert_eq!(bench.journal.stats().bytes, bench.reopen().bytes);
}

#[test]
fn a_full_disk_holds_the_reports_back_and_loses_nothing() {
    let bench = Bench::new(|o| o.queue_bytes = 200);
    bench.append_each([1]);
    bench.faults.script().space = Some(30);
    let mut taken = 1;
    wait_for("a refusal", || match bench.append(taken + 1) {
        Ok(()) => {
            taken += 1;
            false
        }
        Err(refused) => refused == Refused::Full,
    });
    wait_for("trouble", || bench.journal.stats().troubled);
    let stats = bench.journal.stats();
    assert!(stats.uncommitted_bytes > 150 && stats.oldest_uncommitted_age > Duration::ZERO, "{stats:?}");
    assert_eq!(bench.segments().len(), 1, "tries leave nothing behind");
    assert_eq!(bench.heard().rooms, 0);
    bench.faults.script().space = None;
    bench.wait_durable(taken);
    wait_for("room", || bench.heard().rooms == 1);
    bench.append_each([taken + 1]);
    bench.close_with(1..=taken + 1);
    assert_eq!(values(bench.root.path()), (1..=taken + 1).collect::<Vec<_>>());
    let heard = bench.heard();
    assert_eq!((heard.troubles.len(), heard.recoveries), (1, 1));
    assert!(heard.troubles[0].contains("make room"), "{:?}", heard.troubles);
}

#[test]
fn a_segment_that_cannot_be_created_is_tried_again() {
    let bench = Bench::new(|_| ());
    bench.faults.script().failing_creates = 2;
    bench.append_each([1]);
    bench.close_with([1]);
    assert!(bench.heard().troubles[0].contains("writable"), "{:?}", bench.heard().troubles);
}

#[test]
fn blocks_at_its_bound_until_it_is_released() {
    // lines of 17 and 18 bytes, two in a segment
    let bench = Bench::new(|o| (o.segment_bytes, o.max_bytes, o.queue_bytes) = (40, 80, 60));
    bench.append_each(1..=4);
    bench.append(5).unwrap();
    wait_for("trouble", || bench.heard().troubles.len() == 1);
    assert!(bench.heard().troubles[0].contains("80 bytes"), "{:?}", bench.heard().troubles);
    for token in 6..=7 {
        bench.append(token).unwrap();
    }
    assert_eq!(bench.append(8), Err(Refused::Full));
    let mut reader = Reader::open(bench.root.path()).unwrap();
    for _ in 0..2 {
        assert!(matches!(reader.next().unwrap(), Some(Found::Entry(_))));
    }
    bench.journal.release(reader.position());
    bench.wait_durable(5);
    wait_for("recovery", || bench.heard().recoveries == 1);
    assert_eq!(bench.segments()[0], 2);
    while reader.next().unwrap().is_some() {}
    bench.journal.release(reader.position());
    wait_for("room", || bench.heard().rooms >= 1);
    bench.wait_durable(7);
    bench.close_with(1..=7);
}

#[test]
fn a_drained_journal_is_empty_and_goes_on() {
    let bench = Bench::new(|o| o.segment_bytes = 40);
    bench.append_each(1..=5);
    let mut reader = Reader::open(bench.root.path()).unwrap();
    while reader.next().unwrap().is_some() {}
    bench.faults.script().failing_removes = 1;
    bench.journal.release(reader.position());
    wait_for("trouble", || bench.heard().troubles.len() == 1);
    bench.journal.release(reader.position());
    wait_for("an empty journal", || bench.journal.stats().bytes == 0);
    wait_for("recovery", || bench.heard().recoveries == 1);
    bench.append_each([6]);
    assert!(matches!(reader.next().unwrap(), Some(Found::Entry(entry)) if entry.value == b"6"));
    bench.close_with(1..=6);
}

#[test]
fn deletes_the_oldest_and_counts_it() {
    let bench = Bench::new(|o| {
        (o.segment_bytes, o.max_bytes, o.queue_bytes) = (40, 80, 60);
        o.on_full = OnFull::DeleteOldest;
    });
    bench.append_each(1..=9);
    bench.close_with(1..=9);
    let stats = bench.journal.stats();
    let left = values(bench.root.path());
    assert_eq!((stats.deleted_segments, stats.deleted_records), (3, 6));
    assert_eq!(left, [7, 8, 9]);
    assert!(stats.bytes <= 80 && stats.oldest.is_some());
    assert!(bench.heard().troubles.is_empty());
}

#[test]
fn a_segment_deleted_by_hand_costs_no_unreported_record() {
    let bench = Bench::new(|_| ());
    bench.append_each([1]);
    fs::remove_file(disk::segment_path(bench.root.path(), 1)).unwrap();
    bench.append_each([2]);
    bench.close_with([1, 2]);
    assert_eq!(values(bench.root.path()), [2]);
    assert!(bench.heard().troubles[0].contains("newest segment"), "{:?}", bench.heard().troubles);
}

#[test]
fn a_hung_disk_shows_in_the_age_and_closing_has_a_limit() {
    let bench = Bench::new(|_| ());
    bench.faults.script().hung = true;
    bench.append(1).unwrap();
    wait_for("age", || bench.journal.stats().oldest_uncommitted_age > Duration::from_millis(20));
    let error = bench.journal.close(Duration::from_millis(10)).unwrap_err();
    assert_eq!(error, Unflushed { bytes: 18 });
    assert!(bench.heard().durable.is_empty());
    bench.faults.script().hung = false;
}

#[test]
fn closing_gives_up_at_its_limit_and_lets_the_directory_go() {
    let bench = Bench::new(|_| ());
    bench.faults.script().space = Some(0);
    bench.append(1).unwrap();
    assert!(bench.journal.close(Duration::from_millis(120)).is_err());
    assert!(bench.heard().durable.is_empty());
    assert_eq!(bench.reopen().records, 0);
}

#[test]
fn refuses_a_directory_that_is_in_use() {
    let bench = Bench::new(|_| ());
    let ear = Ear { heard: Arc::default(), directory: PathBuf::new(), check: false };
    let error = Journal::open(Options::new(bench.root.path()), Box::new(ear)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(bench.root.path().to_str().unwrap()) && text.contains("stop that one"), "{text}");
    bench.close_with([]);
    bench.reopen();
}

#[test]
fn refuses_options_that_contradict_each_other() {
    let root = tempfile::tempdir().unwrap();
    let wrong: [fn(&mut Options); 4] = [
        |o| o.segment_bytes = 0,
        |o| o.queue_bytes = 0,
        |o| o.max_bytes = o.segment_bytes - 1,
        |o| (o.segment_bytes, o.max_bytes) = (1, o.queue_bytes as u64 - 1),
    ];
    for change in wrong {
        let mut options = Options::new(root.path());
        change(&mut options);
        let ear = Ear { heard: Arc::default(), directory: PathBuf::new(), check: false };
        assert!(matches!(Journal::open(options, Box::new(ear)), Err(OpenError::Options(_))));
    }
}

#[test]
fn each_process_writes_segments_of_its_own() {
    let bench = Bench::new(|_| ());
    bench.append_each([1]);
    bench.close_with([1]);
    let ear = Ear { heard: Arc::default(), directory: bench.root.path().to_owned(), check: false };
    let (journal, recovery) = Journal::open(Options::new(bench.root.path()), Box::new(ear)).unwrap();
    assert_eq!(recovery.records, 1);
    assert_eq!(bench.segments(), [1], "a process that stores nothing leaves nothing");
    journal.append("orders", b"2", 2).unwrap();
    journal.close(PATIENCE).unwrap();
    assert_eq!(bench.segments(), [1, 2]);
    assert_eq!(values(bench.root.path()), [1, 2]);
}

#[test]
fn a_follower_sees_everything_across_segments() {
    const ALL: u64 = 3000;
    let bench = Bench::checked(false, |o| (o.segment_bytes, o.queue_bytes) = (2000, 1000));
    thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let mut reader = Reader::open(bench.root.path()).unwrap();
            let (mut seen, start) = (Vec::new(), Instant::now());
            while seen.len() < ALL as usize && start.elapsed() < PATIENCE {
                match reader.next().unwrap() {
                    Some(Found::Entry(entry)) => seen.push(str::from_utf8(entry.value).unwrap().parse::<u64>().unwrap()),
                    Some(Found::Bad { at, flaw }) => panic!("{at:?}: {flaw}"),
                    None => thread::yield_now(),
                }
            }
            seen
        });
        for token in 0..ALL {
            while bench.append(token) == Err(Refused::Full) {
                thread::yield_now();
            }
        }
        assert_eq!(follower.join().unwrap(), (0..ALL).collect::<Vec<_>>());
    });
    bench.close_with(0..ALL);
    assert!(bench.segments().len() > 10);
}

#[test]
fn an_append_is_refused_when_the_commit_thread_is_gone() {
    struct Panics;
    impl Reports for Panics {
        fn durable(&mut self, _: &[u64]) {
            panic!("a report that panics, as this test wants");
        }
        fn room(&mut self) {}
        fn trouble(&mut self, _: &str) {}
        fn recovered(&mut self) {}
    }
    let root = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(Options::new(root.path()), Box::new(Panics)).unwrap();
    journal.append("orders", b"1", 1).unwrap();
    wait_for("the end", || journal.append("orders", b"2", 2) == Err(Refused::Closed));
}

#[test]
fn everything_that_the_fuzzer_keeps_passes() {
    let root = tempfile::tempdir().unwrap();
    let corpus = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/journal")).unwrap();
    let kept: Vec<_> = corpus.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    kept.iter().for_each(|bytes| law::check(&root.path().join("journal"), bytes));
    assert!(!kept.is_empty());
}
