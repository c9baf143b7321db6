//! What the fuzz targets do, kept here so that ordinary tests exercise it too.

use super::laws::{self, Broken};
use super::parse::{Action, Script};
use super::run::{Feed, Options, run};
use super::write::{check, update};
use crate::cursor::Trace;
use crate::detect::{Detector, Recognised};
use crate::profile::Profile;
use crate::registry::Protocol;

/// Bytes from anywhere against these protocols, with a device that is known and with none: whole, byte by byte, and in
/// pieces as long as the first byte says.
///
/// # Errors
/// The law that was broken, in words.
pub fn fuzz_session(protocols: &[&Protocol], data: &[u8]) -> Result<(), Broken> {
    let Some((piece, bytes)) = data.split_first() else { return Ok(()) };
    for protocol in protocols {
        for head in ["", "% device 13800000001\n"] {
            let script = Script::parse(head).map_err(|e| e.to_string())?;
            let broken = |e| format!("{protocol:?} {head}: {e}");
            laws::anything(protocol, &script, bytes).map_err(broken)?;
            let pieces = bytes.chunks(usize::from(*piece).max(1)).map(|piece| Action::Receive(piece.to_vec()));
            let pieces = run(protocol, &script.with(pieces), &Options::default());
            let whole = run(protocol, &script.with([Action::Receive(bytes.to_vec())]), &Options::default());
            if !pieces.broken.is_empty() || pieces.flat().ne(whole.flat()) {
                return Err(broken(format!("in pieces of {piece} {pieces:?}, whole {whole:?}")));
            }
        }
    }
    Ok(())
}

/// Text from anywhere as a script: it is refused, or it runs, and what is written back then agrees.
///
/// # Errors
/// What does not, in words.
pub fn fuzz_script(protocols: &[&Protocol], text: &str) -> Result<(), Broken> {
    let Ok(script) = Script::parse(text) else { return Ok(()) };
    for protocol in protocols {
        let broken = |e: &dyn std::fmt::Debug| format!("{protocol:?}: {e:?}");
        let glued = run(protocol, &script, &Options { feed: Feed::Glued, ..Options::default() });
        if !glued.broken.is_empty() {
            return Err(broken(&glued.broken));
        }
        let once = update(protocol, &script).map_err(|e| broken(&e))?;
        let again = Script::parse(&once).map_err(|e| broken(&(e, &once)))?;
        match check(protocol, &again) {
            Ok(differences) if differences.is_empty() => {}
            other => return Err(broken(&(other, once))),
        }
        let twice = update(protocol, &again).map_err(|e| broken(&e))?;
        if twice != once {
            return Err(broken(&("written twice", once, twice)));
        }
    }
    Ok(())
}

/// Bytes from anywhere as the first of a connection, whole and in pieces as long as the first byte says: the same answer, in the
/// end one of two, and a refusal can be told.
///
/// # Errors
/// What does not hold, in words.
pub fn fuzz_detection(protocols: &[&'static Protocol], data: &[u8]) -> Result<(), Broken> {
    let Some((piece, bytes)) = data.split_first() else { return Ok(()) };
    let preferred = if piece % 2 == 0 { protocols.to_vec() } else { Vec::new() };
    let detector = Detector::new(protocols.to_vec(), preferred);
    let piece = usize::from(*piece).max(1);
    let mut known = 0;
    let mut in_pieces = Recognised::Undecided;
    while matches!(in_pieces, Recognised::Undecided) && known < bytes.len() {
        let end = bytes.len().min(known + piece);
        in_pieces = detector.recognise_from(bytes.get(..end).unwrap_or(bytes), known, false);
        known = end;
    }
    let whole = detector.recognise(bytes, false);
    let told = |said: &Recognised| match said {
        Recognised::As(protocol) => protocol.name,
        Recognised::Undecided => "undecided",
        Recognised::No(_) => "no",
    };
    if told(&whole) != told(&in_pieces) {
        return Err(format!("whole {}, in pieces of {piece} {}", told(&whole), told(&in_pieces)));
    }
    match detector.recognise(bytes, true) {
        Recognised::Undecided => Err("undecided in the end".into()),
        Recognised::No(_) if matches!(whole, Recognised::As(_)) => Err("recognised, and then not".into()),
        Recognised::As(protocol) if !matches!(whole, Recognised::Undecided) && told(&whole) != protocol.name => {
            Err(format!("{}, and in the end {protocol:?}", told(&whole)))
        }
        Recognised::No(why) if why.rulings.len() != protocols.len() || why.to_string().is_empty() => Err(format!("{why:?}")),
        _ => Ok(()),
    }
}

/// Bytes from anywhere as a frame to a device: they are read or refused, and the fields that are shown lie within what was read.
///
/// # Errors
/// What does not hold, in words.
pub fn fuzz_downlink(protocols: &[&Protocol], data: &[u8]) -> Result<(), Broken> {
    for protocol in protocols {
        let mut trace = Trace::default();
        let traced = (protocol.down.read)(data, &Profile::default(), Some(&mut trace));
        let plain = (protocol.down.read)(data, &Profile::default(), None);
        if traced != plain {
            return Err(format!("{protocol:?}: {traced:?} with a trace, {plain:?} without"));
        }
        let content = if trace.content.is_empty() { data.len() } else { trace.content.len() };
        let outside = trace.fields.iter().find(|f| f.span.start > f.span.end || f.span.end > content);
        if let (Ok(_), Some(field)) = (&traced, outside) {
            return Err(format!("{protocol:?}: {field:?} lies outside of {content} bytes"));
        }
        let Some((form, content)) = data.split_first() else { continue };
        let mut sealed = Vec::new();
        (protocol.down.seal)(*form, content, &mut sealed);
    }
    Ok(())
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
            fuzz_session(&[&toy::TOY], &bytes[..end]).unwrap();
        }
    }

    #[test]
    fn the_session_target_finds_a_flaw() {
        let broken = fuzz_session(&[&toy::SPLITTING], b"\x01garbage").unwrap_err();
        assert!(broken.contains("byte by byte"), "{broken}");
    }

    #[test]
    fn the_detection_target_runs() {
        let bytes = [vec![3], toy::frame(toy::LOGIN, b"7"), b"junk".to_vec(), toy::position(1, 2), vec![2, 60]].concat();
        for end in 0..=bytes.len() {
            fuzz_detection(&[&toy::TOY], &bytes[..end]).unwrap();
            fuzz_detection(crate::PROTOCOLS, &bytes[..end]).unwrap();
        }
    }

    #[test]
    fn the_downlink_target_runs() {
        for (protocol, frame) in crate::PROTOCOLS.iter().flat_map(|p| (p.down.samples)().into_iter().map(move |f| (p, f))) {
            for end in 0..=frame.len() {
                fuzz_downlink(&[protocol], &frame[..end]).unwrap();
            }
        }
    }

    #[test]
    fn the_script_target_runs() {
        let login = text_of(&toy::frame(toy::LOGIN, b"7"));
        let text = format!("# x\n> {login}\n< 06\n# y\n> {login}{login}\n! value\n\n@ +3s\n. goodbye\n> \"\\\"\"");
        for (end, _) in text.char_indices() {
            fuzz_script(&[&toy::TOY], &text[..end]).unwrap();
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
            prop_assert_eq!(fuzz_script(&[&toy::TOY], &text), Ok(()));
        }

        #[test]
        fn any_bytes_can_be_received(bytes in prop::collection::vec(prop_oneof![Just(2), Just(3), Just(1), any::<u8>()], 0..200)) {
            prop_assert_eq!(fuzz_session(&[&toy::TOY], &bytes), Ok(()));
        }
    }
}
