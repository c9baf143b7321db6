//! JT/T 808, the protocol of China's commercial vehicles, in its editions of 2011, 2013 and 2019, with the signalling of
//! JT/T 1078 (video), the active safety items of T/JSATL 12 and T/GDRTA 002, and what trackers sold as "JT808" or "Huabao"
//! do differently.
//!
//! A message is header and body between two flags, with one check byte. Every message names its terminal, so a session
//! belongs to whoever speaks first; registration (0x0100) and authentication (0x0102) are used by many and demanded by
//! configuration only. `frame` cuts, `header` names, `message` reads, `session` acts,
//! `downlink` holds what the platform says, `reply` writes it, `commands` chooses it, `hearing` hears what is said to it.

mod acknowledgement;
mod commands;
mod context;
mod dialect;
mod downlink;
mod driver;
mod frame;
mod header;
mod hearing;
mod items;
mod layout;
mod layouts;
mod lock;
mod message;
mod nested;
mod network;
mod obd;
mod parameters;
mod passthrough;
mod position;
mod reassembly;
mod reply;
mod safety;
mod session;
mod vendor;

use crate::registry::Protocol;

/// What terminals send.
static MESSAGES: &[(&str, &str)] = &[
    ("0x0001", "general answer"),
    ("0x0002", "heartbeat"),
    ("0x0003", "unregister"),
    ("0x0004", "time request"),
    ("0x0005", "request for packets"),
    ("0x0100", "registration"),
    ("0x0102", "authentication"),
    ("0x0104", "parameters"),
    ("0x0107", "terminal attributes"),
    ("0x0108", "upgrade result"),
    ("0x0109", "clock request"),
    ("0x0200", "location report"),
    ("0x0201", "location answer"),
    ("0x0210", "short batch"),
    ("0x0301", "event report"),
    ("0x0302", "question answer"),
    ("0x0303", "information choice"),
    ("0x0304", "text answer"),
    ("0x0500", "vehicle control answer"),
    ("0x0506", "tracker heartbeat"),
    ("0x0608", "areas and routes"),
    ("0x0700", "recorder data"),
    ("0x0701", "waybill"),
    ("0x0702", "driver identity"),
    ("0x0704", "location batch"),
    ("0x0705", "CAN frames"),
    ("0x0800", "multimedia event"),
    ("0x0801", "multimedia data"),
    ("0x0802", "stored media"),
    ("0x0805", "photo answer"),
    ("0x0900", "passthrough"),
    ("0x0901", "compressed data"),
    ("0x0a00", "public key"),
    ("0x1003", "audio and video attributes"),
    ("0x1005", "passenger count"),
    ("0x1205", "stored audio and video"),
    ("0x1206", "upload finished"),
    ("0x1210", "alarm attachments"),
    ("0x1211", "attachment begins"),
    ("0x1212", "attachment sent"),
    ("0x1300", "command text"),
    ("0x1fc4", "upgrade progress"),
    ("0x2070", "acceleration"),
    ("0x5501", "lock report"),
    ("0x5502", "lock report without fix"),
    ("0x6006", "device text"),
];

/// The registry's entry.
pub static PROTOCOL: Protocol =
    Protocol::of::<session::Jt808>("JT/T 808 (2011, 2013, 2019) and its trackers", 5015, MESSAGES, dialect::NAMES);
