//! TK103: text in round brackets, spoken by VjoyCar, KX402, TK104, CCTR and many boxes sold as TK103. (Boxes of that name
//! also speak GT06, or GPS103 with its semicolons.)
//!
//! Text over TCP, each frame with the id of its device. Two styles: fields by their widths, and fields by commas; a unit keeps
//! to one of them. Times are UTC unless a profile says otherwise; speeds are km/h, which no description says and all servers
//! take for granted. Only logins, handshakes and alarms are answered.
//!
//! Sources: the beginnings of "GPS Tracker TK103 Protocol" and KX402 V1.5 as far as they are public, open servers that
//! serve such units, and published frames.
//!
//! `frame` finds frames and takes their heads off, `kinds` says what each command means, `fields` reads numbers, `position`,
//! `radio` and `obd` read bodies, `dialect` holds what some makers' units want differently, `message` puts a message
//! together, `session` acts on it; `commands` puts what the backend wants into words, `downlink` writes and reads them.

mod commands;
mod dialect;
mod downlink;
mod fields;
mod frame;
mod kinds;
mod message;
mod obd;
mod position;
mod radio;
mod session;

use crate::registry::Protocol;

/// The registry entry.
pub static PROTOCOL: Protocol =
    Protocol::of::<session::Tk103>("TK103 in round brackets: VjoyCar, KX402, TK104, CCTR", 5002, kinds::MESSAGES, dialect::NAMES);
