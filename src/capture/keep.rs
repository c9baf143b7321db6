//! What becomes of captured bytes: files in the configured directory, or records.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocols::script::{Disguise, Heard, Moment, Recording, Script};

use super::tape::Tape;
use super::{Capture, Outcome};
use crate::gateway::Gateway;
use crate::receipts::Token;
use crate::record::{Frame, Origin};

/// Files of captures in the directory; somebody has to look at some before more are written.
const MOST_FILES: usize = 1000;
/// A file of a capture is read whole: its bytes in hex, with what is expected of them, several times over.
const LARGEST_FILE: u64 = 1 << 30;
/// What files of captures end in.
const ENDING: &str = "script";

/// Whether there is room for another capture's files.
pub(super) fn room(directory: &Path) -> Result<(), String> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(format!("{}: {e}", directory.display())),
    };
    let files = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|ending| ending == ENDING)).count();
    if files < MOST_FILES { Ok(()) } else { Err(format!("{} holds {files} captures: remove some", directory.display())) }
}

/// A file that a capture has written.
///
/// # Errors
/// Those of the disk.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(LARGEST_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// A script for each connection.
pub(super) fn write(directory: &Path, capture: &Capture) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(e) = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory) {
        outcome.troubles.push(format!("{}: {e}", directory.display()));
        return outcome;
    }
    let tapes = capture.tapes.lock().clone();
    for (n, tape) in tapes.iter().enumerate() {
        let second = capture.since.to_string().replace([':', '.', '-'], "");
        let name = format!("capture-{second}-{}-{}.{ENDING}", capture.id, n + 1);
        let written = script(tape).and_then(|script| {
            let path = directory.join(&name);
            file(&path, &script).map(|()| path).map_err(|e| format!("{}: {e}", directory.join(&name).display()))
        });
        match written {
            Ok(path) => outcome.files.push(path),
            Err(trouble) => outcome.troubles.push(trouble),
        }
    }
    outcome
}

/// For its owner only: it holds what a device sent.
fn file(path: &Path, script: &Script) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    for line in script.lines() {
        file.write_all(line.as_bytes())?;
        file.write_all(b"\n")?;
    }
    file.sync_all()
}

fn script(tape: &Tape) -> Result<Script, String> {
    let moments = std::mem::take(&mut *tape.moments.lock());
    let device = tape.device.lock().clone();
    let protocol = tape.port.protocol;
    let profile = tape.port.settings.profile(protocol.name, device.as_ref().map(|d| d.as_str()), None);
    let anonymise = tape.capture.request.anonymise;
    let from = if anonymise { String::new() } else { format!(" from {}", tape.peer) };
    let mut remarks = vec![format!("captured from a {} device{from}", protocol.name)];
    if tape.late {
        remarks.push("it begins after the device had said who it is: to replay it, put the sign-on before it".into());
    }
    if anonymise {
        remarks.push("another's identities, places moved by whole degrees; the identifiers of cells are real".into());
    }
    let recording = Recording {
        remarks,
        profile: (*profile != Default::default()).then(|| (*profile).clone()),
        device: device.filter(|_| tape.late),
        moments,
        ours: true,
    };
    let script = recording.script(protocol)?;
    if !anonymise {
        return Ok(script);
    }
    let seed = getrandom::u64().map_err(|e| format!("the system gives no random numbers: {e}"))?;
    let new = Disguise::everything(seed).script(protocol, &script).map_err(|e| format!("{e}; nothing of it was written"))?;
    if new.unmoved > 0 {
        return Err(format!("{} places in it are written in a way that is not known; nothing of it was written", new.unmoved));
    }
    Ok(new.script)
}

/// What has been captured since the last time, as records of the topic.
pub(super) fn publish(gateway: &Gateway, capture: &Capture) {
    let tapes: Vec<Arc<Tape>> = capture.tapes.lock().clone();
    let mut value = Vec::new();
    for tape in tapes {
        let device = tape.device.lock().clone();
        for Moment { at, what } in std::mem::take(&mut *tape.moments.lock()) {
            let (direction, bytes) = match &what {
                Heard::FromDevice(bytes) => ("up", bytes),
                Heard::ToDevice(bytes) => ("down", bytes),
                Heard::Remark(_) => continue,
            };
            let origin = Origin {
                gateway: &gateway.id,
                protocol: tape.port.index,
                session: tape.session,
                epoch: 0,
                peer: tape.peer,
                received_at: at,
                device: device.as_ref(),
            };
            let frame = Frame { capture: capture.id, direction, bytes };
            let count = tape.sent.fetch_add(1, Ordering::Relaxed);
            let record = origin.frame(&frame, count, Token::NONE, &mut value);
            // a store without room keeps what devices are acknowledged for; a capture is looked at by somebody who can do it again
            if gateway.sink.submit(&record).is_err() {
                capture.lost.fetch_add(bytes.len(), Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_more_files_than_anybody_looks_at() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(room(&directory.path().join("missing")), Ok(()));
        for n in 0..MOST_FILES {
            fs::write(directory.path().join(format!("{n}.{ENDING}")), "").unwrap();
        }
        fs::write(directory.path().join("notes.txt"), "").unwrap();
        assert!(room(directory.path()).unwrap_err().contains("remove some"));
    }

    #[test]
    fn files_are_for_their_owner_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one.script");
        let script = Script::parse("# a\n> 01\n").unwrap();
        file(&path, &script).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap(), "# a\n> 01\n");
        assert_eq!(file(&path, &script).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
