//! Bytes from anywhere on a port for all: `cargo +nightly fuzz run detect -- -max_len=1200`

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocols::PROTOCOLS;
use protocols::script::fuzz_detection;

fuzz_target!(|data: &[u8]| assert_eq!(fuzz_detection(PROTOCOLS, data), Ok(())));
