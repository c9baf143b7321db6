//! A trip as the meter recorded it: 0x0B05, and the same record in the meter's own messages that are passed through.

use nom::number::complete::{be_u8, be_u16, be_u32};

use super::context::{Context, decimal, duration, metres, packed, said};
use super::message::{Content, Told, word};
use super::position;
use super::shift::{CERTIFICATE, LICENCE};
use crate::cursor::{Cursor, hex};
use crate::event::{Actor, Attributes, Money, Order, OrderAction};
use crate::fault::Fault;
use crate::parts::bcd;
use crate::parts::report::as_values;
use crate::time::{Civil, Timestamp};

static EVALUATIONS: &[(u8, &str)] = &[(0, "none"), (1, "good"), (2, "fair"), (3, "bad"), (4, "complaint")];
static PAYMENTS: &[(u8, &str)] = &[(0, "cash"), (1, "m1_card"), (3, "cpu_card"), (9, "other")];

/// Bytes of a meter's record behind the plate and before what a card says.
const BEHIND_PLATE: usize = 60;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// A meter's record.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) certificate: Option<String>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) distance_m: Option<f64>,
    pub(super) waiting_s: Option<u32>,
    pub(super) fare: Option<Money>,
    /// Everything else.
    pub(super) values: Attributes,
}

/// 0x0B05.
pub(super) fn read<'f>(c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Told<'f>, Fault> {
    let mut trip = Box::new(Order::of(OrderAction::Trip, Actor::Device));
    let boarding = position::read(c, context)?;
    let alighting = position::read(c, context)?;
    trip.attributes.set("trip_id", c.read("trip_id", be_u32)?);
    let evaluation_id = c.read("evaluation_id", be_u32)?;
    let evaluation = c.read("evaluation", be_u8)?;
    c.note(|| format!("{:?}", word(evaluation, EVALUATIONS)));
    let extension = c.read("evaluation_extension", be_u16)?;
    if (evaluation_id, evaluation) != (0, 0) {
        trip.attributes.set("evaluation", word(evaluation, EVALUATIONS));
        trip.attributes.set("evaluation_id", evaluation_id);
    }
    if extension != 0 {
        trip.attributes.set("evaluation_extension", extension);
    }
    let business = c.read("business_id", be_u32)?;
    c.note(|| if business == 0 { "hailed in the street" } else { "dispatched" });
    if has_record(c.rest(), context) {
        let record = record(c, context)?;
        (trip.started_at, trip.ended_at) = (record.started_at, record.ended_at);
        (trip.distance_m, trip.waiting_s, trip.fare) = (record.distance_m, record.waiting_s, record.fare);
        trip.driver_id = record.certificate;
        for (name, value) in record.values.iter() {
            trip.attributes.set(name.to_owned(), value.clone());
        }
    } else if c.remaining() > 0 {
        trip.attributes.set("meter_data", hex(c.take_rest("meter_data")));
    }
    let dated = boarding.time.is_some() || alighting.time.is_some() || trip.started_at.is_some();
    trip.attributes.set("boarding", as_values(&boarding));
    trip.position = Some(alighting);
    Ok(Told { content: Content::Order(trip, (business != 0).then_some(business)), dated })
}

/// Whether bytes are long enough to be a meter's record.
pub(super) fn has_record(bytes: &[u8], context: &Context<'_>) -> bool {
    bytes.len() >= context.dialect.meter_plate + BEHIND_PLATE
}

/// A meter's record; what is left over is what a card says.
pub(super) fn record(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Record, Fault> {
    let mut record = Record::default();
    let kept = &mut record.values;
    let plate = said(c, "plate", context.dialect.meter_plate, context)?;
    plate.into_iter().for_each(|plate| kept.set("plate", plate));
    let licence = said(c, "company_licence", LICENCE, context)?;
    licence.into_iter().for_each(|licence| kept.set("company_licence", licence));
    record.certificate = said(c, "certificate", CERTIFICATE, context)?;
    let (boarded, alighted) = (c.bytes("boarding", 5)?, c.bytes("alighting", 2)?);
    (record.started_at, record.ended_at) = times(boarded, alighted, context);
    c.note(|| record.ended_at.map_or_else(|| "no time".to_owned(), |t| t.to_string()));
    if record.started_at.is_none() && boarded.iter().any(|b| *b != 0) {
        kept.set("boarding_raw", hex(boarded));
    }
    if record.ended_at.is_none() && alighted.iter().any(|b| *b != 0) {
        kept.set("alighting_raw", hex(alighted));
    }
    record.distance_m = metres(c, "distance_0.1_km", 3, kept)?;
    let empty = metres(c, "empty_distance_0.1_km", 2, kept)?;
    empty.into_iter().for_each(|m| kept.set("empty_distance_m", m));
    if let Some(tenths) = packed(c, "surcharge_0.1_yuan", 3, kept)? {
        kept.set("surcharge_yuan", decimal(tenths, 1));
    }
    record.waiting_s = duration(c, "waiting_hhmm", 2, kept)?;
    record.fare = packed(c, "amount_0.1_yuan", 3, kept)?.map(|tenths| context.money(tenths));
    kept.set("trip_number", c.read("trip_number", be_u32)?);
    let payment = word(c.read("payment", be_u8)?, PAYMENTS);
    c.note(|| format!("{payment:?}"));
    kept.set("payment", payment);
    if c.remaining() > 0 {
        kept.set("card_data", hex(c.take_rest("card_data")));
    }
    Ok(record)
}

/// `YYMMDDhhmm`, and `hhmm` of the same day, or of the next if it is earlier.
fn times(boarded: &[u8], alighted: &[u8], context: &Context<'_>) -> (Option<Timestamp>, Option<Timestamp>) {
    let (&[year, month, day, hour, minute], &[end_hour, end_minute]) = (boarded, alighted) else {
        return (None, None);
    };
    let Some(start) = bcd::civil(&[year, month, day, hour, minute, 0]) else {
        return (None, None);
    };
    let started = context.at(start);
    let (Some(hour), Some(minute)) = (bcd::byte(end_hour), bcd::byte(end_minute)) else {
        return (started, None);
    };
    let end = context.at(Civil { hour, minute, ..start });
    let next_day = (hour, minute) < (start.hour, start.minute);
    (started, end.filter(|_| started.is_some()).map(|t| if next_day { t.plus_millis(DAY_MS) } else { t }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::unhex;
    use crate::profile::Profile;

    const BOARDING: &str = "00000000 00000100 016d5500 0429bce8 0000 00 260301235000";
    const ALIGHTING: &str = "00000000 00000300 016d5501 0429bce9 0000 00 260302001500";

    fn place(text: &str) -> Vec<u8> {
        let bytes = unhex(text).unwrap();
        assert_eq!(bytes.len(), position::LENGTH);
        bytes
    }

    fn meter(alighting: &str) -> Vec<u8> {
        let mut block = b"BT0001110000001\0\0\0\0\0\0\x00110101199001010000\0".to_vec();
        block.extend(unhex("2603012350").unwrap());
        block.extend(unhex(alighting).unwrap());
        block.extend(unhex("000123 0056 000010 0130 000235 00000c01 00").unwrap());
        block
    }

    fn body(business: u32, evaluation: &str, meter: &[u8]) -> Vec<u8> {
        let mut body = [place(BOARDING), place(ALIGHTING)].concat();
        body.extend(unhex("35f53a40").unwrap());
        body.extend(unhex(evaluation).unwrap());
        body.extend(business.to_be_bytes());
        body.extend(meter);
        body
    }

    fn trip(body: &[u8], profile: &Profile) -> (serde_json::Value, Option<u32>) {
        match read(&mut Cursor::new(body, 0, None), &Context::new(profile)).unwrap().content {
            Content::Order(order, business) => (serde_json::to_value(order).unwrap(), business),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn accepts_a_dispatched_trip_over_midnight() {
        let profile = Profile { currency: Some("CNY".into()), ..Profile::default() };
        let (t, business) = trip(&body(1001, "00000007 01 0000", &meter("0015")), &profile);
        assert_eq!(business, Some(1001));
        assert_eq!((t["action"].as_str(), t["actor"].as_str()), (Some("trip"), Some("device")));
        assert_eq!(t["driver_id"], "110101199001010000");
        assert_eq!(t["fare"], serde_json::json!({"amount": "23.5", "currency": "CNY"}));
        assert_eq!((t["distance_m"].as_f64(), t["waiting_s"].as_u64()), (Some(12_300.0), Some(5400)));
        assert_eq!(
            (t["started_at"].as_str(), t["ended_at"].as_str()),
            (Some("2026-03-01T15:50:00.000Z"), Some("2026-03-01T16:15:00.000Z"))
        );
        assert_eq!(
            (t["position"]["occupied"].as_bool(), t["attributes"]["boarding"]["occupied"].as_bool()),
            (Some(true), Some(false))
        );
        let attributes = &t["attributes"];
        assert_eq!((attributes["evaluation"].as_str(), attributes["evaluation_id"].as_u64()), (Some("good"), Some(7)));
        assert_eq!((attributes["empty_distance_m"].as_f64(), attributes["surcharge_yuan"].as_str()), (Some(5600.0), Some("1.0")));
        assert_eq!((attributes["trip_number"].as_u64(), attributes["payment"].as_str()), (Some(3073), Some("cash")));
    }

    #[test]
    fn accepts_a_street_trip_and_what_a_card_says() {
        let card = [meter("2359"), vec![0xAB, 0xCD]].concat();
        let (t, business) = trip(&body(0, "00000000 00 0000", &card), &Profile::default());
        assert_eq!((business, t["attributes"]["card_data"].as_str()), (None, Some("abcd")));
        assert_eq!((t["ended_at"].as_str(), t["attributes"].get("evaluation")), (Some("2026-03-01T15:59:00.000Z"), None));
        assert_eq!(t["fare"], serde_json::json!({"amount": "23.5"}));
    }

    #[test]
    fn a_longer_plate_is_a_dialect() {
        let mut block = meter("2359");
        block.splice(6..6, *b"\0\0\0");
        let profile = Profile { dialect: Some("plate-9".into()), ..Profile::default() };
        let (t, _) = trip(&body(0, "00000000 00 0000", &block), &profile);
        assert_eq!((t["driver_id"].as_str(), t["attributes"]["plate"].as_str()), (Some("110101199001010000"), Some("BT0001")));
    }

    #[test]
    fn a_record_that_is_cut_off_stays_as_it_came() {
        let (t, _) = trip(&body(5, "00000000 00 0000", b"\x01\x02\x03\x04\x05"), &Profile::default());
        assert_eq!((t["attributes"]["meter_data"].as_str(), t.get("fare")), (Some("0102030405"), None));
    }

    #[test]
    fn refuses_half_a_trip() {
        let (body, profile) = (body(5, "00000000 00 0000", b""), Profile::default());
        for n in 0..body.len() {
            assert!(read(&mut Cursor::new(&body[..n], 0, None), &Context::new(&profile)).is_err(), "{n}");
        }
    }

    #[test]
    fn times_that_are_none_stay_as_they_came() {
        let mut block = meter("9999");
        let (t, _) = trip(&body(0, "00000000 00 0000", &block), &Profile::default());
        assert_eq!((t.get("ended_at"), t["attributes"]["alighting_raw"].as_str()), (None, Some("9999")));
        block[41] = 0xFF;
        let (t, _) = trip(&body(0, "00000000 00 0000", &block), &Profile::default());
        assert_eq!((t.get("started_at"), t["attributes"]["boarding_raw"].as_str()), (None, Some("ff03012350")));
    }
}
