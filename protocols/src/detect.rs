//! Which protocol a connection speaks, told from its first bytes, where one port serves several.
//!
//! ```text
//!   first bytes ──▶ fill skipped ──▶ probes ──┬─ one fits ────────────────────────▶ recognised
//!                                             ├─ several ──▶ frames, read as each ─┬─ one can be ──▶ recognised
//!                                             │                                    └─ preference, or more bytes
//!                                             └─ none ─────▶ behind garbage: only what a whole frame proves
//! ```
//!
//! A probe looks at [`PROBE_WINDOW`] bytes and is cheap; reading frames is what decides between sisters, which share marks
//! and escapes. A protocol is taken only if nothing else is left or a frame proves it: bytes that are read in the wrong
//! protocol would be acknowledged and be lost, bytes that are refused are sent again.
//!
//! Everything here is a function of the bytes: the caller keeps them (at most [`WINDOW`]), asks again when more have come, and
//! says when nothing more will, because a deadline passed or the connection ended. The answer is that of the shortest
//! beginning that has one, so it is the same however the bytes were split.

use std::fmt;

use crate::fault::{Fault, FaultKind};
use crate::identity::SessionId;
use crate::profile::Profile;
use crate::registry::{PROBE_WINDOW, Protocol};
use crate::wire::{Checksum, Cut, Probe, Wire};

/// Bytes in which a connection has to show what it speaks: garbage, and then a whole sign-on or position of any protocol,
/// or several of the small ones, which tells sisters apart.
pub const WINDOW: usize = 1024;

/// Bytes before the first frame that are forgiven: line ends and zeros that modems send, and the tail of a frame whose head
/// was lost with the connection before.
pub const MAX_GARBAGE: usize = 64;

/// Places in garbage that look like the start of a frame and are tried: whoever sends nothing but such is no device, and each
/// costs a frame's reading for every byte that comes.
const MAX_TRIES: usize = 4;

/// Frames that are read as evidence: as many as tell sisters apart that share their most usual messages.
const ENOUGH: usize = 4;

/// Letters and digits that make a word: the shortest that a protocol begins with is `imei`.
const WORD: usize = 4;

/// What units and modems send before they speak.
const FILL: &[u8] = b"\0\r\n ";

/// Others that call at every open port: how they begin, and what they are.
const STRANGERS: &[(&[u8], &str)] = &[
    (b"\x16\x03", "tls"),
    (b"SSH-", "ssh"),
    (b"GET ", "http"),
    (b"POST ", "http"),
    (b"HEAD ", "http"),
    (b"PUT ", "http"),
    (b"OPTIONS ", "http"),
    (b"CONNECT ", "http"),
    (b"PRI * HTTP", "http"),
];

/// Who may be recognised, and who wins where bytes alone do not decide.
#[derive(Debug, Clone)]
pub struct Detector {
    candidates: Vec<&'static Protocol>,
    preferred: Vec<&'static Protocol>,
}

/// What the first bytes say.
#[derive(Debug)]
pub enum Recognised {
    /// This protocol.
    As(&'static Protocol),
    /// More bytes are needed.
    Undecided,
    /// None that is known, or several that cannot be told apart.
    No(Box<Unrecognised>),
}

/// Why bytes were not recognised.
#[derive(Debug)]
pub struct Unrecognised {
    /// What they look like most: a protocol that agreed with the first of them, or `http`, `tls`, `ssh`.
    pub guess: Option<&'static str>,
    /// What each candidate said.
    pub rulings: Vec<(&'static Protocol, Ruling)>,
}

/// What a candidate says about the first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// They are not mine; the first byte that shows it.
    No {
        /// Its offset from the first byte of the connection.
        offset: usize,
    },
    /// They may be mine, but there are too few.
    More,
    /// They look like mine, and so many whole frames can be read.
    Fits {
        /// Frames with a good checksum whose message can be read.
        frames: usize,
    },
    /// They look like mine, but this is wrong.
    Against {
        /// Where the frame, or the run of bytes that is none, begins.
        offset: usize,
        /// What is wrong.
        fault: Fault,
    },
}

/// How far bytes can be read as a protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Frames with a good checksum (or of a form that has none) whose message can be read, from the start.
    pub frames: usize,
    /// The first thing that cannot, and where it begins.
    pub against: Option<(usize, Fault)>,
}

impl Evidence {
    /// Whether a whole frame says so and nothing speaks against it.
    fn proves(&self) -> bool {
        self.frames > 0 && self.against.is_none()
    }
}

/// Read the frames at the start of these bytes as those of a protocol. `last`: nothing more will come.
pub(crate) fn evidence<W: Wire>(head: &[u8], last: bool) -> Evidence {
    let (wire, profile, mut scratch) = (W::new(SessionId(0)), Profile::default(), Vec::new());
    let mut found = Evidence::default();
    let (mut at, mut filled) = (0, 0);
    while let Some(rest) = head.get(at..).filter(|rest| !rest.is_empty() && found.frames < ENOUGH && filled < MAX_GARBAGE) {
        scratch.clear();
        let rest = rest.get(..W::LIMITS.max_frame).unwrap_or(rest);
        let wrong = match wire.cut(rest, last, &mut scratch) {
            Cut::More => break,
            Cut::Fill(n) => {
                at += n.max(1);
                filled += 1;
                continue;
            }
            Cut::Skip(_, fault) => Some(fault),
            Cut::Frame(frame) => match frame.checksum {
                Checksum::Wrong { expected, found, offset } => {
                    let detail = format!("checksum is {found:#x}, should be {expected:#x}");
                    Some(Fault::new(FaultKind::Checksum, offset, detail))
                }
                verdict => match wire.decode(&frame, &profile, None) {
                    Ok(_) => {
                        found.frames += usize::from(verdict == Checksum::Good);
                        at += frame.raw.len().max(1);
                        None
                    }
                    Err(fault) => Some(fault),
                },
            },
        };
        if let Some(fault) = wrong {
            found.against = Some((at, fault));
            break;
        }
    }
    found
}

/// A candidate that has not said no.
struct Possible {
    protocol: &'static Protocol,
    sure: bool,
}

/// What the bytes behind garbage say.
enum Behind {
    Proves(&'static Protocol),
    MayHold,
    Nothing,
}

impl Detector {
    /// One that knows these protocols, and takes the first of `preferred` that is possible where bytes alone do not decide.
    pub fn new(candidates: Vec<&'static Protocol>, preferred: Vec<&'static Protocol>) -> Self {
        Self { candidates, preferred }
    }

    /// One that knows every protocol and prefers none.
    pub fn all() -> Self {
        Self::new(crate::PROTOCOLS.to_vec(), Vec::new())
    }

    /// The protocols that may be recognised.
    pub fn candidates(&self) -> &[&'static Protocol] {
        &self.candidates
    }

    /// What the first bytes of a connection say. `last`: nothing more will come.
    pub fn recognise(&self, received: &[u8], last: bool) -> Recognised {
        self.recognise_from(received, 0, last)
    }

    /// The same, where the first `known` of them are known to be too few to say anything. Bytes beyond [`WINDOW`] are not
    /// looked at.
    pub fn recognise_from(&self, received: &[u8], known: usize, last: bool) -> Recognised {
        let window = received.get(..WINDOW).unwrap_or(received);
        let heads = (known + 1..=window.len()).filter_map(|end| window.get(..end));
        let decided = heads.map(|head| self.look(head, false)).find(|said| !matches!(said, Recognised::Undecided));
        match decided {
            Some(said) => said,
            None if last || window.len() == WINDOW => self.look(window, true),
            None => Recognised::Undecided,
        }
    }

    fn look(&self, head: &[u8], last: bool) -> Recognised {
        let start = head.iter().take(MAX_GARBAGE).take_while(|b| FILL.contains(b)).count();
        let body = head.get(start..).unwrap_or_default();
        if body.is_empty() {
            return if last { self.refuse(head, start) } else { Recognised::Undecided };
        }
        let possible = self.possible(body);
        if !possible.is_empty() {
            return match self.choose(&possible, body, last) {
                Some(protocol) => Recognised::As(protocol),
                None if last => self.refuse(head, start),
                None => Recognised::Undecided,
            };
        }
        if stranger(body).is_some() {
            return self.refuse(head, start);
        }
        if let Some(protocol) = self.preferred.iter().copied().find(|p| (p.evidence)(body, last).proves()) {
            return Recognised::As(protocol);
        }
        match self.behind_garbage(body, last) {
            Behind::Proves(protocol) => Recognised::As(protocol),
            Behind::MayHold if !last => Recognised::Undecided,
            Behind::MayHold | Behind::Nothing => self.refuse(head, start),
        }
    }

    fn possible(&self, body: &[u8]) -> Vec<Possible> {
        let window = body.get(..PROBE_WINDOW).unwrap_or(body);
        let of = |protocol: &&'static Protocol| match (protocol.probe)(window) {
            Probe::No => None,
            said => Some(Possible { protocol, sure: said == Probe::Yes }),
        };
        self.candidates.iter().filter_map(of).collect()
    }

    /// One of those that have not said no, if that can be decided.
    fn choose(&self, possible: &[Possible], body: &[u8], last: bool) -> Option<&'static Protocol> {
        if let [Possible { protocol, sure: true }] = possible {
            return self.unless_preferred(protocol, body, last);
        }
        let proven = possible.iter().filter(|p| (p.protocol.evidence)(body, last).proves()).map(|p| p.protocol);
        let proven: Vec<_> = proven.collect();
        if let [only] = proven[..] {
            return self.unless_preferred(only, body, last);
        }
        let sure: Vec<_> = possible.iter().filter(|p| p.sure).map(|p| p.protocol).collect();
        match (proven.is_empty(), last) {
            // a device waits for an answer to what it said: only a preference can decide before it says more
            (false, _) => self.preferred_of(&proven),
            (true, false) => None,
            (true, true) => match sure[..] {
                [only] => Some(only),
                _ => self.preferred_of(&sure),
            },
        }
    }

    fn preferred_of(&self, among: &[&'static Protocol]) -> Option<&'static Protocol> {
        self.preferred.iter().copied().find(|p| among.iter().any(|a| a.name == p.name))
    }

    /// Sisters may be told apart by what is usual only, such as the first digit of a number: whoever is preferred to the one
    /// that was found has the word if it can read the first frame, which is waited for.
    fn unless_preferred(&self, found: &'static Protocol, body: &[u8], last: bool) -> Option<&'static Protocol> {
        let mut before = self.preferred.iter().copied().take_while(|p| p.name != found.name).peekable();
        if before.peek().is_none() {
            return Some(found);
        }
        if (found.evidence)(body, last) == Evidence::default() && !last {
            return None;
        }
        before.find(|p| (p.evidence)(body, last).proves()).or(Some(found))
    }

    /// Look for a frame behind bytes that begin none.
    fn behind_garbage(&self, body: &[u8], last: bool) -> Behind {
        // the next byte to come may begin a frame. A mark alone is no proof there, nor is what is only not refused
        let mut found = if body.len() <= MAX_GARBAGE { Behind::MayHold } else { Behind::Nothing };
        let mut tries = 0;
        for at in 1..=MAX_GARBAGE {
            let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) else { break };
            // no text begins in the middle of a word; what has other bytes among its first is none, though its mark may be letters
            let word = rest.get(..WORD).is_some_and(|begin| begin.iter().all(u8::is_ascii_alphanumeric));
            if word && body.get(at - 1).is_some_and(u8::is_ascii_alphanumeric) {
                continue;
            }
            let possible = self.possible(rest);
            if possible.is_empty() {
                continue;
            }
            found = Behind::MayHold;
            let sure = possible.iter().filter(|p| p.sure).map(|p| p.protocol);
            let mut sure = sure.peekable();
            if sure.peek().is_none() {
                continue;
            }
            tries += 1;
            let proven: Vec<_> = sure.filter(|p| (p.evidence)(rest, last).proves()).collect();
            let one = if let [only] = proven[..] { Some(only) } else { self.preferred_of(&proven) };
            if let Some(protocol) = one {
                return Behind::Proves(protocol);
            }
            if tries == MAX_TRIES {
                break;
            }
        }
        found
    }

    fn refuse(&self, head: &[u8], start: usize) -> Recognised {
        let body = head.get(start..).unwrap_or_default();
        let rulings: Vec<_> = self.candidates.iter().map(|p| (*p, ruling(p, body, start))).collect();
        // whoever agreed with most bytes; the preferred one, then the first in the list, where several did
        let agreed = |(protocol, ruling): &&(&'static Protocol, Ruling)| {
            let bytes = match ruling {
                Ruling::No { offset } => offset - start,
                _ => body.len(),
            };
            let rank = self.preferred.iter().rev().position(|p| p.name == protocol.name).map_or(0, |n| n + 1);
            (bytes, rank)
        };
        let closest = rulings.iter().rev().max_by_key(agreed).filter(|best| agreed(best).0 > 0);
        let guess = stranger(body).or_else(|| closest.map(|(protocol, _)| protocol.name));
        Recognised::No(Box::new(Unrecognised { guess, rulings }))
    }
}

/// What this protocol says about these bytes, which begin at this offset.
fn ruling(protocol: &Protocol, body: &[u8], start: usize) -> Ruling {
    let window = body.get(..PROBE_WINDOW).unwrap_or(body);
    let heads = (0..=window.len()).filter_map(|end| window.get(..end));
    if let Some(refused) = heads.map(|head| (head.len(), (protocol.probe)(head))).find(|(_, said)| *said == Probe::No) {
        return Ruling::No { offset: start + refused.0.saturating_sub(1) };
    }
    let Evidence { frames, against } = (protocol.evidence)(body, true);
    match against {
        Some((at, fault)) => Ruling::Against { offset: start + at, fault },
        None if frames == 0 && (protocol.probe)(window) == Probe::More => Ruling::More,
        None => Ruling::Fits { frames },
    }
}

fn stranger(body: &[u8]) -> Option<&'static str> {
    STRANGERS.iter().find(|(begin, _)| body.starts_with(begin)).map(|(_, what)| *what)
}

impl fmt::Display for Unrecognised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fitting = self.rulings.iter().filter(|(_, r)| matches!(r, Ruling::Fits { .. }));
        let fitting: Vec<_> = fitting.map(|(protocol, _)| protocol.name).collect();
        if let Some(guess) = self.guess.filter(|guess| STRANGERS.iter().any(|(_, what)| what == guess)) {
            return write!(f, "this is {guess}");
        }
        match fitting[..] {
            [] => f.write_str("these bytes fit no protocol")?,
            // a garbage run may stand before it
            [only] => write!(f, "not enough of {only}")?,
            _ => write!(f, "these bytes may be {}, and nothing is preferred", fitting.join(" or "))?,
        }
        for (n, (protocol, ruling)) in self.rulings.iter().enumerate() {
            f.write_str(if n == 0 { ": " } else { "; " })?;
            match ruling {
                Ruling::No { offset } => write!(f, "{} no at byte {offset}", protocol.name)?,
                Ruling::More => write!(f, "{} needs more bytes", protocol.name)?,
                Ruling::Fits { frames } => write!(f, "{} fits with {frames} whole frames", protocol.name)?,
                Ruling::Against { offset, fault } => write!(f, "{} from byte {offset}: {fault}", protocol.name)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PROTOCOLS;
    use crate::cursor::unhex;
    use crate::registry::find;

    /// A heartbeat of 13800001111.
    const JT808: &[u8] = b"\x7e\x00\x02\x00\x00\x01\x38\x00\x00\x11\x11\x00\x02\x39\x7e";
    /// A sign-on of 861200000000012.
    const GT06: &str = "78780d01086120000000001200011d5a0d0a";

    fn said(detector: &Detector, bytes: &[u8], last: bool) -> String {
        match detector.recognise(bytes, last) {
            Recognised::As(protocol) => protocol.name.to_owned(),
            Recognised::Undecided => "undecided".to_owned(),
            Recognised::No(why) => format!("no, guess {:?}", why.guess),
        }
    }

    fn all(bytes: &[u8], last: bool) -> String {
        said(&Detector::all(), bytes, last)
    }

    #[test]
    fn accepts_as_soon_as_one_is_left() {
        let gt06 = unhex(GT06).unwrap();
        let first = (0..=gt06.len()).find(|end| all(&gt06[..*end], false) != "undecided");
        assert_eq!(first, Some(4));
        assert_eq!(all(&gt06[..4], false), "gt06");
        assert_eq!(all(JT808, false), "jt808");
        for end in 0..JT808.len() {
            assert_eq!(all(&JT808[..end], false), "undecided", "{end}");
        }
    }

    #[test]
    fn fill_and_the_tail_of_a_lost_frame_before_the_first_frame_are_forgiven() {
        let gt06 = unhex(GT06).unwrap();
        assert_eq!(all(&[b"\r\n\0 ", &gt06[..4]].concat(), false), "gt06");
        // behind garbage a mark is not enough: the whole frame has to be there
        let tail = b"\x01\x02\x03\x0d\x0a";
        for end in 0..gt06.len() {
            assert_eq!(all(&[tail, &gt06[..end]].concat(), false), "undecided", "{end}");
        }
        assert_eq!(all(&[tail, &gt06[..]].concat(), false), "gt06");
        // a mark may be letters
        assert_eq!(all(&[b"lost", &gt06[..]].concat(), false), "gt06");
        let long = [&[0x55; MAX_GARBAGE + 1], &gt06[..]].concat();
        assert!(all(&long, true).starts_with("no"));
    }

    #[test]
    fn refuses_strangers_at_once_and_noise_when_nothing_can_come_of_it() {
        assert_eq!(all(b"GET / HTTP/1.1\r\n", false), "no, guess Some(\"http\")");
        assert_eq!(all(b"\x16\x03\x01\x02\x00\x01", false), "no, guess Some(\"tls\")");
        assert_eq!(all(&[0x55; MAX_GARBAGE], false), "undecided");
        assert_eq!(all(&[0x55; MAX_GARBAGE + 1], false), "no, guess None");
        assert_eq!(all(b"\r\n\r\n", false), "undecided");
        assert_eq!(all(b"\r\n\r\n", true), "no, guess None");
        assert_eq!(all(b"", true), "no, guess None");
    }

    #[test]
    fn refusals_say_who_said_no_at_which_byte() {
        let Recognised::No(why) = Detector::all().recognise(b"\r\n\x78\x55", true) else { panic!() };
        let of = |name: &str| why.rulings.iter().find(|(p, _)| p.name == name).map(|(_, r)| r.clone());
        assert_eq!(of("gt06"), Some(Ruling::No { offset: 3 }));
        assert_eq!(of("jt808"), Some(Ruling::No { offset: 2 }));
        assert_eq!(why.guess, Some("gt06"));
        assert!(why.to_string().contains("gt06 no at byte 3"), "{why}");
        assert_eq!(all(b"\x7e\x02\x00", true), "no, guess Some(\"jt808\")");
    }

    #[test]
    fn only_candidates_are_recognised() {
        let only = Detector::new(vec![find("gt06").unwrap()], Vec::new());
        assert!(said(&only, JT808, true).starts_with("no"));
        assert_eq!(said(&only, &unhex(GT06).unwrap(), false), "gt06");
    }

    #[test]
    fn bytes_beyond_the_window_do_not_count() {
        let mut long = unhex(GT06).unwrap();
        long.resize(WINDOW * 2, 0x78);
        assert_eq!(all(&long, false), "gt06");
        assert!(all(&vec![b'\r'; 2 * WINDOW], false).starts_with("no"));
    }

    #[test]
    fn a_no_of_a_probe_is_final() {
        let heads = [JT808.to_vec(), unhex(GT06).unwrap(), b"(13800001111,1,001,BASE,2,TIME)".to_vec(), b"*HQ,1".to_vec()];
        for (protocol, head) in PROTOCOLS.iter().flat_map(|p| heads.iter().map(move |h| (p, h))) {
            let said: Vec<_> = (0..=head.len()).map(|end| (protocol.probe)(&head[..end])).collect();
            let first = said.iter().position(|s| *s == Probe::No).unwrap_or(said.len());
            assert!(said[first..].iter().all(|s| *s == Probe::No), "{protocol:?} {said:?}");
        }
    }

    /// Two sisters: the same marks, and messages that only one of them can read.
    mod sisters {
        use super::*;
        use crate::gt06::PROTOCOL as GT06;

        fn probe(head: &[u8]) -> Probe {
            match head {
                [] => Probe::More,
                [b'#', ..] => Probe::Yes,
                _ => Probe::No,
            }
        }

        /// `#` and a letter are a frame; the letters of `mine` can be read.
        fn read(head: &[u8], mine: &[u8]) -> Evidence {
            let mut found = Evidence::default();
            for (n, frame) in head.chunks(2).enumerate() {
                match frame {
                    [b'#', letter] if mine.contains(letter) => found.frames += 1,
                    [b'#', _] => {
                        found.against = Some((2 * n, Fault::new(FaultKind::Value, 1, "not mine")));
                        break;
                    }
                    _ => break,
                }
            }
            found
        }

        const fn sister(name: &'static str, evidence: fn(&[u8], bool) -> Evidence) -> Protocol {
            Protocol { name, probe, evidence, ..GT06 }
        }

        static ELDER: Protocol = sister("elder", |head, _| read(head, b"ab"));
        static YOUNGER: Protocol = sister("younger", |head, _| read(head, b"ac"));

        fn told(preferred: Vec<&'static Protocol>, bytes: &[u8], last: bool) -> String {
            said(&Detector::new(vec![&ELDER, &YOUNGER], preferred), bytes, last)
        }

        #[test]
        fn the_first_frame_that_only_one_can_read_decides() {
            assert_eq!(told(vec![], b"#", false), "undecided");
            assert_eq!(told(vec![], b"#b", false), "elder");
            assert_eq!(told(vec![], b"#c", false), "younger");
            assert_eq!(told(vec![], b"#a", false), "undecided");
            assert_eq!(told(vec![], b"#a#c", false), "younger");
            // a preference does not overrule what a frame proves
            assert_eq!(told(vec![&ELDER], b"#c", false), "younger");
        }

        #[test]
        fn a_preference_decides_what_bytes_do_not() {
            assert_eq!(told(vec![&YOUNGER], b"#a", false), "younger");
            assert_eq!(told(vec![&ELDER], b"#a", false), "elder");
            assert_eq!(told(vec![&ELDER], b"#", false), "undecided");
            assert_eq!(told(vec![&ELDER], b"#", true), "elder");
        }

        /// Like the younger one, but it knows its own only by what is usual.
        static SHY: Protocol = Protocol { name: "shy", probe: |_| Probe::No, ..YOUNGER };

        #[test]
        fn a_preferred_one_has_the_word_on_the_first_frame() {
            let told = |preferred: Vec<&'static Protocol>, bytes: &[u8], last| {
                said(&Detector::new(vec![&ELDER, &SHY], preferred), bytes, last)
            };
            assert_eq!(told(vec![], b"#", false), "elder");
            assert_eq!(told(vec![&SHY], b"#", false), "undecided");
            assert_eq!(told(vec![&SHY], b"#", true), "elder");
            assert_eq!(told(vec![&SHY], b"#a", false), "shy");
            assert_eq!(told(vec![&SHY], b"#b", false), "elder");
            assert_eq!(told(vec![&ELDER, &SHY], b"#a", false), "elder");
            let alone = Detector::new(vec![&SHY], vec![&SHY]);
            assert_eq!(said(&alone, b"#a", false), "shy");
        }

        #[test]
        fn refuses_to_guess_without_one() {
            assert_eq!(told(vec![], b"#a", true), "no, guess Some(\"elder\")");
            assert_eq!(told(vec![], b"#x", true), "no, guess Some(\"elder\")");
            let detector = Detector::new(vec![&ELDER, &YOUNGER], vec![]);
            let Recognised::No(why) = detector.recognise(b"#a", true) else { panic!() };
            assert!(why.to_string().contains("elder or younger"), "{why}");
        }
    }
}
