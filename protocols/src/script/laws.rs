//! What holds of every protocol and every conversation. Tests loop over fixtures with these, the fuzz targets over
//! anything; each returns what was broken, in words.

use super::parse::{Action, Script};
use super::run::{Feed, Options, Said, Storage, Transcript, World, run};
use crate::fault::FaultKind;
use crate::registry::Protocol;
use crate::session::Delivery;

/// How many bytes one law may hand over for one conversation: every split of one of 512 bytes. A longer conversation is
/// sampled, which keeps all laws over all fixtures within a minute without optimisation.
pub const BUDGET: usize = 512 * 512;

/// The same for damages, of which every byte has several, heard up to twice: every byte of a conversation of 110 bytes.
const DAMAGE_BUDGET: usize = BUDGET / 4;

/// What was broken, in words.
pub type Broken = String;

/// A sequence of numbers that looks random and is the same every time (SplitMix64, public domain).
#[derive(Debug, Clone)]
pub struct Sampler(u64);

impl Sampler {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// Every number below `end`, or so many of them as the budget allows, in order.
    fn pick(&mut self, end: usize, most: usize) -> Vec<usize> {
        if end <= most {
            return (0..end).collect();
        }
        // one from each of `most` equal stretches, so that no part of a conversation is left out
        let most = most.max(1);
        let stretch = |i: usize| end / most * i + end % most * i / most;
        (0..most).map(|i| stretch(i) + self.number() as usize % (stretch(i + 1) - stretch(i)).max(1)).collect()
    }
}

/// Every receipt, byte and frame is accounted for, whenever and however frames are stored, and no acknowledgement comes
/// before its frame is stored.
///
/// # Errors
/// What was broken.
pub fn accounted(protocol: &Protocol, script: &Script) -> Result<(), Broken> {
    let at_once = whole(protocol, script, &Options::default())?;
    for delivery in [Delivery::Stored, Delivery::Refused, Delivery::UnknownDevice] {
        let options = Options { storage: Storage::Late, delivery: Some(delivery), ..Options::default() };
        let late = whole(protocol, script, &options)?;
        // what a frame is may depend on what was acknowledged before it (a repeat), how bytes become frames may not
        let cut = |t: &Transcript| (t.tally.bytes, t.tally.frames, t.tally.consumed, t.tally.left, t.tally.dropped);
        if delivery == Delivery::Stored && cut(&late) != cut(&at_once) {
            return Err(format!("stored late: {:?}, at once: {:?}", late.tally, at_once.tally));
        }
    }
    Ok(())
}

/// The same bytes have the same effects however they are split or joined.
///
/// # Errors
/// Which split has others.
pub fn split_anywhere(protocol: &Protocol, script: &Script) -> Result<(), Broken> {
    let written = whole(protocol, script, &Options::default())?;
    let same = |feed: Feed, in_time: bool| {
        let other = whole(protocol, script, &Options { feed, ..Options::default() })?;
        let agree = if in_time { other.said == written.said } else { other.flat().eq(written.flat()) };
        match agree {
            true => Ok(()),
            false => Err(format!("{feed:?} gives {:?}, as written {:?}", other.said, written.said)),
        }
    };
    same(Feed::Bytewise, true)?;
    same(Feed::Glued, false)?;
    let length = script.received().map(<[u8]>::len).sum();
    for at in Sampler::new(1).pick(length, BUDGET / usize::max(length, 1)) {
        same(Feed::SplitAt(at), true)?;
    }
    Ok(())
}

/// A connection may end after any byte.
///
/// # Errors
/// After which byte it may not.
pub fn cut_anywhere(protocol: &Protocol, script: &Script) -> Result<(), Broken> {
    let length = script.received().map(<[u8]>::len).sum();
    for end in Sampler::new(2).pick(length, BUDGET / usize::max(length, 1)) {
        let prefix = script.with(prefix(script, end));
        whole(protocol, &prefix, &Options::default()).map_err(|e| format!("after {end} bytes: {e}"))?;
    }
    Ok(())
}

fn prefix(script: &Script, mut end: usize) -> Vec<Action> {
    let mut actions = Vec::new();
    for item in &script.items {
        match &item.action {
            Action::Receive(bytes) if bytes.len() >= end => {
                actions.push(Action::Receive(bytes.get(..end).unwrap_or_default().to_vec()));
                break;
            }
            Action::Receive(bytes) => end -= bytes.len(),
            Action::Advance(_) | Action::Command(_) => {}
        }
        actions.push(item.action.clone());
    }
    actions
}

/// Any byte may be damaged: nothing panics, stalls or vanishes, and split or whole are still the same.
///
/// # Errors
/// What was broken by which byte.
pub fn damage_anything(protocol: &Protocol, script: &Script, seed: u64) -> Result<(), Broken> {
    let bytes = script.bytes();
    let mut sampler = Sampler::new(seed);
    for at in sampler.pick(bytes.len(), DAMAGE_BUDGET / usize::max(DAMAGES * bytes.len(), 1)) {
        let old = bytes.get(at).copied().unwrap_or_default();
        // a bit, the sign bit, the ends of the range, and anything
        let damages: [u8; DAMAGES] = [old ^ 1, old ^ 0x80, 0, 0xFF, sampler.number() as u8];
        for new in damages {
            let damaged = script.with(damaged(script, at, new));
            let broken = |e| format!("byte {at} {old:#04x} became {new:#04x}: {e}");
            let written = whole(protocol, &damaged, &Options::default()).map_err(broken)?;
            let bytewise = Options { feed: Feed::Bytewise, ..Options::default() };
            if new == old ^ 1 && whole(protocol, &damaged, &bytewise).map_err(broken)?.said != written.said {
                return Err(broken("byte by byte it has other effects".to_owned()));
            }
        }
    }
    Ok(())
}

/// Ways in which each byte is damaged.
const DAMAGES: usize = 5;

fn damaged(script: &Script, mut at: usize, new: u8) -> Vec<Action> {
    let mut damage = |action: &Action| match action {
        Action::Receive(bytes) => {
            let mut bytes = bytes.clone();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = new;
            }
            at = at.checked_sub(bytes.len()).unwrap_or(usize::MAX);
            Action::Receive(bytes)
        }
        Action::Advance(_) | Action::Command(_) => action.clone(),
    };
    script.items.iter().map(|item| damage(&item.action)).collect()
}

/// Conversations may follow one another on one connection: repeated, or another one behind.
///
/// # Errors
/// What was broken.
pub fn joined(protocol: &Protocol, first: &Script, second: &Script) -> Result<(), Broken> {
    let actions = first.items.iter().chain(&second.items).map(|item| item.action.clone());
    let script = first.with(actions);
    whole(protocol, &script, &Options::default())?;
    whole(protocol, &script, &Options { feed: Feed::Glued, ..Options::default() }).map(|_| ())
}

/// Bytes from anywhere, in one piece and byte by byte.
///
/// # Errors
/// What was broken.
pub fn anything(protocol: &Protocol, script: &Script, bytes: &[u8]) -> Result<(), Broken> {
    let script = script.with([Action::Receive(bytes.to_vec())]);
    let written = whole(protocol, &script, &Options::default())?;
    let bytewise = whole(protocol, &script, &Options { feed: Feed::Bytewise, world: World::default(), ..Options::default() })?;
    if written.said == bytewise.said {
        Ok(())
    } else {
        Err(format!("whole: {:?}, byte by byte: {:?}", written.said, bytewise.said))
    }
}

/// Run it and demand that no promise was broken.
fn whole(protocol: &Protocol, script: &Script, options: &Options) -> Result<Transcript, Broken> {
    let transcript = run(protocol, script, options);
    let tally = transcript.tally;
    if let Some(broken) = transcript.broken.first() {
        return Err(broken.clone());
    }
    if tally.frames != tally.stored + tally.handled + tally.rejected {
        return Err(format!("a frame has no fate, or two: {tally:?}"));
    }
    let rejected = transcript.flat().filter(|said| matches!(said, Said::Rejected(_))).count();
    if rejected != tally.rejected {
        return Err(format!("{rejected} rejects for {} rejected frames", tally.rejected));
    }
    // what nobody can decode must be told of: bytes that were left over are a truncated frame or garbage
    let told = transcript.flat().any(|said| matches!(said, Said::Rejected(kind) if *kind != FaultKind::Unidentified));
    if tally.left > 0 && !told {
        return Err(format!("{} bytes were left over and nothing says so", tally.left));
    }
    Ok(transcript)
}

#[cfg(test)]
mod tests {
    use super::super::toy;
    use super::*;

    fn script() -> Script {
        let script = Script::parse("% device 1").unwrap();
        let receive = |bytes: &[u8]| Action::Receive(bytes.to_vec());
        script.with([
            receive(&toy::frame(toy::LOGIN, b"13800000001")),
            receive(b"garbage"),
            receive(&toy::position(3_990_000, 11_640_000)),
            receive(&toy::frame(toy::PART, b"abc")),
            Action::Advance(std::time::Duration::from_secs(20)),
            receive(&toy::frame(toy::HEARTBEAT, b"")),
            receive(&toy::frame(toy::BYE, b"")),
            receive(b"\x02\x05late"),
        ])
    }

    #[test]
    fn a_sound_protocol_keeps_every_law() {
        let script = Script::parse("% device 13800000001").unwrap().with(script().items.into_iter().map(|i| i.action));
        accounted(&toy::TOY, &script).unwrap();
        split_anywhere(&toy::TOY, &script).unwrap();
        cut_anywhere(&toy::TOY, &script).unwrap();
        damage_anything(&toy::TOY, &script, 3).unwrap();
        joined(&toy::TOY, &script, &script).unwrap();
        anything(&toy::TOY, &script, b"\x02\x01\x07\x07\x03\x02").unwrap();
    }

    #[test]
    fn a_flawed_protocol_is_found() {
        let script = Script::parse("% device 13800000001").unwrap().with(script().items.into_iter().map(|i| i.action));
        let broken = split_anywhere(&toy::SPLITTING, &script).unwrap_err();
        assert!(broken.contains("Bytewise"), "{broken}");
        let broken = accounted(&toy::STALLING, &script).unwrap_err();
        assert!(broken.contains("stalled"), "{broken}");
        let broken = accounted(&toy::LYING, &script).unwrap_err();
        assert!(broken.contains("no such place"), "{broken}");
    }

    #[test]
    fn a_sample_covers_the_whole_range() {
        assert_eq!(Sampler::new(0).pick(3, 5), [0, 1, 2]);
        let some = Sampler::new(0).pick(1000, 7);
        assert_eq!(some.len(), 7);
        assert!(some.is_sorted() && some.iter().all(|n| *n < 1000) && some.iter().any(|n| *n > 857));
    }
}
