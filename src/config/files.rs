//! Lists and secrets that stand in files of their own, so that they can be rotated and kept from other eyes.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::Config;
use super::reader::Findings;
use super::value::{Devices, Secret};

/// Of a list of devices: a million ids of 64 bytes.
const MAX_LIST_BYTES: u64 = 64 * 1024 * 1024;

/// Of a file with a few secrets.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Read them and put their content beside, or in the place of, what the configuration itself says.
pub(super) fn take_in(config: &mut Config, findings: &mut Findings) {
    let security = &mut config.security;
    if let Some(path) = &security.devices_file {
        match lines(path, MAX_LIST_BYTES) {
            Ok(lines) => {
                for (number, line) in lines {
                    match Devices::entry(&line) {
                        Ok(id) => _ = security.devices.0.insert(id),
                        Err(what) => {
                            findings.wrong("security.devices_file", format!("line {number}: {what}"), "write one id a line")
                        }
                    }
                }
            }
            Err(what) => findings.wrong("security.devices_file", what, ""),
        }
    }
    if let Some(path) = &security.secrets_file {
        if !security.secrets.is_empty() {
            findings.wrong(
                "security.secrets_file",
                "there are `secrets` as well, and the first secret signs",
                "give only one of the two",
            );
        }
        security.secrets.extend(secrets(path, "security.secrets_file", findings));
    }
    if let Some(path) = &config.admin.token_file {
        if config.admin.token.is_some() {
            findings.wrong("admin.token_file", "there is a `token` as well", "give only one of the two");
        }
        let mut found = secrets(path, "admin.token_file", findings).into_iter();
        config.admin.token = found.next();
        if found.next().is_some() {
            findings.wrong("admin.token_file", "there are several lines", "write the token alone in it");
        }
    }
}

/// What is said of a secret that is none.
pub(super) const OPEN_TO_ALL: &str = "every user of this machine can read this file";

/// What to do about that.
pub(super) fn close(path: &Path) -> String {
    format!("chmod 600 {}, or 640 with a group of its own", path.display())
}

fn secrets(path: &Path, key: &str, findings: &mut Findings) -> Vec<Secret> {
    if open_to_all(path) {
        findings.doubtful(key, OPEN_TO_ALL, close(path));
    }
    match lines(path, MAX_SECRET_BYTES) {
        Ok(lines) if lines.is_empty() => findings.wrong(key, "there is no secret in it", "write one a line"),
        Ok(lines) => return lines.into_iter().map(|(_, line)| Secret::new(line)).collect(),
        Err(what) => findings.wrong(key, what, ""),
    }
    Vec::new()
}

/// The lines of a file with their numbers, without blank ones and those that begin with `#`.
fn lines(path: &Path, max_bytes: u64) -> Result<Vec<(usize, String)>, String> {
    let told = |what: String| format!("`{}` {what}", path.display());
    let file = fs::File::open(path).map_err(|e| told(format!("cannot be read: {e}")))?;
    let mut text = String::new();
    // a FIFO or /dev/zero has no size to ask for
    file.take(max_bytes + 1).read_to_string(&mut text).map_err(|e| told(format!("cannot be read: {e}")))?;
    if text.len() as u64 > max_bytes {
        return Err(told(format!("is longer than {max_bytes} bytes")));
    }
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    Ok(lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(n, line)| (n, line.to_owned())).collect())
}

#[cfg(unix)]
pub(super) fn open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
pub(super) fn open_to_all(_: &Path) -> bool {
    false
}
