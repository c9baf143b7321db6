//! An invented protocol is decoded: `02`, length, type, payload, XOR of type and payload, `#`. Of a position's eight bytes
//! the last two are read by nobody.

use std::time::Duration;

use protocols::command::Command;
use protocols::cursor::{Cursor, Trace};
use protocols::desk::{Confirms, Errand, Plan, Unfit};
use protocols::event::{Body, Report};
use protocols::fault::{Fault, FaultKind};
use protocols::identity::{MessageType, SessionId};
use protocols::parts::checksum::xor;
use protocols::profile::Profile;
use protocols::session::{Handled, Outgoing};
use protocols::time::{Now, Timestamp};
use protocols::wire::{Answer, Checksum, Cut, Frame, Limits, Link, Source, Step, Wire};

use super::*;

static TOY: Protocol = Protocol::of::<Toy>("an invented protocol", 1, &[], &[]);

struct Toy;

impl Wire for Toy {
    const NAME: &'static str = "toy";
    const LIMITS: Limits = Limits { max_frame: 64, quiet: Duration::from_secs(1), idle: Duration::from_secs(60) };
    type Message<'f> = (u8, &'f [u8], f64);
    type Ack = u8;

    fn new(_session: SessionId) -> Self {
        Self
    }

    fn probe(_head: &[u8]) -> Probe {
        Probe::Yes
    }

    fn cut<'b>(&self, input: &'b [u8], _quiet: bool, _scratch: &'b mut Vec<u8>) -> Cut<'b> {
        let garbage = |n| Cut::Skip(n, Fault::new(FaultKind::Garbage, 0, "no frame starts here"));
        let (Some(2), length) = (input.first(), input.get(1)) else { return garbage(1) };
        let Some(length) = length.map(|n| usize::from(*n)) else { return Cut::More };
        let Some(raw) = input.get(..length + 4) else { return Cut::More };
        let (content, Some((found, b'#'))) = (&raw[..length + 3], raw[length + 2..].split_first().map(|(f, e)| (*f, e[0]))) else {
            return garbage(1);
        };
        let expected = xor(&raw[2..length + 2]);
        let wrong = Checksum::Wrong { expected: expected.into(), found: found.into(), offset: length + 2 };
        Cut::Frame(Frame { raw, content, form: 0, checksum: if found == expected { Checksum::Good } else { wrong } })
    }

    fn decode<'f>(&self, frame: &Frame<'f>, _profile: &Profile, mut trace: Option<&mut Trace>) -> Result<Self::Message<'f>, Fault> {
        if let Some(trace) = &mut trace {
            trace.title = "a toy's frame".into();
        }
        let mut c = Cursor::new(frame.content, 0, trace);
        c.bytes("start", 1)?;
        let length = usize::from(c.bytes("length", 1)?[0]);
        let kind = c.bytes("type", 1)?[0];
        let payload = &frame.content[3..length + 2];
        let mut latitude = 0.0;
        if kind == 2 {
            latitude = f64::from(c.bytes("latitude_deg", 6)?[0]);
            c.note(|| format!("{latitude}° north"));
        } else if kind == 1 {
            c.bytes("identity", length - 1)?;
        } else {
            return Err(c.fault_here(FaultKind::Value, "no such type"));
        }
        Ok((kind, payload, latitude))
    }

    fn on_message(&mut self, (kind, payload, latitude): Self::Message<'_>, step: &mut Step<'_>) -> Answer<u8> {
        if kind == 1 {
            return match step.identify(&String::from_utf8_lossy(payload), None) {
                Ok(()) => Answer::Handled(Handled::Handshake, Some(kind)),
                Err(fault) => Answer::Rejected(fault, None),
            };
        }
        let report = Report { latitude: Some(latitude), longitude: Some(116.5), valid: Some(true), ..Report::default() };
        step.emit(&mut Source::dated(MessageType::Hex(2, 2), payload), Body::Position(report));
        Answer::Stored(Some(kind))
    }

    fn on_unreadable(&mut self, _frame: &Frame<'_>, _fault: &Fault, _step: &mut Step<'_>) -> Option<u8> {
        None
    }

    fn acknowledge(&mut self, kind: u8, _delivery: protocols::session::Delivery, _link: &Link, _now: Now, out: &mut Outgoing) {
        out.frame(|bytes| bytes.extend_from_slice(&[6, kind, 3]));
    }

    /// The answer to a message of this type.
    type Downlink = u8;

    const COMMANDS: &'static [(&'static str, Confirms)] = &[];

    fn samples() -> Vec<u8> {
        vec![1, 2]
    }

    fn encode(&self, kind: &u8, _link: &Link, out: &mut Vec<u8>) {
        Self::seal(0, &[*kind], out);
    }

    fn decode_downlink(&self, raw: &[u8], _profile: &Profile, trace: Option<&mut Trace>) -> Result<u8, Fault> {
        let mut c = Cursor::new(raw, 0, trace);
        match *c.bytes("answer", 3)? {
            [6, kind, 3] => Ok(kind),
            _ => Err(c.fault_here(FaultKind::Value, "no answer")),
        }
    }

    fn seal(_form: u8, content: &[u8], out: &mut Vec<u8>) {
        out.push(6);
        out.extend_from_slice(content);
        out.push(3);
    }

    fn on_command(&mut self, _command: &Command, _errand: &mut Errand<'_>) -> Result<Plan<u8>, Unfit> {
        Err(Unfit::Unsupported)
    }
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let body = [&[kind], payload].concat();
    [&[2, u8::try_from(body.len()).unwrap()], body.as_slice(), &[xor(&body), b'#']].concat()
}

fn position() -> Vec<u8> {
    frame(2, &[39, 0x11, 0x12, 0x13, 0x14, 0x15, 0xAA, 0xBB])
}

fn shown(bytes: &[u8], explained: bool) -> String {
    let heard = walk(&TOY, None, bytes, Timestamp::from_millis(0));
    let mut out = Vec::new();
    human::write(&mut out, &heard, explained, Timestamp::from_millis(0)).unwrap();
    String::from_utf8(anstream::adapter::strip_bytes(&out).into_vec()).unwrap()
}

fn objects(bytes: &[u8], explained: bool) -> Vec<serde_json::Value> {
    let heard = walk(&TOY, None, bytes, Timestamp::from_millis(0));
    let mut out = Vec::new();
    json::write(&mut out, &heard, explained, Timestamp::from_millis(0)).unwrap();
    String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_conversation_is_shown_field_by_field() {
    let text = shown(&[frame(1, b"13800000001"), b"??".to_vec(), position()].concat(), false);
    for line in [
        "toy from 13800000001",
        "a toy's frame  bytes 0..16  handshake",
        "     0  02                                start",
        "  reply  060103",
        "no frame  bytes 16..18",
        "  fault  garbage at byte 0: no frame starts here",
        "  bytes  \"??\"",
        "a toy's frame  bytes 18..31  stored",
        "     3  27 11 12 13 14 15  latitude_deg  39° north",
        "     9  aa bb 25           ?             unknown",
        "  position  latitude=39.0 longitude=116.5 valid=true",
        "  reply  060203",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn a_fault_stands_where_it_is() {
    let text = shown(&frame(9, b"x"), false);
    let lines: Vec<_> = text.lines().skip(2).collect();
    assert_eq!(lines[0], "a toy's frame  bytes 0..6  rejected");
    assert_eq!(lines[3..], ["     2  09     type", "     3  78 71  ?       unknown", "     3  ^ value: no such type"], "{text}");
}

#[test]
fn a_frame_without_a_device_is_shown_as_if_there_were_one() {
    let text = shown(&position(), false);
    assert!(text.starts_with("toy from 123456789012345 (assumed"), "{text}");
    assert!(text.contains("  position  latitude=39.0"), "{text}");
}

#[test]
fn one_object_a_frame() {
    let all = objects(&[b"?".to_vec(), frame(1, b"7"), position()].concat(), false);
    assert_eq!(all.len(), 3);
    assert_eq!((&all[0]["fate"], &all[0]["faults"][0]["kind"]), (&"no_frame".into(), &"garbage".into()));
    assert_eq!((&all[1]["fate"], &all[1]["replies"][0]), (&"handshake".into(), &"060103".into()));
    assert_eq!((&all[2]["fate"], &all[2]["offset"], &all[2]["length"]), (&"stored".into(), &7.into(), &13.into()));
    assert_eq!(all[2]["events"][0]["position"]["latitude"], 39.0);
    assert_eq!(all[2]["events"][0]["device_id"], "7");
    let fields = all[2]["fields"].as_array().unwrap();
    let covered: usize = fields.iter().map(|f| f["hex"].as_str().unwrap().len() / 2).sum();
    assert_eq!(covered, 12, "every byte of the content is shown");
    assert_eq!(fields.last().unwrap()["name"], serde_json::Value::Null);
}

#[test]
fn damage_is_explained_and_repaired() {
    let good = position();
    let repaired = |bytes: &[u8]| {
        let all = objects(bytes, true);
        let explanation = all[0]["explanation"].clone();
        (
            explanation["repair"]["what"].as_str().unwrap_or_default().to_owned(),
            explanation["repair"]["hex"].as_str().map(str::to_owned),
        )
    };
    let hex = protocols::cursor::hex(&good);
    let mut checksum = good.clone();
    checksum[11] ^= 1;
    let (what, bytes) = repaired(&checksum);
    assert_eq!((what.as_str(), bytes), ("the checksum at byte 11 is 24 and should be 25", Some(hex.clone())));
    let mut length = good.clone();
    length[1] = 3;
    let (what, bytes) = repaired(&length);
    assert_eq!((what.as_str(), bytes), ("byte 1 is 03 and should be 09", Some(hex)));
    let (what, _) = repaired(&good[..9]);
    assert_eq!(what, "at least 4 bytes are missing at the end");
    let text = shown(&checksum, true);
    assert!(text.contains("  why    the content and the checksum do not belong together"), "{text}");
    assert!(text.contains("  |   position  latitude=39.0"), "{text}");
}

#[test]
fn damaged_bytes_are_taken_for_the_only_protocol_that_can_read_them() {
    static ONE: [&Protocol; 1] = [&TOY];
    static TWO: [&Protocol; 2] = [&TOY, &TOY];
    let found = |bytes: &[u8], among| recognised(bytes, true, among).map(|p| p.name).ok();
    assert_eq!(found(&position(), &ONE), Some("toy"));
    assert_eq!(found(&position(), &TWO), None);
    assert_eq!(found(b"?", &[]), None);
}

#[test]
fn garbage_without_a_repair_is_said_to_have_none() {
    let text = shown(b"hello", true);
    assert!(text.contains("  repair none found"), "{text}");
}

#[test]
fn accepts_hex_if_it_is_whole_bytes_else_text() {
    assert_eq!(Form::Either.read("78 78\n0d"), Ok(vec![0x78, 0x78, 0x0D]));
    assert_eq!(Form::Either.read("787"), Ok(b"787".to_vec()));
    assert_eq!(Form::Either.read(r"*HQ\r\n\x00"), Ok(b"*HQ\r\n\0".to_vec()));
    assert_eq!(Form::Text.read("7878"), Ok(b"7878".to_vec()));
}

#[test]
fn refuses_what_it_was_told_is_hex_and_is_not() {
    assert!(Form::Hex.read("787").is_err());
    assert!(Form::Either.read(r"\q").is_err());
}

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    args: DecodeArgs,
}

fn parsed(words: &[&str]) -> Result<DecodeArgs, clap::Error> {
    use clap::Parser;
    Line::try_parse_from(["decode"].iter().chain(words)).map(|line| line.args)
}

#[test]
fn refuses_wrong_usage() {
    for words in [&[][..], &["--hex", "--text", "00"], &["--jsonl", "00"], &["00", "00"]] {
        assert!(parsed(words).is_err(), "{words:?}");
    }
    for words in [&["--protocol", "nothing", "00"][..], &["--hex", "0"], &[""], &["--device", "0", "00"], &["--text", r"\q"]] {
        let failure = decode(&parsed(words).unwrap()).unwrap_err();
        assert!(matches!(failure, Failure::Usage(_)), "{words:?} {failure:?}");
    }
}

#[test]
fn bytes_that_no_protocol_knows_are_no_wrong_usage() {
    let failure = decode(&parsed(&["--text", "what is this"]).unwrap()).unwrap_err();
    assert!(matches!(failure, Failure::Input(_)), "{failure:?}");
}
