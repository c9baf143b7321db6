//! What the author of a protocol writes, [`Wire`], and the loop around it, written once: [`Machine`].
//!
//! The loop owns buffering rules, resynchronisation, accounting, checksum policy, ids, the order of acknowledgements and
//! every bound that is not the protocol's own. An author writes pure functions, and the type of [`Wire::on_message`] asks
//! for the two things that must not be forgotten: how the frame is accounted for and what acknowledges it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::cursor::{Trace, hex};
use crate::event::{Attributes, Body, Content, Data, DataKind, Event};
use crate::fault::{Fault, FaultKind};
use crate::identity::{Count, DeviceId, MessageType, Recipe, SessionId};
use crate::profile::{ChecksumPolicy, Profile, Settings};
use crate::session::{Close, Delivery, Fate, Handled, MAX_REJECT_BYTES, Opening, Outgoing, Reject, Seen, Session, Turn, WINDOW};
use crate::time::Now;

/// Bytes of one part of a large `data` event: base64 of it stays below half of a broker's default message limit of 1 MB.
pub const DATA_PART: usize = 256 * 1024;

/// Bounds of a protocol; each author states them, with the reason.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest frame on the wire, escapes and marks included. A buffer this full without a frame is thrown away as `oversize`.
    pub max_frame: usize,
    /// How long a cut that is unsure waits for more bytes before it decides with what it has.
    pub quiet: Duration,
    /// How long a device may be silent before its connection is taken for dead: 2 to 3 of its longest usual heartbeat periods.
    pub idle: Duration,
}

/// What stands at the start of the received bytes.
#[derive(Debug)]
pub enum Cut<'b> {
    /// A whole frame.
    Frame(Frame<'b>),
    /// So many bytes belong to no frame. Neighbouring skips become one reject.
    Skip(usize, Fault),
    /// So many bytes are no message and no fault either: fill between frames.
    Fill(usize),
    /// The beginning of a frame, or nothing. `quiet` is called for again after [`Limits::quiet`] without bytes.
    More,
}

/// A frame between a protocol's own marks.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'b> {
    /// As received, marks and escapes included.
    pub raw: &'b [u8],
    /// As the protocol counts its bytes: unescaped, with whatever marks and checksum its offsets count.
    pub content: &'b [u8],
    /// Which of a protocol's frame forms this is; the protocol's own numbering.
    pub form: u8,
    /// Whether the checksum fits.
    pub checksum: Checksum,
}

/// The verdict on a frame's checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// It fits, or the form has none.
    Good,
    /// It does not.
    Wrong {
        /// What it should be.
        expected: u32,
        /// What the frame says.
        found: u32,
        /// Where in the content it stands.
        offset: usize,
    },
    /// It does not, and this message type is known never to carry a right one: accepted and counted under any policy.
    Unreliable,
}

/// Whether bytes look like a protocol, judged from the first bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Certainly not.
    No,
    /// Cannot be told yet.
    More,
    /// Yes.
    Yes,
}

/// How a message is accounted for and what acknowledges it.
#[must_use]
#[derive(Debug)]
pub enum Answer<A> {
    /// It emitted events; the acknowledgement goes out when they are durable.
    Stored(Option<A>),
    /// It emitted none, for this reason; the acknowledgement goes out in its turn.
    Handled(Handled, Option<A>),
    /// Its content cannot be used; the acknowledgement goes out when the reject is durable.
    Rejected(Fault, Option<A>),
}

/// A protocol, as its author writes it. One value lives on each connection.
pub trait Wire: Sized + Send + 'static {
    /// Name in the registry, the configuration, metrics, records and folders.
    const NAME: &'static str;
    /// Bounds.
    const LIMITS: Limits;
    /// A message in the protocol's own words, borrowing from its frame.
    type Message<'f>;
    /// What is needed to write an acknowledgement later; small, one waits for each frame in flight.
    type Ack: Send;

    /// At the start of a connection. Serial numbers of our own start at a value taken from the session, so that an answer to
    /// an earlier session's message is not taken for one to this session's.
    fn new(session: SessionId) -> Self;

    /// Look at the first bytes of an unknown connection.
    fn probe(head: &[u8]) -> Probe;

    /// Find the first frame. `input` is never empty nor longer than the largest frame; `quiet` says that nothing has come for
    /// [`Limits::quiet`]. `scratch` is for unescaping. The details of its faults must not depend on how many bytes are there,
    /// or the same garbage would be told differently depending on how it was split.
    fn cut<'b>(&self, input: &'b [u8], quiet: bool, scratch: &'b mut Vec<u8>) -> Cut<'b>;

    /// The opposite of [`Wire::cut`]: append the frame of this form with this content, its checksum computed anew, escapes and
    /// marks put on. For tools that rewrite recorded frames.
    fn seal(form: u8, content: &[u8], out: &mut Vec<u8>);

    /// Read a whole frame whose checksum was good or is tolerated.
    ///
    /// # Errors
    /// What cannot be read, and where. The frame then goes to the rejects, acknowledged by [`Wire::on_unreadable`].
    fn decode<'f>(&self, frame: &Frame<'f>, profile: &Profile, trace: Option<&mut Trace>) -> Result<Self::Message<'f>, Fault>;

    /// Act on a message: identify, emit, and say how it is accounted for and acknowledged.
    fn on_message(&mut self, message: Self::Message<'_>, step: &mut Step<'_>) -> Answer<Self::Ack>;

    /// The acknowledgement of a frame with a good checksum that could not be read, sent when its reject is durable.
    fn on_unreadable(&mut self, frame: &Frame<'_>, fault: &Fault, step: &mut Step<'_>) -> Option<Self::Ack>;

    /// Write an acknowledgement (usually one frame), now that its own frame has this fate.
    fn acknowledge(&mut self, ack: Self::Ack, delivery: Delivery, link: &Link, now: Now, out: &mut Outgoing);

    /// When [`Wire::on_deadline`] wants to be called; a value of [`Now::uptime`].
    fn deadline(&self) -> Option<Duration> {
        None
    }

    /// A deadline passed, or the connection ended (`ended`): ask again for what is half done, or give it up with [`Step::report`].
    fn on_deadline(&mut self, _ended: bool, _step: &mut Step<'_>) {}
}

/// What a connection knows about its device.
#[derive(Debug)]
pub struct Link {
    protocol: &'static str,
    session: SessionId,
    settings: Arc<Settings>,
    profile: Arc<Profile>,
    device: Option<DeviceId>,
    sequence: u64,
}

impl Link {
    /// The device, once known.
    pub fn device_id(&self) -> Option<&DeviceId> {
        self.device.as_ref()
    }

    /// The profile of the device as far as it is known.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Authentication settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// The place in a message that events come from; it makes their ids.
#[derive(Debug)]
pub struct Source<'f> {
    message: MessageType<'f>,
    body: &'f [u8],
    serial: Option<u32>,
    dated: bool,
    ordinals: [u32; Body::TYPES.len()],
}

impl<'f> Source<'f> {
    /// A message whose body holds the device's own time.
    pub fn dated(message: MessageType<'f>, body: &'f [u8]) -> Self {
        Self { message, body, serial: None, dated: true, ordinals: [0; Body::TYPES.len()] }
    }

    /// A message whose body holds no time, with its transport serial if the protocol has one.
    pub fn undated(message: MessageType<'f>, body: &'f [u8], serial: Option<u32>) -> Self {
        Self { serial, dated: false, ..Self::dated(message, body) }
    }
}

/// What a message may do.
#[derive(Debug)]
pub struct Step<'a> {
    now: Now,
    link: &'a mut Link,
    turn: &'a mut Turn,
}

impl Step<'_> {
    /// The present.
    pub fn now(&self) -> Now {
        self.now
    }

    /// What is known about the device.
    pub fn link(&self) -> &Link {
        self.link
    }

    /// The profile of the device.
    pub fn profile(&self) -> &Profile {
        &self.link.profile
    }

    /// The device says who it is, perhaps with its model (which may select another profile).
    ///
    /// # Errors
    /// `identity` if this connection already belongs to another device, `value` if the identity is none.
    pub fn identify(&mut self, sent: &str, model: Option<&str>) -> Result<(), Fault> {
        let Some(id) = DeviceId::with_prefix(&self.link.settings.device_prefix, sent) else {
            return Err(Fault::new(FaultKind::Value, 0, format!("`{}` is no identity", sent.escape_debug())));
        };
        match &self.link.device {
            Some(known) if *known == id => {}
            Some(known) => {
                let detail = format!("the connection belongs to device {known}, the frame to {id}");
                return Err(Fault::new(FaultKind::Identity, 0, detail));
            }
            None => {
                self.link.device = Some(id);
                self.turn.identified = true;
            }
        }
        if self.turn.identified || model.is_some() {
            let device = self.link.device.as_ref().map(DeviceId::as_str);
            self.link.profile = self.link.settings.profile(self.link.protocol, device, model);
        }
        Ok(())
    }

    /// An event to be stored.
    pub fn emit(&mut self, source: &mut Source<'_>, body: Body) {
        let Link { protocol, session, device, sequence, .. } = &mut *self.link;
        let Some(device) = device else {
            return; // the machine turns a frame that got here without a device into a reject
        };
        let ordinal = &mut source.ordinals[body.type_index()];
        let count = source.serial.map_or(Count::Sequence(*sequence), Count::Serial);
        let recipe = Recipe {
            protocol,
            device_id: device.as_str(),
            event_type: body.type_name(),
            ordinal: *ordinal,
            message: source.message,
            undated: (!source.dated).then_some((*session, count)),
            body: source.body,
        };
        let id = recipe.id();
        *ordinal += 1;
        self.turn.events.push(Event { id, sequence: *sequence, body });
        *sequence += 1;
    }

    /// A `data` event, cut into parts of [`DATA_PART`] bytes where it is larger. `what` holds everything but size, parts and content.
    pub fn emit_bytes(&mut self, source: &mut Source<'_>, what: &Data, bytes: &[u8]) {
        let parts = bytes.len().div_ceil(DATA_PART).max(1);
        let name = what.name.clone().or_else(|| {
            let digest = || hex(&Recipe { body: bytes, ..self.nameless(source) }.id().0);
            (parts > 1).then(digest)
        });
        for n in 0..parts {
            let piece = bytes.get(n * DATA_PART..((n + 1) * DATA_PART).min(bytes.len())).unwrap_or_default();
            let numbered = |n: usize| (parts > 1).then(|| u32::try_from(n).unwrap_or(u32::MAX));
            let data = Data {
                name: name.clone(),
                size_bytes: bytes.len(),
                part: numbered(n + 1),
                parts: numbered(parts),
                content: Content::Base64(piece.to_vec()),
                ..what.clone()
            };
            self.emit(source, Body::Data(Box::new(data)));
        }
    }

    fn nameless<'f>(&self, source: &Source<'f>) -> Recipe<'f> {
        Recipe {
            protocol: self.link.protocol,
            device_id: "",
            event_type: "data",
            ordinal: 0,
            message: source.message,
            undated: None,
            body: &[],
        }
    }

    /// A fault that is tolerated and counted.
    pub fn tolerate(&mut self, kind: FaultKind) {
        self.turn.tolerated.push(kind);
    }

    /// Send a frame now, ahead of waiting acknowledgements: a request of our own, never an acknowledgement.
    pub fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.turn.send.frame(write);
    }

    /// A reject about earlier frames, which are accounted for already: a split message that was given up.
    pub fn report(&mut self, fault: Fault, bytes: &[u8]) {
        let excerpt = bytes[..bytes.len().min(MAX_REJECT_BYTES)].to_vec();
        self.turn.notices.push(Reject { fault, bytes: excerpt, length: bytes.len() });
    }

    /// Close the connection when everything before is done.
    pub fn close(&mut self, close: Close) {
        self.turn.close = Some(close);
    }
}

impl Data {
    /// The description of bytes for [`Step::emit_bytes`].
    pub fn bytes(kind: DataKind, content_type: &'static str) -> Self {
        Self {
            kind,
            content_type: content_type.into(),
            name: None,
            channel: None,
            size_bytes: 0,
            part: None,
            parts: None,
            time: None,
            content: Content::Base64(Vec::new()),
            attributes: Attributes::default(),
        }
    }

    /// A text.
    pub fn text(kind: DataKind, text: String) -> Self {
        Self { size_bytes: text.len(), content: Content::Text(text), ..Self::bytes(kind, "text/plain; charset=utf-8") }
    }

    /// Named values that were so many bytes on the wire.
    pub fn values(kind: DataKind, values: Attributes, size_bytes: usize) -> Self {
        Self { size_bytes, content: Content::Values(values), ..Self::bytes(kind, "application/json") }
    }
}

/// The loop around a protocol: from bytes to turns.
#[derive(Debug)]
pub struct Machine<W: Wire> {
    wire: W,
    link: Link,
    acks: VecDeque<Option<W::Ack>>,
    /// A run of bytes that belong to no frame, not yet reported because it may go on.
    skipping: Option<Box<Reject>>,
    /// Length of the input that the last cut found incomplete, and since when.
    waiting: Option<(usize, Duration)>,
}

impl<W: Wire> Machine<W> {
    /// A fresh session.
    pub fn open(opening: Opening) -> Box<dyn Session> {
        let Opening { session, settings, device } = opening;
        let profile = settings.profile(W::NAME, device.as_ref().map(DeviceId::as_str), None);
        let link = Link { protocol: W::NAME, session, settings, profile, device, sequence: 0 };
        Box::new(Self { wire: W::new(session), link, acks: VecDeque::new(), skipping: None, waiting: None })
    }

    /// Add bytes to the run of skipped ones; returns how many fit before the run is reported and another begins.
    fn skip(&mut self, bytes: &[u8], fault: Fault, turn: &mut Turn) -> usize {
        let run = self.skipping.get_or_insert_with(|| Box::new(Reject { fault, bytes: Vec::new(), length: 0 }));
        let used = bytes.len().min(MAX_REJECT_BYTES - run.bytes.len());
        run.bytes.extend_from_slice(&bytes[..used]);
        run.length += used;
        if run.bytes.len() == MAX_REJECT_BYTES {
            self.end_skip(turn);
        }
        used
    }

    /// The run of skipped bytes has ended: report it.
    fn end_skip(&mut self, turn: &mut Turn) {
        if let Some(run) = self.skipping.take() {
            turn.skipped = Some(*run);
        }
    }

    fn on_frame(&mut self, frame: &Frame<'_>, now: Now, turn: &mut Turn) {
        if turn.trace.is_some() {
            turn.seen = Some(Seen { form: frame.form, content: frame.content.to_vec(), length: frame.raw.len() });
        }
        if let Checksum::Wrong { expected, found, offset } = frame.checksum {
            if self.link.profile.checksum == ChecksumPolicy::Reject {
                let detail = format!("checksum is {found:#x}, should be {expected:#x}");
                let fault = Fault::new(FaultKind::Checksum, offset, detail);
                return self.reject(frame.raw, fault, None, turn);
            }
            turn.tolerated.push(FaultKind::Checksum);
        } else if frame.checksum == Checksum::Unreliable {
            turn.tolerated.push(FaultKind::Checksum);
        }
        let mut trace = turn.trace.take();
        if let Some(trace) = &mut trace {
            trace.content = frame.content.to_vec();
        }
        let message = self.wire.decode(frame, &self.link.profile, trace.as_mut());
        turn.trace = trace;
        let first = self.link.sequence;
        let mut step = Step { now, link: &mut self.link, turn };
        let answer = match message {
            Ok(message) => self.wire.on_message(message, &mut step),
            Err(fault) => {
                let ack = self.wire.on_unreadable(frame, &fault, &mut step);
                Answer::Rejected(fault, ack)
            }
        };
        match answer {
            Answer::Rejected(fault, ack) => {
                turn.events.clear();
                self.link.sequence = first;
                self.reject(frame.raw, fault, ack, turn);
            }
            _ if self.link.device.is_none() && !matches!(answer, Answer::Handled(..)) => {
                let fault = Fault::new(FaultKind::Unidentified, 0, "no device has signed on on this connection");
                self.reject(frame.raw, fault, None, turn);
            }
            Answer::Stored(ack) => {
                debug_assert!(!turn.events.is_empty(), "a stored message of {} emitted nothing", W::NAME);
                turn.fate = Some(Fate::Store);
                self.expect(ack, turn);
            }
            Answer::Handled(handled, ack) => {
                debug_assert!(turn.events.is_empty(), "a handled message of {} emitted events", W::NAME);
                turn.fate = Some(Fate::Handled(handled));
                if ack.is_some() {
                    self.expect(ack, turn);
                }
            }
        }
    }

    fn reject(&mut self, raw: &[u8], fault: Fault, ack: Option<W::Ack>, turn: &mut Turn) {
        turn.fate = Some(Fate::Reject(fault.kind));
        let bytes = raw[..raw.len().min(MAX_REJECT_BYTES)].to_vec();
        turn.reject = Some(Reject { fault, bytes, length: raw.len() });
        self.expect(ack, turn);
    }

    fn expect(&mut self, ack: Option<W::Ack>, turn: &mut Turn) {
        debug_assert!(self.acks.len() < WINDOW, "the caller must not receive while the window is full");
        turn.receipt = true;
        self.acks.push_back(ack);
    }

    fn run_deadline(&mut self, ended: bool, now: Now, turn: &mut Turn) {
        if ended || self.wire.deadline().is_some_and(|at| at <= now.uptime) {
            let mut step = Step { now, link: &mut self.link, turn };
            self.wire.on_deadline(ended, &mut step);
        }
    }

    fn quiet(&self, input: &[u8], now: Now) -> bool {
        matches!(self.waiting, Some((length, since)) if length == input.len() && now.uptime >= since + W::LIMITS.quiet)
    }
}

impl<W: Wire> Session for Machine<W> {
    fn receive(&mut self, input: &[u8], now: Now, turn: &mut Turn) -> usize {
        turn.clear();
        self.run_deadline(false, now, turn);
        let quiet = self.quiet(input, now);
        let mut consumed = 0;
        // a run of skipped bytes is followed to its end, so that it is one reject however the bytes were split
        loop {
            let rest = &input[consumed..];
            let rest = &rest[..rest.len().min(W::LIMITS.max_frame)];
            let mut scratch = std::mem::take(&mut turn.scratch);
            scratch.clear();
            let cut = if rest.is_empty() { Cut::More } else { self.wire.cut(rest, quiet, &mut scratch) };
            let used = match cut {
                Cut::Frame(frame) => {
                    let used = frame.raw.len();
                    self.waiting = None;
                    self.end_skip(turn);
                    self.on_frame(&frame, now, turn);
                    consumed += used;
                    turn.scratch = scratch;
                    return consumed;
                }
                Cut::Skip(used, fault) => self.skip(&rest[..used], fault, turn),
                Cut::Fill(used) => used,
                Cut::More if rest.len() == W::LIMITS.max_frame => {
                    let detail = format!("no end of a frame within {} bytes", W::LIMITS.max_frame);
                    self.skip(rest, Fault::new(FaultKind::Oversize, 0, detail), turn)
                }
                Cut::More => {
                    turn.scratch = scratch;
                    if rest.is_empty() && self.skipping.is_none() {
                        self.waiting = None;
                    } else if quiet {
                        self.end_skip(turn);
                        self.waiting = None;
                    } else if self.waiting.is_none_or(|(length, _)| length != input.len() || consumed > 0) {
                        self.waiting = Some((rest.len(), now.uptime));
                    }
                    return consumed;
                }
            };
            debug_assert!(used > 0 && used <= rest.len(), "{} must make progress", W::NAME);
            turn.scratch = scratch;
            consumed += used.clamp(1, rest.len());
            if turn.skipped.is_some() {
                return consumed; // a full excerpt: the next turn goes on
            }
        }
    }

    fn finish(&mut self, input: &[u8], now: Now, turn: &mut Turn) {
        turn.clear();
        self.run_deadline(true, now, turn);
        if !input.is_empty() {
            let detail = format!("the connection ended {} bytes into a frame", input.len());
            let used = self.skip(input, Fault::new(FaultKind::Truncated, input.len(), detail), turn);
            // the excerpt is bounded, the count is not
            if let Some(run) = self.skipping.as_deref_mut().or(turn.skipped.as_mut()) {
                run.length += input.len() - used;
            }
        }
        self.end_skip(turn);
        self.waiting = None;
    }

    fn release(&mut self, delivery: Option<Delivery>, now: Now, out: &mut Outgoing) {
        debug_assert!(!self.acks.is_empty(), "one release for each receipt");
        let ack = self.acks.pop_front().flatten();
        if let (Some(ack), Some(delivery)) = (ack, delivery) {
            self.wire.acknowledge(ack, delivery, &self.link, now, out);
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let quiet = self.waiting.map(|(_, since)| since + W::LIMITS.quiet);
        match (self.wire.deadline(), quiet) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn device_id(&self) -> Option<&DeviceId> {
        self.link.device.as_ref()
    }
}
