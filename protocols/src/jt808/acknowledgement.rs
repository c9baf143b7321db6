//! Acknowledgements: what is kept until a frame is stored, and what is written then.

use super::downlink::{Message as Platform, answers};
use super::header::{Header, Peer};
use super::reply::result;
use super::session::Jt808;
use crate::session::{Delivery, Outgoing};
use crate::time::Now;
use crate::wire::Link;

/// What is needed to answer a message.
#[derive(Debug)]
pub(super) struct Ack {
    peer: Peer,
    message: u16,
    serial: u16,
    result: u8,
    /// Serial numbers of the packets of a split message, each of which is acknowledged.
    packets: Option<Box<[u16]>>,
    pub(super) reply: Reply,
}

/// Which message it is.
#[derive(Debug)]
pub(super) enum Reply {
    General,
    Registered,
    Time,
    Clock,
    Lock,
    Media {
        id: u32,
        /// The packet itself is to be acknowledged, too.
        with_general: bool,
    },
    /// `( … )`, with the word that is replaced by the time.
    Sentence(Box<[u8]>),
}

impl Ack {
    /// 0x8001.
    pub(super) fn general(header: &Header) -> Self {
        let Header { peer, message, serial, .. } = *header;
        Self { peer, message, serial, result: result::DONE, packets: None, reply: Reply::General }
    }

    pub(super) fn with(self, reply: Reply) -> Self {
        Self { reply, ..self }
    }

    /// For a split message, each of whose packets is acknowledged.
    pub(super) fn of_packets(self, serials: Box<[u16]>) -> Self {
        Self { packets: Some(serials), ..self }
    }

    pub(super) fn result(self, result: u8) -> Self {
        Self { result, ..self }
    }
}

/// Results of 0x8100.
const NO_SUCH_VEHICLE: u8 = 2;
const NO_SUCH_TERMINAL: u8 = 4;

impl Jt808 {
    /// Write it, now that its frame has this fate.
    pub(super) fn write_acknowledgement(&mut self, ack: Ack, delivery: Delivery, link: &Link, now: Now, out: &mut Outgoing) {
        let Ack { peer, message, serial, result, packets, reply } = ack;
        let stored = delivery == Delivery::Stored;
        let result = if stored { result } else { result::FAILED };
        let (refused, unknown) = (delivery == Delivery::Refused, delivery == Delivery::UnknownDevice);
        let answer = match reply {
            Reply::Registered => Platform::Registered(match () {
                () if unknown => answers::Registered::refused(serial, NO_SUCH_TERMINAL),
                () if refused => answers::Registered::refused(serial, NO_SUCH_VEHICLE),
                () => {
                    let code = link.device_id().map(|d| link.settings().auth.code(d.as_str()));
                    answers::Registered::welcome(serial, code.unwrap_or_default())
                }
            }),
            Reply::Time => Platform::ServerTime(answers::ServerTime::new(now.utc)),
            Reply::Clock => Platform::Clock(answers::Clock { utc: now.utc.civil(0), result: result::DONE }),
            Reply::Lock => Platform::Lock(answers::Lock { message, result }),
            Reply::Sentence(said) => return out.frame(|out| told_time(&said, now, out)),
            Reply::Media { id, with_general } if stored => {
                if with_general {
                    self.general(&peer, (serial, message), result, out);
                }
                Platform::Media(answers::Media::complete(self.edition, serial, id))
            }
            // a failure has no word in 0x8800
            Reply::General | Reply::Media { .. } => {
                return match packets {
                    Some(serials) => serials.iter().for_each(|serial| self.general(&peer, (*serial, message), result, out)),
                    None => self.general(&peer, (serial, message), result, out),
                };
            }
        };
        let head = self.head(peer);
        out.frame(|out| answer.write(&head, out));
    }

    fn general(&mut self, peer: &Peer, (serial, message): (u16, u16), result: u8, out: &mut Outgoing) {
        let head = self.head(*peer);
        out.frame(|out| Platform::General(answers::General { serial, message, result }).write(&head, out));
    }
}

/// The word that a time request leaves open.
const TIME_WORD: &str = "TIME";

fn told_time(said: &[u8], now: Now, out: &mut Vec<u8>) {
    let c = now.utc.civil(0);
    let time = format!("{:04}{:02}{:02}{:02}{:02}{:02}", c.year, c.month, c.day, c.hour, c.minute, c.second);
    out.extend_from_slice(String::from_utf8_lossy(said).replace(TIME_WORD, &time).as_bytes());
}
