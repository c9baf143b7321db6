//! Text from anywhere as a recorded conversation. Fixtures are seeds as they are:
//! `cargo +nightly fuzz run script fuzz/corpus/script fixtures/gt06`

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocols::PROTOCOLS;
use protocols::script::fuzz_script;

fuzz_target!(|text: &str| assert_eq!(fuzz_script(PROTOCOLS, text), Ok(())));
