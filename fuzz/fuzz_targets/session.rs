//! Bytes from anywhere against every protocol, or against the one that `NAVGATE_FUZZ_PROTOCOL` names:
//! `NAVGATE_FUZZ_PROTOCOL=gt06 cargo +nightly fuzz run session -- -max_len=512`

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use protocols::registry::Protocol;
use protocols::script::fuzz_session;

static PROTOCOLS: LazyLock<Vec<&'static Protocol>> = LazyLock::new(|| match std::env::var("NAVGATE_FUZZ_PROTOCOL") {
    Ok(name) => vec![protocols::registry::find(&name).unwrap_or_else(|| panic!("there is no protocol `{name}`"))],
    Err(_) => protocols::PROTOCOLS.to_vec(),
});

fuzz_target!(|data: &[u8]| assert_eq!(fuzz_session(&PROTOCOLS, data), Ok(())));
