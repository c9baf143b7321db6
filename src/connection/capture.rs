//! Bytes for whoever captures them. While nobody does, a connection pays for one relaxed load.

use std::sync::Arc;

use protocols::time::Now;

use super::Connection;
use crate::capture::{Direction, Tap, Whose};
use crate::gateway::Gateway;

impl Connection {
    /// Bytes came from the device or go to it.
    pub(super) fn tapped(&mut self, direction: Direction, bytes: &[u8], now: Now) {
        if self.tap.is_some() || self.gateway.captures.version() != 0 {
            self.record(direction, bytes, now);
        }
    }

    #[cold]
    fn record(&mut self, direction: Direction, bytes: &[u8], now: Now) {
        self.with_tap(|tap, gateway, whose| tap.record(&gateway.captures, whose, direction, bytes, now.utc));
        if self.gateway.captures.version() == 0 {
            self.tap = None;
        }
    }

    /// The device is known from here on.
    pub(super) fn tap_identified(&mut self) {
        if self.tap.is_some() {
            self.with_tap(|tap, gateway, whose| tap.identified(&gateway.captures, whose));
        }
    }

    fn with_tap(&mut self, act: impl FnOnce(&mut Tap, &Gateway, &Whose<'_>)) {
        let mut tap = self.tap.take().unwrap_or_else(|| Box::new(Tap::new()));
        let gateway = Arc::clone(&self.gateway);
        let device = self.connected.as_ref().and_then(|_| self.session.device_id());
        act(&mut tap, &gateway, &Whose { session: self.id, peer: self.peer, port: &self.port, device });
        self.tap = Some(tap);
    }
}
