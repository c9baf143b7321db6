//! What the end-to-end tests are made of: real processes, real sockets, and counts taken outside of the gateway.
//!
//! Nothing here sleeps for a time that should be enough. Everything waits for something to be true, up to a bound that only
//! a broken build reaches. No port is fixed.

pub(crate) mod authority;
pub(crate) mod backend;
pub(crate) mod cluster;
pub(crate) mod device;
pub(crate) mod fixtures;
pub(crate) mod gateway;
pub(crate) mod haproxy;
pub(crate) mod kafka;
pub(crate) mod load;
pub(crate) mod proxy_header;
pub(crate) mod schema;
pub(crate) mod taxi;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long anything that should happen may take, on a machine that is busy with other things: a killed broker is away for
/// up to 25 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The wall clock.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Wait until there is something.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    patiently(look).unwrap_or_else(|| panic!("waited {} s for {what}", PATIENCE.as_secs()))
}

/// The same, for those who have more to say about what did not come.
pub(crate) fn patiently<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= end {
            return found;
        }
        thread::sleep(GLANCE);
    }
}

/// A port that nobody listened on a moment ago, for programs that cannot say which one the system gave them. Whoever uses
/// it must be ready to try another one.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Send a signal to a process of ours.
pub(crate) fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// A file of the repository.
pub(crate) fn repository(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// A name that no other test and no other run uses.
pub(crate) fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
