//! What the author of a protocol writes, [`Wire`]. The loop around it is written once: [`crate::machine`].
//!
//! The loop owns buffering rules, resynchronisation, accounting, checksum policy, ids, the order of acknowledgements and
//! every bound that is not the protocol's own. An author writes pure functions, and the type of [`Wire::on_message`] asks
//! for the two things that must not be forgotten: how the frame is accounted for and what acknowledges it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::command::Command;
use crate::cursor::{Trace, hex};
use crate::desk::{Aside, Confirms, Desk, Emitted, Errand, Key, OrderRef, Plan, Unfit, Verdict};
use crate::event::{Attributes, Body, Content, Data, DataKind, DriverAction, Event, Order};
use crate::fault::{Fault, FaultKind};
use crate::identity::{Count, DeviceId, MessageType, OfferRecipe, Recipe, SessionId};
use crate::profile::{Profile, Settings};
use crate::session::{Close, Delivery, Handled, MAX_REJECT_BYTES, Outgoing, Reject, Turn};
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

    /// A message to the device, in the protocol's own words; it holds the serial that its frame carries. What is not valid
    /// cannot be built, so that writing cannot fail.
    type Downlink: Clone + Debug + PartialEq + Send;

    /// The kinds of commands that can be expressed, and what the device says to each at best; `navgate protocols` shows it.
    const COMMANDS: &'static [(&'static str, Confirms)];

    /// One of each kind of downlink there is, acknowledgements included: for laws, fuzz seeds and documentation.
    fn samples() -> Vec<Self::Downlink>;

    /// Write a downlink as whole frames: marks, escapes, checksum.
    fn encode(&self, downlink: &Self::Downlink, link: &Link, out: &mut Vec<u8>);

    /// Read exactly one whole raw frame of the way down, also one that another server wrote.
    ///
    /// # Errors
    /// What cannot be read, and where.
    fn decode_downlink(&self, raw: &[u8], profile: &Profile, trace: Option<&mut Trace>) -> Result<Self::Downlink, Fault>;

    /// The opposite of [`Wire::cut`]: a frame of this form with this content, its checksum computed anew.
    fn seal(form: u8, content: &[u8], out: &mut Vec<u8>);

    /// Put a command into the protocol's words. `driver_authorization` is kept by the machine whether or not it is here.
    ///
    /// # Errors
    /// Why it cannot be said.
    fn on_command(&mut self, command: &Command, errand: &mut Errand<'_>) -> Result<Plan<Self::Downlink>, Unfit>;

    /// The parameters of a device that have a name: the protocol's own number, and the name that commands and events use.
    fn parameters() -> Vec<(u32, &'static str)> {
        Vec::new()
    }

    /// Whether devices say who drives them: without a driver such a device is a car that nobody works with.
    const DRIVERS: bool = false;

    /// Whether the answer to an offer does not say which offer it means, so that only one may be open at a time.
    fn one_offer(&self, _link: &Link) -> bool {
        false
    }
}

/// What a connection knows about its device.
#[derive(Debug)]
pub struct Link {
    pub(crate) protocol: &'static str,
    pub(crate) session: SessionId,
    pub(crate) settings: Arc<Settings>,
    pub(crate) profile: Arc<Profile>,
    pub(crate) device: Option<DeviceId>,
    pub(crate) sequence: u64,
    /// There only while there is something in it.
    pub(crate) desk: Option<Box<Desk>>,
}

impl Link {
    /// A link of a device of this name, as tools and laws need one.
    pub fn to(protocol: &'static str, settings: Arc<Settings>, session: SessionId, device: Option<DeviceId>) -> Self {
        let profile = settings.profile(protocol, device.as_ref().map(DeviceId::as_str), None);
        Self { protocol, session, settings, profile, device, sequence: 0, desk: None }
    }

    /// The device's commands and orders, if there are any.
    pub fn desk(&self) -> Option<&Desk> {
        self.desk.as_deref()
    }

    pub(crate) fn desk_mut(&mut self) -> &mut Desk {
        self.desk.get_or_insert_default()
    }

    /// Whether the device has not said, now or over an earlier connection, that it does not know this message.
    pub fn understands(&self, message: u16) -> bool {
        self.desk().is_none_or(|desk| desk.screen().understands(message))
    }

    /// Whether these buttons ([`crate::desk::digest`]; `None`: none of ours) are on the device, or on their way.
    pub fn has_buttons(&self, wanted: Option<&str>) -> bool {
        self.desk().map_or_else(|| wanted.is_none(), |desk| desk.has_buttons(wanted))
    }

    /// Whether the backend has refused the driver who is signed on.
    pub fn driver_refused(&self) -> bool {
        self.desk().and_then(Desk::driver).is_some_and(|driver| driver.authorized == Some(false))
    }

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
    pub(crate) now: Now,
    pub(crate) link: &'a mut Link,
    pub(crate) turn: &'a mut Turn,
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
                // its first message may already be about an order that it has
                if let Some(state) = self.link.settings.recall.ask(&id) {
                    self.link.desk = Some(Box::new(Desk::restore(state, self.now)));
                }
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
    pub fn emit(&mut self, source: &mut Source<'_>, mut body: Body) {
        match &mut body {
            Body::Driver(driver)
                if matches!(driver.action, DriverAction::SignOn | DriverAction::SignOff) && self.link.device.is_some() =>
            {
                self.link.desk_mut().drove(driver, self.now.utc);
                self.turn.state_changed = true;
            }
            Body::Order(order) => {
                if let Some(desk) = self.link.desk() {
                    desk.sign(order);
                }
            }
            _ => {}
        }
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

    /// An action on an order. What the session knows about the order and the driver is filled in: `order_id`, `command_id`,
    /// `driver_id`, `authorized`, `late`; an order that it does not know keeps the device's name for it as `token`. An accept
    /// or decline answers the offer. After [`Emitted::Repeat`] the message is [`Answer::Handled`] as a repeat.
    pub fn emit_order(&mut self, source: &mut Source<'_>, mut order: Order, names: OrderRef<'_>) -> Emitted {
        let known = match &mut self.link.desk {
            Some(desk) => desk.acted(&mut order, names, self.now, self.turn),
            None => None,
        };
        if known.is_some() {
            self.turn.state_changed = true;
        } else if let OrderRef::Named(name) = names {
            order.token = Some(name.to_owned());
        }
        if known == Some(Emitted::Repeat) {
            return Emitted::Repeat;
        }
        let of_offer = match (&self.link.device, &order.order_id, &order.command_id) {
            (Some(device), Some(order_id), Some(command_id)) => {
                let action = order.action;
                Some(OfferRecipe { protocol: self.link.protocol, device_id: device.as_str(), action, order_id, command_id }.id())
            }
            _ => None,
        };
        self.emit(source, Body::Order(Box::new(order)));
        if let (Some(id), Some(event)) = (of_offer, self.turn.events.last_mut()) {
            event.id = id;
        }
        Emitted::Stored
    }

    /// The device answers something of ours. False if nothing that waits for an answer has this key: then what it says is to
    /// be emitted as what it is, or with [`Step::emit_unmatched`], and never taken for the answer to something else.
    pub fn answer(&mut self, key: Key, verdict: Verdict) -> bool {
        let Self { now, link, turn } = self;
        link.desk.as_mut().is_some_and(|desk| desk.answer(key, verdict, *now, turn))
    }

    /// The device says that it does not know this message of ours: that is remembered with it.
    pub fn not_understood(&mut self, message: u16) {
        let Self { link, turn, .. } = self;
        link.desk_mut().not_understood(message, turn);
    }

    /// Send a frame now, beside all commands: what its receipt, of this key, is about.
    pub fn send_aside(&mut self, key: Key, what: Aside, write: impl FnOnce(&mut Vec<u8>)) {
        self.link.desk_mut().aside(key, what);
        self.send(write);
    }

    /// An answer to nothing that we know of, e.g. to a message of an earlier session.
    pub fn emit_unmatched(&mut self, source: &mut Source<'_>, mut answer: Attributes, size_bytes: usize) {
        answer.set("unmatched", true);
        self.emit(source, Body::Data(Box::new(Data::values(DataKind::Unknown, answer, size_bytes))));
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
