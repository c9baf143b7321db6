//! Reading a journal, also one that another process writes.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Position;
use super::disk;
use super::line::{self, Flaw, MAX_LINE};

/// Bytes asked of a file at once: small enough to stay in a processor's cache, large enough that the call costs nothing.
const CHUNK: usize = 128 * 1024;

/// A piece of a segment. Its bytes are at [`Lines::bytes`] until the next one is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A line, without its newline.
    Line { offset: u64, line: Range<usize> },
    /// A line longer than any that we write, which has been passed.
    Overlong { offset: u64 },
    /// There is nothing more at present. What stands between the last newline and the end, or nothing of it if it is longer
    /// than a line.
    Rest { offset: u64, end: u64, line: Range<usize> },
}

/// Cuts a stream into lines, in a buffer whose size does not depend on what is in the stream.
#[derive(Debug)]
pub(super) struct Lines<R> {
    source: R,
    buffer: Vec<u8>,
    /// What is in the buffer and not yet passed: `buffer[head..tail]`, without a newline before `scanned`.
    head: usize,
    scanned: usize,
    tail: usize,
    /// Offset of `head` in the stream.
    offset: u64,
    /// Where the overlong line began that `head` stands in.
    overlong: Option<u64>,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, buffer: vec![0; MAX_LINE + CHUNK], head: 0, scanned: 0, tail: 0, offset: 0, overlong: None }
    }

    /// The next piece. After [`Piece::Rest`] it may be called again, when the stream may have grown.
    pub(super) fn next(&mut self) -> io::Result<Piece> {
        loop {
            let fresh = self.buffer.get(self.scanned..self.tail).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', fresh) {
                let (start, end, offset) = (self.head, self.scanned + at, self.offset);
                self.pass(end + 1);
                let long = end + 1 - start > MAX_LINE;
                return Ok(match self.overlong.take().or_else(|| long.then_some(offset)) {
                    Some(offset) => Piece::Overlong { offset },
                    None => Piece::Line { offset, line: start..end },
                });
            }
            self.scanned = self.tail;
            if self.overlong.is_some() || self.tail - self.head >= MAX_LINE {
                self.overlong.get_or_insert(self.offset);
                self.pass(self.tail);
            }
            if self.fill()? == 0 {
                let end = self.offset + (self.tail - self.head) as u64;
                return Ok(Piece::Rest { offset: self.overlong.unwrap_or(self.offset), end, line: self.head..self.tail });
            }
        }
    }

    /// Bytes of a piece.
    pub(super) fn bytes(&self, line: Range<usize>) -> &[u8] {
        self.buffer.get(line).unwrap_or_default()
    }

    fn pass(&mut self, to: usize) {
        self.offset += (to - self.head) as u64;
        self.head = to;
        self.scanned = to;
    }

    /// Read once, after what is left has been moved to the front if there is no room behind it.
    fn fill(&mut self) -> io::Result<usize> {
        if self.buffer.len() - self.tail < CHUNK {
            self.buffer.copy_within(self.head..self.tail, 0);
            self.tail -= self.head;
            self.scanned -= self.head;
            self.head = 0;
        }
        let room = self.buffer.get_mut(self.tail..self.tail + CHUNK).unwrap_or_default();
        loop {
            match self.source.read(room) {
                Ok(n) => {
                    self.tail += n;
                    return Ok(n);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A record.
    Entry(Entry<'a>),
    /// A line that cannot be used; it has been passed.
    Bad {
        /// Where it begins.
        at: Position,
        /// What is wrong.
        flaw: Flaw,
    },
}

/// A record in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Where its line begins.
    pub(crate) at: Position,
    /// The topic, without the prefix it has in Kafka.
    pub(crate) topic: &'a str,
    /// One line of JSON.
    pub(crate) value: &'a [u8],
}

#[derive(Debug)]
struct Current {
    number: u64,
    lines: Lines<File>,
    /// A newer segment has been seen, so nothing is written to this one any more. What was written before that was seen may
    /// still have to be read.
    sealed: bool,
    /// All of it has been passed.
    finished: bool,
}

/// Reads a journal from the oldest line to the newest, while it is written or not.
///
/// A record may come twice, where its writer had to begin a new segment, and before it is durable.
#[derive(Debug)]
pub(crate) struct Reader {
    directory: PathBuf,
    current: Option<Current>,
    position: Position,
}

impl Reader {
    /// A reader at the beginning of a journal.
    ///
    /// # Errors
    /// There is no such directory, or it cannot be read.
    pub(crate) fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        let reader = Self { directory, current: None, position: Position { segment: 0, offset: 0 } };
        first_from(&reader.directory, 0)?;
        Ok(reader)
    }

    /// A reader that goes on where another stood.
    ///
    /// # Errors
    /// There is no such directory, or it cannot be read.
    pub(crate) fn open_at(directory: impl Into<PathBuf>, position: Position) -> io::Result<Self> {
        let mut reader = Self::open(directory)?;
        reader.position = position;
        if reader.enter()? && reader.position.segment == position.segment && position.offset > 0 {
            // lines are passed, not sought: the segment may have been cut since
            while reader.position < position && reader.next()?.is_some() {}
        }
        Ok(reader)
    }

    /// The end of what has been passed: for [`super::Journal::release`] once all of it is stored elsewhere.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The next record or bad line; `None` if there is nothing more at present, then ask again later.
    ///
    /// # Errors
    /// The directory or a segment cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found<'_>>> {
        let (at, line) = loop {
            if self.current.as_ref().is_none_or(|c| c.finished) && !self.enter()? {
                return Ok(None);
            }
            let Some(current) = &mut self.current else {
                return Ok(None);
            };
            let segment = current.number;
            let piece = current.lines.next()?;
            self.position = Position { segment, offset: current.lines.offset };
            match piece {
                Piece::Line { offset, line } => break (Position { segment, offset }, Ok(line)),
                Piece::Overlong { offset } => break (Position { segment, offset }, Err(Flaw::Overlong)),
                Piece::Rest { .. } if !current.sealed => {
                    current.sealed = first_from(&self.directory, segment.saturating_add(1))?.is_some();
                    if !current.sealed {
                        return Ok(None);
                    }
                }
                Piece::Rest { offset, end, line } => {
                    current.finished = true;
                    self.position = Position { segment: segment.saturating_add(1), offset: 0 };
                    // a writer takes the half of a line back that it could not finish
                    let is_there = current.lines.source.metadata()?.len() >= end;
                    if offset < end && is_there {
                        let whole = line::parse(current.lines.bytes(line.clone())).is_ok();
                        break (Position { segment, offset }, if whole { Ok(line) } else { Err(Flaw::Torn) });
                    }
                }
            }
        };
        let line = line.and_then(|line| self.current.as_ref().map_or(Err(Flaw::Form), |c| line::parse(c.lines.bytes(line))));
        Ok(Some(match line {
            Ok((topic, value)) => Found::Entry(Entry { at, topic, value }),
            Err(flaw) => Found::Bad { at, flaw },
        }))
    }

    /// Open the next segment. False: there is none yet.
    fn enter(&mut self) -> io::Result<bool> {
        self.current = None;
        while let Some(number) = first_from(&self.directory, self.position.segment)? {
            let path = disk::segment_path(&self.directory, number);
            match File::open(&path) {
                Ok(file) => {
                    self.position = Position { segment: number, offset: 0 };
                    self.current = Some(Current { number, lines: Lines::new(file), sealed: false, finished: false });
                    return Ok(true);
                }
                // removed since it was listed
                Err(e) if e.kind() == ErrorKind::NotFound => self.position.segment = number.saturating_add(1),
                Err(e) => {
                    return Err(io::Error::new(e.kind(), format!("cannot read the journal segment `{}`: {e}", path.display())));
                }
            }
        }
        Ok(false)
    }
}

/// The first segment whose number is at least this.
fn first_from(directory: &Path, number: u64) -> io::Result<Option<u64>> {
    let numbers = disk::segments(directory).map_err(|e| match e.kind() {
        ErrorKind::NotFound => io::Error::new(e.kind(), format!("there is no journal directory `{}`", directory.display())),
        _ => io::Error::new(e.kind(), format!("cannot read the journal directory `{}`: {e}", directory.display())),
    })?;
    Ok(numbers.into_iter().find(|n| *n >= number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    /// Gives at most so many bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(into.len()).min(self.0.len());
            let (now, later) = self.0.split_at(n);
            into[..n].copy_from_slice(now);
            self.0 = later;
            Ok(n)
        }
    }

    fn cut(bytes: &[u8], step: usize) -> Vec<(&'static str, u64, Vec<u8>)> {
        let mut lines = Lines::new(Trickle(bytes, step));
        let mut all = Vec::new();
        loop {
            match lines.next().unwrap() {
                Piece::Line { offset, line } => all.push(("line", offset, lines.bytes(line).to_vec())),
                Piece::Overlong { offset } => all.push(("overlong", offset, Vec::new())),
                Piece::Rest { offset, end, line } => {
                    assert_eq!(end, bytes.len() as u64);
                    all.push(("rest", offset, lines.bytes(line).to_vec()));
                    return all;
                }
            }
        }
    }

    #[test]
    fn cuts_lines_at_the_longest_and_beyond() {
        let longest = [vec![b'a'; MAX_LINE - 1], vec![b'\n']].concat();
        let beyond = [vec![b'b'; MAX_LINE], vec![b'\n']].concat();
        let bytes = [longest.as_slice(), &beyond, b"\n", &longest, b"rest"].concat();
        let at = |n: usize| n as u64;
        for step in [CHUNK, CHUNK - 1, 1 << 12] {
            let all = cut(&bytes, step);
            let shape: Vec<_> = all.iter().map(|(kind, offset, bytes)| (*kind, *offset, bytes.len())).collect();
            let expected = [
                ("line", 0, MAX_LINE - 1),
                ("overlong", at(MAX_LINE), 0),
                ("line", at(2 * MAX_LINE + 1), 0),
                ("line", at(2 * MAX_LINE + 2), MAX_LINE - 1),
                ("rest", at(3 * MAX_LINE + 2), 4),
            ];
            assert_eq!(shape, expected, "step {step}");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_depend_on_how_bytes_come(bytes in "[a-c\n]{0,200}", step in 1_usize..20) {
            prop_assert_eq!(cut(bytes.as_bytes(), step), cut(bytes.as_bytes(), CHUNK));
        }
    }

    fn line(value: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        line::put(&mut bytes, line::checksum("orders", value.as_bytes()), "orders", value.as_bytes());
        bytes
    }

    fn append(directory: &Path, segment: u64, bytes: &[u8]) {
        let path = disk::segment_path(directory, segment);
        OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
    }

    fn rest(reader: &mut Reader) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(found) = reader.next().unwrap() {
            all.push(match found {
                Found::Entry(e) => format!("{}+{} {}", e.at.segment, e.at.offset, str::from_utf8(e.value).unwrap()),
                Found::Bad { at, flaw } => format!("{}+{} bad: {flaw:?}", at.segment, at.offset),
            });
        }
        all
    }

    #[test]
    fn reads_what_is_added_and_waits_for_whole_lines() {
        let root = tempfile::tempdir().unwrap();
        let mut reader = Reader::open(root.path()).unwrap();
        assert!(rest(&mut reader).is_empty());
        append(root.path(), 4, &line("1"));
        append(root.path(), 4, &line("2")[..7]);
        assert_eq!(rest(&mut reader), ["4+0 1"]);
        assert_eq!(reader.position(), Position { segment: 4, offset: 18 });
        append(root.path(), 4, &line("2")[7..]);
        append(root.path(), 6, &line("3"));
        assert_eq!(rest(&mut reader), ["4+18 2", "6+0 3"]);
        assert!(rest(&mut reader).is_empty());
    }

    #[test]
    fn passes_bad_lines_and_tells_them() {
        let root = tempfile::tempdir().unwrap();
        let mut broken = line("2");
        broken[16] ^= 1;
        append(root.path(), 1, &[line("1"), broken, line("3")[..5].to_vec()].concat());
        append(root.path(), 2, &line("4"));
        let all = rest(&mut Reader::open(root.path()).unwrap());
        assert_eq!(all.len(), 4);
        assert!(all[1].starts_with("1+18 bad: Checksum"), "{all:?}");
        assert_eq!(all[2..], ["1+36 bad: Torn", "2+0 4"]);
    }

    #[test]
    fn a_sealed_line_without_its_newline_is_read() {
        let root = tempfile::tempdir().unwrap();
        append(root.path(), 1, &line("1")[..17]);
        append(root.path(), 2, &line("2"));
        assert_eq!(rest(&mut Reader::open(root.path()).unwrap()), ["1+0 1", "2+0 2"]);
    }

    #[test]
    fn half_a_line_that_was_taken_back_is_no_bad_line() {
        let root = tempfile::tempdir().unwrap();
        append(root.path(), 1, &[line("1"), line("2")[..5].to_vec()].concat());
        let mut reader = Reader::open(root.path()).unwrap();
        assert_eq!(rest(&mut reader), ["1+0 1"]);
        OpenOptions::new().write(true).open(disk::segment_path(root.path(), 1)).unwrap().set_len(18).unwrap();
        append(root.path(), 2, &line("2"));
        assert_eq!(rest(&mut reader), ["2+0 2"]);
    }

    #[test]
    fn goes_on_when_segments_are_removed() {
        let root = tempfile::tempdir().unwrap();
        for n in 1..=3 {
            append(root.path(), n, &line(&n.to_string()));
        }
        let mut reader = Reader::open(root.path()).unwrap();
        assert!(reader.next().unwrap().is_some());
        fs::remove_file(disk::segment_path(root.path(), 1)).unwrap();
        fs::remove_file(disk::segment_path(root.path(), 2)).unwrap();
        assert_eq!(rest(&mut reader), ["3+0 3"]);
    }

    #[test]
    fn refuses_a_directory_that_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let error = Reader::open(root.path().join("nowhere")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}
