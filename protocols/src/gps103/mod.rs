//! GPS103, the protocol of Coban (TK103, GPS303 to 311, 401 to 408, Baanool) and who copies them.
//!
//! Text, over TCP. The identity stands in every message. A device signs on and wants `LOAD`, tells that it lives and wants `ON`;
//! reports have no acknowledgement but the SOS, which is repeated until it is heard. The keyword of a report says what it is
//! about: an alarm, the answer to a command, or where an order of the dispatch centre stands. A report has the device's local
//! date and time, and the UTC time of day of the fix, so that it shows its zone by itself; other messages have the local time
//! only.
//!
//! Sources: "GPS102 & 103 GPRS data protocol" of 2010 and "GPRS protocol" of 2014 with its revision of 2015, of Shenzhen Coban
//! Electronics, and published messages of real units. What the documents leave open is told where it is read.
//!
//! `frame` finds frames, `fields` reads what stands between commas, `keywords` says what a message is about, `read` and
//! `vehicle` know the layouts, `clock` the time, `dialect` what some makers' units mean by the same words, `message` puts a
//! message together, `session` acts on it with `photo` and `orders`, `reply` answers, `commands` puts what the backend wants
//! into words, `downlink` writes and reads them.

mod clock;
mod commands;
mod dialect;
mod downlink;
mod fields;
mod frame;
mod keywords;
mod message;
mod orders;
mod photo;
mod read;
mod reply;
mod session;
mod vehicle;

use crate::registry::Protocol;

/// The registry entry.
pub static PROTOCOL: Protocol = Protocol::of::<session::Gps103>("GPS103, Coban TK103", 5001, MESSAGES, dialect::NAMES);

const MESSAGES: &[(&str, &str)] = &[
    ("##", "sign-on"),
    ("", "heartbeat: the bare identity"),
    ("L", "heartbeat"),
    ("tracker", "position"),
    ("001", "position"),
    ("help me", "SOS"),
    ("low battery", "battery low"),
    ("stockade", "fence crossed"),
    ("move", "moved while parked"),
    ("speed", "too fast"),
    ("ac alarm", "main supply cut"),
    ("door alarm", "door opened"),
    ("sensor alarm", "vibration"),
    ("accident alarm", "accident"),
    ("collision", "collision"),
    ("bonnet alarm", "bonnet opened"),
    ("footbrake alarm", "foot brake pressed"),
    ("brake", "hard braking"),
    ("brake alarm", "hard braking"),
    ("accelerate", "hard acceleration"),
    ("sharp turn", "hard cornering"),
    ("acc alarm", "ignition on while armed"),
    ("acc on", "ignition on"),
    ("acc off", "ignition off"),
    ("T:", "temperature"),
    ("oil", "fuel loss"),
    ("area", "area entered or left"),
    ("DTC", "trouble codes"),
    ("service", "service due"),
    ("rfid", "card"),
    ("OBD", "values of the vehicle"),
    ("TPMS", "tyres"),
    ("wt", "photo that was asked for"),
    ("vt", "photo of an alarm"),
    ("vr", "part of a photo"),
    ("1xx", "command answer"),
    ("5xx", "command refused"),
    ("171", "order offer received"),
    ("172", "order won, received"),
    ("173", "order lost, received"),
    ("174", "order cancelled, received"),
    ("175", "order accepted"),
    ("176", "order given up by the driver"),
    ("177", "passenger in, or order finished"),
    ("dt", "tracking stopped"),
    ("et", "alarm silenced"),
    ("gt", "movement alarm set"),
    ("ht", "speed alarm set"),
    ("it", "time zone set"),
    ("jt", "fuel cut"),
    ("kt", "fuel restored"),
    ("lt", "armed"),
    ("mt", "disarmed"),
    ("nt", "SMS mode set"),
    ("ot", "fence set"),
    ("lf", "not armed"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_keyword_is_described_once() {
        let described: BTreeSet<_> = MESSAGES.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(described.len(), MESSAGES.len());
        for keyword in keywords::WORDS.iter().chain(keywords::BEGINNINGS) {
            assert!(described.contains(keyword.word), "{keyword:?}");
        }
    }
}
