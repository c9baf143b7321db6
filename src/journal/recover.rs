//! What a process finds when it opens a journal, and the one thing it mends.
//!
//! A crash leaves at most the beginning of a batch at the end of the last segment, none of it reported: its whole lines stay,
//! the rest of a line is cut. Anything else that cannot be read is damage, not a crash, and may be all that is left of
//! something that was acknowledged: it is told and left alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::disk;
use super::line::{self, Flaw};
use super::read::{Lines, Piece};
use super::store::Segment;
use super::{OpenError, Tell};

/// Bad lines that are told one by one: enough to see what is wrong, and no log full of them.
const MAX_BAD_LINES: usize = 100;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    /// Segments.
    pub(crate) segments: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Good lines in them.
    pub(crate) records: u64,
    /// What was cut off the last one.
    pub(crate) cut: Option<Cut>,
    /// The first bad lines, at most 100.
    pub(crate) bad: Vec<BadLine>,
    /// How many there are.
    pub(crate) bad_lines: u64,
}

/// A torn last line that was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The segment's file.
    pub(crate) file: PathBuf,
    /// Where it ends now.
    pub(crate) offset: u64,
    /// Bytes that were cut.
    pub(crate) bytes: u64,
}

/// A line that readers skip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// The segment's file.
    pub(crate) file: PathBuf,
    /// Where in it the line begins, in bytes.
    pub(crate) offset: u64,
    /// What is wrong.
    pub(crate) flaw: Flaw,
}

/// What stands behind the last newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Tail {
    #[default]
    Nothing,
    /// A line that lacks nothing but its newline, as some editors leave it. It may have been acknowledged.
    Whole,
    /// The beginning of a line, at this offset.
    Torn(u64),
}

/// What is in one segment.
#[derive(Debug, Default)]
struct Scan {
    records: u64,
    bad: Vec<(u64, Flaw)>,
    bad_lines: u64,
    tail: Tail,
}

impl Scan {
    fn flaw(&mut self, offset: u64, flaw: Flaw) {
        self.bad_lines += 1;
        if self.bad.len() < MAX_BAD_LINES {
            self.bad.push((offset, flaw));
        }
    }
}

fn scan(source: impl Read, tell: Tell<'_>) -> io::Result<Scan> {
    let mut lines = Lines::new(source);
    let mut scan = Scan::default();
    loop {
        match lines.next()? {
            Piece::Line { offset, line } => match line::parse(lines.bytes(line)) {
                Ok((topic, value)) => {
                    scan.records += 1;
                    tell(topic, value);
                }
                Err(flaw) => scan.flaw(offset, flaw),
            },
            Piece::Overlong { offset } => scan.flaw(offset, Flaw::Overlong),
            Piece::Rest { offset, end, .. } if offset == end => return Ok(scan),
            Piece::Rest { offset, line, .. } => {
                if let Ok((topic, value)) = line::parse(lines.bytes(line)) {
                    scan.records += 1;
                    tell(topic, value);
                    scan.tail = Tail::Whole;
                } else {
                    scan.tail = Tail::Torn(offset);
                }
                return Ok(scan);
            }
        }
    }
}

/// Look at every segment of a locked journal, tell each record, and cut a torn last line.
pub(super) fn recover(directory: &Path, tell: Tell<'_>) -> Result<(Recovery, Vec<Segment>), OpenError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |error| OpenError::Io { action, path, error }
    };
    let numbers = disk::segments(directory).map_err(failed("read the journal directory", directory))?;
    let mut recovery = Recovery::default();
    let mut segments = Vec::with_capacity(numbers.len());
    for (at, number) in numbers.iter().copied().enumerate() {
        let path = disk::segment_path(directory, number);
        let mut read = || -> io::Result<_> {
            let file = File::open(&path)?;
            let metadata = file.metadata()?;
            Ok((scan(file, tell)?, metadata))
        };
        let (mut scan, metadata) = read().map_err(failed("read the journal segment", &path))?;
        let mut bytes = metadata.len();
        if at + 1 == numbers.len() {
            mend(&path, scan.tail, &mut bytes, &mut recovery).map_err(failed("mend the journal segment", &path))?;
        } else if let Tail::Torn(offset) = scan.tail {
            scan.flaw(offset, Flaw::Torn);
        }
        let begun = metadata.created().or_else(|_| metadata.modified()).ok();
        segments.push(Segment { number, bytes, records: scan.records, begun });
        recovery.segments += 1;
        recovery.bytes += bytes;
        recovery.records += scan.records;
        recovery.bad_lines += scan.bad_lines;
        let room = MAX_BAD_LINES - recovery.bad.len();
        recovery.bad.extend(scan.bad.into_iter().take(room).map(|(offset, flaw)| BadLine { file: path.clone(), offset, flaw }));
    }
    Ok((recovery, segments))
}

/// Make the last segment end with a newline. It is synced, or the tear would come back behind a newer segment.
fn mend(path: &Path, tail: Tail, bytes: &mut u64, recovery: &mut Recovery) -> io::Result<()> {
    if tail == Tail::Nothing {
        return Ok(());
    }
    let mut file = OpenOptions::new().append(true).open(path)?;
    match tail {
        Tail::Nothing => {}
        Tail::Whole => {
            file.write_all(b"\n")?;
            *bytes += 1;
        }
        Tail::Torn(offset) => {
            file.set_len(offset)?;
            recovery.cut = Some(Cut { file: path.to_owned(), offset, bytes: bytes.saturating_sub(offset) });
            *bytes = offset;
        }
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const TOPIC: &str = "orders";

    fn lines(values: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for value in values {
            line::put(&mut bytes, line::checksum(TOPIC, value.as_bytes()), TOPIC, value.as_bytes());
        }
        bytes
    }

    /// What recovery says about the bytes of a last segment, whatever they are.
    fn recover_bytes(bytes: &[u8]) -> (Recovery, Vec<u8>) {
        let root = tempfile::tempdir().unwrap();
        let path = disk::segment_path(root.path(), 1);
        fs::write(&path, bytes).unwrap();
        let (recovery, segments) = recover(root.path(), &mut |_, _| {}).unwrap();
        let left = fs::read(path).unwrap();
        assert_eq!((segments.len(), segments[0].bytes, recovery.bytes), (1, left.len() as u64, left.len() as u64));
        assert_eq!(recovery.records, segments[0].records);
        (recovery, left)
    }

    #[test]
    fn cuts_a_torn_last_line_at_every_offset() {
        let whole = lines(&["{\"n\":1}", "{\"n\":2}"]);
        let first = lines(&["{\"n\":1}"]).len();
        for cut in 0..=whole.len() {
            let (recovery, left) = recover_bytes(&whole[..cut]);
            let kept = match cut {
                c if c + 1 >= whole.len() => whole.len(), // only the newline was missing
                c if c + 1 >= first => first,
                _ => 0,
            };
            assert_eq!(left, &whole[..kept], "cut at {cut}");
            assert_eq!(recovery.cut.map(|c| c.bytes), (cut > kept).then(|| (cut - kept) as u64), "cut at {cut}");
            assert!(recovery.bad.is_empty());
        }
    }

    #[test]
    fn tells_a_bad_line_and_leaves_it() {
        let mut bytes = lines(&["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
        let at = lines(&["{\"n\":1}"]).len();
        bytes[at + 20] ^= 1;
        let (recovery, left) = recover_bytes(&bytes);
        assert_eq!(left, bytes);
        assert_eq!((recovery.records, recovery.bad_lines, recovery.cut), (2, 1, None));
        assert_eq!(recovery.bad[0].offset, at as u64);
        assert!(matches!(recovery.bad[0].flaw, Flaw::Checksum { .. }));
        assert!(recovery.bad[0].file.ends_with("00000000000000000001.jsonl"));
    }

    #[test]
    fn a_bad_last_line_with_its_newline_is_no_tear() {
        let bytes = [lines(&["1"]), b"\0\0\0\0\n".to_vec()].concat();
        let (recovery, left) = recover_bytes(&bytes);
        assert_eq!((left, recovery.bad_lines, recovery.cut), (bytes, 1, None));
    }

    #[test]
    fn cuts_in_the_last_segment_only() {
        let root = tempfile::tempdir().unwrap();
        let torn = &lines(&["1", "2"])[..25];
        for number in [3, 7] {
            fs::write(disk::segment_path(root.path(), number), torn).unwrap();
        }
        let (recovery, segments) = recover(root.path(), &mut |_, _| {}).unwrap();
        assert_eq!(fs::read(disk::segment_path(root.path(), 3)).unwrap(), torn);
        assert_eq!(fs::read(disk::segment_path(root.path(), 7)).unwrap(), lines(&["1"]));
        assert_eq!(recovery.bad, [BadLine { file: disk::segment_path(root.path(), 3), offset: 18, flaw: Flaw::Torn }]);
        assert_eq!(recovery.cut.unwrap().offset, 18);
        assert_eq!(segments.iter().map(|s| (s.number, s.records)).collect::<Vec<_>>(), [(3, 1), (7, 1)]);
    }

    #[test]
    fn a_crash_between_segments_leaves_an_empty_one() {
        let root = tempfile::tempdir().unwrap();
        fs::write(disk::segment_path(root.path(), 1), lines(&["1", "2"])).unwrap();
        fs::write(disk::segment_path(root.path(), 2), "").unwrap();
        let (recovery, _) = recover(root.path(), &mut |_, _| {}).unwrap();
        assert_eq!((recovery.segments, recovery.records, recovery.bad_lines, recovery.cut), (2, 2, 0, None));
    }

    #[test]
    fn tells_a_bounded_number_of_bad_lines() {
        let (recovery, _) = recover_bytes("bad\n".repeat(MAX_BAD_LINES + 50).as_bytes());
        assert_eq!((recovery.bad.len(), recovery.bad_lines), (MAX_BAD_LINES, MAX_BAD_LINES as u64 + 50));
    }

    #[test]
    fn an_overlong_line_is_bad_and_an_overlong_rest_is_cut() {
        let long = vec![b'x'; 3 * line::MAX_LINE];
        let (recovery, _) = recover_bytes(&[lines(&["1"]), long.clone(), b"\n".to_vec(), lines(&["2"])].concat());
        assert_eq!((recovery.records, recovery.bad[0].flaw, recovery.bad[0].offset), (2, Flaw::Overlong, 18));
        let (recovery, left) = recover_bytes(&[lines(&["1"]), long].concat());
        assert_eq!((left, recovery.cut.unwrap().bytes), (lines(&["1"]), 3 * line::MAX_LINE as u64));
    }

    /// Whole lines, damaged ones, and anything else.
    fn any_piece() -> impl Strategy<Value = Vec<u8>> {
        let good = "[0-9]{1,40}".prop_map(|value| lines(&[&value]));
        let damaged = ("[0-9]{1,40}", any::<prop::sample::Index>(), any::<u8>()).prop_map(|(value, at, byte)| {
            let mut line = lines(&[&value]);
            let at = at.index(line.len());
            line[at] = byte;
            line
        });
        prop_oneof![4 => good, 1 => damaged, 1 => proptest::collection::vec(any::<u8>(), 0..60)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_bytes_are_accounted_for_and_mended_once(pieces in proptest::collection::vec(any_piece(), 0..20)) {
            let bytes = pieces.concat();
            let (recovery, left) = recover_bytes(&bytes);
            let cut = recovery.cut.as_ref().map_or(0, |c| c.bytes);
            prop_assert!(bytes.starts_with(&left) || left == [bytes.as_slice(), b"\n"].concat());
            prop_assert!(left.is_empty() || left.ends_with(b"\n"));
            let newlines = left.iter().filter(|b| **b == b'\n').count() as u64;
            prop_assert_eq!(recovery.records + recovery.bad_lines, newlines);
            prop_assert!(cut == 0 || left.len() as u64 + cut == bytes.len() as u64);
            let (again, same) = recover_bytes(&left);
            prop_assert_eq!(same, left);
            prop_assert_eq!((again.records, again.bad_lines, again.cut), (recovery.records, recovery.bad_lines, None));
        }

        #[test]
        fn what_was_whole_before_a_crash_is_whole_after(values in proptest::collection::vec("[0-9]{1,40}", 1..20), at in any::<prop::sample::Index>()) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let bytes = lines(&values);
            let at = at.index(bytes.len() + 1);
            let (recovery, left) = recover_bytes(&bytes[..at]);
            let whole = bytes[..at].iter().filter(|b| **b == b'\n').count();
            prop_assert!(left.starts_with(&lines(&values[..whole])));
            prop_assert!((whole as u64..=whole as u64 + 1).contains(&recovery.records));
            prop_assert_eq!(recovery.bad_lines, 0);
        }
    }
}
