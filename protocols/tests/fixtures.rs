//! Every recorded conversation passes whole. `UPDATE_FIXTURES=1` writes the expected lines anew, for a person to review.

#![expect(clippy::disallowed_methods, reason = "fixtures are files, and whether to write them is said by the environment")]

mod common;

use std::fmt::Write;
use std::{env, fs};

use common::{Fixture, fixtures};
use protocols::parts::checksum::luhn;
use protocols::script::{Options, check, run, update};

/// Identities that are in no range of invented ones and belong to nobody: why they are right.
const EXCEPTIONS: &[(&str, &str)] = &[("123456789012345", "counted up; what tools take for a device that is known beforehand")];

/// The ranges that this project takes its invented phones and IMEIs from; whatever else turns up may be a real device's.
fn invented(identity: &str) -> bool {
    let digits = identity.bytes().all(|b| b.is_ascii_digit());
    let imei = || {
        identity.strip_prefix("8612000").is_some_and(|_| identity.len() == 15 && luhn(&identity[..14]) == identity.chars().last())
    };
    let phone = || identity.strip_prefix("1380000").is_some_and(|rest| rest.len() == 4);
    digits && (phone() || imei()) || EXCEPTIONS.iter().any(|(exception, _)| *exception == identity)
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

#[test]
fn every_conversation_goes_as_recorded() {
    let write = env::var_os("UPDATE_FIXTURES").is_some_and(|v| v == "1");
    let mut failures = String::new();
    for fixture in fixtures() {
        let Fixture { protocol, path, script } = &fixture;
        let result = if write {
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
