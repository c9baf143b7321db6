//! `--explain`: what is wrong with a damaged frame, and what it would be if repaired. A repair is tried, not known: bytes are
//! changed in ways that damage them in the field, and what a fresh session then accepts as one frame is shown.

use protocols::cursor::hex;
use protocols::fault::FaultKind;
use protocols::registry::Protocol;
use protocols::time::Timestamp;

use super::walk::{Heard, Piece, as_frame, faults_of};

/// How far behind its start a frame may say its length: no protocol of ours says it later.
const LENGTH_WITHIN: usize = 8;

/// How far before its end a frame may have its checksum, ends of any kind included.
const CHECKSUM_WITHIN: usize = 16;

/// How many missing bytes are tried: a report is rarely longer, and more would only say that much is missing.
const MISSING_AT_MOST: usize = 256;

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
    let reject = heard.pieces.get(index)?.reject.as_ref()?;
    let damaged = heard.damaged(index)?;
    let workshop = Workshop { protocol: heard.protocol, utc, damaged };
    let kind = reject.fault.kind;
    let repair = match kind {
        _ if damaged.len() > heard.protocol.limits.max_frame => None,
        FaultKind::Checksum => workshop.checksum(damaged, &reject.fault.detail),
        FaultKind::Escape | FaultKind::Length | FaultKind::Garbage | FaultKind::Oversize | FaultKind::Truncated => {
            workshop.end().or_else(|| workshop.escape()).or_else(|| workshop.length()).or_else(|| workshop.missing())
        }
        _ => None,
    };
    Some(Explanation { what: meaning(kind), repair })
}

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

#[derive(Clone, Copy)]
struct Workshop<'a> {
    protocol: &'static Protocol,
    utc: Timestamp,
    damaged: &'a [u8],
}

impl Workshop<'_> {
    fn good(&self, bytes: &[u8]) -> Option<Piece> {
        as_frame(self.protocol, false, bytes, self.utc)
    }

    /// These bytes as a frame, their checksum put right if need be.
    fn accept(&self, what: String, bytes: Vec<u8>) -> Option<Repair> {
        if let Some(piece) = self.good(&bytes) {
            return Some(Repair { what, bytes, piece: Some(piece) });
        }
        as_frame(self.protocol, true, &bytes, self.utc)?;
        let strict = faults_of(self.protocol, &bytes, self.utc);
        let detail = strict.into_iter().find(|fault| fault.kind == FaultKind::Checksum)?.detail;
        let fixed = self.checksum(&bytes, &detail)?;
        Some(Repair { what: format!("{what}, and then {}", fixed.what), ..fixed })
    }

    /// Write the expected checksum over the one found.
    fn checksum(&self, bytes: &[u8], detail: &str) -> Option<Repair> {
        let mut numbers = numbers(detail);
        let (found, expected) = (numbers.next()?, numbers.next()?);
        let tail = bytes.len().saturating_sub(CHECKSUM_WITHIN);
        forms(found).zip(forms(expected)).find_map(|(old, new)| {
            let at = (tail..bytes.len()).rev().find(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(&old)))?;
            let fixed = [bytes.get(..at)?, &new, bytes.get(at + old.len()..)?].concat();
            let piece = self.good(&fixed)?;
            let what = format!("the checksum at byte {at} is {} and should be {}", hex(&old), hex(&new));
            Some(Repair { what, bytes: fixed, piece: Some(piece) })
        })
    }

    /// Another length, or another value of whatever else stands at the start.
    fn length(&self) -> Option<Repair> {
        (0..self.damaged.len().min(LENGTH_WITHIN)).find_map(|at| (0..=u8::MAX).find_map(|new| self.with_byte(at, new)))
    }

    /// Another second byte of an escape.
    fn escape(&self) -> Option<Repair> {
        let starts = self.damaged.iter().enumerate().filter(|(_, b)| matches!(b, 0x7D | 0x3D));
        starts.map(|(at, _)| at + 1).find_map(|at| (0..=0x20).find_map(|new| self.with_byte(at, new)))
    }

    fn with_byte(&self, at: usize, new: u8) -> Option<Repair> {
        let mut bytes = self.damaged.to_vec();
        let byte = bytes.get_mut(at).filter(|old| **old != new)?;
        let what = format!("byte {at} is {byte:02x} and should be {new:02x}");
        *byte = new;
        self.accept(what, bytes)
    }

    /// A lost end mark.
    fn end(&self) -> Option<Repair> {
        ENDS.into_iter().filter(|end| !end.is_empty()).find_map(|end| {
            let bytes = [self.damaged, end].concat();
            let piece = self.good(&bytes)?;
            Some(Repair { what: format!("the end mark {} is missing", hex(end)), bytes, piece: Some(piece) })
        })
    }

    /// So many bytes more.
    fn missing(&self) -> Option<Repair> {
        (1..=MISSING_AT_MOST).find_map(|n| {
            ENDS.into_iter().find_map(|end| {
                let bytes = [self.damaged, &vec![0; n.saturating_sub(end.len())], end].concat();
                (n >= end.len()).then(|| as_frame(self.protocol, true, &bytes, self.utc))??;
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

/// The ways in which a checksum stands in a frame, in a fixed order.
fn forms(n: u32) -> impl Iterator<Item = Vec<u8>> {
    let narrow = n.to_be_bytes();
    let [.., high, low] = narrow;
    let escaped = match low {
        0x7E => vec![0x7D, 2],
        0x7D => vec![0x7D, 1],
        _ => vec![low],
    };
    let wide = vec![high, low];
    let little = vec![low, high];
    let text = [format!("{n:02X}"), format!("{n:02x}"), format!("{n:04X}"), format!("{n:04x}")].map(String::into_bytes);
    [wide, little, escaped].into_iter().chain(text)
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
        let all: Vec<_> = forms(0x7E).collect();
        assert!(all.contains(&vec![0, 0x7E]) && all.contains(&vec![0x7D, 2]) && all.contains(&b"7E".to_vec()));
    }
}
