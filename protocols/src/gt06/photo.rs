//! Fetching a photo from an X1: it announces one, and hands over the part that is asked for.

use std::time::Duration;

use crate::event::{Data, DataKind, Value};
use crate::fault::{Fault, FaultKind};
use crate::gt06::message::PhotoInfo;
use crate::gt06::reply;
use crate::parts::geo::{on_earth, round};
use crate::wire::Step;

/// Largest photo that is fetched: these cameras make 3 to 60 KB, and each connection may hold one in memory.
pub(super) const MAX_PHOTO: u32 = 512 * 1024;
/// Bytes asked for at a time, the most these units hand over.
const PART: u32 = 1024;
/// How long a part may take before it is asked for again: a unit that is out of coverage for a minute goes on by itself.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often the same part is asked for.
const TRIES: u8 = 3;

/// A photo on its way.
#[derive(Debug)]
pub(super) struct Photo {
    info: PhotoInfo,
    bytes: Vec<u8>,
    tries: u8,
    /// When to ask again, by the monotonic clock.
    deadline: Duration,
}

/// What became of a part.
#[derive(Debug)]
pub(super) enum Part {
    /// More is to come, and was asked for.
    Taken,
    /// It was here before.
    Known,
    /// It was the last.
    Last,
    /// It belongs to nothing.
    Stray,
}

impl Photo {
    /// Ask for the first part of an announced photo.
    pub(super) fn begin(info: PhotoInfo, step: &mut Step<'_>) -> Self {
        let mut photo = Self { info, bytes: Vec::new(), tries: 0, deadline: Duration::ZERO };
        photo.ask(step);
        photo
    }

    /// When to call [`Photo::overdue`].
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Whether this announcement is of the photo that is being fetched.
    pub(super) fn is(&self, info: &PhotoInfo) -> bool {
        (self.info.id, self.info.size) == (info.id, info.size)
    }

    /// A part came.
    pub(super) fn part(&mut self, id: u32, offset: u32, bytes: &[u8], step: &mut Step<'_>) -> Part {
        if id != self.info.id || offset > self.have() || bytes.is_empty() {
            return Part::Stray;
        }
        if offset < self.have() {
            return Part::Known;
        }
        let wanted = usize::try_from(self.info.size).unwrap_or(usize::MAX) - self.bytes.len();
        self.bytes.extend_from_slice(bytes.get(..wanted).unwrap_or(bytes));
        if self.have() >= self.info.size {
            return Part::Last;
        }
        self.tries = 0;
        self.ask(step);
        Part::Taken
    }

    /// A part is late: ask again. False when it was asked for often enough.
    pub(super) fn overdue(&mut self, step: &mut Step<'_>) -> bool {
        if self.tries >= TRIES {
            return false;
        }
        self.ask(step);
        true
    }

    /// Report what there is of a photo that will not come.
    pub(super) fn give_up(self, step: &mut Step<'_>) {
        let detail = format!("photo {:08x} given up after {} of {} bytes", self.info.id, self.bytes.len(), self.info.size);
        step.report(Fault::new(FaultKind::Reassembly, self.bytes.len(), detail), &self.bytes);
    }

    /// The bytes, and what is known about them.
    pub(super) fn finish(self) -> (Data, Vec<u8>) {
        let Self { info, bytes, .. } = self;
        let content_type = if bytes.starts_with(&[0xFF, 0xD8]) { "image/jpeg" } else { "application/octet-stream" };
        let mut data = Data::bytes(DataKind::Photo, content_type);
        data.name = Some(format!("{:08x}", info.id));
        data.channel = Some(u16::from(info.camera));
        data.time = info.facts.report.time;
        for (name, raw) in [("latitude_deg", "latitude_raw"), ("longitude_deg", "longitude_raw")] {
            if let Some(Value::Int(n)) = info.facts.report.attributes.get(raw) {
                let degrees = f64::from(u32::try_from(*n).unwrap_or_default()) / 1_800_000.0;
                // the announcement has no hemisphere
                if on_earth(0.0, degrees) {
                    data.attributes.set(name, round(degrees, 7));
                }
            }
        }
        data.attributes.set("source", info.source);
        data.attributes.set("format", info.format);
        (data, bytes)
    }

    fn have(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn ask(&mut self, step: &mut Step<'_>) {
        let (id, offset) = (self.info.id, self.have());
        let size = u16::try_from((self.info.size - offset).min(PART)).unwrap_or_default();
        step.send(|out| reply::photo_request(out, 0, id, offset, size));
        self.tries += 1;
        self.deadline = step.now().uptime + PATIENCE;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Body, Content};
    use crate::gt06::session::Gt06;
    use crate::identity::{DeviceId, SessionId};
    use crate::machine::Machine;
    use crate::session::{Opening, Session, Turn};
    use crate::time::{Now, Timestamp};

    const START: Duration = Duration::from_secs(100);

    fn announcement(size: u32) -> Vec<u8> {
        let mut frame = Vec::new();
        let content = [&[26, 3, 1, 10, 0, 0, 5][..], &[0; 8], &[1, 0, 1], &size.to_be_bytes(), &7u32.to_be_bytes()].concat();
        reply::basic(&mut frame, 0x35, 2, &content);
        frame
    }

    fn part(offset: u32, bytes: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let size = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        reply::extended(&mut frame, 0x36, 3, &[&7u32.to_be_bytes(), &offset.to_be_bytes(), &size, bytes]);
        frame
    }

    fn open() -> Box<dyn Session> {
        let device = DeviceId::normalise("861200000000012");
        Machine::<Gt06>::open(Opening { session: SessionId(7), settings: Arc::default(), device })
    }

    fn hear(session: &mut dyn Session, bytes: &[u8], uptime: Duration) -> Turn {
        let mut turn = Turn::default();
        let now = Now { utc: Timestamp::from_seconds(1_800_000_000), uptime };
        assert_eq!(session.receive(bytes, now, &mut turn), bytes.len());
        turn
    }

    #[test]
    fn the_parts_become_one_photo_of_the_announced_size() {
        let mut session = open();
        assert!(!hear(&mut *session, &announcement(4), START).send.bytes.is_empty());
        assert!(!hear(&mut *session, &part(0, &[0xFF, 0xD8]), START).send.bytes.is_empty());
        let turn = hear(&mut *session, &part(2, &[3, 4, 5, 6]), START);
        let Body::Data(data) = &turn.events[0].body else { panic!("{:?}", turn.events) };
        assert_eq!(data.content, Content::Base64(vec![0xFF, 0xD8, 3, 4]));
        assert_eq!((data.content_type.as_ref(), data.channel), ("image/jpeg", Some(1)));
        assert_eq!(session.deadline(), None);
    }

    #[test]
    fn refuses_sizes_that_nobody_would_hold() {
        for size in [0, MAX_PHOTO + 1] {
            let turn = hear(&mut *open(), &announcement(size), START);
            assert_eq!(turn.reject.unwrap().fault.kind, FaultKind::Value);
            assert!(turn.send.bytes.is_empty());
        }
    }

    #[test]
    fn a_late_part_is_asked_for_again_and_then_given_up() {
        let mut session = open();
        hear(&mut *session, &announcement(4), START);
        let mut at = START;
        for _ in 1..TRIES {
            at += PATIENCE;
            assert_eq!(session.deadline(), Some(at));
            assert!(!hear(&mut *session, &[], at).send.bytes.is_empty());
        }
        at += PATIENCE;
        let turn = hear(&mut *session, &[], at);
        assert_eq!(turn.notices[0].fault.kind, FaultKind::Reassembly);
        assert_eq!(session.deadline(), None);
    }
}
