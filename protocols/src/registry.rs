//! The protocols, found by name; `detect` finds them by what they look like. The list itself stands in `lib.rs`; its laws are
//! tests.

use std::fmt;

use crate::detect::{self, Evidence};
use crate::session::{Opening, Session};
use crate::wire::{Limits, Machine, Probe, Wire};

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
    /// A session on a new connection.
    pub open: fn(Opening) -> Box<dyn Session>,
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
            open: Machine::<W>::open,
        }
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

/// Bytes after which a probe must have decided; it is shown no more.
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
        for shared in ["command", "event", "parts", "script"] {
            code.remove(shared);
        }
        assert_eq!(code, names, "src/");
        assert_eq!(folders(&root.join("../fixtures")), names, "fixtures/");
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
