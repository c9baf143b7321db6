//! Bytes from anywhere as a frame to a device of every protocol, or of the one that `NAVGATE_FUZZ_PROTOCOL` names.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use protocols::registry::Protocol;
use protocols::script::fuzz_downlink;

static PROTOCOLS: LazyLock<Vec<&'static Protocol>> = LazyLock::new(|| match std::env::var("NAVGATE_FUZZ_PROTOCOL") {
    Ok(name) => vec![protocols::registry::find(&name).unwrap_or_else(|| panic!("there is no protocol `{name}`"))],
    Err(_) => protocols::PROTOCOLS.to_vec(),
});

fuzz_target!(|data: &[u8]| assert_eq!(fuzz_downlink(&PROTOCOLS, data), Ok(())));
