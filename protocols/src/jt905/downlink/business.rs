//! Orders on their way to the driver.

use super::fields::{Field, Packed, Phone, Sampled, Tail, Text, When, fields};
use crate::cursor::Cursor;
use crate::fault::Fault;
use crate::jt905::context::Context;
use crate::jt905::dialect::{self, Dialect};
use crate::time::Civil;

/// Types of orders.
pub(in crate::jt905) mod order_type {
    pub(in crate::jt905) const IMMEDIATE: u8 = 0;
    pub(in crate::jt905) const RESERVED: u8 = 1;
    pub(in crate::jt905) const ASSIGNED: u8 = 2;
}

fields! {
    /// 0x8B00. Neither who waits nor exactly where.
    Offer {
        business_id: u32 = 1001,
        /// See [`order_type`].
        order_type: u8 = order_type::IMMEDIATE,
        wanted: When = When(Some(Civil::from_six([26, 3, 1, 18, 30, 0]))),
        text: Tail = Tail(Text::new(b"Main St")),
    }

    /// 0x8B01 for the winner. Coordinates are zero where there are none; longitude comes first.
    Won {
        business_id: u32 = 1001,
        /// See [`order_type`].
        order_type: u8 = order_type::IMMEDIATE,
        wanted: When = When(None),
        pickup_longitude: u32 = 69_844_200,
        pickup_latitude: u32 = 23_942_400,
        destination_longitude: u32 = 0,
        destination_latitude: u32 = 0,
        /// Tenths of a yuan.
        fee: Packed<2> = Packed::new(50).unwrap_or_default(),
        phone: Phone = Phone(Text::new(b"13800001234")),
        text: Tail = Tail(Text::new(b"Main St 1")),
    }

    /// 0x8B01 for the winner as CTFO wrote it until October 2018.
    WonShort {
        business_id: u32 = 1001,
        order_type: u8 = order_type::IMMEDIATE,
        phone: Phone = Phone(Text::new(b"13800001234")),
        text: Tail = Tail(Text::new(b"Main St 1")),
    }

    /// 0x8B09, 0x8B08 and the part of 0x8B01 that a loser gets.
    Cancel {
        business_id: u32 = 1001,
    }
}

/// 0x8B01.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::jt905) enum Verdict {
    Won(Won),
    WonShort(WonShort),
    /// Nothing but the business id.
    Lost(Cancel),
}

/// Bytes of a loser's 0x8B01.
const LOST: usize = 4;

impl Field for Verdict {
    fn put(&self, out: &mut Vec<u8>, dialect: &Dialect) {
        match self {
            Self::Won(won) => won.put(out, dialect),
            Self::WonShort(won) => won.put(out, dialect),
            Self::Lost(lost) => lost.put(out, dialect),
        }
    }

    fn take(name: &str, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Self, Fault> {
        match (c.remaining(), context.dialect.won) {
            (LOST, _) => Cancel::take(name, c, context).map(Self::Lost),
            (_, dialect::Won::Full) => Won::take(name, c, context).map(Self::Won),
            (_, dialect::Won::Short) => WonShort::take(name, c, context).map(Self::WonShort),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn read(bytes: &[u8], dialect: &str) -> Result<Verdict, Fault> {
        let profile = Profile { dialect: Some(dialect.into()), ..Profile::default() };
        Verdict::take("verdict", &mut Cursor::new(bytes, 0, None), &Context::new(&profile))
    }

    #[test]
    fn four_bytes_are_a_loss_in_every_form() {
        let lost = Ok(Verdict::Lost(Cancel { business_id: 1001 }));
        for dialect in ["", "ctfo-2017", "uninew"] {
            assert_eq!(read(b"\0\0\x03\xe9", dialect), lost);
        }
        assert!(read(b"\0\0\x03", "").is_err());
        assert!(read(b"\0\0\x03\xe9\0", "").is_err());
    }

    #[test]
    fn the_dialect_says_which_win_it_is() {
        let body = b"\0\0\x03\xe9\x0013800001234\0Main St 1\0";
        assert_eq!(read(body, "ctfo-2017"), Ok(Verdict::WonShort(WonShort::sample())));
        assert!(read(&body[..20], "").is_err());
    }
}
