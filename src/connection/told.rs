//! What a connection says of its device to a person who asks.

use std::sync::atomic::Ordering;

use protocols::event::{Body, Report};
use protocols::time::{Now, Timestamp};

use super::Connection;
use crate::down::view;

/// A degree of [`LastPlace`]: 1 cm on the ground, and the whole circle fits.
const DEGREE: f64 = 1e7;

/// The device's last position, in few bytes: each connection has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastPlace {
    received_at: Timestamp,
    time: Option<Timestamp>,
    latitude: i32,
    longitude: i32,
    valid: Option<bool>,
}

impl LastPlace {
    /// Of an event, if it tells where the device is now.
    pub(super) fn of(body: &Body, now: Now) -> Option<Self> {
        let report: &Report = match body {
            Body::Position(report) => report,
            Body::Order(order) => order.position.as_deref()?,
            Body::Driver(driver) => driver.position.as_deref()?,
            Body::Status(_) | Body::Alarm(_) | Body::Data(_) => return None,
        };
        let (latitude, longitude) = (report.latitude?, report.longitude?);
        (report.archived != Some(true)).then_some(Self {
            received_at: now.utc,
            time: report.time,
            latitude: (latitude * DEGREE) as i32,
            longitude: (longitude * DEGREE) as i32,
            valid: report.valid,
        })
    }
}

impl From<LastPlace> for view::Place {
    fn from(place: LastPlace) -> Self {
        let LastPlace { received_at, time, latitude, longitude, valid } = place;
        let degrees = |n: i32| f64::from(n) / DEGREE;
        Self { time, received_at, latitude: degrees(latitude), longitude: degrees(longitude), valid }
    }
}

impl Connection {
    /// How the device is.
    pub(super) fn told(&self) -> view::Connection {
        let received = self.connected.as_ref().map_or(0, |c| c.last_received.load(Ordering::Relaxed));
        let lag = self.session.desk().map(|desk| desk.lag()).filter(|lag| !lag.is_zero());
        view::Connection {
            last_received: Timestamp::from_millis(i64::try_from(received).unwrap_or(i64::MAX)),
            idle_s: self.port.idle.as_secs(),
            position: self.place.map(Into::into),
            lag_ms: lag.map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: i64) -> Now {
        Now { utc: Timestamp::from_seconds(seconds), uptime: Duration::ZERO }
    }

    #[test]
    fn a_place_is_kept_to_the_centimetre_and_stored_ones_do_not_count() {
        let report = Report {
            latitude: Some(-89.123_456_7),
            longitude: Some(179.999_999_9),
            time: Some(Timestamp::from_seconds(1)),
            valid: Some(true),
            ..Report::default()
        };
        let place: view::Place = LastPlace::of(&Body::Position(report.clone()), at(2)).unwrap().into();
        assert!((place.latitude + 89.123_456_7).abs() < 2e-7 && (place.longitude - 179.999_999_9).abs() < 2e-7, "{place:?}");
        assert_eq!((place.time, place.received_at), (Some(Timestamp::from_seconds(1)), Timestamp::from_seconds(2)));
        let stored = Report { archived: Some(true), ..report.clone() };
        assert!(LastPlace::of(&Body::Position(stored), at(2)).is_none());
        assert!(LastPlace::of(&Body::Status(report), at(2)).is_none());
    }

    #[test]
    fn a_place_is_small() {
        assert!(size_of::<Option<LastPlace>>() <= 40, "{}", size_of::<Option<LastPlace>>());
    }
}
