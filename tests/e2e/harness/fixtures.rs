//! The recorded conversations, played over real sockets.

use std::net::SocketAddr;

use protocols::PROTOCOLS;
use protocols::cursor::hex;
use protocols::registry::Protocol;
use protocols::script::{Action, Expect, Options, Pattern, Said, Script, World, run};
use serde_json::Value;

use super::device::Line;
use super::repository;

/// The bytes that begin an escape, of protocols that have some, by the byte that their frames begin with.
const ESCAPES: [(&str, u8, &[u8]); 3] = [("jt808", 0x7E, &[0x7D]), ("jt808", 0xE7, &[0xE6, 0x3E]), ("jt905", 0x7E, &[0x7D])];

/// One recorded conversation.
pub(crate) struct Fixture {
    pub(crate) protocol: &'static str,
    pub(crate) name: String,
    pub(crate) script: Script,
}

/// All that can be played at the speed of a test and by a device alone: a conversation that needs a device known beforehand,
/// minutes of silence, commands, or the clock of its recording is left to the tests without sockets.
pub(crate) fn playable() -> Vec<Fixture> {
    let mut found = Vec::new();
    for protocol in PROTOCOLS {
        let folder = repository("fixtures").join(protocol.name);
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut files: Vec<_> = entries.map(|f| f.unwrap().path()).collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let script = Script::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            let name = format!("{}/{}", protocol.name, file.file_stem().unwrap().to_string_lossy());
            let only_speaks = script.items.iter().all(|item| matches!(item.action, Action::Receive(_)));
            if script.device.is_none() && only_speaks && timeless(protocol, &script) {
                found.push(Fixture { protocol: protocol.name, name, script });
            }
        }
        assert!(found.iter().any(|f| f.protocol == protocol.name), "{} has no conversation that can be played", protocol.name);
    }
    found
}

/// Whether the same events come of it at another time: some devices say the time of day without the date.
fn timeless(protocol: &Protocol, script: &Script) -> bool {
    let events = |world| {
        let said = run(protocol, script, &Options { world, ..Options::default() }).said;
        said.into_iter().filter_map(|(_, said)| if let Said::Event(json) = said { Some(json) } else { None }).collect::<Vec<_>>()
    };
    (0..World::OTHERS).all(|n| events(World::other(n)) == events(World::default()))
}

impl Fixture {
    /// The events that must come of it, in order: content under type.
    pub(crate) fn events(&self) -> Vec<&Value> {
        self.expected().filter_map(|e| if let Expect::Event(value) = e { Some(value) } else { None }).collect()
    }

    /// The reasons of the rejects that must come of it, in order.
    pub(crate) fn rejects(&self) -> Vec<&'static str> {
        let reason = |e: &Expect| match e {
            Expect::Rejected(kind) | Expect::Notice(kind) => Some(kind.label()),
            _ => None,
        };
        self.expected().filter_map(reason).collect()
    }

    fn expected(&self) -> impl Iterator<Item = &Expect> {
        self.script.items.iter().flat_map(|item| &item.expected).map(|e| &e.what)
    }

    /// Say what the device said, and check every byte that comes back.
    pub(crate) fn play(&self, to: SocketAddr) {
        self.play_behind(to, &[], usize::MAX);
    }

    /// The same behind a header, in pieces of so many bytes.
    pub(crate) fn play_behind(&self, to: SocketAddr, header: &[u8], piece: usize) {
        let name = &self.name;
        let mut line = Line::connect(to).unwrap();
        header.chunks(piece).for_each(|bytes| line.send(bytes).unwrap());
        for item in &self.script.items {
            let Action::Receive(bytes) = &item.action else { continue };
            // the gateway may have closed by now, as the conversation may want; the replies tell
            bytes.chunks(piece).for_each(|bytes| _ = line.send(bytes));
            for expected in &item.expected {
                let Expect::Sent(pattern) = &expected.what else { continue };
                let reply = self.reply(&mut line, pattern);
                reply.unwrap_or_else(|e| panic!("{name}, line {}: {e}", expected.line));
            }
        }
        line.finish();
        let rest = line.receive_to_end();
        assert!(rest.is_empty(), "{name}: at the end came {}", hex(&rest));
    }

    /// Say all of it at once, with nothing to wait for, and take whatever comes back.
    pub(crate) fn play_glued(&self, to: SocketAddr, header: &[u8]) {
        let mut line = Line::connect(to).unwrap();
        line.send(&[header, &self.script.bytes()].concat()).unwrap();
        line.finish();
        line.receive_to_end();
    }

    /// Read one reply. A byte that may be anything may also be one that the protocol writes as two.
    fn reply(&self, line: &mut Line, pattern: &Pattern) -> Result<(), String> {
        let pattern = loosened(pattern);
        let frames_of =
            |(protocol, first, _): &&(&str, u8, _)| *protocol == self.protocol && pattern.first() == Some(&Some(*first));
        let escapes = ESCAPES.iter().find(frames_of).map_or(&[][..], |(_, _, escapes)| escapes);
        let mut reply = Vec::new();
        let mut next = |reply: &mut Vec<u8>| {
            let byte = line.receive(1).map_err(|e| format!("after {}: {e}", hex(reply)))?[0];
            reply.push(byte);
            Ok::<_, String>(byte)
        };
        for wanted in pattern {
            let byte = next(&mut reply)?;
            if wanted.is_none() && escapes.contains(&byte) {
                next(&mut reply)?;
            }
            if wanted.is_some_and(|wanted| wanted != byte) {
                return Err(format!("this is not what was expected: {}", hex(&reply)));
            }
        }
        Ok(())
    }
}

/// A recording marks the bytes that differed under a few clocks. A digit of the clock that was the same under all of them by
/// chance, as the tens of a month are, stands between marked ones; in a year's other months it is another.
fn loosened(Pattern(pattern): &Pattern) -> Vec<Option<u8>> {
    const CHANCE: usize = 2;
    let mut bytes = pattern.clone();
    let marked: Vec<_> = pattern.iter().enumerate().filter(|(_, byte)| byte.is_none()).map(|(at, _)| at).collect();
    for pair in marked.windows(2) {
        if pair[1] - pair[0] <= CHANCE + 1 {
            bytes[pair[0]..pair[1]].fill(None);
        }
    }
    bytes
}

#[test]
fn only_short_gaps_between_marked_bytes_are_loosened() {
    let pattern = |text: &str| Pattern(text.bytes().map(|b| (b != b'.').then_some(b)).collect());
    assert_eq!(loosened(&pattern("202.1.0..x")), pattern("202......x").0);
    assert_eq!(loosened(&pattern(".abc.")), pattern(".abc.").0);
    assert_eq!(loosened(&pattern("abc")), pattern("abc").0);
}
