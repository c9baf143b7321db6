//! The journal: an append-only local log that is the store of a gateway without Kafka, and its spool with one.
//!
//! ```text
//!   append ─▶ filling batch ═swap═▶ commit thread: write, fdatasync ─▶ Reports::durable(tokens)
//!   (any thread, never waits)       one, so that many records share one fdatasync
//! ```
//!
//! A directory holds numbered segments of lines ([`mod@line`]) and the file `lock`, held by the one process that writes. Readers
//! ([`Reader`]) need no lock.
//!
//! What is promised, and where it is kept:
//! - A token is reported only after its line and the name of its segment are on the disk ([`store`]).
//! - After a failed write or fdatasync nobody knows what of that file the kernel still means to write: it is never written or
//!   synced again, and a new segment takes everything that has not been reported. So a line may stand twice, never not at all.
//! - A process starts with a segment of its own; it never appends to what another left ([`recover`]).
//! - Recovery cuts a torn last line and nothing else. A bad line elsewhere is told, skipped by readers and left where it is.
//! - Every record that is not durable is in memory, bounded by [`Options::queue_bytes`]; beyond that an append is refused.

mod commit;
mod disk;
mod events;
mod line;
mod queue;
mod read;
mod recover;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) use events::{Show, print_events};
pub(crate) use read::{Found, Reader};
pub(crate) use recover::Recovery;

use commit::Committer;
use disk::{Disk, OsDisk};
use queue::Queue;
use store::Store;

/// How a journal is kept.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Its directory, made if missing. It must outlive the process.
    pub(crate) path: PathBuf,
    /// A segment that would grow beyond this is closed, unless a single batch is larger.
    pub(crate) segment_bytes: u64,
    /// What all segments together may take.
    pub(crate) max_bytes: u64,
    /// What happens there.
    pub(crate) on_full: OnFull,
    /// How long a batch is left open for more records before it is committed; zero commits what has gathered meanwhile.
    pub(crate) commit_interval: Duration,
    /// Bytes of lines that may be in memory because they are not durable yet. Two buffers of this size are reserved; the
    /// system gives them memory as far as they are used.
    pub(crate) queue_bytes: usize,
}

impl Options {
    /// 64 MiB: the bound works, and a drained spool shrinks, in steps of 1.6 % of the default [`Self::DEFAULT_MAX_BYTES`],
    /// and an editor still opens it.
    pub(crate) const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;
    /// 4 GiB: two hours of 1000 events a second (30 000 cars that report every 30 s) at 600 bytes; and what is read again at
    /// each start takes some seconds.
    pub(crate) const DEFAULT_MAX_BYTES: u64 = 4 << 30;
    /// 2 ms: at most 500 syncs a second, which a cheap SSD bears for years, and nothing beside the 300 ms and more that 2.5G
    /// takes to carry the acknowledgement.
    pub(crate) const DEFAULT_COMMIT_INTERVAL: Duration = Duration::from_millis(2);
    /// 16 MiB: 65 ms of 400 000 records a second of 600 bytes, longer than a disk that is well takes to sync.
    pub(crate) const DEFAULT_QUEUE_BYTES: usize = 16 << 20;

    /// The defaults, for a directory.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            segment_bytes: Self::DEFAULT_SEGMENT_BYTES,
            max_bytes: Self::DEFAULT_MAX_BYTES,
            on_full: OnFull::Block,
            commit_interval: Self::DEFAULT_COMMIT_INTERVAL,
            queue_bytes: Self::DEFAULT_QUEUE_BYTES,
        }
    }

    /// A batch can be as large as the queue, and must fit into an empty journal or it would wait for ever.
    fn check(&self) -> Result<(), OpenError> {
        let refuse = |why: &str| Err(OpenError::Options(why.to_owned()));
        if self.segment_bytes == 0 || self.max_bytes == 0 || self.queue_bytes == 0 {
            return refuse("segment_bytes, max_bytes and queue_bytes must be above 0");
        }
        if self.segment_bytes > self.max_bytes {
            return refuse("segment_bytes must not be above max_bytes");
        }
        if u64::try_from(self.queue_bytes).map_or(true, |queue| queue > self.max_bytes) {
            return refuse("queue_bytes must not be above max_bytes");
        }
        Ok(())
    }
}

/// What happens when a journal has reached its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFull {
    /// Nothing more is stored or reported until segments are released, or taken away by hand.
    Block,
    /// The oldest segments are deleted, and counted in [`Stats`].
    DeleteOldest,
}

/// Who hears from the commit thread. Its methods are called on that thread and hold up the next commit, so they should only
/// pass on what they are told. They may call [`Journal::append`].
pub(crate) trait Reports: Send + 'static {
    /// These records are on the disk; in the order in which they were appended, also from call to call.
    fn durable(&mut self, tokens: &[u64]);
    /// An append has been refused as [`Refused::Full`] since the last call, and now there is room.
    fn room(&mut self);
    /// Something does not work: what, where, and what to do about it. Told once until [`Self::recovered`].
    fn trouble(&mut self, what: &str);
    /// It works again.
    fn recovered(&mut self);
}

/// Who hears of each record that is there when a journal is opened, by topic and value, in order.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(&str, &[u8]);

/// Why an append was refused. Nothing of the record is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No room; [`Reports::room`] says when to try again.
    Full,
    /// Never: the topic is none that Kafka allows, or the value is empty, has more than one line, or makes a line longer than
    /// 1 MiB or the whole queue.
    Unfit,
    /// The journal is closed.
    Closed,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the journal has no room at the moment",
            Self::Unfit => "the record fits no line of the journal",
            Self::Closed => "the journal is closed",
        })
    }
}

impl std::error::Error for Refused {}

/// Why a journal was not opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The options contradict each other.
    Options(String),
    /// Another process, or another journal of this one, writes there.
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The system refused something.
    Io {
        /// What was to be done: a verb.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(why) => write!(f, "journal: {why}"),
            Self::InUse { path } => write!(
                f,
                "the journal directory `{}` is in use by another process: stop that one, or give this one a directory of its own ([journal] path)",
                path.display()
            ),
            Self::Io { action, path, error } => write!(f, "cannot {action} `{}`: {error}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Options(_) | Self::InUse { .. } => None,
        }
    }
}

/// Where a line stands. Positions grow in the order of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Number of the segment.
    pub(crate) segment: u64,
    /// Byte offset in it.
    pub(crate) offset: u64,
}

/// The state of a journal.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stats {
    /// Bytes of all segments.
    pub(crate) bytes: u64,
    /// How many segments there are.
    pub(crate) segments: usize,
    /// When the oldest segment was begun; of a segment that another process began, what its file system says.
    pub(crate) oldest: Option<SystemTime>,
    /// Bytes of lines that are not durable yet.
    pub(crate) uncommitted_bytes: usize,
    /// How long the oldest of them has waited. Grows without an error when a disk hangs.
    pub(crate) oldest_uncommitted_age: Duration,
    /// Segments that [`OnFull::DeleteOldest`] has deleted since the journal was opened.
    pub(crate) deleted_segments: u64,
    /// Records in them.
    pub(crate) deleted_records: u64,
    /// Whether [`Reports::trouble`] was told last.
    pub(crate) troubled: bool,
}

/// [`Journal::close`] ended at its limit; what was not durable then is lost, and was never reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unflushed {
    /// Bytes of lines that were not durable.
    pub(crate) bytes: usize,
}

impl fmt::Display for Unflushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the journal was closed with {} bytes that could not be stored; their devices will send them again", self.bytes)
    }
}

impl std::error::Error for Unflushed {}

/// A journal that this process writes. Shared between threads behind an [`Arc`].
#[derive(Debug)]
pub(crate) struct Journal {
    queue: Arc<Queue>,
}

impl Journal {
    /// Open a journal, after a look at what is there.
    ///
    /// # Errors
    /// Options that contradict each other, a directory that another process writes to, or that cannot be read or written.
    pub(crate) fn open(options: Options, reports: Box<dyn Reports>) -> Result<(Self, Recovery), OpenError> {
        Self::open_telling(options, reports, &mut |_, _| {})
    }

    /// The same, and tell what is there.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_telling(options: Options, reports: Box<dyn Reports>, tell: Tell<'_>) -> Result<(Self, Recovery), OpenError> {
        Self::open_on(Box::new(OsDisk), options, reports, tell)
    }

    fn open_on(
        disk: Box<dyn Disk>,
        options: Options,
        reports: Box<dyn Reports>,
        tell: Tell<'_>,
    ) -> Result<(Self, Recovery), OpenError> {
        options.check()?;
        disk::make_directory(&options.path)?;
        let lock = disk::lock(&options.path)?;
        let (recovery, segments) = recover::recover(&options.path, tell)?;
        let store = Store::new(disk, &options, segments);
        let queue = Arc::new(Queue::new(options.queue_bytes, store.figures()));
        let committer = Committer::new(Arc::clone(&queue), store, reports, options.commit_interval, lock);
        committer.spawn().map_err(|error| OpenError::Io { action: "start the commit thread of", path: options.path, error })?;
        Ok((Self { queue }, recovery))
    }

    /// Append a record: a line of JSON for a topic. The token comes back through [`Reports::durable`] once it is on the disk.
    /// Never waits for the disk.
    ///
    /// # Errors
    /// Why the record was not taken.
    pub(crate) fn append(&self, topic: &str, value: &[u8], token: u64) -> Result<(), Refused> {
        self.queue.append(topic, value, token)
    }

    /// Everything before this position is stored elsewhere: segments that lie wholly before it are removed (an empty one stays
    /// when nothing else is left). What a [`Reader`] has passed is at [`Reader::position`].
    pub(crate) fn release(&self, before: Position) {
        self.queue.release(before);
    }

    /// The present state.
    pub(crate) fn stats(&self) -> Stats {
        self.queue.stats()
    }

    /// Take no more records, make the rest durable and give the directory up. A second call waits again.
    ///
    /// # Errors
    /// The limit passed first.
    pub(crate) fn close(&self, limit: Duration) -> Result<(), Unflushed> {
        self.queue.close(limit)
    }
}

impl Drop for Journal {
    /// Without [`Journal::close`] what is not durable is given up.
    fn drop(&mut self) {
        self.queue.abandon();
    }
}
