//! GT06, the protocol of Concox and Jimi that countless clones speak, and Topin, which shares its marks and its port.
//!
//! Binary, big-endian, over TCP. The login carries the IMEI and only it does; everything after belongs to the connection. Every
//! frame carries a serial that its acknowledgement repeats; a unit whose serial does not come back sends the frame forever.
//! Times are UTC, but many clones send local time: the login of newer ones names the zone, and a profile overrides it.
//! Signal strengths of cells and access points are passed on as sent, which is mostly the dBm without its minus.
//!
//! Sources: "GPS Tracker Communication Protocol" v1.8 (GT06), Concox JM-VL03 protocol V1.1.2, the 365GPS description of Topin,
//! and published frames of real units. What the documents leave open is told at the table row it concerns.
//!
//! `frame` finds frames, `variants` says which layout a message has, `blocks` names the blocks that layouts are made of,
//! `read` and `radio` read them, `dialect` holds what some makers' units mean by the same bytes, `message` puts a message together, `session` acts on it,
//! `reply` writes, `downlink` types what is written, `commands` chooses it.

mod alarms;
mod blocks;
mod commands;
mod dialect;
mod downlink;
mod frame;
mod message;
mod modules;
mod photo;
mod radio;
mod read;
mod reply;
mod session;
mod text;
mod topin;
mod variants;

use crate::registry::Protocol;

/// The registry entry.
pub static PROTOCOL: Protocol = Protocol::of::<session::Gt06>("GT06, Concox, Jimi; Topin", 5023, MESSAGES, dialect::NAMES);

const MESSAGES: &[(&str, &str)] = &[
    ("0x01", "login"),
    ("0x08", "heartbeat or position in degrees (Topin)"),
    ("0x09", "stored position in degrees (Topin)"),
    ("0x10", "position"),
    ("0x11", "position with cell; stored position (Topin)"),
    ("0x12", "position with cell"),
    ("0x13", "heartbeat"),
    ("0x14", "satellites; going to sleep (Topin)"),
    ("0x15", "command answer; factory reset (Topin)"),
    ("0x16", "alarm"),
    ("0x17", "position with RFID, address request; stored WiFi and cells (Topin)"),
    ("0x18", "cells"),
    ("0x19", "cell and status; stored cells and WiFi (Topin)"),
    ("0x1a", "address request; cells and WiFi (Topin)"),
    ("0x1e", "position and cells"),
    ("0x21", "command answer"),
    ("0x22", "position with upload mode"),
    ("0x23", "heartbeat with battery voltage"),
    ("0x24", "cells, or position of SR411"),
    ("0x25", "position with driver"),
    ("0x26", "alarm"),
    ("0x27", "alarm with fence"),
    ("0x28", "cells"),
    ("0x2a", "address request"),
    ("0x2c", "WiFi and cells"),
    ("0x2d", "position with upload mode"),
    ("0x2e", "cells"),
    ("0x30", "time request (Topin)"),
    ("0x31", "position, SL4x"),
    ("0x32", "alarm, SL4x; position, AZ735"),
    ("0x33", "WiFi and cells; alarm, AZ735"),
    ("0x34", "position, X1 or SL4x"),
    ("0x35", "photo announcement, X1"),
    ("0x36", "status and modules; photo data, X1; position, TRX16"),
    ("0x37", "position and modules"),
    ("0x38", "position and modules, 4G"),
    ("0x39", "alarm and modules, 4G"),
    ("0x40", "battery management, as bytes"),
    ("0x41", "multimedia, as bytes"),
    ("0x57", "parameters, as bytes (Topin)"),
    ("0x61", "position with iButton"),
    ("0x65", "OBD trouble codes"),
    ("0x66", "OBD values"),
    ("0x69", "WiFi and cells (Topin)"),
    ("0x70", "modules"),
    ("0x80", "command, as bytes"),
    ("0x81", "command, as bytes"),
    ("0x82", "command, as bytes"),
    ("0x8a", "time request"),
    ("0x8c", "OBD values with ignition"),
    ("0x92", "vibration alarm switched on (Topin)"),
    ("0x93", "vibration alarm switched off (Topin)"),
    ("0x94", "information; vibration (Topin)"),
    ("0x95", "dash-cam event"),
    ("0x99", "SOS (Topin)"),
    ("0x9b", "serial port"),
    ("0xa0", "position, 4G"),
    ("0xa1", "cells, 4G"),
    ("0xa2", "WiFi and cells, 4G"),
    ("0xa3", "alarm, 4G; status, Seeworld"),
    ("0xa4", "alarm with fence, 4G"),
    ("0xa5", "cell alarm, 4G"),
    ("0xa7", "address request, 4G"),
    ("0xa9", "WiFi alarm, as bytes"),
    ("0xb0", "attendance, as bytes"),
    ("0xb2", "Bluetooth clock, as bytes"),
    ("0xf1", "device status"),
    ("0xf2", "peripherals, as bytes"),
    ("0xf3", "WiFi"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_is_described_and_nothing_else() {
        let described: BTreeSet<_> = MESSAGES.iter().map(|(kind, _)| (*kind).to_owned()).collect();
        let rows: BTreeSet<_> = variants::kinds().map(|kind| format!("0x{kind:02x}")).collect();
        assert_eq!(described, rows);
    }
}
