//! `navgate events`: what is in a journal, as contract JSON.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::read::{Found, Reader};

/// How often a journal that is followed is looked at: a person sees no delay, and the disk does not notice.
const FOLLOW_POLL: Duration = Duration::from_millis(100);

/// The topics that hold events; the others are for the gateway, or are no events.
const EVENT_TOPICS: [&str; 2] = ["telemetry", "orders"];

/// What is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Show {
    /// Every topic, not only those that hold events.
    pub(crate) all: bool,
    /// Go on with what is written after the end was reached.
    pub(crate) follow: bool,
}

/// Print the values in a journal, one a line, until its end or, when it is followed, until `stop`. Bad lines are told to
/// `talk` and passed. Ends well when nobody reads `out` any more.
///
/// # Errors
/// There is no such journal, it cannot be read, or a stream refuses.
pub(crate) fn print_events(directory: &Path, show: Show, stop: &AtomicBool, out: impl Write, talk: impl Write) -> io::Result<()> {
    let reader = Reader::open(directory)?;
    match print(reader, show, stop, out, talk) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn print(mut reader: Reader, show: Show, stop: &AtomicBool, out: impl Write, mut talk: impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    while !stop.load(Ordering::Relaxed) {
        match reader.next()? {
            Some(Found::Entry(entry)) => {
                if show.all || EVENT_TOPICS.contains(&entry.topic) {
                    out.write_all(entry.value)?;
                    out.write_all(b"\n")?;
                }
            }
            Some(Found::Bad { at, flaw }) => {
                let path = super::disk::segment_path(Path::new(""), at.segment);
                writeln!(talk, "navgate: {}: the line at byte {} was passed: {flaw}", path.display(), at.offset)?;
            }
            None if show.follow => {
                out.flush()?;
                thread::sleep(FOLLOW_POLL);
            }
            None => break,
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::super::{disk, line};
    use super::*;
    use std::fs;
    use std::sync::Mutex;

    fn journal() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        for (topic, value) in [("telemetry", "{\"n\":1}"), ("sessions", "{\"n\":2}"), ("orders", "{\"n\":3}")] {
            line::put(&mut bytes, line::checksum(topic, value.as_bytes()), topic, value.as_bytes());
        }
        bytes.extend(b"scribble\n");
        fs::write(disk::segment_path(root.path(), 1), bytes).unwrap();
        root
    }

    fn shown(show: Show) -> (String, String) {
        let (mut out, mut talk) = (Vec::new(), Vec::new());
        print_events(journal().path(), show, &AtomicBool::new(false), &mut out, &mut talk).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(talk).unwrap())
    }

    #[test]
    fn prints_events_and_with_all_everything() {
        let (out, talk) = shown(Show::default());
        assert_eq!(out, "{\"n\":1}\n{\"n\":3}\n");
        assert!(talk.contains("00000000000000000001.jsonl: the line at byte 77") && talk.lines().count() == 1, "{talk}");
        assert_eq!(shown(Show { all: true, ..Show::default() }).0, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    }

    #[test]
    fn ends_well_when_nobody_reads() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        print_events(journal().path(), Show::default(), &AtomicBool::new(false), Closed, io::sink()).unwrap();
    }

    #[test]
    fn follows_until_it_is_stopped() {
        struct Shared<'a>(&'a Mutex<Vec<u8>>);
        impl Write for Shared<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let root = journal();
        let (stop, out) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            let follow = || {
                let show = Show { follow: true, ..Show::default() };
                print_events(root.path(), show, &stop, Shared(&out), io::sink())
            };
            let follower = scope.spawn(follow);
            let mut bytes = Vec::new();
            line::put(&mut bytes, line::checksum("orders", b"{\"n\":4}"), "orders", b"{\"n\":4}");
            fs::write(disk::segment_path(root.path(), 2), bytes).unwrap();
            while !out.lock().unwrap().ends_with(b"{\"n\":4}\n") {
                assert!(!follower.is_finished());
                thread::sleep(Duration::from_millis(1));
            }
            stop.store(true, Ordering::Relaxed);
            follower.join().unwrap().unwrap();
        });
    }

    #[test]
    fn refuses_a_directory_that_is_not_there() {
        let error = print_events(Path::new("no/such/journal"), Show::default(), &AtomicBool::new(false), io::sink(), io::sink());
        assert!(error.unwrap_err().to_string().contains("no/such/journal"));
    }
}
