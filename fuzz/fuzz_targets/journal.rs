//! Bytes from anywhere as what a crash left of a journal. One directory in the memory of the system, if it has such.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

#[path = "../../src/journal/mod.rs"]
#[allow(dead_code, unused_imports, reason = "what the gateway needs besides")]
mod journal;

#[path = "../laws/journal.rs"]
mod law;

use journal::{Found, Journal, Options, Reader, Recovery, Reports, Show, print_events};

static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
});

fuzz_target!(|data: &[u8]| law::check(&ROOT.path().join("journal"), data));
