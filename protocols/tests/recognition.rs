//! One port for all: what each protocol's devices are taken for, over every recorded conversation and, where they are there,
//! over frames of real devices published by others. The tables stand in `RECOGNITION.md`; `UPDATE_RECOGNITION=1` writes them.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "fixtures and tables are files, whether to write is said by the environment, and what was skipped has to be told"
)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use common::fixtures;
use protocols::PROTOCOLS;
use protocols::cursor::{hex, unhex};
use protocols::detect::{Detector, Recognised, WINDOW};
use serde_json::Value;

/// Conversations that are refused, or of which the first frames are taken for another protocol, and why. Where their own protocol
/// is preferred they may be recognised.
const NOT_TOLD: &[(&str, &str)] = &[
    ("jt808/wrong-checksum-accepted", "a clone that computes the checksum wrong needs a port of its own"),
    ("gps103/garbage", "it begins as HTTP does"),
    ("jt905/wrong-checksum-accepted", "a clone that computes the checksum wrong needs a port of its own"),
    ("jt905/wrong-length", "a first frame that declares another length than it has proves nothing"),
    ("jt905/a-telephone-number", "a telephone number is what JT/T 808 has"),
    ("tk103/old-topflytech", "the words behind its number are those of another family, whose dialect has to be said"),
];

/// Frames of others' tests whose bytes are another protocol's too, and why.
const AMBIGUOUS: &[(&str, &str)] = &[
    ("jt_vectors:295", "its number was counted up by its author and is none of JT/T 905, which begin with 10"),
    ("jt_vectors:296", "the same"),
];

/// What others call some devices that are of our protocols.
const ALSO_CALLED: &[(&str, &str)] = &[("topin", "gt06")];

/// The least share of frames that has to be recognised.
const LEAST_PERCENT: usize = 99;

/// Frames of other protocols that may be taken for one of ours, in a thousand.
const CLAIMED_PER_MILLE: usize = 5;

/// What bytes are taken for; `-` for nothing.
fn taken_for(bytes: &[u8], last: bool) -> &'static str {
    match Detector::all().recognise(bytes, last) {
        Recognised::As(protocol) => protocol.name,
        Recognised::Undecided | Recognised::No(_) => "-",
    }
}

/// How often bytes of the row are taken for the column.
#[derive(Debug, Default)]
struct Matrix(BTreeMap<String, BTreeMap<&'static str, usize>>);

impl Matrix {
    fn count(&mut self, of: &str, taken: &'static str) {
        *self.0.entry(of.to_owned()).or_default().entry(taken).or_default() += 1;
    }

    fn get(&self, of: &str, taken: &str) -> usize {
        self.0.get(of).and_then(|row| row.get(taken)).copied().unwrap_or_default()
    }

    fn total(&self, of: &str) -> usize {
        self.0.get(of).map_or(0, |row| row.values().sum())
    }

    fn table(&self, head: &str) -> String {
        let columns: Vec<_> = PROTOCOLS.iter().map(|p| p.name).chain(["-"]).collect();
        let titles = columns.iter().map(|c| if *c == "-" { "none" } else { c });
        let mut text =
            format!("| {head} | all | {} |\n|---|---|{}\n", titles.collect::<Vec<_>>().join(" | "), "---|".repeat(columns.len()));
        for of in self.0.keys() {
            let counts = columns.iter().map(|taken| match self.get(of, taken) {
                0 => String::new(),
                n if of == taken => format!("**{n}**"),
                n => n.to_string(),
            });
            let _ = writeln!(text, "| {of} | {} | {} |", self.total(of), counts.collect::<Vec<_>>().join(" | "));
        }
        text
    }

    /// Whether enough of each protocol's bytes are recognised, and none as another's.
    fn assert_good(&self, what: &str) {
        for protocol in PROTOCOLS {
            let (all, good, none) =
                (self.total(protocol.name), self.get(protocol.name, protocol.name), self.get(protocol.name, "-"));
            assert_eq!(good + none, all, "{what}: some of {protocol:?} are taken for others\n{}", self.table(""));
            assert!(100 * good >= LEAST_PERCENT * all, "{what}: only {good} of {all} of {protocol:?} are recognised");
        }
    }
}

#[test]
fn nothing_is_ever_taken_for_another_protocol() {
    for fixture in fixtures().into_iter().filter(|f| NOT_TOLD.iter().all(|(name, _)| *name != f.name())) {
        let own = fixture.protocol.name;
        let bytes = fixture.script.bytes();
        for end in 0..=bytes.len().min(WINDOW) {
            for last in [false, true] {
                let taken = taken_for(&bytes[..end], last);
                assert!(taken == "-" || taken == own, "{} taken for {taken} after {end} bytes, last {last}", fixture.name());
            }
        }
    }
}

/// The devices do not know how their bytes are split.
#[test]
fn bytes_are_recognised_alike_however_they_are_split() {
    for fixture in fixtures() {
        let bytes = fixture.script.bytes();
        let all = taken_for(&bytes, false);
        let first = (0..=bytes.len()).map(|end| taken_for(&bytes[..end], false)).find(|taken| *taken != "-").unwrap_or("-");
        assert_eq!(all, first, "{}", fixture.name());
    }
}

/// What only a preference can tell.
#[test]
fn a_preference_is_heard_where_bytes_do_not_decide() {
    for fixture in fixtures().into_iter().filter(|f| f.name() == "jt905/a-telephone-number") {
        let own = Detector::new(PROTOCOLS.to_vec(), vec![fixture.protocol]);
        let bytes = fixture.script.bytes();
        let told =
            (0..=bytes.len()).map(|end| own.recognise(&bytes[..end], false)).find(|said| !matches!(said, Recognised::Undecided));
        assert!(matches!(told, Some(Recognised::As(p)) if p.name == fixture.protocol.name), "{told:?}");
    }
}

/// Conversations whole, and each piece in which bytes came as if a connection began with it.
fn recorded() -> (Matrix, Matrix) {
    let (mut whole, mut pieces) = (Matrix::default(), Matrix::default());
    for fixture in fixtures() {
        let own = fixture.protocol.name;
        let taken = taken_for(&fixture.script.bytes(), true);
        if let Some((_, why)) = NOT_TOLD.iter().find(|(name, _)| *name == fixture.name()) {
            assert_ne!(taken, own, "{}: it is recognised, though {why}", fixture.name());
            continue;
        }
        assert_eq!(taken, own, "{}", fixture.name());
        whole.count(own, taken);
        for piece in fixture.script.received() {
            let taken = taken_for(piece, true);
            if taken != own && taken != "-" {
                println!("{}: a piece is taken for {taken}: {}", fixture.name(), hex(piece));
            }
            pieces.count(own, taken);
        }
    }
    (whole, pieces)
}

/// Frames of real devices as on the wire, with the protocol that they are of, under our names.
fn published() -> Option<Vec<(String, Vec<u8>, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let (oracle, standards) = read("traccar_oracle.jsonl").zip(read("jt_vectors.jsonl"))?;
    let json = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for line in oracle.lines().map(json) {
        let sent = line["wire_transport"].is_null() && line["exception"].is_null() && line["wire_server"].is_null();
        let Some(bytes) = unhex(&text(&line, "wire")).filter(|bytes| sent && !bytes.is_empty() && line["result"].is_string())
        else {
            continue;
        };
        found.push((text(&line, "protocol"), bytes, format!("{}:{}", text(&line, "test_file"), line["line"])));
    }
    for (n, line) in standards.lines().map(json).enumerate() {
        let whole = line["computed"]["checksum_ok"] == true && line["computed"]["body_len_ok"] != false;
        let Some(bytes) = unhex(&text(&line, "hex")).filter(|_| line["direction"] == "up" && whole) else { continue };
        let protocol = text(&line, "protocol").split('-').next().unwrap_or_default().to_owned();
        found.push((protocol, bytes, format!("jt_vectors:{}", n + 1)));
    }
    Some(found)
}

/// Our protocols as rows; of the others only those of which something is taken for one of ours.
fn of_real_devices() -> Option<(Matrix, Matrix)> {
    let (mut ours, mut others) = (Matrix::default(), Matrix::default());
    for (of, bytes, id) in published()? {
        let of = ALSO_CALLED.iter().find(|(theirs, _)| *theirs == of).map_or(of.as_str(), |(_, name)| name);
        let taken = taken_for(&bytes, true);
        if PROTOCOLS.iter().any(|p| p.name == of) {
            if let Some((_, why)) = AMBIGUOUS.iter().find(|(known, _)| *known == id) {
                assert_ne!(taken, of, "{id} is recognised, though {why}");
                continue;
            }
            if taken != of {
                println!("{of} {id}: taken for {taken}: {}", hex(&bytes));
            }
            ours.count(of, taken);
        } else {
            if taken != "-" {
                println!("{of} {id}: taken for {taken}: {}", hex(&bytes));
                others.count(of, taken);
            }
            others.count("all others", taken);
        }
    }
    Some((ours, others))
}

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("RECOGNITION.md")
}

/// Where in the document the figures begin, and where those that need the published frames.
const MARKS: [&str; 2] = ["## Recorded conversations\n", "## Frames of real devices\n"];

#[test]
fn the_figures_of_the_document_are_true() {
    let text = fs::read_to_string(document()).unwrap();
    let [recorded_at, real_at] = MARKS.map(|mark| text.find(mark).unwrap_or_else(|| panic!("the document lacks `{mark}`")));
    let (whole, pieces) = recorded();
    whole.assert_good("conversations");
    let mut new = text[..recorded_at].to_owned();
    let _ = write!(
        new,
        "{}\nWhole conversations:\n\n{}\nEach piece in which bytes came, as if a connection began with it (some are garbage, or half a frame):\n\n{}\n",
        MARKS[0],
        whole.table("of"),
        pieces.table("of")
    );
    for (name, why) in NOT_TOLD {
        let _ = writeln!(new, "Not counted: `{name}`, {why}.");
    }
    match of_real_devices() {
        Some((ours, others)) => {
            ours.assert_good("frames of real devices");
            let (all, claimed) = (others.total("all others"), others.total("all others") - others.get("all others", "-"));
            assert!(1000 * claimed <= CLAIMED_PER_MILLE * all, "{claimed} of {all} frames of other protocols are claimed");
            let _ = write!(new, "\n{}\n{}\nOf other protocols:\n\n{}", MARKS[1], ours.table("of"), others.table("of"));
        }
        None => {
            println!("skipped: no published frames in ../shared/vectors; their table is taken as it stands");
            let _ = write!(new, "\n{}", &text[real_at..]);
        }
    }
    if env::var_os("UPDATE_RECOGNITION").is_some_and(|v| v == "1") {
        fs::write(document(), new).unwrap();
    } else {
        assert!(new == text, "UPDATE_RECOGNITION=1 cargo test -p protocols --test recognition\n{new}");
    }
}
