//! Photos: one is announced with the number of its parts, and the device sends them by itself.

use std::time::Duration;

use crate::event::{Data, DataKind};
use crate::fault::{Fault, FaultKind};
use crate::gps103::read::PhotoInfo;
use crate::time::Timestamp;
use crate::wire::Step;

/// Most bytes of a part's payload: a part of the longest frame holds less, real ones hold 506.
const MAX_PAYLOAD: usize = 2048;
/// Most parts of a photo. Cameras announce 14 or 15; more would let one connection hold much memory.
const MAX_PARTS: usize = 64;
/// How long the next part may take. A device gives a part up after three attempts, which take it a minute at most.
const PATIENCE: Duration = Duration::from_secs(90);

/// A photo on its way.
#[derive(Debug)]
pub(super) struct Photo {
    info: PhotoInfo,
    taken: Option<Timestamp>,
    parts: Vec<Option<Box<[u8]>>>,
    missing: usize,
    /// When to give it up, by the monotonic clock.
    deadline: Duration,
}

/// A part of a photo, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'p> {
    /// Number, from 0.
    pub(super) index: usize,
    /// Its piece of the photo.
    pub(super) payload: &'p [u8],
}

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// More are to come.
    One,
    /// It was here before.
    Known,
    /// Now the photo is whole.
    Last,
    /// It belongs to nothing.
    Stray,
}

impl<'p> Part<'p> {
    /// Number and size (u16 each, low byte first), payload, and a sum that was looked at before.
    pub(super) fn read(bytes: &'p [u8]) -> Result<Self, Fault> {
        let Some(([n0, n1, s0, s1], rest)) = bytes.split_first_chunk::<4>() else {
            return Err(Fault::new(FaultKind::Truncated, 0, "the part of a photo has no head"));
        };
        let size = usize::from(u16::from_le_bytes([*s0, *s1]));
        let Some((payload, _sum)) = rest.split_last_chunk::<2>().filter(|(payload, _)| payload.len() == size) else {
            let detail = format!("a part of {size} bytes, {} are there", rest.len().saturating_sub(2));
            return Err(Fault::new(FaultKind::Length, 2, detail));
        };
        Ok(Self { index: usize::from(u16::from_le_bytes([*n0, *n1])), payload })
    }
}

impl Photo {
    /// One was announced. `None` if nobody would hold one of so many parts, or of none.
    pub(super) fn begin(info: PhotoInfo, taken: Option<Timestamp>, step: &Step<'_>) -> Option<Self> {
        let missing = usize::from(info.parts);
        let deadline = step.now().uptime + PATIENCE;
        (1..=MAX_PARTS).contains(&missing).then(|| Self { info, taken, parts: vec![None; missing], missing, deadline })
    }

    /// When it is given up.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Whether it was asked for; else an alarm took it.
    pub(super) fn asked_for(&self) -> bool {
        !self.info.for_alarm
    }

    /// Whether this announcement is of this photo.
    pub(super) fn is(&self, info: PhotoInfo, taken: Option<Timestamp>) -> bool {
        (self.info, self.taken) == (info, taken)
    }

    /// A part came.
    pub(super) fn take(&mut self, part: Part<'_>, step: &Step<'_>) -> Taken {
        match self.parts.get_mut(part.index) {
            Some(Some(_)) => Taken::Known,
            Some(slot @ None) if (1..=MAX_PAYLOAD).contains(&part.payload.len()) => {
                *slot = Some(part.payload.into());
                self.missing -= 1;
                self.deadline = step.now().uptime + PATIENCE;
                if self.missing == 0 { Taken::Last } else { Taken::One }
            }
            _ => Taken::Stray,
        }
    }

    /// Report what there is of a photo that will not come.
    pub(super) fn give_up(self, step: &mut Step<'_>) {
        let (all, missing) = (self.parts.len(), self.missing);
        let bytes = self.parts.into_iter().flatten().collect::<Vec<_>>().concat();
        let detail = format!("a photo given up, {missing} of {all} parts are missing");
        step.report(Fault::new(FaultKind::Reassembly, bytes.len(), detail), &bytes);
    }

    /// The bytes, and what is known about them.
    pub(super) fn finish(self) -> (Data, Vec<u8>) {
        let bytes = self.parts.into_iter().flatten().collect::<Vec<_>>().concat();
        let content_type = if bytes.starts_with(&[0xFF, 0xD8]) { "image/jpeg" } else { "application/octet-stream" };
        let mut data = Data::bytes(DataKind::Photo, content_type);
        data.time = self.taken;
        data.attributes.set("for_alarm", self.info.for_alarm);
        (data, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_part() {
        let part = Part::read(&[0x0C, 0, 2, 0, 0xFF, 0xD8, 0xE5, 0]).unwrap();
        assert_eq!(part, Part { index: 12, payload: &[0xFF, 0xD8] });
    }

    #[test]
    fn refuses_what_is_no_part() {
        assert_eq!(Part::read(&[1, 0, 2]).unwrap_err().kind, FaultKind::Truncated);
        assert_eq!(Part::read(&[1, 0, 2, 0]).unwrap_err().kind, FaultKind::Length);
        assert_eq!(Part::read(&[1, 0, 2, 0, 0xFF, 0, 0]).unwrap_err().kind, FaultKind::Length);
    }
}
