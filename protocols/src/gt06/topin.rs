//! Topin, ZhongXun and 365GPS units: the marks of GT06, but neither serial nor CRC, and a third byte that is a length in some
//! types and the number of WiFi entries in others. Where a frame ends follows from its type.

use crate::event::Alarm;
use crate::gt06::blocks::{Entry, Meaning, Part};
use crate::gt06::variants::{Clock, Does, Reply, Row};

/// Where a Topin frame that starts here ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// It is none, or its end is not there.
    No,
    /// Cannot be told yet.
    More,
    /// So many bytes.
    Is(usize),
}

/// How the size follows from the third byte, `x`.
#[derive(Debug)]
enum Rule {
    /// One of these.
    Totals(&'static [usize]),
    /// `x` and one of these more.
    Beyond(&'static [usize]),
    /// `x` WiFi entries, then cells with entries of one of these sizes, perhaps an alarm byte.
    Lists(&'static [usize]),
}

/// A login is always as long; a position has 18 bytes or 3 more; a status counts its type or not.
const RULES: &[(&[u8], Rule)] = &[
    (&[0x01], Rule::Totals(&[15])),
    (&[0x10, 0x11], Rule::Totals(&[24, 27])),
    (&[0x13], Rule::Beyond(&[4, 5])),
    (&[0x08, 0x09, 0x14, 0x15, 0x30, 0x57, 0x92, 0x93, 0x94, 0x99], Rule::Beyond(&[5])),
    (&[0x17, 0x69], Rule::Lists(&[5])),
    (&[0x18, 0x19, 0x1A], Rule::Lists(&[5, 7])),
];

/// Marks, x, type, then six bytes of time, before the WiFi entries.
const LISTS_AT: usize = 10;
/// A WiFi entry: address and signal.
const WIFI_ENTRY: usize = 7;

/// Where the frame at the start of `input` ends, if it is a Topin frame.
pub(super) fn size(input: &[u8]) -> Size {
    let &[_, _, x, kind, ..] = input else {
        return Size::More;
    };
    let Some((_, rule)) = RULES.iter().find(|(kinds, _)| kinds.contains(&kind)) else {
        return Size::No;
    };
    let x = usize::from(x);
    match rule {
        Rule::Totals(totals) => first_end(input, totals.iter().copied()),
        Rule::Beyond(more) => first_end(input, more.iter().map(|n| x + n)),
        Rule::Lists(entries) => {
            let at = LISTS_AT + WIFI_ENTRY * x;
            let Some(cells) = input.get(at).copied().map(usize::from) else {
                return Size::More;
            };
            let with = |entry: usize| at + 1 + if cells == 0 { 0 } else { 3 + cells * entry };
            first_end(input, entries.iter().flat_map(|entry| [with(*entry) + 2, with(*entry) + 3]))
        }
    }
}

fn first_end(input: &[u8], totals: impl Iterator<Item = usize>) -> Size {
    for total in totals {
        match input.get(..total) {
            None => return Size::More,
            Some(frame) if total >= 6 && frame.ends_with(&[0x0D, 0x0A]) => return Size::Is(total),
            Some(_) => {}
        }
    }
    Size::No
}

const LISTS: &[Part] = &[Part::BcdTime, Part::CountedBefore(Entry::Wifi), Part::TopinCells];
const STORED_LISTS: &[Part] = &[STORED, Part::BcdTime, Part::CountedBefore(Entry::Wifi), Part::TopinCells];
const BITS: Part = Part::AlarmBits("alarm", &[(0, Alarm::Vibration), (1, Alarm::Overspeed), (4, Alarm::LowPower)]);
const STORED: Part = Part::Archived;

const fn row(kind: u8, title: &'static str, does: Does, parts: &'static [Part], more: &'static [Part], reply: Reply) -> Row {
    Row { form: super::frame::TOPIN, kind, length: (0, 0xFF), title, does, clock: Clock::Utc, parts, more, reply }
}

/// The messages, sorted by type; of a type the first whose third byte fits.
pub(super) static ROWS: &[Row] = &[
    row(0x01, "login", Does::TopinLogin, &[], &[], Reply::TopinLogin),
    Row { length: (0, 1), ..row(0x08, "heartbeat", Does::Heartbeat, &[], &[], Reply::None) },
    row(0x08, "position in degrees", Does::Report, &[Part::Time, Part::TopinFix], &[], Reply::None),
    row(0x09, "stored position in degrees", Does::Report, &[Part::Time, Part::TopinFix, STORED], &[], Reply::None),
    row(0x10, "position", Does::Report, &[Part::Time, Part::Gps], &[ALTITUDE, BITS], Reply::Stamp),
    row(0x11, "stored position", Does::Report, &[Part::Time, Part::Gps, STORED], &[ALTITUDE, BITS], Reply::Stamp),
    row(0x13, "status", Does::Report, STATUS, STATUS_MORE, Reply::Echo),
    row(0x14, "going to sleep", Does::Report, &[Part::Is("sleeping", true)], &[], Reply::None),
    row(0x15, "factory reset", Does::Report, &[Part::Is("factory_reset", true)], &[], Reply::None),
    row(0x17, "stored WiFi and cells", Does::Report, STORED_LISTS, &[BITS], Reply::StampPlain),
    row(0x18, "cells and WiFi", Does::Report, LISTS, &[BITS], Reply::None),
    row(0x19, "stored cells and WiFi", Does::Report, STORED_LISTS, &[BITS], Reply::None),
    row(0x1A, "cells and WiFi", Does::Report, LISTS, &[BITS], Reply::None),
    row(0x30, "time request", Does::Time, &[], &[], Reply::TopinTime),
    row(0x57, "parameters", Does::Parameters, &[], &[], Reply::None),
    row(0x69, "WiFi and cells", Does::Report, LISTS, &[BITS], Reply::StampPlain),
    row(0x92, "vibration alarm switched on", Does::Report, &[Part::Is("vibration_alarm", true)], &[], Reply::None),
    row(0x93, "vibration alarm switched off", Does::Report, &[Part::Is("vibration_alarm", false)], &[], Reply::None),
    row(0x94, "vibration", Does::Report, &[Part::Says(Alarm::Vibration)], &[], Reply::None),
    row(0x99, "SOS", Does::Report, &[Part::Says(Alarm::Sos)], &[], Reply::None),
];

const ALTITUDE: Part = Part::Number("altitude_m", 2, Meaning::AltitudeM);
const STATUS: &[Part] = &[
    Part::Number("battery_percent", 1, Meaning::BatteryPercent),
    Part::Number("firmware_version", 1, Meaning::Attribute),
    Part::Number("time_zone_h", 1, Meaning::Attribute),
    Part::Number("upload_interval_min", 1, Meaning::Attribute),
];
const STATUS_MORE: &[Part] = &[Part::Number("rssi", 1, Meaning::Rssi)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::unhex;

    #[test]
    fn sizes_follow_from_the_type() {
        let whole = [
            "787801080d0a",
            "78780d01086120000000001242", // without its end, which is added
            "78780713514d0819640d0a",
            "78780a132827010063000000000d0a",
            "7878006921120412565802010601071e4a9764071e4a9864010d0a",
            "787800171711120102030600cc080c4e2fa55a0c4e2fa55a0c4e2fa55a0c4e2fa55a0c4e2fa55a0c4e2fa55a0d0a",
            "7878011a260304050607aabbccddeeff2a000d0a",
        ];
        for frame in whole {
            let mut bytes = unhex(frame).unwrap();
            if !bytes.ends_with(&[0x0D, 0x0A]) {
                bytes.extend([0x0D, 0x0A]);
            }
            assert_eq!(size(&bytes), Size::Is(bytes.len()), "{frame}");
            let cut = &bytes[..bytes.len() - 1];
            assert_eq!(size(cut), Size::More, "{frame}");
        }
    }

    #[test]
    fn refuses_other_types_and_missing_ends() {
        assert_eq!(size(&unhex("78781f120b081d").unwrap()), Size::No);
        assert_eq!(size(&unhex("787801080d0b").unwrap()), Size::No);
    }
}
