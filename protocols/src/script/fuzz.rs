//! What the fuzz targets do, kept here so that an ordinary test exercises it too.

use super::laws;
use super::parse::{Action, Script};
use super::run::{Feed, Options, run};
use super::write::{check, update};
use crate::registry::Protocol;

/// Bytes from anywhere against these protocols: they are cut in pieces by their own first byte, once with a device that is
/// known and once without.
///
/// # Panics
/// If a law is broken: that is what a fuzz target is for.
pub fn fuzz_session(protocols: &[&Protocol], data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    for protocol in protocols {
        for head in ["", "% device 13800000001\n"] {
            let Ok(script) = Script::parse(head) else { continue };
            let broken = laws::anything(protocol, &script, bytes).err();
            assert_eq!(broken, None, "{protocol:?}");
            let pieces = bytes.chunks(usize::from(*cut).max(1)).map(|piece| Action::Receive(piece.to_vec()));
            let pieces = run(protocol, &script.with(pieces), &Options::default());
            assert_eq!(pieces.broken, Vec::<String>::new(), "{protocol:?}");
            let whole = run(protocol, &script.with([Action::Receive(bytes.to_vec())]), &Options::default());
            assert!(pieces.flat().eq(whole.flat()), "{protocol:?}: {:?} in pieces of {cut}, {:?} whole", pieces.said, whole.said);
        }
    }
}

/// Text from anywhere as a script: it is refused, or runs, and what is written back is what then agrees.
///
/// # Panics
/// If it does not: that is what a fuzz target is for.
pub fn fuzz_script(protocols: &[&Protocol], text: &str) {
    let Ok(script) = Script::parse(text) else { return };
    for protocol in protocols {
        let glued = run(protocol, &script, &Options { feed: Feed::Glued, ..Options::default() });
        assert_eq!(glued.broken, Vec::<String>::new(), "{protocol:?}");
        let written = update(protocol, &script);
        assert!(written.is_ok(), "{protocol:?}: {written:?}");
        let once = written.unwrap_or_default();
        let again = Script::parse(&once);
        assert!(again.is_ok(), "{protocol:?}: {again:?}\n{once}");
        if let Ok(again) = again {
            assert_eq!(check(protocol, &again), Ok(Vec::new()), "{protocol:?}: {once}");
            assert_eq!(update(protocol, &again), Ok(once), "{protocol:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{text_of, toy};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_session_target_runs() {
        let bytes = [vec![3], toy::frame(toy::LOGIN, b"7"), b"junk".to_vec(), toy::position(1, 2), vec![2, 60]].concat();
        for end in 0..=bytes.len() {
            fuzz_session(&[&toy::TOY], &bytes[..end]);
        }
    }

    #[test]
    #[should_panic(expected = "byte by byte")]
    fn the_session_target_finds_a_flaw() {
        fuzz_session(&[&toy::SPLITTING], b"\x01garbage");
    }

    #[test]
    fn the_script_target_runs() {
        let login = text_of(&toy::frame(toy::LOGIN, b"7"));
        let text = format!("# x\n> {login}\n< 06\n# y\n> {login}{login}\n! value\n\n@ +3s\n. goodbye\n> \"\\\"\"");
        for (end, _) in text.char_indices() {
            fuzz_script(&[&toy::TOY], &text[..end]);
        }
    }

    /// Lines of the grammar, right and wrong ones, in any order.
    fn lines() -> impl Strategy<Value = String> {
        let frames = [toy::frame(toy::LOGIN, b"7"), toy::position(1, 2), toy::frame(toy::PART, b"x"), toy::frame(toy::BYE, b"")];
        let sent = prop::sample::select(frames.map(|frame| format!("> {}", text_of(&frame))).to_vec());
        let fixed = [
            "# a comment",
            "",
            "@ +3s",
            "@ +20s",
            "< 06..",
            "< \"again\\r\\n\"",
            "! value",
            "~ checksum",
            "? reassembly",
            ". goodbye",
        ];
        let fixed = prop::sample::select(fixed.map(str::to_owned).to_vec());
        let garbage = prop::collection::vec(any::<u8>(), 1..9).prop_map(|bytes| format!("> {}", text_of(&bytes)));
        prop::collection::vec(prop_oneof![3 => sent, 4 => fixed, 1 => garbage], 0..24).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_conversation_can_be_written_anew(text in lines()) {
            fuzz_script(&[&toy::TOY], &text);
        }

        #[test]
        fn any_bytes_can_be_received(bytes in prop::collection::vec(prop_oneof![Just(2), Just(3), Just(1), any::<u8>()], 0..200)) {
            fuzz_session(&[&toy::TOY], &bytes);
        }
    }
}
