//! `--explain`: what is wrong with a damaged frame, and what it would be if repaired. A repair is tried, not known: bytes are
//! changed in ways that damage them in the field, and what a fresh session then accepts as one frame is shown.

use protocols::cursor::hex;
use protocols::fault::{Fault, FaultKind};
use protocols::registry::Protocol;
use protocols::time::Timestamp;

use super::walk::{Heard, Piece, as_frame, as_frame_down, fault_down, faults_of};

/// How far behind its start a frame may say its length: no protocol of ours says it later.
const LENGTH_WITHIN: usize = 8;

/// How far before its end a frame may have its checksum, ends of any kind included.
const CHECKSUM_WITHIN: usize = 16;

/// How many missing bytes are tried: a report is rarely longer, and more would only say that much is missing.
const MISSING_AT_MOST: usize = 256;

/// What announces an escape: 7d in the JT/T dialects; `01` behind it makes it the byte itself again.
const ESCAPES: [u8; 1] = [0x7D];

/// What frames of this field end with.
const ENDS: [&[u8]; 8] = [b"", b"\x7e", b"\r\n", b"#", b";", b"$", b")", b"]"];

/// The explanation of a reject.
#[derive(Debug)]
pub(super) struct Explanation {
    /// What is wrong, and what to look at.
    pub(super) what: &'static str,
    /// What helps, if something does.
    pub(super) repair: Option<Repair>,
}

/// A change after which the bytes are a frame.
#[derive(Debug)]
pub(super) struct Repair {
    /// The change.
    pub(super) what: String,
    /// The frame.
    pub(super) bytes: Vec<u8>,
    /// What it would be; `None` where the missing bytes were made up.
    pub(super) piece: Option<Piece>,
}

/// Explain what is wrong with this piece, if something is and that was not explained before.
pub(super) fn explain(heard: &Heard, index: usize, utc: Timestamp) -> Option<Explanation> {
    let piece = heard.pieces.get(index)?;
    let reject = piece.reject.as_ref()?;
    let damaged = heard.damaged(index)?;
    let workshop = Workshop { protocol: heard.protocol, down: heard.down, utc, damaged };
    let kind = reject.fault.kind;
    if !piece.content.is_empty() && matches!(kind, FaultKind::Length | FaultKind::Truncated) {
        return Some(Explanation { what: SHORT, repair: None });
    }
    let repair = match kind {
        _ if damaged.len() > heard.protocol.limits.max_frame => None,
        FaultKind::Checksum => workshop.checksum(damaged, &reject.fault.detail),
        FaultKind::Escape | FaultKind::Length | FaultKind::Garbage | FaultKind::Oversize | FaultKind::Truncated => {
            workshop.best(workshop.ends().chain(workshop.escapes()).chain(workshop.lengths())).or_else(|| workshop.missing())
        }
        _ => None,
    };
    Some(Explanation { what: meaning(kind), repair })
}

/// What a length fault means inside a frame that is whole: there is nothing to repair.
const SHORT: &str = "the frame is whole and its checksum right, but its content does not have the length of its message: a model with another layout (a dialect may read it), or an edited frame";

/// What a fault means for whoever looks for its cause.
const fn meaning(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Garbage => {
            "these bytes stand between frames and belong to none: a capture that starts inside a frame, another protocol, or a damaged start or length"
        }
        FaultKind::Escape => {
            "a byte that announces an escape is followed by one that ends none: the frame was damaged, or was recorded after unescaping"
        }
        FaultKind::Checksum => {
            "the content and the checksum do not belong together: a damaged or edited frame, or a clone that computes it otherwise (then: profile key checksum = \"accept_and_count\")"
        }
        FaultKind::Length => {
            "the length that the frame says is not the length it has: bytes were lost or added, or the recording is not as on the wire"
        }
        FaultKind::Truncated => {
            "bytes are missing: the stream ended inside the frame, or a field is shorter than the protocol says"
        }
        FaultKind::Oversize => {
            "no end of a frame came within the longest that the protocol has: a lost end mark or a damaged length"
        }
        FaultKind::Value => "a field says what cannot be; a profile with another dialect, charset or time zone may read it",
        FaultKind::Unidentified => {
            "the protocol signs on before anything else, and no device has signed on: give --device ID, or the sign-on frame before it"
        }
        FaultKind::Identity => {
            "one connection belongs to one device, and this frame names another: two devices behind one forwarder, or a recording of two"
        }
        FaultKind::Unauthenticated => {
            "the configuration demands authentication (jt808_auth = \"required\") and there was none before this frame"
        }
        FaultKind::Reassembly => {
            "a part of a split message without the others: a lost packet, or a recording that starts or ends between them"
        }
        FaultKind::Unrecognised => "the first bytes fit no protocol",
        FaultKind::UnknownDevice => "the device is not on the list of those that may connect",
        FaultKind::Refused => "the store refused the record for its own sake",
    }
}

/// What was changed, and what came of it.
type Change = (String, Vec<u8>);

#[derive(Clone, Copy)]
struct Workshop<'a> {
    protocol: &'static Protocol,
    down: bool,
    utc: Timestamp,
    damaged: &'a [u8],
}

impl Workshop<'_> {
    fn good(&self, bytes: &[u8]) -> Option<Piece> {
        match self.down {
            true => as_frame_down(self.protocol, bytes),
            false => as_frame(self.protocol, false, bytes, self.utc),
        }
    }

    /// What is wrong with the checksum of bytes that are a frame in all else.
    fn checksum_fault(&self, bytes: &[u8]) -> Option<Fault> {
        let faults = match self.down {
            true => fault_down(self.protocol, bytes).into_iter().collect(),
            false => {
                as_frame(self.protocol, true, bytes, self.utc)?;
                faults_of(self.protocol, bytes, self.utc)
            }
        };
        faults.into_iter().find(|fault| fault.kind == FaultKind::Checksum)
    }

    /// Write the expected checksum over the one found.
    fn checksum(&self, bytes: &[u8], detail: &str) -> Option<Repair> {
        let mut numbers = numbers(detail);
        let (found, expected) = (numbers.next()?, numbers.next()?);
        let tail = bytes.len().saturating_sub(CHECKSUM_WITHIN);
        let wide = found.max(expected) > 0xFF;
        forms(found, wide).zip(forms(expected, wide)).find_map(|(old, new)| {
            let at = (tail..bytes.len()).rev().find(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(&old)))?;
            let fixed = [bytes.get(..at)?, &new, bytes.get(at + old.len()..)?].concat();
            let piece = self.good(&fixed)?;
            let what = format!("the checksum at byte {at} is {} and should be {}", hex(&old), hex(&new));
            Some(Repair { what, bytes: fixed, piece: Some(piece) })
        })
    }

    /// Of the changes that make a frame the first that leaves no byte unread, and among those one that leaves the checksum
    /// alone: a form without a checksum takes many things for its own.
    fn best(&self, changes: impl Iterator<Item = Change>) -> Option<Repair> {
        let mut best: Option<(Repair, (bool, bool))> = None;
        for (what, bytes) in changes {
            let good = self.good(&bytes);
            let touched = good.is_none();
            let repair = match good {
                Some(piece) => Some(Repair { what, bytes, piece: Some(piece) }),
                None => self.but_for_its_checksum(what, &bytes),
            };
            let Some(repair) = repair else { continue };
            let unread = repair.piece.as_ref().is_some_and(|piece| !piece.gaps().is_empty());
            let rank = (unread, touched);
            if best.as_ref().is_none_or(|(_, known)| rank < *known) {
                best = Some((repair, rank));
            }
            if rank == (false, false) {
                break;
            }
        }
        best.map(|(repair, _)| repair)
    }

    fn but_for_its_checksum(&self, what: String, bytes: &[u8]) -> Option<Repair> {
        let fixed = self.checksum(bytes, &self.checksum_fault(bytes)?.detail)?;
        Some(Repair { what: format!("{what}, and then {}", fixed.what), ..fixed })
    }

    /// A lost end mark.
    fn ends(&self) -> impl Iterator<Item = Change> {
        let marks = ENDS.into_iter().filter(|end| !end.is_empty());
        marks.map(|end| (format!("the end mark {} is missing", hex(end)), [self.damaged, end].concat()))
    }

    /// An escape whose second byte is missing, as in a recording made after unescaping, or another.
    fn escapes(&self) -> impl Iterator<Item = Change> {
        let starts = self.damaged.iter().enumerate().filter(|(_, b)| ESCAPES.contains(b)).map(|(at, _)| at + 1);
        starts.flat_map(move |at| {
            let (head, tail) = self.damaged.split_at(at);
            let missing = (format!("byte {} stands as it is; on the wire it is escaped", at - 1), [head, &[1], tail].concat());
            [missing].into_iter().chain((1..=2).filter_map(move |new| self.with_byte(at, new)))
        })
    }

    /// Another length, or another value of whatever else stands at the start.
    fn lengths(&self) -> impl Iterator<Item = Change> {
        let starts = 0..self.damaged.len().min(LENGTH_WITHIN);
        starts.flat_map(move |at| (0..=u8::MAX).filter_map(move |new| self.with_byte(at, new)))
    }

    fn with_byte(&self, at: usize, new: u8) -> Option<Change> {
        let mut bytes = self.damaged.to_vec();
        let byte = bytes.get_mut(at).filter(|old| **old != new)?;
        let what = format!("byte {at} is {byte:02x} and should be {new:02x}");
        *byte = new;
        Some((what, bytes))
    }

    /// So many bytes more.
    fn missing(&self) -> Option<Repair> {
        (1..=MISSING_AT_MOST).find_map(|n| {
            ENDS.into_iter().find_map(|end| {
                let bytes = [self.damaged, &vec![0; n.saturating_sub(end.len())], end].concat();
                let whole = || self.good(&bytes).is_some() || self.checksum_fault(&bytes).is_some();
                (n >= end.len() && whole()).then_some(())?;
                Some(Repair { what: format!("at least {n} bytes are missing at the end"), bytes: Vec::new(), piece: None })
            })
        })
    }
}

/// The numbers written `0x…` in a text.
fn numbers(text: &str) -> impl Iterator<Item = u32> {
    text.split("0x").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        u32::from_str_radix(rest.get(..end)?, 16).ok()
    })
}

/// The ways in which a checksum stands in a frame, in a fixed order; one byte first, unless it needs two.
fn forms(n: u32, wide: bool) -> impl Iterator<Item = Vec<u8>> {
    let [.., high, low] = n.to_be_bytes();
    let escaped = match low {
        0x7E => vec![0x7D, 2],
        0x7D => vec![0x7D, 1],
        _ => vec![low],
    };
    let text = [format!("{n:02X}"), format!("{n:02x}"), format!("{n:04X}"), format!("{n:04x}")].map(String::into_bytes);
    let mut binary = [escaped, vec![high, low], vec![low, high]];
    if wide {
        binary.rotate_left(1);
    }
    binary.into_iter().chain(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_out_of_a_detail() {
        assert_eq!(numbers("checksum is 0x7d, should be 0x1a2b").collect::<Vec<_>>(), [0x7D, 0x1A2B]);
        assert_eq!(numbers("nothing").count(), 0);
    }

    #[test]
    fn checksums_have_several_forms() {
        let all: Vec<_> = forms(0x7E, false).collect();
        assert_eq!((all[0].as_slice(), forms(0x7E, true).next()), (&[0x7D, 2][..], Some(vec![0, 0x7E])));
        assert!(all.contains(&vec![0, 0x7E]) && all.contains(&vec![0x7D, 2]) && all.contains(&b"7E".to_vec()));
    }
}
