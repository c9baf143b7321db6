//! One direction of a TCP connection, put together: retransmissions, overlaps, segments out of order, and those that the
//! capture lacks.

use std::collections::BTreeMap;

/// Bytes that may wait for those before them; a window of this trade has 64 KiB.
const MOST_AHEAD: usize = 1024 * 1024;
/// Segments that may.
const MOST_SEGMENTS: usize = 1024;
/// Segments of the connection that may come after one that acknowledges bytes which are not there: a capture may have packets
/// of several queues a little out of order.
const PATIENCE: u32 = 8;

/// What can be told now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// So many bytes were not captured.
    Missing(u64),
}

/// A direction.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// Sequence number of the next byte, once known.
    next: Option<u32>,
    /// What came too early, by its distance from the first byte that was seen.
    ahead: BTreeMap<u64, Vec<u8>>,
    held: usize,
    /// Distance of the next byte from the first.
    offset: u64,
    /// The other side has bytes that we have not, and has said so so many segments ago.
    acknowledged: Option<(u64, u32)>,
    /// Segments that brought nothing new.
    pub(super) repeated: u64,
}

impl Half {
    /// The connection begins.
    pub(super) fn syn(&mut self, sequence: u32) {
        if self.next.is_none() {
            self.next = Some(sequence.wrapping_add(1));
        }
    }

    /// Whether a beginning with this number is that of another connection.
    pub(super) fn is_begun_otherwise(&self, sequence: u32) -> bool {
        self.next.is_some_and(|next| self.offset > 0 || next != sequence.wrapping_add(1))
    }

    /// Bytes, of which the last `cut` were not captured.
    pub(super) fn receive(&mut self, sequence: u32, payload: &[u8], cut: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if payload.is_empty() && cut == 0 {
            return pieces;
        }
        let next = *self.next.get_or_insert(sequence);
        let distance = sequence.wrapping_sub(next) as i32;
        let mut payload = payload;
        if distance < 0 {
            // seen already, wholly or in part; the first copy stays
            let seen = distance.unsigned_abs() as usize;
            match payload.get(seen..) {
                Some(rest) if !rest.is_empty() => payload = rest,
                _ => {
                    self.repeated += 1;
                    return pieces;
                }
            }
        }
        let at = self.offset + u64::try_from(distance).unwrap_or(0);
        let longer = self.ahead.get(&at).is_none_or(|there| there.len() < payload.len());
        if longer {
            let before = self.ahead.insert(at, payload.to_vec()).map_or(0, |old| old.len());
            self.held = self.held + payload.len() - before;
        } else {
            self.repeated += 1;
        }
        self.drain(&mut pieces);
        if cut > 0 && at + payload.len() as u64 == self.offset {
            self.skip(cut as u64, &mut pieces);
        }
        while self.held > MOST_AHEAD || self.ahead.len() > MOST_SEGMENTS {
            self.give_up(u64::MAX, &mut pieces);
        }
        pieces
    }

    /// The other side says that it has everything before this number.
    pub(super) fn on_acknowledged(&mut self, number: u32) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let Some(next) = self.next else { return pieces };
        let distance = number.wrapping_sub(next) as i32;
        if distance <= 0 {
            self.acknowledged = None;
            return pieces;
        }
        let upto = self.offset + u64::from(distance.unsigned_abs());
        let since = self.acknowledged.map_or(0, |(_, since)| since + 1);
        self.acknowledged = Some((upto, since));
        if since >= PATIENCE {
            self.give_up(upto, &mut pieces);
            self.acknowledged = None;
        }
        pieces
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while !self.ahead.is_empty() {
            self.give_up(u64::MAX, &mut pieces);
        }
        pieces
    }

    /// Bytes that are kept.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The hole before what came too early, or before `upto`, will not be filled.
    fn give_up(&mut self, upto: u64, pieces: &mut Vec<Piece>) {
        let first = self.ahead.keys().next().copied().unwrap_or(u64::MAX).min(upto);
        if first != u64::MAX && first > self.offset {
            self.skip(first - self.offset, pieces);
        }
        self.drain(pieces);
    }

    fn skip(&mut self, bytes: u64, pieces: &mut Vec<Piece>) {
        pieces.push(Piece::Missing(bytes));
        self.advance(bytes);
    }

    fn advance(&mut self, bytes: u64) {
        self.offset += bytes;
        self.next = self.next.map(|next| next.wrapping_add(bytes as u32)); // numbers go round
    }

    /// Tell what is next.
    fn drain(&mut self, pieces: &mut Vec<Piece>) {
        while let Some(entry) = self.ahead.first_entry() {
            if *entry.key() > self.offset {
                return;
            }
            let (at, bytes) = entry.remove_entry();
            self.held -= bytes.len();
            let seen = usize::try_from(self.offset - at).unwrap_or(usize::MAX);
            match bytes.get(seen..) {
                Some(rest) if !rest.is_empty() => {
                    let rest = rest.to_vec();
                    self.advance(rest.len() as u64);
                    pieces.push(Piece::Bytes(rest));
                }
                _ => self.repeated += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Piece {
        Piece::Bytes(text.as_bytes().to_vec())
    }

    fn begun(sequence: u32) -> Half {
        let mut half = Half::default();
        half.syn(sequence);
        half
    }

    #[test]
    fn in_order_and_again() {
        let mut half = begun(99);
        assert_eq!(half.receive(100, b"abc", 0), [bytes("abc")]);
        assert_eq!(half.receive(100, b"abc", 0), []);
        assert_eq!(half.receive(102, b"cde", 0), [bytes("de")], "an overlap brings what is new");
        assert_eq!(half.receive(104, b"", 0), []);
        assert_eq!(half.repeated, 1);
    }

    #[test]
    fn out_of_order_and_across_the_end_of_numbers() {
        let first = u32::MAX - 1;
        let mut half = begun(first.wrapping_sub(1));
        assert_eq!(half.receive(first.wrapping_add(6), b"ghi", 0), []);
        assert_eq!(half.receive(first.wrapping_add(3), b"def", 0), []);
        assert_eq!(half.receive(first.wrapping_add(4), b"ef", 0), []);
        assert_eq!(half.receive(first, b"abc", 0), [bytes("abc"), bytes("def"), bytes("ghi")]);
        assert_eq!(half.held(), 0);
    }

    #[test]
    fn what_is_missing_is_told_at_the_end_or_when_the_other_side_has_it() {
        let mut half = begun(0);
        assert_eq!(half.receive(4, b"def", 0), []);
        assert_eq!(half.end(), [Piece::Missing(3), bytes("def")]);
        let mut half = begun(0);
        assert_eq!(half.receive(4, b"def", 0), []);
        for _ in 0..PATIENCE {
            assert_eq!(half.on_acknowledged(7), []);
        }
        assert_eq!(half.on_acknowledged(7), [Piece::Missing(3), bytes("def")]);
        assert_eq!(half.receive(1, b"abc", 0), [], "too late");
    }

    #[test]
    fn a_hole_behind_everything_is_missing_too() {
        let mut half = begun(0);
        assert_eq!(half.receive(1, b"abc", 0), [bytes("abc")]);
        let told: Vec<_> = (0..=PATIENCE).flat_map(|_| half.on_acknowledged(10)).collect();
        assert_eq!(told, [Piece::Missing(6)]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut half = begun(0);
        let mut told = Vec::new();
        for n in 0..=MOST_SEGMENTS as u32 {
            told.extend(half.receive(10 + 2 * n, b"x", 0));
        }
        assert_eq!(told.first(), Some(&Piece::Missing(9)));
        assert!(half.ahead.len() <= MOST_SEGMENTS);
        let mut half = begun(0);
        assert_eq!(half.receive(100, &vec![1; MOST_AHEAD + 1], 0).first(), Some(&Piece::Missing(99)));
    }

    #[test]
    fn a_packet_cut_off_by_the_capture_says_so() {
        let mut half = begun(0);
        assert_eq!(half.receive(1, b"abc", 5), [bytes("abc"), Piece::Missing(5)]);
        assert_eq!(half.receive(9, b"ijk", 0), [bytes("ijk")]);
    }

    #[test]
    fn another_beginning_is_another_connection() {
        let mut half = begun(5);
        assert!(!half.is_begun_otherwise(5), "a SYN sent again");
        assert!(half.is_begun_otherwise(6));
        half.receive(6, b"x", 0);
        assert!(half.is_begun_otherwise(5));
    }
}
