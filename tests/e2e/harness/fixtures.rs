//! The recorded conversations, played over real sockets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use protocols::PROTOCOLS;
use protocols::cursor::hex;
use protocols::registry;
use protocols::script::{Action, Disguise, Expect, Fit, Pattern, Script, events_at};
use protocols::time::Timestamp;
use serde_json::Value;

use super::device::Line;
use super::repository;

/// One recorded conversation.
pub(crate) struct Fixture {
    pub(crate) protocol: &'static str,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) script: Script,
}

/// All that can be played at the speed of a test: a conversation that needs a device known beforehand, a command, or minutes
/// of silence, is left to the tests without sockets.
pub(crate) fn playable() -> Vec<Fixture> {
    let at_once = |fixture: &Fixture| fixture.begins_with_the_device() && fixture.pauses().is_zero();
    let found: Vec<_> = recorded().into_iter().filter(at_once).collect();
    for protocol in PROTOCOLS {
        assert!(found.iter().any(|f| f.protocol == protocol.name), "{} has no conversation that can be played", protocol.name);
    }
    found
}

/// All there are.
pub(crate) fn recorded() -> Vec<Fixture> {
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
            found.push(Fixture { protocol: protocol.name, name, path: file, script });
        }
    }
    found
}

impl Fixture {
    /// Whether everything in it comes of what a device sends on a fresh connection.
    pub(crate) fn begins_with_the_device(&self) -> bool {
        self.script.device.is_none() && !self.script.items.iter().any(|item| matches!(item.action, Action::Command(_)))
    }

    /// All silences together.
    pub(crate) fn pauses(&self) -> Duration {
        let pause = |action: &Action| if let Action::Advance(pause) = action { Some(*pause) } else { None };
        self.script.items.iter().filter_map(|item| pause(&item.action)).sum()
    }

    /// The same of another device: what the gateway remembers of one must not show in the conversation of the next.
    pub(crate) fn of_another(self, n: u64) -> Self {
        let protocol = registry::find(self.protocol).unwrap();
        let other = Disguise::identities(n).script(protocol, &self.script);
        Self { script: other.unwrap_or_else(|e| panic!("{}: {e}", self.name)).script, ..self }
    }

    /// The events that must come of it if it is played now, in order: content under type.
    pub(crate) fn events(&self) -> Vec<Value> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap());
        let events = events_at(registry::find(self.protocol).unwrap(), &self.script, now);
        events.into_iter().map(|(_, value)| value).collect()
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

    /// Say all of it at once, with nothing to wait for, and take whatever comes back.
    pub(crate) fn play_glued(&self, to: SocketAddr, header: &[u8]) {
        let mut line = Line::connect(to).unwrap();
        line.send(&[header, &self.script.bytes()].concat()).unwrap();
        line.finish();
        line.receive_to_end();
    }

    /// Play it behind a header, in pieces of so many bytes.
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
                let reply = reply(&mut line, pattern);
                reply.unwrap_or_else(|e| panic!("{name}, line {}: {e}", expected.line));
            }
        }
        line.finish();
        let rest = line.receive_to_end();
        assert!(rest.is_empty(), "{name}: at the end came {}", hex(&rest));
    }
}

/// Read one reply.
fn reply(line: &mut Line, pattern: &Pattern) -> Result<(), String> {
    let mut reply = Vec::new();
    loop {
        match pattern.begins(&reply) {
            Fit::Whole(_) => return Ok(()),
            Fit::No => return Err(format!("this is not what was expected: {}", hex(&reply))),
            Fit::More => reply.extend(line.receive(1).map_err(|e| format!("after {}: {e}", hex(&reply)))?),
        }
    }
}
