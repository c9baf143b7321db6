//! A small fleet that reports without a pause, and a ledger outside of the gateway of what it was acknowledged for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::device::{Device, Line};
use super::until;

/// Between two tries to connect; a real unit waits longer.
const RECONNECT: Duration = Duration::from_millis(50);

/// What was acknowledged: device and time of the position.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<BTreeSet<(String, String)>>>);

impl Ledger {
    pub(crate) fn note(&self, device: &Device, time: String) {
        assert!(self.0.lock().unwrap().insert((device.id.clone(), time)), "acknowledged twice");
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Wait for so many acknowledgements more than now.
    pub(crate) fn wait_for_more(&self, n: usize) {
        let wanted = self.len() + n;
        until("more acknowledgements", || (self.len() >= wanted).then_some(()));
    }

    /// What was acknowledged and is not among these events.
    pub(crate) fn missing<'v>(&self, events: impl IntoIterator<Item = &'v Value>) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let stored: BTreeSet<_> = events.into_iter().map(|e| (text(&e["device_id"]), text(&e["position"]["time"]))).collect();
        self.0.lock().unwrap().difference(&stored).cloned().collect()
    }
}

/// Devices that report until stopped, each on a thread of its own; they connect again whenever they are cut off.
pub(crate) struct Fleet {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    pub(crate) ledger: Ledger,
}

impl Fleet {
    /// Start these devices; each connects to the address of its protocol.
    pub(crate) fn start(devices: impl IntoIterator<Item = Device>, address: impl Fn(&str) -> SocketAddr) -> Self {
        let (stop, ledger) = (Arc::new(AtomicBool::new(false)), Ledger::default());
        let drive = |device: Device| {
            let (to, stop, ledger) = (address(device.protocol), Arc::clone(&stop), ledger.clone());
            std::thread::spawn(move || drive(device, to, &stop, &ledger))
        };
        let threads = devices.into_iter().map(drive).collect();
        Self { stop, threads, ledger }
    }

    /// Stop them after their last acknowledgement, and give the ledger.
    pub(crate) fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|t| t.join().unwrap());
        self.ledger
    }
}

fn drive(mut device: Device, to: SocketAddr, stop: &AtomicBool, ledger: &Ledger) {
    while !stop.load(Ordering::Relaxed) {
        let connected = Line::connect(to).and_then(|mut line| line.sign_on(&mut device).map(|()| line));
        if let Ok(mut line) = connected {
            while !stop.load(Ordering::Relaxed) {
                match line.report(&mut device) {
                    Ok(time) => ledger.note(&device, time),
                    Err(_) => break,
                }
            }
        }
        std::thread::sleep(RECONNECT);
    }
}

/// The count is worth something only if it can fail.
#[test]
fn the_ledger_names_what_is_missing() {
    let ledger = Ledger::default();
    let device = Device::new("jt808", 1);
    for time in ["t1", "t2"] {
        ledger.note(&device, time.to_owned());
    }
    let event = |time: &str| serde_json::json!({"device_id": device.id, "position": {"time": time}});
    assert_eq!(ledger.missing(&[event("t1"), event("t1"), event("t3")]), [(device.id.clone(), "t2".to_owned())]);
    assert_eq!(ledger.missing(&[event("t1"), event("t2")]), []);
}
