//! The only place that reads clocks.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocols::time::{Now, Timestamp};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The wall clock, UTC.
pub(crate) fn utc() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Time since the start of the process, monotonic.
pub(crate) fn uptime() -> Duration {
    START.elapsed()
}

/// Both.
pub(crate) fn now() -> Now {
    Now { utc: utc(), uptime: uptime() }
}

/// The instant at which the monotonic clock shows this.
pub(crate) fn instant(uptime: Duration) -> Instant {
    *START + uptime
}
