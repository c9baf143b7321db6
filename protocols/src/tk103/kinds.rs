//! The commands that devices send, one row each.
//!
//! Names and meanings come from the KX402 and TK103 protocol descriptions and, for those of the style with commas, from what
//! units of that family were seen to send. What is not listed is still read if it holds a position.

use crate::event::Alarm;

/// What a body is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The id at full length, then a position, cells or nothing.
    Login,
    /// The id at full length, `HSO`, a timer.
    Handshake,
    /// A digit, then a position.
    Alarm,
    /// `,ALARM,` code and value, then a position.
    VehicleAlarm,
    /// A position, or cells and access points.
    Report,
    /// Cells.
    Network,
    /// Levels of the battery.
    Battery,
    /// What a command said, between two `$`.
    Text,
    /// The number of the vehicle; else an answer.
    Vin,
    /// Values of the engine.
    Obd,
    /// Bytes of a battery's own controller, in no published layout.
    Controller,
    /// A command was carried out; perhaps with a position.
    Answer,
    /// Not in the list.
    Unknown,
}

/// What a command says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Nothing,
    Alarm(Alarm),
    Ignition(bool),
    /// Why the position was sent.
    Trigger(&'static str),
}

/// One command.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) command: &'static str,
    pub(super) title: &'static str,
    pub(super) shape: Shape,
    pub(super) says: Says,
}

const fn row(command: &'static str, title: &'static str, shape: Shape) -> Row {
    Row { command, title, shape, says: Says::Nothing }
}

const fn alarm(command: &'static str, title: &'static str, alarm: Alarm) -> Row {
    Row { command, title, shape: Shape::Report, says: Says::Alarm(alarm) }
}

const fn ignition(command: &'static str, title: &'static str, on: bool) -> Row {
    Row { command, title, shape: Shape::Report, says: Says::Ignition(on) }
}

const fn trigger(command: &'static str, title: &'static str, why: &'static str) -> Row {
    Row { command, title, shape: Shape::Report, says: Says::Trigger(why) }
}

/// Sorted by command.
const TABLE: [Row; 62] = [
    row("BO01", "alarm", Shape::Alarm),
    row("BP00", "handshake", Shape::Handshake),
    row("BP02", "answer: parameters", Shape::Answer),
    row("BP03", "answer: status", Shape::Answer),
    trigger("BP04", "answer: position", "request"),
    row("BP05", "login", Shape::Login),
    row("BP07", "answer: version or centre number", Shape::Answer),
    row("BP12", "answer: speed limits", Shape::Answer),
    row("BP17", "answer: telephone numbers", Shape::Answer),
    row("BQ81", "driving and battery alarm", Shape::VehicleAlarm),
    row("BQ86", "OBD values", Shape::Obd),
    row("BR00", "position", Shape::Report),
    // the description calls it the report by distance; no unit was seen to prove it
    trigger("BR01", "position by distance", "distance"),
    trigger("BR02", "last position of a track", "track_end"),
    row("BR05", "answer: interval with ignition on", Shape::Answer),
    row("BR06", "answer: interval with ignition off", Shape::Answer),
    row("BS08", "answer: track by time", Shape::Answer),
    row("BS09", "answer: track by distance", Shape::Answer),
    row("BS50", "battery controller, as bytes", Shape::Controller),
    row("BS51", "battery controller, as bytes", Shape::Controller),
    row("BT00", "answer: restart", Shape::Answer),
    row("BU00", "answer: fence", Shape::Answer),
    row("BV00", "vehicle identification number; answer: circuit", Shape::Vin),
    row("BV01", "answer: oil", Shape::Answer),
    row("BZ00", "cells", Shape::Network),
    row("DW30", "position", Shape::Report),
    alarm("DW31", "movement", Alarm::Movement),
    alarm("DW32", "low battery", Alarm::LowBattery),
    alarm("DW33", "supply cut", Alarm::PowerCut),
    ignition("DW35", "ignition on", true),
    ignition("DW36", "ignition off", false),
    alarm("DW37", "removed", Alarm::Removed),
    row("DW3B", "position", Shape::Report),
    alarm("DW3E", "SOS", Alarm::Sos),
    alarm("DW3F", "tampering", Alarm::Tamper),
    alarm("DW40", "low supply", Alarm::LowPower),
    ignition("DW42", "ignition on", true),
    row("DW50", "cells and WiFi", Shape::Report),
    alarm("DW51", "movement, cells and WiFi", Alarm::Movement),
    alarm("DW52", "low battery, cells and WiFi", Alarm::LowBattery),
    alarm("DW53", "supply cut, cells and WiFi", Alarm::PowerCut),
    ignition("DW55", "ignition on, cells and WiFi", true),
    ignition("DW56", "ignition off, cells and WiFi", false),
    alarm("DW57", "removed, cells and WiFi", Alarm::Removed),
    row("DW5B", "cells and WiFi", Shape::Report),
    alarm("DW5E", "SOS, cells and WiFi", Alarm::Sos),
    alarm("DW5F", "tampering, cells and WiFi", Alarm::Tamper),
    alarm("DW60", "low supply, cells and WiFi", Alarm::LowPower),
    ignition("DW62", "ignition on, cells and WiFi", true),
    row("ZC03", "answer: text", Shape::Text),
    row("ZC07", "position", Shape::Report),
    alarm("ZC11", "movement", Alarm::Movement),
    alarm("ZC12", "low battery", Alarm::LowBattery),
    alarm("ZC13", "supply cut", Alarm::PowerCut),
    ignition("ZC15", "ignition on", true),
    ignition("ZC16", "ignition off", false),
    alarm("ZC17", "removed", Alarm::Removed),
    row("ZC20", "battery", Shape::Battery),
    alarm("ZC25", "SOS", Alarm::Sos),
    alarm("ZC26", "tampering", Alarm::Tamper),
    alarm("ZC27", "low supply", Alarm::LowPower),
    ignition("ZC29", "ignition on", true),
];

/// The list.
pub(super) static ROWS: &[Row] = &TABLE;

static UNKNOWN: Row = row("", "unknown", Shape::Unknown);
/// The families of position and alarm reports: what is not listed of them is a report like the others.
static REPORT: Row = row("", "report", Shape::Report);

/// The row of a command.
pub(super) fn find(command: &str) -> &'static Row {
    match ROWS.binary_search_by(|row| row.command.cmp(command)) {
        Ok(found) => ROWS.get(found).unwrap_or(&UNKNOWN),
        Err(_) if command.starts_with("DW") || command.starts_with("ZC") => &REPORT,
        Err(_) => &UNKNOWN,
    }
}

/// Commands and titles, for the registry.
pub(super) const MESSAGES: &[(&str, &str)] = &{
    let mut messages = [("", ""); TABLE.len()];
    let mut i = 0;
    while i < messages.len() {
        messages[i] = (TABLE[i].command, TABLE[i].title);
        i += 1;
    }
    messages
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_found() {
        assert!(ROWS.is_sorted_by(|a, b| a.command < b.command));
        for row in ROWS {
            assert!(std::ptr::eq(find(row.command), row));
        }
        assert_eq!(find("XG00").shape, Shape::Unknown);
        assert_eq!(find("DW38").shape, Shape::Report);
    }

    #[test]
    fn what_is_said_without_a_place_is_said_with_one() {
        for row in ROWS.iter().filter(|row| row.command.starts_with("DW5") || row.command.starts_with("DW6")) {
            let number = u8::from_str_radix(&row.command[2..], 16).unwrap() - 0x20;
            let twin = find(&format!("DW{number:02X}"));
            assert_eq!(twin.says, row.says, "{}", row.command);
        }
    }
}
