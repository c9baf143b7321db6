//! Down: from the commands topic to the instance that holds the device, and back to the outcomes topic.
//!
//! ```text
//!   commands ─▶ home ─▶ (peer) ─▶ holder: mailbox ─▶ connection ─▶ device
//!   outcomes ◀─ home ◀─ (peer) ◀─ holder: reports ◀─ connection ◀─┘
//! ```
//!
//! `home`, `holder` and `table` decide, and are pure; `simulation` runs exactly these. The [`hub`] is the one task in which they
//! live; `kafka` and `peer` bring it what happens and do what it wants done.

pub(crate) mod courier;
mod former;
mod holder;
mod home;
pub(crate) mod hub;
mod kafka;
mod look;
pub(crate) mod owner;
mod peer;
mod record;
mod standing;
pub(crate) mod table;
mod target;
pub(crate) mod view;

pub(crate) use former::Former;
pub(crate) use hub::{Input, start};

#[cfg(test)]
mod simulation;
