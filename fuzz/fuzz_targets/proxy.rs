//! Bytes from anywhere as a PROXY header.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/proxy/mod.rs"]
#[allow(dead_code, reason = "what the gateway needs besides")]
mod proxy;

#[path = "../laws/proxy.rs"]
mod law;

use proxy::{MAX_HEADER, Parsed, parse};

fuzz_target!(|data: &[u8]| law::check(data));
