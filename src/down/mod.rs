//! Down: from the commands topic to the instance that holds the device, and back to the outcomes topic.
//!
//! ```text
//!   commands ─▶ home ─▶ (peer) ─▶ owner: mailbox ─▶ connection ─▶ device
//!   outcomes ◀─ home ◀─ (peer) ◀─ owner: reports ◀─ connection ◀─┘
//! ```

#[allow(dead_code, reason = "its users come next")]
mod holder;
#[allow(dead_code, reason = "its users come next")]
mod home;
#[allow(dead_code, reason = "its users come next")]
pub(crate) mod owner;
#[allow(dead_code, reason = "its users come next")]
mod table;
#[allow(dead_code, reason = "its users come next")]
mod target;




#[cfg(test)]
mod simulation;
