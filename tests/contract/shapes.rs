//! The records whose values only the gateway builds, for their schemas. That it builds them so, the end-to-end tests check.
#![allow(dead_code, reason = "only their schemas are used")]

use protocols::desk::{DriverNow, OpenOrder, Screen};
use protocols::fault::FaultKind;
use protocols::time::Timestamp;
use schemars::JsonSchema;

/// Bytes that could not be used, with the reason. Without a key before a device is known.
#[derive(JsonSchema)]
pub(crate) struct Reject {
    /// The device, once known.
    device_id: Option<String>,
    /// The protocol, once known.
    protocol: Option<String>,
    /// Of a connection whose protocol is not known: what the bytes look like.
    guess: Option<String>,
    /// The session: 16 hex digits.
    session: Option<String>,
    /// Which instance.
    gateway: String,
    /// The device's own address and port, also behind a proxy.
    peer: String,
    /// When the bytes came, UTC.
    received_at: Timestamp,
    /// Why they could not be used.
    reason: FaultKind,
    /// Where in the frame the trouble is, as the protocol counts its bytes.
    offset: u64,
    /// For a person: expected and found.
    detail: String,
    /// The first 4096 bytes as received.
    #[schemars(regex(pattern = "^([0-9a-f]{2}){0,4096}$"))]
    hex: String,
    /// How many bytes there were.
    length: u64,
}

/// Raw bytes of a device, as they were read or written at once, while somebody captures them.
#[derive(JsonSchema)]
pub(crate) struct Frame {
    /// The device, once known.
    device_id: Option<String>,
    /// The protocol of the port.
    protocol: String,
    /// The session: 16 hex digits.
    session: String,
    /// Which instance.
    gateway: String,
    /// The device's own address and port, also behind a proxy.
    peer: String,
    /// When they came or went, UTC.
    at: Timestamp,
    /// `up` from the device, `down` to it.
    direction: Direction,
    /// Number of the capture on its instance.
    capture: u64,
    /// The bytes.
    #[schemars(regex(pattern = "^([0-9a-f]{2})+$"))]
    hex: String,
    /// How many there are.
    length: u64,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Direction {
    Up,
    Down,
}

/// The present state of a device; the newest record of a key counts, and a record without a value ends it.
#[derive(JsonSchema)]
pub(crate) struct Session {
    /// Whether it is connected.
    state: State,
    /// Since when it is so.
    since: Timestamp,
    /// The instance that holds the device, or held it last.
    gateway: String,
    /// Tells apart the lives of an instance.
    boot: String,
    /// Where other instances reach it.
    address: Option<String>,
    /// Of two records of a device the one with the higher epoch is newer; below 2^53.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    epoch: u64,
    /// The session: 16 hex digits.
    session: String,
    /// The protocol.
    protocol: String,
    /// The device's own address and port, also behind a proxy.
    peer: String,
    /// Who is signed on; absent: nobody that we know of.
    driver: Option<DriverNow>,
    /// Orders offered to it or won by it that have not ended; never passenger data. Absent: none.
    open_orders: Option<Vec<OpenOrder>>,
    /// What was installed on its screen, and what that does not know. Absent: nothing known.
    screen: Option<Screen>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum State {
    Connected,
    Away,
}
