//! The directory of a journal and the few operations on files that can fail.
//!
//! They stand behind [`Disk`] so that a test can make each of them fail where it wants.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::OpenError;

/// Names of segments end so.
const SUFFIX: &str = ".jsonl";
/// Digits of a segment's number: as many as the largest has, so that names sort as numbers do.
const NAME_DIGITS: usize = 20;
/// The file whose lock says that a process writes here.
const LOCK: &str = "lock";

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

/// What is done to files.
pub(super) trait Disk: Send {
    /// A new, empty file to append to, with a name that is durable.
    fn create(&mut self, path: &Path) -> io::Result<Handle>;
    /// Write all the bytes at the end.
    fn write(&mut self, handle: &mut Handle, bytes: &[u8]) -> io::Result<()>;
    /// Bring what was written to the disk.
    fn sync(&mut self, handle: &Handle) -> io::Result<()>;
    /// Whether the file still has a name.
    fn is_linked(&mut self, handle: &Handle) -> io::Result<bool>;
    /// Cut the file to a length.
    fn truncate(&mut self, handle: &Handle, length: u64) -> io::Result<()>;
    /// Remove a file; one that is gone already is removed.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
}

/// The disk of the operating system.
#[derive(Debug)]
pub(super) struct OsDisk;

impl Disk for OsDisk {
    fn create(&mut self, path: &Path) -> io::Result<Handle> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        // without this a power cut may take the name, and with it everything that was synced under it
        if let Err(e) = path.parent().map_or(Ok(()), sync_directory) {
            let _ = fs::remove_file(path);
            return Err(e);
        }
        Ok(Handle { path: path.to_owned(), file })
    }

    fn write(&mut self, handle: &mut Handle, bytes: &[u8]) -> io::Result<()> {
        handle.file.write_all(bytes)
    }

    fn sync(&mut self, handle: &Handle) -> io::Result<()> {
        handle.file.sync_data()
    }

    fn is_linked(&mut self, handle: &Handle) -> io::Result<bool> {
        handle.file.metadata().map(|m| m.nlink() > 0)
    }

    fn truncate(&mut self, handle: &Handle, length: u64) -> io::Result<()> {
        handle.file.set_len(length)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// The file of a segment.
pub(super) fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:0NAME_DIGITS$}{SUFFIX}"))
}

/// The number of a segment from its file name; `None` for any other file.
fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let plain = digits.len() == NAME_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// The segments in a directory, in order.
pub(super) fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        numbers.extend(entry?.file_name().to_str().and_then(segment_number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Make a directory, with names that are durable all the way up.
pub(super) fn make_directory(directory: &Path) -> Result<(), OpenError> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|a| !a.as_os_str().is_empty() && !a.exists()).collect();
    let failed = |action| move |error| OpenError::Io { action, path: directory.to_owned(), error };
    fs::create_dir_all(directory).map_err(failed("create"))?;
    for made in missing {
        let parent = made.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        sync_directory(parent).map_err(failed("make durable"))?;
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Take a directory for this process, until the returned file is dropped or the process ends, however it ends.
pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let failed = |error| OpenError::Io { action: "lock", path: path.clone(), error };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_numbers_and_read_back() {
        let mut names: Vec<String> =
            [u64::MAX, 1, 10, 9].map(|n| segment_path(Path::new(""), n).file_name().unwrap().to_str().unwrap().to_owned()).into();
        names.sort();
        assert_eq!(names[0], "00000000000000000001.jsonl");
        let numbers: Vec<_> = names.iter().filter_map(|n| segment_number(n)).collect();
        assert_eq!(numbers, [1, 9, 10, u64::MAX]);
    }

    #[test]
    fn refuses_other_names() {
        for name in
            ["lock", "1.jsonl", "00000000000000000001.jsonl.bak", "+0000000000000000001.jsonl", "99999999999999999999.jsonl"]
        {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }

    #[test]
    fn makes_directories_and_takes_one_once() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b/c");
        make_directory(&deep).unwrap();
        make_directory(&deep).unwrap();
        let held = lock(&deep).unwrap();
        let refused = lock(&deep).unwrap_err();
        assert!(matches!(&refused, OpenError::InUse { path } if *path == deep), "{refused}");
        drop(held);
        lock(&deep).unwrap();
    }

    #[test]
    fn refuses_a_file_for_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = make_directory(&file).unwrap_err();
        assert!(refused.to_string().contains("file"), "{refused}");
    }
}
