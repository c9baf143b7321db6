//! Every recorded conversation passes whole. `UPDATE_FIXTURES=1` writes the expected lines anew, for a person to review.

#![expect(clippy::disallowed_methods, reason = "fixtures are files, and whether to write them is said by the environment")]

mod common;

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use common::{Fixture, fixtures, of_protocol};
use protocols::PROTOCOLS;
use protocols::parts::checksum::luhn;
use protocols::script::{Options, check, fuzz_script, fuzz_session, run, update};

/// Identities that are in no range of invented ones and belong to nobody: why they are right.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("123456789012345", "counted up; what tools take for a device that is known beforehand"),
    ("1234567890", "counted up; the ten digits of a binary H02 frame hold neither a phone nor an IMEI"),
];

/// The ranges that this project takes its invented phones, IMEIs and ISU ids from; whatever else turns up may be a real device's.
fn invented(identity: &str) -> bool {
    let digits = identity.bytes().all(|b| b.is_ascii_digit());
    let imei = || {
        identity.strip_prefix("8612000").is_some_and(|_| identity.len() == 15 && luhn(&identity[..14]) == identity.chars().last())
    };
    let phone = || identity.strip_prefix("1380000").is_some_and(|rest| rest.len() == 4);
    // vendor 99, the terminal itself
    let isu = || identity.strip_prefix("10990000").is_some_and(|rest| rest.len() == 4);
    digits && (phone() || imei() || isu()) || EXCEPTIONS.iter().any(|(exception, _)| *exception == identity)
}

/// Numbers in a text that look like a mobile phone of China or an IMEI.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let runs = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|run| run.bytes().all(|b| b.is_ascii_digit()));
    runs.filter(|run| match run.len() {
        11 => matches!(run.as_bytes(), [b'1', b'3'..=b'9', ..]),
        15 => run.starts_with("86") || run.starts_with("35"),
        _ => false,
    })
}

fn writing() -> bool {
    env::var_os("UPDATE_FIXTURES").is_some_and(|v| v == "1")
}

#[test]
fn every_conversation_goes_as_recorded() {
    let mut failures = String::new();
    for fixture in fixtures() {
        let Fixture { protocol, path, script } = &fixture;
        let result = if writing() {
            update(protocol, script).map(|new| {
                if new.lines().ne(script.lines()) {
                    fs::write(path, new).unwrap();
                }
                Vec::new()
            })
        } else {
            check(protocol, script)
        };
        match result {
            Ok(differences) if differences.is_empty() => {}
            Ok(differences) => {
                let _ = writeln!(failures, "\n{}", path.display());
                differences.iter().for_each(|d| failures.push_str(&d.to_string()));
            }
            Err(broken) => {
                let _ = writeln!(failures, "\n{}\n  {}", path.display(), broken.join("\n  "));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{failures}\n`-` was expected, `+` was said. If what was said is right: UPDATE_FIXTURES=1 cargo test -p protocols --test fixtures"
    );
}

#[test]
fn every_identity_is_invented() {
    for fixture in fixtures() {
        let device = run(fixture.protocol, &fixture.script, &Options::default()).device;
        let device = device.as_ref().map(protocols::identity::DeviceId::as_str);
        // hex digits of bytes are not identities; what a session reads out of them is
        let readable = fixture.script.lines().filter(|line| !line.starts_with(['>', '<']) || line.contains('"'));
        for identity in readable.flat_map(numbers).chain(device) {
            assert!(
                invented(identity),
                "{}: `{identity}` is not invented; use 1380000xxxx, 8612000…, or list it with a reason",
                fixture.name()
            );
        }
    }
}

/// The first byte of a seed says in pieces of how many bytes the rest is heard.
const SEED_PIECES: u8 = 16;

/// Seeds are small: the fuzzer finds the long way itself, and every one of them is run by every test.
const SEED_BYTES: usize = 1024;

#[test]
fn every_protocol_has_a_seed_for_the_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/session");
    for protocol in PROTOCOLS {
        let seed = folder.join(protocol.name);
        if seed.exists() {
            continue;
        }
        assert!(writing(), "{protocol:?} has no seed: UPDATE_FIXTURES=1 cargo test -p protocols --test fixtures");
        let conversations = of_protocol(protocol).into_iter().map(|fixture| fixture.script.bytes());
        let longest = conversations.filter(|bytes| bytes.len() <= SEED_BYTES).max_by_key(Vec::len).unwrap();
        fs::write(seed, [vec![SEED_PIECES], longest].concat()).unwrap();
    }
}

#[test]
fn everything_that_the_fuzzer_keeps_passes() {
    let corpus = |target: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect::<Vec<_>>()
    };
    for data in corpus("session") {
        assert_eq!(fuzz_session(PROTOCOLS, &data), Ok(()));
    }
    for text in corpus("script") {
        assert_eq!(fuzz_script(PROTOCOLS, &String::from_utf8_lossy(&text)), Ok(()));
    }
    for fixture in fixtures() {
        let text = fixture.script.lines().fold(String::new(), |text, line| text + line + "\n");
        assert_eq!(fuzz_script(&[fixture.protocol], &text), Ok(()), "{}", fixture.name());
    }
}

#[test]
fn refuses_identities_that_somebody_may_have() {
    for theirs in ["13912345678", "861200012345679", "352093081429153", "13800001", "TAXI-7"] {
        assert!(!invented(theirs), "{theirs}");
    }
    for ours in ["13800000001", "861200012345678", "123456789012345"] {
        assert!(invented(ours), "{ours}");
    }
    let found: Vec<_> = numbers("IMEI 352093081429153, phone 13912345678; 2026-01-01, a13912345678, 99912345678").collect();
    assert_eq!(found, ["352093081429153", "13912345678"]);
}

/// Every conversation can be had of another device, with the same events and replies but for its identity; and of nobody and
/// nowhere.
#[test]
fn every_conversation_can_be_disguised() {
    use protocols::script::Disguise;
    let mut failures = String::new();
    for fixture in fixtures() {
        let Fixture { protocol, script, .. } = &fixture;
        for (disguise, what) in [(Disguise::identities(11), "identities"), (Disguise::everything(12), "everything")] {
            match disguise.script(protocol, script) {
                Ok(new) => {
                    let text = new.script.lines().collect::<Vec<_>>().join("\n");
                    let old = new.identities.iter().find(|(old, new)| old != new && text.contains(old.as_str()));
                    if let Some((old, _)) = old {
                        let _ = writeln!(failures, "{}, {what}: {old} is still there", fixture.name());
                    }
                }
                Err(why) => {
                    let _ = writeln!(failures, "{}, {what}: {why}", fixture.name());
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
