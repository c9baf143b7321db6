//! H02, the protocol of Tianhe's vehicle terminals that LKGPS, Sinotrack, TkStar, Cantrack and many trackers without a name
//! speak. Text and binary reports come over the same connection, each with the identity of its unit.
//!
//! Nothing has a checksum. A text report is acknowledged by its own word, a heartbeat comes back; a binary report is not
//! acknowledged at all, so it is lost with the connection. Times are UTC, and a profile overrides that. Alarms are bits of a
//! status word in negative logic, on whose meaning the makers do not agree: the raw word is always told. Signal strengths of
//! cells are passed on as sent.
//!
//! Tianhe's terminals for taxis have a screen: a text is shown, and the driver answers with one of two keys. The screen names
//! no order, so a key is about the one that is open.
//!
//! Sources: the open-source gateway "Parrot" for Tianhe terminals, the beginnings of the LKGPS and Tianhe documents that are
//! public, and published frames of real units. What they leave open is told where it concerns a reading.
//!
//! `frame` finds frames, `fields` and `binary` read what stands in them, `position` and `network` the sentences, `status` the
//! bits; `dialect` holds what some makers' units do unlike the others, `message` puts a message together, `session` acts on it,
//! `commands` puts commands into words, `downlink` and `screen` write and read them.

mod binary;
mod commands;
mod dialect;
mod downlink;
mod fields;
mod frame;
mod identity;
mod message;
mod network;
mod picture;
mod position;
mod screen;
mod session;
mod status;

use crate::registry::Protocol;

/// The registry entry.
pub static PROTOCOL: Protocol = Protocol::of::<session::H02>("H02, Tianhe, LKGPS, Sinotrack", 5013, MESSAGES, dialect::NAMES);

const MESSAGES: &[(&str, &str)] = &[
    ("$", "position, binary"),
    ("BASE", "base station"),
    ("BS", "cells in hex"),
    ("HTBT", "heartbeat with battery"),
    ("I1", "key of the dispatch screen"),
    ("I5", "passed through"),
    ("LINK", "heartbeat with pedometer"),
    ("NBR", "cells"),
    ("P", "block of a picture"),
    ("S26", "parameters"),
    ("SMS", "answer to a text command"),
    ("V0", "heartbeat, or position"),
    ("V1", "position"),
    ("V2", "position"),
    ("V3", "cells, or position"),
    ("V4", "command carried out, with position"),
    ("V5", "position"),
    ("V6", "position with SIM card"),
    ("V8", "position"),
    ("V19", "position with telephone and SIM card"),
    ("VP1", "position of the day, or cells"),
    ("X", "position with mileage, binary"),
    ("XT", "heartbeat"),
    ("Y", "stored position, binary"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_described_once() {
        let mut words: Vec<_> = MESSAGES.iter().map(|(word, _)| *word).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), MESSAGES.len());
    }
}
