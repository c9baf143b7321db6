//! Pictures that come in blocks of 512 bytes, the last of which ends in fill.

use std::time::Duration;

use crate::event::{Data, DataKind};
use crate::fault::{Fault, FaultKind};
use crate::wire::Step;

/// Bytes of the picture in a block.
pub(super) const BLOCK: usize = 512;
/// The number of a block is one byte, so there are at most 256, of 512 bytes.
const MAX_PICTURE: usize = 256 * BLOCK;
/// How long a block may take: twice what the largest takes on the slowest GPRS, with a silence of a minute.
const PATIENCE: Duration = Duration::from_secs(90);
/// What the last block ends in.
const END: [u8; 4] = [0xFF; 4];

/// A picture on its way.
#[derive(Debug)]
pub(super) struct Picture {
    camera: u8,
    last: u8,
    bytes: Vec<u8>,
    /// When to give it up, by the monotonic clock.
    deadline: Duration,
}

/// What became of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// More is to come.
    Part,
    /// It was here before.
    Known,
    /// It was the last.
    Whole,
    /// It belongs to another picture, or one before it is missing.
    Stray,
}

impl Picture {
    /// The first block of a picture is the zeroth or the first.
    pub(super) fn begin(camera: u8, number: u8, block: &[u8], now: Duration) -> Option<(Self, Taken)> {
        let mut picture = Self { camera, last: number.wrapping_sub(1), bytes: Vec::new(), deadline: now };
        (number <= 1).then(|| {
            let taken = picture.take(camera, number, block, now);
            (picture, taken)
        })
    }

    /// When to give it up.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// A block came.
    pub(super) fn take(&mut self, camera: u8, number: u8, block: &[u8], now: Duration) -> Taken {
        if camera == self.camera && number == self.last && !self.bytes.is_empty() {
            return Taken::Known;
        }
        if camera != self.camera || number != self.last.wrapping_add(1) || self.bytes.len() + block.len() > MAX_PICTURE {
            return Taken::Stray;
        }
        self.last = number;
        self.bytes.extend_from_slice(block);
        self.deadline = now + PATIENCE;
        if block.ends_with(&END) { Taken::Whole } else { Taken::Part }
    }

    /// Report what there is of a picture that will not come.
    pub(super) fn give_up(self, step: &mut Step<'_>) {
        let detail = format!("a picture given up after block {} and {} bytes", self.last, self.bytes.len());
        step.report(Fault::new(FaultKind::Reassembly, self.bytes.len(), detail), &self.bytes);
    }

    /// The picture without its fill, and what is known about it.
    pub(super) fn finish(mut self) -> (Data, Vec<u8>) {
        let fill = self.bytes.iter().rev().take_while(|b| **b == 0xFF).count();
        self.bytes.truncate(self.bytes.len() - fill);
        let content_type = if self.bytes.starts_with(&[0xFF, 0xD8]) { "image/jpeg" } else { "application/octet-stream" };
        let mut data = Data::bytes(DataKind::Photo, content_type);
        data.channel = Some(u16::from(self.camera));
        (data, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn last() -> Vec<u8> {
        let mut block = vec![9; BLOCK];
        block[500..].fill(0xFF);
        block
    }

    #[test]
    fn blocks_become_a_picture_without_its_fill() {
        let (mut picture, taken) = Picture::begin(1, 0, &[7; BLOCK], NOW).unwrap();
        assert_eq!(taken, Taken::Part);
        assert_eq!(picture.take(1, 0, &[7; BLOCK], NOW), Taken::Known);
        assert_eq!(picture.take(1, 1, &last(), NOW), Taken::Whole);
        let (data, bytes) = picture.finish();
        assert_eq!((data.channel, bytes.len()), (Some(1), 1012));
    }

    #[test]
    fn refuses_blocks_out_of_order() {
        assert!(Picture::begin(0, 2, &[7; BLOCK], NOW).is_none());
        let (mut picture, _) = Picture::begin(0, 1, &[7; BLOCK], NOW).unwrap();
        assert_eq!(picture.take(0, 3, &[7; BLOCK], NOW), Taken::Stray);
        assert_eq!(picture.take(1, 2, &[7; BLOCK], NOW), Taken::Stray);
        assert_eq!(picture.deadline(), NOW + PATIENCE);
    }

    #[test]
    fn a_picture_of_one_block() {
        assert_eq!(Picture::begin(0, 1, &last(), NOW).unwrap().1, Taken::Whole);
    }
}
