//! The protocols, found by name; `detect` finds them by what they look like. The list itself stands in `lib.rs`; its laws are
//! tests.

use std::fmt;

use crate::cursor::{Trace, hex};
use crate::desk::Confirms;
use crate::detect::{self, Evidence};
use crate::fault::Fault;
use crate::identity::{DeviceId, SessionId};
use crate::machine::Machine;
use crate::profile::Profile;
use crate::session::{Opening, Session};
use crate::wire::{Limits, Link, Probe, Wire};

/// What the rest of the world needs to know about a protocol; everything else is derived from it by loops.
pub struct Protocol {
    /// Registry name = configuration key = metric label = folder = fixture folder.
    pub name: &'static str,
    /// For a person: the standard or the family of devices.
    pub title: &'static str,
    /// Where devices of this family usually connect to.
    pub port: u16,
    /// Bounds.
    pub limits: Limits,
    /// The message types that are understood: number or keyword, and name.
    pub messages: &'static [(&'static str, &'static str)],
    /// The dialects that a profile can name.
    pub dialects: &'static [&'static str],
    /// Whether the first bytes of a connection look like it.
    pub probe: fn(&[u8]) -> Probe,
    /// How far the first bytes of a connection can be read as it; `true`: nothing more will come.
    pub evidence: fn(&[u8], bool) -> Evidence,
    /// The kinds of commands that it can express, and what the device says to each at best.
    pub commands: &'static [(&'static str, Confirms)],
    /// See [`Wire::DRIVERS`].
    pub drivers: bool,
    /// The parameters that have a name; see [`Wire::parameters`].
    pub parameters: fn() -> Vec<(u32, &'static str)>,
    /// A session on a new connection.
    pub open: fn(Opening) -> Box<dyn Session>,
    /// The way down, for tools.
    pub down: Down,
}

/// Reads one whole raw frame to a device; its message as text.
pub type ReadDown = fn(&[u8], &Profile, Option<&mut Trace>) -> Result<String, Fault>;

/// What tools do with frames to a device.
#[derive(Clone, Copy)]
pub struct Down {
    /// Read one whole raw frame; its message as text, for a person.
    pub read: ReadDown,
    /// One frame of each kind.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Whether each sample, written and read again, is the same; else what is not.
    pub law: fn() -> Result<usize, String>,
    /// See [`Wire::seal`].
    pub seal: fn(u8, &[u8], &mut Vec<u8>),
}

impl Down {
    const fn of<W: Wire>() -> Self {
        Self { read: down::read::<W>, samples: down::samples::<W>, law: down::law::<W>, seal: W::seal }
    }
}

/// The functions behind [`Down`].
mod down {
    use super::*;

    fn link<W: Wire>() -> Link {
        Link::to(W::NAME, Default::default(), SessionId(0), DeviceId::normalise("13800000001"))
    }

    fn written<W: Wire>(downlink: &W::Downlink) -> Vec<u8> {
        let mut frame = Vec::new();
        W::new(SessionId(0)).encode(downlink, &link::<W>(), &mut frame);
        frame
    }

    pub(super) fn read<W: Wire>(raw: &[u8], profile: &Profile, trace: Option<&mut Trace>) -> Result<String, Fault> {
        W::new(SessionId(0)).decode_downlink(raw, profile, trace).map(|downlink| format!("{downlink:?}"))
    }

    pub(super) fn samples<W: Wire>() -> Vec<Vec<u8>> {
        W::samples().iter().map(written::<W>).collect()
    }

    pub(super) fn law<W: Wire>() -> Result<usize, String> {
        let samples = W::samples();
        let profile = Profile::default();
        for sample in &samples {
            let frame = written::<W>(sample);
            let again = W::new(SessionId(0)).decode_downlink(&frame, &profile, Some(&mut Trace::default()));
            match again {
                Ok(again) if again == *sample => {}
                other => return Err(format!("{sample:?} was written as {} and read as {other:?}", hex(&frame))),
            }
            for end in 0..frame.len() {
                let prefix = frame.get(..end).unwrap_or_default();
                // whatever it says, it must not panic, nor take a part for the whole
                let part = W::new(SessionId(0)).decode_downlink(prefix, &profile, Some(&mut Trace::default()));
                if part.as_ref() == Ok(sample) {
                    return Err(format!("{sample:?} was read from the first {end} bytes of {}", hex(&frame)));
                }
            }
        }
        Ok(samples.len())
    }
}

impl Protocol {
    /// The descriptor of a protocol: what its author has to say besides [`Wire`].
    pub const fn of<W: Wire>(
        title: &'static str,
        port: u16,
        messages: &'static [(&'static str, &'static str)],
        dialects: &'static [&'static str],
    ) -> Self {
        Self {
            name: W::NAME,
            title,
            port,
            limits: W::LIMITS,
            messages,
            dialects,
            probe: W::probe,
            evidence: detect::evidence::<W>,
            commands: W::COMMANDS,
            drivers: W::DRIVERS,
            parameters: W::parameters,
            open: Machine::<W>::open,
            down: Down::of::<W>(),
        }
    }
}

impl Protocol {
    /// What the device says to a command of this kind at best; `None` if the kind cannot be expressed. `raw` needs no words,
    /// and `driver_authorization` is kept with the device in any case.
    pub fn confirms(&self, kind: &str) -> Option<Confirms> {
        let own = self.commands.iter().find(|(known, _)| *known == kind).map(|(_, confirms)| *confirms);
        own.or(match kind {
            "raw" => Some(Confirms::Never),
            "driver_authorization" => Some(Confirms::Receipt),
            _ => None,
        })
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The protocol of this name.
pub fn find(name: &str) -> Option<&'static Protocol> {
    crate::PROTOCOLS.iter().copied().find(|p| p.name == name)
}

/// A probe is shown no more bytes. What it has not decided then, only a whole frame decides.
pub const PROBE_WINDOW: usize = 64;

#[cfg(test)]
mod tests {
    use crate::PROTOCOLS;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    #[expect(clippy::disallowed_methods, reason = "the test compares the list with the folders")]
    fn folders(of: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(of).unwrap_or_else(|e| panic!("{}: {e}", of.display()));
        let dirs = entries.map(|e| e.unwrap()).filter(|e| e.file_type().unwrap().is_dir());
        dirs.map(|e| e.file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_list_is_sorted_and_its_names_and_ports_are_unique() {
        assert!(PROTOCOLS.is_sorted_by(|a, b| a.name < b.name));
        let ports: BTreeSet<_> = PROTOCOLS.iter().map(|p| p.port).collect();
        assert_eq!(ports.len(), PROTOCOLS.len());
    }

    #[test]
    fn every_protocol_has_its_folders_and_every_folder_is_registered() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let names: BTreeSet<_> = PROTOCOLS.iter().map(|p| p.name.to_owned()).collect();
        let mut code = folders(&root.join("src"));
        for shared in ["command", "desk", "event", "parts", "script"] {
            code.remove(shared);
        }
        assert_eq!(code, names, "src/");
        assert_eq!(folders(&root.join("../fixtures")), names, "fixtures/");
    }

    #[test]
    fn what_is_written_to_a_device_can_be_read_again() {
        for p in PROTOCOLS {
            (p.down.law)().unwrap_or_else(|e| panic!("{p:?}: {e}"));
        }
    }

    #[test]
    fn commands_are_kinds_of_the_contract() {
        for p in PROTOCOLS {
            for (kind, _) in p.commands {
                assert!(crate::command::Kind::NAMES.contains(kind), "{p:?}: {kind}");
            }
        }
    }

    #[test]
    fn bounds_are_sane_and_descriptions_filled() {
        for p in PROTOCOLS {
            assert!(p.limits.max_frame > 0 && p.limits.max_frame <= 64 * 1024, "{p:?}");
            assert!(p.limits.quiet < p.limits.idle, "{p:?}");
            assert!(!p.title.is_empty() && !p.messages.is_empty(), "{p:?}");
        }
    }
}
