//! The segments of a journal: what is written where, and what goes when.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::disk::{self, Disk, Handle};
use super::{OnFull, Options, Position, Stats};

/// A segment on the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Bytes of it; for the active one those that are durable.
    pub(super) bytes: u64,
    /// Good lines in it.
    pub(super) records: u64,
    pub(super) begun: Option<SystemTime>,
}

/// Why a batch could not be stored, as one sentence for an operator.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The bound is reached.
    Full { directory: PathBuf, max_bytes: u64 },
    /// The file that was written to has no name any more.
    Vanished { path: PathBuf },
    /// The system refused something.
    Io { action: &'static str, path: PathBuf, error: io::Error },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { directory, max_bytes } => write!(
                f,
                "the journal `{}` has reached its bound of {max_bytes} bytes, so nothing more is stored or acknowledged: let it drain, move its oldest segments away, or raise [journal] max_bytes",
                directory.display()
            ),
            Self::Vanished { path } => write!(
                f,
                "the journal segment `{}` was removed while it was written, with what it held: leave the newest segment where it is; what has not been acknowledged goes to a new one",
                path.display()
            ),
            Self::Io { action, path, error } => {
                let advice = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on that file system",
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "make it writable for this process",
                    io::ErrorKind::NotFound => "put the directory back",
                    _ => "check the disk",
                };
                write!(
                    f,
                    "cannot {action} the journal segment `{}`: {error}; nothing is acknowledged until that works, it is tried again by itself: {advice}",
                    path.display()
                )
            }
        }
    }
}

/// The segments, the last of which may be open.
pub(super) struct Store {
    disk: Box<dyn Disk>,
    directory: PathBuf,
    segment_bytes: u64,
    max_bytes: u64,
    on_full: OnFull,
    segments: VecDeque<Segment>,
    /// The last of `segments`; `None` when the next batch begins a new one.
    active: Option<Handle>,
    /// Numbers are never used twice, so that a position means one place, also to a reader that outlives this process.
    next: u64,
    deleted_segments: u64,
    deleted_records: u64,
}

impl Store {
    pub(super) fn new(disk: Box<dyn Disk>, options: &Options, segments: Vec<Segment>) -> Self {
        Self {
            disk,
            directory: options.path.clone(),
            segment_bytes: options.segment_bytes,
            max_bytes: options.max_bytes,
            on_full: options.on_full,
            next: segments.last().map_or(1, |s| s.number.saturating_add(1)),
            segments: segments.into(),
            active: None,
            deleted_segments: 0,
            deleted_records: 0,
        }
    }

    /// What [`Stats`] says about the disk.
    pub(super) fn figures(&self) -> Stats {
        Stats {
            bytes: self.bytes(),
            segments: self.segments.len(),
            oldest: self.segments.front().and_then(|s| s.begun),
            deleted_segments: self.deleted_segments,
            deleted_records: self.deleted_records,
            ..Stats::default()
        }
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum()
    }

    fn path(&self, number: u64) -> PathBuf {
        disk::segment_path(&self.directory, number)
    }

    /// Write a batch and bring it to the disk. After an error none of it counts as stored, and the next call begins a new
    /// segment unless nothing was written at all.
    pub(super) fn store(&mut self, lines: &[u8], records: usize) -> Result<(), Trouble> {
        let length = lines.len() as u64;
        self.make_room(length)?;
        if self.segments.back().is_some_and(|last| last.bytes > 0 && last.bytes + length > self.segment_bytes) {
            self.active = None;
        }
        let mut handle = match self.active.take() {
            Some(handle) => handle,
            None => self.begin()?,
        };
        if let Err(error) = self.disk.write(&mut handle, lines) {
            return Err(self.give_up(handle, "write to", error, true));
        }
        if let Err(error) = self.disk.sync(&handle) {
            return Err(self.give_up(handle, "bring to the disk", error, false));
        }
        // a durable file without a name is as good as none
        match self.disk.is_linked(&handle) {
            Ok(true) => {}
            Ok(false) => {
                self.segments.pop_back();
                return Err(Trouble::Vanished { path: handle.path });
            }
            Err(error) => return Err(self.give_up(handle, "look at", error, false)),
        }
        if let Some(last) = self.segments.back_mut() {
            last.bytes += length;
            last.records += records as u64;
        }
        self.active = Some(handle);
        Ok(())
    }

    fn make_room(&mut self, length: u64) -> Result<(), Trouble> {
        while self.bytes().saturating_add(length) > self.max_bytes {
            let oldest = match (self.on_full, self.segments.front()) {
                (OnFull::DeleteOldest, Some(oldest)) => *oldest,
                _ => return Err(Trouble::Full { directory: self.directory.clone(), max_bytes: self.max_bytes }),
            };
            self.remove_oldest(oldest.number)?;
            self.deleted_segments += 1;
            self.deleted_records += oldest.records;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<Handle, Trouble> {
        let number = self.next;
        let path = self.path(number);
        let handle = self.disk.create(&path).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                self.next = number.saturating_add(1);
            }
            Trouble::Io { action: "create", path, error }
        })?;
        self.next = number.saturating_add(1);
        self.segments.push_back(Segment { number, bytes: 0, records: 0, begun: Some(SystemTime::now()) });
        Ok(handle)
    }

    /// Leave the active segment for good, because something failed. What it holds beyond its durable bytes was never
    /// reported: a whole file of it goes, and so does the half of a batch (`cut`), as far as the disk lets us. After a failed
    /// sync the file is not touched any more; the batch may then be read from it as well as from the next segment.
    fn give_up(&mut self, handle: Handle, action: &'static str, error: io::Error, cut: bool) -> Trouble {
        let Handle { path, .. } = &handle;
        let trouble = Trouble::Io { action, path: path.clone(), error };
        let Some(last) = self.segments.back_mut() else {
            return trouble;
        };
        if last.bytes == 0 && self.disk.remove(path).is_ok() {
            self.segments.pop_back();
        } else if !(cut && self.disk.truncate(&handle, last.bytes).is_ok()) {
            last.bytes = length_of(path).unwrap_or(last.bytes);
        }
        trouble
    }

    /// Remove segments that lie wholly before a position.
    pub(super) fn release(&mut self, before: Position) -> Result<(), Trouble> {
        while let Some(oldest) = self.segments.front() {
            let passed = oldest.number < before.segment || (oldest.number == before.segment && oldest.bytes <= before.offset);
            let keeps_count = self.segments.len() == 1 && oldest.bytes == 0;
            if !passed || keeps_count {
                break;
            }
            self.remove_oldest(oldest.number)?;
        }
        Ok(())
    }

    /// The newest segment never goes before another has been begun: its name keeps the count of the numbers over a restart.
    fn remove_oldest(&mut self, number: u64) -> Result<(), Trouble> {
        let path = self.path(number);
        if self.segments.len() == 1 {
            self.active = None;
            self.active = Some(self.begin()?);
        }
        self.disk.remove(&path).map_err(|error| Trouble::Io { action: "remove", path, error })?;
        self.segments.pop_front();
        Ok(())
    }

    /// Look at the directory again: somebody may have moved segments away to make room.
    pub(super) fn look_again(&mut self) {
        let Ok(present) = disk::segments(&self.directory) else {
            return; // the next try to write says what is wrong
        };
        if let (Some(last), Some(_)) = (self.segments.back(), &self.active)
            && present.binary_search(&last.number).is_err()
        {
            self.active = None;
        }
        self.segments.retain(|s| present.binary_search(&s.number).is_ok());
    }
}

fn length_of(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|m| m.len())
}

#[cfg(test)]
mod tests {
    use super::super::disk::OsDisk;
    use super::*;

    fn store(directory: &Path, max_bytes: u64, on_full: OnFull) -> Store {
        let options = Options { segment_bytes: 10, max_bytes, on_full, ..Options::new(directory) };
        Store::new(Box::new(OsDisk), &options, Vec::new())
    }

    #[test]
    fn rotates_between_batches() {
        let root = tempfile::tempdir().unwrap();
        let mut store = store(root.path(), 1000, OnFull::Block);
        for batch in ["1234\n", "6789\n", "a\n", "much too long for one\n", "b\n"] {
            store.store(batch.as_bytes(), 1).unwrap();
        }
        assert_eq!(disk::segments(root.path()).unwrap(), [1, 2, 3, 4]);
        assert_eq!(fs::read(store.path(1)).unwrap(), b"1234\n6789\n");
        assert_eq!(fs::read(store.path(3)).unwrap(), b"much too long for one\n");
        assert_eq!((store.figures().bytes, store.figures().segments), (36, 4));
    }

    #[test]
    fn refuses_beyond_the_bound_until_something_is_released() {
        let root = tempfile::tempdir().unwrap();
        let mut store = store(root.path(), 20, OnFull::Block);
        for batch in ["123456789\n", "abcdefghi\n"] {
            store.store(batch.as_bytes(), 1).unwrap();
        }
        let trouble = store.store(b"x\n", 1).unwrap_err().to_string();
        assert!(trouble.contains("bound of 20 bytes") && trouble.contains("max_bytes"), "{trouble}");
        store.release(Position { segment: 1, offset: 9 }).unwrap();
        assert!(matches!(store.store(b"x\n", 1), Err(Trouble::Full { .. })), "its last byte is not delivered");
        store.release(Position { segment: 1, offset: 10 }).unwrap();
        store.store(b"x\n", 1).unwrap();
        assert_eq!(disk::segments(root.path()).unwrap(), [2, 3]);
    }

    #[test]
    fn releases_the_active_segment_only_with_all_that_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let mut store = store(root.path(), 100, OnFull::Block);
        store.store(b"1\n", 1).unwrap();
        store.store(b"2\n", 1).unwrap();
        store.release(Position { segment: 1, offset: 2 }).unwrap();
        assert_eq!(disk::segments(root.path()).unwrap(), [1]);
        store.release(Position { segment: 1, offset: 4 }).unwrap();
        assert_eq!((disk::segments(root.path()).unwrap().as_slice(), store.figures().bytes), ([2].as_slice(), 0));
        store.release(Position { segment: 3, offset: 0 }).unwrap();
        assert_eq!(disk::segments(root.path()).unwrap(), [2], "an empty one keeps the count of the numbers");
        store.store(b"3\n", 1).unwrap();
        assert_eq!(fs::read(store.path(2)).unwrap(), b"3\n");
    }

    #[test]
    fn deletes_the_oldest_and_counts() {
        let root = tempfile::tempdir().unwrap();
        let mut store = store(root.path(), 20, OnFull::DeleteOldest);
        store.store(b"1234\n", 3).unwrap();
        store.store(b"5678\n", 4).unwrap();
        store.store(b"abcdefghi\n", 5).unwrap();
        store.store(b"x\n", 1).unwrap();
        assert_eq!(disk::segments(root.path()).unwrap(), [2, 3]);
        let figures = store.figures();
        assert_eq!((figures.bytes, figures.deleted_segments, figures.deleted_records), (12, 1, 7));
        store.store(b"all of it, exactly!\n", 1).unwrap();
        assert_eq!(disk::segments(root.path()).unwrap(), [4], "even the active one goes");
    }

    #[test]
    fn a_segment_that_was_moved_away_makes_room() {
        let root = tempfile::tempdir().unwrap();
        let mut store = store(root.path(), 20, OnFull::Block);
        for batch in ["123456789\n", "abcdefghi\n"] {
            store.store(batch.as_bytes(), 1).unwrap();
        }
        fs::remove_file(store.path(1)).unwrap();
        assert!(store.store(b"x\n", 1).is_err());
        store.look_again();
        store.store(b"x\n", 1).unwrap();
        assert_eq!(store.figures().bytes, 12);
    }

    #[test]
    fn notices_when_the_active_segment_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let mut store = store(root.path(), 100, OnFull::Block);
        store.store(b"1\n", 1).unwrap();
        fs::remove_file(store.path(1)).unwrap();
        assert!(matches!(store.store(b"2\n", 1), Err(Trouble::Vanished { .. })));
        store.store(b"2\n", 1).unwrap();
        assert_eq!(fs::read(store.path(2)).unwrap(), b"2\n");
    }

    #[test]
    fn steps_over_a_file_that_stands_in_the_way() {
        let root = tempfile::tempdir().unwrap();
        let mut store = store(root.path(), 100, OnFull::Block);
        fs::write(store.path(1), "somebody else's").unwrap();
        assert!(store.store(b"1\n", 1).is_err());
        store.store(b"1\n", 1).unwrap();
        assert_eq!(fs::read(store.path(1)).unwrap(), b"somebody else's");
    }
}
