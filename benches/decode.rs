//! What decoding costs, per protocol, on the recorded conversations. `cargo bench`
//!
//! - `one_position`: one position report from bytes to event and acknowledgement; its time is the time of a frame, its
//!   allocations are those of a frame.
//! - `conversations`: everything that a protocol's fixtures hold, with throughput in bytes and frames.
//! - `memchr`: a plain search for one byte in the same bytes, which nothing that looks at each of them can beat.
//!
//! At the end a table puts the last two side by side, measured in turns, so that they share whatever else the machine does.
//! `cargo bench --bench decode -- --skip .` prints only that one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use protocols::PROTOCOLS;
use protocols::event::Body;
use protocols::identity::SessionId;
use protocols::profile::{Auth, Profile, Settings};
use protocols::registry::Protocol;
use protocols::script::{Options, SECRET, Script, run};
use protocols::session::{Delivery, Fate, Opening, Outgoing, Session, Turn};
use protocols::time::Now;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
    // the same program is run by `cargo test --benches`, which wants no figures
    if std::env::args().any(|argument| argument == "--bench") {
        side_by_side();
    }
}

/// Rounds of which the fastest counts: what is slower was disturbed.
const ROUNDS: usize = 15;

/// How long each side of a round is repeated.
const ROUND: Duration = Duration::from_millis(40);

fn side_by_side() {
    println!("\nprotocol    frames/s    ns/frame   bytes/frame   MB/s   memchr MB/s   times memchr");
    for case in cases() {
        let bytes: Vec<u8> = case.scripts.iter().flat_map(Script::bytes).collect();
        let (mut decode, mut scan) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            let mut lines = case.lines();
            decode = decode.min(seconds_each(|spent| {
                // a session hears its conversation once; making new ones is not what is measured
                let begun = Instant::now();
                lines.iter_mut().for_each(|(line, bytes)| line.hear(bytes));
                *spent += begun.elapsed();
                lines = case.lines();
            }));
            scan = scan.min(seconds_each(|spent| {
                let begun = Instant::now();
                black_box(memchr::memchr_iter(0x7E, black_box(&bytes)).count());
                *spent += begun.elapsed();
            }));
        }
        let (frames, size) = (case.frames as f64, bytes.len() as f64);
        println!(
            "{:<10}{:>10.0}{:>12.0}{:>14.1}{:>7.0}{:>14.0}{:>15.1}",
            case.protocol.name,
            frames / decode,
            decode / frames * 1e9,
            size / frames,
            size / decode / 1e6,
            size / scan / 1e6,
            decode / scan
        );
    }
}

/// Repeat what adds to the time spent for [`ROUND`]; the mean of one repetition.
fn seconds_each(mut work: impl FnMut(&mut Duration)) -> f64 {
    let (mut spent, mut n) = (Duration::ZERO, 0_u32);
    while spent < ROUND {
        work(&mut spent);
        n += 1;
    }
    spent.as_secs_f64() / f64::from(n)
}

/// One protocol with its conversations.
struct Case {
    protocol: &'static Protocol,
    scripts: Vec<Script>,
    bytes: usize,
    frames: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol.name)
    }
}

fn cases() -> Vec<Case> {
    PROTOCOLS.iter().map(|protocol| Case::load(protocol)).collect()
}

impl Case {
    fn load(protocol: &'static Protocol) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(protocol.name);
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let read = |path: &Path| {
            Script::parse(&std::fs::read_to_string(path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let scripts: Vec<_> = paths.iter().map(|path| read(path)).collect();
        let tally = |script| run(protocol, script, &Options::default()).tally;
        let (bytes, frames) = scripts.iter().map(tally).fold((0, 0), |(b, f), t| (b + t.bytes, f + t.frames));
        Self { protocol, scripts, bytes, frames }
    }

    fn open(&self, script: &Script) -> Line {
        let ours = |p: &Profile| Arc::new(Profile { protocol: Some(self.protocol.name.into()), ..p.clone() });
        let settings = Settings {
            profiles: script.profiles.iter().map(ours).collect(),
            auth: Auth { required: script.auth_required, secrets: vec![SECRET.to_vec()] },
            ..Settings::default()
        };
        let opening = Opening { session: SessionId(0), settings: Arc::new(settings), device: script.device.clone() };
        let now = Now { utc: script.start, uptime: Duration::ZERO };
        Line { session: (self.protocol.open)(opening), turn: Turn::default(), out: Outgoing::default(), now }
    }

    /// A fresh session for each conversation, with what it is to hear.
    fn lines(&self) -> Vec<(Line, Vec<u8>)> {
        self.scripts.iter().map(|script| (self.open(script), script.bytes())).collect()
    }

    /// A session that has got as far as the shortest position report of all conversations, and the report, which it takes
    /// again and again.
    fn at_a_position(&self) -> Option<(Line, Vec<u8>)> {
        let in_script = |script: &Script| {
            let mut line = self.open(script);
            let bytes = script.bytes();
            let mut at = 0;
            while let used @ 1.. = line.frame(&bytes[at..]) {
                let report = bytes[at..at + used].to_vec();
                if line.reports() && line.frame(&report) == report.len() && line.reports() {
                    return Some((line, report));
                }
                at += used;
            }
            None
        };
        self.scripts.iter().filter_map(in_script).min_by_key(|(_, report)| report.len())
    }
}

/// A connection whose frames are stored at once.
struct Line {
    session: Box<dyn Session>,
    turn: Turn,
    out: Outgoing,
    now: Now,
}

impl Line {
    /// Up to one frame from the start of these bytes, acknowledged.
    fn frame(&mut self, bytes: &[u8]) -> usize {
        let used = self.session.receive(bytes, self.now, &mut self.turn);
        if self.turn.receipt {
            self.out.clear();
            self.session.release(Some(Delivery::Stored), self.now, &mut self.out);
        }
        used
    }

    /// All of these bytes.
    fn hear(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while let used @ 1.. = self.frame(black_box(&bytes[at..])) {
            at += used;
        }
    }

    fn reports(&self) -> bool {
        self.turn.fate == Some(Fate::Store)
            && matches!(self.turn.events.as_slice(), [event] if matches!(event.body, Body::Position(_)))
    }
}

#[divan::bench(args = cases())]
fn one_position(bencher: Bencher<'_, '_>, case: &Case) {
    let Some((mut line, report)) = case.at_a_position() else { return };
    bencher.counter(BytesCount::new(report.len())).bench_local(|| line.frame(black_box(&report)));
}

#[divan::bench(args = cases())]
fn conversations(bencher: Bencher<'_, '_>, case: &Case) {
    bencher
        .with_inputs(|| case.lines())
        .counter(BytesCount::new(case.bytes))
        .counter(ItemsCount::new(case.frames))
        .bench_local_refs(|lines| lines.iter_mut().for_each(|(line, bytes)| line.hear(bytes)));
}

#[divan::bench(args = cases())]
fn memchr(bencher: Bencher<'_, '_>, case: &Case) {
    let bytes: Vec<u8> = case.scripts.iter().flat_map(Script::bytes).collect();
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| memchr::memchr_iter(0x7E, black_box(&bytes)).count());
}
