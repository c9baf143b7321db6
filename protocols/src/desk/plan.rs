//! What the author of a protocol says about a command: how it is written, and what answers it.

use std::time::Duration;

use serde_json::Value;

use crate::command::OrderId;
use crate::desk::{Aside, DriverNow, OpenOrder};
use crate::outcome::EndingReason;
use crate::parts::text;
use crate::profile::{Charset, Profile};
use crate::time::Now;
use crate::wire::Link;

/// What a device says about a command of a kind, at best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirms {
    /// Nothing: the command ends `unanswered`, `no_receipt`, as soon as it is written.
    Never,
    /// That it has it, or has carried it out; this ends the command.
    Receipt,
    /// A receipt is only a step; the driver's choice or the device's own answer ends the command.
    Answer,
}

impl Confirms {
    /// The word in `navgate protocols`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Receipt => "receipt",
            Self::Answer => "answer",
        }
    }
}

/// What a device's answer refers to, in the protocol's own numbering: the type it answers and its serial, or a kind of
/// answer and the order's number, or a kind alone where the protocol numbers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Message type or kind of answer.
    pub kind: u16,
    /// Serial, token, or 0.
    pub number: u64,
}

/// Sending the same frame again, serial and all, while no receipt comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Until the first repeat.
    pub first: Duration,
    /// Most repeats.
    pub times: u8,
    /// The wait after repeat n is n + 1 times the one before (JT/T 808 and 905), else always the same.
    pub grows: bool,
}

/// How a command is carried out.
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<D> {
    /// Frames that go out once before it and whatever comes of it; see [`Errand::aside`].
    pub ahead: Vec<D>,
    /// The frames, in order.
    pub downlinks: Vec<D>,
    /// Whatever answers one of these answers the command.
    pub keys: Vec<Key>,
    /// What the answer is worth.
    pub ends: Confirms,
    /// Whether it is repeated.
    pub retry: Option<Retry>,
    /// Should the device not know these words, the protocol has others: the command is put into words again, once it is
    /// remembered what the device does not know.
    pub other_words: bool,
    /// For the outcome: what was left out or changed, so that a backend's developer sees it.
    pub warnings: Vec<String>,
}

impl<D> Plan<D> {
    /// One frame that nothing answers.
    pub fn blind(downlink: D) -> Self {
        Self { downlinks: vec![downlink], ..Self::raw() }
    }

    /// No words of the protocol at all.
    pub(crate) fn raw() -> Self {
        let (keys, ends) = (Vec::new(), Confirms::Never);
        Self { ahead: Vec::new(), downlinks: Vec::new(), keys, ends, retry: None, other_words: false, warnings: Vec::new() }
    }

    /// One frame whose receipt ends the command.
    pub fn receipt(downlink: D, key: Key) -> Self {
        Self { keys: vec![key], ends: Confirms::Receipt, ..Self::blind(downlink) }
    }

    /// One frame that is answered by more than a receipt.
    pub fn answer(downlink: D, keys: Vec<Key>) -> Self {
        Self { keys, ends: Confirms::Answer, ..Self::blind(downlink) }
    }

    /// The same with repeats.
    pub fn retried(self, retry: Retry) -> Self {
        Self { retry: Some(retry), ..self }
    }
}

/// Why a command cannot be put into a protocol's words.
#[derive(Debug, Clone, PartialEq)]
pub enum Unfit {
    /// The protocol, or this device, cannot say it.
    Unsupported,
    /// It is not sent, for this reason.
    Refused(EndingReason),
    /// A field is right by the contract and cannot be said here: which, and why.
    Field(String),
}

/// What a device says about a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It has it. Ends a command of [`Confirms::Receipt`].
    Delivered,
    /// The driver has seen it.
    Read,
    /// It is done, or the driver chose: the answer, if there is one.
    Done(Option<Value>),
    /// It is not done: why, or nothing for a driver's no.
    Refused(Option<EndingReason>),
}

/// What a protocol may look at while it puts a command into its words.
#[derive(Debug)]
pub struct Errand<'a> {
    pub(crate) now: Now,
    pub(crate) link: &'a mut Link,
    pub(crate) remaining: Duration,
}

impl Errand<'_> {
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
        self.link.profile()
    }

    /// Until the command's deadline, less the time that this device takes to hear us: what may be shown to a driver.
    pub fn remaining(&self) -> Duration {
        self.remaining
    }

    /// An order that this device knows.
    pub fn order(&self, id: &OrderId) -> Option<&OpenOrder> {
        self.link.desk()?.order(id)
    }

    /// Who drives, as far as known.
    pub fn driver(&self) -> Option<&DriverNow> {
        self.link.desk()?.driver()
    }

    /// The number by which a protocol that numbers its orders, 1..=`max`, calls this one: its id if that is such a number,
    /// else one that is kept with the device until the order ends.
    pub fn number(&mut self, id: &OrderId, max: u64) -> u64 {
        self.link.desk_mut().number(id, max)
    }

    /// Keep the number by which the protocol itself calls an order that is being offered, e.g. the serial of the question, so
    /// that an answer over a later connection is known as well. No other order is called so any more.
    pub fn call(&mut self, id: &OrderId, number: u64) {
        self.link.desk_mut().call(id, number);
    }

    /// Text for the device's screen in its charset (the profile's, else `default`).
    ///
    /// # Errors
    /// `Field` if the profile says to refuse what the charset has not, and there is such a character.
    pub fn text(&self, what: &str, default: Charset) -> Result<Vec<u8>, Unfit> {
        let profile = self.profile();
        text::fit(what, profile.charset.unwrap_or(default), profile.unshowable).map_err(Unfit::Field)
    }

    /// What the receipt of a frame is about that goes out ahead of the command.
    pub fn aside(&mut self, key: Key, what: Aside) {
        self.link.desk_mut().aside(key, what);
    }
}
