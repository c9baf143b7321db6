//! The recorded conversations, read from their folder.

#![expect(clippy::disallowed_methods, reason = "tests read the fixtures")]

use std::fs;
use std::path::{Path, PathBuf};

use protocols::PROTOCOLS;
use protocols::registry::Protocol;
use protocols::script::Script;

/// One recorded conversation.
pub(crate) struct Fixture {
    pub(crate) protocol: &'static Protocol,
    pub(crate) path: PathBuf,
    pub(crate) script: Script,
}

impl Fixture {
    /// `protocol/what-happens`, for messages.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.protocol.name, self.path.file_stem().unwrap_or_default().to_string_lossy())
    }
}

/// All of them, in order.
pub(crate) fn fixtures() -> Vec<Fixture> {
    PROTOCOLS.iter().flat_map(|protocol| of_protocol(protocol)).collect()
}

/// Those of one protocol, in order.
pub(crate) fn of_protocol(protocol: &'static Protocol) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(protocol.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        assert!(path.extension().is_some_and(|e| e == "script"), "{}: only *.script belongs here", path.display());
        let text = fs::read_to_string(&path).unwrap();
        let script = Script::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Fixture { protocol, path, script }
    };
    paths.into_iter().map(read).collect()
}
