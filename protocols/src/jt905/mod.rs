//! JT/T 905-2014, part 2: the service terminals of China's taxis, from the meter's record of a trip to an order offered,
//! taken and finished.
//!
//! The frame is that of JT/T 808, the header is not: no attribute bits, no registration, no authentication, and an id that
//! begins with 0x10 in every message, so a session belongs to whoever speaks first. `frame` cuts, `header` names, `message`
//! reads, `session` acts, `commands` puts what the
//! backend wants into the words of `downlink`. The standard's own text was not at hand; where its readers disagree, `dialect` has rows.

mod commands;
mod context;
mod device;
mod dialect;
mod downlink;
mod frame;
mod header;
mod items;
mod media;
mod message;
mod parameters;
mod position;
mod reply;
mod session;
mod shift;
mod trip;

use crate::registry::Protocol;

/// What terminals send.
static MESSAGES: &[(&str, &str)] = &[
    ("0x0001", "general answer"),
    ("0x0002", "heartbeat"),
    ("0x0104", "parameters"),
    ("0x0105", "upgrade result"),
    ("0x0200", "position report"),
    ("0x0201", "position answer"),
    ("0x0202", "tracking report"),
    ("0x0203", "stored positions"),
    ("0x0301", "event report"),
    ("0x0302", "question answer"),
    ("0x0500", "vehicle control answer"),
    ("0x0800", "picture"),
    ("0x0802", "stored pictures"),
    ("0x0805", "stored recordings"),
    ("0x0806", "audio or video"),
    ("0x0b00", "order accepted (Uninew)"),
    ("0x0b01", "order accepted"),
    ("0x0b03", "sign-on"),
    ("0x0b04", "sign-off"),
    ("0x0b05", "trip"),
    ("0x0b07", "order finished"),
    ("0x0b08", "order given up"),
    ("0x0b09", "order cancelled (CTFO)"),
    ("0x0b10", "passthrough"),
    ("0x0b11", "inspection"),
];

/// The registry's entry.
pub static PROTOCOL: Protocol =
    Protocol::of::<session::Jt905>("JT/T 905-2014 taxi service terminals", 5905, MESSAGES, dialect::NAMES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_described_and_nothing_else() {
        let described: Vec<_> = MESSAGES.iter().map(|(id, _)| (*id).to_owned()).collect();
        assert_eq!(described, message::id::UP.map(|id| format!("0x{id:04x}")));
    }
}
