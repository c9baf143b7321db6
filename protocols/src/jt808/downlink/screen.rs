//! What the driver sees, hears and chooses from.

use super::fields::{Batch, List, Only2011, Since2019, Text, fields};

/// Bits of the flags of texts and questions.
pub(in crate::jt808) mod flag {
    /// It cannot wait (2019: the lower two bits are a kind: 1 service, 2 urgent, 3 notice).
    pub(in crate::jt808) const URGENT: u8 = 1;
    pub(in crate::jt808) const DISPLAY: u8 = 1 << 2;
    pub(in crate::jt808) const SPEAK: u8 = 1 << 3;
    /// Of the 2019 edition.
    pub(in crate::jt808) const SERVICE_2019: u8 = 1;
    /// Of the 2019 edition.
    pub(in crate::jt808) const URGENT_2019: u8 = 2;
}

fields! {
    /// 0x8300.
    Show {
        /// See [`flag`].
        flags: u8,
        /// 1 notice, 2 service.
        kind: Since2019<u8>,
        /// At most [`MAX_TEXT`] bytes.
        text: Text<0>,
    }

    /// A button of 0x8301.
    Button {
        id: u8,
        text: Text<1>,
    }

    /// 0x8301.
    Buttons {
        /// 0 delete all (and nothing follows), 1 replace, 2 append, 3 modify, 4 delete these.
        kind: u8,
        buttons: Option<Batch<Button>>,
    }

    /// A possible answer of 0x8302.
    Choice {
        id: u8,
        text: Text<2>,
    }

    /// 0x8302.
    Question {
        /// See [`flag`]; it has no bit for display, which goes without saying.
        flags: u8,
        text: Text<1>,
        choices: List<Choice, 0>,
    }

    /// An entry of 0x8303.
    MenuEntry {
        id: u8,
        text: Text<2>,
    }

    /// 0x8303.
    Menu {
        /// 0 delete all (and nothing follows), 1 replace, 2 append, 3 modify.
        kind: u8,
        entries: Option<Batch<MenuEntry>>,
    }

    /// 0x8304.
    Information {
        /// The menu entry that it belongs to.
        id: u8,
        /// Length of the whole text, of which this packet holds the beginning.
        total_bytes: Only2011<u16>,
        text: Text<2>,
    }
}

/// Longest text of 0x8300, in bytes of its charset.
pub(in crate::jt808) const MAX_TEXT: usize = 1024;
/// Longest question of 0x8302: its length has one byte.
pub(in crate::jt808) const MAX_QUESTION: usize = 255;
