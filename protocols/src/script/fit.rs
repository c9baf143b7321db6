//! Whether bytes from a live gateway are an expected reply. Its clock, sessions and secrets are others than those of the
//! recording, so more may differ than what the recording could mark.

use super::parse::Pattern;

/// Bytes that begin an escape, by the mark that a frame begins with: one that may be anything may come as two.
const ESCAPES: [(u8, &[u8]); 2] = [(0x7E, &[0x7D]), (0xE7, &[0xE6, 0x3E])];

/// A recording marks what differed under a few clocks. A digit of the clock that was the same under all of them by chance,
/// as the tens of a month are, stands between marked ones; so many of them in a row may be anything too.
const CHANCE: usize = 2;

/// How bytes compare with an expected frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// They begin with it; it takes so many of them.
    Whole(usize),
    /// They agree as far as they go.
    More,
    /// They do not.
    No,
}

impl Pattern {
    /// Whether the frame stands at the start of these bytes.
    pub fn begins(&self, bytes: &[u8]) -> Fit {
        let escapes = self.escapes();
        let mut have = bytes.iter();
        for wanted in self.loosened() {
            let Some(byte) = have.next() else { return Fit::More };
            match wanted {
                None if escapes.contains(byte) && have.next().is_none() => return Fit::More,
                Some(wanted) if wanted != *byte => return Fit::No,
                _ => {}
            }
        }
        Fit::Whole(bytes.len() - have.len())
    }

    /// Bytes that begin with it, one for each of its own: where one came as an escape, that which begins it.
    pub fn opposite(&self, bytes: &[u8]) -> Vec<u8> {
        let escapes = self.escapes();
        let mut have = bytes.iter().copied();
        let one = |wanted: &Option<u8>| {
            let byte = have.next()?;
            if wanted.is_none() && escapes.contains(&byte) {
                have.next();
            }
            Some(byte)
        };
        self.loosened().iter().map_while(one).collect()
    }

    /// The bytes that begin an escape in such a frame.
    fn escapes(&self) -> &'static [u8] {
        ESCAPES.iter().find(|(mark, _)| self.0.first() == Some(&Some(*mark))).map_or(&[][..], |(_, leads)| leads)
    }

    fn loosened(&self) -> Vec<Option<u8>> {
        let mut bytes = self.0.clone();
        let marked: Vec<_> = bytes.iter().enumerate().filter(|(_, byte)| byte.is_none()).map(|(at, _)| at).collect();
        for pair in marked.windows(2) {
            if let [from, to] = *pair
                && to - from <= CHANCE + 1
            {
                bytes.iter_mut().take(to).skip(from).for_each(|byte| *byte = None);
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern(text.bytes().map(|b| (b != b'.').then_some(b)).collect())
    }

    #[test]
    fn only_short_gaps_between_marked_bytes_are_loosened() {
        assert_eq!(pattern("202.1.0..x").loosened(), pattern("202......x").0);
        assert_eq!(pattern(".abc.").loosened(), pattern(".abc.").0);
        assert_eq!(pattern("abc").loosened(), pattern("abc").0);
    }

    #[test]
    fn bytes_fit_as_far_as_they_go() {
        assert_eq!(pattern("a.c").begins(b"abcd"), Fit::Whole(3));
        assert_eq!(pattern("a.c").begins(b"ab"), Fit::More);
        assert_eq!(pattern("a.c").begins(b"abx"), Fit::No);
    }

    #[test]
    fn a_byte_that_may_be_anything_may_be_escaped() {
        assert_eq!(pattern("~.x~").begins(b"~\x7d\x02x~"), Fit::Whole(5));
        assert_eq!(pattern("~.x~").begins(b"~\x7d"), Fit::More);
        assert_eq!(pattern("~.x~").opposite(b"~\x7d\x02x~"), b"~\x7dx~");
        assert_eq!(pattern("a.x").begins(b"a\x7d\x02x"), Fit::No);
    }
}
