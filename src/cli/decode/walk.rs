//! A session hears the bytes, and what came of each frame is kept for showing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocols::cursor::{Field, Trace};
use protocols::event::Event;
use protocols::fault::{Fault, FaultKind};
use protocols::identity::{DeviceId, SessionId};
use protocols::profile::{ChecksumPolicy, Profile, Settings};
use protocols::registry::Protocol;
use protocols::session::{Delivery, Fate, MAX_REJECT_BYTES, Opening, Outgoing, Reject, Session, Turn};
use protocols::time::{Now, Timestamp};

use super::QUIET;

/// Stands for the device where no frame says which it is. Its digits are counted up so that nobody takes it for one.
const SOME_DEVICE: &str = "123456789012345";

/// What a session made of the bytes.
#[derive(Debug)]
pub(super) struct Heard {
    /// All of them.
    pub(super) bytes: Vec<u8>,
    pub(super) protocol: &'static Protocol,
    /// They are frames to the device.
    pub(super) down: bool,
    pub(super) device: Option<DeviceId>,
    /// No frame says which device it is, so one was assumed.
    pub(super) assumed: bool,
    pub(super) pieces: Vec<Piece>,
}

/// A frame, a run of bytes that belong to none, or something that came of waiting.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// Where it starts in the input.
    pub(super) offset: usize,
    /// How many bytes of the input it is.
    pub(super) length: usize,
    /// How a frame is accounted for; `None` for bytes that are none.
    pub(super) fate: Option<Fate>,
    pub(super) title: String,
    /// A message to the device, in the protocol's words.
    pub(super) message: Option<String>,
    /// What the fields' spans refer to.
    pub(super) content: Vec<u8>,
    /// In the order of their first bytes.
    pub(super) fields: Vec<Field>,
    /// The fault that sent it to the rejects, with its bytes.
    pub(super) reject: Option<Reject>,
    pub(super) tolerated: Vec<FaultKind>,
    /// Faults of earlier frames that came out here.
    pub(super) notices: Vec<Fault>,
    pub(super) events: Vec<Event>,
    pub(super) replies: Vec<Vec<u8>>,
    /// The reason why the session wants to close.
    pub(super) close: Option<&'static str>,
}

impl Heard {
    /// The bytes from this piece to the last of the refused ones that follow it: a frame with a damaged length falls into
    /// several. `None` if the piece is not refused, or goes on one that is.
    pub(super) fn damaged(&self, index: usize) -> Option<&[u8]> {
        let loose = |p: &Piece| p.is_refused() && p.fate.is_none();
        let piece = self.pieces.get(index).filter(|p| p.is_refused())?;
        let before = index.checked_sub(1).and_then(|i| self.pieces.get(i));
        if loose(piece) && before.is_some_and(loose) {
            return None;
        }
        let more = self.pieces.get(index + 1..).unwrap_or_default().iter();
        let last = more.take_while(|next| loose(piece) && next.is_refused()).last().unwrap_or(piece);
        self.bytes.get(piece.offset..last.offset + last.length)
    }
}

impl Piece {
    /// Whether something of it could not be decoded.
    pub(super) fn is_refused(&self) -> bool {
        self.reject.is_some()
    }

    /// The bytes of the content that no field covers, as ranges.
    pub(super) fn gaps(&self) -> Vec<(usize, usize)> {
        let mut spans: Vec<_> = self.fields.iter().map(|f| (f.span.start, f.span.end)).collect();
        spans.sort_unstable();
        let mut gaps = Vec::new();
        let mut at = 0;
        for (start, end) in spans.into_iter().chain([(self.content.len(), self.content.len())]) {
            if start > at {
                gaps.push((at, start));
            }
            at = at.max(end);
        }
        gaps
    }
}

/// Let a session hear the bytes. If it never learns which device it talks to, it is told one and hears them again.
pub(super) fn walk(protocol: &'static Protocol, device: Option<&DeviceId>, bytes: &[u8], utc: Timestamp) -> Heard {
    let heard = hear(protocol, device.cloned(), ChecksumPolicy::Reject, bytes, utc);
    let anonymous = |p: &Piece| p.fate == Some(Fate::Reject(FaultKind::Unidentified));
    if heard.device.is_some() || !heard.pieces.iter().any(anonymous) {
        return heard;
    }
    Heard { assumed: true, ..hear(protocol, DeviceId::normalise(SOME_DEVICE), ChecksumPolicy::Reject, bytes, utc) }
}

/// The same bytes as one frame, if they are one: for judging a repair. Wrong checksums are tolerated if `lenient`.
pub(super) fn as_frame(protocol: &'static Protocol, lenient: bool, bytes: &[u8], utc: Timestamp) -> Option<Piece> {
    let policy = if lenient { ChecksumPolicy::AcceptAndCount } else { ChecksumPolicy::Reject };
    [None, DeviceId::normalise(SOME_DEVICE)].into_iter().find_map(|device| {
        let mut pieces = hear(protocol, device, policy, bytes, utc).pieces.into_iter();
        let piece = pieces.next().filter(|p| p.length == bytes.len() && !p.is_refused() && p.fate.is_some())?;
        pieces.next().is_none().then_some(piece)
    })
}

/// Read frames to a device, one behind the other. Where they cannot all be read, what is no frame ends it: marks alone do not tell
/// where the next one begins.
pub(super) fn walk_down(protocol: &'static Protocol, bytes: &[u8]) -> Heard {
    let mut pieces = Vec::new();
    let mut at = 0;
    for end in split_down(protocol, bytes) {
        pieces.push(Piece { offset: at, ..one_down(protocol, bytes.get(at..end).unwrap_or_default()) });
        at = end;
    }
    Heard { bytes: bytes.to_vec(), protocol, down: true, device: None, assumed: false, pieces }
}

/// Where frames to a device end. The shortest that can be read are taken, but content may look like an end, and an end may be
/// optional: so if that leaves something over, longer ones are tried. If nothing else helps, the first frames that can be read,
/// and the rest.
fn split_down(protocol: &'static Protocol, bytes: &[u8]) -> Vec<usize> {
    let readable = |start: usize, end: usize| {
        (protocol.down.read)(bytes.get(start..end).unwrap_or_default(), &Profile::default(), None).is_ok()
    };
    let (mut taken, mut first): (Vec<(usize, usize)>, Vec<usize>) = (Vec::new(), Vec::new());
    // from where the rest cannot be read
    let mut dead = BTreeSet::new();
    let (mut at, mut next) = (0, 1);
    while at < bytes.len() {
        let longest = bytes.len().min(at + protocol.limits.max_frame);
        if let Some(end) = (next..=longest).find(|end| !dead.contains(end) && readable(at, *end)) {
            taken.push((at, end));
            (at, next) = (end, end + 1);
            continue;
        }
        if first.is_empty() {
            first = taken.iter().map(|(_, end)| *end).chain([bytes.len()]).collect();
        }
        dead.insert(at);
        let Some((start, end)) = taken.pop() else { return first };
        (at, next) = (start, end + 1);
    }
    taken.into_iter().map(|(_, end)| end).collect()
}

/// These bytes as one frame to a device.
fn one_down(protocol: &'static Protocol, bytes: &[u8]) -> Piece {
    let mut trace = Trace::default();
    let read = (protocol.down.read)(bytes, &Profile::default(), Some(&mut trace));
    let mut piece = Piece { length: bytes.len(), title: trace.title, content: trace.content, ..Piece::default() };
    if piece.content.is_empty() && (read.is_ok() || !trace.fields.is_empty()) {
        piece.content = bytes.to_vec();
    }
    piece.fields = trace.fields;
    piece.fields.sort_by_key(|field| field.span.start);
    match read {
        Ok(message) => piece.message = Some(message),
        Err(fault) => {
            let excerpt = bytes.get(..MAX_REJECT_BYTES).unwrap_or(bytes).to_vec();
            piece.reject = Some(Reject { fault, bytes: excerpt, length: bytes.len() });
        }
    }
    piece
}

/// The same bytes as one frame to a device, if they are one.
pub(super) fn as_frame_down(protocol: &'static Protocol, bytes: &[u8]) -> Option<Piece> {
    Some(one_down(protocol, bytes)).filter(|piece| !piece.is_refused())
}

/// What is wrong with bytes as a frame to a device.
pub(super) fn fault_down(protocol: &'static Protocol, bytes: &[u8]) -> Option<Fault> {
    one_down(protocol, bytes).reject.map(|reject| reject.fault)
}

/// What is wrong with bytes on a fresh session that knows its device.
pub(super) fn faults_of(protocol: &'static Protocol, bytes: &[u8], utc: Timestamp) -> Vec<Fault> {
    let heard = hear(protocol, DeviceId::normalise(SOME_DEVICE), ChecksumPolicy::Reject, bytes, utc);
    heard.pieces.into_iter().filter_map(|piece| piece.reject).map(|reject| reject.fault).collect()
}

fn hear(protocol: &'static Protocol, device: Option<DeviceId>, checksum: ChecksumPolicy, bytes: &[u8], utc: Timestamp) -> Heard {
    let profile = Arc::new(Profile { checksum, ..Profile::default() });
    let settings = Settings { profiles: vec![profile], ..Settings::default() };
    let mut session = (protocol.open)(Opening { session: SessionId(0), settings: Arc::new(settings), device });
    let mut turn = Turn::observed(true);
    let mut now = Now { utc, uptime: Duration::ZERO };
    let mut pieces = Vec::new();
    let (mut at, mut told) = (0, 0);
    loop {
        let used = session.receive(bytes.get(at..).unwrap_or_default(), now, &mut turn);
        at += used;
        take(&mut *session, now, &mut turn, (&mut told, at), &mut pieces);
        if used == 0 {
            // nobody will send more: let it decide with what it has, once
            if now.uptime >= QUIET || at == bytes.len() {
                break;
            }
            now.uptime += QUIET;
        }
    }
    session.finish(bytes.get(at..).unwrap_or_default(), now, &mut turn);
    take(&mut *session, now, &mut turn, (&mut told, bytes.len()), &mut pieces);
    Heard { bytes: bytes.to_vec(), protocol, down: false, device: session.device_id().cloned(), assumed: false, pieces }
}

/// Turn a turn into pieces; `told` is how far the input is shown, `at` how far it is consumed.
fn take(session: &mut dyn Session, now: Now, turn: &mut Turn, (told, at): (&mut usize, usize), pieces: &mut Vec<Piece>) {
    if let Some(run) = turn.skipped.take() {
        let length = run.length;
        pieces.push(Piece { offset: *told, length, reject: Some(run), ..Piece::default() });
        *told += length;
    }
    let mut piece = Piece {
        offset: *told,
        fate: turn.fate,
        reject: turn.reject.take(),
        tolerated: std::mem::take(&mut turn.tolerated),
        notices: turn.notices.drain(..).map(|notice| notice.fault).collect(),
        events: std::mem::take(&mut turn.events),
        replies: turn.send.frames().map(<[u8]>::to_vec).collect(),
        close: turn.close.map(protocols::session::Close::label),
        ..Piece::default()
    };
    if turn.fate.is_some() {
        piece.length = at.saturating_sub(*told);
        *told = at;
        if let Some(trace) = &mut turn.trace {
            piece.title = std::mem::take(&mut trace.title);
            piece.content = std::mem::take(&mut trace.content);
            piece.fields = std::mem::take(&mut trace.fields);
            piece.fields.sort_by_key(|field| field.span.start);
        }
    }
    if turn.receipt {
        let mut out = Outgoing::marked();
        session.release(Some(Delivery::Stored), now, &mut out);
        piece.replies.extend(out.frames().map(<[u8]>::to_vec));
    }
    if piece.fate.is_some() || !piece.notices.is_empty() || !piece.replies.is_empty() || piece.close.is_some() {
        pieces.push(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_no_field_covers() {
        let field = |span| Field { span, name: String::new(), value: String::new() };
        let piece = Piece { content: vec![0; 10], fields: vec![field(1..3), field(2..4), field(6..8)], ..Piece::default() };
        assert_eq!(piece.gaps(), [(0, 1), (4, 6), (8, 10)]);
        assert_eq!(Piece::default().gaps(), []);
    }
}
