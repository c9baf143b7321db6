//! Receipts: what ties a device's acknowledgement to storage.
//!
//! Each connection with frames in flight holds a slot with a window of [`WINDOW`] frames. A record travels to the store with
//! a [`Token`] that names slot, generation and place in the window; the store's report comes back with it, in any order. The
//! connection acknowledges the longest prefix whose frames are stored. No allocation per frame: a bit set and a few counters.
//!
//! A connection that ends with frames in flight leaves its slot behind; the last report frees it, so the accounting of those
//! frames is never lost, and a late report can never reach a later owner.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use protocols::session::WINDOW;

use crate::ledger::{Ledger, Settled};

/// Slots are made in blocks of this many and never freed: a block is 400 KiB.
const BLOCK: usize = 1024;
/// Blocks: a million connections with frames in flight, ten times what one instance is meant to hold.
const BLOCKS: usize = 1024;

const INDEX_BITS: u32 = 6;
const PROTOCOL_BITS: u32 = 8;
const SLOT_BITS: u32 = 21;
const GENERATION_BITS: u32 = 28;
/// No connection waits for the report; the index bits then hold the fate.
const NO_SLOT: u64 = (1 << SLOT_BITS) - 1;

/// What a record carries through the store and back.
///
/// From the low end: place in the window (6 bits), protocol (8), slot (21), generation (28), refused (1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

impl Token {
    /// A record that no frame's accounting waits for.
    pub(crate) const NONE: Self = Self(u64::MAX);
    const REFUSED: u64 = 1 << 63;

    fn new(index: u8, protocol: usize, slot: u64, generation: u32) -> Self {
        let generation = u64::from(generation) & ((1 << GENERATION_BITS) - 1);
        Self(
            u64::from(index)
                | (protocol as u64) << INDEX_BITS
                | slot << (INDEX_BITS + PROTOCOL_BITS)
                | generation << (INDEX_BITS + PROTOCOL_BITS + SLOT_BITS),
        )
    }

    /// A record whose frame is accounted for by its report alone: nothing is acknowledged.
    pub(crate) fn unacknowledged(protocol: usize, settled: Settled) -> Self {
        Self::new(settled.code(), protocol, NO_SLOT, 0)
    }

    /// The same frame, by the reject that stands for a record that the store refused.
    pub(crate) const fn refused(self) -> Self {
        Self(self.0 | Self::REFUSED)
    }

    const fn is_refused(self) -> bool {
        self.0 & Self::REFUSED != 0
    }

    const fn index(self) -> u8 {
        (self.0 & ((1 << INDEX_BITS) - 1)) as u8
    }

    /// Index of the protocol in the registry.
    pub(crate) const fn protocol(self) -> usize {
        (self.0 >> INDEX_BITS & ((1 << PROTOCOL_BITS) - 1)) as usize
    }

    const fn slot(self) -> u64 {
        self.0 >> (INDEX_BITS + PROTOCOL_BITS) & NO_SLOT
    }

    const fn generation(self) -> u32 {
        (self.0 >> (INDEX_BITS + PROTOCOL_BITS + SLOT_BITS) & ((1 << GENERATION_BITS) - 1)) as u32
    }
}

#[derive(Debug)]
struct Slot {
    generation: AtomicU32,
    /// Frames with records out, plus one while a connection holds the slot; at 0 the slot is free.
    holders: AtomicU32,
    /// Records not yet reported, by place.
    pending: [AtomicU32; WINDOW],
    /// [`Settled::code`] by place.
    settled: [AtomicU8; WINDOW],
    /// Frames all of whose records are reported.
    done: AtomicU64,
    /// Frames with a record that the store refused.
    refused: AtomicU64,
    waker: AtomicWaker,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            generation: AtomicU32::new(0),
            holders: AtomicU32::new(0),
            pending: [const { AtomicU32::new(0) }; WINDOW],
            settled: [const { AtomicU8::new(0) }; WINDOW],
            done: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            waker: AtomicWaker::new(),
        }
    }
}

/// All slots of the process.
#[derive(Debug)]
pub(crate) struct Receipts {
    blocks: Vec<OnceLock<Box<[Slot]>>>,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    slots: Vec<u32>,
    made: u32,
}

impl Default for Receipts {
    fn default() -> Self {
        Self { blocks: (0..BLOCKS).map(|_| OnceLock::new()).collect(), free: Mutex::default() }
    }
}

impl Receipts {
    fn slot(&self, number: u64) -> Option<&Slot> {
        let number = usize::try_from(number).ok()?;
        self.blocks.get(number / BLOCK)?.get()?.get(number % BLOCK)
    }

    /// Take a slot; `None` if a million are taken.
    fn take(&self) -> Option<u32> {
        let mut free = self.free.lock();
        if let Some(number) = free.slots.pop() {
            return Some(number);
        }
        let number = free.made;
        let block = self.blocks.get(number as usize / BLOCK)?;
        block.get_or_init(|| (0..BLOCK).map(|_| Slot::default()).collect());
        free.made += 1;
        Some(number)
    }

    /// The store reports a record as durable.
    pub(crate) fn report(&self, token: Token, ledger: &Ledger) {
        if token == Token::NONE {
            return;
        }
        if token.slot() == NO_SLOT {
            return ledger.settle(token.protocol(), Settled::from_code(token.index()));
        }
        let Some(slot) = self.slot(token.slot()) else { return };
        if slot.generation.load(Ordering::Acquire) & ((1 << GENERATION_BITS) - 1) != token.generation() {
            return; // of an earlier owner; cannot happen while slots outlive their records, and would be harmless
        }
        let place = usize::from(token.index());
        let bit = 1 << place;
        if token.is_refused() {
            slot.refused.fetch_or(bit, Ordering::Relaxed);
        }
        if slot.pending[place].fetch_sub(1, Ordering::AcqRel) == 1 {
            let refused = slot.refused.load(Ordering::Relaxed) & bit != 0;
            let settled = Settled::from_code(slot.settled[place].load(Ordering::Relaxed));
            ledger
                .settle(token.protocol(), if refused { Settled::Rejected(protocols::fault::FaultKind::Refused) } else { settled });
            slot.done.fetch_or(bit, Ordering::Release);
            if self.let_go(slot, token.slot() as u32) {
                slot.waker.wake();
            }
        }
    }

    /// A record will never be handed over, since its connection has ended: its frame counts as dropped.
    pub(crate) fn cancel(&self, token: Token, ledger: &Ledger) {
        if token != Token::NONE && token.slot() != NO_SLOT {
            if let Some(slot) = self.slot(token.slot()) {
                slot.settled[usize::from(token.index())].store(Settled::Dropped.code(), Ordering::Relaxed);
            }
            self.report(token, ledger);
        } else if token != Token::NONE {
            ledger.settle(token.protocol(), Settled::Dropped);
        }
    }

    /// One holder less; says whether somebody still holds it.
    fn let_go(&self, slot: &Slot, number: u32) -> bool {
        if slot.holders.fetch_sub(1, Ordering::AcqRel) > 1 {
            return true;
        }
        slot.generation.fetch_add(1, Ordering::Release);
        slot.waker.take();
        self.free.lock().slots.push(number);
        false
    }
}

/// How an entry of the window ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Everything is durable, or there was nothing to store.
    Stored,
    /// A record was refused; the reject that says so is durable.
    Refused,
    /// Nothing is to be acknowledged.
    Dropped,
}

/// The window of one connection: frames in the order received, of which a prefix may have ended.
#[derive(Debug, Default)]
pub(crate) struct Window {
    slot: Option<(u32, u32)>,
    /// Place of the oldest frame.
    head: u8,
    used: u8,
    /// Frames without records, ended at once; by place.
    idle: u64,
    dropped: u64,
}

impl Window {
    /// Frames in it.
    pub(crate) const fn len(&self) -> usize {
        self.used as usize
    }

    /// Whether nothing is waited for.
    pub(crate) const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Whether no further frame fits.
    pub(crate) const fn is_full(&self) -> bool {
        self.len() == WINDOW
    }

    /// A frame with so many records to come; returns the token for each of them. `None` if no slot is to be had.
    pub(crate) fn push(&mut self, receipts: &Receipts, protocol: usize, records: u32, settled: Settled) -> Option<Token> {
        debug_assert!(!self.is_full() && records > 0);
        let (number, generation) = self.hold(receipts)?;
        let slot = receipts.slot(u64::from(number))?;
        let place = self.enter();
        let bit = 1 << place;
        slot.done.fetch_and(!bit, Ordering::Relaxed);
        slot.refused.fetch_and(!bit, Ordering::Relaxed);
        slot.settled[usize::from(place)].store(settled.code(), Ordering::Relaxed);
        slot.pending[usize::from(place)].store(records, Ordering::Relaxed);
        slot.holders.fetch_add(1, Ordering::Release);
        Some(Token::new(place, protocol, u64::from(number), generation))
    }

    /// A frame that needs no storage, or whose reject was dropped: it waits only for its turn.
    pub(crate) fn push_ended(&mut self, dropped: bool) {
        let place = self.enter();
        self.idle |= 1 << place;
        if dropped {
            self.dropped |= 1 << place;
        }
    }

    /// Take the oldest frame if it has ended. Gives the slot back when the window runs empty.
    pub(crate) fn pop(&mut self, receipts: &Receipts) -> Option<Ended> {
        if self.is_empty() {
            return None;
        }
        let bit = 1_u64 << self.head;
        let ended = if self.idle & bit != 0 {
            if self.dropped & bit != 0 { Ended::Dropped } else { Ended::Stored }
        } else {
            let slot = receipts.slot(u64::from(self.slot?.0))?;
            if slot.done.load(Ordering::Acquire) & bit == 0 {
                return None;
            }
            if slot.refused.load(Ordering::Relaxed) & bit != 0 { Ended::Refused } else { Ended::Stored }
        };
        self.idle &= !bit;
        self.dropped &= !bit;
        self.head = (self.head + 1) % WINDOW as u8;
        self.used -= 1;
        if self.is_empty() {
            self.abandon(receipts);
        }
        Some(ended)
    }

    /// Be woken when a frame of the window ends.
    pub(crate) fn register(&self, receipts: &Receipts, waker: &Waker) {
        if let Some(slot) = self.slot.and_then(|(number, _)| receipts.slot(u64::from(number))) {
            slot.waker.register(waker);
        }
    }

    /// Wait for nothing any more; reports still to come keep the accounting right by themselves.
    pub(crate) fn abandon(&mut self, receipts: &Receipts) {
        if let Some((number, _)) = self.slot.take()
            && let Some(slot) = receipts.slot(u64::from(number))
        {
            receipts.let_go(slot, number);
        }
        *self = Self::default();
    }

    fn hold(&mut self, receipts: &Receipts) -> Option<(u32, u32)> {
        if self.slot.is_none() {
            let number = receipts.take()?;
            let slot = receipts.slot(u64::from(number))?;
            slot.holders.fetch_add(1, Ordering::AcqRel);
            self.slot = Some((number, slot.generation.load(Ordering::Acquire)));
        }
        self.slot
    }

    fn enter(&mut self) -> u8 {
        let place = (self.head + self.used) % WINDOW as u8;
        self.used += 1;
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols::fault::FaultKind;

    fn frame(window: &mut Window, receipts: &Receipts, ledger: &Ledger, records: u32) -> Token {
        ledger.count(0, |c| {
            c.received += 1;
            c.in_flight += 1;
        });
        window.push(receipts, 0, records, Settled::Stored).unwrap()
    }

    #[test]
    fn the_prefix_moves_on_whatever_the_order_of_reports() {
        let (receipts, ledger, mut window) = (Receipts::default(), Ledger::default(), Window::default());
        let a = frame(&mut window, &receipts, &ledger, 1);
        let b = frame(&mut window, &receipts, &ledger, 2);
        window.push_ended(false);
        let c = frame(&mut window, &receipts, &ledger, 1);
        receipts.report(c, &ledger);
        receipts.report(b, &ledger);
        assert_eq!(window.pop(&receipts), None);
        receipts.report(a, &ledger);
        assert_eq!(window.pop(&receipts), Some(Ended::Stored));
        assert_eq!(window.pop(&receipts), None, "b has one record left");
        receipts.report(b, &ledger);
        assert_eq!([window.pop(&receipts), window.pop(&receipts), window.pop(&receipts)], [Some(Ended::Stored); 3]);
        assert_eq!(window.pop(&receipts), None);
        assert!(window.is_empty());
        assert_eq!((ledger.total().stored, ledger.total().in_flight), (3, 0));
    }

    #[test]
    fn the_window_wraps_and_slots_are_reused() {
        let (receipts, ledger, mut window) = (Receipts::default(), Ledger::default(), Window::default());
        for round in 0..5 {
            let tokens: Vec<_> = (0..WINDOW).map(|_| frame(&mut window, &receipts, &ledger, 1)).collect();
            assert!(window.is_full());
            tokens.iter().rev().for_each(|t| receipts.report(*t, &ledger));
            let keep = round % 3;
            for _ in keep..WINDOW {
                assert_eq!(window.pop(&receipts), Some(Ended::Stored));
            }
            while window.pop(&receipts).is_some() {}
        }
        assert_eq!(receipts.free.lock().made, 1);
    }

    #[test]
    fn an_abandoned_window_is_still_accounted_for_and_never_reaches_a_later_owner() {
        let (receipts, ledger) = (Receipts::default(), Ledger::default());
        let mut first = Window::default();
        let late = frame(&mut first, &receipts, &ledger, 1);
        first.abandon(&receipts);
        let mut second = Window::default();
        let own = frame(&mut second, &receipts, &ledger, 1);
        assert_ne!(own.slot(), late.slot(), "the slot is not free before its last report");
        receipts.report(late, &ledger);
        assert_eq!(second.pop(&receipts), None);
        receipts.report(own, &ledger);
        assert_eq!(second.pop(&receipts), Some(Ended::Stored));
        assert_eq!((ledger.total().stored, ledger.total().in_flight), (2, 0));
        // a report that comes twice is of an earlier generation and changes nothing
        let mut third = Window::default();
        let other = frame(&mut third, &receipts, &ledger, 1);
        receipts.report(own, &ledger);
        receipts.report(late, &ledger);
        assert_eq!(third.pop(&receipts), None);
        receipts.report(other, &ledger);
        assert_eq!(third.pop(&receipts), Some(Ended::Stored));
    }

    #[test]
    fn refusals_and_drops_are_told_apart() {
        let (receipts, ledger, mut window) = (Receipts::default(), Ledger::default(), Window::default());
        let a = frame(&mut window, &receipts, &ledger, 2);
        window.push_ended(true);
        receipts.report(a, &ledger);
        receipts.report(a.refused(), &ledger);
        assert_eq!(window.pop(&receipts), Some(Ended::Refused));
        assert_eq!(window.pop(&receipts), Some(Ended::Dropped));
        assert_eq!(ledger.total().rejected[FaultKind::Refused.index()], 1);
        receipts.report(Token::NONE, &ledger);
        let half = frame(&mut window, &receipts, &ledger, 2);
        receipts.report(half, &ledger);
        receipts.cancel(half, &ledger);
        assert_eq!(ledger.total().dropped[crate::ledger::Dropped::Closing as usize], 1);
        ledger.count(0, |c| c.in_flight += 1);
        receipts.report(Token::unacknowledged(0, Settled::Rejected(FaultKind::Garbage)), &ledger);
        assert_eq!(ledger.total().rejected[FaultKind::Garbage.index()], 1);
    }
}
