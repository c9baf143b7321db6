//! The pure core of navgate: what devices say, and what is said to them.
//!
//! ```text
//!           cut            decode            on_message          (the gateway)
//!   bytes ───────▶ Frame ──────────▶ Message ──────────▶ Event ─────────────▶ stored ─┐
//!                                                                                     │
//!   bytes ◀──────────────────────────── acknowledge ◀───────────────────── Delivery ◀─┘
//!
//!           encode            on_command
//!   bytes ◀─────── Downlink ◀──────────── Command          an answer of the device ──▶ desk ──▶ Outcome
//! ```
//!
//! No socket, clock, task, file or randomness lives here: time and ids come in as arguments, and everything that happens
//! is in the [`session::Turn`] that [`session::Session::receive`] fills. Start reading at [`wire`] (what the author of a
//! protocol writes) or [`session`] (what the gateway sees).

pub mod command;
pub mod cursor;
pub mod desk;
pub mod event;
pub mod fault;
pub mod gps103;
pub mod gt06;
pub mod h02;
pub mod identity;
pub mod jt808;
pub mod jt905;
pub mod machine;
pub mod outcome;
pub mod parts;
pub mod profile;
pub mod registry;
pub mod script;
pub mod session;
pub mod time;
pub mod tk103;
pub mod wire;

/// Every protocol, sorted by name. A new one is a line here, a line above, its folder and its fixtures; `registry` holds
/// the laws that find what is forgotten.
#[rustfmt::skip] // one a line, so that a new one is a line
pub static PROTOCOLS: &[&registry::Protocol] = &[
    &gps103::PROTOCOL,
    &gt06::PROTOCOL,
    &h02::PROTOCOL,
    &jt808::PROTOCOL,
    &jt905::PROTOCOL,
    &tk103::PROTOCOL,
];
