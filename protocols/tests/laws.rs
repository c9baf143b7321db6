//! What must hold of every protocol, tried on every recorded conversation. A protocol joins by being in the list and
//! having fixtures.

mod common;

use std::sync::LazyLock;

use common::{Fixture, fixtures};
use proptest::prelude::*;
use protocols::PROTOCOLS;
use protocols::detect::{Detector, WINDOW};
use protocols::registry::{PROBE_WINDOW, Protocol};
use protocols::script::laws::{self, Broken};
use protocols::script::{Options, Script, run};
use protocols::wire::Probe;

static FIXTURES: LazyLock<Vec<Fixture>> = LazyLock::new(fixtures);

fn each(law: impl Fn(&Fixture) -> Result<(), Broken>) {
    let broken = FIXTURES.iter().filter_map(|f| law(f).err().map(|e| format!("{}: {e}", f.name())));
    let broken: Vec<_> = broken.collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn of(protocol: &'static Protocol) -> impl Iterator<Item = &'static Fixture> {
    FIXTURES.iter().filter(|f| f.protocol.name == protocol.name)
}

#[test]
fn everything_is_accounted_for() {
    each(|f| laws::accounted(f.protocol, &f.script));
}

#[test]
fn bytes_have_the_same_effects_however_they_are_split() {
    each(|f| laws::split_anywhere(f.protocol, &f.script));
}

#[test]
fn a_connection_may_end_after_any_byte() {
    each(|f| laws::cut_anywhere(f.protocol, &f.script));
}

#[test]
fn any_byte_may_be_damaged() {
    each(|f| laws::damage_anything(f.protocol, &f.script, 0x6E61_7667_6174_6500));
}

#[test]
fn conversations_may_follow_one_another() {
    each(|f| {
        of(f.protocol).try_for_each(|next| {
            let broken = |e: Broken| format!("followed by {}: {e}", next.name());
            laws::joined(f.protocol, &f.script, &next.script).map_err(broken)
        })
    });
}

#[test]
fn other_protocols_survive_every_conversation() {
    each(|f| {
        let bytes = f.script.bytes();
        PROTOCOLS
            .iter()
            .try_for_each(|other| laws::anything(other, &f.script, &bytes).map_err(|e| format!("read as {}: {e}", other.name)))
    });
}

#[test]
fn every_protocol_shows_a_sign_on_and_a_position() {
    for protocol in PROTOCOLS {
        let runs: Vec<_> = of(protocol).map(|f| (f, run(protocol, &f.script, &Options::default()))).collect();
        let signs_on = runs.iter().any(|(f, transcript)| f.script.device.is_none() && transcript.device.is_some());
        assert!(signs_on, "{protocol:?}: no conversation in which a device says who it is");
        let reports = runs.iter().any(|(_, transcript)| transcript.events("position").next().is_some());
        assert!(reports, "{protocol:?}: no conversation with a position");
    }
}

#[test]
fn no_protocol_claims_the_conversation_of_another() {
    for fixture in FIXTURES.iter() {
        let bytes = fixture.script.bytes();
        let head = &bytes[..bytes.len().min(PROBE_WINDOW)];
        for other in PROTOCOLS.iter().filter(|p| p.name != fixture.protocol.name) {
            let claimed = (0..=head.len()).find(|end| (other.probe)(&head[..*end]) == Probe::Yes);
            assert_eq!(claimed, None, "{} looks like {other:?} after so many bytes", fixture.name());
        }
    }
}

/// Bytes that begin like something real: pieces of conversations with anything between them.
fn almost_real() -> impl Strategy<Value = Vec<u8>> {
    let real = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..200_usize).prop_map(|(which, from, length)| {
        if FIXTURES.is_empty() {
            return Vec::new();
        }
        let bytes = which.get(&FIXTURES).script.bytes();
        let from = if bytes.is_empty() { 0 } else { from.index(bytes.len()) };
        bytes[from..bytes.len().min(from + length)].to_vec()
    });
    let random = prop::collection::vec(any::<u8>(), 0..80);
    prop::collection::vec(prop_oneof![real, random], 1..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_may_be_received(bytes in almost_real(), known in any::<bool>()) {
        let script = Script::parse(if known { "% device 13800000001" } else { "" }).unwrap();
        for protocol in PROTOCOLS {
            prop_assert_eq!(laws::anything(protocol, &script, &bytes), Ok(()), "{:?}", protocol);
        }
    }

    #[test]
    fn any_bytes_may_be_recognised(bytes in almost_real()) {
        let detector = Detector::all();
        for end in 0..=bytes.len().min(WINDOW) {
            let _ = (detector.recognise(&bytes[..end], false), detector.recognise(&bytes[..end], true));
        }
    }
}
