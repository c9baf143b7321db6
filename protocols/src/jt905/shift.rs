//! A driver's shift: sign-on 0x0B03 and sign-off 0x0B04, as the meter's card reader and the terminal tell them.

use nom::number::complete::{be_u8, be_u32};

use super::context::{self, Context, decimal, duration, metres, packed, said};
use super::message::{Content, Told, word};
use super::position;
use crate::cursor::{Cursor, hex};
use crate::event::{Driver, DriverAction, Shift};
use crate::fault::Fault;

/// Bytes of the company's licence, the driver's certificate and the plate without its Chinese character.
pub(super) const LICENCE: usize = 16;
pub(super) const CERTIFICATE: usize = 19;
pub(super) const PLATE: usize = 6;

/// 0x0B03. Uninew sends all fields twice: what follows the first is the extension.
pub(super) fn sign_on<'f>(c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Told<'f>, Fault> {
    let (mut driver, dated) = who(DriverAction::SignOn, c, context)?;
    // an order may hang on who drives, and nothing on when the meter was switched on
    if c.remaining() >= 6 {
        let mut kept = std::mem::take(&mut driver.attributes);
        if let Some(time) = context::shift_time(c, "meter_on_at", context, &mut kept)? {
            kept.set("meter_on_at", time.to_string());
        }
        driver.attributes = kept;
    }
    extension(c, &mut driver);
    Ok(Told { content: Content::Driver(driver), dated })
}

/// 0x0B04.
pub(super) fn sign_off<'f>(c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Told<'f>, Fault> {
    let (mut driver, dated) = who(DriverAction::SignOff, c, context)?;
    let (mut shift, mut kept) = (Shift::default(), std::mem::take(&mut driver.attributes));
    let narrow = |n: Option<u64>| n.and_then(|n| u32::try_from(n).ok());
    let constant = packed(c, "meter_constant_k", 2, &mut kept)?;
    constant.into_iter().for_each(|k| kept.set("meter_constant_k", k));
    shift.started_at = context::shift_time(c, "started_at", context, &mut kept)?;
    shift.ended_at = context::shift_time(c, "ended_at", context, &mut kept)?;
    shift.distance_m = metres(c, "distance_0.1_km", 3, &mut kept)?;
    shift.paid_distance_m = metres(c, "paid_distance_0.1_km", 3, &mut kept)?;
    shift.trips = narrow(packed(c, "trips", 2, &mut kept)?);
    shift.waiting_s = duration(c, "waiting_hhmmss", 3, &mut kept)?;
    shift.amount = packed(c, "amount_0.1_yuan", 3, &mut kept)?.map(|tenths| context.money(tenths));
    if let Some(tenths) = packed(c, "card_amount_0.1_yuan", 3, &mut kept)? {
        kept.set("card_amount_yuan", decimal(tenths, 1));
    }
    let payments = packed(c, "card_payments", 2, &mut kept)?;
    payments.into_iter().for_each(|n| kept.set("card_payments", n));
    for (name, field, width) in [
        ("distance_between_shifts_m", "distance_between_shifts_0.1_km", 2),
        ("total_distance_m", "total_distance_0.1_km", 4),
        ("total_paid_distance_m", "total_paid_distance_0.1_km", 4),
    ] {
        metres(c, field, width, &mut kept)?.into_iter().for_each(|m| kept.set(name, m));
    }
    if let Some(hundredths) = packed(c, "unit_price_0.01_yuan", 2, &mut kept)? {
        kept.set("unit_price_yuan", decimal(hundredths, 2));
    }
    kept.set("total_trips", c.read("total_trips", be_u32)?);
    let mode = word(c.read("sign_off_mode", be_u8)?, context.dialect.sign_off_modes);
    c.note(|| format!("{mode:?}"));
    kept.set("sign_off_mode", mode);
    driver.attributes = kept;
    driver.shift = Some(shift);
    extension(c, &mut driver);
    Ok(Told { content: Content::Driver(driver), dated })
}

/// What both begin with: where it was, and whose licence, certificate and car. Says also whether there is a time.
fn who(action: DriverAction, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<(Box<Driver>, bool), Fault> {
    let mut driver = Box::new(Driver::new(action));
    let place = position::read(c, context)?;
    let dated = place.time.is_some();
    driver.position = Some(place);
    driver.company_licence = said(c, "company_licence", LICENCE, context)?;
    driver.licence = said(c, "certificate", CERTIFICATE, context)?;
    driver.driver_id.clone_from(&driver.licence);
    if c.remaining() >= PLATE {
        driver.plate = said(c, "plate", PLATE, context)?;
    }
    Ok((driver, dated))
}

fn extension(c: &mut Cursor<'_, '_>, driver: &mut Driver) {
    if c.remaining() > 0 {
        driver.attributes.set("extension", hex(c.take_rest("extension")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::unhex;
    use crate::profile::Profile;

    /// Position, licence, certificate and plate of nobody.
    fn who() -> Vec<u8> {
        let mut body = unhex("00000000 00000100 016d5500 0429bce8 0000 00 260301080000").unwrap();
        body.extend(b"110000001\0\0\0\0\0\0\x00110101199001010000\0BT0001");
        body
    }

    fn driver(
        read: for<'f> fn(&mut Cursor<'f, '_>, &Context<'_>) -> Result<Told<'f>, Fault>,
        body: &[u8],
        profile: &Profile,
    ) -> serde_json::Value {
        match read(&mut Cursor::new(body, 0, None), &Context::new(profile)).unwrap().content {
            Content::Driver(driver) => serde_json::to_value(driver).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn accepts_a_sign_on_with_either_time_and_twice() {
        let profile = Profile::default();
        for time in [&b"\x26\x03\x01\x08\x00\x00"[..], b"\x20\x26\x03\x01\x08\x00"] {
            let d = driver(sign_on, &[&who(), time].concat(), &profile);
            assert_eq!((d["action"].as_str(), d["driver_id"].as_str()), (Some("sign_on"), Some("110101199001010000")));
            assert_eq!((d["plate"].as_str(), d["company_licence"].as_str()), (Some("BT0001"), Some("110000001")));
            assert_eq!(d["attributes"], serde_json::json!({"meter_on_at": "2026-03-01T00:00:00.000Z"}));
            assert_eq!(d["position"]["latitude"], 39.904);
        }
        let once = [&who()[..], b"\x26\x03\x01\x08\x00\x00"].concat();
        let twice = driver(sign_on, &[&once[..], &once].concat(), &profile);
        assert_eq!(twice["attributes"]["extension"], hex(&once));
    }

    #[test]
    fn a_sign_on_needs_no_more_than_a_driver() {
        let profile = Profile::default();
        let d = driver(sign_on, &who()[..60], &profile);
        assert_eq!((d["plate"].as_str(), d["driver_id"].as_str()), (None, Some("110101199001010000")));
        assert!(sign_on(&mut Cursor::new(&who()[..59], 0, None), &Context::new(&profile)).is_err());
    }

    const SHIFT: &str =
        "1500 202603010800 202603011730 002305 001801 0021 010203 006480 001200 0003 0012 06252015 03205005 0230 00001a2b 02";

    #[test]
    fn accepts_a_sign_off_with_the_takings() {
        let body = [who(), unhex(SHIFT).unwrap()].concat();
        assert_eq!(body.len(), 116);
        let profile = Profile { currency: Some("CNY".into()), dialect: Some("ctfo".into()), ..Profile::default() };
        let d = driver(sign_off, &body, &profile);
        let shift = serde_json::json!({"started_at": "2026-03-01T00:00:00.000Z", "ended_at": "2026-03-01T09:30:00.000Z",
            "distance_m": 230_500.0, "paid_distance_m": 180_100.0, "trips": 21, "waiting_s": 3723,
            "amount": {"amount": "648.0", "currency": "CNY"}});
        assert_eq!(d["shift"], shift);
        let attributes = serde_json::json!({"meter_constant_k": 1500, "card_amount_yuan": "120.0", "card_payments": 3,
            "distance_between_shifts_m": 1200.0, "total_distance_m": 625_201_500.0, "total_paid_distance_m": 320_500_500.0,
            "unit_price_yuan": "2.30", "total_trips": 6699, "sign_off_mode": "automatic"});
        assert_eq!(d["attributes"], attributes);
    }

    #[test]
    fn refuses_a_sign_off_that_is_cut_off() {
        let (body, profile) = ([who(), unhex(SHIFT).unwrap()].concat(), Profile::default());
        for n in 66..body.len() {
            assert!(sign_off(&mut Cursor::new(&body[..n], 0, None), &Context::new(&profile)).is_err(), "{n}");
        }
    }

    #[test]
    fn what_is_no_number_stays_as_it_came() {
        let body = [who(), unhex(&SHIFT.replace("0021", "ffff")).unwrap()].concat();
        let d = driver(sign_off, &body, &Profile::default());
        assert_eq!((d["shift"]["trips"].as_u64(), d["attributes"]["trips_raw"].as_str()), (None, Some("ffff")));
    }
}
